"""Commands of spa-bench in processes of their own, which begin with everything loaded: a kill strikes work, never
`import torch`.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import preloaded

from spa_bench.commands import cli

USUAL = re.compile(
    r"[\w /]+: (started|done|stopped at|\d)|run \d+ of \d+|waiting for process|for figures, |written to "
)
"""Lines of progress, and of what to do next."""

LIMIT = 300.0
"""Seconds after which a command that has not ended hangs."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (minus the number of the signal that killed it, None where it hung), and
    what it said.
    """

    code: int | None
    out: str
    err: str

    def said(self) -> list[str]:
        """Lines on standard error that a run without faults does not have."""
        return [line for line in self.err.splitlines() if line.strip() and not USUAL.match(line)]

    def refused(self) -> str | None:
        """The one line with which a command ends that cannot do what is asked; None where it ended in another way."""
        said = self.said()
        return said[0] if self.code == 2 and len(said) == 1 and said[0].startswith("error: ") else None


@dataclass
class Command:
    """A command under way, with the processes that it starts in one group."""

    process: BaseProcess
    place: Path

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        try:
            os.killpg(self.process.pid or 0, 9)
        except ProcessLookupError:
            self.process.kill()  # it has not made its group yet
        self.process.join()

    def wait(self, seconds: float = LIMIT) -> Ended:
        """Its end; one that has not ended after so many seconds is killed."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.kill()
        out, err = ((self.place / name).read_text(errors="surrogateescape") for name in ("out", "err"))
        return Ended(code, out, err)


def start(words: Sequence[object], place: Path, before: Callable[..., Any] | None = None, *given: Any) -> Command:
    """Start `spa-bench WORDS`; what it says goes to files in the folder `place`.

    `before(*given)` is called in its process first.
    """
    place.mkdir(parents=True, exist_ok=True)
    for name in ("out", "err"):
        (place / name).write_bytes(b"")
    return Command(preloaded.start(_main, [str(word) for word in words], place, before, given), place)


def call(words: Sequence[object], place: Path) -> Ended:
    """Run `spa-bench WORDS` to its end."""
    return start(words, place).wait()


def _main(words: list[str], place: Path, before: Callable[..., Any] | None, given: tuple[Any, ...]) -> None:
    os.setsid()
    for name, number in (("out", 1), ("err", 2)):
        handle = os.open(place / name, os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    own = multiprocessing.get_context("fork")  # nothing has run here: a pool's new interpreters would load all anew
    multiprocessing.get_context = lambda method=None: own  # type: ignore[assignment]
    if before is not None:
        before(*given)
    sys.argv = ["spa-bench", *words]
    cli.main()
