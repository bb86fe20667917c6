"""What runs left in their results folder, without what no two runs have in common: the time that they took."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spa_bench.files import TEMPORARY
from spa_bench.report.table import as_json, tables
from spa_bench.runs.folder import read_run
from spa_bench.runs.journal import Journal
from spa_bench.training.speed import MEASURED

IDENTITY = ("stage", "iteration", "index")


@dataclass(frozen=True)
class Outcome:
    """Everything that two runs of one command must have in common, to the byte."""

    table: str
    """The tables as JSON, without seconds."""
    metrics: str
    episodes: str
    """By identity: a run that was resumed may have recorded them in another order."""
    prices: str
    checkpoints: str
    """sha256 of the weights and of the optimiser of the last one."""


def outcome(results: Path) -> Outcome:
    """Of all runs below `results`; AssertionError where an episode is counted twice or a line cannot be read."""
    return Outcome(table(results), **{name: records(results, name) for name in RECORDS})


def records(results: Path, name: str) -> str:
    """One of RECORDS, of all runs below `results`."""
    return json.dumps({str(run.relative_to(results)): RECORDS[name](run) for run in run_folders(results)})


def run_folders(results: Path) -> list[Path]:
    return sorted(file.parent for file in results.glob("runs/*/*/*/run.json"))


def table(results: Path) -> str:
    return json.dumps([as_json(one, seconds=False) for one in tables([results])])


def metrics(run: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in read(run, "metrics")]


def episodes(run: Path) -> list[dict[str, Any]]:
    rows = sorted(read(run, "episodes"), key=identity)
    twice = [one for one, count in Counter(map(identity, rows)).items() if count > 1]
    assert not twice, f"counted twice: {twice}"
    return rows


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in IDENTITY)


def prices(run: Path) -> list[dict[str, Any]]:
    return read(run, "prices")


def checkpoints(run: Path) -> list[str]:
    last = max(run.glob("checkpoints/[0-9]*"))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(last.rglob("*.safetensors"))]


RECORDS = {"metrics": metrics, "episodes": episodes, "prices": prices, "checkpoints": checkpoints}


def read(run: Path, journal: str) -> list[dict[str, Any]]:
    rows, unreadable = Journal(run / f"{journal}.jsonl").read()
    assert not unreadable, f"{unreadable} lines of {journal}.jsonl cannot be read"
    return rows


def unfinished(folder: Path) -> list[str]:
    """Files and folders that a killed process left half made."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(f"{TEMPORARY}*"))


def stage(run: Path) -> str:
    """How far a killed run had come, by what is in its folder."""
    if not (run / "run.json").exists():
        return "before run.json"
    rows, _ = Journal(run / "metrics.jsonl").read()
    stages = {row["stage"] for row in rows if row["kind"] == "stage"}
    done = sum(row["kind"] == "iteration" for row in rows)
    if any(row["kind"] == "done" for row in rows):
        return "after the end"
    for name in ("warm start", "explore"):
        if name not in stages:
            return name
    if any((run / "checkpoints").glob(f"{TEMPORARY}[0-9]*")):
        return f"checkpoint {done + 1}"
    if done == read_run(run)["config"]["ppo"]["iterations"]:
        return "eval"
    return f"iteration {done + 1}" if "fit reward" in stages else "fit reward"


def stages(results: Path) -> str:
    """Of all runs below `results`, those under way."""
    found = [stage(run) for run in run_folders(results)]
    if found and set(found) == {"after the end"}:
        return "after the end"
    return " + ".join(name for name in found if name != "after the end") or "before run.json"
