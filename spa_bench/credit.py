"""Credit arithmetic in pure NumPy: returns, generalised advantage estimation, spreading of steps over tokens.

All of it works on *decisions* along one axis. A decision is a turn or a sampled token; tokens of observations are
never decisions, so inserting them cannot change an advantage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory


def returns(rewards: Floats, gamma: float) -> Floats:
    """Discounted sums to go: G_t = r_t + gamma * G_{t+1}; shape (N,) in, (N,) out."""
    out = np.empty(len(rewards))
    tail = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        tail = float(rewards[t]) + gamma * tail
        out[t] = tail
    return out


def gae(rewards: Floats, values: Floats, gamma: float, lam: float) -> tuple[Floats, Floats]:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16) and the critic's targets A + V.

    `rewards` is (N,); `values` is (N + 1,), its last entry the bootstrap value after the final decision: 0 where the
    episode terminated, the critic's estimate where it was cut off. Raises ValueError on any other shape.
    """
    if values.shape != (len(rewards) + 1,):
        raise ValueError(f"values has shape {values.shape}, rewards {rewards.shape}: values needs one entry more")
    deltas = rewards + gamma * values[1:] - values[:-1]
    advantages = returns(deltas, gamma * lam)
    return advantages, advantages + values[:-1]


def spread(per_step: Floats, lengths: Sequence[int]) -> Floats:
    """Repeat each step's number over its tokens: (T,) and T token counts -> (sum of counts,)."""
    return np.repeat(per_step, np.asarray(lengths, dtype=np.intp))


def on_last_token(per_step: Floats, lengths: Sequence[int]) -> Floats:
    """Put each step's number on its last token, zero elsewhere: what a token-level reward is made of.

    Every step needs at least one token; raises ValueError otherwise, because its reward would be lost.
    """
    if len(per_step) != len(lengths) or any(n < 1 for n in lengths):
        raise ValueError(f"{len(per_step)} rewards for steps of {list(lengths)} tokens: each step needs a token")
    out = np.zeros(int(sum(lengths)))
    out[np.cumsum(lengths, dtype=np.intp) - 1] = per_step
    return out


def whiten(advantages: Sequence[Floats]) -> list[Floats]:
    """Zero mean and unit variance over all decisions of a batch; a constant batch becomes zeros, never NaN."""
    flat = np.concatenate([np.zeros(0), *advantages])
    if not flat.size:
        return list(advantages)
    mean, scale = flat.mean(), flat.std()
    # Relative, because a constant batch has a spread too: the rounding of its mean.
    return [(a - mean) / (scale if scale > 1e-8 * max(1.0, abs(mean)) else 1.0) for a in advantages]


def groups(trajectories: Sequence[Trajectory]) -> list[list[int]]:
    """Indices of the episodes of each task, tasks in order of first appearance."""
    found: dict[str, list[int]] = {}
    for index, trajectory in enumerate(trajectories):
        found.setdefault(trajectory.task.key, []).append(index)
    return list(found.values())


def return_gap(rewards: Floats, outcome: float) -> float:
    """Sum of the step rewards minus the outcome: 0 where a method conserves the return."""
    return float(rewards.sum() - outcome)
