"""Values by playing on: by hand, in a world whose true values are known, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from strategies import episode, groups, max_examples, task, trajectories

from spa_bench import credit, registry
from spa_bench.contract.fakes import fake_simulator
from spa_bench.contract.laws import check_reward
from spa_bench.core import Floats, Step, Tokens, Trajectory, UserError, derive_seed
from spa_bench.rewards.monte_carlo import MonteCarlo


class Plays:
    """A simulator that notes what it is asked; `end` says how a prefix ends under a seed, the n-th time."""

    def __init__(self, end: Callable[[Trajectory, int, int], float]) -> None:
        self.end = end
        self.calls: list[tuple[list[Trajectory], int, int]] = []

    def __call__(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        assert steps is None, "values need whole episodes"
        assert not [t for t in prefixes if t.terminated or t.truncated]
        self.calls.append((list(prefixes), samples, seed))
        return [
            [replace(prefix, outcome=self.end(prefix, seed, n), terminated=True) for n in range(samples)]
            for prefix in prefixes
        ]

    @property
    def lengths(self) -> list[int]:
        """How long the prefixes of all calls were."""
        return sorted(len(prefix) for prefixes, _, _ in self.calls for prefix in prefixes)


def ready(end: Callable[[Trajectory, int, int], float], seed: int = 0, **options: int) -> tuple[MonteCarlo, Plays]:
    method, plays = MonteCarlo(**options), Plays(end)
    method.seed, method.simulator = seed, plays
    return method, plays


def by_length(*values: float) -> Callable[[Trajectory, int, int], float]:
    """The first continuation of a prefix of one step ends with the first number, the second with .1 more."""
    return lambda prefix, seed, n: values[len(prefix) - 1] + 0.1 * n


def by_chance(prefix: Trajectory, seed: int, n: int) -> float:
    return derive_seed(ascii((prefix.task.key, prefix.character, prefix.steps)), seed, n) % 1000 / 1000


def same(got: Sequence[Floats], want: Sequence[Sequence[float]]) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def long(outcome: float, steps: int, words: str = "", key: str = "t") -> Trajectory:
    return episode(outcome, [True] * steps, key, words)


def spoken(trajectory: Trajectory, *counts: int) -> Trajectory:
    """The same with so many tokens in each reply."""
    steps = [
        replace(s, tokens=Tokens((1,), (2,) * n, (-0.5,) * n)) for s, n in zip(trajectory.steps, counts, strict=True)
    ]
    return replace(trajectory, steps=tuple(steps))


# Contract tests


@pytest.mark.parametrize(
    "method", [MonteCarlo, partial(MonteCarlo, states=0, samples=1), partial(MonteCarlo, states=1)]
)
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(method, made):
    check_reward(method, made)


@max_examples(25)
@given(st.lists(trajectories(), min_size=1, max_size=5), st.integers(0, 3))
def test_an_episode_earns_its_outcome_less_the_mean_of_its_task(group, states):
    method, _ = ready(by_chance, states=states)
    method.observe(group)
    mean = np.mean([t.outcome for t in group if t.error is None] or [0.0])
    for paid, t in zip(method.rewards(group), group, strict=True):
        wanted = t.outcome - mean if t.steps and t.error is None else 0.0
        assert paid.sum() == pytest.approx(wanted, abs=1e-12)
        if t.error is not None:
            assert not paid.any()


# By hand


def test_by_hand():
    """V(s_0) = (1 + 0 + .5) / 3 = .5, then .15, .65, .35 by two continuations each, and the outcome at the end.

    The third episode was cut off after two steps: it ends with its outcome like any other.
    """
    group = [long(1.0, 4, "a"), long(0.0, 2, "b"), long(0.5, 2, "c")]
    method, _ = ready(by_length(0.1, 0.6, 0.3), states=0)
    method.observe(group)
    same(method.rewards(group), [[-0.35, 0.5, -0.3, 0.65], [-0.35, -0.15], [-0.35, 0.35]])
    once, _ = ready(by_length(0.1, 0.6, 0.3), states=0, samples=1)
    once.observe(group)
    same(once.rewards(group), [[-0.4, 0.5, -0.3, 0.7], [-0.4, -0.1], [-0.4, 0.4]])


def test_steps_between_two_measured_states_share_what_the_value_changes():
    """Six steps, V(s_0) = .5, one state worth .2 after step t: (.2 - .5) / t before it, .8 / (6 - t) behind it."""
    for words in "abcdef":
        group = [long(1.0, 6, words), long(0.0, 1, words)]
        method, plays = ready(lambda prefix, seed, n: 0.2, states=1)
        method.observe(group)
        (at,) = plays.lengths
        same(method.rewards(group), [[-0.3 / at] * at + [0.8 / (6 - at)] * (6 - at), [-0.5]])


def test_the_measured_states_are_drawn_evenly_for_each_episode_and_seed():
    """One of four, 400 times: 100 each, with a standard deviation of 8.7. Two of four are never the same one twice."""
    group = [long(0.0, 5, str(n)) for n in range(400)]
    drawn = []
    for seed in (0, 1):
        method, plays = ready(by_chance, seed, states=1)
        method.observe(group)
        drawn.append({prefix.steps[0].observation: len(prefix) for prefix in plays.calls[0][0]})
        counts = Counter(plays.lengths)
        assert sorted(counts) == [1, 2, 3, 4]
        assert all(abs(count - 100) < 35 for count in counts.values())
    assert drawn[0] != drawn[1]
    method, plays = ready(by_chance, states=2)
    method.observe(group)
    assert all(n == 2 for n in Counter(prefix.steps[0].observation for prefix in plays.calls[0][0]).values())


def test_an_advantage_is_the_reward_of_its_turn_and_no_critic_has_a_say():
    counts = [(2, 3, 1), (1, 2)]
    group = [spoken(long(1.0, 3, "a"), *counts[0]), spoken(long(0.0, 2, "b"), *counts[1])]
    method, _ = ready(by_chance, states=0)
    method.observe(group)
    paid = method.rewards(group)
    values = [0.3 + 0.1 * np.arange(len(t) + 1) for t in group]
    turns = method.advantages(group, paid, values, 0.9, 0.8)
    for (advantages, targets), r, v in zip(turns, paid, values, strict=True):
        np.testing.assert_array_equal(advantages, r)
        np.testing.assert_array_equal(targets, v[:-1])
    streams = [credit.on_last_token(r, n) for r, n in zip(paid, counts, strict=True)]
    tokens = method.advantages(group, streams, [np.zeros(len(s) + 1) for s in streams], 0.9, 0.8)
    same([a for a, _ in tokens], [np.repeat(r, n) for r, n in zip(paid, counts, strict=True)])
    assert not MonteCarlo.uses_critic
    assert not MonteCarlo.conserves_return
    assert MonteCarlo.level == "turn"


# A world whose values are known: places 0 to 4, one up with probability .6, one down with .4; success in 4, ruin in 0

UP = 0.6


def truth(place: int) -> float:
    """The gambler's ruin: from i of N, (1 - r^i) / (1 - r^N) with r = .4 / .6."""
    ratio = (1 - UP) / UP
    return (1 - ratio**place) / (1 - ratio**4)


