"""The vocabulary of every experiment: task, step, trajectory, environment, agent.

This file runs nothing and imports no deep-learning library, so that an engine, a report or a third-party
reward can speak the language without loading torch. Read it first, then `spa_bench.method`; everything else is about
these types.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Fault = Literal["format", "inadmissible"]
"""Why a step is ungrounded: the text is no command of the world at all, or a command that is not possible now."""

Floats = NDArray[np.float64]

BUCKETS = ("short", "medium", "long")
"""Lengths of tasks, by the expert's steps; `TextEnv.buckets` has their limits."""


class UserError(Exception):
    """Something the user can mend. The message is one line that names the fix; the CLI prints it and exits with 2."""


@dataclass(frozen=True)
class Task:
    """One thing to be done in one world. Frozen, small and stable across machines."""

    env: str
    """Name of the world, as typed after `--env`."""
    key: str
    """Stable id: never an index, never a path of this machine."""
    split: str
    """`train`, `valid_seen` or `valid_unseen`."""
    kind: str
    """Stratum of the reports, such as `pick_and_place_simple`."""
    expert_steps: int
    """Steps of the searching expert on this task; fixes the length bucket before any agent has played."""


@dataclass(frozen=True)
class Tokens:
    """What went through a language model in one turn, exactly as sampled: training never re-tokenises text."""

    context: tuple[int, ...]
    """Ids fed before this reply and after the previous reply (the whole prompt where `restart`)."""
    reply: tuple[int, ...]
    """Sampled ids, the end-of-turn token included where the model wrote it."""
    logprobs: tuple[float, ...]
    """Log-probability of each id of `reply` under the sampling distribution."""
    restart: bool = False
    """True where `context` starts a new sequence instead of continuing the previous turn's."""

    def __post_init__(self) -> None:
        if len(self.reply) != len(self.logprobs):
            raise ValueError(f"{len(self.reply)} reply tokens but {len(self.logprobs)} log-probs")

    @property
    def size(self) -> int:
        """Tokens read and written."""
        return len(self.context) + len(self.reply)


@dataclass(frozen=True)
class Step:
    """One turn: what was seen, what was written, what it did."""

    observation: str
    """What the agent saw before it acted."""
    reply: str
    """What the agent wrote."""
    action: str
    """What was parsed from the reply and sent to the world; empty where nothing could be parsed."""
    grounded: bool
    """The grounding signal: the world executed the action."""
    fault: Fault | None
    """None if and only if `grounded`."""
    env_reward: float
    """The world's own reward for this step."""
    progress: float
    """The oracle's potential in [0, 1] after the step. Never shown to an agent."""
    tokens: Tokens | None = None
    expert_action: str | None = None
    """What the teacher would have done here; recorded for agents that ask for it."""
    admissible: Sequence[str] = field(default=(), compare=False, repr=False)
    """What the world would have executed, for agents whose prompt lists it (`Agent.lists`); never in a record."""
    state: str = field(default="", repr=False)
    """Digest of the world's true state before the step (`TextEnv.true_state`); empty where nobody asked for it."""
    menu: str = field(default="", repr=False)
    """Digest of what the world would have executed before the step; empty where nobody asked for it."""

    def __post_init__(self) -> None:
        if self.grounded != (self.fault is None):
            raise ValueError(f"grounded={self.grounded} contradicts fault={self.fault!r}")


