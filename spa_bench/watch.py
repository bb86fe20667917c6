"""Time limits of calls into plug-ins: what lasts too long is interrupted, or ended with its process where that fails.

A call of a method or a world is a `Timed` context. While `watching`, a thread looks now and then at the call that is
under way and adds up how long it has lasted, so entering and leaving a context look at no clock, and time does not pass
while the process is stopped. Over its limit the main thread gets SIGALRM, which raises `TimeUp` where the plug-in
stands. This ends waiting, and every loop in Python. It does not end a function in C that goes on after a signal: then
the thread ends the process, with one line and exit code 2. A function in C that keeps the interpreter's lock keeps the
thread from running, too; nothing here ends that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType

from spa_bench.terminal import printable_line

TICK = 1.0
"""Seconds between two looks; a limit of less than four of them is looked at four times."""

GRACE = 30.0
"""Seconds that an interrupted call has to return before its process is ended; no more than its limit."""


class TimeUp(BaseException):
    """A call has lasted too long. No `Exception`, for a plug-in may catch all of these."""


class Timed:
    """A context for one call; `kind` names its limit, and "" has none: such a call's time counts for none around it."""

    kind = ""

    def __enter__(self) -> None:
        # Another thread's calls are not this stack's, and no signal would reach them.
        self.watch = _active if threading.get_ident() == _MAIN else None
        if self.watch is not None:
            self.lasted = 0.0
            self.outer = self.watch.call
            self.watch.call = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.watch is not None:
            self.watch.call = self.outer
        if error is not None:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """What was raised in the call; another error may be raised in its place."""

    def name(self) -> str:
        """What is called, for the line that is printed."""
        return ""

    @property
    def limit(self) -> float:
        """Seconds that the call may last; 0 for as long as it takes."""
        return 0.0 if self.watch is None else self.watch.limits.get(self.kind, 0.0)


class Watch:
    """Looks at the call under way."""

    def __init__(self, limits: Mapping[str, float], section: str = "") -> None:
        self.limits, self.section = limits, section
        self.call: Timed | None = None
        self.record: Callable[[str], None] | None = None
        """Told why the process ends."""
        self._tick = min(TICK, *(limit / 4 for limit in limits.values() if limit)) if any(limits.values()) else TICK
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="time limits", daemon=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Heed the limits within; in the main thread only, where signals arrive."""
        before = signal.signal(signal.SIGALRM, self._interrupt)
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
            signal.signal(signal.SIGALRM, before)

    def _look(self) -> None:
        while not self._over.wait(self._tick):
            call = self.call
            if call is None or not (limit := call.limit):
                continue
            call.lasted += self._tick
            if call.lasted > limit + min(limit, GRACE):
                self._end(call)
            elif call.lasted > limit:
                signal.pthread_kill(_MAIN, signal.SIGALRM)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # Where the call is just entered or left, or has returned since the signal was sent, there is nothing to end.
        inside = frame is None or frame.f_code not in (Timed.__enter__.__code__, Timed.__exit__.__code__)
        if inside and (call := self.call) is not None and 0 < call.limit < call.lasted:
            raise TimeUp(self._said(call))

    def _said(self, call: Timed) -> str:
        setting = f" ({self.section}.{call.kind})" if self.section else ""
        return f"did not return within {call.limit:g} s{setting}"

    def _end(self, call: Timed) -> None:
        line = f"{call.name()} {self._said(call)} and cannot be interrupted, so this process ends"
        with contextlib.suppress(Exception):
            if self.record is not None:
                self.record(line)
        os.write(2, f"error: {printable_line(line)}\n".encode("utf-8", "backslashreplace"))
        os._exit(2)


_MAIN = threading.main_thread().ident or 0
_active: Watch | None = None


@contextlib.contextmanager
def watching(limits: Mapping[str, float], section: str = "") -> Iterator[None]:
    """Heed these limits (kind of call -> seconds) within. Does nothing in a thread, and within another `watching`.

    `section` is where they are set, if they can be.
    """
    global _active
    if _active is not None or threading.get_ident() != _MAIN:
        yield
        return
    _active = Watch(limits, section)
    try:
        with _active.running():
            yield
    finally:
        _active = None


@contextlib.contextmanager
def recording(record: Callable[[str], None]) -> Iterator[None]:
    """Within, the line with which the process is ended is recorded, too, by the watch's thread."""
    watch = _active
    if watch is None:
        yield
        return
    watch.record = record
    try:
        yield
    finally:
        watch.record = None
