"""Return decomposition by prediction: the reward of a step is the change of the predicted outcome.

Paper: Arjona-Medina et al. 2019, arXiv 1806.07857 (RUDDER); code ml-jku/rudder-demonstration-code (d728413).
Equation: r_t = g_t - g_(t-1) for t < T and r_T = R - g_(T-1), with g_t = MLP(h_t), h_t the last hidden state at the end
  of turn t, and g_0 = 0. That is g_t - g_(t-1) on every step, and on the last also the remainder R - g_T. Loss
  (g_T - R)^2 + continuous * mean_t (g_t - R)^2 over explored episodes.
Defaults: continuous 0.5 <- rudder.py (continuous_pred_factor); g_0 = 0 <- rudder.py: the first step gets the first
  prediction; hidden 128, epochs 40, patience 6, learning_rate 1e-3, weight_decay 0.01, batch 32, holdout 0.2 <- as
  `spa` here, so that the two differ in what they learn alone.
Deviations: learned once, from the warm start's episodes, by a network on hidden states (the paper: an LSTM, all along,
  from a buffer of lessons). No LSTM: a causal language model has read all that came before turn t, and its hidden state
  is frozen at the warm start. No lessons buffer: the predictor is learned once, from episodes of the warm start. The
  remainder is on the last step, so that no step's reward depends on later ones (the authors' PyTorch tutorial spreads
  it over all steps, which rewards delay). Each episode counts once in the loss, whatever its length (the code: each
  position of a batch). Training starts by predicting the mean outcome; held-out tasks choose when to stop.
Conserves return: yes.
Needs: explored episodes and the encoder (one forward pass per episode at fit; for rewards that of the KL penalty is
  reused).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards import _network
from spa_bench.rewards._learned import Batch, Decay, Epochs, Explored, FromOutcomes, Hidden, Holdout, Patience, Rate
from spa_bench.rewards._network import Training, Weights, estimate


class RUDDER(FromOutcomes):
    """With fewer than two usable explored episodes the prediction is 0, and the last step gets the outcome.

    `continuous` weighs predictions on the way beside that at the end. `Training` explains the others.
    """

    our_form = (
        "learned once, from the warm start's episodes, by a network on hidden states (the paper: an LSTM, all along, "
        "from a buffer of lessons)"
    )
    name = "rudder"
    conserves_return = True
    sums = False

    @declared("reward rudder")
    def __init__(
        self,
        *,
        continuous: Annotated[float, Field(ge=0, description="weight of predictions on the way; RUDDER: 0.5")] = 0.5,
        hidden: Hidden = 128,
        epochs: Epochs = 40,
        patience: Patience = 6,
        learning_rate: Rate = 1e-3,
        weight_decay: Decay = 0.01,
        batch: Batch = 32,
        holdout: Holdout = 0.2,
    ) -> None:
        self.continuous = continuous
        self.training = Training(hidden, epochs, patience, learning_rate, weight_decay, batch, holdout)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Differences of predictions, and on the last step the remainder; raises RuntimeError before `fit`."""
        predicted = zip(self.numbers(group), group, strict=True)
        return [np.diff([0.0, *g[:-1], t.outcome])[: len(t)] for g, t in predicted]

    def learn(self, explored: Explored, rng: torch.Generator) -> tuple[dict[str, Tensor], int]:
        """Weights of the best held-out epoch."""
        outcomes, parts = explored.outcomes, explored.parts

        def loss(weights: Weights, picks: Tensor) -> Tensor:
            some = explored.read(weights, picks)
            g = torch.split(estimate(weights, torch.cat(some)), [len(h) for h in some])
            return prediction_loss(g, outcomes[picks], self.continuous)

        mean = outcomes[parts.train].mean()
        return _network.learn(explored.read, explored.tuned, mean, loss, loss, self.training, parts, rng)

    def prediction(self, numbers: Floats) -> float:
        """The prediction at the end."""
        return float(numbers[-1])


def prediction_loss(predicted: Sequence[Tensor], outcomes: Tensor, continuous: float) -> Tensor:
    """The loss of some episodes: `predicted` holds g_1 to g_T of each."""
    errors = [(g - outcome) ** 2 for g, outcome in zip(predicted, outcomes, strict=True)]
    return torch.stack([e[-1] + continuous * e.mean() for e in errors]).mean()
