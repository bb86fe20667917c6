"""beacon-released: milestones by likeness of strings, in the order of the expert's way."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from by_hand import advantages, same, told
from hypothesis import given
from strategies import groups, max_examples

from spa_bench.contract.laws import check_reward
from spa_bench.core import Task, Trajectory, UserError
from spa_bench.rewards.beacon_released import BeaconReleased, alike


def way(*done: tuple[str, float]) -> Trajectory:
    """What the expert does, and the progress after each of its actions; .5 before the first."""
    made = told(" ".join(f"S{n} x" for n in range(len(done))) + " E", 1.0, start_progress=0.5)
    steps = [replace(s, action=action, progress=p) for s, (action, p) in zip(made.steps, done, strict=True)]
    return replace(made, steps=tuple(steps))


def acted(outcome: float, *actions: str, **fields: object) -> Trajectory:
    made = told(" ".join(f"S{n} x" for n in range(len(actions))) + " E", outcome, **fields)
    return replace(made, steps=tuple(replace(s, action=a) for s, a in zip(made.steps, actions, strict=True)))


SHOWN = way(
    ("go to sink 1", 0.5), ("go to shelf 1", 0.7), ("take mug 1 from shelf 1", 0.8), ("go to desk 1", 0.7),
    ("go to shelf 1", 0.8), ("put mug 1 in desk 1", 1.0),
)  # fmt: skip
"""What came nearer to the goal than all before: go to shelf 1, take mug 1 from shelf 1, put mug 1 in desk 1."""


def shown(**options: float | bool) -> BeaconReleased:
    method = BeaconReleased(**{"gamma": 0.5, "weight": 1.0, **options})  # type: ignore[arg-type]
    method.asked = []  # type: ignore[attr-defined]

    def demonstrator(tasks: list[Task]) -> list[list[Trajectory]]:
        method.asked += [task.key for task in tasks]  # type: ignore[attr-defined]
        return [[replace(SHOWN, task=task), replace(SHOWN, task=task, character=1)] for task in tasks]

    method.demonstrator = demonstrator
    return method


WON = acted(1.0, "look", "go to shelf 1", "take mug 1 from shelf 1", "put mug 1 in desk 1", "look")
LOST = acted(0.0, "take mug 1 from shelf 1", "go to shelf 1", "look", "look")
"""What it took before it went to the shelf is no milestone: they are matched in order."""


@pytest.mark.parametrize("options", [{}, {"normalise": True, "threshold": 0.5, "weight": 1.0}])
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(BeaconReleased, **options), made)


def test_the_milestones_are_what_brought_the_expert_nearer_in_its_order():
    method = shown()
    same(method.rewards([WON, LOST]), [[0.5, 1, 1, 1, 1], [0.5, 1, 0, 0]])
    assert method.reached(WON) == [1, 2, 3] and method.reached(LOST) == [1]
    assert method.segments(WON) == [0, 0, 1, 2, 3] and method.segments(LOST) == [0, 0, 1, 1]


def test_beacon_released_by_hand():
    """Outcomes less 1/2. Segment 0: 1/2, 1, 1/2, 1, mean 3/4; segment 1: 1, 0, 0, mean 1/3; the others are alone."""
    won, lost = [-1 / 4, 1 / 4, 2 / 3, 0, 0], [-1 / 4, 1 / 4, -1 / 3, -1 / 3]
    same(advantages(shown(), [WON, LOST]), [[0.5 + a for a in won], [-0.5 + a for a in lost]])
    ten = shown(weight=10.0)
    same(advantages(ten, [WON, LOST]), [[0.5 + 10 * a for a in won], [-0.5 + 10 * a for a in lost]])


def test_by_default_the_weight_is_ten_and_the_decay_nine_tenths():
    """`look` is a step before the milestone."""
    method = BeaconReleased()
    method.demonstrator = shown().demonstrator
    same(method.rewards([WON]), [[9, 10, 10, 10, 1]])


def test_another_number_is_taken_for_the_same_at_the_scripts_threshold():
    """ "take mug 2 from shelf 1": 22 of 23 characters in order, 44 / 46 = .957. "go to shelf 2": 12 of 13, 24 / 26."""
    assert alike("take mug 1 from shelf 1", "take mug 2 from shelf 1") == pytest.approx(44 / 46)
    assert alike("go to shelf 1", "go to shelf 2") == pytest.approx(24 / 26)
    other = acted(0.0, "go to shelf 2", "go to shelf 1", "take mug 2 from shelf 1")
    for threshold, reached in ((0.95, [1, 2]), (0.85, [0, 2]), (0.96, [1])):
        method = shown(threshold=threshold)
        method.observe([other])
        assert method.reached(other) == reached


def test_another_way_to_the_goal_reaches_nothing():
    method = shown()
    elsewhere = acted(1.0, "go to table 1", "take cup 3 from table 1", "put cup 3 in desk 1")
    same(method.rewards([elsewhere]), [[0, 0, 1]])


def test_the_expert_is_asked_once_for_each_task():
    method = shown()
    other = replace(LOST, task=replace(LOST.task, key="another"))
    method.observe([WON, LOST, other])
    method.rewards([WON, replace(LOST, character=1)])
    assert method.asked == ["t", "another"]  # type: ignore[attr-defined]
    method.rewards([replace(WON, task=replace(WON.task, key="new"))])
    assert method.asked == ["t", "another", "new"]  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="beacon-released asks for the expert's way: set `demonstrator`"):
        BeaconReleased().observe([WON])


def test_it_is_labelled_with_what_it_knows():
    assert BeaconReleased.uses_experts and BeaconReleased.uses_oracle


@pytest.mark.parametrize("options", [{"weight": -1}, {"gamma": 0}, {"threshold": 1.1}, {"epsilon": 0}])
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward beacon-released: {next(iter(options))}="):
        BeaconReleased(**options)
