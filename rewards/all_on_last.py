"""Placebo: the sum of `spa`'s rewards of an episode, on its last step.

Paper: none; a method that does no better than this has shown that its sums help, not its credit assignment.
Equation: r_T = sum_t s_t, r_t = 0 for t < T, with s the rewards of `spa`.
Defaults: those of `spa`.
Deviations: none.
Conserves return: no; each episode's sum is that of `spa`.
Needs: what `spa` needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory
from spa_bench.rewards.spa import SPA


class AllOnLast(SPA):
    """As `sparse`, with the sums of `spa`: they include the grounding bonus."""

    placebo = "floor"
    our_form = ""

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Zeros and, last, the sum of `spa`."""
        priced = [np.zeros(len(trajectory)) for trajectory in group]
        for steps, paid in zip(priced, super().rewards(group), strict=True):
            steps[-1:] = paid.sum()
        return priced
