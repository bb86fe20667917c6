"""What a goal asks of one character, sorted by what has to be done about it.

Separate from the agenda, which asks in each situation what of it is left. What nobody can bring about, such as the
posture of somebody else, is `given`: it must hold already.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spa_bench.environments.virtualhome.goals import HANDS, HOLDS, Goal
from spa_bench.environments.virtualhome.graph import Edge
from spa_bench.environments.virtualhome.planning.layout import Bits
from spa_bench.environments.virtualhome.planning.sketch import STATES
from spa_bench.environments.virtualhome.state import POSTURES

Link = tuple[str, int]
"""(relation, node)."""


@dataclass
class Errand:
    """What is to become of one loose thing. Places come before hands."""

    places: list[Link] = field(default_factory=list)
    """ON, INSIDE or CLOSE to which nodes; none of them a room or the character."""
    away: list[Link] = field(default_factory=list)
    """Where it must not stay."""
    hold: str = ""
    """HOLDS, or the very hand."""
    wear: bool = False
    free: bool = False
    """It must be in no hand."""
    room: int | None = None
    out: list[int] = field(default_factory=list)
    """Rooms that it must not be in."""

    def elsewhere(self, room: int | None) -> bool:
        """Whether it has to leave this room."""
        return room in self.out or (self.room is not None and room != self.room)


@dataclass
class Wishes:
    """A goal, sorted."""

    errands: dict[int, Errand] = field(default_factory=dict)
    states: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Node -> (states to have, states not to have), as bits."""
    posture: str | None = None
    """SITTING or LYING; empty: on foot."""
    seats: list[int] = field(default_factory=list)
    """What the character must be ON."""
    faced: int = 0
    unfaced: int = 0
    close: list[int] = field(default_factory=list)
    apart: int = 0
    """What the character must not be CLOSE to."""
    room: int | None = None
    left: list[int] = field(default_factory=list)
    """Rooms that it must not be in."""
    given: Goal = field(default_factory=Goal)

    @property
    def nodes(self) -> set[int]:
        """Everything that something is asked of."""
        found = {*self.errands, *self.states, *self.seats, *self.close}
        for errand in self.errands.values():
            found |= {n for _, n in (*errand.places, *errand.away)}
        return found


def wishes(goal: Goal, bits: Bits, character: int) -> Wishes:
    """Sort a goal."""
    found = Wishes()
    given = _Given()
    for node, state in goal.nodes:
        if not _have(found, bits, character, node, state):
            given.nodes.append((node, state))
    for node, state in goal.absent_states:
        if not _have_not(found, bits, character, node, state):
            given.absent_states.append((node, state))
    for edge in goal.edges:
        if not any(sort(found, bits, character, *edge) for sort in (_own, _carry)):
            given.edges.append(edge)
    for edge in goal.absent_edges:
        if not any(sort(found, bits, character, *edge) for sort in (_leave, _take)):
            given.absent_edges.append(edge)
    found.given = given.goal()
    return found


@dataclass
class _Given:
    nodes: list[tuple[int, str]] = field(default_factory=list)
    absent_states: list[tuple[int, str]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    absent_edges: list[Edge] = field(default_factory=list)

    def goal(self) -> Goal:
        return Goal(tuple(self.nodes), tuple(self.absent_states), tuple(self.edges), tuple(self.absent_edges))


def _have(found: Wishes, bits: Bits, c: int, n: int, state: str) -> bool:
    if state in STATES and n != c:
        have, have_not = found.states.get(n, (0, 0))
        found.states[n] = have | STATES[state], have_not
        return True
    if n == c and state in POSTURES and found.posture in (None, state):
        found.posture = state
        return True
    return False


def _have_not(found: Wishes, bits: Bits, c: int, n: int, state: str) -> bool:
    if state in STATES and n != c:
        have, have_not = found.states.get(n, (0, 0))
        found.states[n] = have, have_not | STATES[state]
        return True
    if n == c and state in POSTURES:
        if found.posture is None:
            found.posture = ""
        return found.posture != state
    return False


def _own(found: Wishes, bits: Bits, c: int, a: int, relation: str, b: int) -> bool:
    """What is asked of the character itself."""
    if relation == "CLOSE" and c in (a, b):
        found.close.append(b if a == c else a)
    elif a != c:
        return False
    elif relation in (HOLDS, *HANDS) and bits.bit[b] & bits.takable:
        found.errands.setdefault(b, Errand()).hold = relation
    elif relation == "ON" and bits.bit[b] & bits.seats:
        found.seats.append(b)
    elif relation == "FACING":
        found.faced |= bits.bit[b]
    elif relation == "INSIDE" and b in bits.graph.rooms:
        found.room = b
    else:
        return False
    return True


def _carry(found: Wishes, bits: Bits, c: int, a: int, relation: str, b: int) -> bool:
    """Where a thing is to be."""
    if relation == "CLOSE" and not bits.bit[a] & bits.takable:
        a, b = b, a
    if a == c or not bits.bit[a] & bits.takable or relation not in ("ON", "INSIDE", "CLOSE"):
        return False
    errand = found.errands.setdefault(a, Errand())
    if b == c:
        errand.wear = relation == "ON"
        return errand.wear
    if b in bits.graph.rooms:
        errand.room = b
        return relation == "INSIDE"
    errand.places.append((relation, b))
    return b not in bits.graph.characters


def _leave(found: Wishes, bits: Bits, c: int, a: int, relation: str, b: int) -> bool:
    """What is not to be so of the character itself."""
    if relation == "CLOSE" and c in (a, b):
        found.apart |= bits.bit[b if a == c else a]
    elif a != c:
        return False
    elif relation in (HOLDS, *HANDS):
        found.errands.setdefault(b, Errand()).free = True
    elif relation == "ON" and bits.bit[b] & bits.seats:
        if found.posture is None and not found.seats:
            found.posture = ""
    elif relation == "FACING":
        found.unfaced |= bits.bit[b]
    elif relation == "INSIDE" and b in bits.graph.rooms:
        found.left.append(b)
    else:
        return False
    return True


def _take(found: Wishes, bits: Bits, c: int, a: int, relation: str, b: int) -> bool:
    """Where a thing is not to be."""
    if not bits.bit[a] & bits.takable or relation not in ("ON", "INSIDE", "CLOSE") or a in bits.graph.characters:
        return False
    errand = found.errands.setdefault(a, Errand())
    if b in bits.graph.rooms:
        errand.out.append(b)
    else:
        errand.away.append((relation, b))
    return True
