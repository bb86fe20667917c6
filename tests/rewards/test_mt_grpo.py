"""mt-grpo: the turns' own rewards, compared per turn number, beside the outcome; and where that is biased."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from by_hand import advantages, same, spoken
from hypothesis import given
from strategies import episode, groups, max_examples

from spa_bench import credit
from spa_bench.contract.laws import check_reward
from spa_bench.core import UserError
from spa_bench.rewards.grpo import GRPO
from spa_bench.rewards.mt_grpo import MTGRPO

GROUP = [episode(1.0, [True, False, True]), episode(0.0, [False, True, False, True]), episode(0.5, [True, True])]
"""Turn rewards with the outcome last: 1 0 1; 0 1 0 0; 1 .5."""


@pytest.mark.parametrize("options", [{}, {"form": "cae", "gamma": 0.9}, {"normalise": False, "weight": 0.5}])
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(MTGRPO, **options), made)


def test_its_rewards_are_the_grounding_signal_and_last_the_outcome():
    same(MTGRPO().rewards([*GROUP, episode(1.0, [])]), [[1, 0, 1], [0, 1, 0, 0], [1, 0.5], []])


def test_mt_grpo_by_hand():
    """Outcomes less their mean .5: .5, -.5, 0. Turn 0: 1, 0, 1 less 2/3. Turn 1: 0 and 1 less .5, the third's is its
    last. Turn 2 is the first's last, the second is alone; turn 3 is the second's last.

    Outcomes have the spread .5, turn 0 that of squares 1/9 + 4/9 + 1/9 over 2, the root of 1/3, turn 1 that of .5.
    """
    first, third, second = [1 / 3, -1 / 2, 0], [1 / 3, 0], [-2 / 3, 1 / 2, 0, 0]
    plain = [np.array(first) + 0.5, np.array(second) - 0.5, np.array(third)]
    same(advantages(MTGRPO(normalise=False), GROUP), plain)
    half = [np.array(first) / 2 + 0.5, np.array(second) / 2 - 0.5, np.array(third) / 2]
    same(advantages(MTGRPO(normalise=False, weight=0.5), GROUP), half)
    units = [3**0.5, 2**0.5, 1.0, 1.0]
    scaled = [np.array(a) * units[: len(a)] for a in (first, second, third)]
    same(advantages(MTGRPO(), GROUP), [scaled[0] + 1, scaled[1] - 1, scaled[2]], atol=1e-3)


def test_returns_are_compared_at_each_turn_by_hand():
    """With gamma .5 the returns are 5/4, 1/2, 1; 1/2, 1, 0, 0; 5/4, 1/2. Their means are 1, 2/3, 1/2 and 0."""
    wanted = [[1 / 4, -1 / 6, 1 / 2], [-1 / 2, 1 / 3, -1 / 2, 0], [1 / 4, -1 / 6]]
    same(advantages(MTGRPO(form="cae", gamma=0.5, normalise=False), GROUP), wanted)


def test_of_two_turns_it_is_the_papers():
    """The first turn has both advantages, the second that of the outcome: grounded or not, it has no other."""
    group = [episode(1.0, [True, False]), episode(0.0, [False, True])]
    root = 0.5**0.5
    same(advantages(MTGRPO(), group), [[2 * root, root], [-2 * root, -root]], atol=1e-3)
    spread = 2**-0.5 / (2**-0.5 + 1e-4)
    same(advantages(MTGRPO(), group)[:1], [np.array([2, 1]) * root * spread])


def test_nobody_is_compared_with_another_seat_or_with_a_broken_episode():
    other, broken = replace(GROUP[1], character=1), replace(GROUP[1], error="the world timed out")
    for form in ("aae", "cae"):
        first, third = advantages(MTGRPO(form=form), GROUP[::2])
        mixed = advantages(MTGRPO(form=form), [other, GROUP[0], broken, GROUP[2]])
        same(mixed, [[0.0] * 4, first, [0.0] * 4, third])


def test_a_turn_of_a_branch_keeps_its_number():
    """Turns 1 and 2 are played, the other episode's turn 0 is alone then."""
    whole, part = episode(0.0, [True, True, True]), replace(episode(0.0, [True, False, True]), branch=1)
    same(advantages_played(whole, part), [[0.0, 0.5, 0.0], [-0.5, 0.0]])


def advantages_played(*group):
    method = MTGRPO(normalise=False)
    played = [r[t.branch :] for t, r in zip(group, method.rewards(group), strict=True)]
    pairs = method.advantages(group, played, [np.zeros(len(r) + 1) for r in played], 1.0, 1.0)
    return [a for a, _ in pairs]


def test_tokens_share_the_advantage_of_their_turn():
    counts = [(2, 1, 3), (1, 1, 4, 2), (3, 1)]
    group = [spoken(t, *n) for t, n in zip(GROUP, counts, strict=True)]
    streams = [credit.on_last_token(r, n) for r, n in zip(MTGRPO().rewards(group), counts, strict=True)]
    pairs = MTGRPO().advantages(group, streams, [np.zeros(len(r) + 1) for r in streams], 1.0, 0.95)
    same([a for a, _ in pairs], [np.repeat(a, n) for a, n in zip(advantages(MTGRPO(), GROUP), counts, strict=True)])


# Its bias where the policy decides the length (verl #7244)


def test_another_turn_is_worth_nothing_whatever_it_earns():
    """Alike but for their length, one episode earns 2 and the other 4: as wholes they would have -1 and 1.

    Compared per turn number nobody has an advantage: the baseline of one turn more is what such a turn earns.
    """
    group = [episode(1.0, [True] * 2), episode(1.0, [True] * 4)]
    earned = np.array([r.sum() for r in MTGRPO().rewards(group)])
    same([earned - earned.mean()], [[-1, 1]])
    for form in ("aae", "cae"):
        for normalise in (True, False):
            late = advantages(MTGRPO(form=form, normalise=normalise), group)[1][2:]
            same([late], [[0, 0]])
    same(advantages(MTGRPO(), group), [[0, 0], [0, 0, 0, 0]])


def test_failures_that_outlast_every_success_are_compared_with_each_other():
    """Of two failures at the limit one was refused once, after the success was over: it alone is told so, and strongly.

    The other is rewarded for a late turn of a failure. With returns the outcome is not even seen there.
    """
    won, lost, refused = (
        episode(1.0, [True] * 2),
        episode(0.0, [True] * 5),
        episode(0.0, [True, True, True, False, True]),
    )
    outcome = advantages(GRPO(epsilon=1e-4), [won, lost, refused])
    _, good, bad = (a - o for a, o in zip(advantages(MTGRPO(), [won, lost, refused]), outcome, strict=True))
    root = 0.5**0.5
    same([good, bad], [[0, 0, 0, root, 0], [0, 0, 0, -root, 0]], atol=1e-3)
    _, good, bad = advantages(MTGRPO(form="cae"), [won, lost, lost])
    assert (good[:2] != 0).any()
    same([good[2:], bad[2:]], [[0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "options", [{"weight": -1}, {"form": "mae"}, {"gamma": 0}, {"epsilon": 0}, {"normalise": "no"}]
)
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward mt-grpo: {next(iter(options))}="):
        MTGRPO(**options)
