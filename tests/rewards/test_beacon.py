"""beacon: segments between milestones, nearness to the next one, and what is compared with what."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from by_hand import advantages, same, spoken
from hypothesis import given
from hypothesis import strategies as st
from strategies import episode, groups, max_examples

from spa_bench import credit
from spa_bench.contract.laws import check_reward
from spa_bench.core import Trajectory, UserError
from spa_bench.rewards.beacon import Beacon


def walked(outcome: float, *progress: float, start: float = 0.5, **fields: object) -> Trajectory:
    """An episode with this progress after each of its steps."""
    made = episode(outcome, [True] * len(progress))
    steps = tuple(replace(step, progress=p) for step, p in zip(made.steps, progress, strict=True))
    return replace(made, steps=steps, start_progress=start, **fields)  # type: ignore[arg-type]


WON = walked(1.0, 0.5, 0.75, 1.0)
"""Milestones at steps 1 and 2; segments from .5 (steps 0 and 1) and .75 (step 2)."""
LOST = walked(0.0, 0.75, 0.5, 0.75, 0.75)
"""A milestone at step 0; from .75 on nothing is reached: a step back and forth is none."""
HALF = Beacon(gamma=0.5)


@pytest.mark.parametrize("options", [{}, {"normalise": True, "weight": 0.5, "gamma": 1.0}])
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(Beacon, **options), made)


def test_its_rewards_lead_to_milestones_and_end_with_the_outcome():
    """.5 and 1 to the milestone at step 1, 1 at the one at step 2, and the outcome there."""
    same(HALF.rewards([WON, LOST]), [[0.5, 1.0, 2.0], [1.0, 0.0, 0.0, 0.0]])
    same(Beacon(gamma=0.5, weight=0.1).rewards([WON]), [[0.05, 0.1, 1.1]])
    same(HALF.rewards([walked(0.5), walked(0.5, 0.5)]), [[], [0.5]])


def test_beacon_by_hand():
    """Outcomes less 1/2. From .5: 1/2, 1 and 1 of the other, mean 5/6. From .75: 1 and three zeros, mean 1/4."""
    won, lost = [1 / 2 - 1 / 3, 1 / 2 + 1 / 6, 1 / 2 + 3 / 4], [-1 / 2 + 1 / 6, *[-1 / 2 - 1 / 4] * 3]
    same(advantages(HALF, [WON, LOST]), [won, lost])
    thrice = [np.array(a) + 2 * (np.array(a) - b) for a, b in ((won, 0.5), (lost, -0.5))]
    same(advantages(Beacon(gamma=0.5, weight=3.0), [WON, LOST]), thrice)


def test_beacon_in_units_of_the_spread_by_hand():
    """Outcomes: 1/2 over the root of 1/2. From .5: squares 1/9 + 2/36 = 1/6 over 2. From .75: 9/16 + 3/16 over 3."""
    outcome, early, late = 0.5**0.5, 12**0.5, 2.0
    won = [outcome - early / 3, outcome + early / 6, outcome + late * 3 / 4]
    lost = [-outcome + early / 6, *[-outcome - late / 4] * 3]
    same(advantages(Beacon(gamma=0.5, normalise=True), [WON, LOST]), [won, lost], atol=1e-4)


def test_only_what_came_as_far_is_compared():
    """Two milestones at once: the third is alone in its segment from .5 on, and nobody comes from 1."""
    jump = walked(1.0, 1.0)
    same(advantages(HALF, [WON, jump]), [[-1 / 3, 1 / 6, 0], [1 / 6]])
    elsewhere = walked(1.0, 0.75, start=0.25)
    same(advantages(HALF, [WON, elsewhere]), [[-1 / 4, 1 / 4, 0], [0]])


def test_a_failure_is_rewarded_for_the_milestones_that_it_reached():
    """What the paper asks for: its first step is worth more than the slower one of the success, its last ones less."""
    won, lost = (a - o for a, o in zip(advantages(HALF, [WON, LOST]), (0.5, -0.5), strict=True))
    assert lost[0] > won[0]
    assert max(lost[1:]) < 0 < won[2]


def test_by_default_it_decays_as_the_paper_says():
    same(Beacon().rewards([walked(0.0, 0.5, 0.5, 1.0)]), [[0.95**2, 0.95, 1.0]])


@max_examples(50)
@given(levels=st.lists(st.floats(0, 1), max_size=8), gamma=st.floats(0.1, 1))
def test_steps_of_a_segment_grow_towards_their_milestone_and_the_last_ones_get_nothing(levels, gamma):
    trajectory = walked(0.0, *levels)
    method = Beacon(gamma=gamma)
    ends = method.reached(trajectory)
    shaped = method.shaped(trajectory)
    assert (shaped[ends] == 1).all()
    assert not shaped[ends[-1] + 1 if ends else 0 :].any()
    begins = [0, *(end + 1 for end in ends)]
    for begin, end in zip(begins, ends, strict=False):
        assert (np.diff(shaped[begin : end + 1]) >= 0).all()
        assert len({method.segments(trajectory)[turn] for turn in range(begin, end + 1)}) == 1


def test_nobody_is_compared_with_another_seat_or_with_a_broken_episode():
    for other in (replace(LOST, character=1), replace(LOST, error="the world timed out")):
        got = advantages(Beacon(gamma=0.5), [WON, other])
        same(got[:1], [[-1 / 4, 1 / 4, 0]])
        assert other.character or not got[1].any()


def test_of_a_branch_only_its_own_steps_are_compared():
    """The failure's first step is another episode's: from .5 there are 1/2 and 1 alone."""
    part = replace(LOST, branch=1)
    played = [r[t.branch :] for t, r in zip((WON, part), HALF.rewards([WON, part]), strict=True)]
    pairs = HALF.advantages([WON, part], played, [np.zeros(len(r) + 1) for r in played], 1.0, 1.0)
    same([a for a, _ in pairs], [[1 / 4, 3 / 4, 5 / 4], [-3 / 4] * 3])


def test_tokens_share_the_advantage_of_their_turn():
    counts = [(2, 3, 1), (1, 1, 2, 4)]
    group = [spoken(t, *n) for t, n in zip((WON, LOST), counts, strict=True)]
    streams = [credit.on_last_token(r, n) for r, n in zip(HALF.rewards(group), counts, strict=True)]
    pairs = HALF.advantages(group, streams, [np.zeros(len(r) + 1) for r in streams], 1.0, 0.95)
    same([a for a, _ in pairs], [np.repeat(a, n) for a, n in zip(advantages(HALF, [WON, LOST]), counts, strict=True)])


@pytest.mark.parametrize("options", [{"weight": -1}, {"gamma": 0}, {"epsilon": 0}, {"normalise": "no"}])
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward beacon: {next(iter(options))}="):
        Beacon(**options)
