"""The outcome, the value of the state that a step led to, and how much more that is than before it, each compared.

Paper: Wang et al. 2026, arXiv 2606.22995 (G2PO); code Nala-YN/G2PO (b8ffaf5).
Equation: A_t = A^E + weight * (A^N + A^D), each (x - mean x) / (std x + epsilon): A^E of the outcomes R of the task's
  episodes, A^N of V(s_(t+1)) over the steps that were taken in the state s_t, A^D of V(s_(t+1)) - V(s_t) over all steps
  of these episodes; V(s) is the mean of gamma^(T - j + 1) R over every step j that was taken in s, of an episode of T
  steps; V after the last step is 1 where the episode succeeded, else 0.
Defaults: weight 1, gamma 0.95, normalise on <- the paper and run_alfworld.sh (off in ppo_trainer.yaml); epsilon 1e-6 <-
  core_g2po.py; key observation <- the paper.
Deviations: none of the formula, which was read in a summary with equations and in the code. The code's state is the
  observation in WebShop and key=anchor in ALFWorld, so that the paper's gain there is of the estimate and of the key
  together; of that anchor one thing is not kept, that a first action which fails leads to another state. No penalty for
  invalid actions (the code: 0.1 of an outcome of 10, in A^N). A state met once has no A^N, as in the code; each episode
  counts once in A^E, where the code counts it once per step. A group of one episode gives 0. std is that of a sample (N
  - 1), as in the code. The trainer scales the advantages of a batch to root mean square 1, as for every method without
  a critic. Where several characters act, each is compared with the same character of the other episodes; episodes that
  went wrong outside the agent's control are left out. No critic is used, and none is trained.
Conserves return: yes.
Needs: several episodes of each task, and states that come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._groups import Scaled, acted_in, among_peers, lone, mean, of_task, within
from spa_bench.state_keys import StateKey, needed, not_the_text


class G2PO(Scaled):
    """`weight` (ω) is that of the two comparisons of steps; `gamma` is the method's own, not the trainer's."""

    @declared("reward g2po")
    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="of both comparisons of steps beside that of episodes")] = 1.0,
        gamma: Annotated[float, Field(gt=0, le=1, description="discount of the outcome in V; G2PO: 0.95")] = 0.95,
        normalise: Annotated[bool, Field(description="divide each by its standard deviation")] = True,
        epsilon: Annotated[float, Field(gt=0, description="added to it; the released code: 1e-6")] = 1e-6,
        key: StateKey = "observation",
    ) -> None:
        self.weight, self.gamma, self.normalise, self.epsilon = weight, gamma, normalise, epsilon
        self.key, self.records = key, needed(key)
        if (other := not_the_text(key)) and type(self).our_form == G2PO.our_form:
            self.our_form = f"{other} (the paper: the observation alone)"

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """All three comparisons, added."""
        if lone(group):
            return [np.zeros(len(steps)) for steps in rewards]
        states = acted_in(group, self.key)
        values = within(states, [self._discounted(t) for t in group], mean)
        led_to = [np.append(v[1:], float(t.success))[: len(v)] for t, v in zip(group, values, strict=True)]
        gained = [after - before for after, before in zip(led_to, values, strict=True)]
        nodes = within(states, led_to, self._relative)
        edges = within(of_task(group), gained, self._relative)
        episodes = among_peers(group, self._relative)
        return [e + self.weight * (n + d) for e, n, d in zip(episodes, nodes, edges, strict=True)]

    def _discounted(self, trajectory: Trajectory) -> Floats:
        """gamma^(T - j + 1) R of each step j from `branch` on."""
        return trajectory.outcome * self.gamma ** np.arange(trajectory.played, 0, -1, dtype=np.float64)
