"""The home as a graph: objects with states, rooms, characters, and the relations between them, compiled once.

Separate from the engine because every episode, every search and every copy of a world shares one `Graph`, which
never changes. The JSON is upstream's (`EnvironmentGraph`), so official scenes and generated ones are read alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NoReturn, Protocol

from spa_bench.core import UserError

RELATIONS = ("ON", "INSIDE", "BETWEEN", "CLOSE", "FACING", "HOLDS_RH", "HOLDS_LH", "SITTING")
STATES = frozenset({"CLOSED", "OPEN", "ON", "OFF", "SITTING", "DIRTY", "CLEAN", "LYING", "PLUGGED_IN", "PLUGGED_OUT"})
PROPERTIES = frozenset(
    {
        *("SURFACES", "GRABBABLE", "SITTABLE", "LIEABLE", "HANGABLE", "DRINKABLE", "EATABLE", "RECIPIENT", "CUTTABLE"),
        *("POURABLE", "CAN_OPEN", "HAS_SWITCH", "READABLE", "LOOKABLE", "CONTAINERS", "CLOTHES", "PERSON", "BODY_PART"),
        *("COVER_OBJECT", "HAS_PLUG", "HAS_PAPER", "MOVABLE", "CREAM"),
    }
)
ROOM = "Rooms"
"""The category of rooms."""
CHARACTER = "character"
"""The class of those who act."""
LARGEST = 2**53
"""Ids are below this: what every reader of JSON agrees on."""
NOBODY: frozenset[int] = frozenset()

Edge = tuple[int, str, int]
"""(from, relation, to)."""


@dataclass(frozen=True)
class Graph:
    """A home before anything is done in it. Build it with `compile_graph`; it is never changed: a copy is itself."""

    nodes: tuple[int, ...]
    """Ids, ascending."""
    classes: Mapping[int, str]
    categories: Mapping[int, str]
    properties: Mapping[int, frozenset[str]]
    states: Mapping[int, frozenset[str]]
    rooms: frozenset[int]
    characters: tuple[int, ...]
    """Ascending; upstream's character index is the position here."""
    body_parts: tuple[int, ...]
    out: Mapping[str, Mapping[int, frozenset[int]]]
    """Relation -> node -> where its edges lead; nodes without an edge are absent."""
    into: Mapping[str, Mapping[int, frozenset[int]]]
    """Relation -> node -> where its edges come from."""
    containers: Mapping[int, tuple[int, ...]]
    """What each node is inside of, in the order of the file; nodes that are inside nothing are absent."""
    looped: frozenset[int]
    """Nodes on or between cycles of INSIDE, such as the curtains of real scenes that are inside each other."""
    aliases: Mapping[str, frozenset[str]]
    """Name in scripts -> classes it may stand for, beside the class of that name."""

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Graph) and self.__reduce__() == other.__reduce__())

    @cached_property
    def _hash(self) -> int:
        """Graphs are keys of caches at every step; the tasks of an apartment differ in states and in few edges."""
        return hash((frozenset(self.states.items()), *(frozenset(self.out[r].items()) for r in RELATIONS)))

    def __hash__(self) -> int:
        return self._hash

    def __deepcopy__(self, memo: object) -> Graph:
        return self

    def __reduce__(self) -> tuple[type[Graph], tuple[Any, ...]]:
        """Without what was worked out from it: hashes of texts are others in each process."""
        return Graph, tuple(getattr(self, field.name) for field in fields(self))

    def edges(self) -> Iterator[Edge]:
        """All edges, ascending."""
        for node in self.nodes:
            for relation in sorted(RELATIONS):
                for to in sorted(self.out[relation].get(node, NOBODY)):
                    yield node, relation, to


class Home(Protocol):
    """A graph in some state, such as a `World`."""

    @property
    def graph(self) -> Graph:
        """What it was compiled from."""

    def states(self, node: int) -> frozenset[str]:
        """States of a node now."""

    def edges(self) -> Iterator[Edge]:
        """Edges now, ascending."""


