"""What a reward method is: the class that a method's file derives from, and what the experiment hands to it.

Apart from the vocabulary, because a method's usual advantages need `credit`, which stands on the vocabulary itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spa_bench import credit
from spa_bench.core import Floats, Trajectory

Level = Literal["turn", "token"]
"""What one decision is when credit is spread: a whole reply, or each of its tokens."""

MOST_REPLIES = 64
"""Tried in one state at most: a slip in a method shall not fill the memory."""

Encoder = Callable[[Sequence[Trajectory]], "list[NDArray[np.float32]]"]
"""Frozen warm-start backbone: one array (T, D) per trajectory, the last hidden state at each turn's end."""


class Simulator(Protocol):
    """The policy of the moment, played on from the middle of recorded episodes."""

    def __call__(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        """`samples` whole episodes for each prefix (what `Trajectory.until` gives); its length is their `branch`.

        With `steps`, no more than so many are played beyond the prefix, and an episode that would go on is left
        neither terminated nor truncated. Chance comes from `seed` and each prefix alone. Raises ValueError for a
        prefix that is over.
        """


class RewardMethod(ABC):
    """What a step is worth. `rewards` is all that a method must write; the trainer knows no method by name.

    Constructor arguments are the method's configuration: keyword-only, typed, with defaults whose source is quoted.
    """

    conserves_return: ClassVar[bool] = False
    """The step rewards of every trajectory add up to its outcome."""
    uses_experts: ClassVar[bool] = False
    """`fit` needs expert trajectories: an information budget that the table names."""
    uses_oracle: ClassVar[bool] = False
    """`rewards` reads the oracle's progress, which no agent outside a benchmark has; the table names it."""
    uses_critic: ClassVar[bool] = True
    """`advantages` reads the value estimates."""
    placebo: ClassVar[Literal["", "chance", "floor"]] = ""
    """What a method must beat: credit drawn by lot, or by a rule that looks at nothing but a step's place."""
    updates_between_steps: ClassVar[bool] = False
    """The policy learns from steps while their episodes are under way (only for methods that write `branch`)."""
    level: ClassVar[Level] = "turn"
    """The decision that credit is spread over unless the configuration says otherwise."""
    kl_in_reward: ClassVar[bool] = False
    """The KL penalty is part of the reward (token by token) instead of the loss."""

    seed: int = 0
    """Set by the experiment before anything else is called; every chance of the method comes from it."""
    encoder: Encoder | None = None
    """Set by the experiment for methods that read hidden states."""
    simulator: Simulator | None = None
    """Set by the experiment for methods that play on from the middle of an episode; what they spend is counted."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from explored trajectories, once, before training; returns figures for the log.

        `experts` are successful demonstrations, with tokens; none unless the class says `uses_experts`.
        """
        return {}

    def branch(self, state: Trajectory) -> int:
        """How many replies are tried from here, while an episode is played; `state` is what happened so far.

        0 cuts the episode off, 1 goes on (the default). With more, up to `MOST_REPLIES`, each reply is executed from a
        snapshot of the world; the episode goes on with the one whose step `rewards` pays most, and comes back to the
        others, best first, when it is over.
        """
        return 1

    def observe(self, trajectories: Sequence[Trajectory]) -> None:  # noqa: B027 - most methods have no statistics
        """See freshly collected trajectories before they are priced (online statistics)."""

    @abstractmethod
    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """One finite number per step, one array (T,) per trajectory; `group` shares one task."""

    def advantages(
        self, group: Sequence[Trajectory], rewards: Sequence[Floats], values: Sequence[Floats], gamma: float, lam: float
    ) -> list[tuple[Floats, Floats]]:
        """(advantages, returns) over the decisions of each trajectory; GAE unless a method overrides it.

        `rewards[i]` has one entry per decision (N,), turns or tokens, from the step `branch` of the trajectory on;
        `values[i]` is (N + 1,): the critic before each decision and, last, after the final one (0 where the episode
        terminated). Returns are the critic's targets.
        """
        return [credit.gae(r, v, gamma, lam) for r, v in zip(rewards, values, strict=True)]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything learned, as arrays: saved with each checkpoint as safetensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027 - most methods have no state
        """Take back what `state_dict` gave."""
