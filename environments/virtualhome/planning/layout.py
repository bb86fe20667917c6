"""Where loose things are, in bits: what one is near to after a walk, and what taking and putting change.

Separate from `sketch`, which has the character: a layout is only about things. It says for the profile `fixed` what
`repaired` and `carrying` do. A set of nodes is an int with one bit a node. *Loose* are the things that a goal speaks
of, those that were moved, and what lies on or in them; all else is as in the graph, which `Bits` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from spa_bench.environments.virtualhome.actions import LIFTABLE
from spa_bench.environments.virtualhome.carrying import load
from spa_bench.environments.virtualhome.graph import NOBODY, Graph, room_of
from spa_bench.environments.virtualhome.state import State


class _Masks(dict[int, int]):
    """Node -> set of nodes, found when first asked for."""

    def __init__(self, find: Callable[[int], int]) -> None:
        self._find = find

    def __missing__(self, n: int) -> int:
        self[n] = self._find(n)
        return self[n]


class Bits:
    """A graph as sets. Rooms and characters are in none but those that are named after them."""

    def __init__(self, graph: Graph) -> None:
        """Costs a pass over the nodes; edges are looked up when asked for."""
        self.graph = graph
        self._having: dict[tuple[str, ...], int] = {}
        self.bit = {n: 1 << i for i, n in enumerate(graph.nodes)}
        self.people = self.mask(graph.characters)
        self.rooms = self.mask(graph.rooms)
        self.limbs = self.mask(graph.body_parts)
        self.openable = self.having("CAN_OPEN")
        self.seats = self.having("SITTABLE", "LIEABLE")
        self.takable = self.having("GRABBABLE", classes=LIFTABLE)
        self.carriable = tuple(sorted(load(State(graph), list(self.nodes(self.takable)))))
        """What can be moved: all that can be taken, and what is on or in that."""
        others = self.rooms | self.people | self.limbs
        self.placed = self.mask(n for n in graph.nodes if not self.bit[n] & others and self.room(n) is not None)
        """What one can walk to."""
        self.close = _Masks(lambda n: self._linked(n, into="CLOSE"))
        self.on = _Masks(lambda n: self._linked(n, out="ON"))
        self.inside = _Masks(lambda n: self._linked(n, out="INSIDE"))
        self.contents = _Masks(lambda n: self._linked(n, into="INSIDE"))
        self.upon = _Masks(lambda n: self._linked(n, into="ON"))
        self.around = _Masks(lambda n: self.upon[n] | self.contents[n])
        """On or in the node."""
        self.faced = _Masks(lambda n: self._linked(n, out="FACING"))
        """What the node faces."""
        self.facing = _Masks(lambda n: self.bit[n] | self._linked(n, into="FACING"))
        """Who faces one of these faces the node."""

    def mask(self, nodes: Iterable[int]) -> int:
        """The set of these nodes."""
        found = 0
        for n in nodes:
            found |= self.bit[n]
        return found

    def nodes(self, mask: int) -> Iterator[int]:
        """The ids of a set, ascending."""
        while mask:
            low = mask & -mask
            yield self.graph.nodes[low.bit_length() - 1]
            mask ^= low

    def having(self, *qualities: str, classes: Collection[str] = ()) -> int:
        """The nodes with one of these properties, or of one of these classes."""
        key = *qualities, *sorted(classes)
        if key not in self._having:
            graph = self.graph
            self._having[key] = self.mask(
                n for n in graph.nodes if graph.classes[n] in classes or not graph.properties[n].isdisjoint(qualities)
            )
        return self._having[key]

    def room(self, n: int) -> int | None:
        """The room of a node that has not moved."""
        return room_of(n, self.graph.rooms, lambda x: self.graph.out["INSIDE"].get(x, NOBODY))

    def _linked(self, n: int, out: str = "", into: str = "") -> int:
        found = self.graph.out[out].get(n, NOBODY) if out else self.graph.into[into].get(n, NOBODY)
        return self.mask(found) & ~(self.rooms | self.people)


class Place(NamedTuple):
    """Where a loose thing is."""

    on: int
    """With the character that wears it; also somebody else who holds it."""
    inside: int
    close: int
    room: int | None
    """None with the character: held, worn, or on or in such a thing."""
    faced: int = 0
    """What it faces."""


class Layout:
    """Where all loose things are. `Layouts` makes one for each arrangement, so identity is equality."""

    def __init__(self, all_: Layouts, places: dict[int, Place]) -> None:
        """`places` is kept."""
        self.bits, self.places, self._all = all_.bits, places, all_
        self.loose = self.bits.mask(places)
        self.contact: dict[int, int] = _Masks(self._contact)
        """Who is CLOSE to one of these is near the node."""
        self.base: dict[int, int] = _Masks(self._base)
        """What one is CLOSE to after walking to the node, beside one's body and what one carries."""
        self.walkers: dict[int, int] = _Masks(self._walkers)
        """Who walks to one of these is near the node. Things that are carried are among them."""
        self.worth: int | None = None
        """A note of `Sketch`: of all that one can be CLOSE to, what counts."""
        self.told = 0
        """A note of `Sketch`: which states count."""
        self._after: dict[tuple[object, ...], Layout] = {}

    def load(self, n: int, hands: int) -> int:
        """A loose thing, and all that is on or in it and not in `hands` itself."""
        found, before = self.bits.bit[n], 0
        while found != before:
            before = found
            for x, place in self.places.items():
                if (place.on | place.inside) & found:
                    found |= self.bits.bit[x] & ~hands
        return found

    def carried(self) -> int:
        """All loose things that are with the character."""
        return self.bits.mask(x for x, place in self.places.items() if place.room is None)

    def room(self, n: int) -> int | None:
        """The room of a node; None with the character."""
        place = self.places.get(n)
        return self.bits.room(n) if place is None else place.room

    def faced(self, n: int) -> int:
        """What a node faces, which one faces too who sits on it."""
        place = self.places.get(n)
        return self.bits.faced[n] if place is None else place.faced

    def origin(self, n: int, hands: int) -> int:
        """What one stays CLOSE to after taking a loose thing from it."""
        place, kept = self.places[n], ~(self.load(n, hands) | self.bits.people)
        for found in (place.on & kept, place.inside & kept, place.close & kept):
            if found:
                return found & -found
        return 0

    def taken(self, n: int, hands: int, me: int) -> Layout:
        """With a thing, and its load, taken to the character, who has other things in its hands."""
        key = ("taken", n, hands)
        if key not in self._after:
            alone = {**self.places, n: self.places[n]._replace(on=0, inside=0)}
            self._after[key] = self._all.of(self._lifted(alone, self.load(n, hands), hands | me))
        return self._after[key]

    def walked(self, hands: int, me: int) -> Layout:
        """After a walk, which takes what is carried away from all that is not."""
        key = ("walked", hands)
        if key not in self._after:
            things = self.carried()
            places = self._lifted(self.places, things, hands | me)
            for x, place in places.items():
                if place.faced:
                    faced = 0 if self.bits.bit[x] & things else place.faced & ~things
                    places[x] = place._replace(faced=faced)
            self._after[key] = self._all.of(places)
        return self._after[key]

    def put(self, n: int, to: int, relation: str, hands: int) -> Layout:
        """With a thing put ON or INSIDE something, in the room of that. `hands` is what stays in them."""
        key = (relation, n, to, hands)
        if key not in self._after:
            bit, target = self.bits.bit[n], self.bits.bit[to]
            places = self._moved(n, self.room(to), hands)
            place = places[n]._replace(close=places[n].close | target)
            if relation == "ON":
                places[n] = place._replace(on=place.on | target)
            else:
                places[n] = place._replace(inside=place.inside | target)
            if to in places:
                places[to] = places[to]._replace(close=places[to].close | bit)
            self._after[key] = self._all.of(places)
        return self._after[key]

    def poured(self, n: int, to: int, hands: int) -> Layout:
        """With a thing from the hands also INSIDE something, and there it stays unless it is still in the `hands`."""
        places = dict(self.places) if hands & self.bits.bit[n] else self._moved(n, self.room(to), hands)
        places[n] = places[n]._replace(inside=places[n].inside | self.bits.bit[to])
        return self._all.of(places)

    def worn(self, n: int, me: int) -> Layout:
        """With a carried thing put on."""
        return self._all.of({**self.places, n: self.places[n]._replace(on=self.places[n].on | me)})

    def dropped(self, n: int, room: int | None, hands: int, me: int) -> Layout:
        """With a thing from the hands, or from the body, left in a room."""
        places = self._moved(n, room, hands)
        places[n] = places[n]._replace(on=places[n].on & ~me)
        return self._all.of(places)

    def _moved(self, n: int, room: int | None, hands: int) -> dict[int, Place]:
        places = dict(self.places)
        for x in self.bits.nodes(self.load(n, hands)):
            places[x] = places[x]._replace(room=room)
        return places

    def _lifted(self, places: dict[int, Place], things: int, company: int) -> dict[int, Place]:
        """Things away from all but each other and what else is with the character."""
        lifted, kept = dict(places), things | company
        for x, place in places.items():
            bit = self.bits.bit[x]
            if bit & things:
                lifted[x] = Place(place.on & kept, place.inside & kept, place.close & kept, None, place.faced)
            elif place.close & things and not bit & kept:
                lifted[x] = place._replace(close=place.close & ~things)
        return lifted

    def _contact(self, n: int) -> int:
        bits, bit, place = self.bits, self.bits.bit[n], self.places.get(n)
        if place is not None:
            return bit | place.close | (place.on & ~bits.people)
        found = bit | bits.on[n] | (bits.close[n] & ~self.loose)
        return found | bits.mask(x for x, other in self.places.items() if other.close & bit)

    def _base(self, n: int) -> int:
        bits, bit, place = self.bits, self.bits.bit[n], self.places.get(n)
        found = bit | (bits.on[n] | bits.inside[n] if place is None else (place.on & ~bits.people) | place.inside)
        if bit & bits.openable:
            found |= bits.contents[n] & ~self.loose
            found |= bits.mask(x for x, other in self.places.items() if other.inside & bit)
        return found

    def _walkers(self, n: int) -> int:
        bits, contact, found = self.bits, self.contact[n], 0
        for x in bits.nodes(contact):
            place = self.places.get(x)
            within = bits.inside[x] if place is None else place.inside
            found |= bits.bit[x] | (bits.around[x] & ~self.loose) | (within & bits.openable)
        return found | bits.mask(x for x, place in self.places.items() if (place.on | place.inside) & contact)


class Layouts:
    """All layouts of a graph that were met, each once."""

    def __init__(self, bits: Bits) -> None:
        self.bits = bits
        self._known: dict[tuple[tuple[int, Place], ...], Layout] = {}

    def __len__(self) -> int:
        """How many."""
        return len(self._known)

    def of(self, places: dict[int, Place]) -> Layout:
        """The layout with loose things at these places; the dictionary is kept."""
        key = tuple(sorted(places.items()))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Layout(self, places)
        return found
