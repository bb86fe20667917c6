"""How much a policy's replies depend on what it is asked: where they no longer do, it has collapsed.

Measured in each iteration before its update. `runs/collapse.py` says from which figures on it is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spa_bench.core import Floats, Trajectory
from spa_bench.training.batches import Limit, Sequences, pack
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import score

PAIRS = 8
"""Prompts, and replies, that are crossed at most; their mutual information is at most ln 8 = 2.08 nats."""


def mutual_information(policy: Policy, trajectories: Sequence[Trajectory], limit: Limit) -> float | None:
    """Of prompt and reply, in nats, as RAGEN-2 (2026) estimates it by crossing: mean_i of
    ln p(y_i | x_i) - ln(1/N sum_j p(y_i | x_j)), from 0 to ln N.

    x_j is what was before the middle turn of an episode, y_j the reply; one episode of each of the first `PAIRS` tasks.
    None where there are fewer than two.
    """
    crossed = _crossed(trajectories)
    if len(crossed) < 2:
        return None
    scored = score(policy, [one for replies in crossed for one in replies], limit)
    sums = np.array([one.logprobs.sum() for one in scored]).reshape(len(crossed), len(crossed))
    return information(sums)


def information(logprobs: Floats) -> float:
    """`mutual_information` of ln p(y_j | x_i), (N, N), prompts in rows."""
    highest = logprobs.max(axis=0)
    mixed = highest + np.log(np.mean(np.exp(logprobs - highest), axis=0))
    return max(0.0, float(np.mean(np.diag(logprobs) - mixed)))


def _crossed(trajectories: Sequence[Trajectory]) -> list[list[Sequences]]:
    """What was before the middle turn of each chosen episode, followed by the reply of each of them."""
    of_task = {one.task.key: one for one in reversed(trajectories) if one.error is None and one.steps}
    chosen = [of_task[key] for key in dict.fromkeys(one.task.key for one in trajectories) if key in of_task][:PAIRS]
    packed = [pack([step.tokens for step in one.steps[: len(one) // 2 + 1]], len(one) // 2) for one in chosen]
    rows = [(one.ids[-1], int(one.where[0, 1]) if len(one.where) else len(one.ids[-1])) for one in packed]
    return [[_followed(ids[:start], other[at:]) for other, at in rows] for ids, start in rows]


def _followed(prompt: np.ndarray[Any, np.dtype[np.int64]], reply: np.ndarray[Any, np.dtype[np.int64]]) -> Sequences:
    places = np.arange(len(prompt), len(prompt) + len(reply))
    where = np.stack([np.zeros_like(places), places], axis=1)
    return Sequences((np.concatenate([prompt, reply]),), where, np.array([len(reply)], dtype=np.int64))
