"""Effects of steps against values that are known by hand, in a game of coins whose every ending can be counted."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import groups, max_examples

from spa_bench.audit.assess import power_check
from spa_bench.audit.effects import Effect, choose_points, effects
from spa_bench.contract.fakes import fake_simulator
from spa_bench.core import Step, Task, Tokens, Trajectory
from spa_bench.method import Simulator

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


def told(choices: dict[tuple[str, str], Sequence[float]]) -> Simulator:
    """A policy whose tries from a state, by the actions so far, choose these actions with these outcomes, in order."""

    def simulator(
        prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        return [[*_tries("".join(step.action for step in prefix.steps), prefix)][:samples] for prefix in prefixes]

    def _tries(past: str, prefix: Trajectory) -> Iterator[Trajectory]:
        for (before, action), outcomes in choices.items():
            for outcome in outcomes if before == past else ():
                step = Step("", action, action, True, None, outcome, 0.0)
                yield replace(prefix, steps=(*prefix.steps, step), outcome=outcome, terminated=True)

    return simulator


def test_tries_that_choose_the_steps_own_action_count_on_its_side() -> None:
    # Before: a once with 1; b with 0 and 0.5, c with 0. After a: 1 0 1 1.
    known = told({("", "a"): [1], ("", "b"): [0, 0.5], ("", "c"): [0], ("a", "x"): [1, 0, 1, 1]})
    (found,) = effects(known, [coins("aab")], [(0, 0)], 4, 0)
    # With a 4/5, without it 1/6, and 3 of 4 tries are without; the plain difference of means would be 3/4 - 3/8.
    assert found.effect == pytest.approx(3 / 4 * (4 / 5 - 1 / 6)) == 0.475
    assert found.alternatives == 2


def test_where_the_policy_chooses_nothing_else_the_effect_is_exactly_zero() -> None:
    (found,) = effects(told({("", "a"): [1, 1], ("a", "x"): [0, 0]}), [coins("aab")], [(0, 0)], 2, 0)
    assert (found.effect, found.alternatives) == (0.0, 0)


def drawn(rng: np.random.Generator, own: float = 0.7) -> Simulator:
    """A policy that chooses `a` with this chance, else `b`; outcome 1 with chance 0.2 after `a` and 0.7 after `b`."""

    def simulator(
        prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        return [[_try(prefix) for _ in range(samples)] for prefix in prefixes]

    def _try(prefix: Trajectory) -> Trajectory:
        action = "a" if len(prefix) or rng.random() < own else "b"
        outcome = float(rng.random() < (0.7 if action == "b" else 0.2))
        step = Step("", action, action, True, None, outcome, 0.0)
        return replace(prefix, steps=(*prefix.steps, step), outcome=outcome, terminated=True)

    return simulator


def test_the_estimate_is_unbiased_and_varies_less_than_a_difference_of_means() -> None:
    simulator = drawn(np.random.default_rng(5))
    single = np.array([effects(simulator, [coins("aab")], [(0, 0)], 2, 0)[0].effect for _ in range(4000)])
    # V = 0.7 * 0.2 + 0.3 * 0.7 = 0.35, Q(a) = 0.2.
    assert single.mean() == pytest.approx(-0.15, abs=4 * single.std() / math.sqrt(4000))
    # A difference of two means of two tries has the variance (0.2 * 0.8 + 0.35 * 0.65) / 2 = 0.194.
    assert single.var() < 0.75 * 0.194


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
    return Counter((ascii(trajectories[e.trajectory]), e.turn, e.effect, e.alternatives) for e in found)


# Power


def exact(letters: str, key: str) -> Trajectory:
    """An episode whose oracle knows the value of every state."""
    one = coins(letters, key)
    worth = [np.mean([end for start, end in WORTH.items() if "".join(start).startswith(letters[:t])]) for t in range(4)]
    steps = tuple(replace(step, progress=float(v)) for step, v in zip(one.steps, worth[1:], strict=True))
    return replace(one, steps=steps, start_progress=float(worth[0]))


def played_in(tasks: int) -> list[Trajectory]:
    return [exact("".join(choices), f"coins {n}") for n in range(tasks) for choices in WORTH]


def test_the_power_check_passes_where_the_oracle_knows_the_values_and_the_policy_has_a_choice() -> None:
    trajectories = played_in(6)
    points = choose_points(trajectories, 100, 0)
    assert len(points) == 100
    exactly = power_check(trajectories, effects(Chooser(), trajectories, points, 8, 0), 0)
    assert exactly.passed and exactly.oracle.value == pytest.approx(1), "its progress is the effect"
    assert (exactly.points, exactly.without_alternative) == (100, 0.0)
    # A policy without a choice: nothing has an effect, and nothing correlates with it.
    same = [one for one in trajectories if all(step.action == "a" for step in one.steps)]
    none = power_check(same, effects(Chooser("a"), same, choose_points(same, 100, 0), 8, 0), 0)
    assert not none.passed and (none.oracle.value, none.without_alternative) == (None, 1.0)


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
    parts = {i: [turn for own, turn in points if own == i] for i, _ in points}
    assert all(turns == [*range(lengths[i] - len(turns), lengths[i])] for i, turns in parts.items())
    assert sum(len(turns) < lengths[i] for i, turns in parts.items()) <= 1


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


def test_tasks_that_ended_differently_come_first_with_a_better_and_a_worse_episode() -> None:
    ends = {"always": [1.0] * 3, "never": [0.0] * 3, "partly": [0.2, 0.2, 0.4], "mixed": [0.0, 0.0, 0.0, 1.0]}
    trajectories = [
        replace(one, outcome=outcome)
        for key, outcomes in ends.items()
        for one, outcome in zip(numbered(len(outcomes), 4, key), outcomes, strict=True)
    ]

    def chosen(count: int, seed: int) -> list[tuple[str, float]]:
        found = {i: trajectories[i] for i, _ in choose_points(trajectories, 4 * count, seed)}
        return sorted((one.task.key, one.outcome) for one in found.values())

    firsts = set()
    for seed in range(6):
        assert [key for key, _ in chosen(2, seed)] == ["mixed", "partly"]
        assert chosen(4, seed) == [("mixed", 0.0), ("mixed", 1.0), ("partly", 0.2), ("partly", 0.4)]
        assert {key for key, _ in chosen(7, seed)} == {"mixed", "partly"}
        assert {key for key, _ in chosen(9, seed)} == set(ends)
        firsts.add(dict(chosen(2, seed))["mixed"])
    assert firsts == {0.0, 1.0}, "which of the two comes first is a matter of chance"


def test_all_steps_of_an_episode_are_chosen_and_the_last_steps_of_the_last_one() -> None:
    trajectories = numbered(2, 12)
    points = choose_points(trajectories, 15, 0)
    (whole,) = {i for i, turn in points if turn == 0}
    assert points == sorted([*((whole, turn) for turn in range(12)), *((1 - whole, turn) for turn in (9, 10, 11))])


def test_every_task_has_a_point_before_any_has_two() -> None:
    trajectories = [*numbered(20, 5, "often"), *numbered(1, 5, "seldom"), *numbered(3, 5, "now and then")]
    chosen = {trajectories[i].task.key for i, _ in choose_points(trajectories, 15, 1)}
    assert chosen == {"now and then", "often", "seldom"}


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
