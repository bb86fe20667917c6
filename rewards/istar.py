"""The outcome, and how much likelier each reply is to a second model that learns to prefer successes to failures.

Paper: Liu et al. 2025, arXiv 2509.19199 (iStar); code Tongyi-ConvAI/Qwen-Character (1de87a2), CharacterRL-iStar.
Equation: A_t = (R_i - mean R) / (std R + epsilon) + alpha * (r_t - mean r) / (std r + epsilon), over the episodes of
  the task and over all their steps; r_t = beta * log(phi(a_t | o) / pi_old(a_t | o)), the log-ratio of a whole reply
  between the model phi and the policy that wrote it. With each batch phi takes a step down the mean, over all pairs of
  a success and a failure of one task, of -log sigmoid(sum_t r_t of the success - sum_t r_t of the failure).
Defaults: alpha 1 (step_advantage_w), beta 0.05 (beta_train), one step of AdamW a batch, gradient cut off at 10 <-
  examples/istar_trainer/run_webshop.sh and istar/dp_rm.py; learning_rate a third of the warm start's <- ours: of the
  embedded model that is twice the policy's, as there (1e-6 and 5e-7); weight decay 0.01 <- verl's default; normalise on
  <- the paper, as descriptions have it; epsilon 1e-6 <- istar/core_istar.py.
Deviations: phi learns from a batch before it scores it (the code: after). So every number is that of the phi that is
  saved with the checkpoint. Until a batch had a success and a failure of one task, r_t is 0. phi is a copy of the warm
  start, all of it with its output layer; pi_old's log-probs are those that the sampler recorded. The paper's text could
  not be read beyond its abstract, the rest is from the code and from descriptions. The released code does other things:
  the script normalises by leaving one out, without std; mean r is that of one step of each episode (the pass over
  `seen_pairs` in step_rloo_reward); the preference is for the mean of r_t and not their sum; r_t is divided by the
  largest of the batch; and, by reading and not run, its loss is made of detached numbers (q.detach() in
  update_rm_eto), so that phi would stay the model that it began with. An invalid action costs 0.1 there, here nothing.
  std is that of a sample (N - 1). A success is the world's own (the code: any reward). The trainer scales the
  advantages of a batch to root mean square 1, as for every method without a critic. Where several characters act, each
  is compared with the same character of the other episodes; episodes that went wrong outside the agent's control are
  left out. No critic is used, and none is trained.
Conserves return: no; the outcome is on the last step, and r_t on each.
Needs: several episodes of each task, and a tuned copy of the warm start (for each episode a forward pass, and where it
  is in a pair another one and a forward and backward pass).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.method import Backbone
from spa_bench.rewards._groups import Scaled, among_peers, of_task, within
from spa_bench.rewards._learned import Decay
from spa_bench.rewards._second_model import SecondModel, log_ratios, pairs_of, prefer, spoken


class IStar(Scaled):
    """`alpha` (α) is the weight of the steps' advantages, `beta` (β) the unit of their rewards."""

    conserves_return = False
    our_form = "phi learns from a batch before it scores it (the code: after)"

    @declared("reward istar")
    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0, description="of the steps beside the outcome; iStar: 1")] = 1.0,
        beta: Annotated[float, Field(ge=1e-6, description="unit of the implicit reward; iStar's script: 0.05")] = 0.05,
        learning_rate: Annotated[
            float | None, Field(ge=0, le=1, description="of the second model; default: a third of the warm start's")
        ] = None,
        weight_decay: Decay = 0.01,
        normalise: Annotated[bool, Field(description="divide by the standard deviations; iStar: true")] = True,
        epsilon: Annotated[float, Field(gt=0, description="added to the standard deviations; iStar: 1e-6")] = 1e-6,
    ) -> None:
        self.alpha, self.beta, self.normalise, self.epsilon = alpha, beta, normalise, epsilon
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.phi = SecondModel()

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """A step of the second model on the pairs of this batch, if it has any."""
        if pairs := pairs_of(trajectories):
            network = self._network
            rate = network.learning_rate / 3 if self.learning_rate is None else self.learning_rate

            def backward(weights: dict[str, Tensor]) -> None:
                prefer(network, weights, pairs, self.beta)

            self.phi.step(network, backward, rate=rate, decay=self.weight_decay, clip=10.0)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The implicit reward of each step, and the outcome on the last; a scripted episode has that alone."""
        priced = super().rewards(group)
        if not self.phi.steps:
            return priced
        weights = self.phi.weights = self._network.place(self.phi.weights)
        with torch.no_grad():
            for steps, t in zip(priced, group, strict=True):
                if spoken(t):
                    steps += self.beta * log_ratios(self._network, weights, t).double().numpy()
        return priced

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The outcome among the task's episodes, and the implicit rewards among all of their steps."""
        implicit = [steps.copy() for steps in rewards]
        for steps, t in zip(implicit, group, strict=True):
            steps[-1:] -= t.outcome
        outcomes = among_peers(group, self._relative)
        return [
            o + self.alpha * s for o, s in zip(outcomes, within(of_task(group), implicit, self._relative), strict=True)
        ]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The second model and its optimiser's moments."""
        return self.phi.arrays()

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave, to the bit."""
        self.phi = SecondModel.of_arrays(state)

    @property
    def _network(self) -> Backbone:
        if self.backbone is None:
            raise RuntimeError("istar tunes a second model: set `backbone` before observe and rewards")
        return self.backbone