def compile_graph(
    data: Mapping[str, Any],
    where: str,
    *,
    strict: bool = False,
    known: Collection[str] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> Graph:
    """Check and compile upstream's JSON; `where` names it in errors.

    INSIDE cycles and things in two rooms occur in the official graphs and are accepted, unless `strict`; so are
    classes outside `known`. `aliases` is upstream's class_name_equivalence. Raises UserError for every other fault:
    a wrong type, a missing key, a repeated id, an unknown relation, state or property, an edge to nowhere, no room,
    no character, or a character in no room.
    """
    check = _Checker(where)
    nodes = check.items(data, "nodes")
    edges = check.items(data, "edges")
    ids = check.ids(nodes)
    by_id = {i: node for i, node in zip(ids, nodes, strict=True)}
    classes = {i: check.text(by_id[i], "class_name", i) for i in sorted(by_id)}
    categories = {i: check.category(by_id[i], i) for i in classes}
    out, into = _relations(check, edges, classes)
    rooms = frozenset(i for i in classes if categories[i] == ROOM)
    properties = {i: check.words(by_id[i], "properties", PROPERTIES, i) for i in classes}
    graph = Graph(
        nodes=tuple(classes),
        classes=classes,
        categories=categories,
        properties=properties,
        states={i: check.words(by_id[i], "states", STATES, i) for i in classes},
        rooms=rooms,
        characters=tuple(i for i, name in classes.items() if name == CHARACTER),
        body_parts=tuple(i for i, has in properties.items() if "BODY_PART" in has),
        out=out,
        into=into,
        containers=_containers(edges),
        looped=_looped(out["INSIDE"], into["INSIDE"]),
        aliases={name: frozenset(others) for name, others in (aliases or {}).items()},
    )
    _inhabited(check, graph)
    if strict:
        _orderly(check, graph, known)
    return graph


def room_of(node: int, rooms: frozenset[int], containers: Callable[[int], frozenset[int]]) -> int | None:
    """The room of a node: one that it is directly inside of, or, where it is inside one thing, the room of that.

    Ties go to rooms, then to the smallest id. Upstream follows a cycle for ever; here it is no room.
    """
    inside = containers(node)
    if node in rooms or len(inside) > 1:
        return node if node in rooms else min(inside & rooms, default=None)
    seen = set[int]()
    while inside and node not in seen:
        seen.add(node)
        node = min(inside & rooms or inside)
        if node in rooms:
            return node
        inside = containers(node)
    return None


def to_json(home: Graph | Home) -> dict[str, Any]:
    """Upstream's JSON of a graph or of a world as it is now; equal states give equal, sorted output."""
    graph = home if isinstance(home, Graph) else home.graph
    states = home.states.__getitem__ if isinstance(home, Graph) else home.states
    nodes = [
        {
            "id": i,
            "class_name": graph.classes[i],
            "category": graph.categories[i] or None,
            "properties": sorted(graph.properties[i]),
            "states": sorted(states(i)),
        }
        for i in graph.nodes
    ]
    edges = [{"from_id": a, "relation_type": relation, "to_id": b} for a, relation, b in home.edges()]
    return {"nodes": nodes, "edges": edges}


def with_character(data: Mapping[str, Any], room_id: int, new_id: int | None = None) -> dict[str, Any]:
    """The same graph with one more character, who stands in that room and is close to nothing.

    Characters are numbered by id, so the default of one more than the largest id makes the new one the last.
    Raises UserError where there is no such room or where the id is taken.
    """
    check = _Checker("the graph")
    nodes = check.items(data, "nodes")
    categories = {i: check.category(node, i) for i, node in zip(check.ids(nodes), nodes, strict=True)}
    if categories.get(room_id) != ROOM:
        rooms = sorted(i for i in categories if categories[i] == ROOM)
        check.fail(f"has no room {_shown(room_id)}", f"choose one of {rooms}")
    chosen = max(categories) + 1 if new_id is None else new_id
    if chosen in categories:
        check.fail(f"already has a node {chosen}", "choose another id for the new character")
    node = {"id": chosen, "class_name": CHARACTER, "category": "Characters", "properties": [], "states": []}
    edge = {"from_id": chosen, "relation_type": "INSIDE", "to_id": room_id}
    return {**data, "nodes": [*nodes, node], "edges": [*check.items(data, "edges"), edge]}


def _relations(
    check: _Checker, edges: Sequence[Mapping[str, Any]], classes: Mapping[int, str]
) -> tuple[dict[str, dict[int, frozenset[int]]], dict[str, dict[int, frozenset[int]]]]:
    out: dict[str, dict[int, set[int]]] = {relation: {} for relation in RELATIONS}
    into: dict[str, dict[int, set[int]]] = {relation: {} for relation in RELATIONS}
    for edge in edges:
        a, relation, b = check.edge(edge, classes)
        out[relation].setdefault(a, set()).add(b)
        into[relation].setdefault(b, set()).add(a)
    return _frozen(out), _frozen(into)


def _containers(edges: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, ...]]:
    found: dict[int, dict[int, None]] = {}
    for edge in edges:
        if edge["relation_type"].upper() == "INSIDE":
            found.setdefault(edge["from_id"], {})[edge["to_id"]] = None
    return {node: tuple(around) for node, around in found.items()}


def _frozen(edges: Mapping[str, Mapping[int, set[int]]]) -> dict[str, dict[int, frozenset[int]]]:
    return {relation: {i: frozenset(to) for i, to in of.items()} for relation, of in edges.items()}


