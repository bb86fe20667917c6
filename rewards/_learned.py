"""What methods share whose rewards come from a small network on hidden states: options, state, encoding.

Each method defines what its network learns, and how its numbers become rewards.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from spa_bench.core import Floats, Trajectory, derive_seed
from spa_bench.method import Backbone, RewardMethod
from spa_bench.rewards._clock import compared
from spa_bench.rewards._episode_digest import episode_digest
from spa_bench.rewards._network import TUNED, Parts, Read, Training, Weights, estimate, split


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
        if tuned := language_model(weights):
            # A loaded state lies on the CPU: moved here, and not for every episode.
            weights = self._weights = weights | with_language_model(self.network.place(tuned))
        # One trajectory at a time: the last bits of a matrix product depend on its neighbours in a batch.
        with torch.no_grad():
            return [estimate(weights, h).double().numpy() for h in self.encode_with(weights, group)]

    def encode(self, trajectories: Sequence[Trajectory]) -> list[Tensor]:
        """Hidden states (T, D) of each; raises RuntimeError without an encoder, ValueError where it is unusable."""
        if self.encoder is None:
            raise RuntimeError(f"{self.name} reads hidden states: set `encoder` before fit and rewards")
        features = [np.array(h, dtype=np.float32) for h in self.encoder(trajectories)] if trajectories else []
        return _refuse_unusable([torch.from_numpy(h) for h in features], trajectories, "encoder")

    def encode_with(self, weights: Weights, trajectories: Sequence[Trajectory]) -> list[Tensor]:
        """The same, by the tuned network where `weights` hold one, one trajectory at a time."""
        if not (tuned := language_model(weights)):
            return self.encode(trajectories)
        return [h for t in trajectories for h in self.encode_tuned(tuned, [t])]

    def encode_tuned(self, tuned: Weights, trajectories: Sequence[Trajectory]) -> list[Tensor]:
        """Hidden states by a network with these weights, with a gradient."""
        return _refuse_unusable(self.network.encode(tuned, trajectories), trajectories, "backbone")

    @property
    def network(self) -> Backbone:
        """The backbone; raises RuntimeError where it is not set."""
        if self.backbone is None:
            raise RuntimeError(f"{self.name} tunes a network: set `backbone` before fit and rewards")
        return self.backbone

    def rng(self, *purpose: object) -> torch.Generator:
        """A generator seeded by the method's seed, its name and the purpose."""
        return torch.Generator().manual_seed(derive_seed(self.seed, self.name, *purpose))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The network, the scale of its input and the tuned language model; empty before `fit`."""
        if self._weights is None:
            return {}
        return {"fitted": np.ones(1, dtype=np.int8)} | {k: v.cpu().numpy().copy() for k, v in self._weights.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave, to the bit."""
        arrays = {key: torch.from_numpy(np.array(array)) for key, array in state.items()}
        self._weights = arrays if arrays.pop("fitted", None) is not None else None


@dataclass(frozen=True)
class Explored:
    """Usable episodes to learn from, N of them; indices are those of `read`."""

    read: Read
    outcomes: Tensor
    """(N,)."""
    lengths: Tensor
    """(N,): turns."""
    parts: Parts
    tuned: Weights
    """The language model to begin with, where it is tuned."""


