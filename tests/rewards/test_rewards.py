"""Each method by hand, against the contract tests, and against a list of mutants that must die."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from strategies import episode, groups, max_examples, trajectories

from spa_bench import registry
from spa_bench.contract.fakes import fake_encoder
from spa_bench.contract.laws import check_reward
from spa_bench.core import Trajectory, UserError
from spa_bench.method import RewardMethod
from spa_bench.rewards.__main__ import card, table
from spa_bench.rewards._episode_digest import episode_digest
from spa_bench.rewards._network import split
from spa_bench.rewards.ppo import PPO
from spa_bench.rewards.shuffled import Shuffled
from spa_bench.rewards.spa import SPA
from spa_bench.rewards.sparse import Sparse

ROOM = Path(__file__).resolve().parents[2] / "rewards"
GROUPS = [
    [episode(1.0), episode(0.0, [True, False, True, True], words="b"), episode(0.5, [False], words="c")],
    [episode(0.0, [t % 3 > 0 for t in range(9)], "put/mug/2"), episode(1.0, [True, False], "put/mug/2", "d")],
    [episode(0.5, [False, True], "alone/3", "e")],
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def quick(cls: type[SPA] = SPA, **options: float) -> SPA:
    return cls(**{"hidden": 4, "epochs": 3, **options})  # type: ignore[arg-type]


def fitted(cls: type[SPA] = SPA, **options: float) -> SPA:
    """A method that has learned that steps are worth something: its contributions are not zero and not even."""
    method = quick(cls, epochs=20, **options)
    method.encoder = fake_encoder
    method.fit([episode(1.0 - 0.1 * (n % 3), [True] * (1 + n % 4), words=str(n)) for n in range(20)], [])
    c = np.concatenate(method.contributions([episode(1.0), episode(0.0, words="new")]))
    assert np.abs(c).min() > 1e-3
    assert c.std() > 1e-3
    return method


# Contract tests, for every method


@pytest.mark.parametrize("name", registry.names("rewards"))
def test_every_method_passes_the_contract_tests(name):
    check_reward(registry.find("rewards", name), GROUPS)


@pytest.mark.parametrize("method", [Sparse, PPO, lambda: quick(SPA), lambda: quick(Shuffled)])
@max_examples(25)
@given(made=groups())
def test_every_method_passes_the_contract_tests_on_random_groups(method, made):
    check_reward(method, made)


# By hand


def golden_sparse(method: RewardMethod) -> None:
    """Outcome 1 over three steps, .5 over one, nothing over none; grounding and the peers are no matter."""
    group = [episode(1.0), episode(0.5, [False]), episode(1.0, [])]
    for got, want in zip(method.rewards(group), ([0.0, 0.0, 1.0], [0.5], []), strict=True):
        np.testing.assert_array_equal(got, want)


def golden_spa(method: RewardMethod) -> None:
    """One feature h and a network of one unit: c = relu((h - 1) / 2) + 0.25.

    h = 3, 1, -5 gives c = 1.25, .25, .25, of which the last becomes -.5 where they have to add up to 1. Grounded yes,
    no, yes makes shares of 1, 1/2, 2/3, which change by 1, -1/2, 1/6 and are paid at beta .5; with the paper's sum
    each grounded step earns .5.
    """
    method.load_state_dict(
        {
            "fitted": np.ones(1, dtype=np.int8),
            "mean": np.array([1.0], dtype=np.float32),
            "std": np.array([2.0], dtype=np.float32),
            "w1": np.array([[1.0]], dtype=np.float32),
            "b1": np.array([0.0], dtype=np.float32),
            "w2": np.array([1.0], dtype=np.float32),
            "b2": np.array([0.25], dtype=np.float32),
        }
    )
    method.encoder = lambda ts: [np.array([[3.0], [1.0], [-5.0]], dtype=np.float32)[: len(t)] for t in ts]
    assert isinstance(method, SPA)
    first, second = method.rewards([episode(1.0, [True, False, True]), episode(0.0, [False])])
    np.testing.assert_allclose(first, [1.25 + 0.5, 0.25 - 0.25, -0.5 + 0.5 / 6], rtol=1e-12)
    np.testing.assert_array_equal(second, [0.0])
    method.exact = False
    first, second = method.rewards([episode(1.0, [True, False, True]), episode(0.0, [False])])
    np.testing.assert_allclose(first, [1.25 + 0.5, 0.25 - 0.25, 0.25 + 0.5 / 6], rtol=1e-12)
    np.testing.assert_array_equal(second, [1.25])
    method.bonus = "sum"
    np.testing.assert_array_equal(method.rewards([episode(1.0, [True, False, True])])[0], [1.75, 0.25, 0.75])


def golden_shuffled(method: RewardMethod) -> None:
    """Each episode keeps its own numbers, at other steps."""
    long = [episode(1.0, [t % 3 != 0 for t in range(12)], words=word) for word in "abc"]
    original = quick()
    for one in (method, original):
        one.seed, one.encoder = 0, fake_encoder
        one.fit(long, [])
    moved = 0
    for shuffled, plain in zip(method.rewards(long), original.rewards(long), strict=True):
        np.testing.assert_array_equal(np.sort(shuffled), np.sort(plain))
        moved += int(not np.array_equal(shuffled, plain))
    assert moved == len(long)


def test_sparse_by_hand():
    golden_sparse(Sparse())


def test_ppo_has_the_rewards_of_sparse_and_differs_by_its_flags():
    golden_sparse(PPO())
    assert (PPO.level, PPO.kl_in_reward, PPO.uses_critic) == ("token", True, True)
    assert (Sparse.level, Sparse.kl_in_reward) == ("turn", False)


def test_spa_by_hand():
    golden_spa(SPA())


def test_shuffled_by_hand():
    golden_shuffled(quick(Shuffled))


# Mutants: each is one plausible slip, and a check above must reject it


class PositionWeighted(Sparse):
    """The released trainer's factor T - t - 1: a terminal reward is multiplied by zero."""

    def rewards(self, group):
        return [r * np.arange(len(r))[::-1] for r in super().rewards(group)]


