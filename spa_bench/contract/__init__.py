"""Contract tests, in a test: `check_reward(MyMethod)`, `check_world(MyWorld)`, `check_agent(MyAgent)`."""

from spa_bench.contract.agent_laws import check_agent
from spa_bench.contract.laws import check_distinct, check_reward, check_time
from spa_bench.contract.world_laws import check_world

__all__ = ["check_agent", "check_distinct", "check_reward", "check_time", "check_world"]


def __getattr__(name: str) -> object:
    if name == "check_lesson":
        raise ImportError("check_lesson is called check_distinct now: from spa_bench.contract import check_distinct")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
