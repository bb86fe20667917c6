"""Each step's return against those from the same state, in groups that share more and more of the past, weighted.

Paper: He et al. 2026, arXiv 2602.22817 (ICLR); code langfengQ/verl-agent recipe/hgpo (20bd331).
Equation: A_t = sum_k w_k * A_k / sum_k w_k over k = 0 to K, with A_k = (G_t - mean G) / (std G + epsilon) over all
  steps of the task's episodes that were taken in the state of step t and in the same k states before it, w_k = (k +
  1)^alpha, G_t = sum_(j >= t) gamma^(j - t) r_j; r_T = R. Only levels with A_k other than 0 are in the sums.
Defaults: history 2 (K), alpha 1, gamma 0.95, normalise on, epsilon 1e-6 <- run_qwen2.5_1.5b_alfworld_train.sh and the
  recipe's configuration (the paper also K = 4; its WebShop scripts have no normalisation); key observation <- the code;
  weights paper <- the paper.
Deviations: none of the formula, as summaries of the paper have it; the paper itself was not read beyond its abstract.
  The code, read in full, has other weights (weights=released): (k + 2)^alpha, that is 2, 3, 4 for 1, 2, 3. What
  summaries leave open is the code's: the past of a step is observations alone, without actions; a step with fewer than
  k states before it is in no group of level k; levels that say nothing, a group of one or of equal returns, and a
  return that is the mean, take no part in the weights; std is that of the population (N); there is no comparison of
  whole episodes beside it (the code's base_group is off). Other keys put another state in place of the text. A group of
  one episode gives 0. No penalty for invalid actions (the code: 0.1). The trainer scales the advantages of a batch to
  root mean square 1, as for every method without a critic. Where several characters act, each is compared with the same
  character of the other episodes; episodes that went wrong outside the agent's control are left out. No critic is used,
  and none is trained.
Conserves return: yes.
Needs: several episodes of each task, and states that come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from spa_bench import credit
from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._forms import listed
from spa_bench.rewards._groups import Scaled, lone, within
from spa_bench.state_keys import StateKey, keyed, needed, not_the_text


class HGPO(Scaled):
    """`history` (K) is the longest past that groups share; `alpha` (α) how much more the longer ones weigh.

    `gamma` is the method's own, not the trainer's.
    """

    ddof = 0

    @declared("reward hgpo")
    def __init__(
        self,
        *,
        history: Annotated[int, Field(ge=0, le=50, description="most states before a step that its group shares")] = 2,
        alpha: Annotated[float, Field(ge=0, description="0: all levels weigh alike; HGPO: 1")] = 1.0,
        gamma: Annotated[float, Field(gt=0, le=1, description="discount of the steps' returns; HGPO: 0.95")] = 0.95,
        normalise: Annotated[bool, Field(description="divide by the standard deviation; false: as in WebShop")] = True,
        epsilon: Annotated[float, Field(gt=0, description="added to it; the released code: 1e-6")] = 1e-6,
        key: StateKey = "observation",
        weights: Annotated[
            Literal["paper", "released"], Field(description="of level k: (k + 1)^alpha, or (k + 2)^alpha (the code)")
        ] = "paper",
    ) -> None:
        self.history, self.alpha, self.gamma, self.normalise, self.epsilon = history, alpha, gamma, normalise, epsilon
        self.key, self.records = key, needed(key)
        self.first = 1 if weights == "paper" else 2
        if type(self).our_form == HGPO.our_form:
            other = not_the_text(key)
            self.our_form = listed(
                [
                    f"{other} (the paper: the text)" if other else "",
                    "" if weights == "paper" else "the weight of level k is (k + 2)^alpha (the paper: (k + 1)^alpha)",
                ]
            )

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The weighted mean of the levels that say something."""
        judged = [np.zeros(len(steps)) for steps in rewards]
        if lone(group):
            return judged
        to_go = [credit.returns(r, self.gamma) for r in rewards]
        total = [np.zeros(len(steps)) for steps in rewards]
        for level in range(self.history + 1):
            weight = (level + self.first) ** self.alpha
            for a, whole, own in zip(judged, total, self._level(group, to_go, level), strict=True):
                a += weight * own
                whole += weight * (own != 0)
        return [a / np.where(whole > 0, whole, 1.0) for a, whole in zip(judged, total, strict=True)]

    def _level(self, group: Sequence[Trajectory], to_go: Sequence[Floats], level: int) -> list[Floats]:
        """A_k; where there are fewer states before a step than `level`, it is alone."""
        rows = []
        for index, t in enumerate(group):
            met = keyed(t, self.key)[:-1] if t.error is None else []
            pasts = [(*met[n - level : n + 1],) if n >= level else ("alone", index, n) for n in range(len(met))]
            rows.append(pasts[t.branch :])
        return within(rows, to_go, self._relative)
