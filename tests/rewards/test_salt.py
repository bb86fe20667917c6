"""salt: what all episodes that took a step have in common; a step that one of them alone took keeps its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from by_hand import advantages, same, spoken, told
from hypothesis import given
from strategies import groups, max_examples

from spa_bench import credit
from spa_bench.contract.laws import check_reward
from spa_bench.core import UserError
from spa_bench.rewards.grpo import GRPO
from spa_bench.rewards.salt import SALT

GROUP = [told("A x B y G", 1.0), told("A x B z C", 0.0), told("A x B y G", 0.5), told("A w D", 0.0)]
"""Outcomes less their mean 3/8: 5/8, -3/8, 1/8, -3/8."""


@pytest.mark.parametrize("options", [{}, {"normalise": False, "key": "history-2"}])
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(options, made):
    check_reward(partial(SALT, **options), made)


def test_salt_by_hand():
    """A x B was taken by three of them, (5/8 - 3/8 + 1/8) / 3 = 1/8; B y G by two, (5/8 + 1/8) / 2 = 3/8. The others
    are their own. In units of the spread: squares 25/64 + 9/64 + 1/64 + 9/64 = 11/16 over 3, the root of 11/48.
    """
    wanted = [[1 / 8, 3 / 8], [1 / 8, -3 / 8], [1 / 8, 3 / 8], [-3 / 8]]
    same(advantages(SALT(normalise=False), GROUP), wanted)
    same(advantages(SALT(), GROUP), [np.array(a) / (11 / 48) ** 0.5 for a in wanted], atol=1e-5)


def test_a_step_that_all_took_teaches_nothing_and_a_lone_one_all():
    group = [told("A x B y G", 1.0), told("A x B z C", 0.0), told("A x B w D", 0.5)]
    got, whole = advantages(SALT(), group), advantages(GRPO(), group)
    same([a[:1] for a in got], [[0.0]] * 3)
    same([a[1:] for a in got], [a[1:] for a in whole])


def test_a_step_is_its_state_its_action_and_where_it_led():
    """Another action, another end, another start: three steps that nobody shares. What a reply said is no matter."""
    won = told("A x B", 1.0)
    for other in (told("A y B", 0.0), told("A x C", 0.0), told("C x B", 0.0)):
        same(advantages(SALT(normalise=False), [won, other]), [[0.5], [-0.5]])
    (step,) = won.steps
    said = replace(told("A x B", 0.0), steps=(replace(step, reply="I think that\nAction: x"),))
    same(advantages(SALT(normalise=False), [won, said]), [[0.0], [0.0]])


def test_with_its_history_a_step_is_shared_only_where_the_way_to_it_is():
    """B y G came after A x and after C x: one text, two states."""
    group = [told("A x B y G", 1.0), told("C x B y G", 0.0)]
    same(advantages(SALT(normalise=False), group), [[0.5, 0.0], [-0.5, 0.0]])
    same(advantages(SALT(normalise=False, key="history-1"), group), [[0.5, 0.5], [-0.5, -0.5]])


def test_a_step_taken_twice_by_one_counts_twice():
    """A x A: twice of the winner, once of the other: (1/2 + 1/2 - 1/2) / 3."""
    group = [told("A x A x A y B", 1.0), told("A x A z C", 0.0)]
    same(advantages(SALT(normalise=False), group), [[1 / 6, 1 / 6, 1 / 2], [1 / 6, -1 / 2]])


def test_nobody_shares_with_another_task_seat_or_a_broken_episode():
    won, lost = told("A x B", 1.0), told("A x B", 0.0)
    for other in (replace(lost, character=1), replace(lost, error="the world timed out")):
        same(advantages(SALT(normalise=False), [won, other]), [[0.0], [0.0]])
        same(advantages(SALT(normalise=False), [won, told("A y C", 0.0), other]), [[0.5], [-0.5], [0.0]])


def test_of_a_branch_only_its_own_steps_are_taken():
    """The second took B z C alone; A x B is the first's, and shared with nobody: 1/2 is its own."""
    first, second = told("A x B y G", 1.0), replace(told("A x B z C", 0.0), branch=1)
    method = SALT(normalise=False)
    played = [r[t.branch :] for t, r in zip((first, second), method.rewards([first, second]), strict=True)]
    pairs = method.advantages([first, second], played, [np.zeros(len(r) + 1) for r in played], 1.0, 1.0)
    same([a for a, _ in pairs], [[0.5, 0.5], [-0.5]])


def test_tokens_share_the_advantage_of_their_turn():
    counts = [(2, 3), (1, 1), (4, 2), (3,)]
    group = [spoken(t, *n) for t, n in zip(GROUP, counts, strict=True)]
    streams = [credit.on_last_token(r, n) for r, n in zip(SALT().rewards(group), counts, strict=True)]
    pairs = SALT().advantages(group, streams, [np.zeros(len(r) + 1) for r in streams], 1.0, 0.95)
    same([a for a, _ in pairs], [np.repeat(a, n) for a, n in zip(advantages(SALT(), GROUP), counts, strict=True)])


def test_advantages_of_a_task_add_up_to_what_its_episodes_have():
    """An average moves credit between episodes that took the same step, and makes none."""
    whole = [np.full(len(t), a) for t, a in zip(GROUP, (5 / 8, -3 / 8, 1 / 8, -3 / 8), strict=True)]
    got = np.concatenate(advantages(SALT(normalise=False), GROUP))
    assert got.sum() == pytest.approx(np.concatenate(whole).sum())


@pytest.mark.parametrize("options", [{"key": "text"}, {"epsilon": 0}, {"normalise": "no"}])
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward salt: {next(iter(options))}="):
        SALT(**options)
