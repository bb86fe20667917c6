"""The laws that every reward method keeps: `check_reward` raises AssertionError with the law that is broken.

Public, so that a third-party method proves itself with one line of test:

    check_reward(MyMethod, groups)

A method that reads hidden states gets `stand_in_encoder` unless the factory sets an encoder, and one that plays on
from the middle of an episode `stand_in_simulator`: no model and no world are needed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spa_bench.core import Floats, RewardMethod, Step, Tokens, Trajectory, derive_seed

Group = Sequence[Trajectory]

TOLERANCE = 1e-6
"""Sums in another order differ in their last bits, and outcomes may have gone through fp32."""


def check_reward(factory: Callable[[], RewardMethod], groups: Sequence[Group], seed: int = 0) -> None:
    """Fit a fresh method on all trajectories and hold it against every law.

    `factory` makes an unfitted method; each group shares one task and may hold episodes without steps. The experts
    that `fit` sees are the successful trajectories.
    """
    before = ascii(groups)
    method, prices = _priced(factory, groups, seed)
    _check_numbers(groups, prices)
    _check_advantages(method, groups, prices)
    if method.conserves_return:
        _check_conservation(groups, prices)
    _law("the same seed gives the same numbers", _same(prices, _priced(factory, groups, seed)[1]))
    _law("pricing again gives the same numbers", _same(prices, [method.rewards(group) for group in groups]))
    _check_order(factory, method, groups, seed, prices)
    _check_state(factory, method, groups, seed, prices)
    _law("trajectories stay as they were", ascii(groups) == before)


def stand_in_encoder(trajectories: Sequence[Trajectory]) -> list[NDArray[np.float32]]:
    """Eight features per step, drawn from what the step says: an encoder for tests that loads no model."""
    return [
        np.array(
            [
                np.random.default_rng(derive_seed(ascii((step.observation, step.reply, turn)))).normal(size=8)
                for turn, step in enumerate(trajectory.steps)
            ],
            dtype=np.float32,
        ).reshape(-1, 8)
        for trajectory in trajectories
    ]


def stand_in_simulator(
    prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
) -> list[list[Trajectory]]:
    """Ends of one to three steps, drawn from what happened before: a simulator for tests that loads no model."""
    return [[_played_on(prefix, derive_seed(seed, n), steps) for n in range(samples)] for prefix in prefixes]


def _played_on(prefix: Trajectory, seed: int, limit: int | None) -> Trajectory:
    if prefix.terminated or prefix.truncated:
        raise ValueError("an episode that is over cannot be played on")
    rng = np.random.default_rng(derive_seed(seed, ascii((prefix.task.key, prefix.steps, prefix.final_observation))))
    length, outcome = int(rng.integers(1, 4)), float(rng.choice([0.0, 0.5, 1.0]))
    seen = [prefix.final_observation, *(f"room {rng.integers(4)}" for _ in range(length))]
    tokens = Tokens((1,), (2, 3), (-0.5, -0.5))
    more = [
        Step(seen[n], f"Action: go {n}", f"go {n}", True, None, outcome * (n == length - 1), 0.5, tokens)
        for n in range(length)
    ]
    whole = limit is None or length <= limit
    return replace(
        prefix,
        steps=(*prefix.steps, *more[:limit]),
        outcome=prefix.outcome + (outcome if whole else 0.0),
        success=whole and outcome == 1.0,
        terminated=whole and outcome == 1.0,
        truncated=whole and outcome < 1.0,
        final_observation=seen[-1] if whole else seen[limit or 0],
        branch=len(prefix),
    )


def _fresh(factory: Callable[[], RewardMethod], seed: int) -> RewardMethod:
    method = factory()
    method.seed = seed
    method.encoder = method.encoder or stand_in_encoder
    method.simulator = method.simulator or stand_in_simulator
    return method


def _priced(
    factory: Callable[[], RewardMethod], groups: Sequence[Group], seed: int
) -> tuple[RewardMethod, list[list[Floats]]]:
    """A fresh method after its walk through an experiment, and what it says of each group."""
    method = _fresh(factory, seed)
    explored = [trajectory for group in groups for trajectory in group]
    method.fit(explored, [trajectory for trajectory in explored if trajectory.success])
    method.observe(explored)
    return method, [method.rewards(group) for group in groups]


def _check_numbers(groups: Sequence[Group], prices: Sequence[Sequence[Floats]]) -> None:
    for group, priced in zip(groups, prices, strict=True):
        _law("one array per trajectory", len(priced) == len(group), f"{len(priced)} for {len(group)}")
        for trajectory, rewards in zip(group, priced, strict=True):
            _law("rewards are float64 arrays", isinstance(rewards, np.ndarray) and rewards.dtype == np.float64)
            shape = f"shape {rewards.shape} for {len(trajectory)} steps"
            _law("one number per step", rewards.shape == (len(trajectory),), shape)
            _law("every number is finite", bool(np.isfinite(rewards).all()), str(rewards))


def _check_advantages(method: RewardMethod, groups: Sequence[Group], prices: Sequence[Sequence[Floats]]) -> None:
    for group, rewards in zip(groups, prices, strict=True):
        values = [np.zeros(len(trajectory) + 1) for trajectory in group]
        pairs = method.advantages(group, rewards, values, 1.0, 0.95)
        _law("advantages come as one pair per trajectory", len(pairs) == len(group))
        for trajectory, pair in zip(group, pairs, strict=True):
            shaped = all(array.shape == (len(trajectory),) and np.isfinite(array).all() for array in pair)
            _law("one finite advantage and one finite return per decision", shaped)


def _check_conservation(groups: Sequence[Group], prices: Sequence[Sequence[Floats]]) -> None:
    for group, priced in zip(groups, prices, strict=True):
        for trajectory, rewards in zip(group, priced, strict=True):
            gap = float(rewards.sum() - trajectory.outcome) if trajectory.steps else 0.0
            _law("rewards add up to the outcome, as conserves_return says", abs(gap) <= TOLERANCE, f"gap {gap}")


def _check_order(
    factory: Callable[[], RewardMethod],
    method: RewardMethod,
    groups: Sequence[Group],
    seed: int,
    prices: Sequence[Sequence[Floats]],
) -> None:
    backwards = [method.rewards(group[::-1])[::-1] for group in groups]
    _law("the order within a group does not matter", _close(prices, backwards))
    # A fresh method, because this one has already priced the groups forwards.
    _, backwards = _priced(factory, groups[::-1], seed)
    _law("the order of the groups does not matter, to fit included", _close(prices, backwards[::-1]))


def _check_state(
    factory: Callable[[], RewardMethod],
    method: RewardMethod,
    groups: Sequence[Group],
    seed: int,
    prices: Sequence[Sequence[Floats]],
) -> None:
    state = method.state_dict()
    _law("the state is made of arrays", all(isinstance(array, np.ndarray) for array in state.values()))
    restored = _fresh(factory, seed)
    restored.load_state_dict(copy.deepcopy(state))
    again = restored.state_dict()
    equal = state.keys() == again.keys() and all(
        state[key].dtype == again[key].dtype and np.array_equal(state[key], again[key]) for key in state
    )
    _law("the state survives a round trip", equal)
    _law("a restored method gives the same numbers", _same(prices, [restored.rewards(group) for group in groups]))


def _law(law: str, kept: bool, detail: str = "") -> None:
    # Raised, not asserted: the check must also hold under `python -O`.
    if not kept:
        raise AssertionError(f"{law}{f': {detail}' if detail else ''}")


def _same(first: Sequence[Sequence[Floats]], second: Sequence[Sequence[Floats]]) -> bool:
    return all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


def _close(first: Sequence[Sequence[Floats]], second: Sequence[Sequence[Floats]]) -> bool:
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
        for one, two in zip(first, second, strict=True)
        for a, b in zip(one, two, strict=True)
    )
