"""What one character knows, and how it reads its own words: the part that is the same alone and with others.

Separate from the environments because the world for one and the world for several ask the same of each character.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spa_bench.core import Fault
from spa_bench.environments.virtualhome import view, words
from spa_bench.environments.virtualhome.engine import World

Command = tuple[str, tuple[int, ...]]
"""An action of the engine, and the nodes that it is done to."""

MOST_NAMED = 3
"""Readings of a text that are named in a reason; more would be a wall of text."""


@dataclass(frozen=True)
class Mind:
    """What one character has seen so far, and was told last."""

    known: frozenset[int]
    """Things that were visible to it at some time, and all rooms: what it may name."""
    room: int | None
    """Where it was last."""
    visited: frozenset[int]
    """Rooms that it has been in."""
    opened: frozenset[int]
    """Things that it has seen open."""
    observation: str


@dataclass(frozen=True)
class Refused:
    """Why a text was not executed."""

    fault: Fault
    reason: str


def awake(world: World, names: Mapping[int, str], character: int) -> Mind:
    """The mind of a character that opens its eyes."""
    graph = world.graph
    visible, room = world.visible(character), world.room(character)
    told = view.observation(world, names, character, visible, whole_room=True)
    rooms = ", ".join(names[node] for node in sorted(graph.rooms))
    known = graph.rooms | visible | {character, *graph.body_parts}
    return Mind(known, room, graph.rooms & {room}, _open(world, visible), f"The rooms are {rooms}. {told}")


def after(mind: Mind, world: World, names: Mapping[int, str], character: int, *, executed: bool) -> Mind:
    """The mind after a step of the world; a command that was not executed tells nothing."""
    if not executed:
        return replace(mind, observation=words.NOTHING)
    visible, room = world.visible(character), world.room(character)
    told = view.observation(world, names, character, visible, whole_room=room != mind.room)
    visited = mind.visited | (world.graph.rooms & {room})
    return Mind(mind.known | visible, room, visited, mind.opened | _open(world, visible), told)


def read(text: str, ids: Mapping[str, int], mind: Mind) -> Command | Refused:
    """The command that a text says, if all that it names is known to the character and no other command fits."""
    readings = list(words.readings(text))
    if not readings:
        return Refused("format", "no command has this form")
    found = [
        (action, tuple(ids[name] for name in named))
        for action, named in readings
        if all(ids.get(name) in mind.known for name in named)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        return Refused("inadmissible", f"it can mean {' or '.join(action for action, _ in found[:MOST_NAMED])}")
    unseen = sorted({name for reading in readings for name in reading.names if ids.get(name) not in mind.known})
    return Refused("inadmissible", f"you have not seen {' or '.join(unseen[:MOST_NAMED])}")


def _open(world: World, visible: frozenset[int]) -> frozenset[int]:
    return frozenset(node for node in visible if "OPEN" in world.states(node))
