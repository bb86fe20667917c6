"""The sheet on which is added up what is left to do in one situation, and what could be done next.

Separate from those who fill it in (`errands`, `machines`, `deeds`, `bearing`), which know one kind of wish each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.planning.routes import Routes, Target
from spa_bench.environments.virtualhome.planning.sketch import CLOSED, OPEN, Moment, Sketch
from spa_bench.environments.virtualhome.planning.wishes import Wishes

NEVER = 1 << 20
"""More steps than any plan has."""


STAND: Command = ("STANDUP", ())


class Role(NamedTuple):
    """One way to do an action that the goal asks for."""

    command: Command
    held: int | None = None
    """What must be in a hand."""
    near: int | None = None
    hand: bool = False
    """One hand must be empty."""
    state: int = 0
    """What the near thing must have."""
    reachable: bool = False
    """The near thing must not be shut in."""
    posed: bool = False
    """One must sit or lie."""
    faced: int | None = None


class Brief(NamedTuple):
    """What does not change while a goal is pursued."""

    sketch: Sketch
    wishes: Wishes
    routes: Routes
    roles: tuple[tuple[Role, ...], ...]
    """For each action of the goal, the ways to do it."""
    chairs: tuple[int, ...]
    """Where to sit or lie if the goal does not say where."""


class Tally:
    """What is left in one moment."""

    def __init__(self, brief: Brief, moment: Moment, errands: tuple[int, ...] | None) -> None:
        """`errands`: the things that count for now, and nothing that has not to do with them; None for all."""
        self.brief, self.m, self.errands = brief, moment, errands
        self.sketch, self.bits, self.wishes = brief.sketch, brief.sketch.bits, brief.wishes
        self.steps = 0
        """At least so many, walks apart."""
        self.only: list[Command] = []
        """Steps that can only help."""
        self.ready: list[Command] = []
        """Steps that may help."""
        self.last: list[Command] = []
        """Steps that may help, and are better done later where that costs nothing."""
        self.now: list[Target] = []
        """Where one has to go for a next step."""
        self.later: list[Target] = []
        """Where one will have to be."""
        self.visits: list[tuple[Target, int]] = []
        """How often one has to go somewhere at least."""
        self.opened: set[int] = set()
        """What has to be open."""
        self.busy: set[int] = set()
        """What things will go in, on or out of."""
        self.waiting = False
        """Something at hand waits for an empty hand."""
        self.handy = False
        """Something will need an empty hand."""
        self.delivering = False
        """Something in a hand is to be put somewhere."""
        self.rising = False
        """One has to stand up, even if nothing has to be walked to."""
        self.seating: list[Command] = []
        """Ways to sit or lie down as wished."""
        self.sources: dict[int, list[tuple[int, bool]]] = {}
        """What things lie on or in -> each of them, and whether one walk does for it and for where it goes."""
        self.drops: dict[int, list[int]] = {}
        """Where things go -> [how many still lie elsewhere, how many are in a hand and far from there]."""

    def walks(self) -> int:
        """How many walks are needed at least."""
        return self.brief.routes.least(self.m.layout, tuple(self.visits))

    @property
    def full(self) -> bool:
        """Both hands hold something."""
        return self.m.right is not None and self.m.left is not None

    def near(self, n: int) -> int:
        """Whether one is near."""
        return self.m.close & self.m.layout.contact[n]

    def state(self, n: int) -> int:
        """State bits of a node."""
        return self.sketch.state(self.m, n)

    def do(self, command: Command) -> None:
        """A step that can only help, unless it may get in the way of an action that the goal asks for."""
        left = self.brief.roles[self.m.done :]
        wanted = any(command[0] == role.command[0] for roles in left[1:] for role in roles)
        hinders = any(role.state and role.near in command[1] for roles in left for role in roles)
        (self.ready if wanted or hinders else self.only).append(command)

    def go(self, target: Target, *, alone: bool = True) -> None:
        """One has to go there; not `alone` where something else would do as well."""
        self.now.append(target)
        if alone:
            self.visits.append((target, 1))

    def open(self, n: int) -> bool:
        """See to it that nothing closed is around a thing; whether that is so already."""
        place = self.m.layout.places.get(n)
        around = self.bits.inside[n] if place is None else place.inside
        shut = [x for x in self.bits.nodes(around) if self.state(x) & CLOSED]
        self.opened.update(shut)
        return not shut

    def reach(self, n: int) -> None:
        """A thing has to be taken, or something else."""
        place = self.m.layout.places[n]
        used = n in self.m.guests or place.on & self.bits.people & ~self.sketch.me
        if used or not self.bits.bit[n] & self.bits.takable:
            self.steps += NEVER
            return
        self.steps += 1
        self.handy = True
        self.busy.update(self.bits.nodes(place.inside))
        free = self.open(n)
        if not self.near(n):
            (self.now if free else self.later).append(("near", n))
        elif free:
            self.waiting = self.waiting or self.full
            if not self.full:
                self.ready.append(("GRAB", (n,)))

    def fetch(self, n: int, to: Sequence[int] = ()) -> None:
        """A thing has to be taken, and then brought to these places."""
        self.reach(n)
        layout = self.m.layout
        place = layout.places[n]
        together = [self.brief.routes.together(layout, ("near", n), ("near", x)) for x in to]
        group = self.sources.setdefault(place.on | place.inside or self.bits.bit[n], [])
        group.append((n, bool(to) and all(together)))
        for x, same in zip(to, together, strict=True):
            self.drops.setdefault(x, [0, 0])[0] += not same

    def receive(self, relation: str, to: int) -> None:
        """Something will be put there."""
        self.busy.add(to)
        self.later.append(("near", to))
        if relation == "INSIDE" and self.bits.bit[to] & self.bits.openable and not self.state(to) & OPEN:
            self.opened.add(to)
