"""Methods that learn a number per step from hidden states: rrd, rudder, and both variants of StepAgent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from strategies import episode, groups, max_examples, trajectories
from torch import Tensor

from spa_bench.contract.fakes import fake_encoder, fake_simulator
from spa_bench.contract.laws import check_reward
from spa_bench.core import Step, Trajectory, UserError
from spa_bench.method import RewardMethod
from spa_bench.rewards import _network, rrd
from spa_bench.rewards._episode_digest import episode_digest
from spa_bench.rewards._learned import Learned
from spa_bench.rewards.rrd import RRD, mean_loss, subset_loss
from spa_bench.rewards.rudder import RUDDER, prediction_loss
from spa_bench.rewards.stepagent_implicit import StepAgentImplicit, preference_loss
from spa_bench.rewards.stepagent_inverse import StepAgentInverse, class_weights, paid

ALL = [RRD, RUDDER, StepAgentInverse, StepAgentImplicit]
SMALL = {"hidden": 4, "epochs": 2}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def same(got: Sequence[np.ndarray], want: Sequence[Sequence[float]], atol: float = 1e-12) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def loaded(method: Learned) -> Learned:
    """One feature h and a network of one unit: relu((h - 1) / 2) + 0.25, which is 1.25, .25, .25 of h = 3, 1, -5."""
    numbers = {"mean": [1.0], "std": [2.0], "w1": [[1.0]], "b1": [0.0], "w2": [1.0], "b2": [0.25]}
    state = {key: np.array(number, dtype=np.float32) for key, number in numbers.items()}
    method.load_state_dict({"fitted": np.ones(1, dtype=np.int8)} | state)
    method.encoder = lambda ts: [np.array([[3.0], [1.0], [-5.0]], dtype=np.float32)[: len(t)] for t in ts]
    return method


def ready(method: Learned) -> Learned:
    method.encoder, method.simulator = fake_encoder, fake_simulator
    return method


EXPLORED = [episode(1.0 - 0.1 * (n % 3), [True] * (1 + n % 4), words=str(n)) for n in range(12)]
EXPERTS = [episode(1.0, [True] * (2 + n % 3), words=f"expert {n}") for n in range(6)]
PRICED = [episode(1.0), episode(0.0, [False]), episode(0.3, [])]
"""Outcomes 1 over three steps, 0 over one, .3 over none."""


# Contract tests, on random groups


@pytest.mark.parametrize(
    "method",
    [
        partial(RRD, subset=2),
        partial(RRD, subset=2, unbiased=True, exact=True),
        RUDDER,
        partial(StepAgentInverse, batch=4, expert_steps=3),
        partial(StepAgentInverse, form="gail", smoothing=0.01),
        partial(StepAgentImplicit, prefixes=4),
    ],
    ids=str,
)
@max_examples(12)
@given(made=groups())
def test_the_contract_tests_pass_on_random_groups(method, made):
    check_reward(partial(method, **SMALL), made)


# By hand: what the network says is 1.25, .25, .25


def test_rrd_rewards_are_the_numbers_of_the_network():
    same(loaded(RRD()).rewards(PRICED), [[1.25, 0.25, 0.25], [1.25], []])
    same(loaded(RRD(exact=True)).rewards(PRICED), [[1.25, 0.25, -0.5], [0.0], []])


def test_rudder_rewards_are_changes_of_the_prediction_and_the_remainder():
    """0 to 1.25 to .25 to .25, of which the last is .75 short of 1; a single step earns the outcome."""
    same(loaded(RUDDER()).rewards(PRICED), [[1.25, -1.0, 0.75], [0.0], []])
    same(loaded(RUDDER()).rewards([episode(0.3), episode(0.3, [True, True])]), [[1.25, -1.0, 0.05], [1.25, -0.95]])


def test_likeness_is_paid_in_three_forms():
    d = np.array([1.25, 0.25, 0.25])
    shown = 1 / (1 + np.exp(-d))
    for form, want in (("airl", np.log(shown / (1 - shown))), ("gail", -np.log(1 - shown)), ("log", np.log(shown))):
        same(loaded(StepAgentInverse(form=form)).rewards(PRICED), [want, want[:1], []])
    assert np.log(shown[0] / (1 - shown[0])) == pytest.approx(1.25)


def test_likeness_is_kept_within_what_smoothing_aims_at():
    """Smoothing .25 aims at D = 3/4, of which log D - log(1 - D) is log 3; the other bound is log 1/3."""
    same(loaded(StepAgentInverse(smoothing=0.25)).rewards(PRICED[:1]), [[np.log(3), 0.25, 0.25]])
    method = loaded(StepAgentInverse(smoothing=0.25, form="gail"))
    same(method.rewards(PRICED[:1]), [[np.log(4), np.log1p(np.exp(0.25)), np.log1p(np.exp(0.25))]])
    method.load_state_dict(method.state_dict() | {"b2": np.array([-50.0], dtype=np.float32)})
    same(method.rewards(PRICED[1:2]), [[np.log(4 / 3)]])


@pytest.mark.parametrize(("form", "want"), [("airl", [-9e9, 9e9]), ("gail", [0.0, 9e9]), ("log", [-9e9, 0.0])])
def test_no_form_overflows(form, want):
    np.testing.assert_allclose(paid(np.array([-9e9, 9e9]), form), want)


def test_the_implicit_reward_is_beta_times_the_log_ratio():
    same(loaded(StepAgentImplicit(beta=0.5)).rewards(PRICED), [[0.625, 0.125, 0.125], [0.625], []])


# The losses, by hand and by counting all cases


def test_a_random_set_of_one_of_two_steps_by_hand():
    """r = 3, 1 and R / T = 1: the sets cost 4 and 0, in the mean 2; the sum costs 1; S^2 = 2 makes the 1 between."""
    r, owner, outcome, length = torch.tensor([3.0, 1.0]), torch.tensor([0, 0]), torch.tensor([2.0]), torch.tensor([2])
    costs = [subset_loss(r[[t]], owner[:1], outcome, length, unbiased=False) for t in (0, 1)]
    assert [float(cost) for cost in costs] == [4.0, 0.0]
    assert float(mean_loss(r, owner, outcome, subset=1)) == 2.0
    assert float(mean_loss(r, owner, outcome, subset=None)) == 1.0


@pytest.mark.parametrize(("steps", "size"), [(5, 2), (5, 3), (6, 4), (4, 4), (3, 8), (1, 2)])
def test_over_all_sets_the_unbiased_loss_is_that_of_the_sum(steps, size):
    r = torch.from_numpy(np.random.default_rng(steps).normal(size=steps))
    outcome, length, owner = torch.tensor([0.7], dtype=torch.float64), torch.tensor([steps]), torch.zeros(steps).long()
    sets = [list(some) for some in combinations(range(steps), min(size, steps))]
    for unbiased in (True, False):
        costs = [subset_loss(r[some], owner[: len(some)], outcome, length, unbiased=unbiased) for some in sets]
        mean = mean_loss(r, owner, outcome, subset=None if unbiased else size)
        assert float(torch.stack(costs).mean()) == pytest.approx(float(mean), rel=1e-12)
    exact = (float(r.sum()) - 0.7) ** 2 / steps**2
    assert float(mean_loss(r, owner, outcome, subset=None)) == pytest.approx(exact, rel=1e-12)
    assert float(mean_loss(r, owner, outcome, subset=size)) >= exact


def test_episodes_of_a_batch_cost_their_mean_whatever_their_length():
    r, owner = torch.tensor([3.0, 1.0, 5.0, 0.0, 0.0]), torch.tensor([0, 0, 1, 2, 2])
    outcomes, lengths = torch.tensor([2.0, 4.0, 9.0]), torch.tensor([2, 1, 3])
    # 2 - 1, 5 - 4, 0 - 3
    assert float(subset_loss(r, owner, outcomes, lengths, unbiased=False)) == pytest.approx((1 + 1 + 9) / 3)


def test_steps_are_drawn_without_replacement_and_anew_each_time(monkeypatch):
    drawn: list[Tensor] = []
    joined = rrd._joined
    monkeypatch.setattr(rrd, "_joined", lambda weights, some: (drawn.extend(some), joined(weights, some))[1])
    monkeypatch.setattr(rrd, "mean_loss", lambda *_, **__: torch.zeros(()))
    method = ready(RRD(subset=3, hidden=4, epochs=4, holdout=0.01, patience=9))
    method.fit([episode(1.0, [True] * n, words=str(n)) for n in (2, 5, 8, 9)], [])
    sets: dict[int, set[bytes]] = {}
    for some in drawn:
        if len(some) <= 3:  # more are the held-out error's, which takes all steps
            assert len(some) == len(torch.unique(some, dim=0)) in (2, 3)
            sets.setdefault(len(some), set()).add(torch.sort(some, dim=0).values.numpy().tobytes())
    assert len(sets[3]) > 6


def test_rudders_loss_by_hand():
    """0 at the end and (1/4 + 0) / 2 on the way; then 1 and 1."""
    g, outcomes = [torch.tensor([0.5, 1.0]), torch.tensor([0.0])], torch.tensor([1.0, 1.0])
    assert float(prediction_loss(g, outcomes, 0.0)) == 0.5
    assert float(prediction_loss(g, outcomes, 0.5)) == pytest.approx((0.0625 + 1.5) / 2)


def test_the_preference_loss_by_hand():
    """sigmoid(log 3) = 3/4; the mean of the two is log 3 / 2. Swapped, the expert has 1/4."""
    scores = torch.tensor([[np.log(3.0), 0.0]])
    assert float(preference_loss(scores, 0.0)) == pytest.approx(np.log(4 / 3))
    assert float(preference_loss(scores.flip(1), 0.0)) == pytest.approx(np.log(4))
    assert float(preference_loss(scores, 2.0)) == pytest.approx(np.log(4 / 3) + np.log(3) ** 2 / 2)
    both = torch.cat([scores, torch.tensor([[5.0, 5.0]])])
    assert float(preference_loss(both, 1.0)) == pytest.approx((np.log(4 / 3) + np.log(2) + np.log(3) ** 2 / 4 + 25) / 2)


def test_classes_count_the_same():
    np.testing.assert_allclose(class_weights(1, 3).numpy(), [2, 2 / 3, 2 / 3, 2 / 3])


# What is learned


def marked(count: int, seed: int, *, remembered: bool) -> tuple[list[Trajectory], list[int], Callable]:
    """Episodes that are decided at one step: feature 0 is 2 there, or -2 where all is lost (and stays, if remembered).

    The other features are noise. No step is decisive by its place.
    """
    rng = np.random.default_rng(seed)
    made, places, hidden = [], [], {}
    for index in range(count):
        length, won = int(rng.integers(5, 11)), index % 2 == 0
        place = int(rng.integers(1, length - 1))
        h = rng.normal(size=(length, 4)).astype(np.float32)
        h[:, 0] = 0
        h[place : None if remembered else place + 1, 0] = 2 if won else -2
        # Whether the step limit ended it says nothing: a success may be graded below 1 in other worlds.
        made.append(replace(episode(float(won), [True] * length, f"task/{index % 30}", str(index)), truncated=False))
        places.append(place)
        hidden[made[-1].steps[0].observation] = h
    return made, places, lambda ts: [hidden[t.steps[0].observation] for t in ts]


@pytest.mark.parametrize(
    ("method", "remembered"),
    [(RRD(), False), (RRD(unbiased=True, subset=4), False), (RRD(subset=99), False), (RUDDER(), True)],
)
def test_the_step_that_decides_is_paid_most_or_least(method, remembered):
    made, places, method.encoder = marked(300, 3, remembered=remembered)
    figures = method.fit(made[:240], [])
    assert figures["episodes"] == 240
    assert figures["held_out_r2"] > 0.7
    assert figures["partial_correlation"] > 0.8 and figures["clock_r2"] < 0.1
    assert ("contribution_sd" in figures) == (not remembered), "predictions are no contributions"
    unseen = list(zip(method.rewards(made[240:]), made[240:], places[240:], strict=True))
    # The first and the last step carry what is not learned: the mean outcome, and what is lacking.
    right = [
        (np.argmax if t.success else np.argmin)(r[1:-1] if remembered else r) == place - remembered
        for r, t, place in unseen
    ]
    assert np.mean(right) > 0.9
    gap = [np.mean([r[place] for r, t, place in unseen if t.success == won]) for won in (True, False)]
    assert gap[0] - gap[1] > 0.6
    if remembered:
        elsewhere = [np.delete(r[1:-1], place - 1) for r, _, place in unseen]
        assert abs(np.concatenate(elsewhere).mean()) < 0.05
        assert np.mean([r[0] for r, _, _ in unseen]) == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(("cls", "says"), [(RRD, 0.6), (RUDDER, 0.8)])
def test_training_starts_from_even_credit(cls, says):
    """Outcomes 1 in one step and .6 in three: .6 per step in the mean of episodes (.4 in that of steps), .8 at the end.

    One of 21 episodes is held out.
    """
    method = ready(cls(learning_rate=0.0, holdout=0.01, **SMALL))
    method.fit([episode([1.0, 0.6][n % 2], [True] * [1, 3][n % 2], words=str(n)) for n in range(21)], [])
    np.testing.assert_allclose(method.numbers([episode(0.0)])[0], [says] * 3, atol=0.05)


@pytest.mark.parametrize(
    ("errors", "patience", "chosen", "passed"),
    [
        ([9, 3, 1, 2, 2, 0], 2, 2, 4),  # two passes without a better one end it, before the best of all
        ([9, 3, 1, 2, 2, 0], 3, 5, 5),
        ([1, 3, 2, 1], 9, 0, 3),  # equal is not better: the start stays
        ([5, 4, 3, 3], 9, 2, 3),
    ],
)
def test_the_kept_network_is_that_of_the_least_error_held_out(errors, patience, chosen, passed):
    """The error is scripted, and asked about the held-out episodes alone, at the start and after each pass."""
    features = [torch.full((2, 1), float(n)) for n in range(10)]
    how = _network.Training(3, passed, patience, 0.1, 0.0, 4, 0.3)
    asked, kept, left = [], [], iter(errors)

    def error(weights, part):
        asked.append(sorted(part.tolist()))
        kept.append(_network.copy(weights))
        return torch.tensor(float(next(left)))

    def loss(weights, picks):
        return _network.estimate(weights, torch.stack([features[i] for i in picks])).square().sum()

    rng = torch.Generator().manual_seed(0)
    parts = _network.split([str(n // 2) for n in range(10)], how.holdout, rng)
    weights, epoch = _network.learn(
        lambda _, part: [features[i] for i in part], {}, torch.ones(1), loss, error, how, parts, rng
    )
    assert epoch == chosen and len(asked) == passed + 1
    assert asked == [sorted(parts.choose.tolist())] * len(asked)
    for key, value in weights.items():
        torch.testing.assert_close(value, kept[chosen][key], rtol=0, atol=0)
    assert not torch.equal(kept[0]["w2"], kept[1]["w2"]), "nothing was learned between them"


@given(trajectories(min_steps=2))
@max_examples(15)
def test_no_step_of_rudder_but_the_last_is_paid_by_what_comes_after(trajectory):
    method = ready(RUDDER(hidden=4, epochs=10, patience=10))
    method.fit(EXPLORED, [])
    shorter = replace(trajectory, steps=trajectory.steps[:-1], outcome=trajectory.outcome / 2)
    long, short = method.rewards([trajectory, shorter])
    np.testing.assert_allclose(long[: len(short) - 1], short[:-1], atol=1e-12)
    assert long.sum() == pytest.approx(trajectory.outcome, abs=1e-9)


@pytest.mark.parametrize("cls", [RRD, RUDDER])
def test_the_figures_are_what_the_kept_network_gives(cls):
    made, _, encoder = marked(40, 4, remembered=True)
    method = cls(epochs=5)
    method.encoder = encoder
    figures = method.fit(made, [])
    kept = sorted(made, key=episode_digest)
    said = [r.sum() if cls is RRD else r[-1] for r in method.numbers(kept)]
    squared = np.array([(s - t.outcome) ** 2 for s, t in zip(said, kept, strict=True)])
    parts = _network.split([t.task.key for t in kept], 0.2, method.rng())
    assert figures["train_mse"] == pytest.approx(squared[parts.train].mean(), rel=1e-3)
    assert figures["held_out_mse"] == pytest.approx(squared[parts.report].mean(), rel=1e-3)


def like(where: dict[str, tuple[float, float]], noise: float = 0.4) -> Callable:
    """Features of each step: the place that its episode's last word stands for, plus noise."""

    def encode(ts: Sequence[Trajectory]) -> list[np.ndarray]:
        return [noise * h[:, :2] + at(t) for h, t in zip(fake_encoder(ts), ts, strict=True)]

    def at(t: Trajectory) -> np.ndarray:
        return np.array(where[t.steps[0].observation.split()[-1]], dtype=np.float32)

    return encode


