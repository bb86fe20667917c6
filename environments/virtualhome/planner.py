"""The oracle: a short plan from any state of a home, for a character that sees everything, or that knows some of it.

Separate from the expert, which has to find things first, and from the search, which knows no worlds. Profile `fixed`:
a plan is executed in a copy of the world before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.goals import Goal, matched, satisfied
from spa_bench.environments.virtualhome.graph import Graph
from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.planning.deeds import roles
from spa_bench.environments.virtualhome.planning.layout import Bits, Layouts
from spa_bench.environments.virtualhome.planning.routes import Routes
from spa_bench.environments.virtualhome.planning.search import Search, Way
from spa_bench.environments.virtualhome.planning.sketch import Moment, Sketch
from spa_bench.environments.virtualhome.planning.tally import Brief, Role
from spa_bench.environments.virtualhome.planning.wishes import Wishes, wishes

GAMES = 1024
"""Goals and homes that something is remembered of: more than are ever played side by side, for oracle and expert."""
KEPT = 300
"""Moments that are remembered for one goal."""

Roles = tuple[tuple[Role, ...], ...]


def plan(
    world: World, character: int, goal: Goal, done: Iterable[str] = (), known: Set[int] | None = None
) -> tuple[Command, ...] | None:
    """Commands that reach the goal, none where it is reached; None where no way was found.

    `done` are the actions executed so far, for goals that ask for actions. With `known`, only these nodes are named.
    The result depends on the arguments alone, and is the same on every machine; the plan after the first command of a
    plan is the rest of it. Raises KeyError for a character that the home has not.
    """
    graph = world.graph
    wish = _wishes(graph, character, goal)
    if not satisfied(wish.given, world) or (known is not None and not needs(graph, character, goal) <= known):
        return None
    turns = matched(goal, done)
    ways: Roles = ()
    if goal.actions:
        bits = _bits(graph)
        scope = -1 if known is None else bits.mask(known & graph.classes.keys())
        ways = roles(goal, bits.mask(wish.nodes) | wish.faced, bits, world, character, turns, scope)
    scope = _concern(graph, character, goal, ways).scope(known)
    found = _planner(graph, character, goal, ways, scope).plan(world, turns)
    if found is None or known is None or all(n in known for _, objects in found for n in objects):
        return found
    return None


def remaining(world: World, goals: Mapping[int, Goal], done: Iterable[str] = ()) -> int | None:
    """Steps in which one of the characters can do all that is left; None where no way was found.

    `goals` has the goal as each of them would have to reach it. Where that one cannot, because others have things of
    the goal in their hands, these are dropped first, a step each.
    """
    done = tuple(done)
    counts = [_alone(world, character, goal, done) for character, goal in goals.items()]
    return min((count for count in counts if count is not None), default=None)


def _alone(world: World, character: int, goal: Goal, done: tuple[str, ...]) -> int | None:
    commands = plan(world, character, goal, done)
    if commands is not None or len(world.graph.characters) == 1:
        return None if commands is None else len(commands)
    needed, after, drops = needs(world.graph, character, goal), world.copy(), 0
    for other in world.graph.characters:
        for n in world.held(other) if other != character else ():
            drops += n in needed and after.execute("DROP", (n,), other).executed
    commands = plan(after, character, goal, done) if drops else None
    return None if commands is None else drops + len(commands)


def needs(graph: Graph, character: int, goal: Goal) -> frozenset[int]:
    """All things that have to be known to reach the goal; for the goal's actions, something else may be needed too."""
    return _needs(graph, character, goal)


def without_taken(world: World, character: int, goal: Goal) -> Goal:
    """What one can do while somebody else has things of the goal in a hand; the goal itself if nobody has.

    Left to them are these things, the machines that these go into, and all that one character has to do as a whole:
    what it holds, where it sits, and the goal's actions.
    """

    def taken(n: int) -> bool:
        return world.holder(n) not in (None, character)

    links = (*goal.edges, *goal.absent_edges)
    if not any(taken(n) for a, _, b in links for n in (a, b)):
        return goal
    theirs = {n for a, _, b in links for n in (a, b) if taken(a) or taken(b)}
    theirs = (theirs | {character}).difference(world.held(character))
    return Goal(
        tuple(item for item in goal.nodes if item[0] not in theirs),
        tuple(item for item in goal.absent_states if item[0] not in theirs),
        tuple(edge for edge in goal.edges if edge[0] not in theirs),
        tuple(edge for edge in goal.absent_edges if edge[0] not in theirs),
    )


class _Concern(NamedTuple):
    """What may play a part in the plans for a goal."""

    loose: frozenset[int]
    spots: frozenset[int]
    chairs: tuple[int, ...]
    looks: int
    reach: tuple[tuple[int, int], ...]
    """What one may walk to, and its bit."""

    def scope(self, known: Set[int] | None) -> int:
        """What of it may be walked to by somebody who knows this."""
        return sum(bit for n, bit in self.reach if known is None or n in known)


