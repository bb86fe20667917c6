"""Methods whose network says one number per step, so that the sum predicts the outcome of an episode: SPA's.

What of it each method uses, and how, is its own; `_network.estimate` computes the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from spa_bench.rewards import _network
from spa_bench.rewards._learned import Explored, FromOutcomes
from spa_bench.rewards._network import Training, Weights, estimate

FROZEN_RATE = 1e-3
"""Of a network that is trained from nothing on fixed hidden states."""
TUNING = 0.15
"""Of the warm start's rate: SPA's scripts tune the estimator at 3e-6 and the model before it at 2e-5."""
HEAD_RATE = TUNING * 3e-3
"""The least of a new network beside a tuned language model, that of the embedded default's: it starts from nothing, and
the ten steps that the defaults leave it would not move it at 3e-6."""


Backbone = Annotated[
    Literal["frozen", "tuned"],
    Field(description="the language model stays as the warm start left it, or a copy learns"),
]
OwnRate = Annotated[
    float | None,
    Field(ge=0, le=1, description="of all that is trained; default: 1e-3, and tuned 0.15 times the warm start's (SPA)"),
]


class Decomposition(FromOutcomes):
    """Training starts from equal credit: every step gets the mean outcome per step, whatever its features."""

    learning_rate: float | None
    """As given, for all that is trained; None: `FROZEN_RATE`, and with a tuned language model `TUNING` times the warm
    start's, of the new network at least `HEAD_RATE`."""

    def set_training(self, backbone: str, learning_rate: float | None, how: Training) -> None:
        """The options that such methods share. The rate in `how` is not used."""
        self.tunes, self.learning_rate = backbone == "tuned", learning_rate
        rate = FROZEN_RATE if learning_rate is None else learning_rate
        self.training = replace(how, learning_rate=rate)

    def learn(self, explored: Explored, rng: torch.Generator) -> tuple[dict[str, Tensor], int]:
        """Weights of the chosen epoch."""
        outcomes, parts = explored.outcomes, explored.parts
        how = self.training
        if self.tunes and self.learning_rate is None:
            rate = TUNING * self.network.learning_rate
            how = replace(how, learning_rate=max(rate, HEAD_RATE), tuned_rate=rate)

        def loss(weights: Weights, picks: Tensor) -> Tensor:
            return F.mse_loss(sums(weights, explored.read(weights, picks)), outcomes[picks])

        def error(weights: Weights, part: Tensor) -> Tensor:
            portions = torch.split(part, 64)  # hidden states are large
            squared = [(sums(weights, explored.read(weights, some)) - outcomes[some]) ** 2 for some in portions]
            return torch.cat(squared).mean()

        per_step = outcomes[parts.train].sum() / explored.lengths[parts.train].sum()
        return _network.learn(explored.read, explored.tuned, per_step, loss, error, how, parts, rng)


def sums(weights: Weights, features: Sequence[Tensor]) -> Tensor:
    """Sum of the numbers of each, (N,)."""
    owner = torch.repeat_interleave(torch.tensor([len(h) for h in features]))
    return torch.zeros(len(features)).index_add(0, owner, estimate(weights, torch.cat(list(features))))
