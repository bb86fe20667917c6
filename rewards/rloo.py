"""The outcome against the mean outcome of the task's other episodes, for every decision of the episode.

Paper: Ahmadian et al. 2024, arXiv 2402.14740 (REINFORCE leave-one-out); Chen et al. 2025, arXiv 2502.01600 (LOOP: with
  PPO's clipping, as here).
Equation: A_i = R_i - mean_(j != i) R_j on every decision; r_T = R.
Defaults: none; the size of a group is the trainer's (`ppo.samples`), the same for every method.
Deviations: the KL penalty is in the loss (the paper: in the reward). The trainer scales the advantages of a batch to
  root mean square 1, as for every method without a critic. A group of one has the advantage 0, where verl's is the
  outcome. Where several characters act, each is compared with the same character of the other episodes; episodes that
  went wrong outside the agent's control are left out. No critic is used, and none is trained.
Conserves return: yes.
Needs: several episodes of each task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory
from spa_bench.rewards._groups import Compared, alike, among_peers


class RLOO(Compared):
    """Reads outcomes, never step rewards; the advantage does not depend on the turn."""

    our_form = "the KL penalty is in the loss (the paper: in the reward)"

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The same number at every turn of an episode."""
        advantages = among_peers(group, leave_one_out)
        return [np.full(t.played, a) for t, a in zip(group, advantages, strict=True)]


def leave_one_out(outcomes: Floats) -> Floats:
    """Each outcome minus the mean of the others, (N,) to (N,); exactly 0 for one alone and where all agree."""
    if alike(outcomes):
        return np.zeros(len(outcomes))
    others: Floats = (outcomes.sum() - outcomes) / (len(outcomes) - 1)
    return outcomes - others
