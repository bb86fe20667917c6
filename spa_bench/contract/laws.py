"""The contract tests of reward methods: `check_reward` raises AssertionError with the name of the test that fails.

Public, so that a third-party method is tested with one line:

    check_reward(MyMethod)

A method that reads hidden states gets `fake_encoder` unless the factory sets an encoder, and one that continues
episodes `fake_simulator`: no model and no environment are needed. What the method itself raises becomes a MethodError
that names it. `spa-bench check` runs the same tests one by one, and two that take longer: `check_time` and
`check_distinct`.
"""

from __future__ import annotations

import contextlib
import copy
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spa_bench.contract.fakes import (
    FakeBackbone,
    fake_batch,
    fake_demonstrator,
    fake_encoder,
    fake_hindsight,
    fake_simulator,
    standard_groups,
)
from spa_bench.contract.fingerprint import SAME, examples, fingerprint, nearest
from spa_bench.core import Floats, Trajectory
from spa_bench.method import MOST_REPLIES, RewardMethod
from spa_bench.method_errors import method_call
from spa_bench.watch import watching

Factory = Callable[[], RewardMethod]
Group = Sequence[Trajectory]
Prices = list[list[Floats]]
"""Rewards of all groups: one array (T,) per trajectory."""

TOLERANCE = 1e-6
"""Sums in another order differ in their last bits, and outcomes may have gone through fp32."""

SECONDS = 60.0
"""Processor time that fit and rewards of 64 episodes of 20 steps may take, fake encoder and simulator included."""

HANGS = 300.0
"""Seconds, beyond the processor time that is allowed, after which a call is interrupted."""


class ContractError(AssertionError):
    """A contract test that a method fails, and why."""

    def __init__(self, test: str, detail: str = "") -> None:
        super().__init__(f"{test}{f': {detail}' if detail else ''}")
        self.test, self.detail = test, detail


def check_reward(
    factory: Factory,
    groups: Sequence[Group] | None = None,
    seed: int = 0,
    *,
    name: str | None = None,
) -> None:
    """Fit a fresh method on all trajectories and run all `CONTRACT_TESTS`; ContractError for the first that fails.

    `factory` makes an unfitted method; each group shares one task and may hold episodes without steps; without groups
    they are `standard_groups()`. The experts that `fit` sees are the successful trajectories. `name` is what the method
    is called in errors, by default what its class is called.
    """
    trial = Trial(factory, standard_groups() if groups is None else groups, seed, name)
    with impatient():
        for test in CONTRACT_TESTS:
            trial.run(test)


def impatient(seconds: float = SECONDS) -> contextlib.AbstractContextManager[None]:
    """A context in which a call of the method that does not return becomes a MethodError."""
    return watching(dict.fromkeys(("fit", "price"), HANGS + seconds))


def check_time(factory: Factory, seconds: float = SECONDS, *, name: str | None = None) -> float:
    """Processor seconds of fit and rewards of 64 episodes of 20 steps; ContractError for more than `seconds`."""
    trial = Trial(factory, fake_batch(), name=name)
    method = trial.fresh()
    before = time.process_time()
    with impatient(seconds):
        trial.walk(method)
    taken = time.process_time() - before
    size = f"{sum(map(len, trial.groups))} episodes of {len(trial.groups[0][0])} steps"
    hold("rewards are computed in time", taken <= seconds, f"{taken:.3g} s for {size}, allowed are {seconds:g}")
    return taken


def check_distinct(factory: Factory, others: Mapping[str, Floats], *, name: str | None = None) -> tuple[str, float]:
    """The most similar of `others` (name -> fingerprint of `fingerprint.examples()`) and its distance.

    ContractError where the two fingerprints are the same, or where all advantages are 0.
    """
    method = Trial(factory, [], name=name).fresh()
    with method_call(name or type(method).__name__, "fit, rewards or advantages", code=type(method)):
        mine = fingerprint(method, *examples())
    hold(DISTINCT, float(np.abs(mine).mean()) > SAME, "all of them are 0: no step is better than another")
    other, gap = nearest(mine, others)
    detail = f"they are those of {other} (mean |difference| {gap:.2g}, up to {SAME} counts as the same)"
    hold(DISTINCT, gap > SAME, detail)
    return other, gap


