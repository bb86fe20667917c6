"""Which tasks a run has, and that no fewer are played than were asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from strategies import task
from tiny import config

from spa_bench.core import UserError
from spa_bench.training import start
from spa_bench.training.tasks import evaluation_set, fixed_shuffle, train_tasks

WORLD: Any = SimpleNamespace(
    name="alfworld", tasks=lambda split: [task(key) for key in ("abcdef" if split == "train" else "abc")]
)


def test_t11_tasks_are_shuffled_by_their_names_alone() -> None:
    """The sha256 of d begins with 18, of f with 25, of c with 2e, of b with 3e, of e with 3f and of a with ca."""
    tasks = [task(key) for key in "abcdef"]
    assert [one.key for one in fixed_shuffle(tasks)] == list("dfcbea")
    assert [one.key for one in fixed_shuffle(reversed(tasks[:4]))] == list("dcba")


def test_the_first_of_them_are_taken_or_all() -> None:
    few, all_of_them = config(world={"train_tasks": 2}, eval={"tasks": 3}), config()
    assert [one.key for one in train_tasks(few, WORLD)] == list("df")
    assert [one.key for one in evaluation_set(few, WORLD)] == list("cba")
    assert (len(train_tasks(all_of_them, WORLD)), len(evaluation_set(all_of_them, WORLD))) == (6, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"eval": {"tasks": 4}},
            r"^eval.tasks=4: valid_unseen of alfworld has 3 tasks: ask for no more, or leave it out",
        ),
        ({"world": {"train_tasks": 7}}, r"^world.train_tasks=7: train of alfworld has 6 tasks: ask for no more"),
    ],
)
def test_more_than_there_are_is_one_line(changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        (train_tasks if "world" in changes else evaluation_set)(config(**changes), WORLD)


def test_a_run_asks_for_them() -> None:
    with pytest.raises(UserError, match=r"^eval.tasks=7: valid_unseen of alfworld has 6 tasks"):
        start.begin(config(eval={"tasks": 7}))
