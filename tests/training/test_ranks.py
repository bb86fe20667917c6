"""One run on several devices: what two processes make is what one makes, up to floating point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranked
import safetensors.numpy

from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.speed import MEASURED

LAUNCH = "--num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
HERE = Path(ranked.__file__).parent


def launched(how: str, cache: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`ranked.py` by two processes on the CPU."""
    command = [sys.executable, "-m", "accelerate.commands.launch", *how.split(), *LAUNCH.split(), HERE / "ranked.py"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    own = {"ACCELERATE_USE_CPU": "true", "SPA_BENCH_CACHE": str(cache), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *arguments], env=os.environ | own, capture_output=True, text=True, timeout=300, check=False
    )


def only(results: Path) -> Path:
    (found,) = (results / "runs").glob("*/*/*")
    return found


def figures(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics, without what depends on the machine, on who computed what, or on last bits."""
    left_out = {*MEASURED, "weights", "seconds", "env_steps_executed", "tokens_trained", "sampler_gap", "crc"}
    rows = [row for row in Journal(path / "metrics.jsonl").read()[0] if row.get("kind") != "failed"]
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


def said(path: Path) -> dict[Any, Any]:
    rows, _ = Journal(path / "episodes.jsonl").read()
    return {(r["stage"], r["iteration"], r["index"]): [step["reply"] for step in r["steps"]] for r in rows}


def same(one: Path, other: Path) -> None:
    """Two runs are the same up to floating point, and their files have the same form."""
    assert said(one) == said(other)
    assert len(Journal(other / "episodes.jsonl").read()[0]) == len(said(other)), "an episode is recorded once"
    for left, right in zip(figures(one), figures(other), strict=True):
        assert left.keys() == right.keys()
        for name, value in left.items():
            wanted = pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value
            assert right[name] == wanted, name
    files = [file.relative_to(one) for file in one.glob("checkpoints/**/*") if file.is_file()]
    assert {file.relative_to(other) for file in other.glob("checkpoints/**/*") if file.is_file()} == {*files}
    for file in (file for file in files if file.suffix == ".safetensors"):
        left, right = (safetensors.numpy.load_file(run / file) for run in (one, other))
        assert left.keys() == right.keys(), file
        for name in left:
            assert (left[name].shape, left[name].dtype) == (right[name].shape, right[name].dtype), (file, name)
            np.testing.assert_allclose(left[name], right[name], rtol=1e-3, atol=1e-5, err_msg=f"{file}: {name}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return ranked.qwen2(folder / "model")


@pytest.fixture(scope="module")
def alone(folder: Path, model: Path) -> Path:
    """The runs of one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(folder / "cache"))
        for kind in ("embedded", "qwen2", "qwen2-lora"):
            experiment.run(ranked.settings(kind, model), folder / "alone" / kind, Progress.quiet())
    return folder / "alone"


def test_two_processes_make_the_run_of_one_and_a_dead_one_is_named(
    alone: Path, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = folder / "cache-ddp"
    done = launched("--multi_gpu", cache, folder / "ddp", model, "embedded", "qwen2-lora", "killed")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error: rank 1 of 2 (process ")], done.stderr
    for kind in ("embedded", "qwen2-lora"):
        same(only(alone / kind), only(folder / "ddp" / kind))

    killed = only(folder / "ddp" / "killed")
    assert "rank 1" in Journal(killed / "metrics.jsonl").read()[0][-1]["reason"]
    monkeypatch.setenv("SPA_BENCH_CACHE", str(cache))
    experiment.run(ranked.settings("embedded", model), folder / "ddp" / "killed", Progress.quiet())
    same(only(folder / "ddp" / "embedded"), killed)


def test_weights_in_parts_are_those_of_one_process(alone: Path, model: Path, folder: Path) -> None:
    done = launched(
        "--use_fsdp --fsdp_version 2", folder / "cache-fsdp", folder / "fsdp", model, "embedded", "qwen2", "qwen2-lora"
    )
    assert done.returncode == 0, done.stderr
    for kind in ("embedded", "qwen2", "qwen2-lora"):
        same(only(alone / kind), only(folder / "fsdp" / kind))