@dataclass(frozen=True)
class ContractTest:
    """One property of every method; `run` raises ContractError where it does not hold."""

    name: str
    """A sentence of what holds."""
    run: Callable[[Trial], None]
    basis: bool = False
    """Where it fails the other tests have no meaning."""


class Trial:
    """A method on groups of episodes: makes it, calls it, and keeps its first rewards to compare with."""

    def __init__(self, factory: Factory, groups: Sequence[Group], seed: int = 0, name: str | None = None) -> None:
        self.factory, self.groups, self.seed, self.name = factory, groups, seed, name
        self._before, self._chance = _content(groups), chance()

    def run(self, test: ContractTest) -> None:
        """Run one test; if the method has changed trajectories or global generators, that is the error instead."""
        try:
            test.run(self)
        except ContractError:
            self.unchanged()
            self.no_other_chance()
            raise
        self.unchanged()

    def unchanged(self) -> None:
        """ContractError where trajectories or their groups were modified."""
        hold(UNCHANGED, _content(self.groups) == self._before)

    def no_other_chance(self) -> None:
        """ContractError where a global generator has been used since the trial began."""
        moved = [name for name, state in chance().items() if self._chance.get(name, state) != state]
        hold(CHANCE, not moved, f"it moved {' and '.join(moved)}")

    def fresh(self) -> RewardMethod:
        """An unfitted method with all attributes that an experiment sets."""
        code = self.factory if isinstance(self.factory, type) else None
        with method_call(self.name or (code.__name__ if code else "method"), "its constructor", code=code):
            method = self.factory()
        method.seed = self.seed
        method.encoder = method.encoder or fake_encoder
        method.backbone = method.backbone or FakeBackbone()
        method.simulator = method.simulator or fake_simulator
        method.hindsight = method.hindsight or fake_hindsight
        method.demonstrator = method.demonstrator or fake_demonstrator
        return method

    def walk(self, method: RewardMethod, *, backwards: bool = False) -> Prices:
        """Call fit, observe and rewards as an experiment does; the rewards of each group."""
        groups = self.groups[::-1] if backwards else self.groups
        explored = [trajectory for group in groups for trajectory in group]
        given, experts = list(explored), [trajectory for trajectory in explored if trajectory.success]
        figures = self.call(method, "fit", given, experts)
        named = isinstance(figures, Mapping) and all(isinstance(v, float | int | np.number) for v in figures.values())
        hold("fit returns figures, each a number with a name", named, ascii(figures)[:80])
        self.call(method, "observe", given)
        kept = len(given) == len(explored) and all(a is b for a, b in zip(given, explored, strict=True))
        hold(UNCHANGED, kept, "fit or observe changed the list that it was given")
        priced = [self.rewards(method, group) for group in groups]
        return priced[::-1] if backwards else priced

    def rewards(self, method: RewardMethod, group: Group) -> list[Floats]:
        """The rewards of one group; ContractError unless they are one finite number per step."""
        priced: list[Floats] = self.call(method, "rewards", group)
        _check_numbers(group, priced)
        return priced

    def call(self, method: RewardMethod, what: str, *arguments: Any) -> Any:
        """Call the method; what it raises becomes a MethodError."""
        with method_call(self.name or type(method).__name__, what, code=type(method)):
            return getattr(method, what)(*arguments)

    @cached_property
    def first(self) -> tuple[RewardMethod, Prices]:
        """The fitted method and its rewards, which everything else is compared with."""
        method = self.fresh()
        return method, self.walk(method)


def _numbers(trial: Trial) -> None:
    """`Trial.rewards` checks them whenever it is called."""
    _ = trial.first


