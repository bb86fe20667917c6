"""Methods that compare: episodes of one task, steps taken in one state, the state before a step and the one after."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import safetensors.numpy
import torch
from by_hand import advantages, same, spoken, told
from hypothesis import given
from strategies import episode, groups, max_examples, task

from spa_bench import credit, registry
from spa_bench.contract.laws import check_reward
from spa_bench.core import Trajectory, UserError
from spa_bench.method import RewardMethod
from spa_bench.rewards._visits import Visits
from spa_bench.rewards.gigpo import GiGPO
from spa_bench.rewards.grpo import GRPO
from spa_bench.rewards.rloo import RLOO
from spa_bench.state_keys import states

Lite = registry.find("rewards", "3spo-lite")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def counted(*explored: Trajectory, **options: object) -> RewardMethod:
    method = Lite(**options)
    method.fit(explored, [])
    return method


SEEN = [
    episode(1.0, [True] * 3, "task/0"),
    episode(0.0, [True] * 2, "task/1"),
    told("\ud800 look  a", 1.0, "task/0"),
    *(told(f" {n} ", 0.0, "task/1") for n in range(3)),
]

# Contract tests, on random groups


@pytest.mark.parametrize(
    "method",
    [
        RLOO,
        GRPO,
        partial(GRPO, normalise=False),
        GiGPO,
        partial(GiGPO, history=2, normalise=False, weight=0.5),
        Lite,
        partial(Lite, alpha=1.0, xi=2, key="history", novelty="released"),
        partial(Lite, alpha=1.0, key="released", explored=False),
        partial(counted, *SEEN, alpha=1.0),
    ],
)
@max_examples(25)
@given(made=groups())
def test_every_comparison_passes_the_contract_tests_on_random_groups(method, made):
    check_reward(method, made)


@pytest.mark.parametrize("cls", [RLOO, GRPO, GiGPO])
def test_a_comparison_pays_the_outcome_last_and_needs_no_critic(cls):
    same(cls().rewards([episode(1.0), episode(0.5, [False]), episode(1.0, [])]), [[0.0, 0.0, 1.0], [0.5], []])
    assert cls.conserves_return
    assert not cls.uses_critic
    assert not Lite.conserves_return


# rloo


def test_t13_rloo_by_hand():
    """Outcomes 1, 0, .5 against the means of the others: 1 - .25, 0 - .75, .5 - .5."""
    group = [episode(1.0, [True] * 2), episode(0.0, [True] * 3), episode(0.5, [True])]
    same(advantages(RLOO(), group), [[0.75] * 2, [-0.75] * 3, [0.0]])


# grpo


def test_t13_grpo_by_hand():
    """Outcomes 1, 0, .5: mean .5, squares .25 + .25 over N - 1 = 2, std .5. Of 1 and 0: .5 over the root of .5."""
    group = [episode(1.0, [True] * 2), episode(0.0, [True] * 3), episode(0.5, [True])]
    same(advantages(GRPO(), group), [[1.0] * 2, [-1.0] * 3, [0.0]], atol=3e-6)
    same(advantages(GRPO(epsilon=0.5), group), [[0.5] * 2, [-0.5] * 3, [0.0]])
    same(advantages(GRPO(normalise=False), group), [[0.5] * 2, [-0.5] * 3, [0.0]])
    same(advantages(GRPO(), group[:2]), [[0.5**0.5] * 2, [-(0.5**0.5)] * 3], atol=3e-6)


@pytest.mark.parametrize("options", [{"epsilon": 0.0}, {"epsilon": np.nan}, {"epsilon": "1"}, {"normalise": "no"}])
def test_grpo_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward grpo: {next(iter(options))}="):
        GRPO(**options)


# all three


@pytest.mark.parametrize("cls", [RLOO, GRPO, GiGPO])
def test_t13_where_all_agree_or_one_is_alone_nothing_is_taught(cls):
    for outcome in (0.0, 0.3, 1.0):
        equal = [told(f"A x {n} y C", outcome) for n in range(3)]
        same(advantages(cls(gamma=1.0) if cls is GiGPO else cls(), equal), [[0.0] * 2] * 3)
    same(advantages(cls(), [told("A x B y C", 1.0)]), [[0.0] * 2])


@pytest.mark.parametrize("cls", [RLOO, GRPO, GiGPO])
def test_nobody_is_compared_with_another_seat_or_with_a_broken_episode(cls):
    """The other character's outcomes agree, so that it learns nothing; the broken failure counts for nobody."""
    won, lost = told("A x B", 1.0), told("A y B", 0.0)
    others = [told("A y B", 1.0, character=1), told("A x B", 1.0, character=1)]
    broken = told("A z B", 0.0, error="the world timed out")
    good, bad = advantages(cls(), [won, lost])
    same(advantages(cls(), [others[0], won, broken, lost, others[1]]), [[0.0], good, [0.0], bad, [0.0]])
    assert good[0] > 0.5


