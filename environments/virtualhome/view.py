"""What a character is told: where it is, what it sees there, what it holds. Canonical: sorted, and nothing else.

Partial: only what `World.visible` gives, and on most turns only what the character stands at. A room is described as a
whole when the character comes in. What is hidden in a closed thing is not told, though walking to the thing makes the
character CLOSE to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from spa_bench.environments.virtualhome.engine import World

UNTOLD = frozenset({"Ceiling", "Floor", "Floors", "Rooms", "Walls"})
"""Categories of things that are in every room; they can be named, and are never listed."""

SHOWN = {
    "CLOSED": "closed",
    "OPEN": "open",
    "OFF": "off",
    "ON": "on",
    "DIRTY": "dirty",
    "PLUGGED_OUT": "unplugged",
    "SITTING": "sitting",
    "LYING": "lying",
}
"""States that are told, in this order; clean and plugged in is how things are expected to be."""

POSTURES = {"SITTING": "sit", "LYING": "lie"}


def listed(world: World, character: int, seen: Iterable[int]) -> list[int]:
    """Those of the visible things that are told as being around, by id: no rooms, walls, limbs or held things."""
    graph, held = world.graph, set(world.held(character))
    return [
        node
        for node in sorted(seen)
        if node != character
        and node not in held
        and graph.categories[node] not in UNTOLD
        and "BODY_PART" not in graph.properties[node]
    ]


def at_hand(world: World, character: int, seen: Iterable[int]) -> list[int]:
    """Those of the visible things that the character stands at, what is on or in them, and whoever else is there."""
    rooms, people = world.graph.rooms, set(world.graph.characters) - {character}
    close = world.out("CLOSE", character) | people
    return [
        node
        for node in seen
        if node in close
        or world.holder(node) in people
        or not close.isdisjoint(world.out("ON", node))
        or not close.isdisjoint(world.out("INSIDE", node) - rooms)
    ]


def description(world: World, names: Mapping[int, str], things: list[int]) -> str:
    """Things with their states, those on or in another one of them after those that stand by themselves."""
    among = set(things)
    loose: list[str] = []
    held_by: dict[tuple[str, int], list[str]] = defaultdict(list)
    for node in things:
        place = _place(world, node, among)
        (loose if place is None else held_by[place]).append(_with_states(world, names, node))
    parts = [", ".join(loose)] if loose else []
    for word, place_id in sorted(held_by, key=lambda place: (place[1], place[0])):
        parts.append(f"{word} {names[place_id]}: {', '.join(held_by[word, place_id])}")
    return ". ".join(parts) or "nothing"


def observation(
    world: World, names: Mapping[int, str], character: int, visible: Iterable[int], *, whole_room: bool
) -> str:
    """One turn's text. Raises nothing: a character in no room is told so."""
    room = world.room(character)
    seen = listed(world, character, visible)
    things = seen if whole_room else at_hand(world, character, seen)
    head = f"You are in {names[room]}. You see" if whole_room and room is not None else "Near you"
    sentences = [f"{head}: {description(world, names, things)}."]
    if held := [_with_states(world, names, node) for node in world.held(character)]:
        sentences.append(f"You hold {' and '.join(held)}.")
    for state in sorted(POSTURES.keys() & world.states(character)):
        seats = [names[seat] for seat in sorted(world.out("ON", character))]
        sentences.append(f"You {POSTURES[state]}{' on ' + seats[0] if seats else ''}.")
    return " ".join(sentences)


def _place(world: World, node: int, among: set[int]) -> tuple[str, int] | None:
    holder = world.holder(node)
    if holder in among:
        return "Held by", holder
    for relation, word in (("ON", "On"), ("INSIDE", "In")):
        if places := among & world.out(relation, node) - {node}:
            return word, min(places)
    return None


def _with_states(world: World, names: Mapping[int, str], node: int) -> str:
    states = world.states(node)
    told = [word for state, word in SHOWN.items() if state in states]
    return f"{names[node]} ({', '.join(told)})" if told else names[node]
