"""Tiny random homes and goals for them, and the shortest plans there by search over all that can be done."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from spa_bench.environments.virtualhome.engine import World, admissible
from spa_bench.environments.virtualhome.goals import Goal, satisfied
from spa_bench.environments.virtualhome.graph import Graph, compile_graph

Command = tuple[str, tuple[int, ...]]

FURNITURE = {
    "table": "SURFACES",
    "cabinet": "CAN_OPEN CONTAINERS",
    "microwave": "CAN_OPEN CONTAINERS HAS_SWITCH HAS_PLUG",
    "sofa": "SURFACES SITTABLE LIEABLE",
    "television": "HAS_SWITCH HAS_PLUG LOOKABLE",
    "chair": "SITTABLE GRABBABLE MOVABLE SURFACES",
}
THINGS = {
    "cup": "GRABBABLE RECIPIENT MOVABLE",
    "plate": "GRABBABLE SURFACES RECIPIENT MOVABLE",
    "book": "GRABBABLE READABLE MOVABLE",
    "shirt": "GRABBABLE CLOTHES MOVABLE",
}
STATES = {
    "CAN_OPEN": ("OPEN", "CLOSED"),
    "HAS_SWITCH": ("ON", "OFF"),
    "HAS_PLUG": ("PLUGGED_IN", "PLUGGED_OUT"),
    "RECIPIENT": ("CLEAN", "DIRTY"),
}
EFFECTIVE = frozenset(
    {
        *("WALK", "FIND", "SIT", "LIE", "STANDUP", "GRAB", "PUTBACK", "PUTIN", "DROP", "OPEN", "CLOSE", "SWITCHON"),
        *("SWITCHOFF", "PLUGIN", "PLUGOUT", "WASH", "TURNTO", "PUTON", "PUTOFF", "POUR"),
    }
)
"""Actions that change something, each once: RUN is WALK, RELEASE is DROP."""


def home(rng: random.Random, furniture: int, things: int, close: float) -> Graph:
    """One or two rooms; with chance `close` any two things of a room are close to each other."""
    nodes: list[dict[str, Any]] = []
    edges: set[tuple[int, str, int]] = set()

    def add(kind: str, category: str, properties: str) -> int:
        states = {rng.choice(pair) for quality, pair in sorted(STATES.items()) if quality in properties.split()}
        if {"ON", "PLUGGED_OUT"} <= states:
            states ^= {"PLUGGED_OUT", "PLUGGED_IN"}
        nodes.append({"id": len(nodes) + 1, "class_name": kind, "category": category})
        nodes[-1].update(properties=properties.split(), states=sorted(states))
        return len(nodes)

    rooms = [add("room", "Rooms", "") for _ in range(rng.choice((1, 2)))]
    room: dict[int, int] = {}
    for kind in rng.sample(sorted(FURNITURE), furniture):
        n = add(kind, "Furniture", FURNITURE[kind])
        room[n] = rng.choice(rooms)
    standing = list(room)
    for kind in rng.sample(sorted(THINGS), things):
        n, place = add(kind, "placable_objects", THINGS[kind]), rng.choice(list(room))
        room[n] = room[place]
        edges.add((n, "INSIDE" if "CONTAINERS" in nodes[place - 1]["properties"] else "ON", place))
    edges |= {(n, "INSIDE", r) for n, r in room.items()}
    for a in room:
        for b in room:
            if a < b and room[a] == room[b] and rng.random() < close:
                edges |= {(a, "CLOSE", b), (b, "CLOSE", a)}
    edges |= {(a, "FACING", b) for a in standing for b in standing if a != b and b % 2 and rng.random() < 0.2}
    edges = {edge for edge in edges if edge[1] != "FACING" or "GRABBABLE" not in nodes[edge[2] - 1]["properties"]}
    character = add("character", "Characters", "")
    edges.add((character, "INSIDE", rng.choice(rooms)))
    links = [{"from_id": a, "relation_type": relation, "to_id": b} for a, relation, b in sorted(edges)]
    return compile_graph({"nodes": nodes, "edges": links}, "a tiny home")


def moves(world: World, character: int, also: frozenset[str] = frozenset()) -> list[Command]:
    """Everything that can be done now and changes something, or is one of the other actions."""
    return [step for step in admissible(world, character, world.graph.nodes) if step[0] in EFFECTIVE | also]


def wander(rng: random.Random, world: World, character: int, steps: int) -> Iterator[Command]:
    """Random steps, each executed after it was given; each action is as likely as any other."""
    for _ in range(steps):
        found = moves(world, character)
        action = rng.choice(sorted({action for action, _ in found}))
        step = rng.choice([step for step in found if step[0] == action])
        yield step
        assert world.execute(*step, character).executed


def goal(rng: random.Random, graph: Graph) -> Goal:
    """One to three of the things that a random walk has changed, and sometimes an action; not met at the start."""
    (character,) = graph.characters
    while True:
        world, start = World(graph), World(graph)
        for _ in wander(rng, world, character, rng.randint(3, 12)):
            pass
        found = list(_changes(start, world, character))
        picked = rng.sample(found, min(len(found), rng.randint(1, 3)))
        parts = [tuple(item for kind, item in picked if kind == part) for part in range(4)]
        actions = (frozenset({rng.choice(("READ", "DRINK", "SLEEP"))}),) if rng.random() < 0.1 else ()
        wanted = Goal(*parts, actions=actions)
        if picked and not satisfied(wanted, start):
            return wanted


def _changes(start: World, world: World, character: int) -> Iterator[tuple[int, Any]]:
    """(part of a goal, condition)."""
    for n in world.graph.nodes:
        for state in sorted(world.states(n) - start.states(n) - ({"CLEAN"} if n == character else set())):
            yield 0, (n, state)
        for state in sorted(start.states(n) - world.states(n)):
            yield 1, (n, state)
    before, after = set(start.edges()), set(world.edges())
    for a, relation, b in sorted(after - before):
        if relation != "CLOSE" and a != b:
            yield 2, (a, "HOLDS" if relation.startswith("HOLDS") else relation, b)
    for edge in sorted(before - after):
        if edge[1] not in ("CLOSE", "FACING"):
            yield 3, edge


def shorter(graph: Graph, wanted: Goal, length: int, most: int) -> int | None:
    """Length of the shortest plan if that is below `length`, else `length`; None where over `most` states are met."""
    (character,) = graph.characters
    also = frozenset[str]().union(*wanted.actions)
    front, seen = [(World(graph), ())], {(World(graph).key(), ())}
    for steps in range(1, length):
        following = []
        for world, done in front:
            for action, objects in moves(world, character, also):
                new, acted = world.copy(), (*done, action) if action in also else done
                new.execute(action, objects, character)
                if satisfied(wanted, new, acted):
                    return steps
                key = new.key(), acted
                if key not in seen:
                    seen.add(key)
                    following.append((new, acted))
            if len(seen) > most:
                return None
        front = following
    return length
