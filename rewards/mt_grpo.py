"""The outcome against that of the task's episodes, and each turn's own reward against those of the same turn number.

Paper: Zeng, Wei et al. 2025, arXiv 2505.11821 (v1; v2 designs other turn rewards); code SiliangZeng/Multi-Turn-RL-Agent
  (7860de6).
Equation: A_t = A^O + weight * A^T_t before the last turn, A^O at it, with A^O = (R_i - mean R) / (std R + epsilon) over
  the episodes of the task and A^T_t = (r_t - mean r_t) / (std r_t + epsilon) over those of them that have a turn t that
  is not their last; r_t = g_t, the grounding signal in {0, 1}. With form=cae A_t is instead the relative G_t = r_t +
  gamma * G_(t+1) over the episodes that have a turn t, with the outcome for the last r.
Defaults: weight 1, form aae <- run_mt_grpo.sh and mt_grpo_env_trainer.py (turn_advantage_coef, advantage_est); gamma 1,
  epsilon 1e-4 <- the same trainer; normalise on <- the same.
Deviations: a turn's reward is whether the world executed its action, and there are any number of turns (the paper: two,
  of which the first has the rewards of a search tool). Of its rewards, that the tool ran and that what it found holds
  the answer, the first alone has a counterpart here; v2's, which a language model judges, have none. The formula was
  read in the code and in summaries, the paper itself not beyond its abstract. For more than two turns other
  implementations give A^T_t to every turn but the last, as here, or to all. Where a reply uses no tool the code takes
  the sum of all rewards; here every turn acts. Biased where episodes differ in length and the policy decides it (verl
  #7244), as the tests show: at each turn number only episodes that are still under way are compared. So one turn more
  is worth 0 on average, whatever it earns; of two episodes one has +0.7 and the other -0.7, however little they differ
  and though both failed; with form=cae, turns beyond the longest success do not see the outcome. std is that of a
  sample (N - 1), as in the code. Where all agree, or one is alone, the advantage is 0. The trainer scales the
  advantages of a batch to root mean square 1, as for every method without a critic. Where several characters act, each
  is compared with the same character of the other episodes; episodes that went wrong outside the agent's control are
  left out. No critic is used, and none is trained.
Conserves return: no; every grounded step but the last adds 1.
Needs: several episodes of each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from spa_bench import credit
from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._groups import Scaled, among_peers, within
from spa_bench.state_keys import place


class MTGRPO(Scaled):
    """`form` is the code's name of an estimate: `aae` adds two advantages, `cae` compares returns.

    `weight` is that of the turns' advantages in `aae`; `gamma`, the method's own, is the discount of `cae`'s returns.
    """

    conserves_return = False
    our_form = (
        "a turn's reward is whether the world executed its action, and there are any number of turns (the paper: two, "
        "of which the first has the rewards of a search tool)"
    )

    @declared("reward mt-grpo")
    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="of aae's turns beside the outcome; MT-GRPO: 1")] = 1.0,
        form: Annotated[
            Literal["aae", "cae"],
            Field(description="two advantages added, or returns compared at each turn; MT-GRPO: aae"),
        ] = "aae",
        gamma: Annotated[float, Field(gt=0, le=1, description="discount of the returns of cae; MT-GRPO: 1")] = 1.0,
        normalise: Annotated[bool, Field(description="divide by the standard deviation; MT-GRPO: true")] = True,
        epsilon: Annotated[
            float, Field(gt=0, description="added to the standard deviation; the released code: 1e-4")
        ] = 1e-4,
    ) -> None:
        self.weight, self.form, self.gamma = weight, form, gamma
        self.normalise, self.epsilon = normalise, epsilon

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The grounding signal of each step but the last, which has the outcome."""
        priced = [np.array([step.grounded for step in t.steps], dtype=np.float64) for t in group]
        for steps, trajectory in zip(priced, group, strict=True):
            steps[-1:] = trajectory.outcome
        return priced

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """Of the rewards of the turns; a turn keeps the number that it has in its whole episode."""
        turns = [[] if t.error else [(place(t), n) for n in range(t.branch, len(t))] for t in group]
        if self.form == "cae":
            return within(turns, [credit.returns(r, self.gamma) for r in rewards], self._relative)
        outcomes = among_peers(group, self._relative)
        alive = within([keys[:-1] for keys in turns], rewards, self._relative)
        return [o + self.weight * a for o, a in zip(outcomes, alive, strict=True)]
