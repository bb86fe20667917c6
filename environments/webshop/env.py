"""WebShop as a Gymnasium environment of text: `gymnasium.make("spa_bench:WebShop-v0")`.

Separate from the engine because all that is about episodes is here: which task, how many steps, what an agent is
told, what is measured. The engine is the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from gymnasium.error import ResetNeeded
from pydantic import Field

from spa_bench.core import Fault, Task, UserError
from spa_bench.declared import declared
from spa_bench.environments.arguments import (
    DataFolder,
    Difficulty,
    HeldOutTasks,
    RenderMode,
    Seed,
    StepLimit,
    TaskSource,
    larger_sets,
)
from spa_bench.environments.text import AnyText, Portable, choose, spoken
from spa_bench.environments.webshop import corpus, generate, protocols, verify, words
from spa_bench.environments.webshop.engine import Engine, State, TextKind
from spa_bench.environments.webshop.expert import Expert
from spa_bench.environments.webshop.goals import Goal, Kind
from spa_bench.environments.webshop.oracle import Oracle
from spa_bench.environments.webshop.reward import Score
from spa_bench.environments.webshop.tasks import Assortment, Wanted, assortment
from spa_bench.files import data_folder

MAX_OBSERVATION = 1 << 22
MAX_ACTION = 1 << 22


class Turn(NamedTuple):
    """One thing that happened; the first one of an episode is its beginning, with no action."""

    action: str
    executed: bool
    observation: str
    """In the form that the expert reads, whatever the agent is shown."""
    clickables: tuple[str, ...]
    """What could be clicked after it."""


class Snapshot(NamedTuple):
    """A running episode as an immutable value; it holds the goal, so any instance of one shop can go on from it."""

    task: Task
    goal: Goal
    state: State
    history: tuple[Turn, ...]
    fault: Fault | None
    over: bool


class WebShop(Portable):
    """A shop in text: search, compare, choose options, buy. Observations and actions are upstream's.

    The reward comes with the purchase, 0 to 1, and `success` is reward 1: everything asked for was bought. `info` has,
    beyond what every `TextEnv` gives, `remaining`: the fewest steps to the best reward that can still be reached, and
    `score`: the purchase's reward with its components, None before it.

    `admissible` are the clicks that do something, and on the search page one search, for the instruction itself; any
    other words may be searched, on every page.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it
    name = "webshop"
    outcome = "reward of the purchase"
    buckets = (4, 6)
    reopened = ("assortment", "_engine", "_oracle")
    _engine: Engine | None = None
    _oracle: Oracle | None = None
    evaluation_sets = larger_sets(products=1300, held_out="products")
    """Its shop has 300 products more than the default: 500 are asked for in held-out goals alone."""
    settings = {  # noqa: RUF012 - as the class above declares it
        "warm_start": {"episodes": 2400},
        "ppo": {"iterations": 5, "env_steps": 900, "learning_rate": 3e-4},
    }
    """A page of results is five times as long as an observation of ALFWorld: fewer steps take the same time, and with
    so few in a minibatch the common rate is too high: a KL of 1.2 in the fourth iteration, 26 % success after 30."""

    @declared("environment webshop")
    def __init__(
        self,
        *,
        tasks: TaskSource = "builtin",
        data: DataFolder = None,
        protocol: Annotated[str, Field(description=f"how it is played: {', '.join(protocols.PROTOCOLS)}")] = "default",
        indices: Annotated[str | None, Field(description="folder of the protocol's lists; default: in `data`")] = None,
        goals: Annotated[Kind | None, Field(description="who wrote the instructions; default: human")] = None,
        max_steps: StepLimit = None,
        observation: Annotated[TextKind | None, Field(description="form of a page; default: text")] = None,
        attributes_button: Annotated[bool, Field(description="pages have upstream's button Attributes")] = False,
        price_seed: Annotated[int, Field(ge=0, description="seed of the price limits; upstream's choice")] = 0,
        seed: Seed = 0,
        difficulty: Difficulty = "default",
        products: Annotated[int, Field(ge=1, description="built-in products that somebody is sent out for")] = 1000,
        valid: HeldOutTasks = 100,
        held_out: Annotated[
            Literal["goals", "products"],
            Field(description="built-in: held-out goals are drawn one by one, or all those of a product together"),
        ] = "goals",
        render_mode: RenderMode = None,
    ) -> None:
        """`data` is the folder of a built catalogue (default: the data cache).

        `protocol` is one of `protocols.PROTOCOLS`, in place of whose `goals`, `max_steps` and `observation` no others
        can be asked for; `indices` is the folder of its lists (default: `indices/<protocol>` in `data`). Ours has human
        goals, in text, and 15 steps.

        `goals`, `observation`, `attributes_button` and `price_seed` are upstream's choices (`goals.goals`, `Engine`).
        For built-in tasks, `seed`, `difficulty` and `products` go to `generate.ensure`, and `valid` is the size of the
        test and of the development split; in the latter, goals of products that the former has are left out. A large
        `valid` would leave none to train on: with `held_out="products"` the goals of a product stay together, and the
        development split has 100 at most.
        """
        self._rules = protocols.find(protocol)
        goals, self.max_steps, self._text = self._rules.settle(goals, max_steps, observation)
        self.render_mode = render_mode
        self.observation_space = AnyText(MAX_OBSERVATION, ["Instruction:"])
        self.action_space = AnyText(MAX_ACTION, words.EXAMPLES)
        self.instructions = words.instructions()
        self._wanted = Wanted(goals=goals, price_seed=price_seed)
        if tasks == "builtin":
            together = held_out == "products"
            limits = (valid, valid + min(valid, 100) if together else 2 * valid)
            self._wanted = replace(self._wanted, limits=limits, built_in=goals == "human", together=together)
        self._data = (data or data_folder(self.name)) if tasks == "official" else None
        self._generator: dict[str, Any] = {"seed": seed, "products": products, "difficulty": difficulty}
        self._attributes_button = attributes_button
        self._lists = self._find_lists(indices)
        self._task = Task(self.name, "", "", "", 0)
        self._history: tuple[Turn, ...] = ()
        self._fault: Fault | None = None
        self._over = True
        self._expert: tuple[Expert, int, Turn] | None = None

    @cached_property
    def assortment(self) -> Assortment:
        """The goals, opened at first use; instances with the same arguments share it."""
        folder = generate.ensure(**self._generator) / generate.CATALOGUE if self._data is None else self._data
        return assortment(folder, self._rules.divided(self._wanted, self._lists))

    @property
    def protocol(self) -> str:
        """What tables say of how this was played: the protocol, and what is not as published."""
        notes = [self._rules.label]
        if self._lists is not None and not self._rules.published(self._lists):
            notes.append(protocols.UNPUBLISHED)
        if self._data is not None and not self.assortment.catalogue.exact_nouns:
            notes.append(protocols.APPROXIMATE)
        return "; ".join(notes)

    @property
    def content(self) -> str:
        """Digest of the catalogue and of which of its goals are in which split."""
        return self.assortment.digest

    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split, sorted by key. Raises UserError for an unknown or empty split, or without data."""
        return self.assortment.tasks(split)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin the task `options["task"]` (a key) of `options["split"]`; without a task, the seed chooses one.

        The split is `train` unless named, or the one that has the key.
        """
        super().reset(seed=seed)
        task = choose(self.assortment, options, self.np_random)
        goal = self.assortment.goals[task.key]
        engine = self._make(goal)
        engine.reset()
        self._begin(Snapshot(task, goal, engine.state, (_turn("", engine),), None, False), engine)
        return engine.observation, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Do what the text says; any text is taken, and what upstream ignores changes nothing but costs a step.

        The reward is that of the purchase, else 0, unless the protocol has another rule. Raises ResetNeeded when there
        is no running episode.
        """
        engine = self._running()
        if self._over:
            raise ResetNeeded("the episode is over: call reset() or restore() before the next step()")
        spoken(action)
        engine.step(action)
        self._fault = None if engine.executed else words.fault(action)
        self._history = (*self._history, _turn(action, engine))
        truncated = not engine.done and len(self._history) > self.max_steps
        self._over = engine.done or truncated
        return engine.observation, self._reward(engine, truncated), engine.done, truncated, self._info()

    def render(self) -> str | None:
        """The last observation, in render mode `ansi`."""
        return self._engine.observation if self.render_mode == "ansi" and self._engine else None

    def snapshot(self) -> Snapshot:
        """The running or finished episode; costs no copy."""
        engine = self._running()
        return Snapshot(self._task, engine.goal, engine.state, self._history, self._fault, self._over)

    def true_state(self) -> State:
        """The page, and what was searched, opened and chosen on the way to it, as far as it still counts."""
        return self._running().state

    def restore(self, state: Snapshot) -> tuple[str, dict[str, Any]]:
        """Go on from a snapshot, of any instance with the same shop.

        Steps already taken count; this instance's `max_steps` holds.
        """
        engine = self._engine
        if engine is None or engine.goal is not state.goal:
            engine = self._make(state.goal)
        engine.restore(state.state)
        self._begin(state, engine)
        return engine.observation, self._info()

    def expert_action(self) -> str:
        """The searching expert's next action, a function of the visible history alone.

        The expert is led through the part of the history that it has not seen: an environment whose expert is never
        asked pays nothing for it.
        """
        engine = self._running()
        expert, seen = self._informed(engine.goal)
        for turn in self._history[seen:]:
            expert.observe(turn.action, turn.executed, turn.observation, turn.clickables)
        self._expert = (expert, len(self._history), self._history[-1])
        return expert.act()

    def text_sources(self) -> Sequence[str]:
        """Instructions, and expert and random episodes of some train tasks; the same on every machine."""
        return corpus.texts(self.assortment, self._make)

    def _make(self, goal: Goal) -> Engine:
        engine = protocols.Worded(self.assortment.shop, goal, self._text, self._attributes_button)
        engine.wording = self._rules.wording
        return engine

    def _reward(self, engine: Engine, truncated: bool) -> float:
        if truncated and self._rules.timeout_credit:
            return protocols.timeout_credit(engine)
        total = engine.score.total if engine.score else 0.0
        return float(total == 1.0) if self._rules.all_or_nothing else total

    def _find_lists(self, indices: str | None) -> Path | None:
        if not self._rules.lists:
            if indices is not None:
                raise UserError(f"protocol {self._rules.name} has no lists of positions: leave indices out")
            return None
        if indices is not None:
            return Path(indices)
        return None if self._data is None else Path(self._data) / verify.LISTS / self._rules.name

    def _begin(self, episode: Snapshot, engine: Engine) -> None:
        if self._oracle is None or self._oracle.goal is not episode.goal:
            self._oracle = Oracle(self.assortment.shop, episode.goal)
        self._engine = engine
        self._task = episode.task
        self._history = episode.history
        self._fault = episode.fault
        self._over = episode.over

    def _running(self) -> Engine:
        if self._engine is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._engine

    def _informed(self, goal: Goal) -> tuple[Expert, int]:
        """An expert that has seen a beginning of the history, and how many turns of it."""
        if self._expert is not None:
            expert, seen, last = self._expert
            # a turn belongs to one past only, so the same object at the same place means the same beginning
            if seen <= len(self._history) and self._history[seen - 1] is last:
                return expert, seen
        return Expert(goal.text, built_in=self._wanted.built_in), 1

    def _info(self) -> dict[str, Any]:
        engine = self._running()
        assert self._oracle is not None  # made with the engine
        now = self._oracle.prospect(engine.state)
        score: Score | None = engine.score
        return {
            "task": self._task,
            "goal": engine.goal.text,
            "grounded": self._fault is None,
            "fault": self._fault,
            "admissible": _admissible(engine),
            "success": score is not None and score.total == 1.0,
            "progress": self._oracle.progress(now),
            "remaining": now.steps,
            "score": score,
        }


def _turn(action: str, engine: Engine) -> Turn:
    return Turn(action, engine.executed, engine.plain, engine.clickables)


def _admissible(engine: Engine) -> tuple[str, ...]:
    """Actions of which every one is executed, sorted."""
    search = [f"search[{engine.goal.text}]"] if engine.state.page == "search" else []
    actions = [*search, *(f"click[{text}]" for text in engine.clickables)]
    return tuple(sorted(action for action in actions if engine.executes(action)))
