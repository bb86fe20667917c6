"""hgpo: steps of one state compared, and again those that share their past; the longer the past, the more it weighs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from by_hand import advantages, same, spoken, told
from hypothesis import given
from strategies import groups, max_examples

from spa_bench.contract.laws import check_reward
from spa_bench.core import UserError
from spa_bench.rewards.gigpo import GiGPO
from spa_bench.rewards.grpo import GRPO
from spa_bench.rewards.hgpo import HGPO

GROUP = [told("A x B y C", 1.0), told("A x B z D", 0.0), told("E x B y C", 1.0)]
"""Returns at gamma 1/2: 1/2, 1; 0, 0; 1/2, 1. Alone with its past: the third episode's B."""
PLAIN = {"gamma": 0.5, "normalise": False, "history": 1}


@pytest.mark.parametrize("options", [{}, {"normalise": False, "history": 4, "alpha": 2.0, "weights": "released"}])
@max_examples(15)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(HGPO, **options), made)


def test_hgpo_by_hand():
    """Level 0: A has 1/2 and 0, so +-1/4; B has 1, 0 and 1, so 1/3, -2/3, 1/3; E is alone. Level 1: A B has 1 and 0, so
    +-1/2; E B is alone; first steps have none. Weights 1 and 2: (1/3 + 2/2) / 3 = 4/9, (-2/3 - 2/2) / 3 = -5/9, and 1/3
    where level 0 is all there is.
    """
    same(advantages(HGPO(**PLAIN), GROUP), [[1 / 4, 4 / 9], [-1 / 4, -5 / 9], [0.0, 1 / 3]])


def test_other_weights_by_hand():
    """The code's are 2 and 3: (2/3 + 3/2) / 5 and (-4/3 - 3/2) / 5. At alpha 0 both are 1; at alpha 2, 1 and 4."""
    second = {
        (1.0, "released"): [13 / 30, -17 / 30, 1 / 3],
        (0.0, "paper"): [5 / 12, -7 / 12, 1 / 3],
        (2.0, "paper"): [7 / 15, -8 / 15, 1 / 3],
    }
    for (alpha, weights), wanted in second.items():
        got = advantages(HGPO(**PLAIN, alpha=alpha, weights=weights), GROUP)
        same([a[1:] for a in got], [[one] for one in wanted])


def test_in_units_of_the_spread_of_all_n():
    """Of two +-1; at B squares 1/9 + 4/9 + 1/9 over 3, the root of 2/9: 1/3 and 2/3 are the root of 1/2 and of 2."""
    half, two = 0.5**0.5, 2**0.5
    wanted = [[1.0, (half + 2) / 3], [-1.0, (-two - 2) / 3], [0.0, half]]
    same(advantages(HGPO(gamma=0.5, history=1), GROUP), wanted, atol=1e-5)


def test_a_level_that_says_nothing_has_no_weight():
    """B after A twice, with equal returns: level 1 is 0 for both and does not halve what level 0 says."""
    group = [told("A x B y C", 1.0), told("A x B y C", 1.0), told("E x B z D", 0.0)]
    got = advantages(HGPO(**PLAIN), group)
    same([a[1:] for a in got], [[1 / 3], [1 / 3], [-2 / 3]])


def test_a_first_step_has_no_past_to_share():
    """Episodes of one step are no group of those that have nothing before it."""
    group = [told("A x B", 1.0), told("A y C", 0.0), told("A x B y C", 1.0)]
    got = advantages(HGPO(gamma=1.0, normalise=False, history=3), group)
    same([a[:1] for a in got], [[1 / 3], [-2 / 3], [1 / 3]])


def test_what_was_done_is_no_part_of_the_past_and_what_was_seen_is():
    """B after A, by x and by w: together. B after C: apart."""
    pair = [told("A x B y G", 1.0), told("A w B z D", 0.0)]
    same(advantages(HGPO(**PLAIN), pair), [[1 / 4, 1 / 2], [-1 / 4, -1 / 2]])
    apart = [told("A x B y G", 1.0), told("C x B z D", 0.0)]
    same(advantages(HGPO(**PLAIN), apart), [[0.0, 1 / 2], [0.0, -1 / 2]])
    lonely = [told("A x B y G", 1.0), told("C x B z D", 0.0), told("C x B z D", 0.5)]
    got = advantages(HGPO(**PLAIN), lonely)
    same(got[1:], [[-1 / 8, (-1 / 2 - 2 / 4) / 3], [1 / 8, 1 / 4]])  # level 1 is +-1/4, level 0 of the last one 0


def test_without_a_past_it_is_gigpo_s_comparison_of_steps():
    whole, episodes = (advantages(m, GROUP) for m in (GiGPO(gamma=0.5, normalise=False), GRPO(normalise=False)))
    steps = [a - e for a, e in zip(whole, episodes, strict=True)]
    same(advantages(HGPO(gamma=0.5, normalise=False, history=0), GROUP), steps)


def test_it_compares_nobody_with_a_broken_episode_or_alone_and_shares_a_turn_s_advantage():
    broken = replace(GROUP[1], error="it broke")
    same(advantages(HGPO(), [GROUP[0], broken]), [[0.0, 0.0], [0.0, 0.0]])
    same(advantages(HGPO(), [told("A x A y A", 1.0)]), [[0.0, 0.0]])
    got = advantages(HGPO(**PLAIN), [spoken(GROUP[0], 2, 1), *GROUP[1:]])
    assert [len(a) for a in got] == [2, 2, 2]


def test_the_steps_before_a_branch_are_past_and_not_judged():
    """The second one is B after A, as the first one's; its own A is another episode's."""
    got = advantages_from(1)
    same(got, [[0.0, 1 / 2], [-1 / 2]])


def advantages_from(branch: int) -> list[np.ndarray]:
    group = [GROUP[0], replace(GROUP[1], branch=branch)]
    method = HGPO(**PLAIN)
    rewards = [r[t.branch :] for t, r in zip(group, method.rewards(group), strict=True)]
    return [a for a, _ in method.advantages(group, rewards, [np.zeros(len(r) + 1) for r in rewards], 1.0, 1.0)]


@pytest.mark.parametrize("options", [{"history": -1}, {"alpha": -0.1}, {"gamma": 0.0}, {"weights": "mine"}])
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward hgpo: {next(iter(options))}="):
        HGPO(**options)


def test_it_says_where_it_is_not_the_paper_s():
    assert HGPO().our_form == HGPO(history=4, key="observation").our_form == ""
    assert HGPO(key="state", weights="released").our_form == (
        "a state is the world's own (the paper: the text) and the weight of level k is (k + 2)^alpha (the paper: (k + "
        "1)^alpha)"
    )