class FromOutcomes(Learned):
    """Learns from explored episodes and their outcomes; two usable episodes are the least."""

    tunes: bool = False
    """The language model is tuned together with the network."""
    chooses_epoch: ClassVar[bool] = True
    """Held-out tasks choose the epoch; otherwise the last one is kept."""
    sums: ClassVar[bool] = True
    """The numbers of an episode are contributions, which add up to the prediction; training starts from equal ones."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from the episodes without errors, sorted by content, so that the given order does not matter.

        Whole tasks are held out to choose the epoch, and others to measure the prediction of outcomes: figures of
        `_clock.compared`. `contribution_mean` and `contribution_sd` are of all steps, where `sums`.
        """
        kept = usable(trajectories)
        self._weights = {}
        if len(kept) < 2:
            return {"episodes": float(len(kept))}
        rng = self.rng()
        parts = split([t.task.key for t in kept], self.training.holdout, rng, choose=self.chooses_epoch)
        outcomes = torch.tensor([t.outcome for t in kept], dtype=torch.float32)
        lengths = torch.tensor([len(t) for t in kept])
        tuned = with_language_model(self.network.weights()) if self.tunes else {}
        explored = Explored(self._reader(kept), outcomes, lengths, parts, tuned)
        self._weights, epoch = self.learn(explored, rng)
        with torch.no_grad():
            read = [h for n in range(len(kept)) for h in explored.read(self._weights, torch.tensor([n]))]
            numbers = [estimate(self._weights, h).double().numpy() for h in read]
        predicted, steps = np.array([self.prediction(each) for each in numbers]), np.concatenate(numbers)
        figures = compared(
            predicted, outcomes.double().numpy(), lengths.double().numpy(),
            np.array([float(t.truncated) for t in kept]), parts,
        )  # fmt: skip
        spread = {"contribution_mean": float(steps.mean()), "contribution_sd": float(steps.std())} if self.sums else {}
        return {"episodes": float(len(kept)), "epoch": float(epoch), **figures, **spread}

    @abstractmethod
    def learn(self, explored: Explored, rng: torch.Generator) -> tuple[dict[str, Tensor], int]:
        """Weights and their epoch, from at least two episodes."""

    def prediction(self, numbers: Floats) -> float:
        """The outcome that the numbers (T,) of an episode predict: by default their sum."""
        return float(numbers.sum())

    def _reader(self, kept: Sequence[Trajectory]) -> Read:
        """Of a frozen network the hidden states are computed once."""
        if self.tunes:
            return lambda weights, part: self.encode_tuned(language_model(weights), [kept[i] for i in part])
        features = self.encode(kept)
        return lambda _, part: [features[i] for i in part]


def language_model(weights: Weights) -> dict[str, Tensor]:
    """The weights of the tuned language model, by their own names."""
    return {key.removeprefix(TUNED): weight for key, weight in weights.items() if key.startswith(TUNED)}


def with_language_model(tuned: Weights) -> dict[str, Tensor]:
    """The weights of a language model by the names that they have beside those of the network."""
    return {TUNED + name: weight for name, weight in tuned.items()}


def _refuse_unusable(features: list[Tensor], trajectories: Sequence[Trajectory], what: str) -> list[Tensor]:
    """The features themselves; ValueError unless they are finite (T, D)."""
    for h, trajectory in zip(features, trajectories, strict=True):
        if h.ndim != 2 or len(h) != len(trajectory) or not h.detach().isfinite().all():
            shape = tuple(h.shape)
            raise ValueError(f"{what}: {len(trajectory)} steps need finite ({len(trajectory)}, D), got {shape}")
    return features


def usable(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Those with steps and without errors, sorted by content."""
    return sorted((t for t in trajectories if t.steps and t.error is None), key=episode_digest)


def exact(learned: list[Floats], group: Sequence[Trajectory]) -> list[Floats]:
    """Add the outcome minus the sum of the numbers to the last step, in place."""
    for numbers, trajectory in zip(learned, group, strict=True):
        numbers[-1:] += trajectory.outcome - numbers.sum()
    return learned


# Options that several methods have

Hidden = Annotated[int, Field(ge=1, description="width of the network's one hidden layer; ours")]
Epochs = Annotated[int, Field(ge=1, description="most passes over the explored episodes; ours, held-out tasks choose")]
Patience = Annotated[int, Field(ge=1, description="passes without a better held-out error that end the training; ours")]
Rate = Annotated[float, Field(ge=0, le=1, description="learning rate of Adam; ours")]
Decay = Annotated[float, Field(ge=0, description="decoupled weight decay of Adam; SPA's script: 0.01")]
Batch = Annotated[int, Field(ge=1, description="episodes per optimiser step; ours")]
Holdout = Annotated[
    float,
    Field(gt=0, lt=1, description="share of the tasks held out to choose the epoch, and as many to measure it; ours"),
]