class OnFirstStep(Sparse):
    def rewards(self, group):
        return [r[::-1].copy() for r in super().rewards(group)]


class LastStepDropped(Sparse):
    def rewards(self, group):
        return [r[:-1] for r in super().rewards(group)]


class LastStepUnpaid(Sparse):
    def rewards(self, group):
        return [np.append(r[:-1], np.zeros(min(len(r), 1))) for r in super().rewards(group)]


class OutcomeOnEveryStep(Sparse):
    def rewards(self, group):
        return [np.full(len(t), t.outcome) for t in group]


class SuccessForOutcome(Sparse):
    def rewards(self, group):
        return super().rewards([replace(t, outcome=float(t.success)) for t in group])


class SinglePrecision(Sparse):
    def rewards(self, group):
        return [r.astype(np.float32) for r in super().rewards(group)]


class NaNAtZeroSpread(Sparse):
    conserves_return = False

    def rewards(self, group):
        spread = np.std([t.outcome for t in group])
        with np.errstate(invalid="ignore", divide="ignore"):
            return [(r - r) / spread for r in super().rewards(group)]


class Unseeded(Sparse):
    conserves_return = False

    def rewards(self, group):
        return [r + np.random.default_rng().normal() for r in super().rewards(group)]


class CountsCalls(Sparse):
    conserves_return = False
    calls = 0

    def rewards(self, group):
        self.calls += 1
        return [r + self.calls * 0.1 for r in super().rewards(group)]


class PositionInGroup(Sparse):
    conserves_return = False

    def rewards(self, group):
        return [r + i for i, r in enumerate(super().rewards(group))]


class ForgetsOneTrajectory(Sparse):
    def rewards(self, group):
        return super().rewards(group)[1:]


class FirstGroupIsTheBaseline(Sparse):
    conserves_return = False
    baseline = 0.0

    def fit(self, trajectories, experts):
        self.baseline = trajectories[0].outcome
        return {}

    def rewards(self, group):
        return [r - self.baseline for r in super().rewards(group)]

    def state_dict(self):
        return {"baseline": np.array([self.baseline])}

    def load_state_dict(self, state):
        self.baseline = float(state["baseline"][0])


class ForgetsItsState(FirstGroupIsTheBaseline):
    def fit(self, trajectories, experts):
        self.baseline = 7.0
        return {}

    def load_state_dict(self, state):
        pass


class Rewrites(Sparse):
    def rewards(self, group):
        priced = super().rewards(group)
        for t in group:
            object.__setattr__(t, "start_progress", 1.0)
        return priced


class BrokenAdvantages(Sparse):
    def advantages(self, group, rewards, values, gamma, lam):
        return [(v, v) for v in values]


