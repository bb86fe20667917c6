"""For the actions that a goal asks for: what they may be done to, and what must be so first.

Separate from the agenda because a goal names verbs and no objects: something has to be chosen, best what the goal
speaks of anyway, else what is held, at hand, or has the smallest id. `roles` chooses; the search then takes whichever
role costs least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from spa_bench.environments.virtualhome.actions import MOVING, OPENABLE, RECIPIENTS, SQUEEZABLE
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.goals import Goal
from spa_bench.environments.virtualhome.layout import Bits
from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.repaired import STRUCTURE
from spa_bench.environments.virtualhome.sketch import CLOSED, OFF, ON, OPEN, PLUGGED_IN, PLUGGED_OUT

MOST = 3
"""Objects that are considered for one action."""


class Role(NamedTuple):
    """One way to do an action of the goal."""

    command: Command
    held: int | None = None
    """What must be in a hand."""
    near: int | None = None
    hand: bool = False
    """One hand must be empty."""
    state: int = 0
    """What the near thing must have."""
    open: bool = False
    """What the near thing is in must not be closed."""
    posed: bool = False
    """One must sit or lie."""
    faced: int | None = None


class _Need(NamedTuple):
    properties: tuple[str, ...] = ()
    """One of these."""
    classes: frozenset[str] = frozenset()
    """Or one of these classes."""
    hand: bool = False
    state: int = 0
    open: bool = False


_NEAR: Mapping[str, _Need] = {
    "CLOSE": _Need(("CAN_OPEN",), OPENABLE, state=OPEN),
    "CUT": _Need(("CUTTABLE",), hand=True),
    "EAT": _Need(("EATABLE",)),
    "GRAB": _Need(("GRABBABLE",), hand=True, open=True),
    "LIE": _Need(("LIEABLE",)),
    "MOVE": _Need(("MOVABLE",), MOVING, hand=True, open=True),
    "OPEN": _Need(("CAN_OPEN",), OPENABLE, hand=True, state=CLOSED),
    "PLUGIN": _Need(("HAS_PLUG",), hand=True, state=PLUGGED_OUT),
    "PLUGOUT": _Need(("HAS_PLUG",), hand=True, state=PLUGGED_IN),
    "PULL": _Need(("MOVABLE",), MOVING, hand=True, open=True),
    "PUSH": _Need(("MOVABLE", "GRABBABLE", "HAS_SWITCH"), MOVING, hand=True, open=True),
    "RINSE": _Need(),
    "SCRUB": _Need(),
    "SIT": _Need(("SITTABLE",)),
    "SQUEEZE": _Need(("CLOTHES",), SQUEEZABLE, hand=True),
    "SWITCHOFF": _Need(("HAS_SWITCH",), state=ON),
    "SWITCHON": _Need(("HAS_SWITCH",), state=OFF),
    "TOUCH": _Need(open=True),
    "TYPE": _Need(("HAS_SWITCH",), frozenset({"keyboard"})),
    "WASH": _Need(),
    "WIPE": _Need(),
}
_HELD: Mapping[str, _Need] = {
    "DRINK": _Need(("DRINKABLE", "RECIPIENT")),
    "DROP": _Need(),
    "POUR": _Need(("POURABLE", "DRINKABLE")),
    "PUTBACK": _Need(),
    "PUTIN": _Need(),
    "PUTON": _Need(("CLOTHES",)),
    "READ": _Need(("READABLE",)),
    "RELEASE": _Need(),
}
_FACED = frozenset({"LOOKAT", "POINTAT", "WATCH"})
_FREE = frozenset({"FIND", "RUN", "TURNTO", "WALK"})
_POSED = frozenset({"SLEEP", "STANDUP", "WAKEUP"})
_INTO: Mapping[str, _Need] = {
    "POUR": _Need(("RECIPIENT",), RECIPIENTS),
    "PUTBACK": _Need(("SURFACES",)),
    "PUTIN": _Need(("RECIPIENT",)),
}
"""What things are put on or in; more is possible than is tried."""


def roles(
    goal: Goal, asked: int, bits: Bits, world: World, character: int, done: int, known: int
) -> tuple[tuple[Role, ...], ...]:
    """For each action of the goal the ways to do it; none for those that are done. `asked`: what the goal is about."""
    cast = _Cast(bits, world, character, asked, known)
    return tuple(
        tuple(role for verb in sorted(verbs) for role in cast.roles(verb)) if turn >= done else ()
        for turn, verbs in enumerate(goal.actions)
    )


class _Cast:
    """Chooses objects."""

    def __init__(self, bits: Bits, world: World, character: int, asked: int, known: int) -> None:
        self.bits, self.world, self.c = bits, world, character
        graph = bits.graph
        self.known = known & ~(bits.rooms | bits.people | bits.limbs)
        self.known &= ~bits.mask(n for n in graph.nodes if graph.categories[n] in STRUCTURE)
        self.held = bits.mask(world.held(character))
        self.close = bits.mask(world.out("CLOSE", character)) & self.known
        self.asked = asked

    def roles(self, verb: str) -> Iterator[Role]:
        """The ways to do an action."""
        if verb in _NEAR:
            yield from self._near(verb, _NEAR[verb])
        elif verb in _HELD:
            for n in self.choose(self.having(_HELD[verb]) & (self.bits.takable | self.held)):
                yield from self._holding(verb, n)
        elif verb in _FACED:
            qualities = self.bits.having("LOOKABLE") & self.known if verb == "WATCH" else self.known
            for n in self.choose(qualities):
                yield Role((verb, (n,)), near=n if verb == "WATCH" else None, faced=n)
        elif verb in _POSED:
            yield Role((verb, ()), posed=True)
        elif verb in _FREE:
            for n in self.choose(self.known):
                yield Role((verb, (n,)))
        elif verb == "GREET":
            for n in self.choose(self.bits.having("PERSON") & self.known):
                yield Role((verb, (n,)))

    def _near(self, verb: str, need: _Need) -> Iterator[Role]:
        tools: list[int | None] = [None]
        if verb == "CUT":
            knives = (n for n in self.bits.graph.nodes if "knife" in self.bits.graph.classes[n])
            tools = [*self.choose(self.bits.mask(knives) & self.known & self.bits.takable)]
        elif verb == "WIPE":
            tools = [*self.choose(self.known & self.bits.takable)]
        pool = self.having(need) & (self.bits.having("EATABLE") if verb == "CUT" else self.known)
        if verb == "GRAB":
            pool &= ~self.held
        for n in self.choose(pool, shut=not need.open):
            for tool in tools:
                yield Role((verb, (n,)), held=tool, near=n, hand=need.hand, state=need.state, open=need.open)

    def _holding(self, verb: str, n: int) -> Iterator[Role]:
        if verb not in _INTO:
            yield Role((verb, (n,)), held=n)
            return
        for to in self.choose(self.having(_INTO[verb]) & ~self.bits.bit[n]):
            yield Role((verb, (n, to)), held=n, near=to)

    def having(self, need: _Need) -> int:
        """All that is known and fit."""
        graph, found = self.bits.graph, self.known
        if need.properties or need.classes:
            found &= self.bits.having(*need.properties) | self.bits.mask(
                n for n in graph.nodes if graph.classes[n] in need.classes
            )
        return found

    def choose(self, pool: int, *, shut: bool = True) -> list[int]:
        """A few of them."""
        if pool & self.asked:
            return list(self.bits.nodes(pool & self.asked))[:MOST]
        for best in (pool & self.held, pool & self.close, pool):
            for n in self.bits.nodes(best):
                if self.world.room(n) is not None and not (self.world.shut_in(n) and self._fits(shut)):
                    return [n]
        return []

    @staticmethod
    def _fits(shut: bool) -> bool:
        return True
