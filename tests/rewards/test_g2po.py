"""g2po: the mean outcome of a state, discounted, as its value; what a step leads to and what it gains, compared."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from by_hand import advantages, same, spoken, told
from hypothesis import given
from strategies import groups, max_examples

from spa_bench.contract.laws import check_reward
from spa_bench.core import UserError
from spa_bench.rewards.g2po import G2PO
from spa_bench.rewards.grpo import GRPO

PAIR = [told("A x B y C", 1.0), told("A x B z D", 0.0)]
PLAIN = {"gamma": 0.5, "normalise": False}


@pytest.mark.parametrize("options", [{}, {"normalise": False, "weight": 0.3, "key": "history-2"}])
@max_examples(15)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(G2PO, **options), made)


def test_g2po_by_hand():
    """Of the success v is 1/4, 1/2: V(A) = 1/8, V(B) = 1/4, and 1 and 0 at the ends. Led to: 1/4, 1 and 1/4, 0: at A
    nothing differs, at B +-1/2. Gained: 1/8, 3/4 and 1/8, -1/4, less their mean 3/16: -1/16, 9/16 and -1/16, -7/16.
    Episodes: +-1/2.
    """
    wanted = [[0.5 - 1 / 16, 0.5 + 0.5 + 9 / 16], [-0.5 - 1 / 16, -0.5 - 0.5 - 7 / 16]]
    same(advantages(G2PO(**PLAIN), PAIR), wanted)
    half = [[0.5 - 1 / 32, 0.5 + 1 / 4 + 9 / 32], [-0.5 - 1 / 32, -0.5 - 1 / 4 - 7 / 32]]
    same(advantages(G2PO(**PLAIN, weight=0.5), PAIR), half)


def test_in_units_of_each_spread():
    """1 and 0 over the root of 1/2; gains: squares (1 + 81 + 1 + 49) / 256 over 3, the root of 11/64."""
    one, gains = 0.5**0.5, (11 / 64) ** 0.5
    wanted = [[one - 1 / 16 / gains, 2 * one + 9 / 16 / gains], [-one - 1 / 16 / gains, -2 * one - 7 / 16 / gains]]
    same(advantages(G2PO(gamma=0.5), PAIR), wanted, atol=1e-5)


def test_a_step_of_a_failure_that_leads_to_a_better_state_is_praised():
    """From A to B, where others succeed, or to D, where nobody does; then from B to nothing. All in one failure."""
    group = [told("A x B y G", 1.0), told("A w D y E", 0.0), told("A x B z D v E", 0.0)]
    (*_, failure) = advantages(G2PO(**PLAIN), group)
    (*_, episode) = advantages(GRPO(normalise=False), group)
    beside = failure - episode
    # V: A (1/4 + 0 + 0) / 3 = 1/12, B (1/2 + 0) / 2 = 1/4, D 0. Led to: 1/4, 1; 0, 0; 1/4, 0, 0. Gained: 1/6, 3/4;
    # -1/12, 0; 1/6, -1/4, 0, of mean 3/28. At A 1/4, 0, 1/4 of mean 1/6; at B 1, 0; at D 0, 0.
    same([beside], [[1 / 12 + 1 / 6 - 3 / 28, -1 / 2 - 1 / 4 - 3 / 28, -3 / 28]])


def test_a_partial_outcome_is_worth_what_it_is_along_the_way_and_nothing_at_the_end():
    """V(A) = .2 of an outcome of .4 that is no success: its last step leads to 0 and loses .2; the other gains 1/2."""
    pair = [told("A x B", 0.4), told("C y D", 1.0)]
    wanted = [[-0.3 + (-0.2 - 0.15)], [0.3 + (0.5 - 0.15)]]
    same(advantages(G2PO(**PLAIN), pair), wanted)


def test_each_task_and_character_has_values_of_its_own():
    other = [replace(t, character=1) for t in PAIR]
    same(advantages(G2PO(**PLAIN), [*PAIR, *other]), [*advantages(G2PO(**PLAIN), PAIR)] * 2)


def test_weight_0_is_grpo_and_one_episode_or_a_broken_one_teaches_nothing():
    same(advantages(G2PO(weight=0.0), PAIR), advantages(GRPO(), PAIR))
    same(advantages(G2PO(), PAIR[:1]), [[0.0, 0.0]])
    broken = replace(PAIR[1], error="it broke")
    third = told("A x B z D", 0.5)
    got = advantages(G2PO(**PLAIN), [PAIR[0], broken, third])
    same(got[1:2], [[0.0, 0.0]])
    same([got[0], got[2]], advantages(G2PO(**PLAIN), [PAIR[0], third]))
    assert [len(a) for a in advantages(G2PO(), [spoken(PAIR[0], 3, 1), PAIR[1]])] == [2, 2]


@pytest.mark.parametrize("options", [{"weight": -1}, {"gamma": 1.1}, {"epsilon": 0}, {"key": "anchors"}])
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward g2po: {next(iter(options))}="):
        G2PO(**options)


def test_another_key_is_our_form():
    assert G2PO().our_form == ""
    assert G2PO(key="anchor").our_form == "a state is G2PO's anchor (the paper: the observation alone)"
