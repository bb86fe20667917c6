"""A digest of what happened in an episode, so that a method's randomness and order depend on nothing else."""

from __future__ import annotations

import hashlib

from spa_bench.core import Trajectory


def episode_digest(trajectory: Trajectory) -> str:
    """Digest of what happened, the same on every machine: it depends on no worker and no order."""
    steps = [
        (s.observation, s.reply, s.action, s.grounded, s.fault, s.tokens.reply if s.tokens else ())
        for s in trajectory.steps
    ]
    # ascii(), because repr() follows the Python version's Unicode tables and lone surrogates cannot be encoded.
    content = ascii((trajectory.task.env, trajectory.task.key, steps, trajectory.final_observation, trajectory.outcome))
    return hashlib.sha256(content.encode()).hexdigest()
