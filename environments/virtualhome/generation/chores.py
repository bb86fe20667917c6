"""What can be asked for in a home: goals, the words for them, and the recipe that reaches them.

Separate from the gold program, which knows the way: a chore says "put this there, close it, switch it on". `chores`
lists every chore of a kind that a home has, in the order of ids, so that a choice among them is a roll of dice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from spa_bench.core import derive_seed
from spa_bench.environments.virtualhome.generation.draft import Draft, Piece, relation
from spa_bench.environments.virtualhome.generation.gold import Gold
from spa_bench.environments.virtualhome.generation.household import (
    DOORED,
    HELD_OUT,
    HELD_OUT_SHARE,
    LYING_PLACES,
    SEATS,
    THINGS,
)

_WASHED = {"sink": "s", "dishwasher": "d", "washing_machine": "l"}
_COOKED = {"microwave": "c", "oven": "c", "toaster": "t"}

Combination = tuple[str, str, str]
"""(kind, class of the thing, class of the place, or what else tells chores of a kind apart)."""


@dataclass(frozen=True)
class Chore:
    """One thing to be done."""

    combination: Combination
    phrasing: str
    """Key into the phrases."""
    how: Callable[..., None]
    """Recipe: a function of the gold program and of the pieces."""
    pieces: tuple[Piece, ...]
    """The thing, the place and whatever else the phrase names."""
    goal: tuple[Mapping[str, Any], ...]
    """Conditions in EAI's form."""
    actions: tuple[str, ...] = ()

    def do(self, gold: Gold) -> None:
        """Write the way into the gold program."""
        self.how(gold, *self.pieces)

    @property
    def held_out(self) -> bool:
        """Whether such chores are for `valid_unseen` alone."""
        kind, *rest = self.combination
        if kind in HELD_OUT:
            return tuple(rest) in HELD_OUT[kind]
        return derive_seed("virtualhome held out", *self.combination) % HELD_OUT_SHARE == 0

    @property
    def container(self) -> Piece | None:
        """What may also be asked to be closed in the end."""
        place = self.pieces[-1]
        inside = self.phrasing == "put" and relation(place.kind) == "INSIDE"
        return place if inside and place.has("CAN_OPEN") else None


def chores(home: Draft, kind: str) -> Iterator[Chore]:
    """Every chore of this kind in a home, none of which is done at the start."""
    return _KINDS[kind](home)


def _fetch(home: Draft) -> Iterator[Chore]:
    for thing in home.things():
        place = home.pieces[thing.place or thing.room]
        yield Chore(("fetch", thing.kind, place.kind), "fetch", Gold.take, (thing,), (_holds(home, thing),))


def _put(home: Draft) -> Iterator[Chore]:
    for thing, place in product(home.things(), list(home.pieces.values())):
        if place.id != thing.place and home.accepts(thing, place):
            yield Chore(("put", thing.kind, place.kind), "put", Gold.put, (thing, place), (_at(thing, place),))


def _switch(home: Draft) -> Iterator[Chore]:
    for piece in home.pieces.values():
        if "ON" in piece.states:
            yield Chore(("switch", piece.kind, "OFF"), "switch off", _stop, (piece,), (_has(piece, "OFF"),))
        elif "OFF" in piece.states and piece.kind in DOORED and "OPEN" in piece.states:
            goal = (_has(piece, "CLOSED"), _has(piece, "ON"))
            yield Chore(("switch", piece.kind, "ON"), "switch on closed", _run, (piece,), goal)
        elif "OFF" in piece.states:
            yield Chore(("switch", piece.kind, "ON"), "switch on", _run, (piece,), (_has(piece, "ON"),))


def _wash(home: Draft) -> Iterator[Chore]:
    for thing, place in product(home.things(), home.of(*_WASHED)):
        if "DIRTY" not in thing.states or _WASHED[place.kind] not in THINGS[thing.kind].uses:
            continue
        if place.kind != "sink":
            yield _machine("wash", thing, place)
        elif home.accepts(thing, place):
            goal = (_at(thing, place), _has(thing, "CLEAN"))
            yield Chore(("wash", thing.kind, place.kind), "wash", _wash_at, (thing, place), goal)


def _cook(home: Draft) -> Iterator[Chore]:
    for food, place in product(home.things(), home.of(*_COOKED)):
        if _COOKED[place.kind] in THINGS[food.kind].uses:
            yield _machine("cook", food, place)
    for food, vessel, stove in product(home.things(), home.of("fryingpan", "pot"), home.of("stove")):
        if "v" in THINGS[food.kind].uses:
            goal = (_at(vessel, stove), _at(food, vessel), _has(stove, "ON"))
            yield Chore(("cook", food.kind, vessel.kind), "fry", _fry, (food, vessel, stove), goal)


