"""What is left to do about the states of things: doors, switches, plugs, dirt.

Separate from errands: a machine is opened while things go in or out of it, then closed, plugged in and switched on.
"""

from __future__ import annotations

from functools import lru_cache

from spa_bench.environments.virtualhome.planning.errands import linked
from spa_bench.environments.virtualhome.planning.sketch import (
    CLEAN,
    CLOSED,
    DIRTY,
    OFF,
    ON,
    OPEN,
    PLUGGED_IN,
    PLUGGED_OUT,
    TURNED,
)
from spa_bench.environments.virtualhome.planning.tally import NEVER, Tally

HANDY = frozenset({"OPEN", "PLUGIN", "PLUGOUT"})
"""What is done with an empty hand."""
_OPPOSITES = ((OPEN, CLOSED), (CLOSED, OPEN), (ON, OFF), (OFF, ON), (CLEAN, DIRTY), (DIRTY, CLEAN))
_PLUGS = ((PLUGGED_IN, PLUGGED_OUT), (PLUGGED_OUT, PLUGGED_IN))


def run(t: Tally) -> None:
    """Add all that has to be done to machines."""
    for n in sorted(t.wishes.states.keys() | t.opened):
        if t.errands is not None and n not in t.busy and n not in t.opened:
            continue
        have, have_not = t.wishes.states.get(n, (0, 0))
        needed = service(t.state(n), have, have_not, n in t.opened)
        if needed is None:
            t.steps = NEVER
        elif needed[0]:
            _serve(t, n, *needed)


def _serve(t: Tally, n: int, verbs: tuple[str, ...], before: int) -> None:
    """Count what is to be done to one, and do the first of it that can be done now."""
    t.steps += len(verbs)
    t.handy = t.handy or not HANDY.isdisjoint(verbs)
    errand = t.wishes.errands.get(n)
    moving = errand is not None and not all(linked(t, n, link) for link in errand.places)
    first = verbs[0] if before or not (moving or n in t.busy) else "PLUGIN" if "PLUGIN" in verbs else ""
    if not t.near(n):
        (t.now if first else t.later).append(("near", n))
        t.visits.append((("near", n), 1))
    elif first in HANDY and t.full:
        t.waiting = True
    elif first:
        t.do((first, (n,)))


@lru_cache(4096)
def service(state: int, have: int, have_not: int, opened: bool) -> tuple[tuple[str, ...], int] | None:
    """What is to be done to something, in order, and how much of it comes before things go in or out (`opened`).

    `state` is what it has, `have` and `have_not` what it must and must not have in the end. None where there is no way.
    """
    verbs: list[str] = []

    def do(verb: str, *, if_: bool) -> None:
        nonlocal state
        if if_:
            without, having = TURNED[verb]
            state = state & ~without | having
            verbs.append(verb)

    def unlock(*, if_: bool) -> None:
        do("SWITCHOFF", if_=if_ and bool(state & CLOSED and state & ON))
        do("OPEN", if_=if_ and bool(state & CLOSED))

    unlock(if_=opened)
    before = len(verbs)
    for bit, opposite in (*_OPPOSITES, *_PLUGS):
        have |= opposite if have_not & bit & state else 0
    unlock(if_=bool(have & OPEN))
    unplug = bool(have & PLUGGED_OUT and state & PLUGGED_IN)
    do("CLOSE", if_=bool(have & CLOSED and state & OPEN))
    do("SWITCHOFF", if_=bool(state & ON) and (unplug or bool(have & OFF)))
    do("PLUGOUT", if_=unplug)
    start = bool(have & ON and state & OFF)
    do("PLUGIN", if_=bool(state & PLUGGED_OUT) and (start or bool(have & PLUGGED_IN)))
    do("SWITCHON", if_=start)
    do("WASH", if_=bool(have & CLEAN and not state & CLEAN))
    return None if have & ~state or have_not & state else (tuple(verbs), before)