PLACES = {"shown": (1.0, 0.0), "own": (-1.0, 0.0), "other": (1.5, -1.0)}


def told(word: str, count: int, steps: int = 4) -> list[Trajectory]:
    return [episode(0.0, [True] * steps, words=f"{n} {word}") for n in range(count)]


def test_experts_are_told_from_the_policy_and_the_policy_of_today_from_that_of_yesterday():
    """`other` looks like an expert as long as only `own` is known; then it is what the policy does."""
    method = StepAgentInverse(updates=20, batch=16)
    method.encoder = like(PLACES)
    figures = method.fit(told("own", 60), told("shown", 20))
    assert figures["accuracy"] > 0.95
    assert (figures["expert_steps"], figures["policy_steps"]) == (80, 240)
    shown, own, other = (np.concatenate(method.rewards(told(word, 30))) for word in ("shown", "own", "other"))
    assert shown.mean() > 1
    assert own.mean() < -1
    assert other.mean() > 0.5
    assert np.abs(np.concatenate([shown, own, other])).max() <= np.log(9) + 1e-9
    for _ in range(5):
        method.observe(told("other", 30))
    assert np.concatenate(method.rewards(told("other", 30))).mean() < -0.5
    assert np.concatenate(method.rewards(told("shown", 30))).mean() > 0.5


