"""The searching expert: solves tasks from what the character has seen, by rules that can be learnt by imitation.

Separate from the oracle, which sees everything. The expert knows the goal, the rooms, and the state of every thing
that was visible at some time; it names nothing else. Its next command follows from that by three rules:

1. Everything that the goal needs has been seen: the first command of the oracle's plan among what is known.
2. Otherwise enter the first room, by id, that was not entered yet.
3. When there is none, open the next closed thing that was not seen open yet: containers first, then what else opens;
   those of the room one is in first; those that cannot be carried first; by room and id. What runs is switched off
   before, and where both hands are full, one thing is dropped, best one that the goal does not need.

Where that is not enough, it goes through the rooms again, because somebody else may have moved things; where nothing is
left to do, it stays where it is. With two characters, what it knows may be elsewhere by now: the plan goes to where a
thing is, as far as that has been seen too. What somebody else has in a hand is left to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set

from spa_bench.environments.virtualhome.actions import OPENABLE
from spa_bench.environments.virtualhome.engine import World, executable
from spa_bench.environments.virtualhome.goals import Goal
from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.planner import needs, plan, without_taken


def advise(
    world: World,
    character: int,
    goal: Goal,
    known: Set[int],
    visited: Collection[int],
    opened: Collection[int] = (),
    done: Sequence[str] = (),
) -> Command:
    """What the expert does next.

    `known`: what was visible to it at some time; `visited`: rooms that it has been in; `opened`: what it has seen open
    and what may be closed again, which it would else look into once more; `done`: actions executed so far. Nothing but
    rooms and known things is looked at. Raises nothing for any state of a home that has the character.
    """
    known = known | world.graph.rooms
    commands = plan(world, character, goal, done, known)
    if commands is None and len(world.graph.characters) > 1:
        goal = without_taken(world, character, goal)
        commands = plan(world, character, goal, done, known)
    if commands:
        return commands[0]
    search = [] if commands is not None else _explore(world, character, goal, known, visited, opened)
    for command in (*search, *_wait(world, character)):
        if executable(world, *command, character):
            return command
    return "TURNTO", (character,)


def _explore(
    world: World, c: int, goal: Goal, known: Set[int], visited: Collection[int], opened: Collection[int]
) -> Iterator[Command]:
    """Rules 2 and 3; the first of these that can be executed is meant."""
    away = sorted(world.graph.rooms.difference(visited))
    closed = None if away else _closed(world, c, known, opened)
    if away:
        yield from _go(world, c, away[0])
    elif closed is not None:
        if not world.near(c, closed):
            yield from _go(world, c, closed)
        if "ON" in world.states(closed):
            yield "SWITCHOFF", (closed,)
        yield "OPEN", (closed,)
        wanted = needs(world.graph, c, goal)
        for n in sorted(world.held(c), key=lambda n: n in wanted):
            yield "DROP", (n,)
    elif not needs(world.graph, c, goal) <= known:
        here = world.room(c)
        yield from _go(world, c, min(world.graph.rooms, key=lambda n: (here is not None and n <= here, n)))


def _closed(world: World, c: int, known: Set[int], opened: Collection[int]) -> int | None:
    """What to open next."""
    properties, here = world.graph.properties, world.room(c)

    def rank(n: int) -> tuple[bool, bool, bool, int, int]:
        room = world.room(n)
        has = properties[n]
        return ("CONTAINERS" not in has, room != here, "GRABBABLE" in has, -1 if room is None else room, n)

    shut = [
        n
        for n in known
        if n not in opened
        and "CLOSED" in world.states(n)
        and ("CAN_OPEN" in properties[n] or world.graph.classes[n] in OPENABLE)
        and world.room(n) is not None
        and not world.shut_in(n)
    ]
    return min(shut, key=rank, default=None)


def _go(world: World, c: int, n: int) -> Iterator[Command]:
    if world.posed(c):
        yield "STANDUP", ()
    yield "WALK", (n,)


def _wait(world: World, c: int) -> Iterator[Command]:
    """Something that changes as little as possible."""
    yield "WAKEUP", ()
    yield "WALK", (world.room(c) or min(world.graph.rooms),)