@pytest.mark.parametrize("method", [RLOO(), GRPO(), GiGPO(gamma=0.5), GiGPO(normalise=False, history=1)])
def test_tokens_share_the_advantage_of_their_turn(method):
    turns = [told("A x B y C", 1.0), told("A x A x B y C", 0.0), told("B y C", 1.0)]
    counts = [(2, 3), (1, 1, 4), (1,)]
    group = [spoken(t, *n) for t, n in zip(turns, counts, strict=True)]
    streams = [credit.on_last_token(r, n) for r, n in zip(method.rewards(group), counts, strict=True)]
    values = [np.linspace(0.1, 0.9, len(r) + 1) for r in streams]
    pairs = method.advantages(group, streams, values, 1.0, 0.95)
    for (got, targets), turn, n, v in zip(pairs, advantages(method, turns), counts, values, strict=True):
        np.testing.assert_allclose(got, np.repeat(turn, n), atol=1e-12)
        np.testing.assert_array_equal(targets, v[:-1])


def test_decisions_that_are_neither_turns_nor_tokens_are_refused():
    group = [spoken(told("A x B y C", 1.0), 2, 3)]
    for count in (1, 3, 6):
        with pytest.raises(ValueError, match=f"{count} decisions for 2 turns"):
            RLOO().advantages(group, [np.zeros(count)], [np.zeros(count + 1)], 1.0, 0.95)
    silent = [spoken(told("A x B y C", 1.0), 3, 0)]
    with pytest.raises(ValueError, match="3 decisions for 2 turns of "):
        RLOO().advantages(silent, [np.zeros(3)], [np.zeros(4)], 1.0, 0.95)


# gigpo

ROOMS = [told("A x B y C", 1.0), told("A x A x B y C", 0.0), told("B y C", 1.0)]
"""With gamma .5 the returns to go are .5, 1; 0, 0, 0; 1."""


def test_t13_gigpo_by_hand():
    """Episodes: mean 2/3. State A holds .5, 0, 0, mean 1/6; state B holds 1, 0, 1, mean 2/3.

    With the spread of a sample: episodes and B have squares 1/9 + 4/9 + 1/9 over 2, std 1 / root 3; A has
    1/9 + 1/36 + 1/36 over 2, std 1 / root 12.
    """
    plain = GiGPO(gamma=0.5, normalise=False)
    same(advantages(plain, ROOMS), [[2 / 3, 2 / 3], [-5 / 6, -5 / 6, -4 / 3], [2 / 3]])
    half = GiGPO(gamma=0.5, weight=0.5, normalise=False)
    same(advantages(half, ROOMS), [[1 / 2, 1 / 2], [-3 / 4, -3 / 4, -1], [1 / 2]])
    third, sixth = 3**0.5 / 3, 12**0.5 / 6
    wanted = [[third + 2 * sixth, 2 * third], [-2 * third - sixth] * 2 + [-4 * third], [2 * third]]
    same(advantages(GiGPO(gamma=0.5), ROOMS), wanted, atol=2e-5)


def test_gigpo_discounts_by_default_as_the_paper_does():
    """Two visits of A in one winning episode: .95 and 1, so that the later is worth .025 more than their mean.

    The other episode has the same outcome and no state in common. Alone, an episode is not compared with itself.
    """
    twice, other = told("A x A y B", 1.0), told("C z D", 1.0)
    same(advantages(GiGPO(normalise=False), [twice, other]), [[-0.025, 0.025], [0.0]])
    same(advantages(GiGPO(normalise=False), [twice]), [[0.0, 0.0]])
    same(advantages(GiGPO(normalise=False), [twice, replace(other, error="the world broke")]), [[0.0, 0.0], [0.0]])


def test_a_state_with_history_is_what_was_seen_and_done_before_it():
    """Episode advantages 1/3, -2/3, 1/3. One turn back: A first of all holds .5, 0; A after A x is alone; B after A x
    holds 1, 0; B first of all is alone. Two turns back no B is like another. Done otherwise, B is not the same either.
    """
    one = advantages(GiGPO(gamma=0.5, normalise=False, history=1), ROOMS)
    same(one, [[1 / 3 + 1 / 4, 1 / 3 + 1 / 2], [-2 / 3 - 1 / 4, -2 / 3, -2 / 3 - 1 / 2], [1 / 3]])
    two = advantages(GiGPO(gamma=0.5, normalise=False, history=2), ROOMS)
    same(two, [[1 / 3 + 1 / 4, 1 / 3], [-2 / 3 - 1 / 4, -2 / 3, -2 / 3], [1 / 3]])
    another = [told("A z B y C", 1.0), *ROOMS[1:]]
    same(advantages(GiGPO(gamma=0.5, normalise=False, history=1), another)[:1], [[1 / 3 + 1 / 4, 1 / 3]])