def test_a_batch_is_learned_from_before_it_is_rewarded_and_only_where_it_was_played():
    method = StepAgentInverse(updates=3)
    method.encoder = like(PLACES)
    batch = [replace(t, branch=3) for t in told("other", 10)]
    assert method.fit([*batch, replace(batch[0], branch=4)], told("shown", 5))["policy_steps"] == 10
    before = method.state_dict()
    method.observe([replace(t, branch=4) for t in batch])
    method.observe([replace(t, error="the world timed out") for t in batch])
    method.observe([])
    method.observe([episode(0.0, [])])
    assert all(np.array_equal(before[key], method.state_dict()[key]) for key in before if key != "batches")
    assert [len(r) for r in method.rewards(batch)] == [4] * 10
    method.observe(batch)
    assert not np.array_equal(before["w1"], method.state_dict()["w1"])
    # Passes of no batch leave the discriminator of the fit.
    still = StepAgentInverse(updates=0)
    still.encoder = method.encoder
    still.load_state_dict(before)
    still.observe(batch)
    np.testing.assert_array_equal(still.state_dict()["w1"], before["w1"])


def test_the_larger_class_is_not_believed_for_its_size():
    """Where features say nothing D is 1/2, though the policy has thirty times as many steps."""
    method = StepAgentInverse(epochs=60, learning_rate=0.01)
    method.encoder = lambda ts: [np.full((len(t), 3), 5.0, dtype=np.float32) for t in ts]
    method.fit(told("own", 60), told("shown", 2))
    assert np.abs(method.rewards(told("own", 1))[0]).max() < 0.1


