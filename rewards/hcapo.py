"""The outcome, and each step's return times how much likelier the policy finds the step once it knows the end.

Paper: Tan et al. 2026, arXiv 2603.08754 (HCAPO); no public code: re-implementation from a transcription of its
  equations.
Equation: A_t = (R_i - mean R) / (std R + epsilon) + weight * (Q_t - mean Q) / (std Q + epsilon), over the episodes of
  the task and over all their steps, the second term not below 0 in a success; Q_t = smoothing * q_t + (1 - smoothing) *
  q_(t+1) with q_t = rho_t * gamma^(T-t) * R_i, rho_t = clip(h_t / mean h, low, high) over the steps of the episode, and
  h_t = exp(mean log pi(token | history, end) / temperature) over the tokens of the reply (eqs. 3, 5 to 8 and 10).
Defaults: weight 1, gamma 0.95, temperature 5, low 0.8, high 1.2, smoothing 0.5 <- the paper's appendix C.1 ("HCAPO w
  Smooth"; smoothing=1 is HCAPO without); normalise on <- the paper; epsilon 1e-6 <- as in `gigpo`, whose settings the
  paper takes over.
Deviations: the end is told as the episode's last observation, after the first one (the paper: a successful outcome in
  the prompt, in words that are not known to us). So pi reads one text more than when it acted. The embedded model knows
  its words, which are the world's, but was never told an end before; a chat model is told no more either. What pi is
  without the end is the mean of h in the episode, as in the paper. The last step's Q is its own q, for no other
  follows. Q of an episode with the outcome 0 is 0 without asking; one with a part of the outcome is asked too, and is
  no success. The mean of Q is over all steps of the task's episodes, which the paper's pseudo-code and theory ask for;
  beside its equation 8 it says "at time step t". Read in a transcription of the paper, not in the paper itself. std is
  that of a sample (N - 1). No penalty for invalid actions (the paper: 0.1). The trainer scales the advantages of a
  batch to root mean square 1, as for every method without a critic. Where several characters act, each is compared with
  the same character of the other episodes; episodes that went wrong outside the agent's control are left out. No critic
  is used, and none is trained.
Conserves return: yes.
Needs: several episodes of each task, and the policy's log-probs of episodes that it is told the end of (one more
  forward pass for each episode with an outcome, counted as overhead).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench import credit
from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._groups import Scaled, among_peers, of_task, within


class HCAPO(Scaled):
    """`weight` (ω) is that of the steps' advantages; `low`, `high` are the bounds of ρ, `smoothing` is α."""

    our_form = (
        "the end is told as the episode's last observation, after the first one (the paper: a successful outcome in "
        "the prompt, in words that are not known to us)"
    )

    @declared("reward hcapo")
    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="of the steps beside the outcome; HCAPO: 1")] = 1.0,
        gamma: Annotated[float, Field(gt=0, le=1, description="discount of the steps' returns; HCAPO: 0.95")] = 0.95,
        temperature: Annotated[float, Field(gt=0, description="divides the mean log-prob; HCAPO: 5")] = 5.0,
        low: Annotated[float, Field(ge=0, le=1, description="least ratio; HCAPO: 0.8")] = 0.8,
        high: Annotated[float, Field(ge=1, description="greatest ratio; HCAPO: 1.2")] = 1.2,
        smoothing: Annotated[float, Field(ge=0, le=1, description="own share of Q; HCAPO with smoothing: 0.5")] = 0.5,
        normalise: Annotated[bool, Field(description="divide by the standard deviations; HCAPO: true")] = True,
        epsilon: Annotated[float, Field(gt=0, description="added to the standard deviations; GiGPO's: 1e-6")] = 1e-6,
    ) -> None:
        self.weight, self.gamma, self.temperature, self.smoothing = weight, gamma, temperature, smoothing
        self.low, self.high, self.normalise, self.epsilon = low, high, normalise, epsilon

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The outcome among the task's episodes, and Q among all of their steps, which harms no success."""
        outcomes = among_peers(group, self._relative)
        steps = within(of_task(group), self.values(group), self._relative)
        kept = [np.maximum(s, 0.0) if t.success else s for s, t in zip(steps, group, strict=True)]
        return [o + self.weight * s for o, s in zip(outcomes, kept, strict=True)]

    def values(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Q of each step from `branch` on; 0 where the outcome is, which costs nothing."""
        asked = [n for n, t in enumerate(group) if t.outcome and t.steps and t.error is None]
        found = [np.zeros(t.played) for t in group]
        for n, ratios in zip(asked, self._ratios([group[n] for n in asked]), strict=True):
            sparse = np.append(np.zeros(len(ratios) - 1), group[n].outcome)
            q = ratios * credit.returns(sparse, self.gamma)
            q[:-1] = self.smoothing * q[:-1] + (1 - self.smoothing) * q[1:]
            found[n] = q[group[n].branch :]
        return found

    def _ratios(self, trajectories: Sequence[Trajectory]) -> list[Floats]:
        """Rho of each step, (T,)."""
        if not trajectories:
            return []
        if self.hindsight is None:
            raise RuntimeError("hcapo asks the policy again: set `hindsight` before advantages")
        told = self.hindsight(trajectories, [t.final_observation for t in trajectories])
        likely = [np.exp(logprobs / self.temperature) for logprobs in told]
        return [np.clip(h / h.mean(), self.low, self.high) for h in likely]
