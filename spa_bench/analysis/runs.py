"""What a table needs of one run folder, read without torch and without the environment.

Separate from the table: here a folder is judged (finished? damaged? which episodes?), there numbers are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spa_bench.analysis import played
from spa_bench.analysis.played import DAMAGED, Played
from spa_bench.analysis.shapes import check_row, check_run
from spa_bench.core import UserError
from spa_bench.runs.folder import read_run
from spa_bench.runs.iterations import given, learned
from spa_bench.runs.journal import Journal
from spa_bench.runs.names import reward_label, reward_name, run_name, world_name
from spa_bench.runs.provenance import shareable
from spa_bench.runs.reading import RUN, holding

COSTS = (
    "env_steps",
    "env_steps_executed",
    "tokens_sampled",
    "tokens_trained",
    "extra_tokens",
    "extra_env_steps",
    "seconds",
)
"""What a run spent. `extra_*` is the method's overhead: what it alone needs."""

KINDS = ("iteration", "stage", "evaluation", "spent", "failed", "done", "summary", "stopped")
"""Of the rows of `metrics.jsonl`. `evaluation`: of the evaluation set after an iteration, as `eval.every` asks for."""


@dataclass(frozen=True)
class Run:
    """One run folder."""

    name: str
    """`<env>/<reward>/<seed>-<hash>`: the end of its path, the same on every machine."""
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    panels: Mapping[str, Sequence[Played]]
    iterations: Sequence[Mapping[str, Any]]
    """Rows of `metrics.jsonl`, one for each iteration of training; of a repeated one the last."""
    costs: Mapping[str, float]
    fit: Mapping[str, Any]
    """The row of `metrics.jsonl` that says how the method was fitted; empty where it was not."""
    start: str | None
    """Hash of the weights that training started from, where the run says it."""
    warm_start_seconds: float
    finished: bool
    failure: str | None
    unreadable: int
    duplicates: int
    strange: Sequence[str] = ()
    """What kinds rows of `metrics.jsonl` are of that nobody knows; they count as unreadable."""
    evaluations: Sequence[Mapping[str, Any]] = ()
    """Rows of `metrics.jsonl` of evaluations between iterations, by iteration; of a repeated one the last."""
    mark: str = ""
    """What tells its method from another of that name in the same table."""
    at: int | None = None
    """The training budget, in environment steps, at which it is looked at, where that is not its end."""

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed"])

    @property
    def missing(self) -> int:
        """Tasks of the evaluation set that a finished run has no episode of, where it says how many there are."""
        wanted = self.facts.get("panel_tasks") if self.finished else 0
        return max(int(wanted or 0) - len({episode.task for episode in self.panels["eval"]}), 0)

    @property
    def overspent(self) -> float:
        """What was spent as a share of a training budget in environment steps; 0 where the budget is another."""
        ppo = self.config.get("ppo", {})
        if ppo.get("match") != "env-steps":
            return 0.0
        spent = sum(given(row) or 0 for row in self.iterations)
        return (spent + self.costs["extra_env_steps"]) / (ppo["iterations"] * ppo["env_steps"] or 1)

    @property
    def limits(self) -> tuple[int, int] | None:
        """The longest short and the longest medium task, by steps of the expert; None where the run does not say it."""
        found = self.facts.get("buckets")
        return (int(found[0]), int(found[1])) if found else None

    @property
    def level(self) -> str | None:
        """The unit of credit, `turn` or `token`; None where nothing was trained, or the run does not say it."""
        if self.facts.get("agent"):
            return None
        found = self.facts.get("level") or self.config.get("ppo", {}).get("level")
        return None if found is None else str(found)

    @property
    def method(self) -> str:
        """The reward method without its options."""
        return reward_name(self.config["reward"])

    @property
    def label(self) -> str:
        """Name of the table's row: the method with its options, or the agent that was only evaluated."""
        if agent := self.facts.get("agent"):
            return str(agent)
        label = reward_label(self.config["reward"], self.config["reward_options"])
        return f"{label} [{self.mark}]" if self.mark else label


def find(paths: Iterable[Path]) -> list[Path]:
    """The run folders at or below the given folders, each once, sorted, with those that cannot be looked into.

    UserError where there is none.
    """
    wanted = list(paths)
    found = holding(RUN, wanted, closed=True)
    if not found:
        places = ", ".join(str(path) for path in wanted) or "an empty list"
        raise UserError(f"no run folder in {places}: give a folder of results, or one of its runs")
    return found


