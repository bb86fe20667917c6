"""Metrics in TensorBoard, trackio or wandb while a run goes on: always on this machine, never over a network.

`metrics.jsonl` is authoritative. A tracker is a separate process that reads it as it grows, from its first row: the
rows of a killed run are sent again to an emptied tracker, so that no point is lost or doubled. A library that raises,
hangs, prints or crashes there does not affect the run; the process ends when the run ends.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any

from spa_bench.core import UserError
from spa_bench.files import remove
from spa_bench.locks import Lock
from spa_bench.runs.folder import read_run
from spa_bench.runs.journal import Journal
from spa_bench.runs.names import run_name
from spa_bench.runs.progress import Progress
from spa_bench.runs.provenance import shareable

PROJECT = "spa-bench"
LOG = "tracker.log"
"""File of the run folder that holds what the library printed."""
LOOK = 1.0
"""Seconds between two looks at `metrics.jsonl`."""
PATIENCE = 60.0
"""Seconds that a library has to finish after the run; wandb and trackio write the last points then."""

Log = Callable[[int, dict[str, float]], None]
"""Called with a step and the numbers there."""


def check(name: str | None) -> None:
    """UserError where a tracker of this name is not known or not installed; None is no tracker."""
    if name is None:
        return
    if name not in TRACKERS:
        raise UserError(f"no tracker {name!r}; known: {', '.join(TRACKERS)}")
    try:
        importlib.metadata.version(name)  # not find_spec: a folder `wandb` in the working folder would pass for it
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"{name} is not installed: pip install {name}") from None


@contextmanager
def tracked(name: str | None, folder: Path, progress: Progress) -> Iterator[None]:
    """While the context is open, what is in the run folder's `metrics.jsonl` is shown by the tracker; None is none.

    The caller holds the run folder, and `run.json` is there. What goes wrong with the tracker is noted once.
    """
    if name is None:
        yield
        return
    context = multiprocessing.get_context("spawn")  # a fork would hold on to the run's threads, locks and files
    ours, theirs = context.Pipe()
    process = context.Process(target=follow, args=(name, folder.absolute(), theirs), daemon=True)
    try:
        (folder / LOG).open("ab").close()
        process.start()
    except OSError as error:
        progress.note(f"no {name}: {error}; metrics.jsonl is still written")
    theirs.close()
    try:
        yield
    finally:
        ours.close()
        if process.pid is not None and (problem := _end(process, folder / LOG)):
            progress.note(f"{name} is incomplete ({problem}); metrics.jsonl is complete. See {folder / LOG}")


def _end(process: Any, log: Path) -> str | None:
    """Wait for a tracker whose run is over; what went wrong, if anything did."""
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
        return f"it did not finish in {PATIENCE:.0f} s"
    lines: list[str] = []
    if process.exitcode == 1:  # it raised something, and said so last
        with suppress(OSError):
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip()), f"exit code {process.exitcode}")
    return said if process.exitcode else None


def follow(name: str, folder: Path, run: connection.Connection) -> None:
    """Body of the tracker's process: send every row of `metrics.jsonl` until the other end of `run` is closed.

    The system closes it where the run is killed, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches all processes of a terminal; the run decides
    handle = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):  # the files themselves: wandb has processes of its own
        os.dup2(handle, stream)
    _go_offline()
    lock = Lock(folder / "tracker.lock")
    lock.acquire(wait=True)  # the tracker of a run killed just now is still at its last points
    if (parent := multiprocessing.parent_process()) is not None and not parent.is_alive():
        return  # killed meanwhile: whoever resumes the run shows all of it
    config = shareable(read_run(folder)["config"])
    journal = Journal(folder / "metrics.jsonl")
    sent, over = 0, False
    with TRACKERS[name](folder, config) as log:
        while not over:
            over = bool(connection.wait([run], LOOK))
            found = points(journal.read()[0])
            for step, numbers in found[sent:]:
                log(step, numbers)
            sent = len(found)


def _go_offline() -> None:
    """Forget the user's accounts, servers and spaces: a variable of theirs must not send a run anywhere."""
    for variable in list(os.environ):
        if variable.startswith(("WANDB_", "TRACKIO_", "HF_TOKEN")):
            del os.environ[variable]
    os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_ERROR_REPORTING": "false"}


def points(rows: Iterable[Mapping[str, Any]]) -> list[tuple[int, dict[str, float]]]:
    """The rows of `metrics.jsonl` for a tracker: the step, and the numbers as `iteration/kl`.

    The step is the number of iterations done, for stages too: no tracker takes a step smaller than the last one.
    """
    found, step = [], 0
    for row in rows:
        if (kind := row.get("kind")) == "iteration":
            step = int(row["iteration"])
        elif kind not in ("stage", "evaluation"):
            continue
        place = str(row.get("stage", kind)).replace(" ", "_")
        numbers = {
            f"{place}/{key}": value
            for key, value in row.items()
            if key != "iteration" and isinstance(value, int | float) and not isinstance(value, bool)
        }
        found.append((step, numbers))
    return found


@contextmanager
def tensorboard(folder: Path, config: dict[str, Any]) -> Iterator[Log]:
    """Event files in `tensorboard/` of the run folder; `tensorboard --logdir results` shows all runs."""
    library = importlib.import_module("torch.utils.tensorboard")
    remove(folder / "tensorboard")
    with library.SummaryWriter(folder / "tensorboard") as writer:
        writer.add_text("config", f"```json\n{json.dumps(config, indent=1)}\n```")

        def log(step: int, numbers: dict[str, float]) -> None:
            for tag, number in numbers.items():
                writer.add_scalar(tag, number, step)
            writer.flush()

        yield log


@contextmanager
def trackio(folder: Path, config: dict[str, Any]) -> Iterator[Log]:
    """A project in `trackio/` of the results folder, with all runs; `TRACKIO_DIR=results/trackio trackio show`."""
    os.environ["TRACKIO_DIR"] = str(folder.parents[3] / "trackio")  # read when the library is imported
    library = importlib.import_module("trackio")
    title = run_name(folder)
    with suppress(ValueError):  # of a project that does not exist yet
        for old in library.Api().runs(PROJECT):
            if old.name == title:
                old.delete()
    with warnings.catch_warnings(record=True) as said:  # it raises nothing: what it could not write, it warns of
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module="trackio", category=UserWarning)
        run = library.init(PROJECT, name=title, config=config, embed=False, auto_log_gpu=False, auto_log_cpu=False)
        yield lambda step, numbers: run.log(numbers, step=step)
        library.finish()
    if said:
        raise RuntimeError(said[0].message)


@contextmanager
def wandb(folder: Path, config: dict[str, Any]) -> Iterator[Log]:
    """An offline run in `wandb/` of the run folder, without account or machine; `wandb sync` sends it, if ever."""
    remove(folder / "wandb")
    os.environ["WANDB_CACHE_DIR"] = str(folder / "wandb" / "cache")  # logs of its own, else in the user's home
    library = importlib.import_module("wandb")
    settings = library.Settings(
        root_dir=str(folder), console="off", silent=True, disable_git=True, disable_code=True, save_code=False,
        x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True, x_save_requirements=False,
    )  # fmt: skip
    title = run_name(folder)
    run = library.init(
        project=PROJECT, name=title, id=title.replace("/", "-"), config=config, mode="offline", settings=settings
    )
    yield lambda step, numbers: run.log(numbers, step=step)
    run.finish()


TRACKERS: dict[str, Callable[[Path, dict[str, Any]], AbstractContextManager[Log]]] = {
    "tensorboard": tensorboard,
    "trackio": trackio,
    "wandb": wandb,
}
