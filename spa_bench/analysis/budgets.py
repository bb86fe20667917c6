"""Runs at a training budget of `eval.budgets`: what they would be, had training ended there.

A budget is a number of environment steps collected. Nothing in training depends on how long it goes on, so a run at a
budget is the shorter run, evaluated with the policy that it had then. Which budget a table takes is named before; it is
never the best one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spa_bench.analysis.played import BUDGETS, at_budget, reached
from spa_bench.analysis.runs import Run, spent
from spa_bench.core import UserError


def budgets(run: Run) -> list[int]:
    """The environment steps at which it was evaluated with every episode on record, rising; the last is its end.

    Empty where no budget before the end is on record.
    """
    size, end = _size(run), _end(run)
    asked = {row["iteration"] for row in run.evaluations if at_budget(row["iteration"]) in run.panels}
    between = sorted(size * number for number in asked if 0 < size * number < end)
    return [*between, *([end] if between and run.finished else [])]


def at(run: Run, steps: int) -> Run:
    """The run at a budget; itself where that is its end. What came after it, a failure too, is not in it.

    Raises UserError where the run has no evaluation there.
    """
    if steps == _end(run) and run.finished:
        return run
    if steps not in (known := budgets(run)):
        said = f"it has {', '.join(f'{one:,}' for one in known)}" if known else "none before its end is on record"
        raise UserError(f"no evaluation at a budget of {steps:,} environment steps: {said}")
    number = steps // _size(run)
    iterations = [row for row in run.iterations if row["iteration"] <= number]
    later = [name for name in run.panels if BUDGETS.fullmatch(name) and reached(name) >= number]
    panels = {name: episodes for name, episodes in run.panels.items() if name not in later}
    return replace(
        run,
        config={**run.config, "ppo": {**run.config["ppo"], "iterations": number}},
        panels=panels | {"eval": run.panels[at_budget(number)]},
        iterations=iterations,
        evaluations=[row for row in run.evaluations if row["iteration"] < number],
        costs=spent(iterations, run.fit),
        finished=True,
        failure=None,
        at=steps,
    )


def shared(runs: Sequence[Run]) -> list[int]:
    """Budgets that all of some runs have, rising."""
    known = [budgets(run) for run in runs]
    return [steps for steps in known[0] if all(steps in other for other in known)] if known else []


def _size(run: Run) -> int:
    return int(run.config.get("ppo", {}).get("env_steps") or 0)


def _end(run: Run) -> int:
    return int(run.config.get("ppo", {}).get("iterations") or 0) * _size(run)
