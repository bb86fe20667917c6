"""A small world: a subclass says what its states are and what can be done in each, and all else of `TextEnv` is here.

For worlds of one's own; the three built-in ones have engines. States are values that never change, so a snapshot is the
state, and copies and other instances cannot disturb each other. docs/worlds.md goes through one.
"""

from __future__ import annotations

import inspect
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from gymnasium.error import ResetNeeded

from spa_bench.core import Fault, Task, UserError, derive_seed
from spa_bench.declared import declared
from spa_bench.environments.arguments import HeldOutTasks, RenderMode, Seed, StepLimit, TrainTasks
from spa_bench.environments.text import AnyText, Portable, choose

State = TypeVar("State", bound=Hashable)

MAX_TEXT = 1 << 20
"""Characters of an observation and of an action."""
MOST_STATES = 100_000
"""States that can be reached from one start, at most."""
MOST_DRAWS = 50
"""Draws for each task that is asked for: beyond that there are too few different starts."""
SHOWN = 200
"""Train tasks whose expert episodes are texts for a tokenizer."""


class Turn(NamedTuple):
    """One thing that happened; the first one of an episode is its beginning, with no action."""

    action: str
    page: str
    """What was shown after it."""


@dataclass(frozen=True)
class Episode(Generic[State]):
    """A running episode as an immutable value."""

    task: Task
    start: State
    state: State
    past: tuple[Turn, ...]
    fault: Fault | None = None
    over: bool = False


@dataclass
class Shared(Generic[State]):
    """What all instances of a world with the same options have in common."""

    tasks: dict[str, dict[str, tuple[Task, State]]] = field(default_factory=dict)
    """Split -> key -> task and its start."""
    explored: set[State] = field(default_factory=set)
    """States whose distance is known, or that have no way to the goal."""
    distances: dict[State, int] = field(default_factory=dict)
    """State -> fewest steps to the goal."""


