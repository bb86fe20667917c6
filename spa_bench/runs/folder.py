"""The run folder: configuration, episodes, metrics and checkpoints that survive a kill at any moment.

`<results>/runs/<env>/<reward>/<seed>-<hash8>/` holds `run.json`, `episodes.jsonl`, `prices.jsonl` (the rewards of
training steps, and of held-out ones), `metrics.jsonl`, `checkpoints/` and `lock`. Separate from the experiment, and
without torch, so that a report can read it on any machine.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spa_bench import manifest
from spa_bench.config import RunConfig, build
from spa_bench.core import UserError
from spa_bench.files import folder_whole, remove, remove_unfinished, simple_name, write_whole
from spa_bench.identity import BEFORE, decisive
from spa_bench.locks import Lock
from spa_bench.runs.journal import Journal, plain
from spa_bench.runs.names import reward_name, world_name
from spa_bench.runs.reading import CHECKPOINTS, RUN, read_json
from spa_bench.terminal import printable_line

SCHEMA = 1
"""Version of the records of a run: the layout of its folder and the rows of all its files, which one number pins, as
`run.json` is written first and read before any of them. A folder with another one is refused."""

PINNED = {
    "panel": "another evaluation set",
    "content": "other tasks under the same names: another catalogue or set of games",
    "model": "another model under the same name: other weights, tokenizer or template",
    "engine": "another inference engine, or another version of it",
    "buckets": "other limits of short and long tasks",
    "prompt": "another prompt",
    "world_code": "another version of the world's code",
    "agent_code": "another version of the agent's code: editing the file invalidates the evaluation",
    "reward_code": "another version of the reward's code: editing the file invalidates the run",
}
"""Facts that determine results beside the configuration: where one has changed, a run is not resumed. `panel` is the
evaluation set."""


def config_hash(config: RunConfig) -> str:
    """Eight hex digits over the settings that decide results, all but the seed."""
    text = json.dumps(decisive(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:8]


def run_path(results: Path, config: RunConfig) -> Path:
    """Where the run of this configuration lives."""
    env, reward = simple_name(world_name(config.env), "environment"), simple_name(reward_name(config.reward), "reward")
    return results / "runs" / env / reward / f"{config.seed}-{config_hash(config)}"


class RunFolder:
    """The folder of one run, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.episodes = Journal(path / "episodes.jsonl")
        self.metrics = Journal(path / "metrics.jsonl")
        self.prices = Journal(path / "prices.jsonl")
        self.checkpoints = path / CHECKPOINTS
        self._lock = Lock(path / "lock")

    @classmethod
    def open(cls, path: Path, config: RunConfig, facts: Mapping[str, Any]) -> Self:
        """Lock the folder, and write `run.json` before anything else or check that it is of the same run.

        Raises UserError where another process works in it, or where it holds another configuration. A finished run is
        opened without a lock where nothing may be written.
        """
        folder = cls(path)
        try:
            folder.checkpoints.mkdir(parents=True, exist_ok=True)
            held = folder._lock.acquire(wait=False)
        except OSError as error:
            if folder.is_finished():
                folder._pin(config, facts)
                return folder
            raise UserError(f"cannot write {path}: {error.strerror}; choose another folder with --results") from None
        if not held:
            raise UserError(f"{path} is in use by {folder._lock.holder()}: wait for it, or stop it")
        try:
            remove_unfinished(path)
            remove_unfinished(folder.checkpoints)
            folder._pin(config, facts)
        except BaseException:
            folder.close()
            raise
        return folder

    def _pin(self, config: RunConfig, facts: Mapping[str, Any]) -> None:
        file = self.path / RUN
        if not file.exists():
            content = {"schema": SCHEMA, "config": config.model_dump(mode="json"), "facts": dict(facts)}
            content = json.loads(json.dumps(content, allow_nan=False, default=plain))
            write_whole(file, json.dumps(content | {"sha256": _digest(content)}, indent=1) + "\n")
            return
        stored = read_run(self.path)
        wanted = json.loads(json.dumps(dict(facts), default=plain))
        same = config_hash(config) == _stored_hash(stored, file) and config.seed == stored["config"].get("seed")
        if not same:
            raise UserError(f"{self.path} holds a run of another configuration: choose another --results folder")
        for name, what in PINNED.items():
            if wanted.get(name) != stored["facts"].get(name):
                raise UserError(f"{self.path} was made with {what}; move the folder away to start again")

    def is_finished(self) -> bool:
        """The run has been evaluated."""
        rows, _ = self.metrics.read()
        return any(row.get("kind") == "done" for row in rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder for other processes."""
        self._lock.release()

    @contextmanager
    def checkpoint(self, number: int) -> Iterator[Path]:
        """An empty folder to fill; it becomes checkpoint `number` when the context ends cleanly."""
        with folder_whole(self.checkpoints / f"{number:04d}") as folder:
            yield folder
            manifest.write(folder)

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """Number and folder of the newest good checkpoint; damaged ones are named on standard error.

        UserError where there are some and all are damaged.
        """
        faults: list[str] = []
        for number, path in reversed(self._checkpoints()):
            fault = manifest.fault(path)
            if fault == manifest.NONE:
                _say(f"checkpoint {path} cannot be checked, as an earlier version wrote it: it is taken as it is")
                fault = None
            if fault is None:
                if faults:
                    _say(f"{faults[0]}: checkpoint {number} is used in its place")
                return number, path
            faults.append(f"checkpoint {path} is damaged ({fault})")
        if faults:
            raise UserError(f"{faults[0]}, and there is no other: move {self.path} away to start again")
        return None

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints."""
        found = self._checkpoints()
        for _, path in found[: max(0, len(found) - keep)]:
            remove(path)

    def drop(self, after: int) -> None:
        """Remove the checkpoints of later iterations than this."""
        for number, path in self._checkpoints():
            if number > after:
                remove(path)

    def _checkpoints(self) -> list[tuple[int, Path]]:
        found = self.checkpoints.glob("[0-9]*")
        return sorted((int(path.name), path) for path in found if path.name.isdecimal() and path.is_dir())


def read_run(path: Path) -> dict[str, Any]:
    """The content of a folder's `run.json`: `schema`, `config`, `facts`; UserError where spa-bench did not write it."""
    file = path / RUN
    try:
        content = read_json(file)
    except OSError as error:
        raise UserError(f"{path} is no run folder: cannot read run.json ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path} is no run folder: cannot read run.json ({error})") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("config", "facts")):
        raise UserError(f"{file} is not from spa-bench: it lacks config or facts")
    if (schema := content.get("schema")) != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        raise UserError(
            f"{file} has schema {schema!r}; this spa-bench reads {SCHEMA}: "
            + ("upgrade spa-bench" if newer else "no version of spa-bench writes that, so restore it from a copy")
        )
    digest = content.pop("sha256", None)  # earlier versions wrote none
    if digest not in (None, _digest(content)):
        raise UserError(f"{file} is damaged or was edited: it does not fit its sha256; copy it again")
    for name, values in BEFORE.items():
        if isinstance(section := content["config"].get(name), dict):
            content["config"][name] = {**values, **section}
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


def _say(line: str) -> None:
    print(printable_line(line), file=sys.stderr, flush=True)


def record_failure(path: Path, reason: str) -> None:
    """Say in the folder of a run why it failed, where nothing is left of the process that would have said so.

    Nothing is written where the run had not begun to write, or where another process has gone on with it.
    """
    lock = Lock(path / "lock")
    if (path / RUN).exists() and lock.acquire(wait=False):
        try:
            RunFolder(path).metrics.append({"kind": "failed", "reason": reason})
        finally:
            lock.release()


def _stored_hash(stored: Mapping[str, Any], file: Path) -> str:
    try:
        return config_hash(build(stored["config"]))
    except UserError as error:
        raise UserError(f"{file} was written by another version of spa-bench: {error}") from None
