"""The figures of an iteration, as they stand in `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spa_bench.core import Trajectory

COUNTS = ("env_steps", "updates", "skipped", "tokens_trained")
"""Figures that add up over the updates of one iteration."""


def collected(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What was collected: success of the episodes that are over, grounding, length; and all tokens sampled.

    `restarts` counts the turns after the first that had to begin a new sequence, because the context was full or the
    chat template rewrote what had been said: each of them reads the conversation again.

    An episode with an error outside the agent's control is in no mean.
    """
    sound = [trajectory for trajectory in trajectories if trajectory.error is None]
    steps = [step for trajectory in sound for step in trajectory.steps[trajectory.branch :]]
    over = [trajectory for trajectory in sound if trajectory.terminated or trajectory.truncated]
    later = [step.tokens for trajectory in trajectories for step in trajectory.steps[max(trajectory.branch, 1) :]]
    sampled = [step.tokens for trajectory in trajectories for step in trajectory.steps[trajectory.branch :]]
    return {
        "episodes": len(over),
        "success": float(np.mean([t.success for t in over])) if over else 0.0,
        "grounded": float(np.mean([step.grounded for step in steps])) if steps else 0.0,
        "turns": float(np.mean([len(t) for t in over])) if over else 0.0,
        "tokens_sampled": sum(len(tokens.reply) for tokens in sampled if tokens is not None),
        "restarts": sum(tokens.restart for tokens in later if tokens is not None),
    }


def merged(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several updates as those of one: counts are added, all else is averaged over those that have it
    (an update that was skipped has no losses).
    """
    names = dict.fromkeys(name for part in parts for name in part)
    found = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: float((np.sum if name in COUNTS else np.mean)(values)) for name, values in found.items()}
