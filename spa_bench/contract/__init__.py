"""What every reward method is held to: `check_reward(MyMethod)` in a test, `spa-bench check` on the command line."""

from spa_bench.contract.laws import check_lesson, check_reward, check_time

__all__ = ["check_lesson", "check_reward", "check_time"]