def test_experts_are_kept_up_to_a_number_drawn_by_the_seed():
    kept = []
    for seed in (0, 0, 1):
        method = ready(StepAgentInverse(expert_steps=5, **SMALL))
        method.seed = seed
        assert method.fit(EXPLORED, EXPERTS)["expert_steps"] == 5
        kept.append(method.state_dict()["experts"])
    whole = np.concatenate(fake_encoder(EXPERTS))
    assert all((row == whole).all(axis=1).any() for row in kept[0])
    assert len(np.unique(kept[0], axis=0)) == 5
    np.testing.assert_array_equal(kept[0], kept[1])
    assert not np.array_equal(kept[0], kept[2])


class Agent:
    """A simulator that takes the action `wander` where it is asked, or the expert's in every third state."""

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[Trajectory], int, int, int | None]] = []

    def __call__(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        self.asked.append((prefixes, samples, seed, steps))
        return [[self.answer(prefix)] for prefix in prefixes]

    def answer(self, prefix: Trajectory) -> Trajectory:
        assert not (prefix.terminated or prefix.truncated)
        action = f"go {len(prefix)}" if len(prefix) % 3 == 2 else "wander"
        step = Step(prefix.final_observation, f"Action: {action}", action, True, None, 0.0, 0.0)
        return replace(prefix, steps=(*prefix.steps, step), branch=len(prefix))


def by_action(ts: Sequence[Trajectory]) -> list[np.ndarray]:
    """Feature 0 says whether the step is the agent's own, feature 1 its turn; the others are noise."""
    told = [[[float(s.action == "wander"), turn] for turn, s in enumerate(t.steps)] for t in ts]
    noise = fake_encoder(ts)
    return [
        np.hstack([np.array(a, dtype=np.float32).reshape(-1, 2), n[:, :2]]) for a, n in zip(told, noise, strict=True)
    ]


def shown(count: int) -> list[Trajectory]:
    return [episode(1.0, [True] * 6, f"task/{n % 20}", f"expert {n}") for n in range(count)]


def test_what_an_expert_does_is_preferred_to_what_the_agent_does():
    method, agent = StepAgentImplicit(batch=4, centre=1.0), Agent()
    method.encoder, method.simulator = by_action, agent
    figures = method.fit([], shown(60))
    assert figures["held_out_accuracy"] == 1 and figures["clock_accuracy"] == 0.5
    assert {key: figures[key] for key in ("experts", "prefixes", "equal", "unanswered", "pairs")} == {
        "experts": 60,
        "prefixes": 360,
        "equal": 120,
        "unanswered": 0,
        "pairs": 240,
    }
    ((prefixes, samples, _, steps),) = agent.asked
    assert (len(prefixes), samples, steps) == (360, 1, 1)
    unseen = episode(0.0, [True] * 6, words="new")
    wandered = replace(unseen, steps=tuple(replace(s, action="wander") for s in unseen.steps))
    experts, own = method.rewards([unseen, wandered])
    assert experts.min() > 0 > own.max()
    # The two are opposites: being in a state has no reward.
    assert np.abs(experts + own).max() < 0.3 * (experts - own).min()


def test_a_pair_is_two_actions_in_the_same_state(monkeypatch):
    """Expert first; both at the turn that was asked for; equal actions (every third turn) make no pair."""
    seen: list[np.ndarray] = []

    def learn(read, *others):
        seen.extend(h.numpy() for h in read({}, torch.arange(4)))
        return original(read, *others)

    original = _network.learn
    monkeypatch.setattr(_network, "learn", learn)
    method = StepAgentImplicit(**SMALL)
    method.encoder, method.simulator = by_action, Agent()
    method.fit([], shown(4))
    assert len(seen) == 4
    for h in seen:
        np.testing.assert_array_equal(h[:, 0], [0, 1] * 4)
        np.testing.assert_array_equal(h[:, 1], [0, 0, 1, 1, 3, 3, 4, 4])


def test_the_agent_is_asked_in_so_many_states_drawn_by_the_seed():
    asked = []
    for seed, experts in ((0, shown(20)), (0, shown(20)[::-1]), (1, shown(20))):
        method, agent = StepAgentImplicit(prefixes=30, **SMALL), Agent()
        method.seed, method.encoder, method.simulator = seed, by_action, agent
        assert method.fit([], experts)["prefixes"] == 30
        ((prefixes, _, drawn, _),) = agent.asked
        asked.append(([(len(p), p.final_observation) for p in prefixes], drawn))
    assert len(set(asked[0][0])) == 30
    assert {turn for turn, _ in asked[0][0]} == set(range(6))
    assert asked[0] == asked[1]
    assert asked[0][0] != asked[2][0]
    assert asked[0][1] != asked[2][1]


def test_an_agent_that_fails_to_answer_leaves_no_pair():
    class Failing(Agent):
        def answer(self, prefix: Trajectory) -> Trajectory:
            if len(prefix) == 0:
                return replace(prefix, error="the world timed out")
            return prefix if len(prefix) == 1 else super().answer(prefix)

    method = StepAgentImplicit(**SMALL)
    method.encoder, method.simulator = by_action, Failing()
    figures = method.fit([], shown(4))
    # Of turns 0 to 5 two fail, two are the expert's own.
    assert (figures["unanswered"], figures["equal"], figures["pairs"]) == (8, 8, 8)


# What goes in, and what comes back


@pytest.mark.parametrize("cls", ALL)
def test_a_resumed_method_goes_on_identically(cls):
    options = {"batch": 4, "updates": 1} if cls is StepAgentInverse else {}
    method = ready(cls(**SMALL, **options))
    method.fit(EXPLORED, EXPERTS)
    method.observe(EXPLORED[:5])
    state = safetensors.numpy.load(safetensors.numpy.save(method.state_dict()))
    again = ready(cls(**SMALL, **options))
    again.load_state_dict(state)
    for batch in (EXPLORED[5:], PRICED, EXPLORED):
        for one in (method, again):
            one.observe(batch)
        same(method.rewards(batch), again.rewards(batch), atol=0)
    states = method.state_dict(), again.state_dict()
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        np.testing.assert_array_equal(states[0][key], states[1][key])


def test_each_batch_has_chance_of_its_own():
    """The same batch twice, from the same weights: only the count differs."""
    method = ready(StepAgentInverse(batch=4, updates=1, **SMALL))
    method.fit(EXPLORED, EXPERTS)
    state, learned = method.state_dict(), []
    for batches in (0, 0, 1):
        method.load_state_dict(state | {"batches": np.array([batches])})
        method.observe(EXPLORED)
        learned.append(method.state_dict()["w1"])
    np.testing.assert_array_equal(learned[0], learned[1])
    assert not np.array_equal(learned[0], learned[2])


@pytest.mark.parametrize("cls", ALL)
def test_a_fit_depends_on_content_and_seed_alone(cls):
    states = []
    for seed, turned, noise in ((0, 1, 1), (0, -1, 2), (1, 1, 3)):
        method = ready(cls(**SMALL))
        method.seed = seed
        torch.manual_seed(noise)
        method.fit(EXPLORED[::turned], EXPERTS[::turned])
        states.append(method.state_dict())
    for key in states[0]:
        np.testing.assert_array_equal(states[0][key], states[1][key])
    assert not np.array_equal(states[0]["w1"], states[2]["w1"])


@pytest.mark.parametrize("cls", ALL)
def test_broken_episodes_are_not_learned_from_and_are_rewarded(cls):
    states = []
    broken = [replace(episode(0.0, words="x"), error="the world timed out")]
    for more in ([], broken):
        method = ready(cls(**SMALL))
        method.fit(EXPLORED + more, EXPERTS + more)
        states.append(method.state_dict())
        assert np.isfinite(method.rewards(broken)[0]).all()
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])