class World(Portable, Generic[State]):
    """A deterministic world: `draw`, `goal`, `page`, `moves` and `won` are all that a subclass must define.

    States are hashable values: numbers, texts, tuples, frozen dataclasses of these. `moves` makes new ones. Where a
    page does not show all of a state, `expert` must be defined too, from the pages alone.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it
    max_steps: int = 20
    buckets: ClassVar[tuple[int, int]] = (4, 8)
    commands: ClassVar[str]
    """Regular expression of every command of this world, possible now or not; all other text is a fault of format."""
    refusal: ClassVar[str] = "Nothing happens."
    """What is shown after a text that does nothing."""
    sizes: ClassVar[tuple[int, int]] = (1000, 100)
    """Train tasks, and tasks of each of the two held-out splits, where no other numbers are asked for."""
    _shared: ClassVar[dict[str, Shared[Any]]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._shared = {}
        _, *own = inspect.signature(cls.__init__).parameters.values()
        cls.__signature__ = inspect.Signature(own)  # else callers would be shown that of `__new__`

    def __new__(cls, *given: Any, **options: Any) -> Self:
        """Notes the arguments: instances that have the same share their tasks."""
        world = super().__new__(cls)
        world._given = ascii((given, sorted(options.items())))
        return world

    @declared("a world")
    def __init__(
        self,
        *,
        max_steps: StepLimit = None,
        seed: Seed = 0,
        train: TrainTasks | None = None,
        valid: HeldOutTasks | None = None,
        render_mode: RenderMode = None,
    ) -> None:
        """Tasks are drawn from `seed`: `train` of them for training, and `valid` for each held-out split."""
        self.max_steps = type(self).max_steps if max_steps is None else max_steps
        self.seed, self.render_mode = seed, render_mode
        self.train, self.valid = (
            usual if n is None else n for n, usual in zip((train, valid), self.sizes, strict=True)
        )
        self.observation_space = AnyText(MAX_TEXT, [self.refusal])
        self.action_space = AnyText(MAX_TEXT, ["", self.refusal])
        self._given: str
        self._now: Episode[State] | None = None

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> State:
        """The start of a task; all chance comes from `rng`.

        A start that is won already, or that the expert does not win, is no task, and another one is drawn.
        """

    @abstractmethod
    def goal(self, state: State) -> str:
        """What is to be done, of a start."""

    @abstractmethod
    def page(self, state: State) -> str:
        """What an agent sees."""

    @abstractmethod
    def moves(self, state: State) -> Mapping[str, State]:
        """All commands that are possible now, and what each leads to."""

    @abstractmethod
    def won(self, state: State) -> bool:
        """The goal is reached."""

    def ends(self, state: State) -> bool:
        """Nothing more can be done: where the goal is reached, unless a world can also be lost."""
        return self.won(state)

    def score(self, state: State) -> float:
        """The reward, in [0, 1], that is paid when an episode ends here; 1 for success."""
        return float(self.won(state))

    def kind(self, state: State) -> str:
        """Stratum of the reports, of a start."""
        return self.name

    def after(self, state: State, action: str) -> State | None:
        """What any text leads to; None where it does nothing. For worlds with more commands than `moves` can list."""
        return self.moves(state).get(action)

    def remaining(self, state: State) -> int | None:
        """The fewest steps to the goal, by search through all states; None where there is no way."""
        return self._distances(state).get(state)

    def expert(self, state: State, past: Sequence[Turn]) -> str:
        """The expert's next command: by default that of a shortest way.

        Where a page does not show all of a state it must be defined, as a function of `past` alone.
        """
        left, moves = self.remaining(state), self.moves(state)
        nearer = [command for command, there in moves.items() if left and self.remaining(there) == left - 1]
        return min(nearer or moves, default="")

    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split, sorted by key. Raises UserError for an unknown split."""
        return tuple(task for task, _ in self._of(split).values())

    def find(self, key: str, split: str | None = None) -> Task:
        """The task of a key, in `split` or in whichever split has it; UserError where there is none."""
        return self._found(key, split)[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """As `TextEnv.reset`."""
        super().reset(seed=seed)
        task = choose(self, options, self.np_random)
        start = self._found(task.key, task.split)[1]
        self._now = Episode(task, start, start, (self._first(start),))
        return self._shown(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """As `TextEnv.step`: any text is taken; one that does nothing costs a step."""
        now = self._running()
        if now.over:
            raise ResetNeeded("the episode is over: call reset() or restore() before the next step()")
        state, turn, fault = self._stepped(now.state, action)
        terminated = self.ends(state)
        truncated = not terminated and len(now.past) >= self.max_steps
        over = terminated or truncated
        self._now = Episode(now.task, now.start, state, (*now.past, turn), fault, over)
        return self._shown(), float(self.score(state)) if over else 0.0, terminated, truncated, self._info()

    def render(self) -> str | None:
        """The last page, in render mode `ansi`."""
        return self._shown() if self.render_mode == "ansi" and self._now else None

    def snapshot(self) -> Episode[State]:
        """The running or finished episode; costs no copy."""
        return self._running()

    def true_state(self) -> State:
        """The state."""
        return self._running().state

    def restore(self, state: Episode[State]) -> tuple[str, dict[str, Any]]:
        """Go on from a snapshot of any instance; this instance's `max_steps` holds."""
        self._now = state
        return self._shown(), self._info()

    def expert_action(self) -> str:
        """The expert's next command."""
        now = self._running()
        return self.expert(now.state, now.past)

    def text_sources(self) -> Sequence[str]:
        """Instructions, and expert episodes of some train tasks with all commands that are possible meanwhile."""
        texts = [self.instructions, self.refusal]
        for _, start in list(self._of("train").values())[:SHOWN]:
            state, past = start, [self._first(start)]
            while not self.ends(state) and len(past) <= self.max_steps:
                texts += sorted(self.moves(state))
                state, turn, _ = self._stepped(state, self.expert(state, past))
                past.append(turn)
            texts += [turn.page for turn in past]
        return texts

    def _first(self, start: State) -> Turn:
        return Turn("", f"{self.page(start)}\nYour task is to: {self.goal(start)}")

    def _stepped(self, state: State, action: str) -> tuple[State, Turn, Fault | None]:
        after = self.after(state, action)
        if after is not None:
            return after, Turn(action, self.page(after)), None
        return state, Turn(action, self.refusal), "inadmissible" if re.fullmatch(self.commands, action) else "format"

    def _running(self) -> Episode[State]:
        if self._now is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._now

    def _shown(self) -> str:
        return self._running().past[-1].page

    def _info(self) -> dict[str, Any]:
        now = self._running()
        return {
            "task": now.task,
            "goal": self.goal(now.start),
            "grounded": now.fault is None,
            "fault": now.fault,
            "admissible": tuple(sorted(self.moves(now.state))),
            "success": self.won(now.state),
            "progress": self._progress(now),
        }

    def _progress(self, now: Episode[State]) -> float:
        """1 - remaining / (2 * remaining at the start), not below 0: a step that undoes something costs."""
        first, left = self.remaining(now.start), self.remaining(now.state)
        return 1.0 if self.won(now.state) else max(0.0, 1 - left / (2 * first)) if left and first else 0.0

    @property
    def _common(self) -> Shared[State]:
        return self._shared.setdefault(self._given, Shared())

    def _of(self, split: str) -> dict[str, tuple[Task, State]]:
        made = self._common.tasks
        if not made:
            made |= self._drawn()
        if split not in made:
            raise UserError(f"unknown split {split!r}: use {' or '.join(sorted(made))}")
        return made[split]

    def _found(self, key: str, split: str | None) -> tuple[Task, State]:
        for name in ("train", "valid_seen", "valid_unseen") if split is None else (split,):
            if key in self._of(name):
                return self._of(name)[key]
        raise UserError(f"no task {key!r}" + (f" in split {split}" if split else ""))

    def _drawn(self) -> dict[str, dict[str, tuple[Task, State]]]:
        """Held-out tasks first, so that they are the same however many there are to train on; no start comes twice."""
        seen: set[State] = set()
        made, number = {}, 0
        for split, size in (("valid_unseen", self.valid), ("valid_seen", self.valid), ("train", self.train)):
            found: dict[str, tuple[Task, State]] = {}
            last = number + MOST_DRAWS * size
            while len(found) < size and number < last:
                start = self.draw(np.random.default_rng(derive_seed(self.name, self.seed, number)))
                steps = None if start in seen else self._solved(start)
                if steps:
                    seen.add(start)
                    key = f"{self.kind(start)}-{self.seed}-{number:06d}"
                    found[key] = Task(self.name, key, split, self.kind(start), steps), start
                number += 1
            if len(found) < size:
                raise UserError(
                    f"environment {self.name}: {len(found)} of {size} {split} tasks in {MOST_DRAWS * size} draws, the "
                    "others are double, won at the start or not won by the expert: ask for fewer with train and valid"
                )
            made[split] = dict(sorted(found.items()))
        return made

    def _solved(self, start: State) -> int | None:
        """Steps that the expert takes, however short an episode is asked for; None where it does not succeed."""
        state, past = start, [self._first(start)]
        while not self.ends(state):
            if len(past) > type(self).max_steps:
                return None
            state, turn, _ = self._stepped(state, self.expert(state, past))
            past.append(turn)
        return len(past) - 1 if self.won(state) else None

    def _distances(self, start: State) -> dict[State, int]:
        """State -> fewest steps to the goal, of all that can be reached from `start`, where there is a way.

        All of them are found at once, by search from the goals backwards, and shared by all instances.
        """
        known = self._common.distances
        if start in self._common.explored:
            return known
        before: dict[State, list[State]] = {start: []}
        queue, goals = deque([start]), list[State]()
        while queue:
            here = queue.popleft()
            if self.won(here):
                goals.append(here)
            for there in self.moves(here).values() if not self.ends(here) else ():
                if there not in before:
                    before[there] = []
                    queue.append(there)
                before[there].append(here)
            if len(before) > MOST_STATES:
                raise UserError(
                    f"environment {self.name}: more than {MOST_STATES:,} states: define remaining() and expert()"
                )
        found, queue = dict.fromkeys(goals, 0), deque(goals)
        while queue:
            there = queue.popleft()
            for here in before[there]:
                if here not in found:
                    found[here] = found[there] + 1
                    queue.append(here)
        known |= found
        self._common.explored.update(before)
        return known
