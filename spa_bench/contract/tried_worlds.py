"""A world as its contract tests see it: instances whose calls are named, a few tasks, and what can be done in them.

States are reached by replay of actions from the start, so that a broken snapshot fails its own test alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from spa_bench.core import Task, TextEnv, UserError, derive_seed
from spa_bench.rollout.worlds import world_call

SPLITS = ("train", "valid_seen", "valid_unseen")
EACH = 2
"""Tasks of each split that are played."""


TOLD = ("task", "goal", "grounded", "fault", "success", "progress")
"""What `info` holds beside `admissible`."""


class Seen(NamedTuple):
    """What a world has told after one call."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]

    @property
    def over(self) -> bool:
        """The episode has ended."""
        return self.terminated or self.truncated

    @property
    def told(self) -> tuple[Any, ...]:
        """All of it that can be compared: what every world tells."""
        info = [self.info[key] for key in TOLD]
        return self.observation, self.reward, self.terminated, self.truncated, *info, *self.info["admissible"]


class Tried:
    """One instance of a world; what it raises is told with its name, the call and the task."""

    def __init__(self, env: TextEnv) -> None:
        self.env = env
        self.task: Task | None = None

    def call(self, what: str, *arguments: Any, **named: Any) -> Any:
        """Call a function of the world."""
        with world_call(self.env.name, what, self.task, code=type(self.env)):
            return getattr(self.env, what)(*arguments, **named)

    def begin(self, task: Task, actions: Sequence[str] = (), seed: int = 0) -> list[Seen]:
        """Begin a task and do these actions; what was told after each."""
        self.task = task
        first = self._seen("reset", seed=seed, options={"task": task.key, "split": task.split})
        return [first, *(self.step(action) for action in actions)]

    def step(self, action: str) -> Seen:
        """One action."""
        return self._seen("step", action)

    def restore(self, state: Any) -> Seen:
        """Go back to a snapshot."""
        return self._seen("restore", state)

    def _seen(self, what: str, *arguments: Any, **named: Any) -> Seen:
        """What a call tells; where a part of it is missing, that is an error of the world."""
        with world_call(self.env.name, what, self.task, code=type(self.env)):
            observation, *end, info = getattr(self.env, what)(*arguments, **named)
            reward, terminated, truncated = end or (0.0, False, False)
            if lacks := [key for key in (*TOLD, "admissible") if key not in info]:
                raise ValueError(f"info lacks {', '.join(lacks)}")
            return Seen(observation, float(reward), terminated, truncated, info)

    def expert(self, task: Task) -> tuple[list[str], list[Seen]]:
        """The expert's actions from the start to the end, and what they led to."""
        actions: list[str] = []
        seen = self.begin(task)
        while not seen[-1].over:
            actions.append(self.call("expert_action"))
            seen.append(self.step(actions[-1]))
        return actions, seen


class WorldTrial:
    """A world that is tried: makes instances, and knows a few tasks and what can be done in them."""

    def __init__(self, factory: Callable[[], TextEnv]) -> None:
        self.factory = factory

    def fresh(self) -> Tried:
        """Another instance."""
        code = self.factory if isinstance(self.factory, type) else None
        with world_call(code.__name__ if code else "that is tried", "its constructor", code=code):
            env = self.factory()
        if env.characters > 1:
            raise UserError("several characters act at once: a world is checked with one, set characters=1")
        return Tried(env)

    @cached_property
    def tasks(self) -> list[Task]:
        """Some of each split, chosen by their keys."""
        world, found = self.fresh(), []
        for split in SPLITS:
            tasks = sorted(world.call("tasks", split), key=lambda task: derive_seed("check", task.key))
            found += tasks[:EACH]
        return found

    @cached_property
    def walks(self) -> list[tuple[Task, list[str]]]:
        """For each task a few possible commands that are done one after the other."""
        found = []
        for task in self.tasks:
            rng, world = np.random.default_rng(derive_seed("walk", task.key)), self.fresh()
            seen, actions = world.begin(task), list[str]()
            while len(actions) < 5 and not seen[-1].over and (known := list(seen[-1].info["admissible"])):
                actions.append(known[int(rng.integers(len(known)))])
                seen.append(world.step(actions[-1]))
            found.append((task, actions))
        return found

    @cached_property
    def commands(self) -> list[str]:
        """Commands that are possible somewhere on the walks, some of them."""
        known: set[str] = set()
        for task, actions in self.walks:
            for seen in self.fresh().begin(task, actions):
                known |= set(seen.info["admissible"])
        return sorted(known, key=lambda text: derive_seed("command", text))[:12]

    def places(self) -> Iterator[tuple[Task, list[str], Seen]]:
        """States on the walks that are no ends, with the way there."""
        for task, actions in self.walks:
            for count, seen in enumerate(self.fresh().begin(task, actions)):
                if not seen.over and count % 2 == 0:
                    yield task, actions[:count], seen

    def leads_to(self, task: Task, actions: Sequence[str]) -> Seen:
        """What the last of the actions leads to, in a new instance."""
        return self.fresh().begin(task, actions)[-1]
