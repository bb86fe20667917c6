"""`World` makes a world of eight definitions: tasks, expert, oracle, snapshots; by hand on a walk in a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from pydantic import Field

from spa_bench import World
from spa_bench.core import UserError
from spa_bench.environments import world as module
from spa_bench.environments.world import Turn


class Row(World[tuple[int, int]]):
    """(place, flag), on places 0 to 9; at 0 is a hole, which ends the episode."""

    name = "row"
    instructions = "Go left or right."
    commands = "go (left|right)"
    sizes = (20, 10)
    lowest = 1

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        return int(rng.integers(self.lowest, 10)), int(rng.integers(1, 10))

    def goal(self, state: tuple[int, int]) -> str:
        return f"stand at {state[1]}."

    def page(self, state: tuple[int, int]) -> str:
        return f"You stand at {state[0]}."

    def moves(self, state: tuple[int, int]) -> dict[str, tuple[int, int]]:
        return {
            f"go {way}": (state[0] + by, state[1]) for way, by in (("left", -1), ("right", 1)) if state[0] + by < 10
        }

    def won(self, state: tuple[int, int]) -> bool:
        return state[0] == state[1]

    def ends(self, state: tuple[int, int]) -> bool:
        return self.won(state) or state[0] == 0

    def kind(self, state: tuple[int, int]) -> str:
        return "left" if state[1] < state[0] else "right"


def starts(world: Row) -> dict[str, list[tuple[int, int]]]:
    found = {}
    for split in ("train", "valid_seen", "valid_unseen"):
        found[split] = []
        for task in world.tasks(split):
            world.reset(options={"task": task.key})
            found[split].append(world.snapshot().state)
    return found


def test_no_start_comes_twice_and_each_is_what_the_expert_wins():
    world = Row()
    found = starts(world)
    assert {split: len(states) for split, states in found.items()} == {
        "train": 20,
        "valid_seen": 10,
        "valid_unseen": 10,
    }
    every = [state for states in found.values() for state in states]
    assert len(set(every)) == len(every) and all(place != flag for place, flag in every)
    for split, states in found.items():
        for task, (place, flag) in zip(world.tasks(split), states, strict=True):
            kind = "left" if flag < place else "right"
            assert (task.expert_steps, task.kind, task.split, task.env) == (abs(place - flag), kind, split, "row")


def test_held_out_tasks_are_the_same_however_many_there_are_to_train_on():
    few, many = Row(train=2), Row(train=30)
    for split in ("valid_seen", "valid_unseen"):
        assert few.tasks(split) == many.tasks(split)
    assert Row(seed=1).tasks("train") != Row().tasks("train")


def test_an_episode_by_hand():
    """Progress is 1 - remaining / (2 * remaining at the start), and what does nothing costs a step alone."""
    world = Row(max_steps=7)
    task = next(task for task in world.tasks("train") if task.kind == "right" and task.expert_steps == 2)
    told, info = world.reset(options={"task": task.key})
    place = world.snapshot().start[0]
    assert told == f"You stand at {place}.\nYour task is to: stand at {place + 2}."
    assert (info["progress"], info["goal"], info["success"]) == (0.5, f"stand at {place + 2}.", False)
    seen = [world.step(text) for text in ("go left", "fly", "go right", "go right", "go right")]
    assert [step[4]["progress"] for step in seen] == [0.25, 0.25, 0.5, 0.75, 1.0]
    assert [step[4]["fault"] for step in seen] == [None, "format", None, None, None]
    assert [step[1:3] for step in seen] == [(0.0, False)] * 4 + [(1.0, True)]
    assert seen[1][0] == "Nothing happens." and seen[2][0] == f"You stand at {place}."
    with pytest.raises(ResetNeeded):
        world.step("go left")


def test_a_world_can_be_lost():
    world = Row()
    task = next(task for task in world.tasks("train") if task.kind == "right")
    world.reset(options={"task": task.key})
    for _ in range(9):
        _, reward, terminated, truncated, info = world.step("go left")
        if terminated:
            break
    assert (reward, terminated, truncated, info["success"], info["progress"]) == (0.0, True, False, False, 0.0)


def test_the_limit_truncates_and_a_returned_snapshot_has_the_instances_own_limit():
    world, longer = Row(max_steps=2), Row(max_steps=9)
    world.reset(seed=1)
    assert [world.step("")[3] for _ in range(2)] == [False, True]
    longer.restore(world.snapshot())
    with pytest.raises(ResetNeeded):
        longer.step("")
    world.reset(seed=1)
    world.step("")
    longer.restore(world.snapshot())
    assert [longer.step("")[3] for _ in range(8)] == [False] * 7 + [True]


def test_instances_share_tasks_if_and_only_if_their_options_are_the_same(monkeypatch: pytest.MonkeyPatch):
    class Counted(Row):
        drawn = 0

        def draw(self, rng: np.random.Generator) -> tuple[int, int]:
            Counted.drawn += 1
            return super().draw(rng)

    first = Counted(train=5)
    tasks, drawn = first.tasks("train"), Counted.drawn
    assert drawn and Counted(train=5).tasks("train") == tasks and Counted.drawn == drawn
    assert len(Counted(train=6).tasks("train")) == 6 and Counted.drawn > drawn


class Sized(Row):
    """With an option of its own."""

    def __init__(self, *, lowest: Annotated[int, Field(ge=1, description="of the starts")] = 1, **others: Any) -> None:
        super().__init__(**others)
        self.lowest = lowest


def test_options_of_its_own_decide_its_tasks():
    assert min(place for states in starts(Sized(lowest=5, train=10, valid=5)).values() for place, _ in states) >= 5
    assert Sized(train=10, valid=5).tasks("train") != Sized(lowest=5, train=10, valid=5).tasks("train")


class Blind(Row):
    """The flag is hidden, and the expert looks for it: right to the wall, then left."""

    def expert(self, state: tuple[int, int], past: Sequence[Turn]) -> str:
        return "go left" if any("at 9" in turn.page for turn in past) else "go right"


def test_an_expert_of_its_own_says_how_long_tasks_are():
    world = Blind()
    for task in world.tasks("train"):
        world.reset(options={"task": task.key})
        place, flag = world.snapshot().start
        assert task.expert_steps == (flag - place if flag > place else 9 - place + 9 - flag)


class Endless(Row):
    """A row without an end."""

    def moves(self, state: tuple[int, int]) -> dict[str, tuple[int, int]]:
        return {"go left": (state[0] - 1, state[1]), "go right": (state[0] + 1, state[1])}

    def ends(self, state: tuple[int, int]) -> bool:
        return self.won(state)


def test_too_many_states_for_a_search_are_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_STATES", 500)
    with pytest.raises(
        UserError, match=r"^environment row: more than 500 states: define remaining\(\) and expert\(\)$"
    ):
        Endless().tasks("train")


class Measured(Endless):
    def remaining(self, state: tuple[int, int]) -> int:
        return abs(state[0] - state[1])


def test_with_a_distance_of_its_own_nothing_is_searched():
    world = Measured()
    assert all(task.expert_steps < 9 for task in world.tasks("train"))


def test_too_few_starts_are_one_line():
    said = r"^environment row: \d+ of 90 train tasks in 4500 draws, .*: ask for fewer with train and valid$"
    with pytest.raises(UserError, match=said):
        Row(train=90).tasks("train")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train": 0}, "a world: train=0: use a whole number, 1 or above"),
        ({"max_steps": 0}, "a world: max_steps=0: use a whole number, 1 or above"),
        ({"render_mode": "human"}, "a world: render_mode='human': use ansi"),
    ],
)
def test_options_out_of_range_are_one_line(options: dict[str, Any], said: str):
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        Row(**options)


def test_texts_hold_every_word_that_an_episode_shows():
    world = Row()
    texts = "\n".join(world.text_sources())
    assert all(word in texts for word in ("Go left or right.", "go left", "go right", "Nothing happens.", "stand at"))
    assert all(f"You stand at {place}." in texts for place in range(1, 10))
