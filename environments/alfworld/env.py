"""ALFWorld as a Gymnasium environment of text: `gymnasium.make("spa_bench:ALFWorld-v0")`.

Separate from the engine because all that is about episodes is here: which task, how many steps, what an agent is
told, what is measured. The engine is the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from gymnasium.error import ResetNeeded
from pydantic import Field

from spa_bench.core import Fault, Task
from spa_bench.declared import declared
from spa_bench.environments.alfworld import corpus, generate, words
from spa_bench.environments.alfworld.engine import Engine, Game, State
from spa_bench.environments.alfworld.expert import Expert
from spa_bench.environments.alfworld.game import TextVersion
from spa_bench.environments.alfworld.oracle import remaining
from spa_bench.environments.alfworld.tasks import Games, folder, official
from spa_bench.environments.arguments import (
    DataFolder,
    Difficulty,
    HeldOutTasks,
    RenderMode,
    Seed,
    StepLimit,
    TaskSource,
    TrainTasks,
    larger_sets,
)
from spa_bench.environments.text import AnyText, Portable, choose, spoken
from spa_bench.files import data_folder

MAX_STEPS = {"official": 50, "builtin": 20}
"""Episode limits: ALFWorld's own (SPA: 40), and twice what most of the smaller built-in tasks take the expert."""
MAX_OBSERVATION = 1 << 16
MAX_ACTION = 1 << 22


class Turn(NamedTuple):
    """One thing that happened; the first one of an episode is its beginning, with no action."""

    action: str
    observation: str
    admissible: tuple[str, ...]
    """What could be done after it."""


class Snapshot(NamedTuple):
    """A running episode as an immutable value; it holds the game, so any instance can go on from it."""

    task: Task
    game: Game
    state: State
    history: tuple[Turn, ...]
    start_remaining: int
    fault: Fault | None
    over: bool