def left(method: RewardMethod) -> list[list[float]]:
    """What is paid where nothing was learned."""
    if isinstance(method, RUDDER):
        return [[0.0, 0.0, 1.0], [0.0], []]
    unsure = {"gail": np.log(2), "log": -np.log(2)}.get(getattr(method, "form", ""), 0.0)
    return [[unsure] * 3, [unsure], []]


@pytest.mark.parametrize(
    "make", [*ALL, partial(StepAgentInverse, form="gail"), partial(StepAgentInverse, form="log")], ids=str
)
@pytest.mark.parametrize("few", [[], [episode(1.0, [])] * 3, [replace(episode(1.0), error="x")]])
def test_with_nothing_to_learn_from_nothing_is_claimed(make, few):
    method, again = ready(make()), ready(make())
    assert np.isfinite(list(method.fit(few, few).values())).all()
    again.load_state_dict(method.state_dict())
    for one in (method, again):
        one.observe([episode(1.0)])
        same(one.rewards(PRICED), left(one), atol=1e-9)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("explored", [[episode(1.0)], [episode(1.0, words="a"), episode(0.0, words="b")]])
def test_little_data_gives_finite_numbers(cls, explored):
    for experts in ([], [episode(1.0, [True])], [episode(1.0, words="c"), episode(1.0, words="d")]):
        method = ready(cls(**SMALL))
        assert np.isfinite(list(method.fit(explored, experts).values())).all()
        method.observe(explored)
        assert np.isfinite(np.concatenate(method.rewards(PRICED))).all()


