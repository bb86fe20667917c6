"""The figures of an iteration, as they stand in `metrics.jsonl`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from spa_bench.core import Trajectory

COUNTS = ("env_steps", "updates", "skipped", "tokens_trained")
"""Figures that add up over the updates of one iteration."""


def collected(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What was collected: success of the episodes that are over, grounding, length; and all tokens sampled.

    `reply_tokens` is the mean length of a reply, and `repeated` the share of the replies after an episode's first that
    are the reply before, to the letter. `restarts` counts the turns after the first that had to begin a new sequence,
    because the context was full or the chat template rewrote what had been said: each of them reads the conversation
    again.

    An episode with an error outside the agent's control is in no mean.
    """
    sound = [trajectory for trajectory in trajectories if trajectory.error is None]
    steps = [step for trajectory in sound for step in trajectory.steps[trajectory.branch :]]
    over = [trajectory for trajectory in sound if trajectory.terminated or trajectory.truncated]
    later = [step.tokens for trajectory in trajectories for step in trajectory.steps[max(trajectory.branch, 1) :]]
    sampled = [step.tokens for trajectory in trajectories for step in trajectory.steps[trajectory.branch :]]
    lengths = [len(step.tokens.reply) for step in steps if step.tokens is not None]
    return {
        "episodes": len(over),
        "success": float(np.mean([t.success for t in over])) if over else 0.0,
        "grounded": float(np.mean([step.grounded for step in steps])) if steps else 0.0,
        "turns": float(np.mean([len(t) for t in over])) if over else 0.0,
        "tokens_sampled": sum(len(tokens.reply) for tokens in sampled if tokens is not None),
        "reply_tokens": float(np.mean(lengths)) if lengths else 0.0,
        "repeated": _repeated(sound),
        "restarts": sum(tokens.restart for tokens in later if tokens is not None),
    }


def _repeated(trajectories: Sequence[Trajectory]) -> float:
    pairs = [
        (before.reply, after.reply)
        for trajectory in trajectories
        for before, after in itertools.pairwise(trajectory.steps[max(trajectory.branch - 1, 0) :])
    ]
    return sum(before == after for before, after in pairs) / max(len(pairs), 1)


def merged(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several updates as those of one: counts are added, all else is averaged over those that have it
    (an update that was skipped has no losses).
    """
    names = dict.fromkeys(name for part in parts for name in part)
    found = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: float((np.sum if name in COUNTS else np.mean)(values)) for name, values in found.items()}
