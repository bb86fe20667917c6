"""Run and audit folders for the viewer: small ones with everything in them, and large ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spa_bench.audit import saved
from spa_bench.audit.assess import audit_method
from spa_bench.audit.summary import Audit
from spa_bench.config import build
from spa_bench.core import Step, Task, Trajectory
from spa_bench.runs.episodes import to_row
from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.runs.journal import Journal

FACTS = {"panel": "a1b2c3", "buckets": [4, 8], "text": "2.1.1"}
EXPERT_STEPS = {"k1": 3, "k2": 4, "k3": 5, "k4": 20}
DONE = {"kind": "done"}
HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>{{ 7 * 7 }}"
    "\u2028\u202ereversed\x1b[31m\x00 \ud800 <!-- <b>bold</b>"
)
HOSTILE_METHOD = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\u202e"
PROGRESS = (0.1, 0.3, 0.2, 0.2, 0.4, 0.6, 0.5, 0.7, 0.7, 0.7, 0.8, 0.9, 0.8, 0.9, 0.9, 0.9, 0.95, 0.95, 1.0, 1.0)


def step(turn: int, reply: str = "", fault: Any = None, progress: float | None = None) -> Step:
    reply = reply or f"Action: go to desk {turn}"
    action = "" if fault == "format" else reply.removeprefix("Action: ")
    so_far = turn / 10 if progress is None else progress
    return Step(f"You see desk {turn}.", reply, action, fault is None, fault, 0.0, so_far)


def played(key: str, success: bool, steps: Sequence[Step] | None = None, **more: Any) -> Trajectory:
    task = Task("alfworld", key, "valid_unseen", "heat" if key < "k3" else "cool", EXPERT_STEPS.get(key, 6))
    done = tuple(steps or (step(1), step(2), step(3)))
    fields = {"start_progress": 0.1, "final_observation": "It is over.", "goal": f"put {key} on the desk"} | more
    return Trajectory(task, done, float(success), success, success, not success, **fields)


def iteration(number: int, **figures: Any) -> dict[str, Any]:
    row = {"kind": "iteration", "iteration": number, "success": 0.1 * number, "grounded": 0.5, "reward_sum": 0.3}
    return row | {"kl": 0.01 * number, "env_steps": 10, "seconds": 1.5} | figures


def place(stage: str, number: int, index: int) -> dict[str, Any]:
    return {"stage": stage, "iteration": number, "index": index}


def write_run(
    results: Path,
    reward: str = "sparse",
    seed: int = 0,
    wins: str = "1010",
    metrics: Sequence[dict[str, Any]] | None = None,
    more: Iterable[dict[str, Any]] = (),
    prices: Iterable[dict[str, Any]] = (),
    facts: dict[str, Any] = FACTS,
    **settings: Any,
) -> Path:
    """A run of two iterations; of the last one four episodes are on record."""
    config = build({"env": "alfworld", "reward": reward, "seed": seed, **settings})
    path = run_path(results, config)
    with RunFolder.open(path, config, facts) as folder:
        for stage, outcomes in (("warm_start", "1000"), ("eval", wins), ("train", wins)):
            number = 2 if stage == "train" else 0
            folder.episodes.extend(
                to_row(played(key, won == "1")) | place(stage, number, index)
                for index, (key, won) in enumerate(zip(EXPERT_STEPS, outcomes, strict=False))
            )
        folder.episodes.extend(more)
        Journal(path / "prices.jsonl").extend(prices)
        folder.metrics.extend([iteration(1), iteration(2), DONE] if metrics is None else metrics)
    return path


METHODS = ("sparse", "spa", "spa (beta=0.1)", "shuffled", "potential", HOSTILE_METHOD)
"""Of an audit; the third has a name that addresses must escape, the last is written by nobody's friend."""


