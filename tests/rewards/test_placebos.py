"""Rewards that know nothing of a step, and the one that knows all: even, random, last, by the clock, by the oracle.

And whether the advantages of each built-in method differ from those of every other, placebos included.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from strategies import episode, groups, max_examples, trajectories

from spa_bench import registry
from spa_bench.contract.fakes import fake_encoder
from spa_bench.contract.fingerprint import SAME, distance, examples, fingerprint
from spa_bench.contract.laws import check_reward
from spa_bench.core import Trajectory, UserError
from spa_bench.rewards.all_on_last import AllOnLast
from spa_bench.rewards.potential import Potential
from spa_bench.rewards.random_split import RandomSplit
from spa_bench.rewards.spa import SPA
from spa_bench.rewards.time_only import TimeOnly
from spa_bench.rewards.uniform import Uniform


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def learned(cls: type[SPA], **options: float) -> SPA:
    """Fitted to episodes of one to four steps whose outcomes differ."""
    method = cls(**{"hidden": 4, "epochs": 10, **options})  # type: ignore[arg-type]
    method.encoder = fake_encoder
    explored = [episode(1.0 - 0.1 * (n % 3), [n % 5 > 0] * (1 + n % 4), words=str(n)) for n in range(12)]
    method.fit([*explored, episode(0.0, [True] * 6, words="late")], [])
    return method


def walked(outcome: float, start: float, progress: Sequence[float]) -> Trajectory:
    """An episode whose steps reach these values of the oracle's progress."""
    plain = episode(outcome, [True] * len(progress))
    steps = tuple(replace(step, progress=p) for step, p in zip(plain.steps, progress, strict=True))
    return replace(plain, steps=steps, start_progress=start)


# Contract tests, on random groups


@pytest.mark.parametrize(
    "method",
    [
        Uniform,
        RandomSplit,
        Potential,
        partial(AllOnLast, hidden=4, epochs=2),
        partial(TimeOnly, hidden=4, epochs=2),
        partial(TimeOnly, hidden=4, epochs=2, exact=False, bonus="sum"),
    ],
)
@max_examples(25)
@given(made=groups())
def test_every_placebo_passes_the_contract_tests_on_random_groups(method, made):
    check_reward(method, made)


def test_who_claims_to_conserve_the_return():
    assert Uniform.conserves_return and RandomSplit.conserves_return and Potential.conserves_return
    assert not AllOnLast.conserves_return
    assert not TimeOnly.conserves_return


@pytest.mark.parametrize("name", ["all-on-last", "time-only"])
def test_what_is_made_of_spa_takes_the_options_of_spa(name):
    made = registry.build("rewards", name, alpha=2.0, bonus="sum")
    assert (made.alpha, made.bonus) == (2.0, "sum")
    with pytest.raises(UserError, match="did you mean alpha"):
        registry.build("rewards", name, alhpa=2.0)


# uniform


def test_uniform_by_hand():
    """1 over four steps, .6 over three, nothing over none: .25 each, .2 each, nothing."""
    group = [episode(1.0, [True] * 4), episode(0.6, [True, False, True]), episode(0.0, [False]), episode(1.0, [])]
    for got, want in zip(Uniform().rewards(group), ([0.25] * 4, [0.2] * 3, [0.0], []), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-15)


# random-split


def test_a_random_split_is_that_of_the_episode_and_of_the_seed_alone():
    group = [episode(1.0, [True] * 5, words=str(n)) for n in range(3)]
    method, other = RandomSplit(), RandomSplit()
    other.seed = 1
    alone = [method.rewards([t])[0] for t in group]
    for one, together in zip(alone, method.rewards(group[::-1])[::-1], strict=True):
        np.testing.assert_array_equal(one, together)
    assert len({tuple(split) for split in [*alone, *other.rewards(group)]}) == 6
    elsewhere = method.rewards([episode(1.0, [True] * 5, "another/task", "0")])[0]
    assert not np.array_equal(alone[0], elsewhere)


