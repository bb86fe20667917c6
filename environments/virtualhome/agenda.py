"""What is left to do in a situation: how many steps at least, and which of them could come next.

Separate from the search, which only compares numbers. An errand is a grab and a put; a machine is opened while things
go in or out of it, then closed, plugged in and switched on; sitting down comes when nothing has to be walked to any
more. What is near and can only help is done at once (the *only* next step); where to go, what to take and what to let
go are choices.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from spa_bench.environments.virtualhome.deeds import Role
from spa_bench.environments.virtualhome.layout import Bits
from spa_bench.environments.virtualhome.mind import Command
from spa_bench.environments.virtualhome.routes import Routes, Target
from spa_bench.environments.virtualhome.sketch import (
    CLEAN,
    CLOSED,
    DIRTY,
    OFF,
    ON,
    OPEN,
    PLUGGED_IN,
    PLUGGED_OUT,
    Moment,
    Sketch,
)
from spa_bench.environments.virtualhome.wishes import Errand, Wishes

NEVER = 1 << 20
"""More steps than any plan has."""


class Outlook(NamedTuple):
    """What is left in one situation."""

    steps: int
    """At least so many are needed; 0 where nothing is left, NEVER where there is no way."""
    next: tuple[Command, ...]
    """What may come next, the most likely first."""
