"""Progress on standard error: bars for a person, plain lines for a log file, nothing for a program.

Standard output stays free for results. Separate from the experiment, which only says what it has done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from spa_bench.terminal import printable_line

INTERVAL = 15.0
"""Seconds between two plain lines of one stage."""


class Stage:
    """A stage under way. `advance` may be called from the loop that does the work; it is cheap."""

    def __init__(self, name: str, total: int | None, show: Callable[[Stage], None]) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self.figures: dict[str, float | int | str] = {}
        self._show = show

    def advance(self, amount: int = 1, **figures: float | int | str) -> None:
        """Count `amount` more units as done; `figures` are shown beside the count until they are replaced."""
        self.done += amount
        self.figures.update(figures)
        self._show(self)

    def count(self) -> str:
        """`12/400`, or `12` where the total is unknown."""
        return f"{self.done}/{self.total}" if self.total is not None else f"{self.done}"

    def status(self) -> str:
        """The figures as one line, such as `loss=0.31 success=0.4`."""
        return " ".join(f"{name}={_figure(value)}" for name, value in self.figures.items())


def _figure(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else printable_line(str(value), 40)


class Progress:
    """Shows stages and notes in one of three ways: `bars`, `lines` or `quiet`."""

    def __init__(
        self,
        mode: Literal["auto", "bars", "lines", "quiet"] = "auto",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self.mode = mode if mode != "auto" else "bars" if self.stream.isatty() else "lines"
        self._clock = clock
        self._bars: Bars | None = None

    @property
    def stream(self) -> TextIO:
        """Where it is shown. Looked up at each use: a `Progress` can be sent to another process."""
        return self._stream if self._stream is not None else sys.stderr

    @classmethod
    def quiet(cls) -> Progress:
        """Shows nothing."""
        return cls("quiet")

    def note(self, line: str) -> None:
        """One line that stays."""
        if self.mode == "quiet":
            return
        text = printable_line(line)
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A stage of `total` units; stages may be nested."""
        if self.mode == "bars":
            with self._bar(name, total) as stage:
                yield stage
        elif self.mode == "lines":
            with self._lines(name, total) as stage:
                yield stage
        else:
            yield Stage(name, total, lambda stage: None)

    @contextmanager
    def _lines(self, name: str, total: int | None) -> Iterator[Stage]:
        started = said = self._clock()

        def show(stage: Stage) -> None:
            nonlocal said
            if self._clock() - said >= INTERVAL:
                said = self._clock()
                self.note(f"{name}: {stage.count()} {stage.status()}".rstrip())

        stage = Stage(name, total, show)
        self.note(f"{name}: started" + (f", {total} to do" if total is not None else ""))
        word = "stopped at"
        try:
            yield stage
            word = "done"
        finally:
            seconds = self._clock() - started
            self.note(f"{name}: {word} {stage.count()} in {seconds:.1f} s {stage.status()}".rstrip())

    @contextmanager
    def _bar(self, name: str, total: int | None) -> Iterator[Stage]:
        outermost = self._bars is None
        if self._bars is None:
            self._bars = _columns(self.stream)
            self._bars.start()
        bars = self._bars
        task: TaskID = bars.add_task(printable_line(name), total=total, status="")

        def show(stage: Stage) -> None:
            bars.update(task, completed=stage.done, status=stage.status())

        try:
            yield Stage(name, total, show)
        finally:
            bars.stop_task(task)
            if outermost:
                bars.stop()
                self._bars = None


def _columns(stream: TextIO) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        console=Console(file=stream),
    )
