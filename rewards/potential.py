"""The oracle's progress as a potential: the reward of a step is the share of the way to the goal that it covers.

Paper: Ng, Harada and Russell 1999 (shaping by a potential changes no optimal policy); Grześ 2017 (the potential must be
  0 at every end, the step limit included).
Equation: r_t = P_t - P_(t-1) for t < T and r_T = R - P_(T-1) with P_t = (p_t - p_0) / (1 - p_0), p_t the oracle's
  progress after step t and p_0 before the first. That is R on the last step plus P_t - P_(t-1) on each, with P = 0 at
  the start and at the end.
Defaults: none.
Deviations: none of the formula. Progress is counted from the start, as a share of the way that is left there, so that
  the shaping adds nothing to any episode and a success has no jump at the end: added unscaled, it would take p_0 from
  every episode (0.5 in the environments here), which the last step would have to return. An episode that begins at the
  goal has its outcome alone as reward. An episode cut off short of the goal loses on its last step what it had gained.
  Exact for gamma = 1, the trainer's default.
Conserves return: yes.
Needs: the oracle's progress, which no agent outside a benchmark has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory
from spa_bench.method import RewardMethod


class Potential(RewardMethod):
    """The dense reference, which knows the oracle's progress; an episode without steps has no rewards."""

    conserves_return = True
    uses_oracle = True

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Progress made, and on the last step what is missing to the outcome."""
        return [_priced(trajectory) for trajectory in group]


def _priced(trajectory: Trajectory) -> Floats:
    start, left = trajectory.start_progress, 1.0 - trajectory.start_progress
    progress = np.array([step.progress for step in trajectory.steps[:-1]])
    potential = (progress - start) / left if left > 1e-6 else np.zeros(len(progress))
    return np.diff([0.0, *potential, trajectory.outcome])[: len(trajectory)]
