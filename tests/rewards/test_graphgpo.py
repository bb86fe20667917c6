"""graphgpo: steps compared by how near to success the state is that they lead to, on the graph of all episodes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from by_hand import advantages, same, spoken, told
from hypothesis import given
from strategies import groups, max_examples

from spa_bench.contract.laws import check_reward
from spa_bench.core import UserError
from spa_bench.rewards.graphgpo import GraphGPO, distances
from spa_bench.rewards.grpo import GRPO

PAIR = [told("A x B y C z G", 1.0), told("A w C v D", 0.0)]
PLAIN = {"omega": 0.5, "normalise": False}


@pytest.mark.parametrize("options", [{}, {"normalise": False, "omega": 0.9, "key": "history-1"}])
@max_examples(15)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(GraphGPO, **options), made)


def nodes(letters: str, who: str = "t") -> list[tuple[str, str | None]]:
    return [(who, None if letter == "!" else letter) for letter in letters]


def test_distances_by_hand():
    """The failure's A to C is a short cut of the success. From D no way is known: one farther than A and B. Of another
    task nothing is known at all.
    """
    far = distances([nodes("ABC!"), nodes("ACD"), [], nodes("AB", "u")])
    assert far == {
        **{("t", letter): n for letter, n in (("A", 2), ("B", 2), ("C", 1), (None, 0), ("D", 3))},
        **{("u", "A"): 1, ("u", "B"): 1},
    }
    assert distances([nodes("ABABA!")]) == {("t", "A"): 1, ("t", "B"): 2, ("t", None): 0}


def test_graphgpo_by_hand():
    """d: A 2, B 2, C 1, D 3. x = 2^-(d + 1) of the success: 1/8, 1/4, 1/2; of the failure: 1/4, 1/16. At A -+1/16, B is
    alone, at C +-7/32. Episodes: +-1/2.
    """
    wanted = [[0.5 - 1 / 16, 0.5, 0.5 + 7 / 32], [-0.5 + 1 / 16, -0.5 - 7 / 32]]
    same(advantages(GraphGPO(**PLAIN), PAIR), wanted)
    same(advantages(GraphGPO(**PLAIN, weight=2.0), PAIR), [[3 / 8, 0.5, 15 / 16], [-3 / 8, -15 / 16]])


def test_in_units_of_each_spread():
    """Of two +-1 over the root of 2: the detour of the success at A takes back what its episode gives."""
    one = 0.5**0.5
    same(advantages(GraphGPO(omega=0.5), PAIR), [[0.0, one, 2 * one], [0.0, -2 * one]], atol=1e-4)


def test_where_nobody_succeeded_steps_are_not_told_apart():
    lost = [told("A x B y C", 0.0), told("A w C v D", 0.0), told("A w B v D", 0.4)]
    same(advantages(GraphGPO(**PLAIN), lost), advantages(GRPO(normalise=False), lost))


def test_a_walk_in_a_circle_is_worse_than_the_way_on():
    """At A: to B and back, then to the goal, d(B) = 2: x = 1/8 against 1/2."""
    group = [told("A x B y A z G", 1.0), told("A z G", 1.0)]
    (circle, straight) = advantages(GraphGPO(**PLAIN), group)
    mean = (1 / 8 + 1 / 2 + 1 / 2) / 3
    same([circle, straight], [[1 / 8 - mean, 0.0, 1 / 2 - mean], [1 / 2 - mean]])


def test_success_is_the_goal_and_not_a_text():
    """An episode that ends in the text where a success ended has not reached it."""
    group = [told("A x B y G", 1.0), told("A x B y G", 0.0)]
    # d(A) is 2, that of the text G 3: at B 1/2 and 1/16.
    same(advantages(GraphGPO(**PLAIN), group), [[0.5, 0.5 + 7 / 32], [-0.5, -0.5 - 7 / 32]])


def test_each_character_has_a_graph_of_its_own():
    other = [replace(t, character=1) for t in (told("A x B", 0.0), told("A w C", 0.0))]
    got = advantages(GraphGPO(**PLAIN), [*PAIR, *other])
    same(got[:2], advantages(GraphGPO(**PLAIN), PAIR))
    same(got[2:], [[0.0], [0.0]])


def test_weight_0_is_grpo_and_one_episode_or_a_broken_one_teaches_nothing():
    same(advantages(GraphGPO(weight=0.0), PAIR), advantages(GRPO(), PAIR))
    same(advantages(GraphGPO(), [told("A x A y G", 1.0)]), [[0.0, 0.0]])
    broken, third = replace(PAIR[0], error="it broke"), told("A x C z G", 1.0)
    got = advantages(GraphGPO(**PLAIN), [broken, PAIR[1], third])
    same(got[:1], [[0.0] * 3])
    same(got[1:], advantages(GraphGPO(**PLAIN), [PAIR[1], third]))
    assert [len(a) for a in advantages(GraphGPO(), [spoken(PAIR[1], 3, 1), PAIR[0]])] == [2, 3]


@pytest.mark.parametrize("options", [{"omega": 0.0}, {"omega": 1.0}, {"weight": -1}, {"key": "text"}])
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward graphgpo: {next(iter(options))}="):
        GraphGPO(**options)


def test_another_key_is_our_form():
    assert GraphGPO().our_form == ""
    assert GraphGPO(key="state").our_form == "a state is the world's own (the paper: the observation alone)"
