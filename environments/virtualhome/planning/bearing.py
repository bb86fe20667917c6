"""What is left to do about the character itself: where it stands, sits or lies, what it faces and is close to.

Separate because all this comes last: a walk ends a posture, and makes one face nothing and be close to nothing else.
"""

from __future__ import annotations

from spa_bench.environments.virtualhome.planning.tally import NEVER, STAND, Tally
from spa_bench.environments.virtualhome.released import BEDS, SEATS

_POSTURE = {"SIT": "SITTING", "LIE": "LYING"}


def sit(t: Tally) -> bool:
    """Add sitting down, lying down or getting up; whether one sits or lies as is wished."""
    wish, m = t.wishes, t.m
    if wish.posture == "":
        t.rising = bool(m.posture)
        return False
    if wish.posture is None and not wish.seats:
        return False
    if wish.posture in (None, m.posture) and all(m.seats & t.bits.bit[n] for n in wish.seats):
        return True
    t.steps += 1
    chairs = wish.seats or t.brief.chairs
    settled = [_settle(t, n, alone=len(chairs) == 1) for n in chairs]
    if len(wish.seats) > 1 or not any(settled):
        t.steps = NEVER
    return False


def bear(t: Tally, *, seated: bool) -> int:
    """Add the rest, and return how many walks the whole takes at least. `seated`: what `sit` has said."""
    whole = t.errands is None
    if whole:
        _stand_where(t)
    walks = t.walks()
    if walks and whole:
        _return(t)
        walks = t.walks()
    again = bool(walks) and seated
    t.steps += bool(t.rising or (walks and t.m.posture)) + again
    if t.rising:
        t.ready.append(STAND)
    elif not walks:
        t.ready += t.seating
    if whole:
        _face(t, lost=bool(walks), sits=again or bool(t.wishes.seats and not seated))
        if not walks:
            _turn_away(t)
    return walks


def _stand_where(t: Tally) -> None:
    """What to be close to, which room to be in."""
    wish, m = t.wishes, t.m
    for n in wish.close:
        if not m.close & t.bits.bit[n]:
            t.go(("close", n))
            if t.near(n):
                t.ready.append(("FIND", (n,)))
        elif n in t.sketch.loose and n not in m.hands and len(wish.close) > 1 and not t.full:
            t.ready.append(("GRAB", (n,)))  # what is held is close wherever one goes
    if wish.room is not None and wish.room != m.room:
        t.go(("room", wish.room))


def _return(t: Tally) -> None:
    """Where one must be in the end, after walking elsewhere, even if one is there now."""
    wish = t.wishes
    t.visits += [(("close", n), 1) for n in wish.close if n not in t.sketch.loose]
    t.visits += [(("near", n), 1) for n in wish.seats]
    if wish.room is not None:
        t.visits.append((("room", wish.room), 1))


def _settle(t: Tally, n: int, *, alone: bool) -> bool:
    """See to sitting or lying on something; whether that can be. The only seat is cleared first if it is full."""
    lying = t.wishes.posture == "LYING" or "SITTABLE" not in t.bits.graph.properties[n]
    verb = "LIE" if lying else "SIT"
    most = (BEDS if lying else SEATS).get(t.bits.graph.classes[n], 1)
    there = [x for x, place in t.m.layout.places.items() if place.on & t.bits.bit[n]]
    others = t.m.guests.count(n) + (t.bits.upon[n] & ~t.m.layout.loose).bit_count()
    if len(there) + others >= most:
        if not (alone and there):
            return False
        t.fetch(there[0])
    t.rising = t.rising or t.m.posture == _POSTURE[verb]
    if not t.near(n):
        t.go(("near", n), alone=alone)
    elif not t.rising:
        t.seating.append((verb, (n,)))
    return True


def _face(t: Tally, *, lost: bool, sits: bool) -> None:
    """Facing, which a seat may do as well. `lost`: one will walk before."""
    wish, facing = t.wishes, 0 if lost else t.m.facing
    for n in wish.seats if sits else ():
        facing |= t.m.layout.faced(n)
    unmet = wish.faced & ~facing
    if unmet:
        t.steps += 1 if unmet.bit_count() == 1 else NEVER
        if not lost:
            t.ready += [("TURNTO", (n,)) for n in t.bits.nodes(unmet)]


def _turn_away(t: Tally) -> None:
    """What is not to be faced, stood at, or been in."""
    wish, m = t.wishes, t.m
    if m.facing & wish.unfaced and not wish.faced & ~m.facing:
        t.steps += 1
        t.ready += [("TURNTO", (n,)) for n in t.bits.nodes(t.bits.placed & ~wish.unfaced)][:1]
    away = [n for n in (m.room,) if m.close & wish.apart and n is not None]
    if m.room in wish.left and wish.room is None:
        away = [n for n in sorted(t.bits.graph.rooms) if n not in wish.left][:1]
    if away:
        t.steps += 1 + bool(m.posture)
        t.ready.append(STAND if m.posture else ("WALK", (away[0],)))