@dataclass(frozen=True)
class Trajectory:
    """One finished episode. Rewards live beside it in arrays, so every method can price the same recording."""

    task: Task
    steps: tuple[Step, ...]
    outcome: float
    """The final reward R in [0, 1]."""
    success: bool
    """From the world's own goal test, never from `done`."""
    terminated: bool
    truncated: bool
    start_progress: float = 0.0
    """The oracle's potential before the first step."""
    final_observation: str = ""
    """What the last step led to."""
    goal: str = ""
    """What was to be done, in the world's words."""
    character: int = 0
    """Whose side this is, where several act at once: they share task, outcome and success."""
    branch: int = 0
    """So many first steps are another episode's, gone back to by a snapshot: its past, neither played nor counted."""
    error: str | None = None
    """What went wrong outside the agent's control; such an episode is counted, and taken out of every average."""
    final_state: str = field(default="", repr=False)
    """As `Step.state`, after the last step."""
    final_menu: str = field(default="", repr=False)
    """As `Step.menu`, after the last step."""

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def played(self) -> int:
        """Environment steps that were taken for this episode alone."""
        return len(self.steps) - self.branch

    def until(self, turn: int) -> Trajectory:
        """The episode before its step `turn` (0 to T), still under way; raises ValueError for any other number."""
        if not 0 <= turn <= len(self.steps):
            raise ValueError(f"turn {turn} of an episode of {len(self.steps)} steps")
        left, after = self.steps[:turn], self.steps[turn] if turn < len(self.steps) else None
        return replace(
            self,
            steps=left,
            outcome=float(sum(step.env_reward for step in left)),
            success=False,
            terminated=False,
            truncated=False,
            final_observation=after.observation if after else self.final_observation,
            branch=min(self.branch, turn),
            final_state=after.state if after else self.final_state,
            final_menu=after.menu if after else self.final_menu,
        )


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass
class Conversation:
    """One live episode as its agent sees it. The rollout appends; an agent only reads."""

    id: int
    """Unique among the conversations of one rollout: an agent keys its caches by it."""
    seed: int
    """Seed of this episode: all of an agent's chance comes from (seed, turn)."""
    messages: list[Message] = field(default_factory=list)
    admissible: Sequence[str] = ()
    """What the world would execute now. For scripted agents; a language model is not shown it."""
    expert_action: str | None = None
    """The teacher's next action; only filled in where the agent says `uses_expert`."""
    past: Sequence[Tokens] = ()
    """Tokens of the replies so far, where this goes on from the middle of another episode: what an agent that has not
    played the conversation itself begins with."""
    goal: str = ""
    """What is to be done, in the world's words."""

    @property
    def turn(self) -> int:
        """Number of replies so far."""
        return sum(message.role == "assistant" for message in self.messages)


@dataclass(frozen=True)
class Reply:
    """An agent's answer to one conversation."""

    text: str
    tokens: Tokens | None = None
    error: str | None = None
    """Why there is none, where that is outside the agent's control: the episode ends here, see `Trajectory.error`."""