def write_audit(
    results: Path,
    methods: Sequence[str] = METHODS,
    episodes: Sequence[Trajectory] | None = None,
    seed: int = 0,
    turns: int = 3,
) -> Path:
    """An audit of four episodes: `sparse` and `potential` pay what they do in truth, the others what chance says."""
    steps = [
        step(turn + 1, fault=None if turn % 4 else "inadmissible", progress=PROGRESS[turn]) for turn in range(turns)
    ]
    found = list(episodes or [played(key, key < "k3", steps) for key in EXPERT_STEPS])
    found = [played("k1", False, [step(1, HOSTILE, "inadmissible"), *steps[1:]]), *found] if episodes is None else found
    rng = np.random.default_rng(seed)
    paid = {}
    for name in methods:
        made = [np.diff([one.start_progress, *(own.progress for own in one.steps)]) for one in found]
        last = [np.append(np.zeros(len(one) - 1), one.outcome) for one in found]
        chance = [rng.normal(size=len(one)) for one in found]
        paid[name] = {"potential": made, "sparse": last}.get(name, chance)
    audit = Audit(
        about={"world": "alfworld", "policy": "warm start", "seed": seed},
        methods=tuple(
            audit_method(name, found, [own], [own], limits=(4, 8), seed=0, placebo=name == "shuffled")
            for name, own in paid.items()
        ),
        limits=(4, 8),
        notes=("potential uses the oracle's progress; other methods do not",),
        episodes=tuple(found),
        prices={name: tuple(tuple(map(float, one)) for one in own) for name, own in paid.items()},
    )
    return saved.save(audit, results)


def write_all_kinds(results: Path) -> None:
    """Two methods with two seeds, hostile text, a branch, prices; and a run of every state."""
    turns = [step(1, HOSTILE, "inadmissible"), step(2, "no command", "format"), step(3, "Action: open safe 7")]
    hostile = to_row(played("k1", False, turns, goal="find the <b>safe</b>")) | place("train", 1, 0)
    left = to_row(played("k2", True, [step(1), step(2), step(3), step(4)])) | place("train", 1, 1)
    branch = played("k2", False, [step(1), step(2), step(7), step(8)], branch=2)
    right = to_row(branch) | place("train", 1, 2) | {"parent": 1}
    prices = [
        place("train", 1, 0) | {"rewards": [-0.5, 0.0, 1.0]},
        place("train", 1, 1) | {"rewards": [0.125, 0.25, 0.375, 0.5]},
        place("train", 1, 2) | {"rewards": [0.75, -0.75]},
        place("train", 2, 0) | {"rewards": [1.0]},
    ]
    before = place("warm_start", 0, 1)
    for seed, wins in ((0, "1110"), (1, "1010")):
        held_out = [before | {"rewards": [0.25, 0.5, -0.25]}, place("eval", 0, 1) | {"rewards": [0.0, 0.5, 0.5]}]
        write_run(results, "spa", seed, wins, more=[hostile, left, right], prices=[*prices, *held_out])
        write_run(results, "sparse", seed, "1000", prices=[before | {"rewards": [0.0, 0.0, 1.0]}])
    write_run(results, "ppo", 0, metrics=[iteration(1)])
    write_run(results, "ppo", 1, metrics=[{"kind": "failed", "reason": "the loss is NaN"}])
    damaged = results / "runs/alfworld/damaged/0-00000000"
    damaged.mkdir(parents=True)
    (damaged / "run.json").write_text('{"schema": 1, "config"')
    foreign = results / "runs/other/program/job"
    foreign.mkdir(parents=True)
    (foreign / "run.json").write_text(json.dumps({"name": "of another program"}))


def write_many(results: Path, runs: int = 10, episodes: int = 1000, turns: int = 15, unique: int = 0) -> None:
    """As many episodes as asked for, with texts as a world of text has them: few, and often the same."""
    for number in range(runs):
        folder = write_run(results, "spa" if number % 2 else "sparse", seed=number // 2)
        rows = (row for index in range(episodes - 12) for row in [_large(number, index, turns, unique)])
        with (folder / "episodes.jsonl").open("a", encoding="ascii") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def _large(run: int, index: int, turns: int, unique: int) -> dict[str, Any]:
    task = {"env": "alfworld", "key": f"t{index % 400}", "split": "train", "kind": "heat", "expert_steps": index % 15}
    steps = [
        {
            "observation": f"You arrive at shelf {(index * turn) % 97}. You see a mug {turn}, a plate {index % 31}, "
            f"and a {'spoon' if index % 2 else 'knife'} {(index + turn) % 53}." + f" {run} {index} {turn}" * unique,
            "reply": f"Action: go to shelf {(index + run + turn) % 97}",
            "action": f"go to shelf {(index + run + turn) % 97}",
            "grounded": turn % 5 > 0,
            "fault": None if turn % 5 else "inadmissible",
            "env_reward": 0.0,
            "progress": 0.5 + (index * turn % 40) / 100,
        }
        for turn in range(turns)
    ]
    won = bool(index % 3)
    row = {"task": task, "steps": steps, "outcome": float(won), "success": won, "terminated": won, "truncated": not won}
    return row | {"start_progress": 0.5, "goal": f"put mug {index % 90} away"} | place("train", 1 + index // 250, index)
