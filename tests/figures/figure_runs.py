"""Runs for figures, made in memory: who solved which task, and how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spa_bench.analysis.groups import Group, grouped
from spa_bench.analysis.played import Played
from spa_bench.analysis.runs import COSTS, Run

STEPS = (2, 3, 4, 5, 6, 8, 10, 11, 14, 20)
"""Of the expert, for task k0, k1, ..."""
ITERATIONS = ({"episodes": 4, "success": 0.25, "env_steps": 100}, {"episodes": 4, "success": 0.5, "env_steps": 120})


def panel(outcomes: Sequence[float], steps: Sequence[int] = STEPS, errors: Sequence[int] = ()) -> list[Played]:
    """Outcome 1 is success."""
    return [
        Played(
            f"k{place}", ("heat", "cool_then_place")[place % 2], many, outcome == 1, outcome, 5, 4, 0, place in errors
        )
        for place, (many, outcome) in enumerate(zip(steps, outcomes, strict=False))
    ]


def run(
    label: str,
    wins: str | Sequence[float],
    seed: int = 0,
    *,
    start: str = "",
    iterations: Sequence[Mapping[str, Any]] = ITERATIONS,
    limits: tuple[int, int] | None = (4, 8),
    steps: Sequence[int] = STEPS,
    errors: Sequence[int] = (),
    world: str = "alfworld",
    evaluations: Sequence[Mapping[str, Any]] = (),
    costs: Mapping[str, float] | None = None,
    fit: Mapping[str, Any] | None = None,
) -> Run:
    """`wins` says which tasks were solved, as "1101", or the outcomes."""
    config = {
        "env": world,
        "reward": label,
        "reward_options": {},
        "seed": seed,
        "world": {"tasks": "generated"},
        "model": {"name": "tiny"},
        "eval": {"split": "valid_unseen", "temperature": 0.0},
    }
    panels = {
        "warm_start": panel([float(x) for x in start], steps),
        "eval": panel([float(x) for x in wins], steps, errors),
    }
    facts = {"panel": "a1b2c3", "buckets": list(limits) if limits else None}
    return Run(
        name=f"{world}/{label}/{seed}",
        config=config,
        facts=facts,
        panels=panels,
        iterations=tuple(iterations),
        costs=dict.fromkeys(COSTS, 300.0) | {"extra_tokens": 0.0} if costs is None else costs,
        fit=fit or {},
        start="w",
        warm_start_seconds=0.0,
        finished=True,
        failure=None,
        unreadable=0,
        duplicates=0,
        evaluations=evaluations,
    )


def group(*runs: Run) -> Group:
    (found,) = grouped(runs)
    return found