def test_a_random_split_favours_no_step_and_every_split_is_equally_likely():
    """Two steps under Dirichlet(1, 1): the first share is uniform on [0, 1]. Of three, each has mean 1/3, var 1/18."""
    twos = RandomSplit().rewards([episode(0.5, [True] * 2, words=str(n)) for n in range(500)])
    first, second = np.array(twos).T / 0.5
    np.testing.assert_allclose(first + second, 1.0, rtol=1e-12)
    assert kstest(first, "uniform").pvalue > 0.01
    threes = np.array(RandomSplit().rewards([episode(1.0, [True] * 3, words=str(n)) for n in range(500)]))
    np.testing.assert_allclose(threes.mean(axis=0), 1 / 3, atol=0.04)
    np.testing.assert_allclose(threes.var(axis=0), 1 / 18, atol=0.012)


def test_one_step_gets_the_whole_outcome_and_a_failure_gets_nothing():
    split = RandomSplit().rewards([episode(0.7, [True]), episode(0.0, [True] * 3), episode(1.0, [])])
    for got, want in zip(split, ([0.7], [0.0] * 3, []), strict=True):
        np.testing.assert_array_equal(got, want)


# all-on-last


def test_all_on_last_by_hand():
    """The network of one unit that spa's golden test explains: c = relu((h - 1) / 2) + .25 for h = 3, 1, -5.

    c = 1.25, .25, .25 and two of three steps grounded: 1 + .5 * 2/3 where contributions close on the outcome 1,
    1.75 + .5 * 2/3 where they do not. A lone step, not grounded, with outcome 0: 0 and 1.25.
    """
    state = {"mean": [1.0], "std": [2.0], "w1": [[1.0]], "b1": [0.0], "w2": [1.0], "b2": [0.25]}
    for exact, long, short in ((True, 1 + 1 / 3, 0.0), (False, 1.75 + 1 / 3, 1.25)):
        method = AllOnLast(exact=exact)
        method.load_state_dict(
            {"fitted": np.ones(1, dtype=np.int8)} | {k: np.array(v, dtype=np.float32) for k, v in state.items()}
        )
        method.encoder = lambda ts: [np.array([[3.0], [1.0], [-5.0]], dtype=np.float32)[: len(t)] for t in ts]
        first, second, none = method.rewards(
            [episode(1.0, [True, False, True]), episode(0.0, [False]), episode(1.0, [])]
        )
        np.testing.assert_allclose(first, [0.0, 0.0, long], rtol=1e-12)
        np.testing.assert_allclose(second, [short], atol=1e-12)
        assert none.shape == (0,)


@given(trajectories(min_steps=1))
@max_examples(20)
def test_all_on_last_has_the_sums_of_spa(trajectory):
    (placebo,), (spa,) = learned(AllOnLast).rewards([trajectory]), learned(SPA).rewards([trajectory])
    assert placebo[-1] == pytest.approx(spa.sum(), abs=1e-12)
    assert not placebo[:-1].any()


# time-only