@pytest.mark.parametrize("cls", ALL)
def test_features_that_never_vary_give_finite_numbers(cls):
    method = ready(cls(**SMALL))
    method.encoder = lambda ts: [np.full((len(t), 3), 5.0, dtype=np.float32) for t in ts]
    assert np.isfinite(list(method.fit(EXPLORED, EXPERTS).values())).all()
    method.observe(EXPLORED)
    assert np.isfinite(np.concatenate(method.rewards(PRICED))).all()


def test_a_discriminator_that_had_no_policy_to_learn_from_begins_with_the_first_batch():
    method = StepAgentInverse(updates=20, batch=16)
    method.encoder = like(PLACES)
    assert method.fit([], told("shown", 20))["expert_steps"] == 80
    same(method.rewards(told("own", 1)), [[0.0] * 4])
    method.observe(told("own", 20))
    assert np.concatenate(method.rewards(told("own", 20))).mean() < -0.5


@pytest.mark.parametrize("cls", ALL)
def test_pricing_before_the_fit_is_refused(cls):
    method = ready(cls())
    assert method.state_dict() == {}
    method.load_state_dict({})
    with pytest.raises(RuntimeError, match=f"^{method.name} has no rewards before fit"):
        method.rewards(PRICED)
    if cls is StepAgentInverse:
        with pytest.raises(RuntimeError, match="before fit"):
            method.observe(PRICED)