class ALFWorld(Portable):
    """Households in text, six kinds of task. Observations and commands are upstream's, byte for byte.

    `info` has, beyond what every `TextEnv` gives, `remaining`: the fewest steps in which the task can still be done, or
    `oracle.LOST` where it cannot.

    `progress` is 1 - remaining / (2 * remaining at the start), not below 0: 0.5 at the start and 1 when won. It starts
    in the middle because a potential that starts at 0 could not fall, and a step that undoes something must cost.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it
    name = "alfworld"
    buckets = (7, 10)
    evaluation_sets = larger_sets()
    reopened = ("games", "_engine")
    _engine: Engine | None = None

    @declared("environment alfworld")
    def __init__(
        self,
        *,
        tasks: TaskSource = "builtin",
        data: DataFolder = None,
        text: Annotated[TextVersion, Field(description="wording of a release; auto: that of the first game")] = "auto",
        max_steps: StepLimit = None,
        observation: Annotated[
            Literal["raw", "short"], Field(description="short: without the welcome and `You arrive at`, as in ReAct")
        ] = "raw",
        seed: Seed = 0,
        difficulty: Difficulty = "default",
        train: TrainTasks = 4000,
        valid: HeldOutTasks = 100,
        render_mode: RenderMode = None,
    ) -> None:
        """`data` is a folder of official games (default: the data cache).

        `text` forces the wording of a release, whatever the files say. `observation="short"` drops the welcome and
        `You arrive at loc N. `, as ReAct's prompts do. For built-in tasks, `seed`, `difficulty`, `train` and `valid`
        go to `generate.ensure`.
        """
        self.max_steps = MAX_STEPS[tasks] if max_steps is None else max_steps
        self.render_mode = render_mode
        self.text: TextVersion = text
        self.short = observation == "short"
        self.observation_space = AnyText(MAX_OBSERVATION, ["Nothing happens."])
        self.action_space = AnyText(MAX_ACTION, words.EXAMPLES)
        self._data = (data or data_folder(self.name)) if tasks == "official" else None
        self._generator: dict[str, Any] = {"seed": seed, "difficulty": difficulty, "train": train, "valid": valid}
        self._task = Task(self.name, "", "", "", 0)
        self._history: tuple[Turn, ...] = ()
        self._start_remaining = 0
        self._fault: Fault | None = None
        self._over = True
        self._expert: tuple[Expert, int, Turn] | None = None

    @cached_property
    def games(self) -> Games:
        """The set of games, opened at first use; instances with the same arguments share it."""
        return folder(generate.ensure(**self._generator)) if self._data is None else official(self._data)

    @cached_property
    def wording(self) -> TextVersion:
        """The text version of all episodes: the forced one, else that of the set's first game.

        One for the whole set, so that no folder of mixed releases is trained on in one wording and tested in another.
        """
        return self.games.wording() if self.text == "auto" else self.text

    @cached_property
    def instructions(self) -> str:  # type: ignore[override]  # an attribute that is known once the games are
        """What an agent must know of the commands, in the wording of all episodes."""
        return words.instructions(self.wording)

    @property
    def content(self) -> str:
        """Digest of the games and of their wording."""
        return self.games.digest(self.wording)

    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split, sorted by key. Raises UserError for an unknown split or missing games."""
        return self.games.tasks(split)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin the task `options["task"]` (a key) of `options["split"]`; without a task, the seed chooses one.

        The split is `train` unless named, or the one that has the key.
        """
        super().reset(seed=seed)
        task = choose(self.games, options, self.np_random)
        game = self.games.load(task, self.wording)
        engine = Engine(game)
        first = Turn("", engine.reset(), engine.admissible)
        self._begin(
            Snapshot(task, game, engine.state, (first,), remaining(game, engine.state), None, engine.won), engine
        )
        return self._shown(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute a command; any text is taken, and what is no admissible command changes nothing but costs a step.

        The reward is 1 when the goal is reached, else 0. Raises ResetNeeded when there is no running episode.
        """
        engine = self._running()
        if self._over:
            raise ResetNeeded("the episode is over: call reset() or restore() before the next step()")
        spoken(action)
        observation = engine.step(action)
        self._fault = None if engine.last_executed else words.fault(action, engine.game.text_version)
        self._history = (*self._history, Turn(action, observation, engine.admissible))
        terminated = engine.won
        truncated = not terminated and len(self._history) > self.max_steps
        self._over = terminated or truncated
        return self._shown(), float(terminated), terminated, truncated, self._info()

    def render(self) -> str | None:
        """The last observation, in render mode `ansi`."""
        return self._shown() if self.render_mode == "ansi" and self._engine else None

    def snapshot(self) -> Snapshot:
        """The running or finished episode; costs no copy."""
        engine = self._running()
        return Snapshot(
            self._task, engine.game, engine.state, self._history, self._start_remaining, self._fault, self._over
        )

    def true_state(self) -> State:
        """Where the agent is, what is where, and what has been done to it."""
        return self._running().state

    def restore(self, state: Snapshot) -> tuple[str, dict[str, Any]]:
        """Go on from a snapshot, of any instance with the same wording.

        Steps already taken count; this instance's `max_steps` holds.
        """
        engine = self._engine
        if engine is None or engine.game is not state.game:
            engine = Engine(state.game)
        engine.restore(state.state)
        self._begin(state, engine)
        return self._shown(), self._info()

    def expert_action(self) -> str:
        """The searching expert's next command, a function of the visible history alone.

        The expert is led through the part of the history that it has not seen: an environment whose expert is never
        asked pays nothing for it.
        """
        self._running()
        expert, seen = self._informed()
        for before, turn in pairwise(self._history[seen - 1 :]):
            expert.act(before.admissible)  # asked at every turn, as in its own episodes: it notes what was refused
            expert.observe(turn.action, turn.observation)
        self._expert = (expert, len(self._history), self._history[-1])
        return expert.copy().act(self._history[-1].admissible)

    def text_sources(self) -> Sequence[str]:
        """Instructions, and expert and random episodes of some train tasks; the same on every machine."""
        return corpus.texts(self.games, self.wording)

    def _begin(self, episode: Snapshot, engine: Engine) -> None:
        self._engine = engine
        self._task = episode.task
        self._history = episode.history
        self._start_remaining = episode.start_remaining
        self._fault = episode.fault
        self._over = episode.over

    def _running(self) -> Engine:
        if self._engine is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._engine

    def _informed(self) -> tuple[Expert, int]:
        """An expert that has seen a beginning of the history, and how many turns of it."""
        if self._expert is not None:
            expert, seen, last = self._expert
            # a turn belongs to one past only, so the same object at the same place means the same beginning
            if seen <= len(self._history) and self._history[seen - 1] is last:
                return expert, seen
        return Expert(self._history[0].observation), 1

    def _shown(self) -> str:
        text = self._history[-1].observation
        return words.shorten(text, first=len(self._history) == 1) if self.short else text

    def _info(self) -> dict[str, Any]:
        engine = self._running()
        left = remaining(engine.game, engine.state)
        return {
            "task": self._task,
            "goal": words.goal(self._history[0].observation),
            "grounded": self._fault is None,
            "fault": self._fault,
            "admissible": engine.admissible,
            "success": engine.won,
            "progress": max(0.0, 1 - left / (2 * self._start_remaining)) if self._start_remaining else 1.0,
            "remaining": left,
        }
