"""Rewards on held-out episodes, which are only shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spa_bench.core import Step, Task, Trajectory
from spa_bench.method import RewardMethod
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.held_out import assigned


def episode(key: str, steps: int) -> Trajectory:
    done = tuple(Step("seen", f"Action: go {n}", f"go {n}", True, None, 0.0, 0.0) for n in range(steps))
    return Trajectory(Task("alfworld", key, "valid_unseen", "heat", 3), done, 1.0, True, True, False)


class Groups(RewardMethod):
    """Pays how many episodes it is asked for at once; fails for a task, and plays on for another."""

    def rewards(self, group: Any) -> Any:
        if group[0].task.key == "plays-on":
            assert self.simulator is not None
            self.simulator(group, 1, 0)
        if group[0].task.key == "fails":
            raise ZeroDivisionError("no")
        return [np.full(len(one), float(len(group))) for one in group]


def simulator(*_: Any) -> Any:
    raise AssertionError("played on")


@pytest.mark.parametrize(
    ("key", "said"), [("c", ""), ("plays-on", "it plays on to price"), ("fails", "ZeroDivisionError")]
)
def test_each_task_is_priced_by_itself_and_an_error_keeps_what_was_priced(key: str, said: str):
    method = Groups()
    method.simulator = simulator
    found, reason = assigned(
        CheckedMethod("groups", method),
        {7: episode("a", 2), 3: episode("b", 1), 4: episode("a", 1), 5: episode("b", 0), 9: episode(key, 1)},
    )
    priced = {index: own.tolist() for index, own in found}
    assert priced == {3: [1.0], 4: [2.0], 7: [2.0, 2.0]} | ({} if said else {9: [1.0]})
    assert said in reason and bool(said) == bool(reason)
    assert method.simulator is simulator