@pytest.mark.parametrize("cls", ALL)
def test_what_the_experiment_has_not_set_is_named(cls):
    method = cls()
    method.simulator = fake_simulator
    with pytest.raises(RuntimeError, match=f"^{method.name} reads hidden states: set `encoder`"):
        method.fit(EXPLORED, EXPERTS)
    for shape, number in (((2, 4), 0.0), ((3,), 0.0), ((3, 4), np.nan)):
        method.encoder = lambda ts, s=shape, n=number: [np.full(s, n, dtype=np.float32) for _ in ts]
        with pytest.raises(ValueError, match="3 steps need finite"):
            method.fit([episode(1.0), episode(0.0)], [episode(1.0), episode(0.0)])


def test_an_agent_that_is_not_set_is_named():
    method = StepAgentImplicit()
    method.encoder = fake_encoder
    with pytest.raises(RuntimeError, match=r"^stepagent-implicit asks the agent for its own actions: set `simulator`"):
        method.fit(EXPLORED, EXPERTS)


def test_who_needs_experts_and_who_conserves():
    assert [cls.uses_experts for cls in ALL] == [False, False, True, True]
    assert [cls.conserves_return for cls in ALL] == [False, True, False, False]


BAD = [
    *((cls, {name: x}) for cls in ALL for name in ("hidden", "epochs", "batch") for x in (0, 2.5, True)),
    *((cls, {name: x}) for cls in ALL for name in ("learning_rate", "weight_decay") for x in (-1.0, np.nan, "1")),
    *((cls, {"holdout": x}) for cls in (RRD, RUDDER, StepAgentImplicit) for x in (0.0, 1.0, True)),
    *((cls, {"patience": 0}) for cls in (RRD, RUDDER, StepAgentImplicit)),
    *((RRD, options) for options in ({"subset": 0}, {"unbiased": 1}, {"exact": "yes"})),
    (RRD, {"subset": 1, "unbiased": True}),
    *((RUDDER, {"continuous": x}) for x in (-0.1, np.inf, "much")),
    *((StepAgentInverse, options) for options in ({"form": "dpo"}, {"smoothing": 0.0}, {"smoothing": 0.5})),
    *((StepAgentInverse, options) for options in ({"expert_steps": 0}, {"updates": -1})),
    *((StepAgentImplicit, options) for options in ({"beta": 0.0}, {"centre": -1.0}, {"prefixes": 0})),
]


