"""Commands that are killed again and again until they are done, at random moments and at named calls.

A moment is a share of the time that the command takes when nobody kills it. A named call is one of those by which
something comes to be on the disk; the process kills itself and all of its group just before it, just after it, or, of a
write, half way.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import forked
from outcome import Outcome, outcome, stages, unfinished

CALLS = ("write", "fsync", "replace", "unlink")
"""Of `os`. Each takes first a path, or the number of an open file."""
WHEN = ("before", "half", "after")


@dataclass(frozen=True)
class Case:
    """A command, and where it puts what."""

    words: tuple[str, ...]
    folder: Path

    def life(self, name: str) -> Life:
        """An empty folder of results and an empty cache for it."""
        return Life(self, self.folder / name)


@dataclass(frozen=True)
class Life:
    """One folder of results with its own cache, in which the command is started until it is done."""

    case: Case
    place: Path

    @property
    def results(self) -> Path:
        return self.place / "results"

    def start(self, before: Callable[..., Any] | None = None, *given: Any) -> forked.Command:
        os.environ["SPA_BENCH_CACHE"] = str(self.place / "cache")
        words = [*self.case.words, "--results", self.results]
        return forked.start(words, self.place / "said", before, *given)

    def end(self) -> tuple[Outcome, list[str]]:
        """Let it end, with nothing wrong or left half made; its outcome, and the labels of its calls in order."""
        log = self.place / "calls"
        log.unlink(missing_ok=True)
        ended = self.start(watch, None, "", log).wait()
        assert ended.code == 0, ended.err
        assert ended.said() == [], ended.err
        assert not (left := unfinished(self.place)), f"left half made: {left}"
        return outcome(self.results), list(dict.fromkeys(log.read_text().splitlines()))


def at_moment(life: Life, seconds: float, *, torn: bool) -> bool:
    """Kill it after so many seconds, or half way through the next write then; False where it was done before."""
    if torn:
        return ended_or_killed(life.start(tear, seconds))
    command = life.start()
    command.process.join(seconds)
    if command.process.exitcode is None:
        command.kill()
    return ended_or_killed(command)


def at_call(life: Life, label: str, when: str) -> bool:
    """Kill it at the first call of that label; False where there was none."""
    return ended_or_killed(life.start(watch, label, when, None))


def ended_or_killed(command: forked.Command) -> bool:
    """True where it was killed; AssertionError where it ended in another way than well."""
    ended = command.wait()
    assert ended.code in (0, -signal.SIGKILL), f"exit code {ended.code}: {ended.err}"
    return ended.code != 0


def calm(case: Case) -> tuple[Outcome, float, list[str]]:
    """The command when nobody kills it: outcome, seconds, and the labels of its calls, each once, in order."""
    begun = time.monotonic()
    wanted, labels = case.life("calm").end()
    return wanted, time.monotonic() - begun, labels


def random_kills(case: Case, wanted: Outcome, seconds: float, count: int, rng: random.Random) -> list[str]:
    """`count` kills at random moments after `calm`; says for each where it struck.

    Every second life has the start of the calm run in its cache, so that kills strike training as often as the start.
    The time is no promise: where a life ends before its first moment, that is the time of such a life from then on.
    """
    struck: list[str] = []
    takes = {False: seconds, True: seconds / 2}
    for number in range(20 * count):
        life, first, warm = case.life(f"random-{number}"), len(struck), number % 2 == 0
        if warm:
            shutil.copytree(case.life("calm").place / "cache", life.place / "cache")
        while len(struck) < count:
            moment, torn = rng.random() * takes[warm], rng.random() < 1 / 3
            if not at_moment(life, moment, torn=torn):
                takes[warm] = moment if len(struck) == first and not torn else takes[warm]
                break
            how = f"{moment / takes[warm]:.0%} of the time{', in a write' if torn else ''}"
            struck.append(f"{stages(life.results)} ({how})")
        assert life.end()[0] == wanted, f"another outcome after kills in {struck[first:]}"
        if len(struck) == count:
            return struck
    raise AssertionError(f"{len(struck)} kills of {count} came in time")


def named_kills(
    case: Case, wanted: Outcome, points: Sequence[tuple[str, str]], name: str
) -> tuple[list[str], list[str]]:
    """Kill one life at these calls, given in the order of the run; another one goes on where a call was not met again.

    Says for each kill where it struck, and the labels of the calls of the process that ended the last life.
    """
    struck: list[str] = []
    life, last, rest = case.life(name), [], list(points)
    while rest:
        while rest and at_call(life, *rest[0]):
            label, when = rest.pop(0)
            struck.append(f"{stages(life.results)} ({when} {label})")
        found, last = life.end()
        assert found == wanted, f"another outcome after kills in {struck}"
        rest = rest[1:]  # a call that was made before the last kill, and need not be made again
        life = case.life(f"{name}-{len(rest)}")
    return struck, last


def some_calls(labels: Sequence[str], count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """`count` of these calls, each with a moment."""
    for label in rng.sample(labels, min(count, len(labels))):
        yield label, rng.choice(WHEN if label.startswith("write") else ("before", "after"))


def tear(seconds: float) -> None:
    """In the process of the command: die half way through the first write after so many seconds."""
    write, begun = os.write, time.monotonic()

    def torn(handle: int, data: bytes) -> int:
        if called("write", handle, ()) is None or time.monotonic() - begun < seconds:
            return write(handle, data)
        write(handle, data[: len(data) // 2])
        return die()

    os.write = torn


def watch(label: str | None, when: str, log: Path | None) -> None:
    """In the process of the command: note the labels of all calls in `log`, and die at that one."""
    for name in CALLS:
        setattr(os, name, _watched(name, getattr(os, name), label, when, log))


def _watched(name: str, call: Callable[..., Any], label: str | None, when: str, log: Path | None) -> Callable[..., Any]:
    write = os.write  # the real one: the log is no part of the run

    def watched(target: Any, *more: Any, **named: Any) -> Any:
        found = called(name, target, more, named.get("dir_fd"))
        if found is not None and log is not None:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            write(handle, f"{found}\n".encode())
            os.close(handle)
        if found is None or found != label:
            return call(target, *more, **named)
        if when == "half":
            call(target, more[0][: len(more[0]) // 2])
        elif when == "after":
            call(target, *more, **named)
        return die()

    return watched


def die() -> NoReturn:
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError("dead by now")


def called(name: str, target: Any, more: Sequence[Any], folder: int | None = None) -> str | None:
    """A call as `replace checkpoints/0001`; None for what is no file of a run or of the cache."""
    if isinstance(target, int):
        target = opened(target)
    path = Path(os.fsdecode(more[0] if name == "replace" else target))
    if folder is not None:
        path = opened(folder) / path
    kept = [re.sub(r"^(\.tmp-.+)-\d+$", r"\1", part) for part in path.parts[-2:]]  # without the process's number
    if not path.is_absolute() or not {"results", "cache"} & set(path.parts) or path.suffix == ".lock":
        return None
    return f"{name} {'/'.join(kept)}"


def opened(handle: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{handle}"))
