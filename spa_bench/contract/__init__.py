"""Contract tests of reward methods: `check_reward(MyMethod)` in a test, `spa-bench check` on the command line."""

from spa_bench.contract.laws import check_distinct, check_reward, check_time

__all__ = ["check_distinct", "check_reward", "check_time"]


def __getattr__(name: str) -> object:
    if name == "check_lesson":
        raise ImportError("check_lesson is called check_distinct now: from spa_bench.contract import check_distinct")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
