"""Randomized return decomposition: the mean of a few random steps of an episode predicts its outcome per step.

Paper: Ren et al. 2022, arXiv 2111.13485; code Stilwell-Git/Randomized-Return-Decomposition (bc80473).
Equation: r_t = MLP(h_t), h_t the last hidden state at the end of turn t; loss (mean_(t in I) r_t - R / T)^2 over
  explored episodes, I a random set of min(subset, T) steps, drawn without replacement each time. unbiased=True
  subtracts (1 - K / T) * s^2 / K, with K = |I| and s^2 the sample variance (K - 1) of the drawn r_t: the loss then has
  the mean (sum_t r_t / T - R / T)^2 over all sets I. Without it the mean has (1 - K / T) * S^2 / K more, S^2 the
  variance (T - 1) of all r_t: equal rewards have a lower loss.
Defaults: subset 8 <- ours, see Deviations; unbiased off <- common.py (rrd_bias_correction); exact off <- the paper;
  hidden 128, epochs 40, patience 6, learning_rate 1e-3, weight_decay 0.01, batch 32, holdout 0.2 <- as `spa` here, so
  that the two differ in their loss alone (the code: two layers of 256 and a rate of 3e-4).
Deviations: learned once, from the warm start's episodes (the paper: all along, from a replay buffer), of hidden states
  in place of state and action. The code draws 64 steps (32 in Atari) of episodes of up to 1000; here that would be all
  of them, which leaves nothing random, and the loss of `spa` but for the weight 1 / T^2 of an episode. Where an episode
  is shorter than the set, the code draws with replacement; here all steps are taken once, and there is nothing to
  correct. A hidden state has read the history up to the turn's end; the code's network reads the next state too.
  Training starts from equal rewards; held-out tasks choose when to stop, by the mean of the loss over all sets.
  exact=true adds R minus the sum of the rewards to the last step, as in `spa`.
Conserves return: no; rewards are fitted to the outcome but not forced to add up to it, unless exact=true.
Needs: explored episodes and the encoder (one forward pass per episode at fit; for rewards that of the KL penalty is
  reused).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.declared import declared
from spa_bench.rewards import _network
from spa_bench.rewards._learned import (
    Batch,
    Decay,
    Epochs,
    Explored,
    FromOutcomes,
    Hidden,
    Holdout,
    Patience,
    Rate,
    exact,
)
from spa_bench.rewards._network import Training, Weights, estimate


class RRD(FromOutcomes):
    """With fewer than two usable explored episodes all rewards are zero.

    `subset` (K) is how many steps of an episode are drawn; `unbiased` subtracts what a small set adds to the loss;
    `exact` adds the outcome minus the sum of the rewards to the last step. `Training` explains the others.
    """

    our_form = (
        "learned once, from the warm start's episodes (the paper: all along, from a replay buffer), of hidden states "
        "in place of state and action"
    )
    name = "rrd"

    @declared("reward rrd")
    def __init__(
        self,
        *,
        subset: Annotated[int, Field(ge=1, description="steps drawn per episode and pass; ours")] = 8,
        unbiased: Annotated[
            bool, Field(description="correct the loss by the variance of the draw; the paper has both")
        ] = False,
        exact: Annotated[bool, Field(description="correct the last reward to add up to the outcome; ours")] = False,
        hidden: Hidden = 128,
        epochs: Epochs = 40,
        patience: Patience = 6,
        learning_rate: Rate = 1e-3,
        weight_decay: Decay = 0.01,
        batch: Batch = 32,
        holdout: Holdout = 0.2,
    ) -> None:
        if unbiased and subset < 2:
            raise UserError("reward rrd: subset=1 has no variance that unbiased=True could correct by: use 2 or above")
        self.subset, self.unbiased, self.exact = subset, unbiased, exact
        if exact and type(self).our_form == RRD.our_form:
            self.our_form = f"{self.our_form}; the last reward is corrected so that they add up to the outcome"
        self.training = Training(hidden, epochs, patience, learning_rate, weight_decay, batch, holdout)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The learned reward of each step; raises RuntimeError before `fit`."""
        learned = self.numbers(group)
        return exact(learned, group) if self.exact else learned

    def learn(self, explored: Explored, rng: torch.Generator) -> tuple[dict[str, Tensor], int]:
        """Weights of the best held-out epoch; the sum of the rewards is what predicts the outcome, as in `spa`."""
        read, outcomes, lengths, parts = explored.read, explored.outcomes, explored.lengths, explored.parts

        def loss(weights: Weights, picks: Tensor) -> Tensor:
            drawn = [h[torch.randperm(len(h), generator=rng)[: self.subset]] for h in read(weights, picks)]
            r, owner = _joined(weights, drawn)
            return subset_loss(r, owner, outcomes[picks], lengths[picks], unbiased=self.unbiased)

        def error(weights: Weights, part: Tensor) -> Tensor:
            r, owner = _joined(weights, read(weights, part))
            return mean_loss(r, owner, outcomes[part], subset=None if self.unbiased else self.subset)

        per_step = (outcomes / lengths)[parts.train].mean()
        return _network.learn(read, explored.tuned, per_step, loss, error, self.training, parts, rng)


def subset_loss(r: Tensor, owner: Tensor, outcomes: Tensor, lengths: Tensor, *, unbiased: bool) -> Tensor:
    """The loss of some drawn steps (N,): `owner` is the episode of each, among those of `outcomes` and `lengths`."""
    count, mean, variance = _moments(r, owner, len(lengths))
    squared = (mean - outcomes / lengths) ** 2
    if unbiased:
        squared = squared - (1 - count / lengths) * variance / count
    return squared.mean()


def mean_loss(r: Tensor, owner: Tensor, outcomes: Tensor, *, subset: int | None) -> Tensor:
    """Mean of `subset_loss` over all sets of `subset` steps (None: without its bias); `r` (N,) is of all steps."""
    lengths, mean, variance = _moments(r, owner, len(outcomes))
    squared = (mean - outcomes / lengths) ** 2
    if subset is not None:
        count = lengths.clamp(max=subset)
        squared = squared + (1 - count / lengths) * variance / count
    return squared.mean()


def _joined(weights: Weights, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The network's number for each step of each, and whose it is."""
    owner = torch.repeat_interleave(torch.tensor([len(h) for h in features]))
    return estimate(weights, torch.cat(list(features))), owner


def _moments(r: Tensor, owner: Tensor, episodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and sample variance (0 of a single step) of the steps of each episode."""
    count = torch.bincount(owner, minlength=episodes).to(r.dtype)
    zeros = torch.zeros(episodes, dtype=r.dtype)
    mean = zeros.index_add(0, owner, r) / count
    variance = zeros.index_add(0, owner, (r - mean[owner]) ** 2) / (count - 1).clamp(min=1)
    return count, mean, variance
