"""Tasks for worker processes, and a program that shares them out: what is done is on record in a folder."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import typer

from spa_bench.commands.words import resumable
from spa_bench.training import workers


def told(folder: Path, number: int, end: str) -> int:
    """Writes its process's number, then does as it is told: `done`, `waits`, `deaf`, `raises`, or a signal's name."""
    if end == "deaf":  # as in a library that does not come back to the interpreter
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    first = not (folder / f"{number}").exists()
    with (folder / f"{number}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if end == "raises":
        raise ZeroDivisionError("a defect")
    if end.startswith("SIG") and (first or not end.endswith("-once")):
        os.kill(os.getpid(), signal.Signals[end.removesuffix("-once")])
    while end in ("waits", "deaf"):
        time.sleep(0.01)
    return number * number


def sees(folder: Path, number: int, end: str) -> str | None:
    """The GPUs that its process sees; one that `waits` ends when a task that `ends-NUMBER` lets it."""
    if end == "SIGKILL-once":
        told(folder, number, end)
    if end.startswith("ends-"):
        (folder / f"end-{end.removeprefix('ends-')}").touch()
    while end == "waits" and not (folder / f"end-{number}").exists():
        time.sleep(0.01)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@resumable
def main(folder: Path, jobs: int, ends: list[str]) -> None:
    tasks = [(folder, number, end) for number, end in enumerate(ends)]
    with closing(workers.results(told, tasks, jobs, lambda number, words: print(number, words, flush=True))) as found:
        for number, answer in found:
            print(number, answer, flush=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    except typer.Exit as end:
        sys.exit(end.exit_code)
