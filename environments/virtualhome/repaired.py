"""The actions of the default profile, `fixed`: what the releases mean to do, without their defects.

The numbers are those of the defects in `released`.
"""

from __future__ import annotations

from collections.abc import Mapping

from spa_bench.environments.virtualhome.actions import (
    COMMON,
    LIFTABLE,
    MOVING,
    Ids,
    Verb,
    change,
    check_drop,
    check_move,
    check_plug,
    check_pour,
    check_put,
    check_shift,
    check_watch,
    check_wear,
    enclosed,
    far,
    handless,
    lacking,
    not_held,
    nothing,
    putting,
    still_on,
    unfit,
)
from spa_bench.environments.virtualhome.carrying import carried, lift, load, place
from spa_bench.environments.virtualhome.released import (
    BEDS,
    SEATS,
    check_stand,
    crowded,
    distant,
    notice,
)
from spa_bench.environments.virtualhome.state import Origin, State

STRUCTURE = frozenset({"Walls", "Ceiling", "Floor", "Floors", "Rooms"})
"""Categories that nobody can push."""
HEAVY = frozenset({"Furniture", "Appliances"})
"""Categories of what holds down the thing below it, unless it can be grabbed itself: no bed is carried on its mat."""


# Going and finding


def check_walk(s: State, c: int, objects: Ids) -> str | None:
    """On foot (2), and to something else that is in a room (13)."""
    (n,) = objects
    if s.posed(c):
        return f"{s.name(c)} is sitting"
    if n == c:
        return f"{s.name(c)} cannot go to itself"
    return f"{s.name(n)} is in no room" if s.room(n) is None else None


def walk(s: State, c: int, objects: Ids) -> None:
    """Enter the room of the thing with all that is carried (7), and stand by it."""
    (n,) = objects
    there = s.room(n)
    assert there is not None
    taken = carried(s, c)
    s.leave("INSIDE", c)
    s.clear("CLOSE", c)
    s.clear("FACING", c)
    s.link(c, "INSIDE", there)
    if there != n:
        s.link_close(c, s.out("INSIDE", n) - s.graph.rooms)
        s.link_close(c, (*s.graph.body_parts, n))
    for x in taken:
        s.clear("FACING", x)
    lift(s, c, taken, there)
    s.link_close(c, s.into("INSIDE", n) if "CAN_OPEN" in s.graph.properties[n] else ())
    s.link_close(c, s.out("ON", n))


def check_find(s: State, c: int, objects: Ids) -> str | None:
    """Near, or to be walked to (1)."""
    (n,) = objects
    return check_walk(s, c, objects) if n == c or distant(s, c, n) else far(s, c, n)


def find(s: State, c: int, objects: Ids) -> None:
    """Go there, or notice it."""
    (n,) = objects
    if distant(s, c, n):
        walk(s, c, objects)
    else:
        notice(s, c, n)


# Sitting and lying


def check_sit(s: State, c: int, objects: Ids) -> str | None:
    """Near, not seated, and a seat with a place left for one more."""
    (n,) = objects
    return (
        far(s, c, n)
        or (f"{s.name(c)} is sitting" if "SITTING" in s.posed(c) else None)
        or lacking(s, n, "SITTABLE", "is not sittable")
        or taken_by_other(s, c, n)
        or crowded(s, n, len(s.into("ON", n) - {c}), SEATS)
    )


def check_lie(s: State, c: int, objects: Ids) -> str | None:
    """Near, not lying, and a bed with a place left for one more."""
    (n,) = objects
    return (
        far(s, c, n)
        or (f"{s.name(c)} is lying" if "LYING" in s.posed(c) else None)
        or lacking(s, n, "LIEABLE", "is not lieable")
        or taken_by_other(s, c, n)
        or crowded(s, n, len(s.into("ON", n) - {c}), BEDS)
    )


def sit(s: State, c: int, objects: Ids) -> None:
    """Be on this seat alone (3), and face what it faces."""
    (n,) = objects
    get_up(s, c)
    s.link(c, "ON", n)
    for x in s.out("FACING", n):
        s.link(c, "FACING", x)
    s.pose(c, "SITTING")


def lie(s: State, c: int, objects: Ids) -> None:
    """Be on this bed alone (3)."""
    (n,) = objects
    get_up(s, c)
    s.link(c, "ON", n)
    s.pose(c, "LYING")


