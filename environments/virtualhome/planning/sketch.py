"""A situation reduced to what a goal is about, as a small value, and what each command makes of it.

Separate from the search because this is only VirtualHome's profile `fixed` said again for one character, so that a
step costs microseconds and equal situations are equal values. Tests hold it to the engine: what a command makes of the
sketch of a world is the sketch of what it makes of the world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from spa_bench.environments.virtualhome.carrying import load
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.graph import NOBODY
from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.planning.layout import Bits, Layout, Layouts, Place
from spa_bench.environments.virtualhome.state import POSTURES

OPEN, CLOSED, ON, OFF, PLUGGED_IN, PLUGGED_OUT, CLEAN, DIRTY = (1 << n for n in range(8))
STATES = {
    "OPEN": OPEN,
    "CLOSED": CLOSED,
    "ON": ON,
    "OFF": OFF,
    "PLUGGED_IN": PLUGGED_IN,
    "PLUGGED_OUT": PLUGGED_OUT,
    "CLEAN": CLEAN,
    "DIRTY": DIRTY,
}
"""State of a thing -> its bit."""
TURNED = {
    "OPEN": (CLOSED, OPEN),
    "CLOSE": (OPEN, CLOSED),
    "SWITCHON": (OFF, ON),
    "SWITCHOFF": (ON, OFF),
    "PLUGIN": (PLUGGED_OUT, PLUGGED_IN),
    "PLUGOUT": (PLUGGED_IN, PLUGGED_OUT),
    **dict.fromkeys(("WASH", "RINSE", "SCRUB", "WIPE"), (DIRTY, CLEAN)),
}
"""Action -> the state that it takes away, the state that it gives."""


class Moment(NamedTuple):
    """A situation. Two of one `Sketch` are equal where nothing that matters differs."""

    layout: Layout
    close: int
    """Of what the character is CLOSE to, what `Sketch.worth` counts."""
    right: int | None
    left: int | None
    states: int
    """Eight bits for each node that has a number."""
    posture: str
    """`SITTING`, `LYING` or empty."""
    seats: int
    """What the character is ON."""
    facing: int
    """Of what the character faces, what it may be asked to face or not to face."""
    room: int | None
    done: int
    """How many of the goal's actions were done."""
    guests: tuple[int, ...] = ()
    """Seats that other characters are on, once for each of them."""

    @property
    def hands(self) -> tuple[int, ...]:
        """What is held, the right hand first."""
        return tuple(n for n in (self.right, self.left) if n is not None)


