"""3SPO whole: how many replies are tried, what they are paid, and whom each is compared with, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import episode, groups, max_examples

from spa_bench import registry
from spa_bench.contract.laws import check_reward
from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.method import RewardMethod


def method(**options: object) -> RewardMethod:
    return registry.build("rewards", "3spo", **options)


def fitted(won: int, lost: int, **options: object) -> RewardMethod:
    """After episodes that all went through the same three rooms."""
    made = method(**options)
    seen = [episode(1.0)] * won + [episode(0.0)] * lost
    made.fit([replace(t, final_observation="the end") for t in seen], [])
    return made


def tried(action: str, then: str, outcome: float = 0.0, past: int = 1) -> Trajectory:
    """An episode whose last step is this action; what was before it is the same for all, and not its own."""
    whole = episode(outcome, [True] * (past + 1))
    last = replace(whole.steps[-1], action=action, reply=f"Action: {action}")
    return replace(whole, steps=(*whole.steps[:-1], last), final_observation=then, branch=past)


@max_examples(25)
@given(made=groups(), key=st.sampled_from(["task", "history", "released"]))
def test_the_contract_tests_pass_on_random_groups(made, key):
    check_reward(partial(method, key=key), made)


# How many replies are tried


@pytest.mark.parametrize(
    ("won", "lost", "options", "count"),
    [
        (0, 0, {}, 8),  # nothing is known: S = 1
        (0, 9, {}, 8),  # nine failures are fewer than xi = 10: still open
        (0, 10, {}, 0),  # ten, and no success: hopeless
        (1, 10, {}, 0),  # 1 of 11 is .09, up to zeta = .1
        (2, 10, {}, 1),  # 2 of 12 is more; S = exp(-50 * ln 13 * 2 / 12) = 5e-10, and one reply goes on
        (5, 0, {}, 1),  # solved
        (2, 2, {"alpha": 0.5}, 6),  # S = exp(-.5 * ln 5 * .5) = .669, 8 S = 5.35
        (2, 2, {"alpha": 0.5, "max_replies": 3}, 3),  # 3 S = 2.006
        (1, 1, {"alpha": 0.0}, 8),  # alpha = 0: never solved
        (3, 0, {"alpha": 1e6}, 1),  # not 0, however sharp: a solved state is not hopeless
    ],
)
def test_how_many_replies_are_tried_by_hand(won, lost, options, count):
    state = episode(0.0).until(1)
    assert fitted(won, lost, **options).branch(state) == count


def test_the_state_that_counts_is_the_one_that_the_episode_is_in():
    """The third room was never solved and the fourth never seen; the task of the key is another task."""
    made = method()
    short = replace(episode(1.0).until(2), success=True, terminated=True)
    made.fit([short] * 3, [])
    assert [made.branch(episode(0.0).until(turn)) for turn in range(4)] == [1, 1, 1, 8]
    assert made.branch(episode(0.0, key="another/task").until(0)) == 8
    assert method(key="released").branch(episode(0.0).until(0)) == 8


def test_an_episode_counts_for_the_next_reply_as_soon_as_it_is_over():
    """Nine failures known and one more in the latest batch: hopeless. For the prices of that batch there are nine."""
    made = fitted(0, 9)
    made.observe([replace(episode(0.0), final_observation="the end")])
    assert made.branch(episode(0.0).until(1)) == 0
    nine = fitted(0, 9).rewards([episode(0.0)])
    np.testing.assert_array_equal(made.rewards([episode(0.0)]), nine)
    made.observe([])
    assert made.branch(episode(0.0).until(1)) == 0
    assert not np.array_equal(made.rewards([episode(0.0)]), nine)


def test_of_an_episode_that_is_cut_off_every_state_has_failed():
    made = method()
    made.fit([replace(episode(0.0).until(1), truncated=True)] * 10, [])
    assert [made.branch(episode(0.0).until(turn)) for turn in range(3)] == [0, 0, 8]


# What a step is paid


def test_without_a_past_novelty_and_success_are_paid():
    """S = 1 everywhere and w = .5: half for each state that is first met in the episode, half for success."""
    rooms = replace(episode(1.0), final_observation="room 1 ")
    (paid,) = method(explored=False).rewards([rooms])
    np.testing.assert_allclose(paid, [0.5, 0.5, 0.0 + 0.5])


def test_with_a_past_what_is_left_to_learn_is_paid_by_hand():
    """Four episodes, two of them won: N = 4 in each of the rooms, S = .669 there and 1 in the unseen next one.

    w = .5 exp(-.4) = .335: .335 * 1 + .165 * (.669 - .669), the same, and .335 + .165 * (.669 - 1) + .5.
    """
    made = fitted(2, 2, alpha=0.5)
    score, weight = math.exp(-0.25 * math.log(5)), 0.5 * math.exp(-0.4)
    (paid,) = made.rewards([replace(episode(1.0), final_observation="elsewhere")])
    np.testing.assert_allclose(paid, [weight, weight, weight + (0.5 - weight) * (score - 1) + 0.5], rtol=1e-6)
    np.testing.assert_allclose(paid, [0.335160, 0.335160, 0.780555], atol=1e-6)


# Whom it is compared with


def advantages(made: RewardMethod, group: list[Trajectory], rewards: list[Floats]) -> list[list[float]]:
    values = [np.zeros(len(r) + 1) for r in rewards]
    return [a.tolist() for a, _ in made.advantages(group, rewards, values, 1.0, 0.95)]


def test_each_reply_is_compared_with_those_tried_in_its_state():
    """Paid 1, 3 and 8 in one state: mean 4. The reply in another state has no company."""
    group = [tried("go east", "a"), tried("go west", "b"), tried("look", "c"), tried("look", "d", past=2)]
    paid = [np.array([1.0]), np.array([3.0]), np.array([8.0]), np.array([5.0])]
    assert advantages(method(), group, paid) == [[-3.0], [-1.0], [4.0], [0.0]]


def test_one_text_after_another_past_is_another_state():
    far = tried("look", "c")
    far = replace(far, steps=(replace(far.steps[0], action="go 9"), far.steps[1]))
    assert advantages(method(), [tried("go", "a"), far], [np.array([1.0]), np.array([3.0])]) == [[0.0], [0.0]]


def test_a_later_step_is_not_paid_for_what_comes_after_it():
    """Two whole episodes that part at their second step: their first steps are compared, the rest stand alone."""
    one, other = episode(1.0), episode(0.0)
    other = replace(other, steps=(*other.steps[:1], replace(other.steps[1], action="go 9"), other.steps[2]))
    paid = [np.array([1.0, 7.0, 9.0]), np.array([2.0, 5.0, 4.0])]
    assert advantages(method(), [one, other], paid) == [[-0.5, 1.0, 0.0], [0.5, -1.0, 0.0]]


@pytest.mark.parametrize("options", [{"max_replies": 0}, {"max_replies": 65}, {"max_replies": 2.5}, {"alpha": -1}])
def test_what_it_cannot_use_is_refused(options):
    with pytest.raises(UserError, match=r"^reward 3spo: \w+="):
        method(**options)


def test_it_says_what_it_needs_of_a_trainer():
    made = method()
    assert not made.conserves_return and not made.uses_critic and made.updates_between_steps
