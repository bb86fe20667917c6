"""Credit arithmetic in pure NumPy: returns, generalised advantage estimation, spreading of steps over tokens.

All of it works on *decisions* along one axis. A decision is a turn or a sampled token; tokens of observations are
never decisions, so inserting them cannot change an advantage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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


def rounding(numbers: Floats) -> float:
    """How far sums of such numbers may be off: 1e-12 of the largest, or of 1."""
    return 1e-12 * max(1.0, float(np.abs(numbers).max(initial=0.0)))


def scale(advantages: Sequence[Floats]) -> list[Floats]:
    """Root mean square 1 over the decisions of a batch that have a signal; without one (0) they keep exactly 0.

    What is only `rounding` becomes 0.
    """
    flat = np.abs(np.concatenate([np.zeros(0), *advantages]))
    least = rounding(flat)
    signals = flat[flat > least]
    unit = float(np.sqrt(np.mean(np.square(signals)))) if signals.size else 1.0
    return [np.where(np.abs(a) > least, a / unit, 0.0) for a in advantages]


def normalise(
    trajectories: Sequence[Trajectory],
    advantages: Sequence[Floats],
    *,
    critic: bool,
    over: Literal["batch", "group", "none"] = "batch",
) -> list[Floats]:
    """Advantages of a batch as they enter the loss: one array (N,) per trajectory.

    Whitened where a critic was the baseline (cleanrl's `norm_adv`, over the whole batch). Without a critic only scaled:
    the mean of the comparisons is 0 already, or their sign carries meaning, and to subtract it would push decisions
    that were compared with nothing. `over` says whose statistics these are: the batch's, those of each task's episodes,
    or none, and advantages stay as they are. An episode with an error outside the agent's control gets 0 and has no
    part in the statistics.
    """
    sound = [index for index, trajectory in enumerate(trajectories) if trajectory.error is None]
    out = [np.zeros(len(a)) for a in advantages]
    parts = [sound]
    if over != "batch":
        parts = [[sound[i] for i in indices] for indices in groups([trajectories[i] for i in sound])]
    for indices in parts:
        own = [advantages[i] for i in indices]
        scaled = own if over == "none" else (whiten if critic else scale)(own)
        for index, a in zip(indices, scaled, strict=True):
            out[index] = a
    return out


def groups(trajectories: Sequence[Trajectory]) -> list[list[int]]:
    """Indices of the episodes of each task, tasks in order of first appearance."""
    found: dict[str, list[int]] = {}
    for index, trajectory in enumerate(trajectories):
        found.setdefault(trajectory.task.key, []).append(index)
    return list(found.values())


def return_gap(rewards: Floats, outcome: float) -> float:
    """Sum of the step rewards minus the outcome: 0 where a method conserves the return."""
    return float(rewards.sum() - outcome)
