"""The shortest way through the moments of a goal, found by depth-first search with a growing limit.

Separate from the planner, which knows worlds; here are only moments and what an agenda says about them. Of all shortest
ways along the steps that the agenda offers it is the first in their order. So the way from the second moment of a way
is the rest of it, and its length is a function of the moment. What was proven about a moment is kept; that makes later
searches faster and changes none.

Where many things are to be moved, only the next few are looked at: what is in hand, then by where they are and go.
"""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.planning.agenda import Outlook, outlook, pending
from spa_bench.environments.virtualhome.planning.sketch import Moment
from spa_bench.environments.virtualhome.planning.tally import NEVER, Brief

AT_ONCE = 4
"""The most things whose ways are planned together. With three the plans of large tasks are 1 % longer."""
LONGEST = 150
"""No way is longer; EAI's longest gold program has 54 steps."""
PATIENCE = 5000
"""Moments that one search looks into before it is given up; the hardest generated tasks take some 300."""

Errands = tuple[int, ...] | None
"""The things to see to for now; None for all that is left."""
Way = tuple[Command, ...]


class _Tired(Exception):
    """A search has looked into more moments than `PATIENCE`."""


class Search:
    """Ways to one goal."""

    def __init__(self, brief: Brief, order: Sequence[int]) -> None:
        """`order`: in which things are seen to where they are many."""
        self._brief = brief
        self._rank = {n: place for place, n in enumerate(order)}
        self._seen: dict[tuple[Moment, Errands], Outlook] = {}
        self._least: dict[tuple[Moment, Errands], int] = {}
        """Steps that are proven to be needed."""
        self._ways: dict[tuple[Moment, Errands], Way] = {}
        self._budget = 0

    def __len__(self) -> int:
        """How many moments it remembers."""
        return len(self._seen)

    def way(self, moment: Moment) -> Way | None:
        """The way to the goal; None where there is none, or none was found in time.

        With many things: the way that sees to the next few, as long as these are the next few, then to those that are
        the next few then.
        """
        commands: list[Command] = []
        while len(commands) < LONGEST:
            things = self._next(moment)
            found = self._shortest(moment, things)
            if things is None or found is None:
                return None if found is None else (*commands, *found)
            for command in found:
                moment = self._brief.sketch.after(moment, command)
                commands.append(command)
                if self._next(moment) != things:
                    break
            else:
                return None
        return None

    def _next(self, moment: Moment) -> Errands:
        if len(self._rank) <= AT_ONCE:
            return None
        left = pending(self._brief, moment)
        if len(left) <= AT_ONCE:
            return None
        left.sort(key=lambda n: (n not in moment.hands, self._rank[n]))
        return tuple(sorted(left[:AT_ONCE]))

    def _shortest(self, moment: Moment, things: Errands) -> Way | None:
        key = moment, things
        if key in self._ways:
            return self._ways[key]
        self._budget = PATIENCE
        limit = max(self._look(key).steps, self._least.get(key, 0))
        try:
            while limit < LONGEST:
                found = self._within(key, limit)
                if found is not None:
                    return found
                limit = self._least[key]
        except _Tired:
            return None
        return None

    def _within(self, key: tuple[Moment, Errands], limit: int) -> Way | None:
        """The first way of at most so many steps."""
        known = self._ways.get(key)
        if known is not None:
            return known if len(known) <= limit else None
        if self._least.get(key, 0) > limit:
            return None
        steps, commands = self._look(key)
        if steps == 0:
            return ()
        if steps <= limit:
            for command in commands:
                rest = self._within((self._brief.sketch.after(key[0], command), key[1]), limit - 1)
                if rest is not None:
                    self._ways[key] = (command, *rest)
                    return self._ways[key]
        self._least[key] = max(limit + 1, steps if commands else NEVER)
        return None

    def _look(self, key: tuple[Moment, Errands]) -> Outlook:
        found = self._seen.get(key)
        if found is None:
            self._budget -= 1
            if self._budget < 0:
                raise _Tired
            found = self._seen[key] = outlook(self._brief, *key)
        return found