@pytest.mark.parametrize(
    "options",
    [
        *({name: x} for name, x in (("gamma", 0.0), ("gamma", 1.1), ("gamma", "1"), ("weight", np.inf))),
        *({name: x} for name, x in (("epsilon", 0), ("normalise", 1), ("history", -1), ("history", 0.5))),
    ],
)
def test_gigpo_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward gigpo: .*{next(iter(options))}"):
        GiGPO(**options)


# States


def test_a_state_belongs_to_its_task_and_seat_unless_it_is_shared():
    one = told("A x B y A", 1.0)
    assert states(one)[0] == states(one)[2] != states(one)[1]
    assert len(set(states(one, history=9))) == 3
    for other in (told("A x B y A", 1.0, "u"), replace(one, character=1)):
        assert not set(states(one)) & set(states(other))
        assert states(one, shared=True) == states(other, shared=True)
    assert states(told("A", 1.0)) == states(one)[:1]


def test_a_state_with_history_forgets_what_is_longer_ago():
    long, short, other = told("C z A x B", 1.0), told("A x B", 1.0), told("A y B", 1.0)
    assert states(long)[1:] == states(short)
    assert states(long, history=1)[2] == states(short, history=1)[1] != states(other, history=1)[1]
    assert states(long, history=1)[1] != states(short, history=1)[0]
    assert states(long, history=2)[2] != states(short, history=2)[1]


# 3spo-lite: three explored episodes, so that n = 4 and, with alpha = 1, S = 4 ** -(W / N)

EXPLORED = [told("A x B y G", 1.0), told("A x C x C", 0.0), told("C x C", 0.3)]
"""A: N 2, W 1, S 1/2. B and G: N 1, W 1, S 1/4. C: N 2, W 0, S 1: an episode counts a state once."""
PLAYED = told("A x B y A x G", 1.0)
HALVING = {"alpha": 1.0, "k": float(np.log(2))}
"""w = .5 * 2 ** -N: 1/8 in A, 1/4 in B."""


def test_3spo_lite_by_hand():
    """A to B: new, 1/8 + 3/8 * (1/2 - 1/4). B to A: seen before, 1/4 * (1/4 - 1/2). A to G: new, 1/8 + 3/8 * 1/4 + 1/2.

    Where a change of text is novelty enough, B to A earns 1/4 more. C to A: new, 1/8 + 3/8 * (1 - 1/2).
    """
    method = counted(*EXPLORED, **HALVING)
    same(method.rewards([PLAYED]), [[7 / 32, -1 / 16, 23 / 32]], atol=1e-5)
    same(method.rewards([told("C x A", 0.0)]), [[5 / 16]], atol=1e-5)
    same(counted(*EXPLORED, **HALVING, novelty="released").rewards([PLAYED]), [[7 / 32, 3 / 16, 23 / 32]], atol=1e-5)


def test_success_is_the_worlds_own_test_and_not_a_partial_outcome():
    half, none, won = counted(**HALVING).rewards([told("A x A", 0.5), told("A x A", 0.0), told("A x A", 1.0)])
    same([half, none, won], [[0.0], [0.0], [0.5]])


def test_by_the_papers_constants_a_state_is_solved_hopeless_or_open():
    """99 episodes: n = 100, and one success in two makes e ** (-25 ln 100). Nine failures are open, ten hopeless."""
    tries = [told("A x A", float(n % 2)) for n in range(80)] + [told("B x B", 0.0)] * 9 + [told("C x C", 0.0)] * 10
    visits = Visits()
    for t in tries:
        visits.add(states(t), t.success)
    papers = {"alpha": 50.0, "xi": 10.0, "zeta": 0.1}
    a, b, c, unseen = (visits.score(states(told(way, 0.0))[0], **papers) for way in "ABCD")
    assert (a < 1e-40, b, c, unseen) == (True, 1.0, 0.0, 1.0)
    method = counted(*tries)
    to_a, to_b, to_c = (method.rewards([told(f"D x {way}", 0.0)])[0][0] for way in "ABC")
    # From an unseen state w is .5: all is novelty. Back from there the difference counts, all but w of it.
    same([np.array([to_a, to_b, to_c])], [[0.5, 0.5, 0.5]])
    back = [method.rewards([told(f"{way} x D", 0.0)])[0][0] for way in "ABC"]
    w = 0.5 * np.exp(-0.1 * np.array([80, 9, 10]))
    same([np.array(back)], [w + (0.5 - w) * [-1.0, 0.0, -1.0]])


