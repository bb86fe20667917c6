"""Progress on standard error: bars on a terminal, plain lines in a log file, nothing with --json.

Standard output stays free for results.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from spa_bench.terminal import printable_line

T = TypeVar("T")

INTERVAL = 15.0
"""Seconds between two plain lines of one stage."""


def seconds_left(done: float, total: float, seconds: float) -> float | None:
    """Estimated seconds for the rest at the rate so far; None where there is no rate yet."""
    if done <= 0 or seconds <= 0:
        return None
    return max(0.0, total - done) * seconds / done


def about(seconds: float) -> str:
    """A duration that is only estimated: `about 38 s`, `about 7 min`, `about 2 h 5 min`."""
    if round(seconds) < 60:
        return f"about {round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


def bursts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items that are ready `size` at a time, as episodes of a chunk are, together: to be counted at once.

    One by one, the first of them would seem to have taken as long as all, and hours to be left.
    """
    source = iter(items)
    while burst := list(itertools.islice(source, size)):
        yield burst


class Stage:
    """A stage under way. `advance` may be called from the loop that does the work; it is cheap."""

    def __init__(
        self, name: str, total: int | None, unit: str, clock: Callable[[], float], show: Callable[[Stage], None]
    ) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.figures: dict[str, float | int | str] = {}
        self._clock, self._show = clock, show
        self._started = self._begun = self._advanced = clock()
        self._given = 0

    def begin(self, total: int) -> None:
        """There are `total` units, and the first begins now: what was done before says nothing about the rate."""
        self.total = total
        self._begun = self._advanced = self._clock()

    def advance(self, amount: int = 1, **figures: float | int | str) -> None:
        """Count `amount` more units as done; `figures` are shown beside the count until they are replaced."""
        self.done += amount
        self.figures.update(figures)
        self._advanced = self._clock()
        self._show(self)

    def given(self, amount: int, **figures: float | int | str) -> None:
        """As `advance`, of units that say nothing about the rate: done by a run that was killed, or side by side."""
        self._given += amount
        self.advance(amount, **figures)

    def pace(self) -> str:
        """`12 steps/s, about 38 s left`; empty before there is a rate, which counts up to the last advance.

        What is left runs down between two advances, and is not said any more where it was too little.
        """
        done, seconds = self.done - self._given, self._advanced - self._begun
        if done <= 0 or seconds <= 0:
            return ""
        rate, each = (done / seconds, "s") if done >= seconds else (60 * done / seconds, "min")
        said = f"{rate:.2g}" if rate < 100 else f"{rate:.0f}"
        said += f" {self.unit}/{each}" if self.unit else f"/{each}"
        left = None if self.total is None else seconds_left(done, self.total - self._given, seconds)
        rest = (left or 0.0) - (self._clock() - self._advanced)
        return f"{said}, {about(rest)} left" if rest > 0 else said

    def line(self) -> str:
        """All that is known now, such as `explore: 12/400 3.1/s, about 2 min left success=0.4`."""
        return _joined(f"{self.name}:", self.count(), self.pace(), self.status())

    def end(self, word: str) -> str:
        """The last line: `explore: done 400/400 in 129.0 s success=0.4`."""
        seconds = self._clock() - self._started
        return _joined(f"{self.name}: {word} {self.count()} in {seconds:.1f} s", self.status())

    def count(self) -> str:
        """`12/400`, or `12` where the total is unknown."""
        return f"{self.done}/{self.total}" if self.total is not None else f"{self.done}"

    def status(self) -> str:
        """The figures as one line, such as `loss=0.31 success=0.4`."""
        return " ".join(f"{name}={_figure(value)}" for name, value in self.figures.items())


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


def _figure(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else printable_line(str(value), 40)


class Progress:
    """Shows stages and notes as `bars` or `lines`, or `notes` alone, or nothing: `quiet`."""

    def __init__(
        self,
        mode: Literal["auto", "bars", "lines", "notes", "quiet"] = "auto",
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
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Stage]:
        """A stage of `total` units, called `unit` where its rate is shown; stages may be nested."""
        if self.mode == "bars":
            with self._bar(name, total, unit) as stage:
                yield stage
        elif self.mode == "lines":
            with self._lines(name, total, unit) as stage:
                yield stage
        else:
            yield Stage(name, total, unit, self._clock, lambda stage: None)

    @contextmanager
    def _lines(self, name: str, total: int | None, unit: str) -> Iterator[Stage]:
        said = self._clock()

        def show(stage: Stage) -> None:
            nonlocal said
            if self._clock() - said >= INTERVAL:
                said = self._clock()
                self.note(stage.line())

        stage = Stage(name, total, unit, self._clock, show)
        self.note(f"{name}: started" + (f", {total} to do" if total is not None else ""))
        word = "stopped at"
        try:
            yield stage
            word = "done"
        finally:
            self.note(stage.end(word))

    @contextmanager
    def _bar(self, name: str, total: int | None, unit: str) -> Iterator[Stage]:
        outermost = self._bars is None
        if self._bars is None:
            self._bars = _columns(self.stream)
            self._bars.start()
        bars = self._bars

        def show(stage: Stage) -> None:
            bars.update(task, completed=stage.done, total=stage.total)

        stage = Stage(name, total, unit, self._clock, show)
        task: TaskID = bars.add_task(printable_line(name), total=total, stage=stage)
        word = "stopped at"
        try:
            yield stage
            word = "done"
        finally:
            bars.stop_task(task)
            if outermost:
                bars.stop()
                self._bars = None
            else:  # bars are for what is under way: a line stays, however many stages a run has
                bars.remove_task(task)
                self.note(stage.end(word))


class Figures(ProgressColumn):
    """Rate, time left and figures of a bar's stage, as they are when the bar is drawn."""

    def render(self, task: Task) -> Text:
        """Plain text: what a method or a model calls itself is no markup."""
        stage: Stage = task.fields["stage"]
        return Text(_joined(stage.pace(), stage.status()))


def _columns(stream: TextIO) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=Column(min_width=11, no_wrap=True)),
        TimeElapsedColumn(),
        Figures(Column(no_wrap=True)),
        console=Console(file=stream),
    )
