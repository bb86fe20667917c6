"""The time after which a run starts nothing new: when to stop is no part of what a run is, nor of its results."""

from __future__ import annotations

import math
import re
import time
from typing import Self

from spa_bench.core import UserError

UNITS = (3600, 60, 1)
"""Seconds of an hour, a minute, a second."""


class DeadlineReached(Exception):
    """The time is over and everything so far is saved; the message says how far it has come."""


class Deadline:
    """So many seconds from now; None is never. Sent to another process it ends there at the same moment."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    @classmethod
    def of(cls, words: str | None) -> Self:
        """From `90m`, `2h`, `1h30m` or a number of seconds; UserError for anything else."""
        if words is None:
            return cls()
        with_unit = f"{words}s" if words.isdecimal() else words
        found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", with_unit, re.ASCII)
        counts = found.groups("0") if found else ()
        seconds = sum(int(count[:12]) * unit for count, unit in zip(counts, UNITS, strict=False))
        if not 0 < seconds < 10**9:
            raise UserError(f"--deadline {words!r}: give hours, minutes or seconds, such as 2h, 90m, 1h30m or 5400")
        return cls(seconds)

    def check(self, place: str) -> None:
        """Raises DeadlineReached, `place` being how far the run has come, where the time is over."""
        if time.monotonic() >= self._end:
            raise DeadlineReached(place)

    def __reduce__(self) -> tuple[type[Deadline], tuple[float | None]]:
        """What is left of it: another process may have another clock."""
        return Deadline, (None if self._end == math.inf else self._end - time.monotonic(),)


NEVER = Deadline()
"""No deadline."""