class Sketch:
    """What counts for one goal of one character, and the moments of its episodes."""

    def __init__(
        self,
        bits: Bits,
        character: int,
        *,
        loose: Iterable[int],
        spots: Iterable[int],
        looks: int,
        actions: tuple[frozenset[str], ...],
    ) -> None:
        """What counts.

        `loose` are things that may be moved, `spots` what one may want to be near or to know the state of, `looks` what
        one may want to face or not to face.
        """
        self.bits, self.character, self.me = bits, character, bits.bit[character]
        self.layouts = Layouts(bits)
        self.loose, self.spots = tuple(sorted(set(loose))), tuple(sorted(set(spots)))
        self._looks, self._actions = looks, actions
        self._number: dict[int, int] = {}
        self._others = frozenset(bits.graph.characters) - {character}
        self._seats = [n for n in sorted({*self.loose, *self.spots}) if self._others and bits.bit[n] & bits.seats]
        on, inside, close = (bits.graph.out[relation] for relation in ("ON", "INSIDE", "CLOSE"))
        self._rest = [
            (n, on.get(n, NOBODY), inside.get(n, NOBODY), close.get(n, NOBODY))
            for n in bits.carriable
            if n not in self.loose
        ]
        """What can move beside the loose things, and where it was at first."""

    def moment(self, world: World, done: int) -> Moment:
        """The sketch of a world in which `done` of the goal's actions were done."""
        c, bits = self.character, self.bits
        hands = world.out("HOLDS_RH", c), world.out("HOLDS_LH", c)
        with_me = load(world, hands[0] | hands[1] | world.into("ON", c) | world.into("INSIDE", c))
        loose = load(world, [*self.loose, *self._displaced(world), *with_me])
        places = {n: self._place(world, n, with_me) for n in loose}
        layout = self.layouts.of(places)
        return Moment(
            layout,
            close=bits.mask(world.out("CLOSE", c)) & self.worth(layout),
            right=min(hands[0], default=None),
            left=min(hands[1], default=None),
            states=self._states(world, layout),
            posture=min(world.states(c) & POSTURES, default=""),
            seats=bits.mask(world.out("ON", c)),
            facing=bits.mask(world.out("FACING", c)) & self._looks,
            room=world.room(c),
            done=done,
            guests=tuple(n for n in self._seats for other in world.into("ON", n) & self._others),
        )

    def state(self, moment: Moment, n: int) -> int:
        """The state bits of a spot, or of what a loose thing is inside of."""
        return moment.states >> self._at(n) & 255

    def places(self, layout: Layout) -> Iterator[int]:
        """What may have to be opened to get at the loose things that count."""
        for n in self.loose:
            yield from self.bits.nodes(layout.places[n].inside)

    def worth(self, layout: Layout) -> int:
        """Of all that one can be CLOSE to, what brings one near to anything that counts."""
        if layout.worth is None:
            self._weigh(layout)
        return layout.worth or 0

    def after(self, moment: Moment, command: Command) -> Moment:
        """The moment after a command that can be executed."""
        action, objects = command
        step = _EFFECTS.get(action)
        if step is not None:
            moment = step(self, moment, *objects)
        elif action in TURNED:
            moment = self._turned(moment, action, *objects)
        if moment.done < len(self._actions) and action in self._actions[moment.done]:
            moment = moment._replace(done=moment.done + 1)
        return moment

    def _weigh(self, layout: Layout) -> None:
        """Note what counts in a layout: contacts, and numbers of states."""
        layout.worth = layout.loose
        for n in (*self.spots, *self.loose, *self.places(layout)):
            layout.worth |= layout.contact[n]
            layout.told |= 255 << self._at(n)

    # Reading a world

    def _displaced(self, world: World) -> list[int]:
        """What has moved, though the goal does not speak of it."""
        found = []
        for n, on, inside, close in self._rest:
            if world.out("ON", n) is not on or world.out("INSIDE", n) is not inside:
                found.append(n)
            else:
                now = world.out("CLOSE", n)
                if now is not close and not (now ^ close).issubset(world.graph.characters):
                    found.append(n)
        return found

    def _place(self, world: World, n: int, with_me: set[int]) -> Place:
        bits = self.bits
        on, inside, close = (bits.mask(world.out(r, n)) & ~bits.rooms for r in ("ON", "INSIDE", "CLOSE"))
        faced = bits.mask(world.out("FACING", n)) & self._looks
        if n in with_me:
            return Place(on, inside, close & ~bits.people, None, faced)
        holder = world.holder(n)
        on |= bits.bit[holder] if holder is not None else 0
        return Place(on, inside, close & ~bits.people, world.room(n), faced)

    def _states(self, world: World, layout: Layout) -> int:
        found = 0
        for n in {*self.spots, *self.loose, *self.places(layout)}:
            number = self._at(n)
            for state in world.states(n):
                found |= STATES.get(state, 0) << number
        return found

    def _at(self, n: int) -> int:
        return self._number.setdefault(n, 8 * len(self._number))

    # Effects

    def _turned(self, m: Moment, action: str, n: int) -> Moment:
        if n not in self._number:
            return m
        without, having = TURNED[action]
        number = self._at(n)
        return m._replace(states=m.states & ~(without << number) | having << number)

    def _walk(self, m: Moment, n: int) -> Moment:
        layout, bits = m.layout.walked(self._hands(m), self.me), self.bits
        close = layout.carried()
        if not bits.bit[n] & bits.rooms:
            close |= layout.base[n] | bits.limbs
        room = n if bits.bit[n] & bits.rooms else layout.room(n)
        return m._replace(layout=layout, close=close & self.worth(layout), facing=0, room=room)

    def _find(self, m: Moment, n: int) -> Moment:
        return m._replace(close=m.close | self.bits.bit[n] & self.worth(m.layout), facing=0)

    def _sit(self, m: Moment, n: int) -> Moment:
        seats = m.seats & ~self.bits.seats | self.bits.bit[n]
        return m._replace(posture="SITTING", seats=seats, facing=m.facing | m.layout.faced(n) & self._looks)

    def _lie(self, m: Moment, n: int) -> Moment:
        return m._replace(posture="LYING", seats=m.seats & ~self.bits.seats | self.bits.bit[n])

    def _stand(self, m: Moment) -> Moment:
        return m._replace(posture="", seats=m.seats & ~self.bits.seats)

    def _turn(self, m: Moment, n: int) -> Moment:
        return m._replace(facing=self.bits.bit[n] & self._looks)

    def _grab(self, m: Moment, n: int) -> Moment:
        hands = self._hands(m)
        layout = m.layout.taken(n, hands, self.me)
        close = (m.close | m.layout.load(n, hands) | m.layout.origin(n, hands)) & self.worth(layout)
        states = m.states & layout.told
        if m.right is None:
            return m._replace(layout=layout, close=close, right=n, states=states)
        return m._replace(layout=layout, close=close, left=n, states=states)

    def _put(self, m: Moment, n: int, to: int, relation: str = "ON") -> Moment:
        return self._let_go(m, n, m.layout.put(n, to, relation, self._hands(m, n)), self.bits.bit[to])

    def _put_in(self, m: Moment, n: int, to: int) -> Moment:
        return self._put(m, n, to, "INSIDE")

    def _pour(self, m: Moment, n: int, to: int) -> Moment:
        stays = self.bits.graph.classes[n] == "water"
        layout = m.layout.poured(n, to, self._hands(m, n) if stays else self._hands(m))
        self.worth(layout)
        return self._let_go(m, n, layout, 0) if stays else m._replace(layout=layout)

    def _drop(self, m: Moment, n: int) -> Moment:
        return self._let_go(m, n, m.layout.dropped(n, m.room, self._hands(m, n), self.me), 0)

    def _wear(self, m: Moment, n: int) -> Moment:
        return self._let_go(m, n, m.layout.worn(n, self.me), 0)

    def _undress(self, m: Moment, n: int) -> Moment:
        return self._let_go(m, n, m.layout.dropped(n, m.room, self._hands(m, n), self.me), self.bits.bit[n])

    def _hands(self, m: Moment, without: int | None = None) -> int:
        return self.bits.mask(n for n in m.hands if n != without)

    def _let_go(self, m: Moment, n: int, layout: Layout, close: int) -> Moment:
        return m._replace(
            layout=layout,
            close=(m.close | close) & self.worth(layout),
            right=None if m.right == n else m.right,
            left=None if m.left == n else m.left,
            states=m.states & layout.told,
        )


_EFFECTS: Mapping[str, Callable[..., Moment]] = {
    "WALK": Sketch._walk,
    "RUN": Sketch._walk,
    "FIND": Sketch._find,
    "SIT": Sketch._sit,
    "LIE": Sketch._lie,
    "STANDUP": Sketch._stand,
    "TURNTO": Sketch._turn,
    "GRAB": Sketch._grab,
    "PUTBACK": Sketch._put,
    "PUTIN": Sketch._put_in,
    "POUR": Sketch._pour,
    "DROP": Sketch._drop,
    "RELEASE": Sketch._drop,
    "PUTON": Sketch._wear,
    "PUTOFF": Sketch._undress,
}
