"""What is left to do about things: taking, bringing, putting on, and how often one has to come for them.

Separate from machines, which things go in and out of.
"""

from __future__ import annotations

from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.planning.tally import Tally
from spa_bench.environments.virtualhome.planning.wishes import Errand, Link


def see_to(t: Tally, n: int, errand: Errand) -> bool:
    """Add what is left to do about a thing; whether that is anything."""
    place, me = t.m.layout.places[n], t.sketch.me
    unmet = [link for link in errand.places if not linked(t, n, link)]
    dress = errand.wear and not place.on & me
    if errand.hold == "HOLDS_RH" and t.m.right not in (None, n):
        t.ready.append(("DROP", (t.m.right,)))
    if n in (t.m.right, t.m.left):
        return _carried(t, n, errand, unmet, dress)
    away = errand.elsewhere(t.m.room if place.room is None else place.room) and not errand.places
    left = any(linked(t, n, link) for link in errand.away)
    if not (unmet or dress or errand.hold or away or left):
        return False
    t.steps += bool(unmet or dress)
    if unmet or dress or errand.hold or away or not place.on & me:
        t.fetch(n, [to for _, to in unmet])
    else:  # it is worn, and must only not be
        t.steps += 1
        t.ready.append(("PUTOFF", (n,)))
    for relation, to in unmet:
        t.receive(relation, to)
    return True


def linked(t: Tally, n: int, link: Link) -> bool:
    """Whether a thing is ON, INSIDE or CLOSE to something."""
    place, target = t.m.layout.places[n], t.bits.bit[link[1]]
    return bool({"ON": place.on, "INSIDE": place.inside, "CLOSE": place.close}[link[0]] & target)


def transport(t: Tally) -> None:
    """Add how often one has to come for things: two at a time, and not at all where one walk does for both ends."""
    free = 1 if t.full and not t.delivering else 2 - len(t.m.hands)  # one hand will be emptied on the spot
    for things in t.sources.values():
        count = sum(not same for _, same in things)
        far = [n for n, _ in things if not t.near(n)]
        times = max(1, -(-count // 2)) if far else -(-max(0, count - free) // 2)
        if times:
            t.visits.append((("near", far[0] if far else things[0][0]), times))
    for to, (lying, held) in t.drops.items():
        times = -(-(lying + held) // 2)
        if not times and not t.near(to):
            times = 1
        if times:
            t.visits.append((("near", to), times))


def _carried(t: Tally, n: int, errand: Errand, unmet: list[Link], dress: bool) -> bool:
    """The same for a thing in hand."""
    t.delivering = t.delivering or bool(unmet or dress or errand.free)
    if unmet:
        t.steps += len(unmet)
        _bring(t, n, unmet[0], keep=bool(errand.hold))
    elif dress:
        t.steps += 1
        _offer(t, ("PUTON", (n,)), n)
    elif errand.hold and errand.hold == ("HOLDS_LH" if n == t.m.right else "HOLDS_RH"):
        t.steps += 2
        t.ready.append(("DROP", (n,)))
    elif errand.free:
        t.steps += 1
        t.ready.append(("DROP", (n,)))
    elif errand.elsewhere(t.m.room):
        rooms = [errand.room] if errand.room is not None else sorted(t.bits.graph.rooms.difference(errand.out))
        t.go(("room", next(iter(rooms), t.sketch.character)))
    else:
        if (errand.room is not None or errand.out) and not errand.hold:
            t.ready.append(("DROP", (n,)))
        return False
    return True


def _bring(t: Tally, n: int, link: Link, *, keep: bool) -> None:
    relation, to = link
    t.receive(relation, to)
    if to in t.m.layout.places and t.m.layout.load(n, t.bits.mask(t.m.hands)) & t.bits.bit[to]:
        if to not in t.wishes.errands:
            t.fetch(to)  # it lies on or in what is to be put there
    elif not t.near(to):
        t.now.append(("near", to))
        t.drops.setdefault(to, [0, 0])[1] += 1
    elif to not in t.opened:
        verb = "PUTBACK" if relation != "INSIDE" else "POUR" if keep else "PUTIN"
        _offer(t, (verb, (n, to)), n)


def _offer(t: Tally, command: Command, n: int) -> None:
    """A step that lets go of a thing: at once, unless an action of the goal may need it in hand."""
    if any(role.held == n for roles in t.brief.roles[t.m.done :] for role in roles):
        t.ready.append(command)
    else:
        t.do(command)