class _Planner:
    """Plans for one goal, and what was learnt in making them."""

    def __init__(self, graph: Graph, character: int, goal: Goal, ways: Roles, scope: int) -> None:
        self._arguments = graph, character, goal, ways, scope
        self._character, self._actions = character, goal.actions
        self._end = replace(goal, actions=())
        self._plans: dict[Moment, Way | None] = {}
        self._start()

    def _start(self) -> None:
        brief = _brief(*self._arguments)
        self._sketch, self._search = brief.sketch, Search(brief, _tour(brief))
        self._plans.clear()

    def plan(self, world: World, turns: int) -> Way | None:
        """The plan from a state in which so many of the goal's actions were done."""
        if len(self._search) + len(self._plans) > KEPT:
            self._start()
        moment = self._sketch.moment(world, turns)
        if moment not in self._plans:
            found = self._search.way(moment)
            self._plans[moment] = found if found is not None and self._works(world, found, turns) else None
        return self._plans[moment]

    def _works(self, world: World, commands: Way, turns: int) -> bool:
        trial = world.copy()
        for action, objects in commands:
            if not trial.execute(action, objects, self._character).executed:
                return False
            if turns < len(self._actions) and action in self._actions[turns]:
                turns += 1
        return turns == len(self._actions) and satisfied(self._end, trial)


@lru_cache(GAMES)
def _bits(graph: Graph) -> Bits:
    return Bits(graph)


@lru_cache(GAMES)
def _wishes(graph: Graph, character: int, goal: Goal) -> Wishes:
    return wishes(goal, _bits(graph), character)


@lru_cache(GAMES)
def _needs(graph: Graph, character: int, goal: Goal) -> frozenset[int]:
    wish, bits = _wishes(graph, character, goal), _bits(graph)
    return frozenset(wish.nodes).union(bits.nodes(wish.faced))


@lru_cache(GAMES)
def _concern(graph: Graph, character: int, goal: Goal, ways: Roles) -> _Concern:
    bits, wish = _bits(graph), _wishes(graph, character, goal)
    every = [role for some in ways for role in some]
    cast = {n for role in every for n in (role.held, role.near, role.faced) if n is not None}
    loose = {*wish.errands, *bits.nodes(bits.mask({*cast, *wish.close}) & bits.takable)}
    for n in wish.seats:
        loose.update(bits.nodes(bits.upon[n] & bits.takable))
    chairs: tuple[int, ...] = ()
    if not wish.seats and (wish.posture or any(role.posed for role in every)):
        fit = bits.having("LIEABLE" if wish.posture == "LYING" else "SITTABLE") & bits.placed
        chairs = tuple(bits.nodes(fit))
    spots = {*wish.nodes, *cast, *chairs, *bits.nodes(wish.apart)}
    for n in (*loose, *sorted(spots)):
        spots.update(bits.nodes(bits.inside[n]))
    looks = wish.faced | wish.unfaced
    for role in every:
        looks |= bits.facing[role.faced] if role.faced is not None else 0
    start = Layouts(bits).of({})
    reach = bits.mask(loose | spots)
    for n in loose | spots:
        reach |= start.walkers[n]
    near = tuple((n, bits.bit[n]) for n in bits.nodes(reach & bits.placed))
    return _Concern(frozenset(loose), frozenset(spots), chairs, looks, near)


@lru_cache(GAMES)
def _planner(graph: Graph, character: int, goal: Goal, ways: Roles, scope: int) -> _Planner:
    return _Planner(graph, character, goal, ways, scope)


def _brief(graph: Graph, character: int, goal: Goal, ways: Roles, scope: int) -> Brief:
    bits, concern = _bits(graph), _concern(graph, character, goal, ways)
    sketch = Sketch(
        bits, character, loose=concern.loose, spots=concern.spots, looks=concern.looks, actions=goal.actions
    )
    chairs = tuple(n for n in concern.chairs if bits.bit[n] & scope)
    return Brief(sketch, _wishes(graph, character, goal), Routes(sketch, scope), ways, chairs)


def _tour(brief: Brief) -> list[int]:
    """Things in an order that is short on the whole: what lies together, then what goes together, hands last."""
    bits, errands = brief.sketch.bits, brief.wishes.errands

    def key(n: int) -> tuple[object, ...]:
        here = min(bits.nodes(bits.on[n] | bits.inside[n]), default=n)
        there = errands[n].places[0][1] if errands[n].places else -1
        return (not errands[n].places, bits.room(n) or -1, here, there, n)

    return sorted(errands, key=key)