def walked(places: Sequence[int], key: str = "t", branch: int = 0) -> Trajectory:
    """The episode that went through these places, the first and the last included."""
    done = ["up" if after > before else "down" for before, after in pairwise(places)]
    over, won = places[-1] in (0, 4), places[-1] == 4
    steps = tuple(
        Step(f"place {here}", f"Action: {act}", act, True, None, float(n == len(done) - 1 and won), here / 4)
        for n, (here, act) in enumerate(zip(places[:-1], done, strict=True))
    )
    seen = f"place {places[-1]}"
    return Trajectory(task(key), steps, float(won), won, over, False, final_observation=seen, branch=branch)


class World:
    """The simulator of that world; chance comes from the seed and the way so far."""

    def __init__(self) -> None:
        self.played = 0

    def __call__(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        made = [[self._on(prefix, derive_seed(seed, n)) for n in range(samples)] for prefix in prefixes]
        self.played += sum(len(same) for same in made)
        return made

    def _on(self, prefix: Trajectory, seed: int) -> Trajectory:
        texts = [*(step.observation for step in prefix.steps), prefix.final_observation]
        places = [int(text.split()[1]) for text in texts]
        rng = np.random.default_rng(derive_seed(seed, places))
        while 0 < places[-1] < 4:
            places.append(places[-1] + (1 if rng.random() < UP else -1))
        return walked(places, prefix.task.key, branch=len(prefix))


WALKS = [[2, 3, 2, 3, 4], [2, 1, 2, 1, 0], [2, 3, 2, 1, 0], [2, 3, 4]]


def test_the_differences_become_the_true_ones():
    """Of 3,000 continuations the mean is off by a standard deviation of .009; that of the batch's four is not truth."""
    method = MonteCarlo(samples=3000, states=0)
    method.simulator = World()
    group = [walked(places) for places in WALKS]
    method.observe(group)
    for paid, places in zip(method.rewards(group), WALKS, strict=True):
        true = np.array([truth(place) for place in places])
        true[0] = 0.5  # two of the four succeeded
        np.testing.assert_allclose(paid, np.diff(true), atol=0.06)
        assert paid.sum() == pytest.approx(true[-1] - 0.5, abs=1e-12)


def test_few_continuations_are_right_on_average():
    """300 seeds of two continuations; one estimate is off by .35, their mean by .02."""
    group, paid = [walked(WALKS[0]), walked(WALKS[1])], []
    for seed in range(300):
        method = MonteCarlo(samples=2, states=0)
        method.seed, method.simulator = seed, World()
        paid.append(np.concatenate(method.rewards(group)))
    true = [np.diff([0.5, *(truth(place) for place in places[1:])]) for places in WALKS[:2]]
    np.testing.assert_allclose(np.mean(paid, axis=0), np.concatenate(true), atol=0.1)
    assert np.std(paid, axis=0).max() > 0.2


# What it costs


@pytest.mark.parametrize(("states", "asked"), [(0, 5), (1, 1), (2, 2), (4, 4), (5, 5), (9, 5)])
def test_so_many_continuations_are_played_as_the_options_say(states, asked):
    """Six steps have five states inside; an episode of one step has none, one that went wrong is not measured."""
    broken = replace(long(0.0, 6, "broken"), error="the world timed out")
    group = [long(1.0, 6, "a"), long(0.0, 1, "b"), long(0.0, 0, "c"), broken]
    method, plays = ready(by_chance, states=states, samples=3)
    method.observe(group)
    method.rewards(group)
    ((prefixes, samples, _),) = plays.calls
    assert (len(prefixes), samples) == (asked, 3)
    assert len({len(prefix) for prefix in prefixes}) == asked
    world = World()
    walker = MonteCarlo(states=states, samples=3)
    walker.simulator = world
    walker.observe([walked([2, 3, 2, 1, 2, 3, 4])])
    assert world.played == asked * 3


def test_what_episodes_share_is_measured_once_and_worth_the_same():
    """Four steps each. The third is another: 3 + 3 - 2 states. The same episode twice: 3."""
    one = long(1.0, 4, "a")
    third = replace(one.steps[2], action="look", reply="Action: look")
    other = replace(one, steps=(*one.steps[:2], third, one.steps[3]), outcome=0.0)
    for second, states in ((other, 4), (one, 3)):
        method, plays = ready(by_chance, states=0)
        method.observe([one, second])
        assert len(plays.lengths) == states
        equal = np.equal(*method.rewards([one, second])).tolist()
        assert equal == [True, True, states == 3, states == 3]


def test_other_words_another_task_and_another_character_are_other_states():
    one = long(1.0, 2, "a")
    said = replace(one, steps=(replace(one.steps[0], reply="Well... Action: go 0"), *one.steps[1:]))
    for other in (said, replace(one, task=task("u")), replace(one, character=1)):
        method, plays = ready(by_chance)
        method.observe([one, other])
        assert plays.lengths == [1, 1]
        first, second = method.rewards([one])[0], method.rewards([other])[0]
        assert first[0] != second[0]


@given(st.permutations(range(6)))
@max_examples(15)
def test_neither_the_questions_nor_the_answers_depend_on_the_order(order):
    """Twins that differ in what no policy reads are one state, measured by the same one of them in any order."""
    twin = long(1.0, 4, "a")
    unread = replace(twin, steps=tuple(replace(step, progress=0.7) for step in twin.steps))
    group = [twin, unread, *(long(n / 4, n + 3, str(n)) for n in range(4))]
    method, plays = ready(by_chance)
    method.observe(group)
    paid = method.rewards(group)
    other, again = ready(by_chance)
    other.observe([group[i] for i in order])
    assert again.calls == plays.calls
    for i in order:
        np.testing.assert_array_equal(other.rewards([group[i]])[0], paid[i])


# When it is measured


def test_a_batch_is_measured_at_once_and_pricing_it_costs_nothing_more():
    group = [long(n % 2, 4, str(n), key) for key in ("t", "u") for n in range(3)]
    method, plays = ready(by_chance)
    method.observe(group)
    assert len(plays.calls) == 1
    alone = [method.rewards([t])[0] for t in group]
    same(alone, [*method.rewards(group[:3]), *method.rewards(group[3:])])
    assert len(plays.calls) == 1


def test_a_new_batch_is_measured_anew_with_a_chance_of_its_own():
    group = [long(1.0, 4, "a"), long(0.0, 3, "b")]
    method, plays = ready(by_chance, states=0)
    method.observe(group)
    before = method.rewards(group)
    method.observe(group)
    assert len(plays.calls) == 2
    assert plays.calls[0][2] != plays.calls[1][2]
    assert np.abs(method.rewards(group)[0] - before[0]).max() > 0.01
    other, elsewhere = ready(by_chance, seed=1, states=0)
    other.observe(group)
    assert len({seed for _, _, seed in (*plays.calls, *elsewhere.calls)}) == 3
    method.observe([long(1.0, 4, "c")])
    assert method.state_dict()["values"].shape == (4,), "three states inside and the start"


def test_what_was_not_observed_is_measured_when_it_is_rewarded():
    """Its V(s_0) is the mean of the group it is rewarded in; where the task was observed, that of the batch."""
    group, new = [long(1.0, 4, "a"), long(0.0, 4, "b")], [long(0.5, 3, "c"), long(0.0, 3, "d")]
    method, plays = ready(by_length(0.1, 0.6, 0.3), states=0)
    same(method.rewards(new), [[-0.1, 0.5, -0.15], [-0.1, 0.5, -0.65]])
    same(method.rewards(new), [[-0.1, 0.5, -0.15], [-0.1, 0.5, -0.65]])
    assert len(plays.calls) == 1
    method.observe(group)
    same(method.rewards(new), [[-0.35, 0.5, -0.15], [-0.35, 0.5, -0.65]])
    assert len(plays.calls) == 3


def test_a_restored_method_prices_its_batch_without_a_policy():
    group = [long(1.0, 4, "a"), long(0.0, 3, "b")]
    method, plays = ready(by_chance, states=0)
    method.observe(group)
    restored = MonteCarlo(states=0)
    restored.load_state_dict(safetensors.numpy.load(safetensors.numpy.save(method.state_dict())))
    for one, other in zip(method.rewards(group), restored.rewards(group), strict=True):
        np.testing.assert_array_equal(one, other)
    again = Plays(by_chance)
    restored.simulator = again
    for each in (method, restored):
        each.observe(group)
    assert again.calls == plays.calls[1:]
    fresh = MonteCarlo()
    fresh.load_state_dict(safetensors.numpy.load(safetensors.numpy.save(MonteCarlo().state_dict())))
    assert fresh.state_dict()["batches"] == 0


def test_without_a_simulator_there_is_nothing_to_play_on_with():
    method = MonteCarlo()
    for ask in (method.observe, method.rewards):
        with pytest.raises(RuntimeError, match="set `simulator` before"):
            ask([long(1.0, 2)])
    same(MonteCarlo().rewards([long(1.0, 1), long(0.0, 1), long(0.0, 0)]), [[2 / 3], [-1 / 3], []])


# What goes wrong, and branches


def test_a_continuation_that_went_wrong_counts_for_nothing():
    """After step 1 one of two is left, .9; after step 2 none, so that .9 to 1 is shared by the steps 2 and 3."""

    def world(
        prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        return [
            [replace(p, outcome=0.9 * n, error=None if n and len(p) == 1 else "timed out") for n in range(samples)]
            for p in prefixes
        ]

    method = MonteCarlo(states=0)
    method.simulator = world
    group = [long(1.0, 3, "a"), long(0.0, 1, "b")]
    method.observe(group)
    same(method.rewards(group), [[0.4, 0.05, 0.05], [-0.5]])
    restored = MonteCarlo(states=0)
    restored.load_state_dict(method.state_dict())
    same(restored.rewards(group), [[0.4, 0.05, 0.05], [-0.5]])


def test_an_episode_that_went_wrong_earns_nothing_and_is_nobodys_peer():
    broken = replace(long(0.0, 3, "c"), error="the world timed out")
    group = [long(1.0, 1, "a"), long(0.5, 1, "b"), broken, replace(long(0.0, 1, "a"), character=1)]
    method, plays = ready(by_chance)
    method.observe(group)
    assert not plays.calls
    same(method.rewards(group), [[0.25], [-0.25], [0.0] * 3, [0.0]])


def test_a_branch_is_rewarded_from_its_start():
    whole = [long(1.0, 5, "a"), long(0.0, 4, "b")]
    for states in (0, 2):
        method, _ = ready(by_chance, states=states)
        method.observe(whole)
        paid = method.rewards(whole)
        other, _ = ready(by_chance, states=states)
        other.observe([replace(t, branch=2) for t in whole])
        same(other.rewards([replace(t, branch=2) for t in whole]), paid)


# Options


@pytest.mark.parametrize(
    "options", [*({n: x} for n in ("samples", "states") for x in (-1, 1.5, "2", None)), {"samples": 0}]
)
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward monte-carlo: {next(iter(options))}="):
        MonteCarlo(**options)


def test_it_is_found_by_its_name_and_its_defaults_play_two_episodes_for_one():
    made = registry.build("rewards", "monte-carlo")
    assert (made.samples, made.states) == (2, 1)
    made.simulator = fake_simulator
    made.observe([long(1.0, 7)])
    assert len(made.state_dict()["values"]) == 2