def _check_numbers(group: Group, priced: object) -> None:
    test = "one array per trajectory"
    if not isinstance(priced, list | tuple):
        raise ContractError(test, f"a list is wanted, not {type(priced).__name__}")
    hold(test, len(priced) == len(group), f"{len(priced)} for {len(group)}")
    for trajectory, rewards in zip(group, priced, strict=True):
        if not isinstance(rewards, np.ndarray) or rewards.dtype != np.float64:
            raise ContractError("rewards are float64 arrays", f"not {_kind(rewards)}")
        shape = f"shape {rewards.shape} for {len(trajectory)} steps"
        hold("one number per step", rewards.shape == (len(trajectory),), shape)
        hold("every number is finite", bool(np.isfinite(rewards).all()), str(rewards))


def _advantages(trial: Trial) -> None:
    method, prices = trial.first
    for group, priced in zip(trial.groups, prices, strict=True):
        played = [rewards[t.branch :] for t, rewards in zip(group, priced, strict=True)]
        values = [np.zeros(len(rewards) + 1) for rewards in played]
        pairs = trial.call(method, "advantages", group, played, values, 1.0, 0.95)
        test = "one finite advantage and one finite return per decision"
        paired = isinstance(pairs, list | tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs)
        hold("advantages come as one pair per trajectory", paired, "a list of tuples of two is wanted")
        hold("advantages come as one pair per trajectory", len(pairs) == len(group), f"{len(pairs)} for {len(group)}")
        for rewards, pair in zip(played, pairs, strict=True):
            for array in pair:
                hold(test, isinstance(array, np.ndarray) and array.dtype == np.float64, f"not {_kind(array)}")
                hold(test, array.shape == rewards.shape, f"shape {array.shape} for {len(rewards)} decisions")
                hold(test, bool(np.isfinite(array).all()), str(array))


def _branches(trial: Trial) -> None:
    """A fresh and a fitted method, called with every prefix of every episode, forwards and then backwards."""
    points = [t.until(k) for group in trial.groups for t in group for k in range(len(t) + 1)]
    for method in (trial.fresh(), trial.first[0]):
        asked = [trial.call(method, "branch", point) for point in points]
        for answer in asked:
            whole = isinstance(answer, int) and not isinstance(answer, bool)
            hold("branch returns an int", whole, f"{answer!r}, {_kind(answer)}")
            hold(f"branch returns 0 to {MOST_REPLIES}", 0 <= answer <= MOST_REPLIES, str(answer))
        again = [trial.call(method, "branch", point) for point in points[::-1]][::-1]
        differing = [f"first {a}, then {b}" for a, b in zip(asked, again, strict=True) if a != b]
        hold("branch returns the same when called again", not differing, differing[0] if differing else "")


def _conservation(trial: Trial) -> None:
    method, prices = trial.first
    if not method.conserves_return:
        return
    for group, priced in zip(trial.groups, prices, strict=True):
        for trajectory, rewards in zip(group, priced, strict=True):
            gap = float(rewards.sum() - trajectory.outcome) if trajectory.steps else 0.0
            hold("rewards add up to the outcome, as conserves_return says", abs(gap) <= TOLERANCE, f"gap {gap:.3g}")


def _seeded(trial: Trial) -> None:
    hold("the same seed gives the same numbers", _same(trial.first[1], trial.walk(trial.fresh())))


def _again(trial: Trial) -> None:
    method, prices = trial.first
    again = [trial.rewards(method, group) for group in trial.groups]
    hold("calling rewards again gives the same numbers", _same(prices, again))


def _order_within(trial: Trial) -> None:
    method, prices = trial.first
    backwards = [trial.rewards(method, group[::-1])[::-1] for group in trial.groups]
    hold("the order within a group does not matter", _close(prices, backwards))


def _order_of_groups(trial: Trial) -> None:
    # A fresh method, because the first has already seen the groups forwards.
    backwards = trial.walk(trial.fresh(), backwards=True)
    hold("the order of the groups does not matter, to fit included", _close(trial.first[1], backwards))