class TextEnv(gym.Env[str, str], ABC):
    """A Gymnasium environment of text whose every step says whether the action was executed.

    `info` of `reset` and `step` always holds `task` (Task), `goal` (str: what is to be done, in the world's words),
    `grounded` (bool), `fault` (Fault | None), `admissible` (sequence of str, sorted), `success` (bool, from the world's
    own goal test) and `progress` (float in [0, 1]).

    `reset` takes the options `task` (a key) and `split`: with a key it begins that task, of `split` or of whichever
    split has it, alike whatever the seed; without one the seed draws a task of `split`, `train` unless named. It raises
    UserError for an unknown key, split or option. `step` takes any text; what is not executed changes nothing but costs
    a step. After `max_steps` of them an episode is truncated; after its end `step` raises gymnasium.error.ResetNeeded.
    The rewards of an episode add up to its outcome in [0, 1]. `spa_bench.check_world` tries all of it. For worlds of
    one's own there is `spa_bench.World`, a subclass in which most of this is done.
    """

    name: ClassVar[str]
    instructions: str
    """What an agent must know of the world's commands; the head of every prompt."""
    max_steps: int
    buckets: ClassVar[tuple[int, int]]
    """Expert steps up to the first number are `short`, up to the second `medium`, beyond it `long`."""
    characters: int = 1
    """How many act at once. With several, only `reset_all`, `step_all` and `expert_actions` begin and go on."""
    outcome: str = "1 for success, else 0"
    """What the rewards of an episode add up to, as tables explain it."""
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Section -> key -> value: defaults of `spa-bench run` that are this world's own. What a user sets wins."""
    evaluation_sets: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    """Name of an evaluation set of built-in tasks (`eval.set`) -> section -> key -> value that stand for it."""

    @property
    def protocol(self) -> str:
        """How the world is played, as tables show it: a name, and what a reader must know of it."""
        return "default"

    @property
    def content(self) -> str:
        """Digest of the data that the tasks are made of, wherever they lie; empty where their keys tell all.

        Starts are shared and runs are resumed only where it is the same.
        """
        return ""

    @abstractmethod
    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split, sorted by key. Raises UserError for an unknown split or missing games."""

    @abstractmethod
    def snapshot(self) -> Any:
        """The whole state of the running episode as an immutable value, cheap to take and to keep."""

    def true_state(self) -> object:
        """What of the snapshot decides how the world goes on, as texts, numbers, tuples, sets, mappings, dataclasses.

        Equal for equal states of one task, however they were reached: no text that was shown, no count of steps. It is
        for methods that group steps by state, and for audits; a world that defines none cannot be grouped so.
        """
        raise UserError(f"environment {self.name} does not say what its state is: define true_state in its class")

    @abstractmethod
    def restore(self, state: Any) -> tuple[str, dict[str, Any]]:
        """Go back to a snapshot, also one of another task or another instance; returns what `reset` returns."""

    @abstractmethod
    def expert_action(self) -> str:
        """The searching expert's next action; it only uses what the episode has shown so far."""

    def reset_all(self, *, seed: int, options: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """What `reset` returns, for each character."""
        return [self.reset(seed=seed, options=options)]

    def step_all(self, actions: Sequence[str]) -> list[tuple[str, SupportsFloat, bool, bool, dict[str, Any]]]:
        """All characters act at once; what `step` returns, for each of them."""
        (action,) = actions
        return [self.step(action)]

    def expert_actions(self) -> list[str]:
        """What `expert_action` returns, for each character."""
        return [self.expert_action()]

    @abstractmethod
    def text_sources(self) -> Sequence[str]:
        """Texts that hold every word of the world: a tokenizer can be trained on them without playing."""


class ReplyFormat(Protocol):
    """How an agent is asked, and how its reply is read."""

    @property
    def name(self) -> str:
        """As typed, such as `action` or `react`."""

    @property
    def lists(self) -> bool:
        """What works now is part of what is shown."""

    def system(self, instructions: str) -> str:
        """What an agent is told of the world and of the form of a reply."""

    def opening(self, instructions: str, observation: str) -> list[Message]:
        """The messages before the first reply."""

    def later(self, observation: str, goal: str, malformed: bool = False) -> str:
        """What an agent reads after a step; `malformed`: nothing could be parsed from its reply."""

    def views(
        self, messages: Sequence[Message], goal: str, admissible: Sequence[str], head: int
    ) -> Iterator[list[Message]]:
        """What of the conversation a reply is shown, and shorter forms of that; nothing where it is shown as it is."""

    def identity(self, instructions: str) -> str:
        """Everything that decides what an agent is told."""

    def render(self, action: str, thought: str = "") -> str:
        """A reply in this form."""

    def parse(self, reply: str) -> str:
        """The action for the world; empty where the reply has not the form. Never raises."""


class Agent(ABC):
    """Who acts. One call answers a batch of live conversations."""

    uses_expert: bool = False
    """The rollout fills in `Conversation.expert_action` before each call."""
    apart: bool = False
    """A reply depends on its own conversation alone, to the bit: an interrupted evaluation plays only what is missing,
    not the episodes beside it again."""
    lists: bool = False
    """The rollout records `Step.admissible`."""
    records: frozenset[str] = frozenset()
    """The rollout records these of `Step.state` and `Step.menu`, by their names."""

    def __init__(self, prompt: ReplyFormat) -> None:
        """`prompt`: the run's reply format, in which `act` answers."""
        self.prompt = prompt

    def opening(self, instructions: str, observation: str) -> list[Message]:
        """The messages before the first reply, without a system role: not every chat template has one."""
        return self.prompt.opening(instructions, observation)

    def later(self, observation: str, goal: str, malformed: bool = False) -> Message:
        """The message after each step; `malformed`: the reply held no action."""
        return Message("user", self.prompt.later(observation, goal, malformed))

    @abstractmethod
    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """One reply per conversation, in order. Chance comes from each conversation's own seed and turn."""

    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        """Id and reply of each conversation, as soon as there is one, in any order; ends when nothing is asked.

        The caller puts the next ones into `asked` while it iterates, the same conversation again after its reply. Here
        all that are waiting are answered at once by `act`, the replies are those of `act` in any case.
        """
        while asked:
            taken = list(asked)
            asked.clear()
            yield from zip([conversation.id for conversation in taken], self.act(taken), strict=True)

    def fork(self, families: Sequence[tuple[Conversation, Sequence[Conversation]]]) -> None:  # noqa: B027
        """Each first conversation is about to be answered in several ways, as the others: read what they share once."""

    def forget(self, ids: Sequence[int]) -> None:  # noqa: B027 - scripted agents keep nothing
        """These conversations are over: free what was kept for them."""

    def spent(self) -> dict[str, Any]:
        """What replies have cost since the last call, for the record of a run; empty where they are free."""
        return {}


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any printable parts; the same on every machine and under every PYTHONHASHSEED."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def bucket(expert_steps: int, limits: tuple[int, int]) -> str:
    """`short`, `medium` or `long`, by the expert's steps."""
    short, medium = limits
    return "short" if expert_steps <= short else "medium" if expert_steps <= medium else "long"


def __getattr__(name: str) -> object:
    """An error that says where to import what was here before `spa_bench.method`."""
    if name in ("RewardMethod", "Simulator", "Encoder", "Level", "MOST_REPLIES"):
        raise ImportError(f"spa_bench.core.{name} is in spa_bench.method now: from spa_bench.method import {name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
