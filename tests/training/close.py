"""Whether two runs are the same up to floating point, as those of other numbers of ranks are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from spa_bench.runs.journal import Journal
from spa_bench.training.speed import MEASURED


def figures(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics, without what depends on the machine, on who computed what, or on last bits."""
    left_out = {*MEASURED, "weights", "seconds", "env_steps_executed", "tokens_trained", "sampler_gap", "crc"}
    rows = [row for row in Journal(path / "metrics.jsonl").read()[0] if row.get("kind") != "failed"]
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


def prices(path: Path) -> dict[Any, Any]:
    rows, _ = Journal(path / "prices.jsonl").read()
    found = {(row["stage"], row["iteration"], row["index"]): row["rewards"] for row in rows}
    assert len(found) == len(rows), "the rewards of an episode are recorded once"
    return found


def said(path: Path) -> dict[Any, Any]:
    rows, _ = Journal(path / "episodes.jsonl").read()
    return {(r["stage"], r["iteration"], r["index"]): [step["reply"] for step in r["steps"]] for r in rows}


def same(one: Path, other: Path) -> None:
    """Two runs are the same up to floating point, and their files have the same form."""
    assert said(one) == said(other)
    assert len(Journal(other / "episodes.jsonl").read()[0]) == len(said(other)), "an episode is recorded once"
    wanted, found = prices(one), prices(other)
    assert wanted.keys() == found.keys()
    for index, rewards in wanted.items():
        np.testing.assert_allclose(found[index], rewards, rtol=1e-3, atol=1e-5, err_msg=str(index))
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
