"""What SPA's released code computes, by hand and against its algorithm written out in loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import episode, groups, max_examples, task, trajectories

from spa_bench import credit, registry
from spa_bench.contract.fakes import fake_encoder
from spa_bench.contract.laws import check_reward
from spa_bench.core import Floats, Step, Tokens, Trajectory, UserError
from spa_bench.rewards.ppo import PPO
from spa_bench.rewards.rloo import RLOO
from spa_bench.rewards.spa import SPA
from spa_bench.rewards.spa_released import SPAReleased

NOTHING = "Nothing happens."


def seen(outcome: float, *texts: str, grounded: bool = True) -> Trajectory:
    """An episode with a turn before each text but the first; the world's own word on grounding is the same for all."""
    fault = None if grounded else "inadmissible"
    steps = tuple(Step(text, "Action: go", "go", grounded, fault, 0.0, 0.0) for text in texts[:-1])  # type: ignore[arg-type]
    won = outcome == 1.0
    return Trajectory(task(), steps, outcome, won, won, not won, final_observation=texts[-1])


def same(got: Sequence[Floats], want: Sequence[Sequence[float]]) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


GROUP = [
    seen(1.0, "A", "B", NOTHING, "C", NOTHING),
    seen(0.0, NOTHING, f"You try. {NOTHING}", "D"),
    seen(0.5, "A", "B"),
]
"""Against the others: 1 - .25 = .75, 0 - .75 = -.75, .5 - .5 = 0. Grounded, the last turn always: 1 0 1 1; 0 1; 1."""


@pytest.mark.parametrize("method", [SPAReleased, partial(SPAReleased, position=False, beta=2)])
@max_examples(25)
@given(made=groups())
def test_it_passes_the_contract_tests_on_random_groups(method, made):
    check_reward(method, made)


def test_by_hand():
    """Times 3 2 1 0; 1 0; 0. The mean with oneself in it would be .5; the outcomes' spread is never 1."""
    same(SPAReleased().rewards(GROUP), [[3.75, 1.5, 1.25, 0.0], [-0.75, 0.0], [0.0]])
    same(SPAReleased(beta=1).rewards(GROUP), [[5.25, 1.5, 1.75, 0.0], [-0.75, 0.0], [0.0]])
    same(SPAReleased(position=False).rewards(GROUP), [[1.25, 0.75, 1.25, 1.25], [-0.75, -0.25], [0.5]])
    same(SPAReleased(position=False, beta=0.0).rewards(GROUP), [[0.75] * 4, [-0.75] * 2, [0.0]])


def written_out(group: Sequence[Trajectory], beta: float) -> list[list[float]]:
    """The algorithm of rl_data_org.py and compute_rewards, one number after the other."""
    paid = []
    for index, trajectory in enumerate(group):
        others = [t.outcome for n, t in enumerate(group) if n != index and t.error is None]
        worth = trajectory.outcome - (sum(others) / len(others) if others else 0.0)
        left, scores = len(trajectory.steps), []
        for answer in [*(step.observation for step in trajectory.steps), ""][1:]:
            left -= 1
            bonus = beta if left == 0 or "Nothing happens" not in answer else 0.0
            scores.append(((0.0 if trajectory.error else worth) + bonus) * left)
        paid.append(scores)
    return paid


@st.composite
def some(draw: st.DrawFn) -> list[Trajectory]:
    """Episodes of one task whose worlds now and then say the text."""
    made = draw(st.lists(trajectories(), min_size=1, max_size=4))
    texts = st.sampled_from(["", NOTHING, "Nothing happened.", "nothing happens", "Hm.\nNothing happens here"])
    return [replace(t, steps=tuple(replace(s, observation=draw(texts)) for s in t.steps)) for t in made]


@max_examples(50)
@given(some(), st.sampled_from([0.0, 0.5, 2.0]))
def test_it_is_the_algorithm_of_the_code(group, beta):
    same(SPAReleased(beta=beta).rewards(group), written_out(group, beta))


def test_only_the_one_text_tells_grounding_and_the_world_is_not_asked():
    """`position=False`, all outcomes equal: the bonuses are left."""
    released = SPAReleased(position=False)
    said = [seen(0.5, "A", NOTHING, "B"), seen(0.5, "A", "Error Input. Your input must contains 'Action: '", "B")]
    same(released.rewards(said), [[0.0, 0.5], [0.5, 0.5]])
    refused = [seen(0.5, "A", "Nothing happened", "B", grounded=False), seen(0.5, "A", NOTHING, "B", grounded=True)]
    same(released.rewards(refused), [[0.5, 0.5], [0.0, 0.5]])


