"""The outcome in equal parts, one for each step.

Paper: Gangwani, Zhou and Peng 2020, arXiv 2010.12718 (IRCR: every step of an episode has the same guidance reward).
Equation: r_t = R / T.
Defaults: none.
Deviations: the outcome is divided among the steps (IRCR: every step gets the whole outcome, scaled over a replay
  buffer), which favours long episodes.
Conserves return: yes.
Needs: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory
from spa_bench.method import RewardMethod


class Uniform(RewardMethod):
    """Dense, without credit assignment: all steps get the same; an episode without steps has no rewards."""

    our_form = (
        "the outcome is divided among the steps (IRCR: every step gets the whole outcome, scaled over a replay buffer)"
    )
    conserves_return = True

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Equal shares of the outcome."""
        return [np.full(len(t), t.outcome / max(len(t), 1)) for t in group]