class BonusForFaults(SPA):
    def rewards(self, group):
        return [
            r + self.beta * (1 - 2 * np.array([s.grounded for s in t.steps]))
            for t, r in zip(group, super().rewards(group), strict=True)
        ]


class WeightsSwapped(SPA):
    def __init__(self, **options):
        super().__init__(**options)
        self.alpha, self.beta = self.beta, self.alpha


class RunningSum(SPA):
    def contributions(self, group):
        return [np.cumsum(c) for c in super().contributions(group)]


class LastTurnAlwaysGrounded(SPA):
    """The released code: the last turn always earns the bonus."""

    def rewards(self, group):
        priced = super().rewards(group)
        for t, r in zip(group, priced, strict=True):
            if t.steps and not t.steps[-1].grounded:
                r[-1] += self.beta
        return priced


class ScaleForgotten(SPA):
    def load_state_dict(self, state):
        super().load_state_dict(state | {"std": np.ones_like(state["std"])} if "std" in state else state)


class Loose(SPA):
    """Its sums are left as they were fitted, so that a shift of all contributions shows."""

    def __init__(self):
        super().__init__(exact=False)


class LosesPrecision(Loose):
    def state_dict(self):
        return {key: np.round(value, 2) for key, value in super().state_dict().items()}


class FitsInInputOrder(Loose):
    def fit(self, trajectories, experts):
        figures = super().fit(trajectories, experts)
        if self._weights:
            self._weights["b2"] = self._weights["b2"] + len(trajectories[0])
        return figures


class ShuffledAcross(Shuffled):
    def rewards(self, group):
        priced = SPA.rewards(self, group)
        pool = np.random.default_rng(0).permutation(np.concatenate(priced))
        return np.split(pool, np.cumsum([len(r) for r in priced])[:-1])


class ShuffledByPosition(Shuffled):
    def rewards(self, group):
        priced = SPA.rewards(self, group)
        return [np.random.default_rng(i).permutation(r) for i, r in enumerate(priced)]


class NotShuffled(Shuffled):
    def rewards(self, group):
        return SPA.rewards(self, group)


class Resampled(Shuffled):
    def rewards(self, group):
        return [np.random.default_rng(len(r)).choice(r, len(r)) for r in SPA.rewards(self, group)]


FAILS = {
    PositionWeighted: "rewards add up to the outcome",
    LastStepDropped: "one number per step",
    LastStepUnpaid: "rewards add up to the outcome",
    OutcomeOnEveryStep: "rewards add up to the outcome",
    SuccessForOutcome: "rewards add up to the outcome",
    SinglePrecision: "rewards are float64 arrays",
    NaNAtZeroSpread: "every number is finite",
    Unseeded: "the same seed gives the same numbers",
    CountsCalls: "the same seed gives|calling rewards again gives",
    PositionInGroup: "the order within a group does not matter",
    ForgetsOneTrajectory: "one array per trajectory",
    FirstGroupIsTheBaseline: "the order of the groups does not matter",
    ForgetsItsState: "the state survives a round trip",
    Rewrites: "trajectories are not modified",
    BrokenAdvantages: "one finite advantage and one finite return per decision",
    ScaleForgotten: "the state survives a round trip|a restored method gives the same numbers",
    LosesPrecision: "the state survives a round trip|a restored method gives the same numbers",
    FitsInInputOrder: "the order of the groups does not matter",
    ShuffledByPosition: "the order within a group does not matter",
}

GOLDEN: list[tuple[Callable[[RewardMethod], None], type[RewardMethod]]] = [
    *((golden_sparse, mutant) for mutant in (PositionWeighted, OnFirstStep, LastStepDropped, LastStepUnpaid)),
    *((golden_sparse, mutant) for mutant in (OutcomeOnEveryStep, SuccessForOutcome)),
    *((golden_spa, mutant) for mutant in (BonusForFaults, WeightsSwapped, RunningSum, LastTurnAlwaysGrounded)),
    *((golden_spa, mutant) for mutant in (ScaleForgotten,)),
    *((golden_shuffled, mutant) for mutant in (ShuffledAcross, NotShuffled, Resampled)),
]


@pytest.mark.parametrize("mutant", FAILS, ids=lambda m: m.__name__)
def test_the_contract_test_that_a_mutant_fails_is_named(mutant):
    made = [[replace(t) for t in group] for group in GROUPS]  # a copy, because one mutant rewrites
    with pytest.raises(AssertionError, match=FAILS[mutant]):
        check_reward(mutant, made)


