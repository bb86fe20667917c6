"""The reward of BEACON's released code: milestones are the actions of a walkthrough, found by the likeness of strings.

Paper: none; code ZJU-REAL/BEACON (db9347f), released with Wang et al. 2026, arXiv 2605.06078 (`beacon`).
Equation: A_t = (R_i - mean R) + weight * (r_t - mean r), r_t = gamma^(t_k - t) with t_k the first milestone at or after
  step t, 0 where none follows; mean r is over all steps of the task's episodes in the same segment, which is how many
  milestones were reached before. Milestone k is reached at the first step after milestone k - 1 whose action has at
  least `threshold` of difflib's ratio to the walkthrough's action k.
Defaults: weight 10, gamma 0.9, threshold 0.95 (the function's own: 0.85), normalise off (mean_norm) <-
  examples/migpo_trainer/run_alfworld.sh; epsilon 1e-6 <- core_migpo.py; a milestone's reward is that of a success, as
  there (10 and 10).
Deviations: a walkthrough is what the world's expert does in the task, less what brings it no nearer to the goal (the
  code: the official walkthroughs of ALFWorld's training games). The expert searches, and its searching is no
  milestone: `beacon`'s oracle tells which of its actions are. The code does this in ALFWorld alone, here it is done in
  every world. A ratio of 0.95 takes one instance for another: of the 21,335 actions of the official walkthroughs 48.7 %
  match themselves with another number ("take mug 1 from shelf 1", "take mug 2 from shelf 1"), at 0.85 all do. And an
  episode that goes another way than the walkthrough reaches no further milestone, however well it does. A task that
  the expert does not solve has the milestones that it reached. Each episode counts once in the mean outcome, where the
  code counts it once per step; a group of one gives 0, where the code's advantage is its outcome. No penalty for
  invalid actions (the code: 0.1). std is that of a sample (N - 1), as in the code. The trainer scales the advantages of
  a batch to root mean square 1, as for every method without a critic. Where several characters act, each is compared
  with the same character of the other episodes, and has its own part of the expert's way; episodes that went wrong
  outside the agent's control are left out. No critic is used, and none is trained.
Conserves return: no; every step that leads to a milestone adds up to its weight.
Needs: several episodes of each task, the expert's way in it (played once for each task, its steps counted as overhead),
  and the oracle's progress along this way; no agent outside a benchmark has either.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Task, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._milestones import Decay, Epsilon, Milestones, Normalise, nearer
from spa_bench.state_keys import place


class BeaconReleased(Milestones):
    """Walkthroughs are asked for once, by `observe` for a whole batch, and not saved: the expert's way is fixed."""

    uses_experts = True
    uses_oracle = True
    our_form = (
        "a walkthrough is what the world's expert does in the task, less what brings it no nearer to the goal (the "
        "code: the official walkthroughs of ALFWorld's training games)"
    )

    @declared("reward beacon-released")
    def __init__(
        self,
        *,
        weight: Annotated[
            float, Field(ge=0, description="of the steps beside the outcome; run_alfworld.sh: 10")
        ] = 10.0,
        gamma: Decay = 0.9,
        threshold: Annotated[
            float, Field(ge=0, le=1, description="ratio from which two actions are alike; run_alfworld.sh: 0.95")
        ] = 0.95,
        normalise: Normalise = False,
        epsilon: Epsilon = 1e-6,
    ) -> None:
        self.weight, self.gamma, self.threshold = weight, gamma, threshold
        self.normalise, self.epsilon = normalise, epsilon
        self._ways: dict[tuple[str, str, int], list[str]] = {}
        """The walkthrough of each task and character."""

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Ask for the walkthroughs of all tasks that are new."""
        new = {(t.task.env, t.task.key): t.task for t in trajectories if place(t) not in self._ways}
        if new:
            self._ask(list(new.values()))

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """As `Milestones`, of tasks that were not observed too."""
        self.observe(group)
        return super().rewards(group)

    def reached(self, trajectory: Trajectory) -> list[int]:
        """The steps whose actions are like those of the walkthrough, in its order."""
        wanted = self._ways[place(trajectory)]
        found: list[int] = []
        for turn, step in enumerate(trajectory.steps):
            if len(found) < len(wanted) and alike(step.action, wanted[len(found)]) >= self.threshold:
                found.append(turn)
        return found

    def segments(self, trajectory: Trajectory) -> list[Hashable]:
        """How many milestones were reached before each step."""
        return [*np.searchsorted(self.reached(trajectory), np.arange(len(trajectory))).tolist()]

    def _ask(self, tasks: Sequence[Task]) -> None:
        if self.demonstrator is None:
            raise RuntimeError(
                "beacon-released asks for the expert's way: set `demonstrator` before observe and rewards"
            )
        for shown in self.demonstrator(tasks):
            for way in shown:
                self._ways[place(way)] = [way.steps[turn].action for turn in nearer(way)]


def alike(one: str, other: str) -> float:
    """Difflib's ratio, as the code has it: twice the characters in common over those of both."""
    return SequenceMatcher(None, one, other).ratio()