def test_an_early_success_says_little():
    """With the first episode n = 2 and S = 1/2; nothing counted, n = 1 and S = 1."""
    options = {"alpha": 1.0, "xi": 10.0, "zeta": 0.1}
    visits, (state,) = Visits(), states(told("A", 1.0))
    assert visits.score(state, **options) == 1
    visits.add([state], True)
    assert visits.score(state, **options) == pytest.approx(0.5, abs=1e-5)
    assert Visits().score(state, **options | {"xi": 0.0}) == 1


def test_no_success_is_hopeless_even_where_any_success_is_enough():
    visits = Visits()
    for _ in range(3):
        visits.add([1, 1], False)
    assert visits.met(1) == visits.episodes == 3
    assert visits.score(1, alpha=1.0, xi=3.0, zeta=0.0) == 0
    visits.add([1], True)
    assert visits.score(1, alpha=1.0, xi=3.0, zeta=0.0) == pytest.approx(5**-0.25, abs=1e-5)


def test_what_a_state_is_decides_who_learns_from_whom():
    """From another task the same texts are unseen, unless shared; with its history, A come back to is unseen."""
    other = replace(PLAYED, task=task("another"))
    seen = [[7 / 32, -1 / 16, 23 / 32]]
    same(counted(*EXPLORED, **HALVING).rewards([other]), [[0.5, 0.0, 1.0]], atol=1e-5)
    same(counted(*EXPLORED, **HALVING, key="released").rewards([other]), seen, atol=1e-5)
    # A is N 2, W 1 and B after A x is N 1, W 1 as before; A come back to is unseen: 1/4 * (1/4 - 1). It is no news.
    (told_all,) = counted(*EXPLORED, **HALVING, key="history").rewards([PLAYED])
    same([told_all], [[7 / 32, -3 / 16, 1.0]], atol=1e-5)
    for novelty in ("paper", "released"):
        same(Lite(key="history", novelty=novelty).rewards([told("A x A", 0.0)]), [[0.0]])
    far = counted(told("A x B y C z G", 1.0), **HALVING, key="history")
    same(far.rewards([told("D x B y C z G", 0.0)]), [[0.5, 0.5, 0.5]])


def test_rewards_use_the_counts_of_earlier_batches():
    """The first batch by what was explored, the second by the first too; what is broken is never counted."""
    method, later = counted(EXPLORED[0], **HALVING), counted(*EXPLORED, **HALVING)
    before = method.rewards([PLAYED])[0]
    method.observe([EXPLORED[1], replace(PLAYED, error="the world timed out"), EXPLORED[2]])
    same(method.rewards([PLAYED]), [before])
    method.observe([PLAYED, PLAYED])
    same(method.rewards([PLAYED]), later.rewards([PLAYED]))
    assert not np.allclose(before, method.rewards([PLAYED])[0])


def test_the_paper_starts_from_nothing():
    method = Lite(explored=False)
    assert method.fit(EXPLORED, []) == {"episodes": 0, "states": 0}
    assert Lite().fit(EXPLORED, []) == {"episodes": 3, "states": 4}
    same(method.rewards([PLAYED]), [[0.5, 0.0, 1.0]])


def test_the_counts_survive_a_file_with_the_batch_that_is_not_yet_known():
    method, again = counted(*EXPLORED[:1], **HALVING), Lite(**HALVING)
    method.observe(EXPLORED[1:])
    state = method.state_dict()
    assert {array.dtype.name for array in state.values()} == {"int64", "uint64"}
    again.load_state_dict(safetensors.numpy.load(safetensors.numpy.save(state)))
    for one in (method, again):
        one.observe([])
        same(one.rewards([PLAYED]), counted(*EXPLORED, **HALVING).rewards([PLAYED]))


@pytest.mark.parametrize(
    "options",
    [
        *({name: x} for name, x in (("alpha", -1.0), ("xi", np.nan), ("zeta", "x"), ("k", np.inf))),
        *({name: "other"} for name in ("key", "novelty", "explored")),
    ],
)
def test_3spo_lite_refuses_what_it_cannot_use(options):
    with pytest.raises(UserError, match=f"reward 3spo-lite: {next(iter(options))}="):
        Lite(**options)
