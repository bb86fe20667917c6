"""What is left to do in a situation: how many steps at least, and which of them could come next.

Separate from the search, which only compares numbers. What is near and can only help is done at once, as the only next
step; where to go, what to take and what to let go are choices. The number is never too large, apart from rare ways to
be near something without a walk, and the more exact it is, the less is searched.
"""

from __future__ import annotations

from typing import NamedTuple

from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.planning import bearing, deeds, errands, machines
from spa_bench.environments.virtualhome.planning.sketch import Moment
from spa_bench.environments.virtualhome.planning.tally import NEVER, STAND, Brief, Tally


class Outlook(NamedTuple):
    """What is left in one situation."""

    steps: int
    """At least so many; 0 where nothing is left, NEVER where there is no way."""
    next: tuple[Command, ...]
    """What may come next, the most likely first."""


def outlook(brief: Brief, moment: Moment, things: tuple[int, ...] | None = None) -> Outlook:
    """Look at a moment; with `things`, at the errands for these alone and what has to do with them."""
    t = Tally(brief, moment, things)
    for n, errand in brief.wishes.errands.items():
        if things is None or n in things:
            errands.see_to(t, n, errand)
    deeds.act(t)
    seated = things is None and bearing.sit(t)
    machines.run(t)
    errands.transport(t)
    walks = bearing.bear(t, seated=seated)
    t.steps += walks
    if t.steps >= NEVER:
        return Outlook(NEVER, ())
    if t.handy and t.full and not t.delivering:
        t.steps += 1
    if things is None and moment.done < len(brief.roles):
        t.steps = max(t.steps, 1)
    if t.only:
        return Outlook(t.steps, (t.only[0],))
    return Outlook(t.steps, tuple(dict.fromkeys([*t.ready, *_releases(t), *_walks(t), *t.last])))


def pending(brief: Brief, moment: Moment) -> list[int]:
    """The things that something is left to do about."""
    t = Tally(brief, moment, None)
    return [n for n, errand in brief.wishes.errands.items() if errands.see_to(t, n, errand)]


def _releases(t: Tally) -> list[Command]:
    """What may be let go of to have a hand."""
    return [("DROP", (n,)) for n in t.m.hands] if t.waiting and t.full else []


def _walks(t: Tally) -> list[Command]:
    if not t.now:
        return []
    if t.m.posture:
        return [STAND]
    return [("WALK", (n,)) for n in t.brief.routes.ways(t.m.layout, tuple(t.now), tuple(t.later))]
