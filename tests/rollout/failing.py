"""Worlds that fail: an ALFWorld whose calls raise, hang or give wrong numbers where a plan says so."""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

from spa_bench.environments.alfworld.env import ALFWorld


class Failing(ALFWorld):
    """Fails in `call` of the tasks of `marks`, the first `times` times."""

    name = "failing"

    call: ClassVar[str] = "step"
    how: ClassVar[str] = "raises"
    marks: ClassVar[tuple[str, ...]] = ()
    """Keys of tasks; "" stands for every task."""
    at: ClassVar[int] = 2
    """The step that fails."""
    times: ClassVar[float] = math.inf
    failed: ClassVar[int] = 0

    def reset(self, **given: Any) -> Any:
        found = super().reset(**given)
        self.key, self.count = found[1]["task"].key, 0
        self._fails("reset")
        return found

    def step(self, action: str) -> Any:
        self.count += 1
        observation, reward, *rest = super().step(action)
        wrong = self._fails("step") if self.count == self.at else None
        return observation, reward if wrong is None else wrong, *rest

    def snapshot(self) -> Any:
        return self.key, self.count, super().snapshot()

    def restore(self, state: Any) -> Any:
        self.key, self.count, inner = state
        return super().restore(inner)

    def _fails(self, call: str) -> float | None:
        cls = Failing
        if call != cls.call or cls.failed >= cls.times or not {self.key, ""} & set(cls.marks):
            return None
        cls.failed += 1
        if cls.how == "hangs":
            time.sleep(1000)
        if cls.how == "raises":
            raise KeyError("room 3")
        return math.nan