def _state(trial: Trial) -> None:
    """No test of rewards can follow: the first method observes again, to compare a restored one after it."""
    method, prices = trial.first
    state = trial.call(method, "state_dict")
    arrays = isinstance(state, Mapping) and all(isinstance(array, np.ndarray) for array in state.values())
    hold("the state is made of arrays", arrays and all(isinstance(key, str) for key in state))
    kinds = {str(array.dtype) for array in state.values() if array.dtype.kind not in "biuf"}
    hold("the state is made of arrays of numbers", not kinds, f"safetensors cannot keep {', '.join(sorted(kinds))}")
    restored = trial.fresh()
    trial.call(restored, "load_state_dict", copy.deepcopy(state))
    again = trial.call(restored, "state_dict")
    equal = state.keys() == again.keys() and all(
        state[key].dtype == again[key].dtype and np.array_equal(state[key], again[key]) for key in state
    )
    hold("the state survives a round trip", equal)
    numbers = [trial.rewards(restored, group) for group in trial.groups]
    hold("a restored method gives the same numbers", _same(prices, numbers))
    later = []
    for one in (method, restored):
        trial.call(one, "observe", [t for group in trial.groups[::2] for t in group])
        later.append([trial.rewards(one, group) for group in trial.groups])
    hold("a restored method goes on as the first one does", _same(*later), "after observe they differ")


UNCHANGED = "trajectories are not modified"
CHANCE = "all randomness comes from the seed"
DISTINCT = "its advantages differ from those of every other method"

CONTRACT_TESTS = (
    ContractTest("one finite number per step", _numbers, basis=True),
    ContractTest(UNCHANGED, Trial.unchanged, basis=True),
    ContractTest("one finite advantage and one finite return per decision", _advantages),
    ContractTest("rewards add up to the outcome, where conserves_return says so", _conservation),
    ContractTest("the same seed gives the same numbers", _seeded),
    ContractTest("calling rewards again gives the same numbers", _again),
    ContractTest("the order within a group does not matter", _order_within),
    ContractTest("the order of the groups does not matter, to fit included", _order_of_groups),
    ContractTest(f"branch returns an int from 0 to {MOST_REPLIES}, the same when called again", _branches),
    ContractTest("a method restored from its state is the same method", _state),
    ContractTest(CHANCE, Trial.no_other_chance),
)
"""In the order they are run. The error of one that fails says which part of it fails, and why."""


def hold(test: str, holds: bool, detail: str = "") -> None:
    """ContractError with the test's name unless it holds."""
    # Raised, not asserted: the check must also work under `python -O`.
    if not holds:
        raise ContractError(test, detail)


def _kind(value: object) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"


def _content(groups: Sequence[Group]) -> str:
    """All that trajectories hold, added attributes included."""
    return ascii(
        [
            [(vars(t), vars(t.task), [(vars(s), s.tokens and vars(s.tokens)) for s in t.steps]) for t in group]
            for group in groups
        ]
    )


def chance() -> dict[str, str]:
    """States of the global generators; torch's only if torch is loaded."""
    found = {"random": ascii(random.getstate()), "numpy.random": ascii(np.random.get_state())}  # noqa: NPY002 - read
    if torch := sys.modules.get("torch"):
        found["torch"] = torch.get_rng_state().numpy().tobytes().hex()
    return found


def _same(first: Sequence[Sequence[Floats]], second: Sequence[Sequence[Floats]]) -> bool:
    return _agree(first, second, np.array_equal)


def _close(first: Sequence[Sequence[Floats]], second: Sequence[Sequence[Floats]]) -> bool:
    return _agree(first, second, lambda a, b: np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE))


def _agree(
    first: Sequence[Sequence[Floats]], second: Sequence[Sequence[Floats]], equal: Callable[[Floats, Floats], bool]
) -> bool:
    return all(
        all(a.shape == b.shape and equal(a, b) for a, b in zip(one, two, strict=True))
        for one, two in zip(first, second, strict=True)
    )
