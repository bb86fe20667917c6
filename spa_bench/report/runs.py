"""What a table needs of one run folder, read without torch and without the world that was played.

Separate from the table: here a folder is judged (finished? damaged? which panel?), there numbers are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spa_bench.core import UserError
from spa_bench.records import Journal, read_run, reward_label

PANELS = ("warm_start", "eval")
"""Stages that play the held-out panel: before training, and after it with the final checkpoint."""

IDENTITY = ("stage", "iteration", "index")
"""What makes an episode the same episode; of two with one identity the first counts."""

COSTS = ("env_steps", "tokens_sampled", "tokens_trained", "extra_tokens", "extra_env_steps", "seconds")
"""What a run spent. `extra_*` is what the method spent beyond what every method spends."""


@dataclass(frozen=True)
class Played:
    """One episode of a panel."""

    task: str
    kind: str
    """Kind of the task, in the words of its world."""
    expert_steps: int
    success: bool
    outcome: float
    turns: int
    grounded: int
    malformed: int
    """Steps whose text was no command at all; they count as ungrounded too."""
    error: bool


@dataclass(frozen=True)
class Run:
    """One run folder."""

    name: str
    """`<env>/<reward>/<seed>-<hash>`: the end of its path, the same on every machine."""
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    panels: Mapping[str, Sequence[Played]]
    costs: Mapping[str, float]
    start: str | None
    """Hash of the weights that training started from, where the run says it."""
    warm_start_seconds: float
    finished: bool
    failure: str | None
    unreadable: int
    duplicates: int

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed"])

    @property
    def label(self) -> str:
        """Name of the table's row: the method with its options, or the agent that was only evaluated."""
        if agent := self.facts.get("agent"):
            return str(agent)
        return reward_label(self.config["reward"], self.config["reward_options"])


def find(paths: Iterable[Path]) -> list[Path]:
    """The run folders at or below the given folders, each once, sorted. UserError where there is none."""
    wanted = list(paths)
    found = {file.parent.resolve() for path in wanted for file in sorted(path.rglob("run.json"))}
    if not found:
        places = ", ".join(str(path) for path in wanted)
        raise UserError(f"no run folder in {places}: give the folder that was named with --results")
    return sorted(found)


def load(path: Path) -> Run:
    """Read one run folder; torn lines and repeated episodes are counted, not used."""
    content = read_run(path)
    panels, unreadable, duplicates = _panels(Journal(path / "episodes.jsonl"))
    rows, torn = Journal(path / "metrics.jsonl").read()
    stages = {str(row.get("stage")).replace(" ", "_"): row for row in rows if row.get("kind") == "stage"}
    failures = [str(row.get("reason", "no reason given")) for row in rows if row.get("kind") == "failed"]
    finished = any(row.get("kind") == "done" for row in rows)
    return Run(
        name="/".join(path.parts[-3:]),
        config=content["config"],
        facts=content["facts"],
        panels=panels,
        costs=_costs(rows, stages),
        start=stages.get("warm_start", {}).get("weights"),
        warm_start_seconds=float(stages.get("warm_start", {}).get("seconds") or 0.0),
        finished=finished,
        failure=failures[-1] if failures and not finished else None,
        unreadable=unreadable + torn,
        duplicates=duplicates,
    )


def _panels(journal: Journal) -> tuple[dict[str, list[Played]], int, int]:
    panels: dict[str, list[Played]] = {name: [] for name in PANELS}
    seen: set[tuple[Any, ...]] = set()
    unreadable = duplicates = 0
    for row in journal.scan():
        if row is None or None in (identity := tuple(row.get(key) for key in IDENTITY)):
            unreadable += 1
        elif identity in seen:
            duplicates += 1
        else:
            seen.add(identity)
            if row["stage"] in panels:
                panels[row["stage"]].append(_played(row, journal.path))
    return panels, unreadable, duplicates


def _played(row: Mapping[str, Any], file: Path) -> Played:
    try:
        steps = row["steps"]
        return Played(
            task=row["task"]["key"],
            kind=row["task"]["kind"],
            expert_steps=row["task"]["expert_steps"],
            success=row["success"],
            outcome=row["outcome"],
            turns=len(steps),
            grounded=sum(step["grounded"] for step in steps),
            malformed=sum(step["fault"] == "format" for step in steps),
            error=row["error"] is not None,
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{file} holds an episode that this version cannot read ({error}): upgrade spa-bench") from None


def _costs(rows: Sequence[Mapping[str, Any]], stages: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Sums over the iterations (of a repeated one the last counts) and over the reward's fit."""
    spent = {row.get("iteration"): row for row in rows if row.get("kind") == "iteration"}
    parts = [*spent.values(), stages.get("fit_reward", {})]
    return {name: sum(part.get(name) or 0 for part in parts) for name in COSTS}
