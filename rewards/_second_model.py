"""A copy of the warm start that learns while the policy does, from preferences between whole episodes (DPO)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from spa_bench.core import Trajectory
from spa_bench.method import Backbone
from spa_bench.rewards._learned import usable
from spa_bench.state_keys import place

Pairs = Sequence[tuple[Sequence[Trajectory], Sequence[Trajectory]]]
"""For each task its successes and its failures, at least one of both."""

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each weight."""


class SecondModel:
    """Weights by the names of `Backbone.weights`, the output layer among them; none before the first step.

    With it is saved and restored what its optimiser keeps.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.weights: dict[str, Tensor] = {}
        self._moments: dict[str, dict[str, Tensor]] = {}

    def step(
        self,
        backbone: Backbone,
        backward: Callable[[dict[str, Tensor]], None],
        *,
        rate: float,
        decay: float,
        clip: float,
    ) -> None:
        """One of AdamW down the gradient that `backward` leaves in the weights, no longer than `clip`."""
        begin = backbone.place(self.weights or backbone.weights(head=True))
        weights = {name: weight.detach().clone().requires_grad_() for name, weight in begin.items()}
        optimiser = torch.optim.AdamW(list(weights.values()), lr=rate, weight_decay=decay)
        for name, kept in self._moments.items():
            optimiser.state[weights[name]] = {"step": torch.tensor(float(self.steps)), **backbone.place(kept)}
        backward(weights)
        torch.nn.utils.clip_grad_norm_(list(weights.values()), clip)
        optimiser.step()
        self.steps += 1
        self.weights = {name: weight.detach() for name, weight in weights.items()}
        self._moments = {name: {m: optimiser.state[w][m] for m in MOMENTS} for name, w in weights.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, as arrays."""
        parts = {"weights": self.weights} | {m: {n: kept[m] for n, kept in self._moments.items()} for m in MOMENTS}
        held = {f"{part}.{name}": w.cpu().numpy().copy() for part, own in parts.items() for name, w in own.items()}
        return {"steps": np.array([self.steps], dtype=np.int64)} | held

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SecondModel:
        """What `arrays` gave, to the bit."""
        model = cls()
        model.steps = int(arrays["steps"][0])
        tensors = {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
        names = [key.removeprefix("weights.") for key in arrays if key.startswith("weights.")]
        model.weights = {name: tensors[f"weights.{name}"] for name in names}
        model._moments = {name: {m: tensors[f"{m}.{name}"] for m in MOMENTS} for name in names}
        return model


def pairs_of(trajectories: Sequence[Trajectory]) -> Pairs:
    """The episodes of tasks that were won and lost, sorted by content; those of a language model without errors."""
    sides: dict[object, tuple[list[Trajectory], list[Trajectory]]] = {}
    for t in usable(trajectories):
        if spoken(t):
            sides.setdefault(place(t), ([], []))[0 if t.success else 1].append(t)
    return [(won, lost) for won, lost in sides.values() if won and lost]


def prefer(backbone: Backbone, weights: dict[str, Tensor], pairs: Pairs, beta: float) -> None:
    """Leave the gradient of `preference` in the weights, of one episode after the other: memory holds one's layers."""
    episodes = [t for sides in pairs for side in sides for t in side]
    with torch.no_grad():
        sums = torch.stack([log_ratios(backbone, weights, t).sum() for t in episodes])
    sums.requires_grad_()
    loss = preference(sums, [(len(won), len(lost)) for won, lost in pairs], beta)
    (shares,) = torch.autograd.grad(loss, [sums])
    for t, share in zip(episodes, shares, strict=True):
        torch.autograd.backward([share * log_ratios(backbone, weights, t).sum()])


def preference(sums: Tensor, sizes: Sequence[tuple[int, int]], beta: float) -> Tensor:
    """Mean of -log sigmoid(beta * (success - failure)) over the pairs of each task.

    `sums` (N,) are the log-ratios of the episodes: of each task so many successes and then failures as `sizes` says.
    """
    parts = torch.split(sums, [sum(size) for size in sizes])
    gaps = [part[:won, None] - part[None, won:] for part, (won, _) in zip(parts, sizes, strict=True)]
    return -F.logsigmoid(beta * torch.cat([gap.flatten() for gap in gaps])).mean()


def log_ratios(backbone: Backbone, weights: dict[str, Tensor], trajectory: Trajectory) -> Tensor:
    """log(phi / pi_old) of each reply, (T,), with a gradient; pi_old's are those recorded when it was sampled."""
    # One at a time: the last bits of a matrix product depend on its neighbours in a batch.
    (new,) = backbone.logprobs(weights, [trajectory])
    ratios: Tensor = new - torch.tensor([sum(step.tokens.logprobs) for step in trajectory.steps if step.tokens])
    return ratios


def spoken(trajectory: Trajectory) -> bool:
    """It has steps, and each is a language model's."""
    return bool(trajectory.steps) and all(step.tokens for step in trajectory.steps)