def test_time_only_by_hand():
    """Two explored episodes and a network that does not learn: .25 a step, and the bonus .5 * change of the share.

    a: outcome 1, grounded yes, no, yes, yes: shares 1, 1/2, 2/3, 3/4 -> .75, 0, .25 + 1/12, .25 + 1/24; sum 1.375.
    b: outcome .5, grounded no, yes: shares 0, 1/2 -> .25, .5; sum .75.
    Only turns that were not the last count: m = (.75 + .25) / 2, 0, 1/3. Beyond the outcome: (.375 + .25) / 2 = .3125.
    """
    method = TimeOnly(learning_rate=0.0, epochs=1)
    method.encoder = fake_encoder
    explored = [episode(1.0, [True, False, True, True], words="a"), episode(0.5, [False, True], words="b")]
    broken = replace(episode(0.0, [True] * 9, words="c"), error="the world timed out")
    assert method.fit([*explored, broken, episode(0.0, [])], [])["episodes"] == 2
    priced = method.rewards([episode(r, [False] * n) for r, n in ((0.0, 6), (1.0, 3), (0.5, 2), (1.0, 1), (1.0, 0))])
    wanted = [
        [0.5, 0.0, 1 / 3, 0.0, 0.0, 0.3125 - 0.5 - 1 / 3],
        [0.5, 0.0, 1.3125 - 0.5],
        [0.5, 0.8125 - 0.5],
        [1.3125],
        [],
    ]
    for got, want in zip(priced, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    assert method.state_dict().keys() == {"profile", "surplus"}


@given(trajectories(min_steps=1))
@max_examples(20)
def test_what_happened_is_no_matter_to_the_clock(trajectory):
    method = learned(TimeOnly)
    other = episode(trajectory.outcome, [False] * len(trajectory), "another/task", "quite other words")
    np.testing.assert_array_equal(*method.rewards([trajectory, other]))


def test_no_reward_of_the_clock_depends_on_later_turns():
    long, short = learned(TimeOnly).rewards([episode(1.0, [True] * 8), episode(0.0, [False] * 4)])
    np.testing.assert_array_equal(long[:3], short[:3])
    assert np.abs(long[:3]).min() > 1e-3


def test_the_clock_has_the_mean_rewards_of_spa():
    """On the explored episodes themselves, and turn by turn where all are equally long."""
    explored = [episode(n % 2, [n % 3 > 0, True, n % 4 > 0, False], words=str(n)) for n in range(12)]
    paid = []
    for cls in (SPA, TimeOnly):
        method = cls(hidden=4, epochs=10)
        method.encoder = fake_encoder
        method.fit(explored, [])
        paid.append(np.mean(method.rewards(explored), axis=0))
    np.testing.assert_allclose(paid[1], paid[0], atol=1e-6)


def test_the_clock_starts_with_the_fit():
    method = TimeOnly()
    for state in ({}, method.state_dict()):
        method.load_state_dict(state)
        with pytest.raises(RuntimeError, match="before fit"):
            method.rewards([episode(1.0)])
    method.encoder = fake_encoder
    method.fit([], [])
    np.testing.assert_array_equal(method.rewards([episode(1.0)])[0], [0.0, 0.0, 1.0])


# potential


def test_potential_by_hand():
    """Progress starts at .5, so that P = (p - .5) / .5.

    p = .75, .5, 1, outcome 1: P = .5, 0 and the outcome at the end: .5, -.5, 1. Cut off at p = .75, .75: the gain of
    .5 is given back. From .2 to 1 by way of .6: P = .5. A loss of all, p = 0: P = -1. One step: the outcome.
    """
    group = [
        walked(1.0, 0.5, [0.75, 0.5, 1.0]),
        walked(0.0, 0.5, [0.75, 0.75]),
        walked(1.0, 0.2, [0.6, 1.0]),
        walked(0.3, 0.5, [0.0, 0.0, 0.0]),
        walked(0.7, 0.5, [0.9]),
        walked(1.0, 1.0, [1.0, 1.0]),
        walked(1.0, 0.5, []),
    ]
    wanted = [[0.5, -0.5, 1.0], [0.5, -0.5], [0.5, 0.5], [-1.0, 0.0, 1.3], [0.7], [0.0, 1.0], []]
    for got, want in zip(Potential().rewards(group), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 0.9), st.sampled_from([0.0, 0.3, 1.0]), st.data()
)
def test_a_way_there_and_back_earns_nothing_and_moves_nothing_else(progress, start, outcome, data):
    (plain,) = Potential().rewards([walked(outcome, start, progress)])
    assert plain.sum() == pytest.approx(outcome, abs=1e-9)
    at = data.draw(st.integers(0, len(progress) - 1))
    here = progress[at - 1] if at else start
    (looped,) = Potential().rewards([walked(outcome, start, [*progress[:at], 0.35, here, *progress[at:]])])
    assert looped[at : at + 2].sum() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(np.delete(looped, [at, at + 1]), plain, atol=1e-9)


@given(st.lists(st.floats(0, 1), max_size=9), st.floats(0, 0.9))
def test_a_success_is_paid_for_nothing_but_its_progress(progress, start):
    """No lump at the end: every step, the last included, earns its part of the way from the start to 1."""
    (paid,) = Potential().rewards([walked(1.0, start, [*progress, 1.0])])
    np.testing.assert_allclose(paid, np.diff([start, *progress, 1.0]) / (1 - start), atol=1e-9)


# Fingerprints differ


def test_no_two_methods_have_the_same_advantages():
    explored, batch = examples()
    fingerprints = {
        name: fingerprint(registry.find("rewards", name)(), explored, batch) for name in registry.names("rewards")
    }
    for (one, a), (other, b) in itertools.combinations(fingerprints.items(), 2):
        assert distance(a, b) > SAME, f"{one} has the advantages of {other}"
