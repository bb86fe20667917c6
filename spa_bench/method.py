"""`RewardMethod`, the base class of every reward method, and what the experiment gives to it.

Not in `core`, because the default advantages need `credit`, which imports `core`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spa_bench import credit
from spa_bench.core import Floats, Task, Trajectory

Level = Literal["turn", "token"]
"""The unit of decision to which advantages are assigned: a whole reply, or each of its tokens."""

MOST_REPLIES = 64
"""Most replies that are tried in one state, so that an error in a method does not fill the memory."""

Demonstrator = Callable[[Sequence[Task]], "list[list[Trajectory]]"]
"""What the world's expert does in each of these tasks from its start, without slips: for each task one episode per
character, without tokens. It only uses what it has been shown, and so may search."""

Encoder = Callable[[Sequence[Trajectory]], "list[NDArray[np.float32]]"]
"""Frozen warm-start backbone: one array (T, D) per trajectory, the last hidden state at each turn's end."""


class Backbone(Protocol):
    """The warm start's network as a function of its weights, for methods that tune a copy; the policy's own stay.

    Weights and hidden states are tensors of torch, which this module does not load.
    """

    learning_rate: float
    """That of the warm start (`warm_start.learning_rate`): a scale for the method's own."""

    def weights(self, *, head: bool = False) -> dict[str, Any]:
        """A copy of the warm start's weights, by name; under LoRA of a new adapter's.

        The output layer, which `logprobs` reads, is among them with `head`, or where it is the input's; else it stays.
        """

    def place(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The weights on the network's device: `encode` moves those that lie elsewhere at every call.

        A state that was loaded lies on the CPU.
        """

    def encode(self, weights: Mapping[str, Any], trajectories: Sequence[Trajectory]) -> list[Any]:
        """As `Encoder`, by a network with these weights: (T, D) each, on the CPU, with a gradient to them."""

    def logprobs(self, weights: Mapping[str, Any], trajectories: Sequence[Trajectory]) -> list[Any]:
        """Log-probability of each reply's tokens in all under these weights: (T,) each, as `encode`."""


class Simulator(Protocol):
    """Continues recorded episodes from the middle, with the current policy."""

    def __call__(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        """`samples` whole episodes for each prefix (from `Trajectory.until`); their `branch` is its length.

        With `steps`, at most so many are played beyond the prefix, and an episode that would go on is left neither
        terminated nor truncated. Randomness depends on `seed` and each prefix alone. Raises ValueError for a prefix
        that is over.
        """


class Hindsight(Protocol):
    """Asks the current policy how likely its replies are once it knows more than it did."""

    def __call__(self, trajectories: Sequence[Trajectory], hints: Sequence[str]) -> list[Floats]:
        """Mean log-probability of a token of each reply, (T,) for each trajectory.

        The policy reads the episode again, with the text of `hints` after the first observation.
        """


class RewardMethod(ABC):
    """Assigns a reward to every step. A method must define `rewards`; the trainer knows no method by name.

    Constructor arguments are the method's options: keyword-only, typed, with defaults whose source is quoted.
    """

    conserves_return: ClassVar[bool] = False
    """The step rewards of every trajectory add up to its outcome."""
    uses_experts: ClassVar[bool] = False
    """`fit` needs expert trajectories: extra information, which the table of results names."""
    uses_oracle: ClassVar[bool] = False
    """`rewards` reads the oracle's progress, which exists in benchmarks only; the table of results names it."""
    uses_critic: ClassVar[bool] = True
    """`advantages` reads the value estimates."""
    placebo: ClassVar[Literal["", "chance", "floor"]] = ""
    """A baseline that every method must beat: random credit, or a rule that looks at a step's position only."""
    updates_between_steps: ClassVar[bool] = False
    """The policy is updated on steps while their episodes are under way (only for methods that define `branch`)."""
    level: ClassVar[Level] = "turn"
    """The unit of decision unless the configuration sets `ppo.level`."""
    kl_in_reward: ClassVar[bool] = False
    """The KL penalty is part of the reward (token by token) instead of the loss."""

    records: frozenset[str] = frozenset()
    """What of the world is recorded with each step for this method, set in `__init__`: `state`, `menu` (of `Step`)."""
    our_form: str = ""
    """Where the reward or the advantage is another than in the paper that the method is named after, in one line;
    tables, pages, figures and audits say it with "our form". The class has that of the default options, with which the
    card's Deviations begin; an instance, set in `__init__`, that of its own. What the trainer does alike for every
    method is not counted; what each method chooses is, so also where it has its KL penalty (`kl_in_reward`)."""
    seed: int = 0
    """Set by the experiment before anything else is called; all randomness of the method comes from it."""
    encoder: Encoder | None = None
    """Set by the experiment for methods that read hidden states."""
    backbone: Backbone | None = None
    """Set by the experiment for methods that tune a copy of the warm start; what it reads is counted."""
    simulator: Simulator | None = None
    """Set by the experiment for methods that continue episodes from the middle; its steps and tokens are counted."""
    hindsight: Hindsight | None = None
    """Set by the experiment for methods that read episodes again, knowing more; what it reads is counted."""
    demonstrator: Demonstrator | None = None
    """Set by the experiment for methods with `uses_experts` that ask what the expert does in the tasks at hand; its
    steps are counted."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from explored trajectories, once, before training; returns figures for the log.

        `experts` are successful demonstrations, with tokens; none unless the class says `uses_experts`.
        """
        return {}

    def branch(self, state: Trajectory) -> int:
        """Number of replies to try in this state, while an episode is played; `state` is the episode so far.

        0 cuts the episode off, 1 goes on (the default). With more, up to `MOST_REPLIES`, each reply is executed from an
        environment snapshot; the episode goes on with the reply whose step has the highest reward, and returns to the
        others, best first, when it is over.
        """
        return 1

    def observe(self, trajectories: Sequence[Trajectory]) -> None:  # noqa: B027 - most methods have no statistics
        """See freshly collected trajectories before rewards are assigned to them (online statistics)."""

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
        """Restore what `state_dict` returned."""