def _looped(out: Mapping[int, frozenset[int]], into: Mapping[int, frozenset[int]]) -> frozenset[int]:
    """What is left when everything without a container, or without contents, is taken away again and again."""
    left = _trimmed(set(out), out, into)
    return frozenset(_trimmed(left, into, out))


def _trimmed(nodes: set[int], along: Mapping[int, frozenset[int]], against: Mapping[int, frozenset[int]]) -> set[int]:
    """The nodes from which the edges `along` can be followed for ever within `nodes`."""
    degree = {i: len(along.get(i, NOBODY) & nodes) for i in nodes}
    todo = [i for i in nodes if not degree[i]]
    for i in todo:
        for j in against.get(i, NOBODY) & nodes:
            degree[j] -= 1
            if not degree[j]:
                todo.append(j)
    return nodes.difference(todo)


def _inhabited(check: _Checker, graph: Graph) -> None:
    if not graph.rooms:
        check.fail("has no room", f"give a node the category {ROOM!r}")
    if not graph.characters:
        check.fail("has no character", f"give a node the class {CHARACTER!r}")
    for character in graph.characters:
        if room_of(character, graph.rooms, lambda node: graph.out["INSIDE"].get(node, NOBODY)) is None:
            check.fail(f"has character {character} in no room", "add an edge INSIDE a room")


def _orderly(check: _Checker, graph: Graph, known: Collection[str] | None) -> None:
    """What a scene of our own must keep to."""
    if graph.looped:
        check.fail(f"has a cycle of INSIDE through node {min(graph.looped)}")
    for node, inside in graph.out["INSIDE"].items():
        if len(inside & graph.rooms) > 1:
            check.fail(f"has node {node} in {len(inside & graph.rooms)} rooms")
    for node, name in graph.classes.items():
        if known is not None and name not in known:
            check.fail(f"has node {node} of the unknown class {name!r}")


def _shown(value: object) -> str:
    """Whatever was found in JSON, short enough for one line."""
    text = repr(value) if isinstance(value, (str, bool, float, type(None))) else ""
    if isinstance(value, int) and abs(value) < LARGEST:
        text = str(value)
    return f"{text:.60}" or f"a {type(value).__name__}"


class _Checker:
    """Reads JSON that may be anything, and says where it is wrong."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, what: str, fix: str = "mend it or take another graph") -> NoReturn:
        raise UserError(f"{self.where} {what}: {fix}")

    def items(self, data: Any, key: str) -> list[Mapping[str, Any]]:
        if not isinstance(data, Mapping) or not isinstance(data.get(key), list):
            self.fail(f"is no graph, which is a JSON object with a list {key!r}")
        for item in data[key]:
            if not isinstance(item, Mapping):
                self.fail(f"has {_shown(item)} among its {key}, where a JSON object is expected")
        return list(data[key])

    def ids(self, nodes: Sequence[Mapping[str, Any]]) -> list[int]:
        for node in nodes:
            if type(node.get("id")) is not int or not 0 <= node["id"] < LARGEST:
                self.fail(f"has a node whose 'id' is {_shown(node.get('id'))} and no small whole number")
        found = [node["id"] for node in nodes]
        for repeated, times in Counter(found).items():
            if times > 1:
                self.fail(f"has {times} nodes with id {repeated}")
        return found

    def text(self, item: Mapping[str, Any], key: str, node: int) -> str:
        value = item.get(key)
        if not isinstance(value, str) or not value or not value.isprintable():
            self.fail(f"has a node {node} whose {key!r} is {_shown(value)} and no printable text")
        return value

    def category(self, item: Mapping[str, Any], node: int) -> str:
        """Upstream's own scripts add nodes without a category."""
        return "" if item.get("category") is None else self.text(item, "category", node)

    def words(self, item: Mapping[str, Any], key: str, allowed: frozenset[str], node: int) -> frozenset[str]:
        value = item.get(key)
        if not isinstance(value, list):
            self.fail(f"has a node {node} without a list {key!r}")
        for word in value:
            if not isinstance(word, str) or word.upper() not in allowed:
                self.fail(f"has a node {node} with {_shown(word)} among its {key}, which is none of {sorted(allowed)}")
        return frozenset(word.upper() for word in value)

    def edge(self, edge: Mapping[str, Any], nodes: Mapping[int, str]) -> Edge:
        relation = edge.get("relation_type")
        if not isinstance(relation, str) or relation.upper() not in RELATIONS:
            self.fail(f"has an edge of the relation {_shown(relation)}, which is none of {list(RELATIONS)}")
        for key in ("from_id", "to_id"):
            if type(edge.get(key)) is not int or edge[key] not in nodes:
                self.fail(f"has an edge whose {key!r} is {_shown(edge.get(key))}, which is no node")
        return edge["from_id"], relation.upper(), edge["to_id"]