def stand(s: State, c: int, _: Ids) -> None:
    """Neither sit nor lie, nor be on any seat (3)."""
    get_up(s, c)
    s.pose(c, None)


def get_up(s: State, c: int) -> None:
    """Be on nothing that is sat or lain on."""
    properties = s.graph.properties
    s.leave("ON", c, {n for n in s.out("ON", c) if properties[n].isdisjoint({"SITTABLE", "LIEABLE"})})


# Hands


def taken_by_other(s: State, c: int, n: int) -> str | None:
    """Nobody else may have it in a hand (6)."""
    other = s.holder(n)
    return None if other is None or other == c else f"{s.name(n)} is held by {s.name(other)}"


def rooted(s: State, c: int, n: int) -> str | None:
    """No room and no character; nothing on which somebody else is, or furniture that cannot be taken up too (9)."""
    if n in s.graph.rooms or n in s.graph.characters:
        return f"{s.name(n)} is not grabbable"
    for x in sorted(x for thing in load(s, (n,)) for x in s.into("ON", thing)):
        heavy = s.graph.categories[x] in HEAVY and "GRABBABLE" not in s.graph.properties[x]
        if heavy or (x in s.graph.characters and x != c):
            return f"{s.name(x)} is on {s.name(n)}"
    return None


def check_grab(s: State, c: int, objects: Ids) -> str | None:
    """Something that is taken up, in no hand (6), near, not shut away and nothing heavy on it, and an empty hand."""
    (n,) = objects
    return (
        unfit(s, n, "GRABBABLE", LIFTABLE, "is not grabbable")
        or (f"{s.name(n)} already grabbed" if s.holds(c, n) else None)
        or taken_by_other(s, c, n)
        or far(s, c, n)
        or enclosed(s, n)
        or handless(s, c)
        or rooted(s, c, n)
    )


def grab(s: State, c: int, objects: Ids) -> None:
    """Into the first empty hand, with all that is on or in it (9)."""
    (n,) = objects
    hand, here = s.free_hand(c), s.room(c)
    assert hand is not None and here is not None
    things = load(s, (n,))
    origin = _origin(s, n, things)
    s.leave("ON", n)
    s.leave("INSIDE", n)
    lift(s, c, things, here)
    s.link(c, hand, n)
    s.remember(n, origin)
    s.link_close(c, () if origin is None or origin[0] in s.graph.rooms else origin[:1])


def _origin(s: State, n: int, things: set[int]) -> Origin | None:
    """What the thing is on, else in, else close to: no character (9), nothing that comes with it; else its room."""
    for relation in ("ON", "INSIDE", "CLOSE"):
        places = s.out(relation, n) - s.graph.rooms - things - frozenset(s.graph.characters)
        if places:
            return min(places), relation
    room = s.room(n)
    return None if room is None else (room, "INSIDE")


def check_put_at(s: State, c: int, a: int, b: int, relation: str) -> str | None:
    """A thing in a hand, and a place near that is open, no character, and not on or in the thing itself."""
    reason = check_put(s, c, a, b, relation)
    if reason is None and b in s.graph.characters:
        return f"{s.name(b)} is no place to put things"
    if reason is None and b in load(s, (a,)):
        return f"{s.name(a)} cannot be put on or in itself"
    return reason


def put(s: State, c: int, a: int, b: int, relation: str) -> None:
    """Out of the hand and there, in the room of that place and no other (7)."""
    s.release(c, a)
    place(s, load(s, (a,)), s.room(b))
    s.link(a, relation, b)
    s.link_close(b, () if b in s.graph.rooms else (c, a))
    s.remember(a, None)


def check_put_back(s: State, c: int, objects: Ids) -> str | None:
    """A thing in a hand that can be put where it was grabbed (5)."""
    (n,) = objects
    origin = s.origin(n)
    if origin is None:
        return f"{s.name(n)} not grabbed"
    if origin[0] == s.room(c):
        return not_held(s, c, n)  # it lay in the room, on nothing
    return check_put_at(s, c, n, *origin)


def put_back(s: State, c: int, objects: Ids) -> None:
    """Back to where it was grabbed."""
    (n,) = objects
    origin = s.origin(n)
    assert origin is not None
    put(s, c, n, *origin)


def wear(s: State, c: int, objects: Ids) -> None:
    """Out of the hand (6) and on."""
    (n,) = objects
    s.release(c, n)
    s.link(n, "ON", c)
    s.remember(n, None)


