"""The outcome against the task's mean, and each step's nearness to the milestone that it leads to against its segment.

Paper: Wang et al. 2026, arXiv 2605.06078 (BEACON); code ZJU-REAL/BEACON (db9347f), whose milestones in ALFWorld are
  others (`beacon-released`).
Equation: A_t = (R_i - mean R) + weight * (r_t - mean r), r_t = gamma^(t_k - t) with t_k the first milestone at or after
  step t, 0 where none follows; mean r is over all steps of the task's episodes in the segment of step t, which lie
  between the same two milestones. A milestone is a step after which the oracle's progress is greater than ever before
  in the episode; two segments are the same where their episodes had come as far.
Defaults: weight 1, gamma 0.95 <- the README ("a single set of hyperparameters") and run_webshop.sh; normalise off <-
  mode=mean_norm in the scripts; epsilon 1e-6 <- core_migpo.py; a milestone's reward is that of a success, 1, as in the
  code (10 and 10).
Deviations: milestones are read from the oracle's progress, for every step that comes nearer to the goal than all before
  (the paper: predicates of each world). They are privileged, as the paper's are: no agent outside a benchmark has them.
  The paper's predicates are objects and states in ALFWorld, phases of a purchase in WebShop; the oracle's finer steps
  hold those and the ways between them. A step away from the goal and back is in the next segment, and reaches nothing.
  The formula was read in the code and its README, the paper itself not beyond its abstract. Each episode counts once
  in the mean outcome, where the code counts it once per step. std is that of a sample (N - 1), as in the code. A
  segment of one step gives 0, as in the code; so does a group of one episode, where the code's advantage is its
  outcome. No penalty for invalid actions (the code: 0.1). The trainer scales the advantages of a batch to root mean
  square 1, as for every method without a critic. Where several characters act, each is compared with the same
  character of the other episodes; episodes that went wrong outside the agent's control are left out. No critic is
  used, and none is trained.
Conserves return: no; every step that leads to a milestone adds up to its weight.
Needs: several episodes of each task, and the oracle's progress, which no agent outside a benchmark has.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated

from pydantic import Field

from spa_bench.core import Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._milestones import Decay, Epsilon, Milestones, Normalise, best, nearer


class Beacon(Milestones):
    """Milestones of the oracle; `weight` (λ) is that of a step's own reward, `gamma` the method's own decay."""

    uses_oracle = True
    our_form = (
        "milestones are read from the oracle's progress, for every step that comes nearer to the goal than all before "
        "(the paper: predicates of each world)"
    )

    @declared("reward beacon")
    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="of the steps beside the outcome; BEACON: 1")] = 1.0,
        gamma: Decay = 0.95,
        normalise: Normalise = False,
        epsilon: Epsilon = 1e-6,
    ) -> None:
        self.weight, self.gamma, self.normalise, self.epsilon = weight, gamma, normalise, epsilon

    def reached(self, trajectory: Trajectory) -> list[int]:
        """The steps that came nearer to the goal than all before."""
        return nearer(trajectory)

    def segments(self, trajectory: Trajectory) -> list[Hashable]:
        """How far the episode had come before each step."""
        return [round(float(level), 9) for level in best(trajectory)[:-1]]
