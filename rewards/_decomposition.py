"""A small network with one number per step, trained so that their sum predicts the outcome of an episode.

`learn` trains the weights, `_network.estimate` computes the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from spa_bench.rewards import _network
from spa_bench.rewards._network import Training, Weights, estimate


def learn(
    features: Sequence[Tensor], outcomes: Tensor, how: Training, rng: torch.Generator
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights of the best held-out epoch, and figures; needs at least two episodes, features (T, D) each.

    Training starts from equal credit: every step gets the mean outcome per step, whatever its features.
    """

    def per_step(train: Tensor) -> Tensor:
        return outcomes[train].sum() / sum(len(features[i]) for i in train)

    def loss(weights: Weights, picks: Tensor) -> Tensor:
        return F.mse_loss(_sums(weights, [features[i] for i in picks]), outcomes[picks])

    def error(weights: Weights, part: Tensor) -> Tensor:
        return F.mse_loss(sums(weights, features, part), outcomes[part])

    weights, epoch, parts = _network.learn(features, per_step, loss, error, how, rng)
    figures = _network.explained(lambda part: sums(weights, features, part), outcomes, parts)
    return weights, {"epoch": float(epoch), **figures}


def sums(weights: Weights, features: Sequence[Tensor], part: Tensor) -> Tensor:
    """Sum over the steps of each of these episodes, (N,); in portions, because hidden states are large."""
    return torch.cat([_sums(weights, [features[i] for i in picks]) for picks in torch.split(part, 256)])


def _sums(weights: Weights, features: Sequence[Tensor]) -> Tensor:
    owner = torch.repeat_interleave(torch.tensor([len(h) for h in features]))
    return torch.zeros(len(features)).index_add(0, owner, estimate(weights, torch.cat(list(features))))
