"""Summaries of runs: what tables and figures need, without texts, weights and rewards, to be kept and published.

A summary is a folder as that of the run, at the same place below its root, and everything that reads runs reads it:
`run.json` and `metrics.jsonl` as they were, with the hash of the trained weights, `outcomes.csv` in place of
`episodes.jsonl`, and a list of their sizes and sha256.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spa_bench import manifest
from spa_bench.analysis import played
from spa_bench.analysis.runs import Run, find, load
from spa_bench.core import UserError
from spa_bench.files import folder_whole
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.journal import Journal
from spa_bench.runs.reading import RUN

RUNS, METRICS = "runs", "metrics.jsonl"


def summarise(folders: Iterable[Path], to: Path) -> list[Path]:
    """Write a summary of every finished run at or below `folders`, below `to`; one that is there is left as it is.

    Returns the summaries that were written. UserError where no run is found, or a summary is of another run.
    """
    written = []
    for folder in find(folders):
        run = load(folder)
        place, is_summary = to / RUNS / run.name, (folder / played.OUTCOMES).exists()
        if run.finished and not is_summary and not _same(folder, place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with folder_whole(place) as build:
                _write(run, folder, build)
            written.append(place)
    return written


def _same(folder: Path, place: Path) -> bool:
    """Whether `place` holds the run's summary; UserError where it holds that of another."""
    if not place.exists():
        return False
    if (place / RUN).read_bytes() != (folder / RUN).read_bytes():
        raise UserError(f"{place} is the summary of another run of that name: move it away to have that of {folder}")
    return True


def _write(run: Run, folder: Path, build: Path) -> None:
    for name in (RUN, METRICS):
        (build / name).write_bytes((folder / name).read_bytes())
    (build / played.OUTCOMES).write_text(played.outcomes(run.panels), encoding="utf-8", newline="\n")
    latest = RunFolder(folder).latest_checkpoint()
    weights = sorted((latest[1] / "policy").rglob("*.safetensors")) if latest else []
    Journal(build / METRICS).append({"kind": "summary", "weights": manifest.content_hash(weights) if weights else None})
    manifest.write(build)