def check_undress(s: State, c: int, objects: Ids) -> str | None:
    """Clothes that are worn (4)."""
    (n,) = objects
    worn = c in s.out("ON", n)
    return (None if worn else f"{s.name(n)} is not on {s.name(c)}") or lacking(s, n, "CLOTHES", "is not clothes")


def undress(s: State, c: int, objects: Ids) -> None:
    """Off, and close by in the room (4)."""
    (n,) = objects
    s.unlink(n, "ON", c)
    place(s, load(s, (n,)), s.room(c))
    s.link_close(c, (n,))


def drop(s: State, c: int, objects: Ids) -> None:
    """Out of the hand (6) into the room and no other (8)."""
    (n,) = objects
    s.release(c, n)
    place(s, load(s, (n,)), s.room(c))
    s.remember(n, None)


def check_pour_into(s: State, c: int, objects: Ids) -> str | None:
    """Something that flows, in a hand, and something near to take it up that is not on or in it."""
    a, b = objects
    reason = check_pour(s, c, objects)
    if reason is None and b in load(s, (a,)):
        return f"{s.name(a)} cannot be poured into itself"
    return reason


def pour(s: State, c: int, objects: Ids) -> None:
    """Into the other thing; water leaves the hand (6), a bottle stays in it."""
    a, b = objects
    s.link(a, "INSIDE", b)
    if s.graph.classes[a] == "water":
        s.release(c, a)
        place(s, load(s, (a,)), s.room(b))
        s.remember(a, None)


# The rest


def check_watch_open(s: State, c: int, objects: Ids) -> str | None:
    """Something to look at that is not shut away (10)."""
    (n,) = objects
    return check_watch(s, c, objects) or enclosed(s, n)


def check_plug_out(s: State, c: int, objects: Ids) -> str | None:
    """Something plugged in, and not running (10)."""
    (n,) = objects
    return check_plug(s, c, n, "PLUGGED_IN") or still_on(s, n)


def check_push(s: State, c: int, objects: Ids) -> str | None:
    """Something that moves, is taken up or is pressed, and no part of the building (11)."""
    (n,) = objects
    pushable = not {"MOVABLE", "GRABBABLE", "HAS_SWITCH"}.isdisjoint(s.graph.properties[n])
    if not (pushable or s.graph.classes[n] in MOVING):
        return f"{s.name(n)} is not movable"
    return rigid(s, n) or check_shift(s, c, objects)


def check_pull(s: State, c: int, objects: Ids) -> str | None:
    """Something that moves, and no part of the building (11)."""
    (n,) = objects
    return rigid(s, n) or check_move(s, c, objects)


def rigid(s: State, n: int) -> str | None:
    """Walls, ceilings, floors and rooms stay."""
    return f"{s.name(n)} is not movable" if s.graph.categories[n] in STRUCTURE else None


FIXED: Mapping[str, Verb] = {
    **COMMON,
    "DROP": Verb(1, check_drop, drop, "held"),
    "FIND": Verb(1, check_find, find),
    "GRAB": Verb(1, check_grab, grab, "near"),
    "LIE": Verb(1, check_lie, lie, "near"),
    "MOVE": Verb(1, check_pull, nothing, "near"),
    "PLUGOUT": Verb(1, check_plug_out, change("PLUGGED_IN", "PLUGGED_OUT"), "near"),
    "POUR": Verb(2, check_pour_into, pour, "held"),
    "PULL": Verb(1, check_pull, nothing, "near"),
    "PUSH": Verb(1, check_push, nothing, "near"),
    "PUTBACK": putting("ON", check_put_at, put),
    "PUTIN": putting("INSIDE", check_put_at, put),
    "PUTOBJBACK": Verb(1, check_put_back, put_back, "held"),
    "PUTOFF": Verb(1, check_undress, undress),
    "PUTON": Verb(1, check_wear, wear, "held"),
    "RELEASE": Verb(1, check_drop, drop, "held"),
    "RUN": Verb(1, check_walk, walk),
    "SIT": Verb(1, check_sit, sit, "near"),
    "STANDUP": Verb(0, check_stand, stand),
    "WALK": Verb(1, check_walk, walk),
    "WATCH": Verb(1, check_watch_open, nothing),
}
"""Every action of the default profile."""
