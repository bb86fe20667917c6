"""A small network on hidden states, one number per step, and its training; methods differ in their loss.

The network runs in fp32 on the CPU and draws from one explicit generator, so that a fit repeats to the bit where
torch's threads do. The weights of a language model that is tuned with it stand beside its own, under `TUNED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

FIXED = ("mean", "std")
"""Not trained: the scale of the input."""
TUNED = "backbone."
"""Before the names of the language model's weights."""

Weights = Mapping[str, Tensor]
"""The network, and the mean and spread of its input; with a tuned language model also the weights of that."""
Loss = Callable[[Weights, Tensor], Tensor]
"""Weights and the indices of some episodes to one number."""
Read = Callable[[Weights, Tensor], "list[Tensor]"]
"""Weights and the indices of some episodes to the hidden states (T, D) of each."""


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
    """Share of the tasks held out to choose the epoch, and as many more to measure what was learned."""
    tuned_rate: float | None = None
    """Of a language model that is tuned together with the network; None: `learning_rate`."""


@dataclass(frozen=True)
class Parts:
    """Indices of episodes."""

    train: Tensor
    choose: Tensor
    """Held out, to choose the epoch; empty where no epoch is chosen."""
    report: Tensor
    """Held out from both: what is learned is measured here; empty where there are too few tasks."""


def split(tasks: Sequence[str], share: float, rng: torch.Generator, *, choose: bool = True) -> Parts:
    """Whole tasks for each part, in random order.

    `share` of the tasks, at least one, are held out for each purpose; at least one is left to train on. With fewer
    tasks than parts nothing can be measured: of two tasks one is trained on and the other chooses, and of a single task
    the episodes are split, the one case in which parts share a task.
    """
    purposes = 2 if choose else 1
    names = sorted(set(tasks))
    measured = len(names) > purposes
    units = [names.index(task) for task in tasks] if len(names) > 1 else list(range(len(tasks)))
    purposes -= not measured
    count = len(set(units))
    held = min(max(1, round(share * count)), (count - 1) // max(purposes, 1))
    order = torch.randperm(count, generator=rng).tolist()
    place = [order.index(unit) // held if order.index(unit) < purposes * held else -1 for unit in units]

    def part(number: int) -> Tensor:
        return torch.tensor([i for i, found in enumerate(place) if found == number], dtype=torch.long)

    nothing = part(-2)
    return Parts(part(-1), part(0) if choose else nothing, part(purposes - 1) if measured else nothing)


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
    learned = {key: weight.requires_grad_() for key, weight in weights.items() if key not in FIXED}
    tuned = [weight for key, weight in learned.items() if key.startswith(TUNED)]
    groups: list[dict[str, Any]] = [
        {"params": [weight for key, weight in learned.items() if not key.startswith(TUNED)]}
    ]
    if tuned:
        groups.append({"params": tuned, "lr": how.learning_rate if how.tuned_rate is None else how.tuned_rate})
    optimiser = torch.optim.AdamW(groups, lr=how.learning_rate, weight_decay=how.weight_decay)
    for epoch in range(1, how.epochs + 1):
        for picks in torch.split(items[torch.randperm(len(items), generator=rng)], how.batch):
            optimiser.zero_grad()
            torch.autograd.backward(loss(weights, picks))
            optimiser.step()
        yield epoch


def learn(
    read: Read,
    tuned: Weights,
    says: Tensor,
    loss: Loss,
    error: Loss,
    how: Training,
    parts: Parts,
    rng: torch.Generator,
) -> tuple[dict[str, Tensor], int]:
    """The weights of the epoch with the lowest `error` on `parts.choose`, and that epoch (0: before training).

    Without episodes to choose by, those of the last epoch. `tuned` holds the language model's weights, under their
    names with `TUNED`, where it is tuned. The network starts with the number `says` for every step.
    """
    with torch.no_grad():
        steps = torch.cat(read(tuned, parts.train))
    weights = copy(tuned) | start(steps, says, how.hidden, rng)
    chooses = len(parts.choose) > 0
    best, least, chosen = copy(weights), measure(error, weights, parts.choose) if chooses else 0.0, 0
    for epoch in passes(weights, loss, parts.train, how, rng):
        now = measure(error, weights, parts.choose) if chooses else least - 1.0
        if now < least:
            best, least, chosen = copy(weights), now, epoch
        elif epoch - chosen >= how.patience:
            break
    return best, chosen


@torch.no_grad()
def measure(error: Loss, weights: Weights, part: Tensor) -> float:
    """The error of these episodes, without a gradient."""
    return float(error(weights, part))


def copy(weights: Weights) -> dict[str, Tensor]:
    """The same numbers, apart from the gradient and from later training."""
    return {key: value.detach().clone() for key, value in weights.items()}
