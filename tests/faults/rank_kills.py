"""One run by several ranks, of which one is killed again and again until the run is done, at random moments.

A moment is a share of the time that a stage takes when nobody is killed, so that short stages, such as the writing of a
checkpoint, are struck as often as long ones. The ranks are started by torch's launcher, which `accelerate launch`
hands them to, as forks: with everything loaded.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import forked
import preloaded
from close import same
from outcome import run_folders, stage, unfinished

from spa_bench.commands import cli

STAGES = (
    "start", "warm start", "explore", "fit reward", "iteration 1", "checkpoint 1", "iteration 2",
    "checkpoint 2", "eval",
)  # fmt: skip

LONGEST = 60.0
"""Seconds that a launch may last after a rank was killed; the launcher gives the others 30 to end."""


@dataclass(frozen=True)
class Launch:
    """A run under way."""

    command: forked.Command
    place: Path
    size: int

    def stage(self) -> str:
        """That of the run, when the first rank works in its folder."""
        with contextlib.suppress(FileNotFoundError, IndexError):
            found = run_folders(self.place / "results")[0]
            if (found / "lock").read_text().split()[0] == (self.place / "rank-0").read_text():
                return stage(found)
        return "start"

    def stages(self) -> Iterator[tuple[str, float]]:
        """Each stage when it is first seen, and the time then."""
        seen = ""
        while self.command.process.is_alive():
            if (now := self.stage()) != seen:
                seen = now
                yield seen, time.monotonic()
            time.sleep(0.001)

    def kill(self, rank: int) -> bool:
        """SIGKILL to a rank; False where there is none, as it has not begun or is over."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((self.place / f"rank-{rank}").read_text()), signal.SIGKILL)
            return True
        return False


@dataclass
class Case:
    """The words of a run, with the form of its ranks, and what it is when nobody is killed."""

    words: Sequence[str]
    folder: Path
    sharded: bool
    takes: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage."""

    def launch(self, place: Path, size: int) -> Launch:
        for left in place.glob("rank-*"):
            left.unlink()
        own = {"ACCELERATE_USE_CPU": "true", "SPA_BENCH_CACHE": str(place / "cache"), "TORCH_CPP_LOG_LEVEL": "ERROR"}
        own |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"} if self.sharded else {}
        for name in ("out", "err"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(b"")
        words = [*self.words, "--results", str(place / "results")]
        return Launch(forked.Command(preloaded.start(_launch, words, place, size, own), place), place, size)

    def calm(self) -> Path:
        """Its folder, by two ranks; notes what each stage takes."""
        launch = self.launch(self.folder / "calm", 2)
        moments = [*launch.stages(), ("", time.monotonic())]
        _ended(launch, well=True)
        for (name, begun), (_, over) in itertools.pairwise(moments):
            self.takes[name] = self.takes.get(name, 0.0) + over - begun
        return run_folders(self.folder / "calm" / "results")[0]


def _launch(words: list[str], place: Path, size: int, environment: dict[str, str]) -> None:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.setsid()
    os.environ.update(environment)
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_APPEND), number)
    how = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "start_method": "fork", "max_restarts": 0}
    elastic_launch(LaunchConfig(1, 1, size, run_id=place.name, **how), _rank)(words, place)


def _rank(words: list[str], place: Path) -> None:
    (place / f"rank-{os.environ['RANK']}").write_text(str(os.getpid()))
    sys.argv = ["spa-bench", *words]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise


def _ended(launch: Launch, *, well: bool) -> list[str]:
    """Lines of errors of a launch when it is over; AssertionError where it has ended in another way."""
    code = launch.command.wait(LONGEST if not well else forked.LIMIT).code
    said = (launch.place / "err").read_text(errors="replace")
    assert code is not None, f"it hangs:\n{said}"
    assert (code == 0) == well, said
    return [line for line in said.splitlines() if line.startswith("error: ")]


def kills(case: Case, count: int, rng: random.Random) -> list[str]:
    """Kill `count` ranks, one in each launch, and compare every run with the calm one; says for each kill where it
    struck, and whom.
    """
    calm, struck, life = case.calm(), list[str](), 0
    while len(struck) < count:
        place, last = case.folder / f"life-{life}", len(struck)
        for name in STAGES[: count - last]:
            launch = case.launch(place, size := rng.choice((2, 2, 3)))
            rank, moment = rng.randrange(size), rng.random() * case.takes.get(name, 0.0)
            if (at := _strike(launch, name, moment, rank)) is None:
                break
            said, whom = _ended(launch, well=False), f"rank {rank} of {size}"
            named = [line for line in said if line.startswith(f"error: {whom} (process ")]
            assert said == named and (len(named) == 1 or at == "start"), f"{at}, {whom}: {said}"
            struck.append(f"{at}: {whom}")
        else:
            launch = case.launch(place, rng.choice((2, 3)))
        _ended(launch, well=True)
        same(calm, run_folders(place / "results")[0])
        assert not (left := unfinished(place)), f"left half made: {left}"
        assert len(struck) > last, "nothing was struck"
        life += 1
    return struck


def _strike(launch: Launch, name: str, moment: float, rank: int) -> str | None:
    """Kill a rank so many seconds after this stage, or a later one, has begun; the stage then, None where none was."""
    for seen, _ in launch.stages():
        if seen in STAGES and STAGES.index(seen) >= STAGES.index(name):
            time.sleep(moment)
            while launch.command.process.is_alive():
                at = launch.stage()
                if launch.kill(rank):
                    return at
                time.sleep(0.01)
    return None
