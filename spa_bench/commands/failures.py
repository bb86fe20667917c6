"""How a command ends that cannot go on: one line on standard error, and an exit code. Defects keep their traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TextIO

from spa_bench import machine
from spa_bench.commands.signals import Stopped
from spa_bench.core import UserError
from spa_bench.files import cache_root
from spa_bench.runs.deadline import DeadlineReached
from spa_bench.terminal import printable_line

AGAIN = "then run the same command again: what was saved before is intact"


LATER = 3
"""Exit code where the deadline came before the end."""


class ended:
    """A context that ends the process in one line.

    The exit code is 2 for what the user can mend, `LATER` at the deadline, and 128 and its number for a signal, which
    `resumes` adds the way to go on to.
    """

    def __init__(self, resumes: bool = False) -> None:
        self.resumes = resumes

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            number = error.number if isinstance(error, Stopped) else signal.SIGINT
            _say("interrupted" + ("; run the same command to resume" if self.resumes else ""))
            raise SystemExit(128 + number) from None
        if isinstance(error, DeadlineReached):
            _say(f"stopped at the deadline, {error}; run the same command to go on")
            raise SystemExit(LATER) from None
        line = None if error is None else told(error)
        if error is None or line is None:
            return
        if isinstance(error, OSError) and error.filename is None:
            _give_up(sys.stdout)
        before = error.__context__
        if isinstance(before, SystemExit) and before.code:  # the last of the output, when all is said
            raise before from None
        _say(f"error: {printable_line(line)}")
        raise SystemExit(2) from None


def told(error: BaseException) -> str | None:
    """What the user can mend, as one line with the way out; None for a defect."""
    if isinstance(error, UserError):
        return str(error)
    number = machine.refusal(error)
    if number is not None:
        return _refused(number, error)
    if machine.ran_out(error):
        said = " ".join(str(error).split())[:200]
        return (
            f"out of memory or threads{f' ({said})' if said else ''}: end other programs, raise the limits (ulimit -v, "
            "-u) or lower the settings; what was saved before is intact"
        )
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return f"no folder for temporary files can be written: free space, or set TMPDIR to another folder; {AGAIN}"
    return None


def _refused(number: int, error: BaseException) -> str:
    """Of a disk, or of what is printed: writes to files name them, and those of libraries in Rust are no OSErrors."""
    reason = os.strerror(number)
    if isinstance(error, OSError) and error.filename is None:
        return f"cannot write the output: {reason}; send it elsewhere"
    place = Path(str(error.filename)) if isinstance(error, OSError) else Path(tempfile.gettempdir())
    first = "free space there, or " if number in machine.FULL else ""
    return f"cannot use {place}: {reason}; {first}{_other(place)}, {AGAIN}"


def _other(place: Path) -> str:
    """How to choose another folder than that of `place`."""
    with contextlib.suppress(OSError):
        temporary = tempfile.gettempdir()
        if str(place) == temporary or str(place).startswith(os.path.join(temporary, tempfile.gettempprefix())):
            return "set TMPDIR to another folder"
    with contextlib.suppress(UserError):
        if place.is_relative_to(cache_root()):
            return "set SPA_BENCH_CACHE to another folder"
    return "choose another folder"


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # nobody can be told
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """Let what is still to be written to a broken stream vanish: the interpreter would complain about it at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
