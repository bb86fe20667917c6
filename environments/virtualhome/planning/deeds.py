"""The actions that a goal asks for: what they may be done to, and what is left to do about the next of them.

Separate because a goal names verbs and no objects, so something has to be chosen: best what the goal speaks of anyway,
else what is held, at hand, or has the smallest id. `roles` chooses; the search takes the role that costs least.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from spa_bench.environments.virtualhome.actions import MOVING, OPENABLE, RECIPIENTS, SQUEEZABLE
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.goals import Goal
from spa_bench.environments.virtualhome.planning.layout import Bits
from spa_bench.environments.virtualhome.planning.machines import service
from spa_bench.environments.virtualhome.planning.sketch import CLOSED, OFF, ON, OPEN, PLUGGED_IN, PLUGGED_OUT, STATES
from spa_bench.environments.virtualhome.planning.tally import NEVER, STAND, Role, Tally
from spa_bench.environments.virtualhome.repaired import STRUCTURE

MOST = 3
"""Objects of the goal that are considered for one action."""
_WASHING = frozenset({"RINSE", "SCRUB", "WASH", "WIPE"})
_MOVING = frozenset(
    {
        *(
            "CLOSE",
            "DROP",
            "FIND",
            "GRAB",
            "LIE",
            "OPEN",
            "PLUGIN",
            "PLUGOUT",
            "POUR",
            "PUTBACK",
            "PUTIN",
            "PUTOFF",
            "PUTON",
        ),
        *("RELEASE", "RUN", "SIT", "STANDUP", "SWITCHOFF", "SWITCHON", "TURNTO", "WALK"),
    }
)
"""Actions that change more than dirt, so that it matters when they are done."""
_ANYWAY = _MOVING | _WASHING
"""Actions that a plan may have anyway, so that a goal which asks for them need not make it longer."""


class _Need(NamedTuple):
    """What an action asks of its object, which must be near or held."""

    properties: tuple[str, ...] = ()
    """One of these; without properties anything will do."""
    classes: frozenset[str] = frozenset()
    """Or one of these classes."""
    hand: bool = False
    state: int = 0
    reachable: bool = False


_NEAR: Mapping[str, _Need] = {
    "CLOSE": _Need(("CAN_OPEN",), OPENABLE, state=OPEN),
    "CUT": _Need(("CUTTABLE",), hand=True),
    "EAT": _Need(("EATABLE",)),
    "GRAB": _Need(("GRABBABLE",), hand=True, reachable=True),
    "LIE": _Need(("LIEABLE",)),
    "MOVE": _Need(("MOVABLE",), MOVING, hand=True, reachable=True),
    "OPEN": _Need(("CAN_OPEN",), OPENABLE, hand=True, state=CLOSED),
    "PLUGIN": _Need(("HAS_PLUG",), hand=True, state=PLUGGED_OUT),
    "PLUGOUT": _Need(("HAS_PLUG",), hand=True, state=PLUGGED_IN),
    "PULL": _Need(("MOVABLE",), MOVING, hand=True, reachable=True),
    "PUSH": _Need(("MOVABLE", "GRABBABLE", "HAS_SWITCH"), MOVING, hand=True, reachable=True),
    "RINSE": _Need(),
    "SCRUB": _Need(),
    "SIT": _Need(("SITTABLE",)),
    "SQUEEZE": _Need(("CLOTHES",), SQUEEZABLE, hand=True),
    "SWITCHOFF": _Need(("HAS_SWITCH",), state=ON),
    "SWITCHON": _Need(("HAS_SWITCH",), state=OFF),
    "TOUCH": _Need(reachable=True),
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
_INTO: Mapping[str, _Need] = {
    "POUR": _Need(("RECIPIENT",), RECIPIENTS),
    "PUTBACK": _Need(("SURFACES",)),
    "PUTIN": _Need(("RECIPIENT",)),
}
"""What things are put on or in; more is possible than is tried."""
_POSED = frozenset({"SLEEP", "STANDUP", "WAKEUP"})
_ANY: Mapping[str, _Need] = {
    **dict.fromkeys(("FIND", "LOOKAT", "POINTAT", "RUN", "TURNTO", "WALK"), _Need()),
    "GREET": _Need(("PERSON",)),
    "WATCH": _Need(("LOOKABLE",)),
}
"""Done from afar; the first three of looking need one to face the thing."""
_FACED = frozenset({"LOOKAT", "POINTAT", "WATCH"})
_LOOKING = frozenset({"LOOKAT", "POINTAT"})
"""Done only where nothing better will do."""


def roles(
    goal: Goal, asked: int, bits: Bits, world: World, character: int, done: int, known: int
) -> tuple[tuple[Role, ...], ...]:
    """For each action of the goal the ways to do it; none for those that are done, nor for PUTOBJBACK.

    `asked`: what the goal is about; what is chosen for one action counts among it for those after it.
    """
    cast = _Cast(bits, world, character, asked, known)
    found: list[tuple[Role, ...]] = []
    for turn, verbs in enumerate(goal.actions):
        order = sorted(verbs, key=lambda verb: (verb in _LOOKING, verb)) if turn >= done else []
        found.append(tuple(role for verb in order for role in cast.roles(verb)))
        cast.asked |= bits.mask(n for role in found[-1] for n in (role.held, role.near) if n is not None)
    return tuple(found)


def act(t: Tally) -> None:
    """Add what is left to do about the next action of the goal; those after it are only counted."""
    for turn in range(t.m.done, len(t.brief.roles) if t.errands is None else 0):
        ways = t.brief.roles[turn]
        free = any(role.command[0] in _ANYWAY for role in ways)
        costs = [1 + _prepare(t, role, alone=len(ways) == 1) for role in ways if turn == t.m.done]
        if not ways:
            t.steps = NEVER
        elif not free:
            t.steps += min(costs, default=1)


def _prepare(t: Tally, role: Role, *, alone: bool) -> int:
    """See to what must be so before; how many steps that takes at least, walks apart."""
    needs = [
        _hold(t, role, alone=alone),
        _stand(t, role, alone=alone),
        _set(t, role),
        _pose(t, role, alone=alone),
        _look(t, role, alone=alone),
    ]
    if all(need is None for need in needs):
        when = t.ready if role.command[0] in _MOVING else t.last if _comfortable(t, role) else t.only
        when.append(role.command)
    return sum(need or 0 for need in needs)


def _comfortable(t: Tally, role: Role) -> bool:
    """Whether to sit down first: it takes no longer, and one reads, drinks and looks better so."""
    return role.near is None and not t.m.posture and bool(t.wishes.posture or t.wishes.seats)


def _hold(t: Tally, role: Role, *, alone: bool) -> int | None:
    """Steps until the hands are right; None when they are."""
    if role.hand and t.full:
        t.waiting = t.handy = True
        return 0
    if role.held is None or role.held in t.m.hands:
        return None
    errand = t.wishes.errands.get(role.held)
    if errand is not None and (errand.hold or errand.places):
        return 0  # it will be taken anyway
    before = t.steps
    t.fetch(role.held) if alone else t.reach(role.held)
    cost, t.steps = t.steps - before, before
    return cost


def _stand(t: Tally, role: Role, *, alone: bool) -> int | None:
    """The same for being near."""
    if role.near is None or (t.near(role.near) and (not role.reachable or t.open(role.near))):
        return None
    if not t.near(role.near):
        t.go(("near", role.near), alone=alone)
    return 0


def _set(t: Tally, role: Role) -> int | None:
    """The same for the state of the thing."""
    if not role.state or role.near is None or t.state(role.near) & role.state:
        return None
    needed = service(t.state(role.near), role.state, 0, False)
    if needed and needed[0] and t.near(role.near):
        t.ready.append((needed[0][0], (role.near,)))
    return len(needed[0]) if needed else NEVER


def _pose(t: Tally, role: Role, *, alone: bool) -> int | None:
    """The same for sitting or lying."""
    if not role.posed or t.m.posture:
        return None
    if t.wishes.posture or t.wishes.seats:
        return 0  # one will sit anyway
    for n in t.brief.chairs:
        verb = "SIT" if "SITTABLE" in t.bits.graph.properties[n] else "LIE"
        if t.near(n):
            t.ready.append((verb, (n,)))
        else:
            t.go(("near", n), alone=alone and len(t.brief.chairs) == 1)
    return 1 if t.brief.chairs else NEVER


def _look(t: Tally, role: Role, *, alone: bool) -> int | None:
    """The same for facing the thing, in its room if it is to be watched."""
    if role.faced is None:
        return None
    room = t.m.layout.room(role.faced)
    if role.command[0] == "WATCH" and room is not None and room != t.m.room:
        t.go(("room", room), alone=alone)
        return 0
    seen = t.bits.bit[role.faced] if t.m.posture else t.bits.facing[role.faced]
    if t.m.facing & seen:
        return None
    (t.last if _comfortable(t, role) else t.ready).append(("TURNTO", (role.faced,)))
    return int(not t.wishes.faced & t.bits.bit[role.faced])


class _Cast:
    """Chooses objects."""

    def __init__(self, bits: Bits, world: World, character: int, asked: int, known: int) -> None:
        self.bits, self.world = bits, world
        graph = bits.graph
        building = bits.mask(n for n in graph.nodes if graph.categories[n] in STRUCTURE)
        self.known = bits.mask(graph.nodes) & known & ~(bits.rooms | bits.people | bits.limbs | building)
        self.held = bits.mask(world.held(character))
        self.worn = bits.mask(world.into("ON", character)) & bits.having("CLOTHES") & self.known
        self.close = bits.mask(world.out("CLOSE", character))
        self.asked = asked

    def roles(self, verb: str) -> Iterator[Role]:
        """The ways to do an action."""
        if verb in _NEAR:
            yield from self._near(verb, _NEAR[verb])
        elif verb in _HELD:
            for n in self._choose(_HELD[verb], self.bits.takable):
                yield from self._holding(verb, n)
        elif verb in _ANY:
            for n in self._choose(_ANY[verb]):
                yield Role((verb, (n,)), faced=n if verb in _FACED else None)
        elif verb == "PUTOFF":
            yield from (Role((verb, (n,))) for n in self.bits.nodes(self.worn))
        elif verb in _POSED:
            yield Role(STAND if verb == "STANDUP" else (verb, ()), posed=True)

    def _near(self, verb: str, need: _Need) -> Iterator[Role]:
        among = {"CUT": self.bits.having("EATABLE"), "GRAB": self.bits.takable & ~self.held}.get(verb, -1)
        tools: list[int | None] = [None]
        if verb in ("CUT", "WIPE"):
            knives = frozenset(name for name in self.bits.graph.classes.values() if "knife" in name)
            tool = _Need() if verb == "WIPE" else _Need(("",), knives)
            tools = [*self._choose(tool, self.bits.takable)]
        for n in self._choose(need, among):
            for held in tools:
                yield Role((verb, (n,)), held, n, need.hand, need.state, need.reachable)

    def _holding(self, verb: str, n: int) -> Iterator[Role]:
        if verb not in _INTO:
            yield Role((verb, (n,)), held=n)
            return
        for to in self._choose(_INTO[verb], ~self.bits.bit[n]):
            yield Role((verb, (n, to)), held=n, near=to)

    def _choose(self, need: _Need, among: int = -1) -> list[int]:
        """A few of what is known and fits."""
        world, pool = self.world, self.known & among
        if need.properties:
            pool &= self.bits.having(*need.properties, classes=need.classes)
        if pool & self.asked:
            return list(self.bits.nodes(pool & self.asked))[:MOST]

        def rank(n: int) -> tuple[bool, int, bool, bool]:
            bit = self.bits.bit[n]
            needed = service(sum(STATES.get(state, 0) for state in world.states(n)), need.state, 0, False)
            return world.shut_in(n), len(needed[0]) if needed else NEVER, not bit & self.held, not bit & self.close

        best = min((n for n in self.bits.nodes(pool) if world.room(n) is not None), key=rank, default=None)
        return [] if best is None else [best]
