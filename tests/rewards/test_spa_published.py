"""`spa-published`: the paper's formula, by hand; and what tuning a copy of the language model does and leaves alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies import episode, groups, max_examples, trajectories

from spa_bench import registry
from spa_bench.config import RunConfig
from spa_bench.contract.fakes import FakeBackbone, fake_encoder
from spa_bench.contract.laws import check_reward
from spa_bench.core import UserError
from spa_bench.rewards._decomposition import FROZEN_RATE, TUNING
from spa_bench.rewards._network import TUNED
from spa_bench.rewards.spa import SPA
from spa_bench.rewards.spa_published import SPAPublished

EXPLORED = [episode(1.0 - 0.1 * (n % 3), [True] * (1 + n % 4), f"task/{n % 6}", str(n)) for n in range(24)]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def ready(method):
    method.encoder, method.backbone = fake_encoder, FakeBackbone()
    return method


def fitted(cls=SPAPublished, **options):
    method = ready(cls(**{"hidden": 4, "epochs": 3, "batch": 4, **options}))
    method.fit(EXPLORED, [])
    return method


def loaded(**options):
    """One feature and a network of one unit, frozen: 1.25, .25, .25 of h = 3, 1, -5."""
    method = SPAPublished(**options)
    numbers = {"mean": [1.0], "std": [2.0], "w1": [[1.0]], "b1": [0.0], "w2": [1.0], "b2": [0.25]}
    state = {key: np.array(number, dtype=np.float32) for key, number in numbers.items()}
    method.load_state_dict({"fitted": np.ones(1, dtype=np.int8)} | state)
    method.encoder = lambda ts: [np.array([[3.0], [1.0], [-5.0]], dtype=np.float32)[: len(t)] for t in ts]
    return method


@pytest.mark.parametrize(
    "method", [SPAPublished, partial(SPAPublished, backbone="frozen"), partial(SPA, backbone="tuned")]
)
@max_examples(8)
@given(made=groups())
def test_the_contract_tests_pass_on_random_groups(method, made):
    check_reward(partial(method, hidden=4, epochs=2), made)


def test_by_hand():
    """Contributions 1.25, .25, .25; the middle step is not grounded. Nothing makes the sum the outcome."""
    group = [episode(0.0, [True, False, True])]
    np.testing.assert_allclose(loaded().rewards(group)[0], [1.75, 0.25, 0.75])
    np.testing.assert_allclose(loaded(alpha=2.0, beta=0.0).rewards(group)[0], [2.5, 0.5, 0.5])
    np.testing.assert_allclose(loaded(alpha=0.0, beta=1.0).rewards(group)[0], [1, 0, 1])


@given(trajectories(min_steps=1))
@max_examples(20)
def test_it_is_spa_without_what_is_ours(trajectory):
    """`spa` with the sum of bonuses and without the correction has the same formula; the estimator may differ."""
    published, own = fitted(backbone="frozen"), fitted(SPA, bonus="sum", exact=False)
    own.load_state_dict(published.state_dict())
    np.testing.assert_array_equal(published.rewards([trajectory])[0], own.rewards([trajectory])[0])


def test_what_is_known_of_the_paper_is_the_default():
    method = SPAPublished()
    assert (method.alpha, method.beta, method.tunes) == (1.0, 0.5, True)
    how = method.training
    assert (how.epochs, how.batch, how.weight_decay) == (1, 16, 0.01)
    assert (method.level, method.kl_in_reward, method.conserves_return) == ("token", True, False)


# What is tuned


@pytest.mark.parametrize("cls", [SPAPublished, SPA])
def test_the_copy_is_tuned_and_the_warm_start_is_not_changed(cls):
    backbone = FakeBackbone()
    kept = backbone.weights()["matrix"]
    backbone.weights = lambda: {"matrix": kept.clone()}
    method = cls(hidden=4, epochs=3, backbone="tuned")
    method.encoder, method.backbone = fake_encoder, backbone
    method.fit(EXPLORED, [])
    state = method.state_dict()
    assert np.abs(state[f"{TUNED}matrix"] - np.eye(8)).max() > 1e-3
    torch.testing.assert_close(kept, torch.eye(8), rtol=0, atol=0)


def test_the_gradient_reaches_the_language_model_through_the_head():
    """At the start the head gives the same number to every step (w2 = 0): the first step moves the head alone."""
    one = fitted(epochs=1, batch=99, weight_decay=0.0).state_dict()
    np.testing.assert_array_equal(one[f"{TUNED}matrix"], np.eye(8, dtype=np.float32))
    two = fitted(epochs=2, batch=99, weight_decay=0.0).state_dict()
    assert np.abs(two[f"{TUNED}matrix"] - np.eye(8)).max() > 1e-4


def test_a_frozen_network_is_neither_asked_for_nor_saved():
    method = SPAPublished(backbone="frozen", hidden=4)
    method.encoder = fake_encoder
    method.fit(EXPLORED, [])
    assert not [key for key in method.state_dict() if key.startswith(TUNED)]


@pytest.mark.parametrize("cls", [SPAPublished, SPA])
def test_a_tuned_method_comes_back_from_its_state(cls):
    first = fitted(cls, backbone="tuned")
    again = ready(cls(hidden=4, backbone="tuned"))
    again.load_state_dict(first.state_dict())
    new = [episode(1.0, words="new"), episode(0.0, [False], words="other")]
    for one, other in zip(first.rewards(new), again.rewards(new), strict=True):
        np.testing.assert_array_equal(one, other)
    plain = {key: value for key, value in first.state_dict().items() if not key.startswith(TUNED)}
    again.load_state_dict(plain | {f"{TUNED}matrix": np.eye(8, dtype=np.float32)})
    assert not np.array_equal(first.numbers(new)[0], again.numbers(new)[0])


class Elsewhere(FakeBackbone):
    """A network on a device of its own: counts the weights that are moved there, and takes no others."""

    def __init__(self) -> None:
        self.there: list[torch.Tensor] = []

    def place(self, weights):
        away = {n: w.clone() for n, w in weights.items() if not any(w is own for own in self.there)}
        self.there += away.values()
        return dict(weights) | away

    def encode(self, weights, trajectories):
        assert all(any(w is own for own in self.there) for w in weights.values()), "moved for this call"
        return super().encode(weights, trajectories)


@pytest.mark.parametrize("cls", [SPAPublished, SPA])
def test_a_loaded_language_model_is_moved_to_its_device_once(cls):
    first = fitted(cls, backbone="tuned")
    again = cls(hidden=4, backbone="tuned")
    again.load_state_dict(first.state_dict())
    again.encoder, again.backbone = fake_encoder, Elsewhere()
    for _ in range(2):
        for one, other in zip(first.rewards(EXPLORED[:5]), again.rewards(EXPLORED[:5]), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(again.backbone.there) == 1
    np.testing.assert_array_equal(again.state_dict()[f"{TUNED}matrix"], first.state_dict()[f"{TUNED}matrix"])


def rates(monkeypatch, rate, **options):
    """Learning rates of the network and of the language model, as Adam has them."""
    used = []
    adam = torch.optim.AdamW

    def noted(groups, lr, **more):
        used.append([group.get("lr", lr) for group in groups])
        return adam(groups, lr, **more)

    method = ready(SPAPublished(hidden=4, **options))
    method.backbone.learning_rate = rate
    with monkeypatch.context() as patched:
        patched.setattr(torch.optim, "AdamW", noted)
        method.fit(EXPLORED, [])
    return used[0]


def test_the_rate_follows_the_warm_start_of_the_model_that_is_tuned(monkeypatch):
    """SPA's scripts: 2e-5 before it and 3e-6 for the estimator; a network that starts from nothing needs more."""
    assert pytest.approx(3e-6 / 2e-5) == TUNING
    assert rates(monkeypatch, 2e-5) == pytest.approx([4.5e-4, 3e-6])
    assert rates(monkeypatch, 4e-3) == pytest.approx([6e-4, 6e-4])
    assert rates(monkeypatch, 2e-5, backbone="frozen") == [FROZEN_RATE]
    assert rates(monkeypatch, 2e-5, learning_rate=0.5) == [0.5, 0.5]


