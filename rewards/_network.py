"""A small network on hidden states, one number per step, and its training; methods differ in their loss.

Everything runs in fp32 on the CPU and draws from one explicit generator, so that a fit repeats to the bit where torch's
threads do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TRAINED = ("w1", "b1", "w2", "b2")

Weights = Mapping[str, Tensor]
"""The network, and the mean and spread of its input."""
Loss = Callable[[Weights, Tensor], Tensor]
"""Weights and the indices of some episodes to one number."""
Parts = tuple[Tensor, Tensor]
"""Indices of the training episodes and of the held-out ones."""


@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    hidden: int
    """Width of the one hidden layer."""
    epochs: int
    """Maximum number of passes over the training share."""
    patience: int
    """Passes without a better held-out error after which training stops."""
    learning_rate: float
    weight_decay: float
    """Of Adam, decoupled."""
    batch: int
    """Episodes per optimiser step."""
    holdout: float
    """Share of the episodes held out to choose the epoch; at least one episode."""


def estimate(weights: Weights, features: Tensor) -> Tensor:
    """Features (..., T, D) to one number per step (..., T)."""
    scaled = (features - weights["mean"]) / weights["std"]
    return F.relu(scaled @ weights["w1"] + weights["b1"]) @ weights["w2"] + weights["b2"]


def start(steps: Tensor, says: Tensor, hidden: int, rng: torch.Generator) -> dict[str, Tensor]:
    """A network that gives the number `says` to every step, with inputs scaled by the features `steps` (N, D)."""
    std, bound = steps.std(dim=0, correction=0), steps.shape[1] ** -0.5
    return {
        "mean": steps.mean(dim=0),
        "std": torch.where(std > 1e-6, std, 1.0),
        "w1": torch.empty(steps.shape[1], hidden).uniform_(-bound, bound, generator=rng),
        "b1": torch.zeros(hidden),
        "w2": torch.zeros(hidden),
        "b2": says.reshape(1),
    }


def passes(weights: dict[str, Tensor], loss: Loss, items: Tensor, how: Training, rng: torch.Generator) -> Iterator[int]:
    """Trains `weights` in place; yields the number of each pass over `items` when it is done."""
    learned = [weights[key].requires_grad_() for key in TRAINED]
    optimiser = torch.optim.AdamW(learned, lr=how.learning_rate, weight_decay=how.weight_decay)
    for epoch in range(1, how.epochs + 1):
        for picks in torch.split(items[torch.randperm(len(items), generator=rng)], how.batch):
            optimiser.zero_grad()
            torch.autograd.backward(loss(weights, picks))
            optimiser.step()
        yield epoch


def learn(
    features: Sequence[Tensor],
    says: Callable[[Tensor], Tensor],
    loss: Loss,
    error: Loss,
    how: Training,
    rng: torch.Generator,
) -> tuple[dict[str, Tensor], int, Parts]:
    """The weights of the epoch with the lowest held-out `error`, that epoch (0: before training), and the parts.

    Needs at least two episodes, features (T, D) each. The network starts with the number `says(train)` for every step.
    """
    held = min(max(1, round(how.holdout * len(features))), len(features) - 1)
    order = torch.randperm(len(features), generator=rng)
    valid, train = order[:held], order[held:]
    weights = start(torch.cat([features[i] for i in train]), says(train), how.hidden, rng)
    best, least, chosen = copy(weights), measure(error, weights, valid), 0
    for epoch in passes(weights, loss, train, how, rng):
        now = measure(error, weights, valid)
        if now < least:
            best, least, chosen = copy(weights), now, epoch
        elif epoch - chosen >= how.patience:
            break
    return best, chosen, (train, valid)


@torch.no_grad()
def measure(error: Loss, weights: Weights, part: Tensor) -> float:
    """The error of these episodes, without a gradient."""
    return float(error(weights, part))


@torch.no_grad()
def explained(predict: Callable[[Tensor], Tensor], outcomes: Tensor, parts: Parts) -> dict[str, float]:
    """How well outcomes are predicted, by `predict` of the indices of episodes.

    `valid_r2` compares with predicting the mean outcome of the training share, and is 0 where that is perfect.
    """
    train, valid = parts
    train_mse, valid_mse = (float(F.mse_loss(predict(part), outcomes[part])) for part in parts)
    naive = float(((outcomes[valid] - outcomes[train].mean()) ** 2).mean())
    r2 = 1.0 - valid_mse / naive if naive > 0 else 0.0
    return {"train_mse": train_mse, "valid_mse": valid_mse, "valid_r2": r2}


def copy(weights: Weights) -> dict[str, Tensor]:
    """The same numbers, apart from the gradient and from later training."""
    return {key: value.detach().clone() for key, value in weights.items()}
