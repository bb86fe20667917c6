"""The outcome against the task's mean outcome, in units of its spread, for every decision of the episode.

Paper: Shao et al. 2024, arXiv 2402.03300; without the spread Liu et al. 2025, arXiv 2503.20783 (Dr. GRPO).
Equation: A_i = (R_i - mean R) / (std R + epsilon) on every decision, over the episodes of the task; r_T = R.
Defaults: normalise on <- the paper's std(r) (off: Dr. GRPO); epsilon 1e-6 <- verl's compute_grpo_outcome_advantage, the
  paper has none.
Deviations: none of the formula. std is that of a sample (N - 1), as in verl and TRL; the paper does not say. Zero where
  all outcomes agree and for a group of one, where verl's advantage is the outcome. Each episode counts once, where
  verl-agent by default counts it once per step. The trainer scales the advantages of a batch to root mean square 1, as
  for every method without a critic. Where several characters act, each is compared with the same character of the other
  episodes; episodes that went wrong outside the agent's control are left out. No critic is used, and none is trained.
Conserves return: yes.
Needs: several episodes of each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._groups import Scaled, among_peers


class GRPO(Scaled):
    """Reads outcomes, never step rewards; `normalise` divides by the standard deviation of the group."""

    @declared("reward grpo")
    def __init__(
        self,
        *,
        normalise: Annotated[bool, Field(description="divide by the standard deviation; false: Dr. GRPO")] = True,
        epsilon: Annotated[float, Field(gt=0, description="added to the standard deviation; verl: 1e-6")] = 1e-6,
    ) -> None:
        self.normalise, self.epsilon = normalise, epsilon
        if not normalise and type(self).our_form == GRPO.our_form:
            self.our_form = "advantages are not divided by the standard deviation of the group, as in Dr. GRPO"

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The same number at every turn of an episode."""
        advantages = among_peers(group, self._relative)
        return [np.full(t.played, a) for t, a in zip(group, advantages, strict=True)]