def test_the_embedded_default_has_one_rate(monkeypatch):
    embedded = RunConfig(env="alfworld", reward="spa-published").warm_start.learning_rate
    network, language = rates(monkeypatch, embedded)
    assert network == language == pytest.approx(4.5e-4)


def test_the_network_learns_beside_a_language_model_that_hardly_moves():
    """The rate of every model but the embedded one: in one pass the contributions begin to differ."""
    one = ready(SPAPublished(batch=4))
    one.backbone.learning_rate = 2e-5
    figures = one.fit(EXPLORED, [])
    assert figures["contribution_sd"] > 0.02 * figures["contribution_mean"] > 0
    assert 0 < np.abs(one.state_dict()[f"{TUNED}matrix"] - np.eye(8)).max() < 1e-4
    equal = ready(SPAPublished(batch=4, learning_rate=3e-6))
    figures = equal.fit(EXPLORED, [])
    assert figures["contribution_sd"] < 0.001 * figures["contribution_mean"]


def test_the_spread_of_contributions_is_that_of_all_steps():
    method = fitted()
    steps = np.concatenate(method.numbers(EXPLORED))
    figures = fitted().fit(EXPLORED, [])
    assert figures["contribution_mean"] == pytest.approx(steps.mean())
    assert figures["contribution_sd"] == pytest.approx(steps.std())


def test_the_last_epoch_is_kept_and_the_held_out_tasks_are_only_measured():
    method = ready(SPAPublished(hidden=4, epochs=5, learning_rate=1.0))
    figures = method.fit(EXPLORED, [])
    assert (figures["epoch"], figures["held_out_episodes"]) == (5, 4)


def test_a_missing_backbone_and_a_wrong_one_are_named():
    method = SPAPublished(hidden=4)
    method.encoder = fake_encoder
    with pytest.raises(RuntimeError, match=r"^spa-published tunes a network: set `backbone`"):
        method.fit(EXPLORED, [])
    method.backbone = FakeBackbone()
    method.backbone.encode = lambda weights, ts: [torch.zeros(2, 8) for _ in ts]
    with pytest.raises(ValueError, match=r"^backbone: . steps need finite"):
        method.fit(EXPLORED[2:], [])


@pytest.mark.parametrize(
    "options", [{"backbone": "warm"}, {"alpha": np.nan}, {"beta": "1"}, {"batch": 0}, {"epochs": 0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=f"^reward spa-published: {next(iter(options))}=.*: use "):
        SPAPublished(**options)


def test_it_has_a_name():
    assert registry.find("rewards", "spa-published") is SPAPublished
