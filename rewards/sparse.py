"""The outcome on the last step, nothing before it.

Paper: none; the reward that the task itself gives, and the reference of every other method.
Equation: r_T = R, r_t = 0 for t < T.
Defaults: none.
Deviations: none.
Conserves return: yes.
Needs: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory
from spa_bench.method import RewardMethod


class Sparse(RewardMethod):
    """The sparse outcome reward; an episode without steps has no rewards."""

    conserves_return = True

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Zeros and, last, the outcome."""
        priced = [np.zeros(len(trajectory)) for trajectory in group]
        for steps, trajectory in zip(priced, group, strict=True):
            steps[-1:] = trajectory.outcome
        return priced
