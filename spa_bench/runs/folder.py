"""The run folder: configuration, episodes, metrics and checkpoints that survive a kill at any moment.

`<results>/runs/<env>/<reward>/<seed>-<hash8>/` holds `run.json`, `episodes.jsonl`, `prices.jsonl` (what each step of
training earned), `metrics.jsonl`, `checkpoints/` and `lock`. Separate from the experiment, and without torch, so that a
report reads what a run wrote years later on another machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from spa_bench.config import RunConfig, build
from spa_bench.core import Step, Task, Tokens, Trajectory, UserError
from spa_bench.facts import facts
from spa_bench.paths import (
    CacheEntry,
    Lock,
    cache_entry,
    cache_root,
    folder_whole,
    remove,
    remove_unfinished,
    simple_name,
    sync_names,
    write_whole,
)

__all__ = [
    "CacheEntry",
    "Journal",
    "RunFolder",
    "cache_entry",
    "cache_root",
    "config_hash",
    "facts",
    "from_row",
    "read_run",
    "reward_label",
    "reward_name",
    "run_name",
    "run_path",
    "to_row",
]

SCHEMA = 1
"""Version of the layout of a run folder; a folder with a higher one is refused."""

PINNED = {
    "panel": "another panel of held-out tasks",
    "buckets": "other limits of short and long tasks",
    "prompt": "another prompt",
    "reward_code": "the reward's code as it was before it was edited",
}
"""Facts that decide results beside the configuration: where one changed, a run is not resumed."""


class Journal:
    """Rows of JSON, one a line, only ever appended; every row that was appended before a crash is there after it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row and force it onto the disk. Raises ValueError for NaN or infinity, UserError on a full disk."""
        self.extend([row])

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows with one write; a crash keeps the first few or all of them."""
        data = b"".join(self._line(row) for row in rows)
        if not data:
            return
        new = not self.path.exists()
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
            try:
                data = _mended(handle) + data
                if os.write(handle, data) < len(data):
                    raise OSError(0, "the disk took only a part")
                os.fsync(handle)
            finally:
                os.close(handle)
            if new:
                sync_names(self.path.parent)
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; earlier rows are intact: mend it and run the same command"
            ) from error

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """All readable rows in order, and the number of unreadable lines. Empty lines do not count."""
        found = list(self.scan())
        rows = [row for row in found if row is not None]
        return rows, len(found) - len(rows)

    def scan(self) -> Iterator[dict[str, Any] | None]:
        """As `read`, one line after another without keeping them: a row, or None for an unreadable line."""
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from (_parse(line) for line in file if line.strip())

    def _line(self, row: Mapping[str, Any]) -> bytes:
        try:
            return json.dumps(row, allow_nan=False, separators=(",", ":"), default=_plain).encode("ascii") + b"\n"
        except ValueError as error:
            raise ValueError(f"{self.path.name}: a row holds NaN, infinity or itself ({error}): {_bad(row)}") from None


def _mended(handle: int) -> bytes:
    """What must come before the next row. The part of a row that a kill left is cut off: it will be written again."""
    size = os.lseek(handle, 0, os.SEEK_END)
    tail = b""
    while b"\n" not in tail and len(tail) < size:
        step = min(1 << 16, size - len(tail))
        os.lseek(handle, size - len(tail) - step, os.SEEK_SET)
        tail = os.read(handle, step) + tail
    torn = tail.rpartition(b"\n")[2]
    if not torn or _parse(torn) is not None:  # a row that only lost its newline is whole
        return b"\n" if torn else b""
    os.ftruncate(handle, size - len(torn))
    return b""


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _plain(value: object) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _bad(row: Mapping[str, Any]) -> str:
    wrong = [key for key, value in row.items() if isinstance(value, float) and not np.isfinite(value)]
    return ", ".join(wrong) or "in a nested value"


