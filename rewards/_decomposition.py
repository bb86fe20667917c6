"""A small network whose numbers per step are trained so that their sum predicts the outcome of an episode.

Kept apart from the methods that use it: `learn` trains the weights, `estimate` prices steps with them. Everything runs
in fp32 on the CPU and draws from one explicit generator, so a fit repeats to the bit wherever torch's threads do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TRAINED = ("w1", "b1", "w2", "b2")


@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    hidden: int
    """Width of the one hidden layer."""
    epochs: int
    """Most passes over the training share."""
    patience: int
    """Passes without a better held-out error after which training stops."""
    learning_rate: float
    weight_decay: float
    """Of Adam, decoupled."""
    batch: int
    """Episodes per optimiser step."""
    holdout: float
    """Share of the episodes that only choose the epoch; at least one."""


def estimate(weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Features (T, D) to one number per step (T,)."""
    scaled = (features - weights["mean"]) / weights["std"]
    return F.relu(scaled @ weights["w1"] + weights["b1"]) @ weights["w2"] + weights["b2"]


def learn(
    features: Sequence[Tensor], outcomes: Tensor, how: Training, rng: torch.Generator
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights of the best held-out epoch, and figures; needs at least two episodes, features (T, D) each.

    `valid_r2` compares with predicting the mean outcome of the training share, and is 0 where that is perfect.
    """
    held = min(max(1, round(how.holdout * len(features))), len(features) - 1)
    order = torch.randperm(len(features), generator=rng)
    valid, train = order[:held], order[held:]
    start = _start([features[i] for i in train], outcomes[train], how.hidden, rng)
    weights, epoch = _descend(start, features, outcomes, (train, valid), how, rng)
    train_mse, valid_mse = (_error(weights, features, outcomes, part) for part in (train, valid))
    naive = float(((outcomes[valid] - outcomes[train].mean()) ** 2).mean())
    r2 = 1.0 - valid_mse / naive if naive > 0 else 0.0
    return weights, {"epoch": float(epoch), "train_mse": train_mse, "valid_mse": valid_mse, "valid_r2": r2}


def _start(features: Sequence[Tensor], outcomes: Tensor, hidden: int, rng: torch.Generator) -> dict[str, Tensor]:
    """Even credit: every step gets the mean outcome per step, whatever its features."""
    steps = torch.cat(list(features))
    std, bound = steps.std(dim=0, correction=0), steps.shape[1] ** -0.5
    return {
        "mean": steps.mean(dim=0),
        "std": torch.where(std > 1e-6, std, 1.0),
        "w1": torch.empty(steps.shape[1], hidden).uniform_(-bound, bound, generator=rng),
        "b1": torch.zeros(hidden),
        "w2": torch.zeros(hidden),
        "b2": (outcomes.sum() / len(steps)).reshape(1),
    }


def _descend(
    weights: dict[str, Tensor],
    features: Sequence[Tensor],
    outcomes: Tensor,
    parts: tuple[Tensor, Tensor],
    how: Training,
    rng: torch.Generator,
) -> tuple[dict[str, Tensor], int]:
    """The weights of the epoch with the least held-out error, and that epoch (0: the start)."""
    train, valid = parts
    learned = [weights[key].requires_grad_() for key in TRAINED]
    optimiser = torch.optim.AdamW(learned, lr=how.learning_rate, weight_decay=how.weight_decay)
    best, least, chosen = _copy(weights), _error(weights, features, outcomes, valid), 0
    for epoch in range(1, how.epochs + 1):
        for picks in torch.split(train[torch.randperm(len(train), generator=rng)], how.batch):
            optimiser.zero_grad()
            loss = F.mse_loss(_sums(weights, [features[i] for i in picks]), outcomes[picks])
            torch.autograd.backward(loss)
            optimiser.step()
        error = _error(weights, features, outcomes, valid)
        if error < least:
            best, least, chosen = _copy(weights), error, epoch
        elif epoch - chosen >= how.patience:
            break
    return best, chosen


def _sums(weights: Mapping[str, Tensor], features: Sequence[Tensor]) -> Tensor:
    """Sum over the steps of each episode: N arrays (T, D) to (N,)."""
    owner = torch.repeat_interleave(torch.tensor([len(h) for h in features]))
    return torch.zeros(len(features)).index_add(0, owner, estimate(weights, torch.cat(list(features))))


@torch.no_grad()
def _error(weights: Mapping[str, Tensor], features: Sequence[Tensor], outcomes: Tensor, part: Tensor) -> float:
    sums = [_sums(weights, [features[i] for i in picks]) for picks in torch.split(part, 256)]
    return float(F.mse_loss(torch.cat(sums), outcomes[part]))


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in weights.items()}
