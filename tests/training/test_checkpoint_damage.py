"""A run whose last checkpoint is damaged goes on from the one before it, and ends as if nothing had happened."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import config

from spa_bench import manifest
from spa_bench.core import UserError
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.speed import MEASURED


def rows(path: Path, name: str) -> list[dict[str, Any]]:
    found, unreadable = Journal(path / name).read()
    assert unreadable == 0
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in found]


def rewrite(path: Path, kept: list[dict[str, Any]]) -> None:
    path.unlink()
    Journal(path).extend(kept)


def test_t02_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "prune", lambda self, keep: None)  # as a kill just before leaves the folder
        calm = experiment.run(config(), tmp_path / "calm", Progress.quiet())
    rough = tmp_path / "rough" / calm.relative_to(tmp_path / "calm")
    shutil.copytree(calm, rough)
    metrics = Journal(rough / "metrics.jsonl").read()[0]
    before = [row for row in metrics if row["kind"] != "done" and row.get("stage") != "evaluate"]
    rewrite(rough / "metrics.jsonl", before)
    played = [row for row in Journal(rough / "episodes.jsonl").read()[0] if row["stage"] != "eval"]
    rewrite(rough / "episodes.jsonl", played)
    weights = rough / "checkpoints/0002/policy/model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    manifest._remembered.cache_clear()
    capsys.readouterr()
    experiment.run(config(), tmp_path / "rough", Progress.quiet())
    assert "0002 is damaged (policy/model.safetensors has another content): checkpoint 1 is" in capsys.readouterr().err
    assert weights.read_bytes() == content
    assert rows(rough, "episodes.jsonl") == rows(calm, "episodes.jsonl")
    assert rows(rough, "prices.jsonl") == rows(calm, "prices.jsonl")
    done = [row for row in rows(rough, "metrics.jsonl") if row["kind"] == "iteration"]
    once = [row for row in rows(calm, "metrics.jsonl") if row["kind"] == "iteration"]
    assert done == [*once, once[-1]]

    rewrite(rough / "metrics.jsonl", [row for row in before if row.get("iteration") != 1])
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged and lacks what training"):
        experiment.run(config(), tmp_path / "rough", Progress.quiet())
