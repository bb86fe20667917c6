"""Effects of steps against values that are known by hand, in a game of coins whose every ending can be counted."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import groups, max_examples

from spa_bench.audit.effects import Effect, choose_points, effects
from spa_bench.contract.fakes import fake_simulator
from spa_bench.core import Step, Task, Tokens, Trajectory

WORTH = dict(zip(itertools.product("ab", repeat=3), [1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0], strict=True))
"""Outcome by the three choices. V() = 0.5; V(a) = 0.25, V(b) = 0.75; V(aa) = 0.5, V(ab) = 0; V(ba) = 0.5, V(bb) = 1."""


def coins(actions: str, key: str = "coins", start: Trajectory | None = None) -> Trajectory:
    """The episode of these choices; over after the third."""
    past = start.steps if start else ()
    chosen = [step.action for step in past] + list(actions)
    names = ["".join(chosen[:t]) for t in range(len(chosen) + 1)]
    steps = [Step(f"after {names[t]}", a, a, True, None, 0.0, 0.0) for t, a in enumerate(chosen)]
    over = len(chosen) == 3
    outcome = WORTH[chosen[0], chosen[1], chosen[2]] if over else 0.0
    steps[2:] = [replace(step, env_reward=outcome) for step in steps[2:]]
    task = Task("coins", key, "train", "coins", 3)
    return Trajectory(task, tuple(steps), outcome, outcome == 1.0, over, False, final_observation=f"after {names[-1]}")


class Chooser:
    """A policy that is as likely to choose each of `letters`, played on through all endings in turn: with 8 samples
    every mean is exact."""

    def __init__(self, letters: str = "ab") -> None:
        self.letters = letters
        self.calls: list[list[Trajectory]] = []

    def __call__(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        assert steps is None, "an effect is a matter of outcomes: every episode is played to its end"
        assert not any(prefix.terminated or prefix.truncated for prefix in prefixes)
        self.calls.append(list(prefixes))
        played = []
        for prefix in prefixes:
            ends = list(itertools.product(self.letters, repeat=3 - len(prefix)))
            turns = itertools.islice(itertools.cycle(ends), samples)
            played.append([coins("".join(end), prefix.task.key, prefix) for end in turns])
        return played


ALL = [coins("".join(choices)) for choices in WORTH]


# Effects


def test_an_effect_is_the_value_after_the_step_less_the_value_before_it() -> None:
    found = effects(Chooser(), ALL, [(0, 0), (0, 1), (0, 2), (4, 0), (4, 1), (6, 1), (2, 1)], 8, 0)
    values = {(e.trajectory, e.turn): e.effect for e in found}
    assert values == {
        (0, 0): -0.25,  # V(a) - V()
        (0, 1): 0.25,  # V(aa) - V(a)
        (0, 2): 0.5,  # 1 - V(aa)
        (4, 0): 0.25,  # V(b) - V()
        (4, 1): -0.25,  # V(ba) - V(b)
        (6, 1): 0.25,  # V(bb) - V(b)
        (2, 1): -0.25,  # V(ab) - V(a)
    }


def test_the_effects_of_an_episode_add_up_to_its_outcome_less_the_value_of_its_start() -> None:
    points = [(i, t) for i in range(8) for t in range(3)]
    found = effects(Chooser(), ALL, points, 8, 0)
    assert [(e.trajectory, e.turn) for e in found] == points
    for i, episode in enumerate(ALL):
        assert sum(e.effect for e in found if e.trajectory == i) == pytest.approx(episode.outcome - 0.5)


def test_the_error_is_that_of_a_difference_of_means() -> None:
    # After `a`: 1 0 0 0 twice, variance 12/56; before: 1 0 0 0 .5 .5 1 1, squares 3.5, variance (3.5 - 8 * 0.25) / 7.
    (first,) = effects(Chooser(), ALL, [(0, 0)], 8, 0)
    assert first.error == pytest.approx(math.sqrt(12 / 56 / 8 + 1.5 / 7 / 8))
    # The last step's outcome is known: only the choice before it has a variance, of 1 0 1 0 1 0 1 0.
    (last,) = effects(Chooser(), ALL, [(0, 2)], 8, 0)
    assert last.error == pytest.approx(math.sqrt(2 / 7 / 8))


@pytest.mark.parametrize("turn", [0, 2])
def test_a_single_sample_has_no_error(turn: int) -> None:
    (found,) = effects(Chooser(), ALL, [(3, turn)], 1, 0)
    assert found.error is None
    assert math.isfinite(found.effect)


@pytest.mark.parametrize(("letters", "episode", "expected"), [("ab", "aab", 1), ("a", "aaa", 0), ("a", "bbb", 1)])
def test_alternatives_are_the_other_actions_that_the_policy_chose_there(
    letters: str, episode: str, expected: int
) -> None:
    found = effects(Chooser(letters), [coins(episode)], [(0, 0), (0, 1), (0, 2)], 8, 0)
    assert [e.alternatives for e in found] == [expected] * 3


def test_alternatives_are_counted_once_each_and_at_the_step_itself() -> None:
    def menu(
        prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        # At the step itself x x y y, and later something else every time.
        return [[_told(prefix, f"{'xxyy'[n]}{n}{prefix.steps}") for n in range(samples)] for prefix in prefixes]

    def _told(prefix: Trajectory, words: str) -> Trajectory:
        more = [Step("", "", words[0], True, None, 0.0, 0.0), Step("", "", words, True, None, 0.0, 0.0)]
        return replace(prefix, steps=(*prefix.steps, *more), terminated=True)

    (found,) = effects(menu, [coins("bab")], [(0, 1)], 4, 0)
    assert found.alternatives == 2


def test_all_states_are_played_on_in_one_call_and_each_of_them_once() -> None:
    simulator = Chooser()
    found = effects(simulator, ALL, [(i, t) for i in range(8) for t in range(3)], 8, 0)
    assert len(found) == 24
    (prefixes,) = simulator.calls
    states = [tuple(step.action for step in prefix.steps) for prefix in prefixes]
    assert len(states) == len(set(states)) == 1 + 2 + 4


def test_the_same_words_in_another_task_are_another_state() -> None:
    simulator = Chooser()
    effects(simulator, [coins("aaa"), coins("aaa", "other coins")], [(0, 0), (1, 0)], 2, 0)
    assert len(simulator.calls[0]) == 4


def test_an_episode_that_branched_off_shares_its_past_with_the_other() -> None:
    simulator = Chooser()
    effects(simulator, [coins("aaa"), replace(coins("aab"), branch=2)], [(0, 1), (1, 1)], 2, 0)
    assert len(simulator.calls[0]) == 2


def test_without_points_nothing_is_played_and_without_samples_nothing_can_be() -> None:
    simulator = Chooser()
    assert effects(simulator, ALL, [], 4, 0) == []
    assert not simulator.calls
    with pytest.raises(ValueError, match="samples=0"):
        effects(simulator, ALL, [(0, 0)], 0, 0)


def test_episodes_with_an_error_count_for_nothing() -> None:
    def shaky(
        prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        played = Chooser()(prefixes, samples, seed, steps)
        return [[_marked(episode) for episode in episodes] for episodes in played]

    def _marked(episode: Trajectory) -> Trajectory:
        # All that end with `a` are lost, and all after `bb`.
        actions = "".join(step.action for step in episode.steps)
        return replace(episode, error="lost" if actions.endswith("a") or actions.startswith("bb") else None)

    found = effects(shaky, ALL, [(0, 1), (6, 0), (6, 1), (6, 2)], 8, 0)
    # What is left is aab, abb, bab: V(aa) = 0 and V(a) = 0; V(b) = 0.5 and V() = (0 + 0 + 0.5) / 3; nothing of bb.
    assert [(e.trajectory, e.turn) for e in found] == [(0, 1), (6, 0)]
    assert [e.effect for e in found] == pytest.approx([0.0, 0.5 - 0.5 / 3])


@max_examples(25)
@given(made=groups(), order=st.randoms(use_true_random=False), seed=st.integers(0, 3))
def test_order_and_company_change_no_effect(made: list[list[Trajectory]], order: object, seed: int) -> None:
    trajectories = [trajectory for group in made for trajectory in group]
    points = choose_points(trajectories, 6, seed)
    found = effects(fake_simulator, trajectories, points, 2, seed)
    assert [(e.trajectory, e.turn) for e in found] == points
    positions = list(range(len(trajectories)))
    order.shuffle(positions)  # type: ignore[attr-defined]
    moved = [trajectories[i] for i in positions]
    again = effects(fake_simulator, moved, choose_points(moved, 6, seed), 2, seed)
    assert _said(found, trajectories) == _said(again, moved)
    for effect in found:
        alone = effects(fake_simulator, trajectories, [(effect.trajectory, effect.turn)], 2, seed)
        assert alone == [effect]


def _said(found: list[Effect], trajectories: list[Trajectory]) -> Counter[tuple[object, ...]]:
    return Counter((ascii(trajectories[e.trajectory]), e.turn, e.effect, e.error, e.alternatives) for e in found)


# Points


@max_examples(60)
@given(made=groups(), count=st.integers(0, 30), seed=st.integers(0, 3))
def test_points_are_different_steps_of_episodes_without_error_and_as_many_as_there_can_be(
    made: list[list[Trajectory]], count: int, seed: int
) -> None:
    trajectories = [trajectory for group in made for trajectory in group]
    points = choose_points(trajectories, count, seed)
    lengths = [0 if trajectory.error else len(trajectory) for trajectory in trajectories]
    assert points == sorted(set(points))
    assert len(points) == min(count, sum(lengths))
    assert all(0 <= turn < lengths[i] for i, turn in points)
    had = Counter(i for i, _ in points)
    # Nobody has two more than somebody who has steps left.
    assert all(had[i] <= had[j] + 1 for i in had for j, length in enumerate(lengths) if had[j] < length)


def test_of_episodes_that_say_the_same_the_tokens_decide_and_not_the_order() -> None:
    def spelt(*ids: int) -> Trajectory:
        (one,) = numbered(1, 1)
        return replace(
            one, steps=tuple(replace(step, tokens=Tokens((1,), ids, (-0.5,) * len(ids))) for step in one.steps)
        )

    pair = [spelt(2, 3), spelt(4)]
    for seed in range(4):
        ((first, _),), ((second, _),) = choose_points(pair, 1, seed), choose_points(pair[::-1], 1, seed)
        assert pair[first] == pair[::-1][second]


def numbered(count: int, length: int, key: str = "coins") -> list[Trajectory]:
    """Episodes that differ in their words."""
    task = Task("coins", key, "train", "coins", 3)
    return [
        Trajectory(
            task, tuple(Step(f"{n}/{t}", "", "", True, None, 0.0, 0.0) for t in range(length)), 0.0, *(False,) * 3
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(("episodes", "count"), [(40, 40), (40, 80), (400, 40), (4, 40)])
def test_points_are_even_over_turns(episodes: int, count: int) -> None:
    points = choose_points(numbered(episodes, 10), count, 0)
    assert Counter(turn for _, turn in points) == dict.fromkeys(range(10), count // 10)
    assert max(Counter(i for i, _ in points).values()) == max(1, count // episodes)


def test_points_of_one_episode_lie_apart() -> None:
    ((_, a), (_, b), (_, c)) = choose_points(numbered(1, 12), 3, 0)
    assert b - a == c - b == 4


def test_every_task_has_a_point_before_any_has_two() -> None:
    trajectories = [*numbered(20, 5, "often"), *numbered(1, 5, "seldom"), *numbered(3, 5, "now and then")]
    chosen = [trajectories[i].task.key for i, _ in choose_points(trajectories, 3, 1)]
    assert sorted(chosen) == ["now and then", "often", "seldom"]


def test_another_seed_chooses_other_points() -> None:
    trajectories = numbered(50, 8)
    assert (
        choose_points(trajectories, 10, 0) == choose_points(trajectories, 10, 0) != choose_points(trajectories, 10, 1)
    )


def test_the_last_bits_of_log_probs_do_not_choose() -> None:
    """They are those of a batch: games played eight at a time or one by one are the same games."""
    told = []
    for shift in (0.0, 4.8e-7):
        steps = [[replace(s, tokens=Tokens((1,), (2, 3), (-0.5 + shift, -1.0))) for s in t.steps] for t in ALL * 3]
        same = [replace(t, steps=tuple(own)) for t, own in zip(ALL * 3, steps, strict=True)]
        told.append(choose_points([replace(t, task=replace(t.task, key=f"c{n}")) for n, t in enumerate(same)], 10, 3))
    assert told[0] == told[1]


def test_the_order_of_the_episodes_does_not_choose() -> None:
    trajectories = [*numbered(30, 7), *numbered(11, 4, "other coins")]
    chosen = {(ascii(trajectories[i]), turn) for i, turn in choose_points(trajectories, 20, 5)}
    backwards = trajectories[::-1]
    assert {(ascii(backwards[i]), turn) for i, turn in choose_points(backwards, 20, 5)} == chosen
    mixed = [trajectories[i] for i in np.random.default_rng(0).permutation(41)]
    assert {(ascii(mixed[i]), turn) for i, turn in choose_points(mixed, 20, 5)} == chosen
