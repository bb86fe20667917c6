"""The figures of an iteration, as they stand in `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spa_bench.core import Trajectory

COUNTS = ("env_steps", "updates", "skipped", "tokens_trained")
"""Figures that add up over the updates of one iteration."""


def collected(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What was collected: success of the episodes that are over, grounding, length, sampled tokens."""
    steps = [step for trajectory in trajectories for step in trajectory.steps[trajectory.branch :]]
    over = [trajectory for trajectory in trajectories if trajectory.terminated or trajectory.truncated]
    return {
        "episodes": len(over),
        "success": float(np.mean([t.success for t in over])) if over else 0.0,
        "grounded": float(np.mean([step.grounded for step in steps])) if steps else 0.0,
        "turns": float(np.mean([len(t) for t in over])) if over else 0.0,
        "tokens_sampled": sum(len(step.tokens.reply) for step in steps if step.tokens is not None),
    }


def merged(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several updates as those of one: counts are added, all else is averaged over those that have it
    (an update that was skipped has no losses).
    """
    names = dict.fromkeys(name for part in parts for name in part)
    found = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: float((np.sum if name in COUNTS else np.mean)(values)) for name, values in found.items()}