@pytest.mark.parametrize(("golden", "mutant"), GOLDEN, ids=lambda x: x.__name__)
def test_a_mutant_fails_the_numbers_by_hand(golden, mutant):
    with pytest.raises(AssertionError):
        golden(mutant())


# What the progress estimator learns


def planted(count: int, size: int, seed: int, features: int = 8) -> tuple[list[Trajectory], list[np.ndarray], Callable]:
    """Episodes whose outcome is the sum of hidden contributions in [0, 1/T], each a function of its step's features."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=features) / np.sqrt(features)
    made, truth, hidden = [], [], {}
    for index in range(count):
        length = int(rng.integers(size // 2, size + 1))
        h = rng.normal(size=(length, features)).astype(np.float32)
        contributions = 1 / (1 + np.exp(-2 * h @ direction)) / size
        made.append(episode(float(contributions.sum()), [True] * length, f"task/{index % 10}", str(index)))
        truth.append(contributions)
        hidden[episode_digest(made[-1])] = h
    return made, truth, lambda ts: [hidden[episode_digest(t)] for t in ts]


def test_t13_planted_contributions_are_recovered_and_sums_match_outcomes_on_unseen_episodes():
    made, truth, encoder = planted(260, 12, seed=1)
    method = SPA(exact=False)
    method.encoder = encoder
    figures = method.fit(made[:200], [])
    assert figures["episodes"] == 200
    assert figures["held_out_r2"] > 0.8
    assert 1 <= figures["epoch"] <= method.training.epochs
    unseen = method.contributions(made[200:])
    correlation = [spearmanr(got, want)[0] for got, want in zip(unseen, truth[200:], strict=True)]
    assert np.mean(correlation) > 0.9
    errors = [abs(got.sum() - t.outcome) for got, t in zip(unseen, made[200:], strict=True)]
    assert np.mean(errors) < 0.05


def test_the_figures_are_what_the_kept_network_gives():
    """Of ten tasks two choose the epoch and two are for the report, so that six are learned from."""
    made, _, encoder = planted(40, 6, seed=2)
    method = SPA(epochs=5, exact=False)
    method.encoder = encoder
    figures = method.fit(made, [])
    parts = split([t.task.key for t in sorted(made, key=episode_digest)], 0.2, method.rng())
    squared = np.array(
        [(method.contributions([t])[0].sum() - t.outcome) ** 2 for t in sorted(made, key=episode_digest)]
    )
    assert (len(parts.train), len(parts.choose), len(parts.report)) == (24, 8, 8)
    assert figures["train_mse"] == pytest.approx(squared[parts.train].mean(), rel=1e-5)
    assert figures["held_out_mse"] == pytest.approx(squared[parts.report].mean(), rel=1e-5)
    assert figures["held_out_episodes"] == 8


def test_a_fit_depends_on_neither_the_input_order_nor_the_global_generator():
    made, _, encoder = planted(30, 6, seed=3)
    states = []
    for order, noise in ((made, 1), (made[::-1], 2), (made[7:] + made[:7], 3)):
        method = quick()
        method.encoder = encoder
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        method.fit(order, [])
        assert torch.equal(before, torch.get_rng_state())
        states.append(method.state_dict())
    for state in states[1:]:
        for key in state:
            np.testing.assert_array_equal(state[key], states[0][key])


def test_another_seed_gives_another_network():
    made, _, encoder = planted(30, 12, seed=4)
    states = []
    for seed in (0, 1):
        method = quick()
        method.seed, method.encoder = seed, encoder
        method.fit(made, [])
        states.append(method.state_dict())
    assert not np.array_equal(states[0]["w1"], states[1]["w1"])


def test_a_permutation_is_that_of_the_seed_and_of_the_content_not_of_the_task_alone():
    plain, shuffled = fitted(), fitted(Shuffled)
    group = [episode(1.0, [True] * 12, words=str(i)) for i in range(4)]
    orders = []
    for seed in (0, 1):
        shuffled.seed = seed
        for before, after in zip(plain.rewards(group), shuffled.rewards(group), strict=True):
            orders.append(tuple(list(before).index(number) for number in after))
    assert len(set(orders)) == 8


def test_r2_is_zero_for_a_network_that_says_the_mean():
    # Equal lengths and no learning: every sum is the mean outcome of the training share, which is the yardstick.
    method = quick(learning_rate=0.0)
    method.encoder = fake_encoder
    figures = method.fit([episode(0.1 * n, key=f"task/{n % 5}", words=str(n)) for n in range(10)], [])
    assert figures["held_out_r2"] == pytest.approx(0.0, abs=1e-5)
    assert figures["held_out_mse"] > 0.01


@given(st.floats(0, 3), st.floats(0, 3), trajectories(min_steps=1))
@max_examples(20)
def test_contribution_and_grounding_are_weighted_exactly(alpha, beta, trajectory):
    method = fitted(alpha=alpha, beta=beta)
    (c,) = method.contributions([trajectory])
    g = np.array([float(step.grounded) for step in trajectory.steps])
    changes = [g[: t + 1].mean() - (g[:t].mean() if t else 0.0) for t in range(len(g))]
    np.testing.assert_allclose(method.rewards([trajectory])[0], alpha * c + beta * np.array(changes), atol=1e-12)
    assert (method.rewards([trajectory])[0] - alpha * c).sum() == pytest.approx(beta * g.mean(), abs=1e-9)
    method.bonus = "sum"
    np.testing.assert_array_equal(method.rewards([trajectory])[0], alpha * c + beta * g)


@given(trajectories(min_steps=1), trajectories(min_steps=1))
@max_examples(20)
def test_no_grounded_failure_earns_more_than_any_success(win, loss):
    """This is what the paper's sum of bonuses breaks."""
    method = fitted()
    win, loss = replace(win, outcome=1.0), replace(loss, outcome=0.0)
    won, lost = (float(rewards.sum()) for rewards in method.rewards([win, loss]))
    assert won > lost


