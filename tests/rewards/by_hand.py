"""Episodes of a few letters, whose advantages can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from strategies import task

from spa_bench.core import Floats, Step, Tokens, Trajectory
from spa_bench.method import RewardMethod


def told(way: str, outcome: float, key: str = "t", **fields: object) -> Trajectory:
    """An episode from `A x B y C`: seen A, done x, seen B, done y, led to C."""
    words = way.split()
    steps = tuple(
        Step(seen, f"Action: {done}", done, True, None, 0.0, 0.0)
        for seen, done in zip(words[:-1:2], words[1::2], strict=True)
    )
    made = Trajectory(task(key), steps, outcome, outcome == 1, outcome == 1, outcome != 1, final_observation=words[-1])
    return replace(made, **fields)  # type: ignore[arg-type]


def spoken(trajectory: Trajectory, *counts: int) -> Trajectory:
    """The same with so many tokens in each reply."""
    steps = [
        replace(s, tokens=Tokens((1,), (2,) * n, (-0.5,) * n)) for s, n in zip(trajectory.steps, counts, strict=True)
    ]
    return replace(trajectory, steps=tuple(steps))


def advantages(method: RewardMethod, group: Sequence[Trajectory]) -> list[Floats]:
    """Over turns, with a critic that says .3, then .4 and so on: nobody here may listen to it or teach it otherwise."""
    values = [0.3 + 0.1 * np.arange(len(t) + 1) for t in group]
    pairs = method.advantages(group, method.rewards(group), values, 0.9, 0.8)
    for (_, targets), v in zip(pairs, values, strict=True):
        np.testing.assert_array_equal(targets, v[:-1])
    return [a for a, _ in pairs]


def same(got: Sequence[Floats], want: Sequence[Sequence[float]], atol: float = 1e-12) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)
