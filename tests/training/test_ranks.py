"""One run on several devices: what two processes make is what one makes, up to floating point."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ranked
from close import same
from served import Served, serving

from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment

LAUNCH = "--num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
HERE = Path(ranked.__file__).parent


def launched(how: str, cache: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`ranked.py` by two processes on the CPU."""
    command = [sys.executable, "-m", "accelerate.commands.launch", *how.split(), *LAUNCH.split(), HERE / "ranked.py"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    own = {"ACCELERATE_USE_CPU": "true", "SPA_BENCH_CACHE": str(cache), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *arguments], env=os.environ | own, capture_output=True, text=True, timeout=540, check=False
    )


def only(results: Path) -> Path:
    (found,) = (results / "runs").glob("*/*/*")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return ranked.qwen2(folder / "model")


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """One that gives and takes token ids, and takes weights."""
    with serving() as served, pytest.MonkeyPatch.context() as patch:
        served.answer = served.tokens
        patch.setenv("SERVED", served.url.removesuffix("/v1"))
        yield served


@pytest.fixture(scope="module")
def alone(folder: Path, model: Path, server: Served) -> Path:
    """The runs of one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(folder / "cache"))
        for kind in ("embedded", "qwen2", "qwen2-lora", "served"):
            experiment.run(ranked.settings(kind, model), folder / "alone" / kind, Progress.quiet())
        patch.setenv("SPA_BENCH_CACHE", str(folder / "alone" / "begun" / "cache"))
        with pytest.raises(KeyboardInterrupt):
            experiment.run(ranked.settings("begun", model), folder / "alone" / "begun", ranked.Interrupted())
    return folder / "alone"


def rank_died(done: subprocess.CompletedProcess[str], number: int, results: Path) -> Path:
    """A launch ended by the death of one rank: one line of another one names it, and the run, which is returned, has
    it on record.
    """
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and lines[0].startswith(f"error: rank {number} of 2 (process "), done.stderr
    run = only(results / f"embedded-killed-{number}")
    failed = [row for row in Journal(run / "metrics.jsonl").read()[0] if row["kind"] == "failed"]
    assert [f"error: {row['reason']}" for row in failed] == lines
    return run


def test_two_processes_make_the_run_of_one_and_go_on_for_each_other(
    alone: Path, model: Path, folder: Path, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, asked = folder / "cache-ddp", [path for path, *_ in server.requests]
    begun = only(shutil.copytree(alone / "begun", folder / "ddp" / "begun"))
    rows, _ = Journal(begun / "episodes.jsonl").read()
    assert sum((row["stage"], row["iteration"]) == ("train", 2) for row in rows) == 2, "of its second iteration"
    kinds = ("embedded", "qwen2-lora", "served")
    done = launched("--multi_gpu", cache, folder / "ddp", model, *kinds, "begun", "embedded-killed-1")
    killed = rank_died(done, 1, folder / "ddp")
    for kind in kinds:
        same(only(alone / kind), only(folder / "ddp" / kind))
    given = [path for path, *_ in server.requests].count("/collective_rpc")
    assert given == 2 * asked.count("/collective_rpc"), "one rank hands over new weights"
    same(only(alone / "embedded"), begun)

    monkeypatch.setenv("SPA_BENCH_CACHE", str(cache))
    experiment.run(ranked.settings("embedded", model), folder / "ddp" / "embedded-killed-1", Progress.quiet())
    same(only(folder / "ddp" / "embedded"), killed)


def test_weights_in_parts_are_those_of_one_process_and_the_first_rank_may_die(
    alone: Path, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds, cache = ("embedded", "qwen2", "qwen2-lora"), folder / "cache-fsdp"
    done = launched("--use_fsdp --fsdp_version 2", cache, folder / "fsdp", model, *kinds, "embedded-killed-0")
    killed = rank_died(done, 0, folder / "fsdp")
    for kind in kinds:
        same(only(alone / kind), only(folder / "fsdp" / kind))

    monkeypatch.setenv("SPA_BENCH_CACHE", str(cache))
    experiment.run(ranked.settings("embedded", model), folder / "fsdp" / "embedded-killed-0", Progress.quiet())
    same(only(folder / "fsdp" / "embedded"), killed)