def load(path: Path) -> Run:
    """Read one run folder; torn lines and repeated episodes are counted, not used.

    Raises UserError for a folder of another program, or with content that this version cannot read.
    """
    try:
        run = _load(path)
        _ = (run.seed, run.method, run.label, run.limits, run.missing, about(run, 0, ()))
    except DAMAGED as error:
        raise UserError(f"{path} holds what this version cannot read ({type(error).__name__}: {error})") from None
    return run


def about(run: Run, n: int, seeds: Sequence[int]) -> dict[str, Any]:
    """What a table of `n` tasks says of the runs that stand in it, in printing order."""
    world, model = run.config["world"], run.config["model"]
    return {
        "world": world_name(str(run.config["env"])),
        "tasks": world["tasks"],
        "split": run.config["eval"]["split"],
        "n": n,
        "seeds": list(seeds),
        "evaluation_set": run.facts.get("panel"),
        "model": shareable(model["name"]),
        "text": run.facts.get("text"),
        "protocol": run.facts.get("protocol"),
        "outcome": run.facts.get("outcome"),
        "max_steps": run.facts.get("max_steps"),
        "training_budget": None if run.facts.get("agent") else _training_budget(run.config.get("ppo", {})),
        "temperature": run.config["eval"]["temperature"],
        "checkpoint": "final" if run.at is None else f"{run.at:,}-step",
    }


def _training_budget(ppo: Mapping[str, Any]) -> str | None:
    """What is equal for all methods; runs of older versions do not say it."""
    if "match" not in ppo:
        return None
    steps = f"{ppo['iterations'] * ppo['env_steps']:,} env steps"
    return {
        "collected": f"{steps} (method overhead not counted)",
        "env-steps": f"{steps} (overhead env steps counted)",
        "tokens": "by sampled tokens (overhead sampled tokens counted)",
    }[ppo["match"]]


def _load(path: Path) -> Run:
    content = read_run(path)
    check_run(content, f"{path / RUN}")
    panels, unreadable, duplicates = played.panels(path)
    rows, torn = Journal(path / "metrics.jsonl").read()
    strange = unknown_kinds(rows)
    for number, row in enumerate(rows, 1):
        check_row(row, f"{path / 'metrics.jsonl'}, row {number},")
    stages = {str(row.get("stage")).replace(" ", "_"): row for row in rows if row.get("kind") == "stage"}
    failures = [str(row.get("reason", "no reason given")) for row in rows if row.get("kind") == "failed"]
    finished = any(row.get("kind") == "done" for row in rows)
    iterations, evaluations = _numbered(rows, "iteration"), _numbered(rows, "evaluation")
    return Run(
        name=run_name(path),
        config=content["config"],
        facts=content["facts"],
        panels=panels,
        iterations=iterations,
        costs=spent(iterations, fit := stages.get("fit_reward", {})),
        fit=fit,
        start=stages.get("warm_start", {}).get("weights"),
        warm_start_seconds=float(stages.get("warm_start", {}).get("seconds") or 0.0),
        finished=finished,
        failure=failures[-1] if failures and not finished else None,
        unreadable=unreadable + torn + len(strange),
        duplicates=duplicates,
        strange=sorted(set(strange)),
        evaluations=evaluations,
    )


def _numbered(rows: Iterable[Mapping[str, Any]], kind: str) -> tuple[Mapping[str, Any], ...]:
    """The rows of a kind by iteration; of a repeated one the last."""
    found = {int(row["iteration"]): row for row in rows if row.get("kind") == kind}
    return tuple(found[number] for number in sorted(found))


def unknown_kinds(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The kind of each row of `metrics.jsonl` that is none of `KINDS`: of a damaged row, or a later version's."""
    return [repr(row.get("kind"))[:40] for row in rows if row.get("kind") not in KINDS]


def spent(iterations: Iterable[Mapping[str, Any]], fit: Mapping[str, Any]) -> dict[str, float]:
    """Sums over the iterations and over the reward's fit.

    What was executed is not on record in rows of earlier versions: NaN.
    """
    rows = [{"env_steps_executed": math.nan, **row, "env_steps": learned(row)} for row in iterations]
    parts = [*rows, fit]
    return {name: sum(part.get(name) or 0 for part in parts) for name in COSTS}
