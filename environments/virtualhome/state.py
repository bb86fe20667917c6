"""What is true in a home now, as differences from its compiled graph, and how single facts change.

Separate from the actions, which are written in these terms. Every value that is held here is immutable, so a copy is
a copy of a few small dictionaries, and neither copy sees what happens to the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from spa_bench.environments.virtualhome.graph import NOBODY, RELATIONS, Graph, room_of

Profile = Literal["fixed", "v2", "v1"]
"""Whose rules hold: `v1` release 1.0.0, which recorded ActivityPrograms; `v2` release 2.3.0 as it is, with its
defects, crashes included; `fixed` what 2.3.0 means to do."""

HANDS = ("HOLDS_RH", "HOLDS_LH")
"""The right hand takes first."""
POSTURES = frozenset({"SITTING", "LYING"})

Origin = tuple[int, str]
"""What a grabbed thing was taken from, and by which relation it was there."""


Changed = dict[str, dict[int, frozenset[int]]]
"""Relation -> node -> where its edges lead or come from now, for the nodes where that is not as in the graph."""

UNCHANGED: Changed = {relation: {} for relation in RELATIONS}
"""Of every state until its first edge changes; never written to."""


NOTHING_FOUND: frozenset[tuple[str, int]] = frozenset()


class State:
    """Facts of one home. Nodes are ids of the graph; an id that is not there raises KeyError."""

    __slots__ = ("_found", "_into", "_messages", "_origins", "_out", "_states", "graph", "profile")

    _out: Changed
    _into: Changed

    def __init__(self, graph: Graph, profile: Profile = "fixed") -> None:
        self.graph = graph
        self.profile: Profile = profile
        self._out = self._into = UNCHANGED
        self._states: dict[int, frozenset[str]] = {}
        self._origins: dict[int, Origin] = {}
        self._found = NOTHING_FOUND
        self._messages: tuple[str, ...] = ()

    # What is true

    def states(self, node: int) -> frozenset[str]:
        """States of a node now."""
        found = self._states.get(node)
        return self.graph.states[node] if found is None else found

    def out(self, relation: str, node: int) -> frozenset[int]:
        """Where the edges of this relation lead from a node."""
        found = self._out[relation].get(node)
        return self.graph.out[relation].get(node, NOBODY) if found is None else found

    def into(self, relation: str, node: int) -> frozenset[int]:
        """Where the edges of this relation to a node come from."""
        found = self._into[relation].get(node)
        return self.graph.into[relation].get(node, NOBODY) if found is None else found

    def room(self, node: int) -> int | None:
        """The room of a node; itself for a room. In `v1` only a room that it is directly inside of."""
        rooms = self.graph.rooms
        if self.profile == "v1":
            return node if node in rooms else min(self.out("INSIDE", node) & rooms, default=None)
        return room_of(node, rooms, lambda x: self.out("INSIDE", x))

    @property
    def moved(self) -> Collection[int]:
        """Nodes of which an edge INSIDE something has been added or removed."""
        return self._out["INSIDE"].keys()

    def last_container(self, node: int) -> int | None:
        """What the node is inside of by its last edge, as release 2.3.0 lists the edges of a state: in a set's order.

        Of what has been moved upstream's order also depends on how often it was asked for; here it is that of a new
        set, of what was added by actions before the rest.
        """
        inside, before = self.out("INSIDE", node), self.graph.containers.get(node, ())
        if len(inside) < 2:
            return min(inside, default=None)
        return set_order([*sorted(inside.difference(before)), *(x for x in before if x in inside)])[-1]

    def near(self, character: int, node: int) -> bool:
        """The character is close to the node, to something close to it, or to what it stands on."""
        mine = self.out("CLOSE", character)
        return (
            node in mine or not mine.isdisjoint(self.into("CLOSE", node)) or not mine.isdisjoint(self.out("ON", node))
        )

    def neighbourhood(self, character: int) -> set[int]:
        """Every node that is `near` the character."""
        mine = self.out("CLOSE", character)
        return set(mine).union(*(self.out("CLOSE", x) for x in mine), *(self.into("ON", x) for x in mine))

    def faces(self, character: int, node: int) -> bool:
        """The character faces the node, or something that faces it."""
        mine = self.out("FACING", character)
        return node in mine or not mine.isdisjoint(self.into("FACING", node))

    def holds(self, character: int, node: int) -> bool:
        """The node is in one of the character's hands."""
        return any(node in self.out(hand, character) for hand in HANDS)

    def held(self, character: int) -> tuple[int, ...]:
        """What is in the right hand, then what is in the left."""
        return tuple(node for hand in HANDS for node in sorted(self.out(hand, character)))

    def free_hand(self, character: int) -> str | None:
        """The relation of the first empty hand, the right one first."""
        return next((hand for hand in HANDS if not self.out(hand, character)), None)

    def holder(self, node: int) -> int | None:
        """Who has the node in a hand."""
        return min((c for hand in HANDS for c in self.into(hand, node)), default=None)

    def shut_in(self, node: int) -> bool:
        """The node is directly inside something closed.

        Curtains of the official scenes are inside each other; in `fixed` they do not shut each other in.
        """
        looped = self.graph.looped if self.profile == "fixed" and node in self.graph.looped else NOBODY
        around = self.out("INSIDE", node)
        return any("CLOSED" in self.states(x) and x not in self.graph.rooms and x not in looped for x in around)

    def posed(self, character: int) -> frozenset[str]:
        """SITTING, LYING or nothing, as the rules of the profile see it.

        In `v2` that is the posture before the first action, whatever was done since (defect 2).
        """
        states = self.graph.states[character] if self.profile == "v2" else self.states(character)
        return states & POSTURES

    def origin(self, node: int) -> Origin | None:
        """What the node was grabbed from, while that is remembered."""
        return self._origins.get(node)

    def found(self, name: str, node: int) -> bool:
        """In `v1`, the node was walked to or found by this name."""
        return (name, node) in self._found

    def name(self, node: int) -> str:
        """How messages call a node."""
        return f"<{self.graph.classes[node]}> ({node})"

    # How it changes

    def _change(self) -> None:
        """Own dictionaries, before the first edge changes: an episode begins without making them."""
        if self._out is UNCHANGED:
            self._out = {relation: {} for relation in RELATIONS}
            self._into = {relation: {} for relation in RELATIONS}

    def link(self, a: int, relation: str, b: int) -> None:
        """Add one edge."""
        old = self.out(relation, a)
        if b not in old:
            self._change()
            self._out[relation][a] = old | {b}
            self._into[relation][b] = self.into(relation, b) | {a}

    def unlink(self, a: int, relation: str, b: int) -> None:
        """Remove one edge."""
        old = self.out(relation, a)
        if b in old:
            self._change()
            self._out[relation][a] = old - {b}
            self._into[relation][b] = self.into(relation, b) - {a}

    def link_close(self, a: int, nodes: Iterable[int]) -> None:
        """Make a node CLOSE to others, both ways."""
        for b in nodes:
            self.link(a, "CLOSE", b)
            self.link(b, "CLOSE", a)

    def leave(self, relation: str, node: int, kept: frozenset[int] | set[int] = NOBODY) -> None:
        """Remove the edges of a relation from a node, but not those to `kept`."""
        old = self.out(relation, node)
        gone = old - kept
        if gone:
            self._change()
            self._out[relation][node] = old & kept
            into = self._into[relation]
            for b in gone:
                into[b] = self.into(relation, b) - {node}

    def clear(self, relation: str, node: int, kept: frozenset[int] | set[int] = NOBODY) -> None:
        """Remove the edges of a relation from and to a node, but not those from and to `kept`."""
        self.leave(relation, node, kept)
        old = self.into(relation, node)
        gone = old - kept
        if gone:
            self._change()
            self._into[relation][node] = old & kept
            out = self._out[relation]
            for a in gone:
                out[a] = self.out(relation, a) - {node}

    def set_state(self, node: int, without: str, having: str) -> None:
        """Replace one state of a node by another."""
        self._states[node] = (self.states(node) - {without}) | {having}

    def pose(self, character: int, posture: str | None) -> None:
        """Sit, lie or stand. In `v2` all else that was done to the character's states is lost (defect 2)."""
        states = self.graph.states[character] if self.profile == "v2" else self.states(character)
        self._states[character] = (states - POSTURES).union([posture] if posture else [])

    def release(self, character: int, node: int) -> None:
        """Take the node out of the character's hands."""
        for hand in HANDS:
            self.unlink(character, hand, node)

    def remember(self, node: int, origin: Origin | None) -> None:
        """Keep, or with None forget, what the node was grabbed from."""
        if origin is None:
            self._origins.pop(node, None)
        else:
            self._origins[node] = origin

    def find(self, name: str, node: int) -> None:
        """In `v1`, let later actions name the node so."""
        self._found |= {(name, node)}


def set_order(ids: Iterable[int]) -> list[int]:
    """The ids in the order in which CPython gives back a set that they were added to one by one.

    Open addressing with linear and then perturbed probes, four times as many slots when three fifths are taken
    (`set_add_entry` in CPython's `Objects/setobject.c`); written out, so that it is the same everywhere.
    """
    slots: list[int | None] = [None] * 8
    used = 0
    for i in ids:
        used += _placed(slots, i)
        if used * 5 >= (len(slots) - 1) * 3:
            old, slots = slots, [None] * (1 << (used * 4).bit_length())
            for j in old:
                if j is not None:
                    _placed(slots, j)
    return [i for i in slots if i is not None]


def _placed(slots: list[int | None], i: int) -> bool:
    """Put an id into its slot; False where it is there already."""
    mask, perturb = len(slots) - 1, i
    first = i & mask
    while True:
        for slot in range(first, first + (10 if first + 9 <= mask else 1)):
            if slots[slot] in (None, i):
                new = slots[slot] is None
                slots[slot] = i
                return new
        perturb >>= 5
        first = (first * 5 + 1 + perturb) & mask