def test_one_alone_is_paid_its_outcome_and_a_broken_episode_is_nobodys_peer():
    same(SPAReleased().rewards([seen(0.6, "A", "B", "C")]), [[1.1, 0.0]])
    won, lost = seen(1.0, "A", "B", "C"), seen(0.0, "A", "B", "C")
    broken = replace(lost, error="the world timed out")
    other = replace(lost, character=1)
    same(SPAReleased().rewards([broken, won, lost]), [[0.5, 0.0], [1.5, 0.0], [-0.5, 0.0]])
    same(SPAReleased().rewards([won, other, broken]), [[1.5, 0.0], [0.5, 0.0], [0.5, 0.0]])


def test_a_branch_is_rewarded_from_its_start():
    """The steps it has from another episode count, for its length too."""
    plain = SPAReleased().rewards(GROUP)
    same(SPAReleased().rewards([replace(t, branch=1) for t in GROUP]), plain)


def test_credit_goes_over_tokens_as_in_ppo():
    """Two turns of 2 and 3 tokens, A = 1 and both grounded: 1.5 on the second token, nothing after it.

    With gamma = lambda = 1 and a critic that says .25 everywhere, the advantage is what is still to come, less .25.
    """
    assert (SPAReleased.level, SPAReleased.kl_in_reward) == ("token", True) == (PPO.level, PPO.kl_in_reward)
    assert SPAReleased.uses_critic
    assert not SPAReleased.conserves_return
    counts = (2, 3)
    steps = [Step("A", "a", "a", True, None, 0.0, 0.0, Tokens((1,), (2,) * n, (-0.5,) * n)) for n in counts]
    group = [replace(seen(1.0, "A"), steps=tuple(steps)), seen(0.0, "A", "B")]
    method = SPAReleased()
    stream = credit.on_last_token(method.rewards(group)[0], counts)
    np.testing.assert_allclose(stream, [0.0, 1.5, 0.0, 0.0, 0.0], atol=1e-12)
    ((advantages, targets),) = method.advantages(group[:1], [stream], [np.append(np.full(5, 0.25), 0.0)], 1.0, 1.0)
    np.testing.assert_allclose(advantages, [1.25, 1.25, -0.25, -0.25, -0.25], atol=1e-12)
    np.testing.assert_allclose(targets, [1.5, 1.5, 0.0, 0.0, 0.0], atol=1e-12)


def test_it_is_not_spa_and_has_no_estimator_to_fit():
    """spa pays an episode the same whoever plays beside it; here the peers decide, and hidden states never do."""
    spa, released = SPA(hidden=4, epochs=2), SPAReleased()
    spa.encoder = fake_encoder
    explored = [episode(n % 2, [True] * (2 + n % 3), words=str(n)) for n in range(8)]
    spa.fit(explored, [])
    group, other = explored[:3], [explored[0], replace(explored[1], outcome=0.3)]
    np.testing.assert_array_equal(spa.rewards(group)[0], spa.rewards(other)[0])
    assert np.abs(released.rewards(group)[0] - released.rewards(other)[0]).max() > 0.1
    assert np.abs(released.rewards(group)[0] - spa.rewards(group)[0]).max() > 0.1
    assert released.fit(explored, []) == {}
    assert released.state_dict() == {}


@max_examples(25)
@given(st.lists(trajectories(min_steps=1), min_size=2, max_size=5))
def test_without_its_bonus_and_its_factor_it_is_leave_one_out(group):
    bare = SPAReleased(beta=0.0, position=False).rewards(group)
    if sum(t.error is None for t in group) != 1:
        same(bare, RLOO().compare(group, []))
    for paid, weighed, t in zip(bare, SPAReleased(beta=0.0).rewards(group), group, strict=True):
        assert weighed.sum() == pytest.approx(paid[0] * len(t) * (len(t) - 1) / 2, abs=1e-9)
        assert weighed[-1] == 0


@pytest.mark.parametrize(
    "options", [{"beta": np.nan}, {"beta": np.inf}, {"beta": "1"}, {"beta": None}, {"position": 1}, {"position": "no"}]
)
def test_it_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward spa-released: {next(iter(options))}="):
        SPAReleased(**options)


def test_it_is_found_by_its_name_with_its_options():
    made = registry.build("rewards", "spa-released", beta=0.25, position=False)
    assert (made.beta, made.position) == (0.25, False)
    with pytest.raises(UserError, match="no option 'alpha'"):
        registry.build("rewards", "spa-released", alpha=1.0)