@given(trajectories(min_steps=1))
@max_examples(20)
def test_exact_contributions_add_up_to_the_outcome_and_change_no_step_but_the_last(trajectory):
    free, exact = fitted(exact=False), fitted()
    (loose,), (tight,) = free.contributions([trajectory]), exact.contributions([trajectory])
    assert tight.sum() == pytest.approx(trajectory.outcome, abs=1e-9)
    np.testing.assert_array_equal(tight[:-1], loose[:-1])


@given(trajectories(min_steps=2), st.booleans())
@max_examples(20)
def test_no_step_is_paid_by_what_comes_after_it(trajectory, shorter):
    """All but the last: a reward that looked ahead would pay for delay, whatever its sum."""
    method = fitted()
    other = replace(trajectory, outcome=trajectory.outcome / 2)
    if shorter:
        other = replace(other, steps=trajectory.steps[:-1])
    (long,), (short,) = method.rewards([trajectory]), method.rewards([other])
    np.testing.assert_allclose(long[: len(short) - 1], short[:-1], atol=1e-12)


def test_a_constant_outcome_over_equal_lengths_is_credited_evenly():
    # Training starts from even credit, outcome 1 over 4 steps, and there is nothing left to learn.
    made = [episode(1.0, [True] * 4, words=str(i)) for i in range(5)]
    method = SPA()
    method.encoder = fake_encoder
    figures = method.fit(made, [])
    even = {"contribution_mean": 0.25, "contribution_sd": 0.0}
    assert figures == {"episodes": 5, "epoch": 0, "train_mse": 0} | even
    np.testing.assert_allclose(np.concatenate(method.contributions(made)), 0.25, atol=1e-6)


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_a_constant_outcome_over_unequal_lengths_gives_finite_figures(outcome):
    method = SPA()
    method.encoder = fake_encoder
    figures = method.fit([episode(outcome, [True] * n, words=str(n)) for n in range(1, 9)], [])
    assert np.isfinite(list(figures.values())).all()


@pytest.mark.parametrize("explored", [[], [episode(1.0)], [episode(1.0, [])] * 3])
def test_with_too_little_to_learn_from_the_outcome_and_grounding_are_left(explored):
    method = SPA()
    method.encoder = fake_encoder
    assert method.fit(explored, []) == {"episodes": float(len([t for t in explored if t.steps]))}
    other = SPA()
    other.load_state_dict(method.state_dict())
    for spa in (method, other):
        np.testing.assert_array_equal(spa.rewards([episode(1.0, [True, False])])[0], [0.5, 0.75])
        spa.exact = False
        np.testing.assert_array_equal(spa.rewards([episode(1.0, [True, False])])[0], [0.5, -0.25])


