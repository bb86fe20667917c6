"""A home drawn from dice: rooms, furniture and small things, each where it belongs, as upstream's graph.

Separate from the chores, which are looked for in a finished home. As in the real scenes a thing is ON or INSIDE its
place and INSIDE the room as well. Furniture is not ON the floor: who walks to one piece would stand at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from spa_bench.environments.dice import Dice
from spa_bench.environments.virtualhome.generation.household import (
    CLASSES,
    DOORED,
    NEVER_FIRST,
    ROOMS,
    STANDS_ON,
    SURFACES,
    THINGS,
    UNSWITCHED,
    Difficulty,
)

UNPLUGGED, DIRTY = 0.3, 0.4
"""Chances at the start: a device that is unplugged, a dirty thing among those that one washes."""
SWITCHED_ON = {"light": 0.7, "lamp": 0.5, "television": 0.3, "radio": 0.3, "computer": 0.3, "floor_lamp": 0.5}
"""Chance that it is on at the start; 0 for all other devices."""
_UNPLUGS = frozenset({"television", "lamp", "radio", "printer", "toaster", "coffe_maker", "microwave"})


@dataclass(frozen=True)
class Piece:
    """A node."""

    id: int
    kind: str
    """Its class."""
    states: tuple[str, ...]
    room: int
    """The room's own id, for a room."""
    place: int | None = None
    """What it is on or inside, beside the room."""

    def has(self, trait: str) -> bool:
        """Whether its class has this property."""
        return trait in CLASSES[self.kind][1].split()


@dataclass(frozen=True)
class Draft:
    """A home before anything happens in it."""

    pieces: dict[int, Piece]
    character: int
    doors: dict[int, tuple[int, int]]
    """Door -> the two rooms."""

    def of(self, *kinds: str) -> list[Piece]:
        """The pieces of these classes, by id."""
        return [piece for piece in self.pieces.values() if piece.kind in kinds]

    def things(self) -> list[Piece]:
        """The small things, by id."""
        return [piece for piece in self.pieces.values() if piece.kind in THINGS]

    def accepts(self, thing: Piece, place: Piece) -> bool:
        """Whether this is a place for that thing."""
        known = THINGS[thing.kind]
        right_sink = place.kind != "sink" or self.pieces[place.room].kind == known.sink
        return place.kind in known.places and right_sink

    def on(self, place: int) -> list[Piece]:
        """What is on or inside something."""
        return [piece for piece in self.pieces.values() if piece.place == place]

    def to_json(self) -> dict[str, Any]:
        """Upstream's form."""
        nodes = [
            {
                "id": piece.id,
                "class_name": piece.kind,
                "category": CLASSES[piece.kind][0],
                "properties": sorted(CLASSES[piece.kind][1].split()),
                "states": sorted(piece.states),
            }
            for piece in self.pieces.values()
        ]
        edges = [{"from_id": a, "relation_type": relation, "to_id": b} for a, relation, b in self._edges()]
        return {"nodes": nodes, "edges": edges}

    def _edges(self) -> Iterator[tuple[int, str, int]]:
        for piece in self.pieces.values():
            if piece.room != piece.id:
                yield piece.id, "INSIDE", piece.room
            if piece.place is not None:
                yield piece.id, relation(self.pieces[piece.place].kind), piece.place
        for door, rooms in self.doors.items():
            for room in rooms:
                yield door, "BETWEEN", room


def relation(place: str) -> str:
    """How things lie at a place of this class."""
    return "ON" if place in SURFACES else "INSIDE"


def draft(dice: Dice, level: Difficulty, *, unseen: bool) -> Draft:
    """A home. `unseen`: with the layouts that no other split has."""
    others = dice.shuffled([name for name in ROOMS if name != "kitchen"])
    names = dice.shuffled(["kitchen", *others[: dice.between(*level.rooms) - 1]])
    drawing = _Drawing(dice, level.open)
    rooms = [drawing.add(name, states=("CLEAN",)) for name in names]
    for name, room in zip(names, rooms, strict=True):
        drawing.furnish(room, dice.among(ROOMS[name].unseen if unseen else ROOMS[name].seen))
    for name, room in zip(names, rooms, strict=True):
        drawing.fill(room, dice.between(*level.things), ROOMS[name].things)
    doors = {}
    for first, second in pairwise(rooms):
        doors[drawing.add("door", room=first.id, states=("CLEAN", "OPEN")).id] = (first.id, second.id)
    character = drawing.add("character", room=dice.among(rooms).id, states=())
    return Draft(drawing.pieces, character.id, doors)


class _Drawing:
    """The pieces so far; ids count from 1 in the order of drawing."""

    def __init__(self, dice: Dice, open_chance: float) -> None:
        self._dice, self._open = dice, open_chance
        self.pieces: dict[int, Piece] = {}

    def add(
        self, kind: str, *, states: tuple[str, ...] | None = None, room: int | None = None, place: int | None = None
    ) -> Piece:
        new = len(self.pieces) + 1
        states = self._states(kind) if states is None else states
        self.pieces[new] = Piece(new, kind, states, new if room is None else room, place)
        return self.pieces[new]

    def furnish(self, room: Piece, layout: tuple[str, ...]) -> None:
        """Floor, light and furniture; what something stands on is there before it."""
        kinds = ["floor", "light", *ROOMS[room.kind].fixed, *layout]
        for kind in sorted(kinds, key=lambda kind: kind in STANDS_ON):
            stands = [piece.id for piece in self._in(room) if piece.kind in STANDS_ON.get(kind, ())]
            self.add(kind, room=room.id, place=stands[0] if stands else None)

    def fill(self, room: Piece, count: int, kinds: tuple[str, ...]) -> None:
        """Small things of these classes, also several of one, each in a place of the room that is right for it."""
        home = Draft(self.pieces, 0, {})
        while count:
            kind = self._dice.among(kinds)
            thing = Piece(0, kind, (), room.id)
            places = [p for p in self._in(room) if home.accepts(thing, p) and p.kind not in NEVER_FIRST]
            if places:
                self.add(kind, room=room.id, place=self._dice.among(places).id)
                count -= 1

    def _in(self, room: Piece) -> list[Piece]:
        return [piece for piece in self.pieces.values() if piece.room == room.id and piece.id != room.id]

    def _states(self, kind: str) -> tuple[str, ...]:
        traits = CLASSES[kind][1].split()
        uses = THINGS[kind].uses if kind in THINGS else ""
        chance = self._dice.chance
        states = ["DIRTY" if set(uses) & set("sdl") and chance(DIRTY) else "CLEAN"]
        container = "CONTAINERS" in traits or kind in DOORED
        if "CAN_OPEN" in traits:
            states.append("OPEN" if container and chance(self._open) else "CLOSED")
        unplugged = kind in _UNPLUGS and chance(UNPLUGGED)
        if "HAS_PLUG" in traits:
            states.append("PLUGGED_OUT" if unplugged else "PLUGGED_IN")
        if "HAS_SWITCH" in traits and kind not in UNSWITCHED:
            switched_on = not unplugged and chance(SWITCHED_ON.get(kind, 0.0))
            states.append("ON" if switched_on else "OFF")
        return tuple(states)
