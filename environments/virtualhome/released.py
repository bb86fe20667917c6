"""The actions of the released engines that `fixed` repairs, with their defects: profiles `v2` and `v1`.

Separate so that no line of the repaired engine asks for the profile. The defects are numbered as in the tests; both
releases order what they change in the same way, and later changes see earlier ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from spa_bench.environments.virtualhome.actions import (
    COMMON,
    LIFTABLE,
    Crash,
    Effect,
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
    nothing,
    putting,
    still_on,
    unfit,
)
from spa_bench.environments.virtualhome.state import HANDS, Origin, State

SEATS: Mapping[str, int] = {"couch": 4, "bed": 4, "loveseat": 2, "sofa": 4, "pianobench": 2, "bench": 2}
"""How many things may be ON a class before nobody can sit there; 1 for other classes."""
BEDS: Mapping[str, int] = {"couch": 2, "bathtub": 2, "bed": 3, "loveseat": 2, "sofa": 2, "bench": 1}
"""The same for lying."""
DOORS = frozenset({"door", "doorjamb"})


# Going and finding


def check_walk(s: State, c: int, objects: Ids) -> str | None:
    """On foot, and to something that is in a room; without one, upstream fails and says nothing (defect 13)."""
    (n,) = objects
    if s.posed(c):
        return f"{s.name(c)} is sitting"
    here, there = s.room(c), s.room(n)
    if here is None:
        raise Crash("AssertionError")
    if there is None:
        return ""
    return _closed_doors(s, n, here, there) if s.profile == "v1" and here != there else None


def walk(s: State, c: int, objects: Ids) -> None:
    """Enter the room of the thing, stand by it, and leave what is held in the room just left (defect 7)."""
    (n,) = objects
    here, there, held = s.room(c), s.room(n), s.held(c)
    assert here is not None and there is not None
    for relation in ("INSIDE", "CLOSE", "FACING"):
        s.clear(relation, c)
    s.link(c, "INSIDE", there)
    if s.profile == "v1" or there != n:
        s.link_close(c, s.out("INSIDE", n) - s.graph.rooms)
        s.link_close(c, (*s.graph.body_parts, n))
    for x in held:
        for relation in ("INSIDE", "CLOSE", "FACING"):
            s.clear(relation, x)
    for x in held:
        s.link_close(c, (x,))
        s.link(x, "INSIDE", here)
    if s.profile == "v1":
        s.link_close(c, s.into("ON", n) if "SURFACES" in s.graph.properties[n] else ())
    else:
        s.link_close(c, s.into("INSIDE", n) if "CAN_OPEN" in s.graph.properties[n] else ())
        s.link_close(c, s.out("ON", n))


def _closed_doors(s: State, n: int, here: int, there: int) -> str | None:
    """In `v1` a closed door on the way stops the walk, unless it is the first one and what is walked to."""
    between = s.graph.out["BETWEEN"]
    if s.graph.classes[n] in DOORS and (here in between.get(n, ()) or n in between.get(here, ())):
        return None
    if _way(s, here, there, lambda door: "CLOSED" not in s.states(door)) is not None:
        return None
    doors = _way(s, here, there, lambda _: True)
    if doors is None:
        return f"No path between {s.name(here)} and {s.name(there)}"
    closed = [door for door in doors if "CLOSED" in s.states(door)]
    if closed[0] != n:
        names = ", ".join(s.name(door) for door in reversed(closed))
        return f"Door(s) {names} between {s.name(here)} and {s.name(there)} is (are) closed"
    return None


def _way(s: State, here: int, there: int, usable: Callable[[int], bool]) -> list[int] | None:
    """The doors of a shortest way between two rooms, in walking order; None where there is none."""
    between = s.graph.out["BETWEEN"]
    rooms_of = {door: sorted(between[door]) for door in sorted(between) if s.graph.classes[door] in DOORS}
    doors = [door for door in rooms_of if len(rooms_of[door]) > 1]
    ways: dict[int, list[int]] = {here: []}
    todo = deque([here])
    while todo and there not in ways:
        room = todo.popleft()
        for door in doors:
            a, b = rooms_of[door][:2]
            other = b if room == a else a
            if room in (a, b) and other not in ways and usable(door):
                ways[other] = [*ways[room], door]
                todo.append(other)
    return ways.get(there)


def distant(s: State, c: int, n: int) -> bool:
    """Finding this means going there first: it is not worn, no part of the body, not near, and one is on foot."""
    at_hand = c in s.out("ON", n) or "BODY_PART" in s.graph.properties[n] or s.near(c, n) or s.posed(c)
    return not at_hand


def check_find(s: State, c: int, objects: Ids) -> str | None:
    """Near, or to be walked to; the walk is where `v2` dies (defect 1)."""
    (n,) = objects
    if distant(s, c, n):
        if s.profile == "v2":
            raise Crash("TypeError")
        if check_walk(s, c, objects) is None:
            return None
    return far(s, c, n)


def find(s: State, c: int, objects: Ids) -> None:
    """Go there, or notice it: look away from everything and be close to it."""
    (n,) = objects
    if distant(s, c, n):
        walk(s, c, objects)
    else:
        notice(s, c, n)


def notice(s: State, c: int, n: int) -> None:
    """Look away from everything and be close to the thing."""
    s.leave("FACING", c)
    s.link_close(c, (n,))


# Sitting and lying


def check_sit(s: State, c: int, objects: Ids) -> str | None:
    """Near, not seated, and a seat with a place left; nobody ever leaves a seat (defect 3)."""
    (n,) = objects
    return (
        far(s, c, n)
        or (f"{s.name(c)} is sitting" if "SITTING" in s.posed(c) else None)
        or lacking(s, n, "SITTABLE", "is not sittable")
        or crowded(s, n, len(s.into("ON", n)), SEATS)
    )


def check_lie(s: State, c: int, objects: Ids) -> str | None:
    """Near, not lying, and a bed with a place left."""
    (n,) = objects
    return (
        far(s, c, n)
        or (f"{s.name(c)} is lying" if "LYING" in s.posed(c) else None)
        or lacking(s, n, "LIEABLE", "is not lieable")
        or crowded(s, n, len(s.into("ON", n)), BEDS)
    )


def crowded(s: State, n: int, there: int, most: Mapping[str, int]) -> str | None:
    """There must be fewer things than the class has places."""
    return f"Too many things on {s.name(n)}" if there >= most.get(s.graph.classes[n], 1) else None


def sit(s: State, c: int, objects: Ids) -> None:
    """Be on the seat, and face what it faces."""
    (n,) = objects
    s.link(c, "ON", n)
    for x in s.out("FACING", n):
        s.link(c, "FACING", x)
    s.pose(c, "SITTING")


def lie(s: State, c: int, objects: Ids) -> None:
    """Be on the bed."""
    (n,) = objects
    s.link(c, "ON", n)
    s.pose(c, "LYING")


def check_stand(s: State, c: int, _: Ids) -> str | None:
    """Seated or lying."""
    return None if s.posed(c) else f"{s.name(c)} is not sitting"


def stand(s: State, c: int, _: Ids) -> None:
    """Neither sit nor lie, but stay on the seat (defect 3)."""
    s.pose(c, None)


# Hands


def check_grab(s: State, c: int, objects: Ids) -> str | None:
    """Something that is taken up, near, not shut away, and a hand; in `v2` not remembered as grabbed (defect 6)."""
    (n,) = objects
    remembered = s.profile == "v2" and s.origin(n) is not None
    reason = (
        unfit(s, n, "GRABBABLE", LIFTABLE, "is not grabbable")
        or (f"{s.name(n)} already grabbed" if remembered else None)
        or far(s, c, n)
        or enclosed(s, n)
        or handless(s, c)
    )
    if reason is None and s.room(c) is None:
        raise Crash("AttributeError")
    return reason


def grab(s: State, c: int, objects: Ids) -> None:
    """Into the first empty hand; what was on or in the thing loses it (defect 9)."""
    (n,) = objects
    hand, here, origin = s.free_hand(c), s.room(c), _origin(s, n)
    assert hand is not None and here is not None
    for relation in ("ON", "INSIDE", "CLOSE", *(HANDS if s.profile == "v2" else ())):
        s.clear(relation, n)
    s.link_close(c, (n,))
    s.link(c, hand, n)
    s.link(n, "INSIDE", here)
    if origin is not None:
        s.link_close(c, (origin[0],))
        s.remember(n, origin)


def _origin(s: State, n: int) -> Origin | None:
    """What the thing is on, else in, else close to; it may be a character (defect 9). Ties: the smallest id."""
    for relation in ("ON", "INSIDE", "CLOSE"):
        places = s.out(relation, n) - s.graph.rooms
        if places:
            return min(places), relation
    return None


def put(s: State, c: int, a: int, b: int, relation: str) -> None:
    """Out of the hand and there; the room it was in stays (defect 7)."""
    s.release(c, a)
    s.link_close(b, (c, a))
    s.link(a, relation, b)
    s.remember(a, None)


def check_put_back(s: State, c: int, objects: Ids) -> str | None:
    """Something remembered as grabbed; whether it can be put there stops only `v1` (defect 5)."""
    (n,) = objects
    origin = s.origin(n)
    if origin is None:
        return f"{s.name(n)} not grabbed"
    return check_put(s, c, n, *origin) if s.profile == "v1" else None


def put_back(s: State, c: int, objects: Ids) -> str | None:
    """Back to where it was grabbed, or nothing and a complaint (defect 5)."""
    (n,) = objects
    origin = s.origin(n)
    assert origin is not None
    complaint = check_put(s, c, n, *origin)
    if complaint is None:
        put(s, c, n, *origin)
    return complaint


def wear(s: State, c: int, objects: Ids) -> None:
    """Out of the hand and on; it stays remembered as grabbed (defect 6)."""
    (n,) = objects
    s.link(n, "ON", c)
    s.release(c, n)


def check_undress(s: State, c: int, objects: Ids) -> str | None:
    """Clothes that are worn; `v2` dies here (defect 4)."""
    (n,) = objects
    if s.profile == "v2":
        raise Crash("TypeError")
    worn = c in s.out("ON", n)
    return (None if worn else f"{s.name(n)} is not on {s.name(c)}") or lacking(s, n, "CLOTHES", "is not clothes")


def undress(s: State, c: int, objects: Ids) -> None:
    """Off; it is then nowhere in particular (defect 4)."""
    (n,) = objects
    s.unlink(n, "ON", c)


def check_let_go(s: State, c: int, objects: Ids) -> str | None:
    """Something in a hand."""
    reason = check_drop(s, c, objects)
    if reason is None and s.room(c) is None:
        raise Crash("AttributeError")
    return reason


def drop(s: State, c: int, objects: Ids) -> None:
    """Out of the hand into the room, beside the room it was in (defect 8)."""
    (n,) = objects
    here = s.room(c)
    assert here is not None
    s.release(c, n)
    s.link(n, "INSIDE", here)
    s.remember(n, None)


def pour(s: State, c: int, objects: Ids) -> None:
    """Into the other thing; water leaves the hand, but stays remembered as grabbed (defect 6)."""
    a, b = objects
    s.link(a, "INSIDE", b)
    if s.graph.classes[a] == "water":
        s.release(c, a)


# Complaints


def watch(s: State, _: int, objects: Ids) -> str | None:
    """Nothing happens; what is shut away is watched and complained about (defect 10)."""
    (n,) = objects
    return enclosed(s, n)


def check_plug_out(s: State, c: int, objects: Ids) -> str | None:
    """Something plugged in."""
    (n,) = objects
    return check_plug(s, c, n, "PLUGGED_IN")


PLUG_OUT: Effect = change("PLUGGED_IN", "PLUGGED_OUT")


def plug_out(s: State, c: int, objects: Ids) -> str | None:
    """Unplug; what is still on is complained about (defect 10)."""
    (n,) = objects
    PLUG_OUT(s, c, objects)
    return still_on(s, n)


RELEASED: Mapping[str, Verb] = {
    **COMMON,
    "DROP": Verb(1, check_let_go, drop, "held"),
    "FIND": Verb(1, check_find, find),
    "GRAB": Verb(1, check_grab, grab, "near"),
    "LIE": Verb(1, check_lie, lie, "near"),
    "MOVE": Verb(1, check_move, nothing, "near"),
    "PLUGOUT": Verb(1, check_plug_out, plug_out, "near"),
    "POUR": Verb(2, check_pour, pour, "held"),
    "PULL": Verb(1, check_move, nothing, "near"),
    "PUSH": Verb(1, check_shift, nothing, "near"),
    "PUTBACK": putting("ON", check_put, put),
    "PUTIN": putting("INSIDE", check_put, put),
    "PUTOBJBACK": Verb(1, check_put_back, put_back),
    "PUTOFF": Verb(1, check_undress, undress),
    "PUTON": Verb(1, check_wear, wear, "held"),
    "RELEASE": Verb(1, check_let_go, drop, "held"),
    "RUN": Verb(1, check_walk, walk),
    "SIT": Verb(1, check_sit, sit, "near"),
    "STANDUP": Verb(0, check_stand, stand),
    "WALK": Verb(1, check_walk, walk),
    "WATCH": Verb(1, check_watch, watch),
}
"""Every action of the two releases."""