def test_episodes_that_went_wrong_outside_the_agent_teach_nothing():
    good = [episode(1.0, words=str(i)) for i in range(4)]
    broken = [replace(episode(0.0, words="x"), error="the world timed out")]
    states = []
    for explored in (good, good + broken):
        method = quick()
        method.encoder = fake_encoder
        assert method.fit(explored, [])["episodes"] == 4
        states.append(method.state_dict())
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("holdout", [0.01, 0.2, 0.99])
def test_two_episodes_are_enough_to_train_on_one_and_hold_out_the_other(holdout):
    method = quick(holdout=holdout)
    method.encoder = fake_encoder
    assert np.isfinite(list(method.fit([episode(1.0), episode(0.0, [False])], []).values())).all()


def test_features_that_never_vary_do_not_divide_by_zero():
    method = quick()
    method.encoder = lambda ts: [np.full((len(t), 3), 5.0, dtype=np.float32) for t in ts]
    method.fit([episode(1.0, words=str(i)) for i in range(4)], [])
    assert np.isfinite(method.rewards([episode(1.0)])[0]).all()


@pytest.mark.parametrize("cls", [SPA, Shuffled])
def test_pricing_before_the_fit_is_refused(cls):
    method = cls()
    method.encoder = fake_encoder
    assert method.state_dict() == {}
    with pytest.raises(RuntimeError, match="before fit"):
        method.rewards([episode(1.0)])
    method.load_state_dict({})
    with pytest.raises(RuntimeError, match="before fit"):
        method.rewards([episode(1.0)])


def test_a_missing_encoder_is_named():
    with pytest.raises(RuntimeError, match="encoder"):
        SPA().fit([episode(1.0), episode(0.0)], [])


@pytest.mark.parametrize("shape", [(2, 4), (3,), (4, 4)])
def test_an_encoder_of_the_wrong_shape_is_refused(shape):
    method = SPA()
    method.encoder = lambda ts: [np.zeros(shape, dtype=np.float32) for _ in ts]
    with pytest.raises(ValueError, match="3 steps need finite"):
        method.fit([episode(1.0), episode(0.0, words="b")], [])


def test_an_encoder_that_gives_nan_is_refused():
    method = SPA()
    method.encoder = lambda ts: [np.full((len(t), 2), np.nan, dtype=np.float32) for t in ts]
    with pytest.raises(ValueError, match="finite"):
        method.fit([episode(1.0), episode(0.0, words="b")], [])


@pytest.mark.parametrize(
    "options",
    [
        *({"holdout": x} for x in (0.0, 1.0, True)),
        *({name: x} for name in ("epochs", "hidden", "batch", "patience") for x in (0, 2.5, True)),
        *({name: x} for name in ("alpha", "beta") for x in (np.nan, np.inf, "1", True)),
        *({name: x} for name in ("learning_rate", "weight_decay") for x in (-1.0, "1")),
        *({"exact": x} for x in ("False", 0)),
        {"bonus": "mean"},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=f"^reward spa: {next(iter(options))}=.*: use "):
        SPA(**options)


@given(trajectories())
def test_an_episode_digest_tells_what_happened_and_not_who_played(trajectory):
    assert episode_digest(trajectory) == episode_digest(replace(trajectory, start_progress=0.9))
    assert episode_digest(trajectory) != episode_digest(replace(trajectory, final_observation="\ud800 other"))
    if len(trajectory) > 1:
        assert episode_digest(trajectory) != episode_digest(replace(trajectory, steps=trajectory.steps[:-1]))


@given(groups())
@max_examples(25)
def test_a_shuffled_episode_does_not_depend_on_its_peers(made):
    method = quick(Shuffled)
    method.encoder = fake_encoder
    method.fit([t for group in made for t in group], [])
    for group in made:
        for alone, together in zip([method.rewards([t])[0] for t in group], method.rewards(group), strict=True):
            np.testing.assert_array_equal(alone, together)


# The cards


@pytest.mark.parametrize("name", registry.names("rewards"))
def test_a_card_says_of_conservation_what_the_class_says(name):
    said = card(ROOM / f"{name.replace('-', '_')}.py")["Conserves return"]
    assert re.match(r"yes|no", said)
    assert said.startswith("yes") == registry.find("rewards", name).conserves_return


def test_the_table_of_the_readme_is_the_table_of_the_cards():
    assert table() in (ROOM / "README.md").read_text(encoding="utf-8")
    assert len(table().splitlines()) == 2 + len(registry.names("rewards"))


def test_a_card_without_its_headings_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('"""Mine.\n\nPaper: none.\nNeeds: nothing.\n"""\n', encoding="utf-8")
    with pytest.raises(ValueError, match="it needs Paper, Equation, Defaults, Deviations, Conserves return, Needs"):
        card(file)
