"""Run folders written by hand, good ones and damaged ones, for tests of whatever reads runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edited import run_json

from spa_bench.config import build
from spa_bench.core import Step, Task, Trajectory
from spa_bench.runs.episodes import to_row
from spa_bench.runs.folder import RunFolder, run_path

FACTS = {"panel": "a1b2c3", "buckets": [4, 8], "text": "2.1.1", "level": None, "our_form": None}
EXPERT_STEPS = {"k1": 3, "k2": 4, "k3": 5, "k4": 20}
MANY = {f"k{number:02}": number + 1 for number in range(1, 13)}
"""Twelve tasks, where four cannot show any difference."""
KINDS = {key: "cool" for key in list(MANY)[::2]}


def played(key: str, success: bool, faults: Sequence[str | None] = (None,), error: str | None = None) -> Trajectory:
    steps = tuple(Step("seen", "reply", "act", fault is None, fault, 0.0, 0.0) for fault in faults)  # type: ignore[arg-type]
    task = Task("alfworld", key, "valid_unseen", KINDS.get(key, "heat"), (EXPERT_STEPS | MANY)[key])
    return Trajectory(task, steps, float(success), success, success, not success, error=error)


def iteration(number: int, **figures: Any) -> dict[str, Any]:
    row = {"kind": "iteration", "iteration": number, "env_steps": 100, "tokens_sampled": 50, "tokens_trained": 40}
    return row | {"seconds": 2.5, "extra_tokens": 7, "extra_env_steps": 3, "updates": 4} | figures


def write_run(
    results: Path,
    reward: str = "sparse",
    seed: int = 0,
    wins: str = "1010",
    start: str = "1000",
    metrics: Sequence[dict[str, Any]] | None = None,
    facts: dict[str, Any] = FACTS,
    tasks: Sequence[str] = tuple(EXPERT_STEPS),
    fit: Mapping[str, float] | None = None,
    **settings: Any,
) -> Path:
    """A run whose panel is the four tasks; `wins` says which were solved, `fit` what the reward's fit has reached."""
    config = build({"env": "alfworld", "reward": reward, "seed": seed} | settings)
    path = run_path(results, config)
    with RunFolder.open(path, config, facts) as folder:
        folder.episodes.extend(
            row(played(key, won == "1"), stage, index)
            for stage, outcomes in (("warm_start", start), ("eval", wins))
            for index, (key, won) in enumerate(zip(tasks, outcomes, strict=False))
        )
        rows = [{"kind": "stage", "stage": "warm start", "seconds": 11.0}, iteration(1), iteration(2), {"kind": "done"}]
        fitted = [] if fit is None else [{"kind": "stage", "stage": "fit reward", "seconds": 1.0} | dict(fit)]
        folder.metrics.extend((rows if metrics is None else [*metrics]) + fitted)
    return path


def row(trajectory: Trajectory, stage: str, index: int) -> dict[str, Any]:
    return to_row(trajectory) | {"stage": stage, "iteration": 0, "index": index}


def log(folder: RunFolder, trajectory: Trajectory, stage: str, index: int) -> None:
    folder.episodes.append(row(trajectory, stage, index))


def damaged(results: Path) -> dict[str, Path]:
    """A good run, and every kind that is none."""
    folders = {"good": write_run(results, "spa", seed=0)}
    folders["unfinished"] = write_run(results, "spa", seed=1, metrics=[])
    failure = {"kind": "failed", "reason": "loss is NaN"}
    folders["failed"] = write_run(results, "spa", seed=2, metrics=[failure])
    folders["torn"] = write_run(results, "spa", seed=3)
    (folders["torn"] / "run.json").write_text('{"schema": 1, "conf')
    folders["foreign"] = results / "runs/other/program/1"
    folders["foreign"].mkdir(parents=True)
    (folders["foreign"] / "run.json").write_text('{"lr": 3}')
    folders["shapeless"] = write_run(results, "spa", seed=4)
    content = run_json(folders["shapeless"])
    (folders["shapeless"] / "run.json").write_text(json.dumps(content | {"config": {"seed": 4}}))
    folders["other rows"] = write_run(results, "spa", seed=5)
    row = {"stage": "eval", "iteration": 0, "index": 0, "steps": 3}
    (folders["other rows"] / "episodes.jsonl").write_text(json.dumps(row) + "\n")
    folders["garbled"] = write_run(results, "spa", seed=6)
    with (folders["garbled"] / "episodes.jsonl").open("ab") as file:
        file.write(b"\x00\xff not JSON\n")
    folders["newer"] = write_run(results, "spa", seed=7)
    content = json.loads((folders["newer"] / "run.json").read_text())
    (folders["newer"] / "run.json").write_text(json.dumps(content | {"schema": 99}))
    return folders