def _machine(kind: str, thing: Piece, place: Piece) -> Chore:
    """Put a thing into a machine, close it where it has a door, and let it run."""
    door = place.kind in DOORED
    goal = (_at(thing, place), *[_has(place, "CLOSED")] * door, _has(place, "ON"))
    phrasing = f"{kind} inside" if door else kind
    return Chore((kind, thing.kind, place.kind), phrasing, _use, (thing, place), goal)


def _relax(home: Draft) -> Iterator[Chore]:
    seats = [seat for seat in home.of(*SEATS) if len(home.on(seat.id)) < SEATS[seat.kind]]
    yield from _television(home, seats)
    yield from _sleep(home)
    for thing, seat in product(home.things(), seats):
        for use, verb, how in (("r", "READ", _read), ("k", "DRINK", _drink)):
            if use in THINGS[thing.kind].uses and thing.place != seat.id:
                goal = (_holds(home, thing), *_posed(home, "SITTING", seat))
                combination = ("relax", thing.kind, seat.kind)
                yield Chore(combination, verb.lower(), how, (thing, seat), goal, (verb,))


def _television(home: Draft, seats: list[Piece]) -> Iterator[Chore]:
    for television, seat in product(home.of("television"), seats):
        if television.room == seat.room:
            pieces = (television, seat)
            goal = (_has(television, "ON"), *_posed(home, "SITTING", seat))
            yield Chore(("relax", "tv", seat.kind), "tv", _sit_before, pieces, goal)
            yield Chore(("relax", "watch", seat.kind), "watch", _watch, pieces, goal, ("WATCH|LOOKAT",))


def _sleep(home: Draft) -> Iterator[Chore]:
    for bed, light in product(home.of("bed"), home.of("light", "lamp", "floor_lamp")):
        if bed.room == light.room and "ON" in light.states and len(home.on(bed.id)) < LYING_PLACES:
            goal = (_has(light, "OFF"), *_posed(home, "LYING", bed))
            yield Chore(("relax", "sleep", light.kind), "sleep", _lie_down, (light, bed), goal)


_KINDS: Mapping[str, Callable[[Draft], Iterator[Chore]]] = {
    "fetch": _fetch,
    "put": _put,
    "switch": _switch,
    "wash": _wash,
    "cook": _cook,
    "relax": _relax,
    "tidy": _put,
}
KINDS = tuple(_KINDS)
"""Kinds of task, which are the strata of reports. `tidy` is several of `put`."""


# Recipes


def _run(gold: Gold, piece: Piece) -> None:
    gold.go(piece)
    if piece.kind in DOORED:
        gold.close(piece)
    gold.switch(piece, on=True)


def _stop(gold: Gold, piece: Piece) -> None:
    gold.switch(piece, on=False)


def _use(gold: Gold, thing: Piece, machine: Piece) -> None:
    gold.put(thing, machine)
    _run(gold, machine)


def _wash_at(gold: Gold, thing: Piece, sink: Piece) -> None:
    gold.put(thing, sink)
    gold.reach(thing)
    gold.act("WASH", thing)


def _fry(gold: Gold, food: Piece, vessel: Piece, stove: Piece) -> None:
    gold.put(vessel, stove)
    gold.put(food, vessel)
    gold.switch(stove, on=True)


def _sit_before(gold: Gold, television: Piece, seat: Piece) -> None:
    gold.switch(television, on=True)
    gold.go(seat)
    gold.act("SIT", seat)


def _watch(gold: Gold, television: Piece, seat: Piece) -> None:
    _sit_before(gold, television, seat)
    gold.act("TURNTO", television)
    gold.act("WATCH", television)


def _lie_down(gold: Gold, light: Piece, bed: Piece) -> None:
    gold.switch(light, on=False)
    gold.go(bed)
    gold.act("LIE", bed)


def _read(gold: Gold, thing: Piece, seat: Piece) -> None:
    _sit_with(gold, thing, seat)
    gold.act("READ", thing)


def _drink(gold: Gold, thing: Piece, seat: Piece) -> None:
    _sit_with(gold, thing, seat)
    gold.act("DRINK", thing)


def _sit_with(gold: Gold, thing: Piece, seat: Piece) -> None:
    gold.take(thing)
    gold.go(seat)
    gold.act("SIT", seat)


# Conditions


def _has(piece: Piece, state: str) -> dict[str, Any]:
    return {"id": piece.id, "class_name": piece.kind, "state": state}


def _edge(a: int, name: str, b: Piece) -> dict[str, Any]:
    return {"from_id": a, "relation_type": name, "to_id": b.id}


def _at(thing: Piece, place: Piece) -> dict[str, Any]:
    return _edge(thing.id, relation(place.kind), place)


def _holds(home: Draft, thing: Piece) -> dict[str, Any]:
    return _edge(home.character, "HOLDS_RH", thing)


def _posed(home: Draft, posture: str, seat: Piece) -> tuple[dict[str, Any], dict[str, Any]]:
    return _has(home.pieces[home.character], posture), _edge(home.character, "ON", seat)
