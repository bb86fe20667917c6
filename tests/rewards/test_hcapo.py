"""hcapo: what the policy would have said had it known the end, turned into the worth of each step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from by_hand import advantages, same, spoken, told
from hypothesis import given
from hypothesis import strategies as st
from strategies import episode, groups, max_examples

from spa_bench import credit
from spa_bench.contract.laws import check_reward
from spa_bench.core import UserError
from spa_bench.rewards.grpo import GRPO
from spa_bench.rewards.hcapo import HCAPO


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


LOGPROBS = {"A": 0.0, "B": float(np.log(1 / 32)), "C": float(np.log(1 / 1024))}
"""Divided by 5 and raised, 1, 1/2 and 1/4."""


def knowing(**options: object) -> HCAPO:
    """With a policy whose log-probs depend on the observation alone; it notes what it is told."""
    method = HCAPO(**{"gamma": 0.5, "smoothing": 1.0, "low": 0.0, "high": 9.0, **options})  # type: ignore[arg-type]
    method.asked = []  # type: ignore[attr-defined]

    def hindsight(trajectories, hints):
        method.asked += hints
        return [np.array([LOGPROBS[step.observation] for step in t.steps]) for t in trajectories]

    method.hindsight = hindsight
    return method


WON, LOST = told("A x B y C z D", 1.0), told("A x B y B w E", 0.0)
"""h of the first 1, 1/2, 1/4 with the mean 7/12: rho 12/7, 6/7, 3/7; times 1/4, 1/2, 1: q 3/7 at each step."""


@pytest.mark.parametrize("options", [{}, {"normalise": False, "smoothing": 1.0, "weight": 0.5}])
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(HCAPO, **options), made)


def test_q_by_hand():
    """Clipped to .8 and 1.2 rho is 1.2, 6/7 and .8: q .3, 3/7 and .8. Half of the next: 51/140, 43/70 and the last."""
    same(knowing().values([WON, LOST]), [[3 / 7] * 3, [0] * 3])
    same(knowing(low=0.8, high=1.2).values([WON]), [[0.3, 3 / 7, 0.8]])
    same(knowing(low=0.8, high=1.2, smoothing=0.5).values([WON]), [[51 / 140, 43 / 70, 0.8]])
    same(knowing(low=0.8, high=1.2, smoothing=0.0).values([WON]), [[3 / 7, 0.8, 0.8]])
    same(knowing(temperature=2.5).values([told("A x B y D", 0.5)]), [[0.25 * 8 / 5, 0.5 * 2 / 5]])


def test_hcapo_by_hand():
    """Outcomes 1/2 and -1/2. Q .3, 3/7, .8 and three zeros, mean 107/420: less it, 19/420, 73/420, 229/420."""
    q = np.array([19, 73, 229, -107, -107, -107]) / 420
    method = knowing(low=0.8, high=1.2, normalise=False)
    same(advantages(method, [WON, LOST]), [0.5 + q[:3], -0.5 + q[3:]])
    half = knowing(low=0.8, high=1.2, normalise=False, weight=0.5)
    same(advantages(half, [WON, LOST]), [0.5 + q[:3] / 2, -0.5 + q[3:] / 2])
    root, spread = 0.5**0.5, (float((q**2).sum()) / 5) ** 0.5
    scaled = knowing(low=0.8, high=1.2)
    same(advantages(scaled, [WON, LOST]), [root + q[:3] / spread, -root + q[3:] / spread], atol=1e-5)


def test_hindsight_harms_no_success():
    """Two successes: what is below the mean of Q in one is left at the outcome's advantage; a part of it is no success.

    Q .25 * 12/7 and so on is 3/7 thrice; of the short one rho is 1 and Q 1, the mean 4/7.
    """
    short = told("A x D", 1.0)
    same(advantages(knowing(normalise=False), [WON, short]), [[0, 0, 0], [3 / 7]])
    most = told("A x D", 0.75)
    q = np.array([3 / 7, 3 / 7, 3 / 7, 3 / 4])
    got = advantages(knowing(normalise=False), [WON, most])
    same(got, [[1 / 8] * 3, [-1 / 8 + (q - q.mean())[3]]])
    less = told("A x D", 0.25)
    q = np.array([3 / 7, 3 / 7, 3 / 7, 1 / 4])
    same(advantages(knowing(normalise=False), [WON, less])[1:], [[-3 / 8 + (q - q.mean())[3]]])


def test_it_asks_only_where_there_is_an_outcome_and_tells_the_last_observation():
    method = knowing()
    method.values([WON, LOST, told("A x D", 0.5), replace(WON, error="the world timed out"), told("A", 1.0)])
    assert method.asked == ["D", "D"]  # type: ignore[attr-defined]
    assert HCAPO().values([LOST])[0].tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="hcapo asks the policy again: set `hindsight`"):
        HCAPO().values([WON])


def test_where_all_failed_it_is_grpo_and_nothing_is_taught():
    same(advantages(knowing(), [LOST, told("A x E", 0.0)]), [[0, 0, 0], [0]])
    partly = [told("A x E", 0.3), told("B x E", 0.6)]
    same(advantages(knowing(weight=0.0), partly), advantages(GRPO(), partly))


@max_examples(50)
@given(logprobs=st.lists(st.floats(-50, 0), min_size=1, max_size=8), smoothing=st.floats(0, 1))
def test_q_lies_between_the_bounds_times_the_return(logprobs, smoothing):
    t = episode(1.0, [True] * len(logprobs))
    method = HCAPO(gamma=1.0, smoothing=smoothing)
    method.hindsight = lambda trajectories, hints: [np.array(logprobs)]
    (q,) = method.values([t])
    assert (q >= 0.8 - 1e-12).all() and (q <= 1.2 + 1e-12).all()


def test_nobody_is_compared_with_another_seat_or_with_a_broken_episode():
    first, last = advantages(knowing(), [WON, told("B y E", 0.0)])
    for other in (replace(LOST, character=1), replace(WON, error="the world timed out")):
        got = advantages(knowing(), [WON, other, told("B y E", 0.0)])
        same(got[::2], [first, last])
        assert not got[1].any()


def test_of_a_branch_only_its_own_steps_are_compared():
    """The ratio is of the whole episode all the same: Q 3/7 at both of its own steps and at three of the other's."""
    part, method = replace(WON, branch=1), knowing(normalise=False)
    played = [r[t.branch :] for t, r in zip((part, LOST), method.rewards([part, LOST]), strict=True)]
    pairs = method.advantages([part, LOST], played, [np.zeros(len(r) + 1) for r in played], 1.0, 1.0)
    mean = 6 / 35
    same([a for a, _ in pairs], [[0.5 + 3 / 7 - mean] * 2, [-0.5 - mean] * 3])


def test_tokens_share_the_advantage_of_their_turn():
    counts = [(2, 3, 1), (1, 1, 2)]
    group = [spoken(t, *n) for t, n in zip((WON, LOST), counts, strict=True)]
    streams = [credit.on_last_token(r, n) for r, n in zip(HCAPO().rewards(group), counts, strict=True)]
    pairs = knowing().advantages(group, streams, [np.zeros(len(r) + 1) for r in streams], 1.0, 0.95)
    wanted = advantages(knowing(), [WON, LOST])
    same([a for a, _ in pairs], [np.repeat(a, n) for a, n in zip(wanted, counts, strict=True)])


@pytest.mark.parametrize(
    "options",
    [
        *({name: -1.0} for name in ("weight", "gamma", "temperature", "low", "smoothing", "epsilon")),
        *({"high": 0.9}, {"low": 1.1}, {"smoothing": 1.5}, {"normalise": "no"}),
    ],
)
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward hcapo: {next(iter(options))}="):
        HCAPO(**options)
