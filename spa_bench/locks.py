"""Locks on files, of processes on one machine and on several that share a folder.

On one machine the system drops a lock when its process ends, in whatever way. Over several, some file systems have
such locks and some only seem to. There the file says who holds it, machine and process, and is touched as long as that
one lives: a holder on another machine counts as alive until it has been silent for `LEASE`.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
import time
from functools import cache
from pathlib import Path

from spa_bench.core import UserError
from spa_bench.terminal import printable_line

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PATIENCE = 1.0
"""Seconds that a process waits for another one's lock before it says so."""
BEAT = 20.0
"""Seconds between two signs of life of a holder."""
LEASE = 120.0
"""Seconds of silence after which a holder on another machine is taken for dead."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
"""One for each start of a kernel, on Linux; containers of one machine share it, as they share the system's locks."""


@cache
def machine_name() -> str:
    """Of this machine since it was started, as part of a file's name: host name, and the first of its boot id."""
    host = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())[:32] or "host"
    with contextlib.suppress(OSError):
        return f"{host}.{BOOT.read_text(encoding='ascii').strip()[:8]}"
    return f"{host}."


def _kernel(name: str) -> str:
    """What two machines do not share: the boot id, or where there is none the host."""
    host, _, boot = name.rpartition(".")
    return boot or host


class Lock:
    """An exclusive lock on a file.

    The file stays behind: removing it would let two processes hold locks of the same name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def acquire(self, *, wait: bool) -> bool:
        """True when the lock is held now; False when another process holds it and `wait` is off.

        After `PATIENCE` of waiting, one line on standard error names the holder, and the lock by its folder and name.
        """
        if self.path.is_symlink():  # a folder of somebody else: what it leads to would be emptied
            raise UserError(f"the lock {self.path} is a link: remove it")
        said, end = False, time.monotonic() + PATIENCE
        while not self._taken(wait and said):
            if not wait:
                return False
            if not said and time.monotonic() >= end:
                said = True
                name = "/".join(self.path.parts[-2:])
                line = f"waiting for {self.holder()}, which holds the lock {name}"
                print(printable_line(line), file=sys.stderr, flush=True)
            time.sleep(1.0 if said else 0.05)  # said: the system lets it wait itself, but for another machine
        return True

    def _taken(self, wait: bool) -> bool:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not _take(handle, wait=wait) or self._held_elsewhere(handle):
                os.close(handle)
                return False
        except BaseException as error:
            os.close(handle)
            if isinstance(error, OSError):
                message = f"cannot lock {self.path}: {error.strerror}; put the folder on a disk that has file locks"
                raise UserError(message) from None
            raise
        self._handle = handle
        with contextlib.suppress(OSError):  # on a full disk it is held without a name
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()} {machine_name()}\n".encode())
        _BEATS.add(handle, self.path)
        return True

    def _held_elsewhere(self, handle: int) -> bool:
        """A process of another machine holds it that has shown to be alive, though this system knows of none."""
        _, machine = self._said()
        if machine is None or _kernel(machine) == _kernel(machine_name()):
            return False
        return _now(self.path) - os.fstat(handle).st_mtime < LEASE

    def _said(self) -> tuple[str | None, str | None]:
        """Process and machine of the last holder that has not let go; None where the file does not say, or by half."""
        with contextlib.suppress(OSError):
            content = self.path.read_text(encoding="ascii", errors="replace")
            if found := re.fullmatch(r"(\d+)(?: ([\w.]{1,80}))?\n", content, re.ASCII):
                return found[1], found[2]
        return None, None

    def holder(self) -> str:
        """Who holds the lock, for an error message."""
        process, machine = self._said()
        if process is None:
            return "another process"
        elsewhere = machine is not None and _kernel(machine) != _kernel(machine_name())
        return f"process {process}" + (f" on {machine.rpartition('.')[0]}" if machine and elsewhere else "")

    def release(self) -> None:
        """Let go; harmless when not held."""
        if self._handle is not None:
            _BEATS.remove(self._handle)
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)  # for other machines, which do not see that it is closed
            os.close(self._handle)
            self._handle = None


def _now(beside: Path) -> float:
    """The time by the clock that dates the files of a folder, which may be another machine's."""
    probe = beside.with_name(f".tmp-clock-{machine_name()}-{os.getpid()}-{threading.get_ident()}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


class _Beats:
    """A thread that shows for all locks of this process that it is alive."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[int, Path] = {}
        self._owner = 0

    def add(self, handle: int, path: Path) -> None:
        with self._guard:
            if self._owner != os.getpid():  # none yet: a fork has neither the thread nor the locks
                self._owner, self._held = os.getpid(), {}
                threading.Thread(target=self._beat, daemon=True).start()
            self._held[handle] = path

    def remove(self, handle: int) -> None:
        with self._guard:
            self._held.pop(handle, None)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            with self._guard:
                for path in self._held.values():
                    with contextlib.suppress(OSError):
                        os.utime(path)


_BEATS = _Beats()


if sys.platform == "win32":

    def _take(handle: int, *, wait: bool) -> bool:
        os.lseek(handle, 1 << 30, os.SEEK_SET)  # Windows locks forbid reading: lock a byte that the pid never reaches
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    return False
            else:
                os.lseek(handle, 0, os.SEEK_SET)
                return True

else:

    def _take(handle: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
