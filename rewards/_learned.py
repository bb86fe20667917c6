"""What methods share whose rewards come from a small network on hidden states: options, state, encoding.

Each method defines what its network learns, and how its numbers become rewards.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spa_bench.core import Floats, Trajectory, UserError, derive_seed
from spa_bench.method import RewardMethod
from spa_bench.rewards._episode_digest import episode_digest
from spa_bench.rewards._network import Training, estimate


class Learned(RewardMethod):
    """Numbers per step from a network that `fit` leaves in `_weights`; zeros where it had too little to learn from."""

    name: ClassVar[str]
    """The method's name; messages begin with it, and random seeds are derived from it."""
    training: Training
    _weights: dict[str, Tensor] | None = None
    """None before `fit`, empty where `fit` had too little to learn from."""

    def numbers(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The network's number for each step, one array (T,) per trajectory; raises RuntimeError before `fit`."""
        weights = self._weights
        if weights is None:
            raise RuntimeError(f"{self.name} has no rewards before fit: call fit or load a fitted state")
        if not weights:
            return [np.zeros(len(t)) for t in group]
        # One trajectory at a time: the last bits of a matrix product depend on its neighbours in a batch.
        with torch.inference_mode():
            return [estimate(weights, h).double().numpy() for h in self.encode(group)]

    def encode(self, trajectories: Sequence[Trajectory]) -> list[Tensor]:
        """Hidden states (T, D) of each; raises RuntimeError without an encoder, ValueError where it is unusable."""
        if self.encoder is None:
            raise RuntimeError(f"{self.name} reads hidden states: set `encoder` before fit and rewards")
        features = [np.array(h, dtype=np.float32) for h in self.encoder(trajectories)] if trajectories else []
        for h, trajectory in zip(features, trajectories, strict=True):
            if h.ndim != 2 or len(h) != len(trajectory) or not np.isfinite(h).all():
                raise ValueError(f"encoder: {len(trajectory)} steps need finite ({len(trajectory)}, D), got {h.shape}")
        return [torch.from_numpy(h) for h in features]

    def rng(self, *purpose: object) -> torch.Generator:
        """A generator seeded by the method's seed, its name and the purpose."""
        return torch.Generator().manual_seed(derive_seed(self.seed, self.name, *purpose))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The network and the scale of its input; empty before `fit`."""
        if self._weights is None:
            return {}
        return {"fitted": np.ones(1, dtype=np.int8)} | {k: v.numpy().copy() for k, v in self._weights.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave, to the bit."""
        arrays = {key: torch.from_numpy(np.array(array)) for key, array in state.items()}
        self._weights = arrays if arrays.pop("fitted", None) is not None else None


class FromOutcomes(Learned):
    """Learns from explored episodes and their outcomes; two usable episodes are the least."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from the episodes without errors, sorted by content, so that the given order does not matter."""
        kept = usable(trajectories)
        figures: dict[str, float] = {}
        self._weights = {}
        if len(kept) >= 2:
            outcomes = torch.tensor([t.outcome for t in kept], dtype=torch.float32)
            self._weights, figures = self.learn(self.encode(kept), outcomes, self.rng())
        return {"episodes": float(len(kept)), **figures}

    @abstractmethod
    def learn(
        self, features: Sequence[Tensor], outcomes: Tensor, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Weights and figures, from features (T, D) and outcomes (N,) of at least two episodes."""


def usable(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Those with steps and without errors, sorted by content."""
    return sorted((t for t in trajectories if t.steps and t.error is None), key=episode_digest)


def exact(learned: list[Floats], group: Sequence[Trajectory]) -> list[Floats]:
    """Add the outcome minus the sum of the numbers to the last step, in place."""
    for numbers, trajectory in zip(learned, group, strict=True):
        numbers[-1:] += trajectory.outcome - numbers.sum()
    return learned


# Options: errors are one line that names the method, the option and the allowed values


def check_training(method: str, how: Training, *, holds_out: bool = True) -> Training:
    """`how` itself; raises UserError for invalid options."""
    for option in ("hidden", "epochs", "patience", "batch"):
        check_whole(method, option, getattr(how, option))
    check_number(method, "learning_rate", how.learning_rate, 0.0, 1.0)
    check_number(method, "weight_decay", how.weight_decay, 0.0)
    holdout = how.holdout
    if holds_out and not (isinstance(holdout, float) and 0 < holdout < 1):
        raise UserError(f"reward {method}: holdout={holdout!r}: use a number between 0 and 1")
    return how


def check_whole(method: str, option: str, value: object, least: int = 1) -> None:
    """Raises UserError unless the value is a whole number, `least` or above."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"reward {method}: {option}={value!r}: use a whole number, {least} or above")


def check_number(method: str, option: str, value: object, least: float = -math.inf, most: float = math.inf) -> None:
    """Raises UserError unless the value is a finite number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, float | int) or not least <= value <= most or math.isinf(value):
        limits = f", {least:g} or above" if math.isinf(most) else f", {least:g} to {most:g}"
        wanted = "a finite number" if math.isinf(least) else f"a number{limits}"
        raise UserError(f"reward {method}: {option}={value!r}: use {wanted}")


def check_switch(method: str, option: str, value: object) -> None:
    """Raises UserError unless the value is true or false."""
    if not isinstance(value, bool):
        raise UserError(f"reward {method}: {option}={value!r}: use true or false")
