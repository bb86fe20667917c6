"""Placebo: the outcome in random parts, one for each step.

Paper: none; a method that does no better than this has shown that density helps, not that its credit is right.
Equation: r_t = R * p_t with p from Dirichlet(1, ..., 1), every split equally likely, drawn from (seed, task, content of
  the episode).
Defaults: none.
Deviations: none.
Conserves return: yes.
Needs: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory, derive_seed
from spa_bench.method import RewardMethod
from spa_bench.rewards._episode_digest import episode_digest


class RandomSplit(RewardMethod):
    """An episode's split depends on that episode alone: not on its group, nor on the worker process."""

    placebo = "chance"
    conserves_return = True

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Shares of the outcome; a step's share says nothing of the step."""
        priced = []
        for trajectory in group:
            seed = derive_seed(self.seed, "random-split", trajectory.task.key, episode_digest(trajectory))
            # Exponential numbers over their sum are Dirichlet(1, ..., 1), also for no step at all.
            parts = np.random.default_rng(seed).standard_exponential(len(trajectory))
            priced.append(trajectory.outcome * (parts / parts.sum()))
        return priced
