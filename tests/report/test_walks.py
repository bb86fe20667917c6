"""`report` and `view` beside a run that goes on: no walk through the results is lost, whatever is renamed meanwhile.

`SPA_BENCH_WALKS=1000` for as many walks as were promised; by default a few.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from viewer_runs import DONE, iteration, place, played, write_audit, write_run

from spa_bench.analysis.recordings import find
from spa_bench.config import build
from spa_bench.files import write_whole
from spa_bench.report.contents import gather
from spa_bench.report.page import gather as page_of
from spa_bench.report.serve import Live
from spa_bench.runs.episodes import to_row
from spa_bench.runs.folder import RunFolder, run_path

WALKS = int(os.environ.get("SPA_BENCH_WALKS", "60"))
ROWS = 40
"""Iterations that are logged: a walk through a run that grew for ever would take ever longer."""


def run_for_ever(results: Path) -> None:
    """As training writes: rows, and after each iteration a checkpoint of some files, of which the newest two stay."""
    config = build({"env": "alfworld", "reward": "rloo"})
    with RunFolder.open(run_path(results, config), config, {"panel": "a1b2c3", "buckets": [4, 8]}) as folder:
        for number in itertools.count(1):
            if number <= ROWS:
                rows = [
                    to_row(played(key, True)) | place("train", number, index) for index, key in enumerate(["k1", "k2"])
                ]
                folder.episodes.extend(rows)
                folder.prices.extend(place("train", number, index) | {"rewards": [0.5, 0.25, 1.0]} for index in (0, 1))
                folder.metrics.append(iteration(number))
            with folder.checkpoint(number) as build_in:
                for name in ("policy", "value", "optimiser"):
                    (build_in / name).mkdir()
                    (build_in / name / "weights.safetensors").write_bytes(b"\0" * 4096)
                    (build_in / name / "config.json").write_text("{}")
                (build_in / "metrics.json").write_text(json.dumps(iteration(number)))
            folder.prune(2)
            write_whole(folder.path / "state.json", str(number))


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """Results of a finished run and an audit, in which another run goes on."""
    write_run(tmp_path, "spa", metrics=[iteration(1), DONE])
    write_audit(tmp_path, methods=("spa", "sparse"))
    child = os.fork()
    if child == 0:
        try:
            run_for_ever(tmp_path)
        finally:
            os._exit(1)
    yield tmp_path
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL  # it was writing to the end


def checkpoints(results: Path) -> int:
    """The number of the newest checkpoint of the running run."""
    found = results.glob("runs/alfworld/rloo/*/checkpoints/[0-9]*")
    return max((int(path.name) for path in found if path.name.isdecimal()), default=0)


def test_t01_no_walk_beside_a_running_run_is_lost(beside: Path):
    live, lost = Live(beside), []
    for number in itertools.count():
        if number >= WALKS and checkpoints(beside) > 1:  # the run went on meanwhile
            break
        try:
            if number % 20 == 0:
                found = gather([beside])
                assert ([row.label for row in found.tables[0].rows], len(found.audits)) == (["warm start", "spa"], 1)
                assert not found.problems and len(page_of([beside], known=found)["report"]["runs"]) >= 2
            elif number % 2:
                version, shown = live.now()
                assert version and {run["state"] for run in shown["report"]["runs"]} <= {
                    "finished",
                    "audit",
                    "unfinished",
                }
            else:
                played_in, audits = find([beside])
                assert (len(audits), len(played_in)) in ((1, 1), (1, 2))  # before and after the run has its run.json
        except Exception as error:  # noqa: BLE001
            lost.append(f"walk {number}: {type(error).__name__}: {error}")
    assert lost == [], f"{len(lost)} of {number}"
