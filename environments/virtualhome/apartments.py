"""Apartment files: one home and the tasks that start in it, one JSON object a line.

Separate from `tasks`, which knows which tasks there are: here is only how one is written down, official and generated
alike. The first line is the home as upstream's JSON (`nodes`, `edges`). Every other line is a task:

    {"task": name, "program": text of ActivityPrograms, "goal": EAI's list or null, "changes": ..., "final": ...}

`changes` says in what the home differs when the task begins, `final` in what the graph that upstream stored for the end
differs from that; null where nothing does, or where none is stored. Both hold `nodes` (whole, or the changed fields of
a node that is there), `edges`, and what is gone: `removed_nodes` (ids) and `removed_edges`. The official tasks all
start in one apartment whose states and small things vary: written so, 518 of them are a few megabytes instead of 380.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NoReturn

from spa_bench.core import UserError
from spa_bench.environments.virtualhome.goals import lost
from spa_bench.environments.virtualhome.graph import Edge, Graph, compile_graph, to_json

SUFFIX = ".jsonl"
_TASK = re.compile(rb'\{"task":"([\w.-]+)"')


@dataclass(frozen=True)
class Record:
    """A task as it is stored."""

    name: str
    program: str
    """Title, description, two blank lines, one script line a step."""
    goal: Any
    """EAI's list, not yet checked; None where upstream has none."""
    initial: Graph
    changes: Mapping[str, Any] | None
    final: Mapping[str, Any] | None
    """Changes that lead from the initial graph to the stored final one."""

    @property
    def sha256(self) -> str:
        """Of the content, however it is written down: home, goal, program and end."""
        rest = json.dumps([self.program, self.goal, self.final], sort_keys=True)
        return hashlib.sha256(f"{fingerprint(self.initial)}\n{rest}".encode()).hexdigest()


class Apartment:
    """One file, checked as far as it is read. Raises UserError, naming the line and `fix`, for all that is wrong."""

    def __init__(self, path: Path, *, strict: bool, known: frozenset[str] | None, fix: str) -> None:
        """`strict` and `known` are those of `compile_graph`."""
        self.path, self.fix = path, fix
        self._strict, self._known = strict, known
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}; {fix}") from None
        if not lines:
            self._fail("is empty")
        self._home = lines[0]
        self._lines: dict[str, bytes] = {}
        for number, line in enumerate(lines[1:], 2):
            match = _TASK.match(line)
            name = match[1].decode("utf-8", "replace") if match else None
            if name is None or name in self._lines:
                self._fail(f"has no task, or one that is there already, in line {number}")
            self._lines[name] = line

    @property
    def names(self) -> tuple[str, ...]:
        """Tasks in the order of the file."""
        return tuple(self._lines)

    @cached_property
    def home(self) -> dict[str, Any]:
        """The first line."""
        data = self._json(self._home, "line 1")
        if not isinstance(data, dict):
            self._fail("has no home in line 1")
        return data

    @cached_property
    def graph(self) -> Graph:
        """The home as it is for tasks without changes: one object for all of them."""
        return self._compile(self.home, "")

    def record(self, name: str) -> Record:
        """A task."""
        if name not in self._lines:
            self._fail(f"has no task {name!r}")
        data = self._json(self._lines[name], f"task {name}")
        changes, final, program = data.get("changes"), data.get("final"), data.get("program")
        if not isinstance(program, str):
            self._fail(f"has a task {name} without a program")
        initial = self.graph if changes is None else self._compile(self._changed(self.home, changes), f", task {name}")
        return Record(name, program, data.get("goal"), initial, changes, final)

    def final(self, record: Record) -> Graph:
        """The stored final graph of a task, which is the initial one where nothing changed or nothing is stored."""
        if record.final is None:
            return record.initial
        data = self._changed(to_json(record.initial), record.final)
        return self._compile(data, f", end of task {record.name}")

    def _compile(self, data: Mapping[str, Any], part: str) -> Graph:
        return compile_graph(data, f"{self.path}{part}", strict=self._strict, known=self._known)

    def _changed(self, home: Mapping[str, Any], changes: Any) -> dict[str, Any]:
        try:
            return changed(home, changes)
        except (TypeError, KeyError, AttributeError):
            self._fail("has changes that are no changes of a graph")

    def _json(self, line: bytes, what: str) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            self._fail(f"is torn or damaged: {what} is no JSON")

    def _fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.path} {what}; {self.fix}")


def write(path: Path, home: Graph, records: Iterable[Record]) -> None:
    """Write an apartment and its tasks, in this order; their changes are to that home."""
    with path.open("wb") as file:
        file.write(_line(to_json(home)))
        for record in records:
            file.write(
                _line(
                    {
                        "task": record.name,
                        "program": record.program,
                        "goal": record.goal,
                        "changes": record.changes,
                        "final": record.final,
                    }
                )
            )


def difference(old: Graph, new: Graph) -> dict[str, Any] | None:
    """Changes that make `new` of `old`, sorted; None where there are none."""
    nodes = []
    for i in new.nodes:
        known = _fields(old, i) if i in old.classes else {}
        fields = {key: value for key, value in _fields(new, i).items() if value != known.get(key)}
        if fields:
            nodes.append({"id": i, **fields})
    found = {
        "nodes": nodes,
        "removed_nodes": [i for i in old.nodes if i not in new.classes],
        "edges": [_edge(edge) for edge in sorted(lost(new, old))],
        "removed_edges": [_edge(edge) for edge in sorted(lost(old, new))],
    }
    return {key: value for key, value in found.items() if value} or None


def changed(home: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The home after the changes. Raises TypeError, KeyError or AttributeError where they are of another form."""
    nodes = {node["id"]: node for node in home["nodes"]}
    for node in changes.get("nodes", ()):
        nodes[node["id"]] = {**nodes.get(node["id"], {}), **node}
    for i in changes.get("removed_nodes", ()):
        del nodes[i]
    gone = {_key(edge) for edge in changes.get("removed_edges", ())}
    edges = [edge for edge in home["edges"] if _key(edge) not in gone] if gone else list(home["edges"])
    return {"nodes": list(nodes.values()), "edges": [*edges, *changes.get("edges", ())]}


@lru_cache(8)
def fingerprint(graph: Graph) -> str:
    """Hash of everything in a graph."""
    text = json.dumps(
        [
            [[i, graph.classes[i], graph.categories[i], *map(sorted, (graph.properties[i], graph.states[i]))]
             for i in graph.nodes],
            list(graph.edges()),
        ]
    )  # fmt: skip
    return hashlib.sha256(text.encode()).hexdigest()


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of every apartment in a folder, by name."""
    for path in sorted(root.glob(f"*{SUFFIX}")):
        yield path.name.removesuffix(SUFFIX), path


def _fields(graph: Graph, node: int) -> dict[str, Any]:
    return {
        "class_name": graph.classes[node],
        "category": graph.categories[node],
        "properties": sorted(graph.properties[node]),
        "states": sorted(graph.states[node]),
    }


def _line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def _edge(edge: Edge) -> dict[str, Any]:
    return {"from_id": edge[0], "relation_type": edge[1], "to_id": edge[2]}


def _key(edge: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return edge["from_id"], edge["relation_type"], edge["to_id"]