@pytest.mark.parametrize(("cls", "options"), BAD)
def test_options_that_make_no_sense_are_refused(cls, options):
    with pytest.raises(UserError, match=f"^reward {cls.name}: {next(iter(options))}=.*: use |has no variance"):
        cls(**options)


def test_a_discriminator_is_measured_on_tasks_that_it_has_not_seen():
    """Features that are a task's own tell nothing of another task; those that are the expert's do."""
    shown = [episode(1.0, [True] * 4, f"task/{n}", f"{n} shown") for n in range(30)]
    own = [episode(0.0, [True] * 4, f"task/{n}", f"{n} own") for n in range(30)]
    method = StepAgentInverse(epochs=40, batch=32)
    method.encoder = like(PLACES)
    told_apart = method.fit(own, shown)
    assert told_apart["held_out_accuracy"] > 0.9 and told_apart["clock_accuracy"] == pytest.approx(0.5, abs=0.2)
    assert told_apart["partial_correlation"] > 0.8
    known = {t.steps[0].observation: n for n, t in enumerate(shown + own)}
    method.encoder = lambda ts: [np.eye(60, dtype=np.float32)[[known[t.steps[0].observation]] * len(t)] for t in ts]
    by_heart = method.fit(own, shown)
    assert by_heart["accuracy"] > 0.9 and by_heart["held_out_accuracy"] == pytest.approx(0.5, abs=0.2)
    assert "held_out_accuracy" not in method.fit(own[:1], shown[:1])
