"""The outcome against those of the task's episodes, and each step's return against those from the same state.

Paper: Feng et al. 2025, arXiv 2505.10978; code langfengQ/verl-agent.
Equation: A = A^E + weight * A^S with A^E = (R_i - mean R) / (std R + epsilon) over the episodes of the task and A^S =
  (G_t - mean G) / (std G + epsilon) over all steps of these episodes that were taken in the state of step t, G_t =
  sum_(k >= t) gamma^(k - t) r_k; r_T = R.
Defaults: weight 1, gamma 0.95 <- the paper; normalise on <- run_alfworld.sh (off: F_norm = 1, as in run_webshop.sh);
  epsilon 1e-6 <- core_gigpo.py; key observation and history 0 <- the paper's anchor state is the observation alone.
Deviations: none of the formula. Other keys change what one state is, because one text can be many: the same room with
  other things in hand. history-k also asks for the same k observations and actions before (fewer near the start),
  anchor is what G2PO's code takes for a state, state the world's own. std is that of a sample (N - 1), as in the code.
  A state met once gives 0, as in the code; so does a group of one episode, where the code's advantage is its outcome.
  Each episode counts once in A^E, where the code by default counts it once per step. No penalty for invalid actions
  (the code: 0.1). The trainer scales the advantages of a batch to root mean square 1, as for every method without a
  critic. Where several characters act, each is compared with the same character of the other episodes; episodes that
  went wrong outside the agent's control are left out. No critic is used, and none is trained.
Conserves return: yes.
Needs: several episodes of each task, and states that come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench import credit
from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.declared import declared
from spa_bench.rewards._groups import Scaled, acted_in, among_peers, lone, within
from spa_bench.state_keys import StateKey, needed, not_the_text


class GiGPO(Scaled):
    """`gamma` is the method's own, not the trainer's: the discount of the returns G_t.

    `weight` (ω) is that of A^S relative to A^E; `key` is what a state is; `history`=k is the same as
    `key`=history-k, for any k.
    """

    @declared("reward gigpo")
    def __init__(
        self,
        *,
        weight: Annotated[
            float, Field(ge=0, description="of the comparison of steps beside that of episodes; GiGPO: 1")
        ] = 1.0,
        gamma: Annotated[float, Field(gt=0, le=1, description="discount of the steps' returns; GiGPO: 0.95")] = 0.95,
        normalise: Annotated[
            bool, Field(description="divide by the standard deviation; false: as run_webshop.sh")
        ] = True,
        epsilon: Annotated[
            float, Field(gt=0, description="added to the standard deviation; the released code: 1e-6")
        ] = 1e-6,
        history: Annotated[
            int, Field(ge=0, description="past turns that belong to a state; GiGPO: 0, the observation alone")
        ] = 0,
        key: StateKey = "observation",
    ) -> None:
        if history and key != "observation":
            raise UserError(f"reward gigpo: history={history} and key={key} both say what a state is: leave one out")
        self.weight, self.gamma, self.key = weight, gamma, f"history-{history}" if history else key
        self.normalise, self.epsilon, self.records = normalise, epsilon, needed(self.key)
        if (other := not_the_text(self.key)) and type(self).our_form == GiGPO.our_form:
            self.our_form = f"{other} (the paper: the observation alone)"

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """Both comparisons, added."""
        if lone(group):
            return [np.zeros(len(steps)) for steps in rewards]
        to_go = [credit.returns(r, self.gamma) for r in rewards]
        steps = within(acted_in(group, self.key), to_go, self._relative)
        return [e + self.weight * s for e, s in zip(among_peers(group, self._relative), steps, strict=True)]
