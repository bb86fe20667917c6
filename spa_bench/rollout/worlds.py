"""Calls into a world. What goes wrong there, an exception, a wrong number or no answer in time, is a `WorldError`.

A game whose world fails begins again in another world, once, with the same task and seed; where that fails too, its
episodes end there with an error, which is counted, and taken out of every average. Other games go on.
"""

from __future__ import annotations

from typing import Any

from spa_bench import registry
from spa_bench.core import Task, TextEnv, UserError
from spa_bench.method_errors import plug_in_call

TRIES = 2
"""How often a game is begun."""

MOST_HANGS = 10
"""Calls that may not return in time: with more a run would wait for hours and learn nothing."""


class WorldError(UserError):
    """A world raised an error, gave a number that is none, or did not return. The message names the world."""


class WorldHangs(UserError):
    """Too many calls of a world did not return in time."""


LIMIT_OF_RESET = ("its constructor", "tasks", "reset", "restore", "close")
"""The other calls have the limit of a step. Tasks are made when they are first asked for, thousands of them."""


class world_call(plug_in_call):
    """`plug_in_call` for the world `name`; raises a `WorldError`."""

    raised = WorldError
    place = ""

    def __init__(self, name: str, call: str, task: Task | None = None, *, code: type | None = None) -> None:
        # One for each step: names are put together where something fails.
        self.what, self.call, self.task, self.code = name, call, task, code
        self.kind = "reset" if call in LIMIT_OF_RESET else "step"

    def name(self) -> str:
        """World, function and task."""
        return f"environment {self.what}: {self.call}" + (f" of task {self.task.key}" if self.task else "")


def make(name: str, **options: Any) -> TextEnv:
    """The world of that name or file, made with these options; what its constructor raises is a WorldError."""
    kind = registry.find("environments", name)
    with world_call(name, "its constructor", code=kind):
        return registry.build("environments", name, **options)


def ask(env: TextEnv, what: str, *arguments: Any, **named: Any) -> Any:
    """An attribute of a world, or what its function returns; an error there is a WorldError."""
    with world_call(env.name, what, code=type(env)):
        found = getattr(env, what)
        return found(*arguments, **named) if callable(found) else found
