"""Programs as ActivityPrograms writes them: a title, a description, and one line `[WALK] <table> (1.226)` a step.

Of the two numbers of an object only the second is used: it is the id of the node that the recorded replay took.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spa_bench.core import UserError
from spa_bench.environments.virtualhome.engine import ARITY

ALIASES = {"LOOKAT_MEDIUM": "LOOKAT"}
"""Upstream's second names of actions."""

_LINE = re.compile(r"\[(\w+)\]((?:\s*<[^<>]+>\s*\([0-9.]+\))*)\s*(?:\[\d+\])?")
_OBJECT = re.compile(r"<([^<>]+)>\s*\((?:\d+\.)?(\d{1,15})\)")


@dataclass(frozen=True)
class Line:
    """One step of a program."""

    action: str
    objects: tuple[tuple[str, int], ...]
    """Name and id of each."""
    index: int
    """From 1, as upstream counts in its messages."""

    @property
    def ids(self) -> tuple[int, ...]:
        """What the engine takes as objects."""
        return tuple(node for _, node in self.objects)

    @property
    def names(self) -> tuple[str, ...]:
        """What the engine takes as names."""
        return tuple(name for name, _ in self.objects)

    def __str__(self) -> str:
        return " ".join([f"[{self.action}]", *(f"<{name}> ({node})" for name, node in self.objects)])


@dataclass(frozen=True)
class Script:
    """A program."""

    title: str
    description: str
    lines: tuple[Line, ...]


def parse_script(text: str) -> Script:
    """Read a program. Raises UserError with the number of the line that is no step that can be executed."""
    head: list[str] = []
    lines: list[Line] = []
    for number, row in enumerate(text.splitlines(), start=1):
        row = row.strip()
        if row.startswith("["):
            lines.append(_line(row, number, len(lines) + 1))
        elif row and lines:
            raise UserError(f"line {number} of the program is no step: write `[ACTION] <name> (id)`, not {row!r:.60}")
        elif row:
            head.append(row)
    if not lines:
        raise UserError("the program has no step: write one line `[ACTION] <name> (id)` a step")
    return Script(head[0] if head else "", " ".join(head[1:]), tuple(lines))


def _line(row: str, number: int, index: int) -> Line:
    found = _LINE.fullmatch(row)
    objects = _OBJECT.findall(found[2]) if found else []
    if found is None or len(objects) != found[2].count("<"):
        raise UserError(f"line {number} of the program is no step: write `[ACTION] <name> (id)`, not {row!r:.60}")
    action = found[1].upper()
    action = ALIASES.get(action, action)
    if action not in ARITY:
        raise UserError(f"line {number} of the program has the action {action:.30}: use one of {', '.join(ARITY)}")
    if len(objects) != ARITY[action]:
        raise UserError(f"line {number} of the program: {action} takes {ARITY[action]} objects, not {len(objects)}")
    named = tuple((name.lower().replace(" ", "_"), int(node)) for name, node in objects)
    return Line(action, named, index)