def to_row(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as plain values, tokens included; `from_row` gives back an equal one, bit for bit.

    The first `branch` steps are left out: they are in the record of the episode that they belong to. Text may hold lone
    surrogates. Only an adjacent high and low surrogate come back as the one character they encode.
    """
    return vars(trajectory) | {
        "task": dict(vars(trajectory.task)),
        "steps": [
            vars(step) | {"tokens": step.tokens and dict(vars(step.tokens))}
            for step in trajectory.steps[trajectory.branch :]
        ],
    }


def from_row(row: Mapping[str, Any], parent: Trajectory | None = None) -> Trajectory:
    """The trajectory of a row; keys that it does not know are ignored. A branch needs its `parent`."""
    past = parent.steps[: row.get("branch", 0)] if parent is not None else ()
    if len(past) != row.get("branch", 0):
        raise UserError("an episode's row is a branch of another: its first steps are in that one's row")
    try:
        steps = past + tuple(
            Step(**_known(Step, step) | {"tokens": _tokens(step.get("tokens"))}) for step in row["steps"]
        )
        return Trajectory(**_known(Trajectory, row) | {"task": Task(**_known(Task, row["task"])), "steps": steps})
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"an episode's row does not fit this version of spa-bench: {error}") from None


def _tokens(row: Mapping[str, Any] | None) -> Tokens | None:
    if row is None:
        return None
    lists = {key: tuple(row[key]) for key in ("context", "reply", "logprobs")}
    return Tokens(**lists, restart=row.get("restart", False))


def _known(kind: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: row[field.name] for field in fields(kind) if field.name in row}


def config_hash(config: RunConfig) -> str:
    """Eight hex digits over everything in the configuration but `seed` and `batch`."""
    values = config.model_dump(mode="json", exclude={"seed", "batch"})
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:8]


def run_path(results: Path, config: RunConfig) -> Path:
    """Where the run of this configuration lives."""
    env, reward = simple_name(config.env, "environment"), simple_name(reward_name(config.reward), "reward")
    return results / "runs" / env / reward / f"{config.seed}-{config_hash(config)}"


def run_name(path: Path) -> str:
    """What a folder below the results is called, the same on every machine: `alfworld/spa/0-1a2b3c4d`."""
    return "/".join(path.parts[-3:])


def reward_name(reward: str) -> str:
    """A method as folders and tables call it: `folder/mine.py:Mine` is `mine.Mine`."""
    location, colon, class_name = reward.rpartition(":")
    return f"{Path(location).stem}.{class_name}" if colon else reward


def reward_typed(reward: str) -> str:
    """A method as messages call it: what was typed, without the folder of a file."""
    location, colon, class_name = reward.rpartition(":")
    return f"{Path(location).name}:{class_name}" if colon else reward


def reward_label(reward: str, options: Mapping[str, Any]) -> str:
    """A method with its options as tables call it: `spa (beta=0.1)`; whole numbers have no point, however typed."""
    whole = {key: int(value) for key, value in options.items() if isinstance(value, float) and value.is_integer()}
    said = ", ".join(f"{key}={value}" for key, value in sorted({**options, **whole}.items()))
    return f"{reward_name(reward)} ({said})" if said else reward_name(reward)


class RunFolder:
    """The folder of one run, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.episodes = Journal(path / "episodes.jsonl")
        self.metrics = Journal(path / "metrics.jsonl")
        self.prices = Journal(path / "prices.jsonl")
        self.checkpoints = path / "checkpoints"
        self._lock = Lock(path / "lock")

    @classmethod
    def open(cls, path: Path, config: RunConfig, facts: Mapping[str, Any]) -> Self:
        """Lock the folder, and write `run.json` before anything else or check that it is of the same run.

        Raises UserError where another process works in it, or where it holds another configuration.
        """
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create {path}: {error.strerror}; choose another folder with --results") from None
        folder = cls(path)
        if not folder._lock.acquire(wait=False):
            raise UserError(f"{path} is in use by {folder._lock.holder()}: wait for it, or end it")
        try:
            remove_unfinished(path)
            remove_unfinished(folder.checkpoints)
            folder._pin(config, facts)
        except BaseException:
            folder.close()
            raise
        return folder

    def _pin(self, config: RunConfig, facts: Mapping[str, Any]) -> None:
        file = self.path / "run.json"
        if not file.exists():
            content = {"schema": SCHEMA, "config": config.model_dump(mode="json"), "facts": dict(facts)}
            write_whole(file, json.dumps(content, indent=1, allow_nan=False, default=_plain) + "\n")
            return
        stored = read_run(self.path)
        wanted = json.loads(json.dumps(dict(facts), default=_plain))
        same = config_hash(config) == _stored_hash(stored, file) and config.seed == stored["config"].get("seed")
        if not same:
            raise UserError(f"{self.path} holds a run of another configuration: choose another --results folder")
        for name, what in PINNED.items():
            if wanted.get(name) != stored["facts"].get(name):
                raise UserError(f"{self.path} was made with {what}: move the folder away to start afresh")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.release()

    @contextmanager
    def checkpoint(self, number: int) -> Iterator[Path]:
        """An empty folder to fill; it becomes checkpoint `number` when the context ends cleanly."""
        with folder_whole(self.checkpoints / f"{number:04d}") as folder:
            yield folder

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """Number and folder of the newest complete checkpoint."""
        found = self._checkpoints()
        return found[-1] if found else None

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints."""
        found = self._checkpoints()
        for _, path in found[: max(0, len(found) - keep)]:
            remove(path)

    def _checkpoints(self) -> list[tuple[int, Path]]:
        return sorted((int(path.name), path) for path in self.checkpoints.iterdir() if path.name.isdecimal())


def read_run(path: Path) -> dict[str, Any]:
    """The content of a folder's `run.json`: `schema`, `config`, `facts`; UserError where it is none of ours."""
    file = path / "run.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no run folder: cannot read run.json ({error})") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("config", "facts")):
        raise UserError(f"{file} is not from spa-bench: it lacks config or facts")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{file} has schema {content.get('schema')}; this spa-bench reads {SCHEMA}: upgrade spa-bench")
    return content


def _stored_hash(stored: Mapping[str, Any], file: Path) -> str:
    try:
        return config_hash(build(stored["config"]))
    except UserError as error:
        raise UserError(f"{file} was written by another version of spa-bench: {error}") from None
