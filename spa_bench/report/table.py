"""The table of a comparison: which methods, on what, how well, at what cost.

Runs stand in one table only if they differ in nothing but method and seed. Built from run folders alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spa_bench.core import UserError, bucket
from spa_bench.report.differences import (
    Difference,
    Resolution,
    Scores,
    Variation,
    differences,
    resolution,
    scores,
    variation,
)
from spa_bench.report.runs import COSTS, Played, Run, find, load
from spa_bench.stats import Estimate, over_seeds

BUCKETS = ("short", "medium", "long")
VARYING = ("reward", "reward_options", "seed", "batch")
"""What may differ between the runs of one table."""
START = "warm start"
"""Name of the row before training; every method is compared with it."""


@dataclass(frozen=True)
class Row:
    """One line: a policy, averaged over its seeds."""

    label: str
    seeds: tuple[int, ...]
    success: Estimate
    outcome: float
    grounded: float
    """Executed steps among all steps of all seeds."""
    malformed: float
    """Steps whose text was no command, among the same; counted as not grounded too."""
    turns: float
    buckets: Mapping[str, float | None]
    """Success by expert length; None where the panel has no such task."""
    excluded: int
    """Episodes left out because something outside the agent's control went wrong."""
    costs: Mapping[str, float]
    """Means over seeds."""


@dataclass(frozen=True)
class Table:
    """One comparison."""

    about: Mapping[str, Any]
    """World, split, n, panel hash and the rest of the footer, in printing order."""
    sizes: Mapping[str, int]
    """Tasks in each length bucket."""
    limits: tuple[int, int] | None
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    """Every method against the warm start, and against the baseline."""
    variation: tuple[Variation, ...]
    resolution: Resolution
    notes: tuple[str, ...]
    """Whatever a reader must know before trusting a number: left-out runs, damage, unequal starts."""


def tables(paths: Iterable[Path], baseline: str | None = None) -> list[Table]:
    """The tables of all run folders at or below `paths`; the same folders always give the same tables.

    `baseline` is the label of the row that every method is compared with, beside the warm start; where it is not given,
    the first method in alphabetical order. UserError where no table has that row.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for path in find(paths):
        run = load(path)
        groups[_setting(run)].append(run)
    found = [
        _table(sorted(runs, key=lambda run: (run.label, run.seed)), identity, baseline)
        for identity, runs in sorted(groups.items())
    ]
    labels = {row.label for table in found for row in table.rows}
    if baseline is not None and baseline not in labels:
        raise UserError(f"no finished run of the baseline {baseline}; there are: {', '.join(sorted(labels)) or 'none'}")
    return found


def as_json(table: Table, seconds: bool = True) -> dict[str, Any]:
    """A table as plain values; without `seconds` it depends on nothing but what the agents did."""
    plain: dict[str, Any] = asdict(table)
    if not seconds:
        for row in plain["rows"]:
            del row["costs"]["seconds"]
    return plain


def _setting(run: Run) -> str:
    config = {key: value for key, value in run.config.items() if key not in VARYING}
    return json.dumps([config, run.facts.get("panel")], sort_keys=True)


def _table(runs: Sequence[Run], identity: str, baseline: str | None) -> Table:
    judged = [(run, _reason_to_leave_out(run, runs[:place])) for place, run in enumerate(runs)]
    done = [run for run, reason in judged if reason is None]
    limits = _limits(runs[0])
    methods: dict[str, list[Run]] = defaultdict(list)
    for run in done:
        methods[run.label].append(run)
    started = [run for run in done if _valid(run, "warm_start")]
    rows = [_row(START, _once_a_seed(started), "warm_start", limits)] if started else []
    rows += [_row(label, members, "eval", limits) for label, members in methods.items()]
    tasks = {episode.task: episode for run in done for episode in run.panels["eval"]}
    names = [bucket(episode.expert_steps, limits) for episode in tasks.values()] if limits else []
    kinds = {episode.task: episode.kind for run in done for panel in run.panels.values() for episode in panel}
    played = {START: _scores(_once_a_seed(started), "warm_start")} if started else {}
    played |= {label: _scores(members, "eval") for label, members in methods.items()}
    found, alone = _differences(played, _references(played, baseline), kinds, identity)
    moved = [variation(label, own, kinds, identity) for label, own in played.items()]
    return Table(
        about=_about(runs[0], len(tasks), sorted({run.seed for run in done})),
        sizes={name: names.count(name) for name in BUCKETS},
        limits=limits,
        rows=tuple(rows),
        differences=tuple(found),
        variation=tuple(one for one in moved if one is not None),
        resolution=resolution([one for one in found if one.reference == found[-1].reference], len(tasks)),
        notes=(
            *[f"left out, {reason}: {run.name}" for run, reason in judged if reason],
            *_notes(done, methods),
            *alone,
        ),
    )


def _scores(runs: Sequence[Run], panel: str) -> Scores:
    return scores({run.seed: run.panels[panel] for run in runs})


def _references(played: Mapping[str, Scores], baseline: str | None) -> list[str]:
    """The rows that methods are compared with: the warm start, and the baseline where there are methods beside it."""
    methods = sorted(label for label in played if label != START)
    chosen = baseline if baseline is not None else next(iter(methods), None)
    wanted = [START, *([chosen] if chosen is not None and len(methods) > 1 else [])]
    return [label for label in dict.fromkeys(wanted) if label in played]


def _differences(
    played: Mapping[str, Scores], references: Sequence[str], kinds: Mapping[str, str], identity: str
) -> tuple[list[Difference], list[str]]:
    """The comparisons, and the methods that could not be compared."""
    methods = {label: own for label, own in played.items() if label != START}
    found, notes = [], []
    for reference in references:
        these = differences(methods, reference, played[reference], kinds, identity)
        missing = methods.keys() - {one.method for one in these} - {reference}
        notes += [f"not compared: {label} and {reference} share no seed and task" for label in sorted(missing)]
        notes += [
            f"{one.method} and {reference} are compared on {one.found.tasks} tasks only: on these both have a result"
            for one in these
            if one.found.tasks < len(kinds)
        ]
        found += these
    return found, notes


def _once_a_seed(runs: Sequence[Run]) -> list[Run]:
    """The first run of each seed, at the cost of the one that made the start: the others found it in the cache."""
    members: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        members[run.seed].append(run)
    costs = {seed: max(run.warm_start_seconds for run in same) for seed, same in members.items()}
    return [replace(members[seed][0], warm_start_seconds=costs[seed]) for seed in sorted(members)]


def _reason_to_leave_out(run: Run, earlier: Sequence[Run]) -> str | None:
    """Why a run is no observation of its method; None for a good one."""
    if run.failure is not None:
        return f"failed ({run.failure})"
    if not run.finished:
        return "unfinished"
    if not _valid(run, "eval"):
        return "no valid episode of the panel"
    if any((run.label, run.seed) == (other.label, other.seed) and other.finished for other in earlier):
        return f"second folder of {run.label} with seed {run.seed}"
    return None


def _limits(run: Run) -> tuple[int, int] | None:
    found = run.facts.get("buckets")
    return (int(found[0]), int(found[1])) if found else None


def _about(run: Run, n: int, seeds: Sequence[int]) -> dict[str, Any]:
    world, model = run.config["world"], run.config["model"]
    return {
        "world": run.config["env"],
        "tasks": world["tasks"],
        "split": run.config["eval"]["split"],
        "n": n,
        "seeds": list(seeds),
        "panel": run.facts.get("panel"),
        "model": model["name"],
        "text": run.facts.get("text"),
        "protocol": run.facts.get("protocol"),
        "outcome": run.facts.get("outcome"),
        "max_steps": run.facts.get("max_steps"),
        "dose": None if run.facts.get("agent") else _dose(run.config.get("ppo", {})),
        "temperature": run.config["eval"]["temperature"],
        "checkpoint": "final checkpoint",
    }


def _dose(ppo: Mapping[str, Any]) -> str | None:
    """What all methods have spent alike; runs of older versions do not say it."""
    if "match" not in ppo:
        return None
    return {
        "collected": f"{ppo['iterations'] * ppo['env_steps']} steps collected, a method's extra ones on top",
        "env-steps": f"{ppo['iterations'] * ppo['env_steps']} steps, a method's extra ones included",
        "tokens": "sampled tokens, a method's extra ones included",
    }[ppo["match"]]


def _valid(run: Run, panel: str) -> list[Played]:
    return [episode for episode in run.panels[panel] if not episode.error]


def _row(label: str, runs: Sequence[Run], panel: str, limits: tuple[int, int] | None) -> Row:
    """Each seed is averaged by itself, then the seeds; shares of steps are over all steps."""
    seeds = [_valid(run, panel) for run in runs]
    steps = sum(episode.turns for seed in seeds for episode in seed)
    before = panel == "warm_start"
    costs = {name: 0.0 if before else _mean([run.costs[name] for run in runs]) for name in COSTS}
    if before:
        costs["seconds"] = _mean([run.warm_start_seconds for run in runs])
    return Row(
        label=label,
        seeds=tuple(sorted(run.seed for run in runs)),
        success=over_seeds([_over(seed, lambda episode: episode.success) for seed in seeds], limits=(0.0, 1.0)),
        outcome=_mean([_over(seed, lambda episode: episode.outcome) for seed in seeds]),
        grounded=sum(episode.grounded for seed in seeds for episode in seed) / max(1, steps),
        malformed=sum(episode.malformed for seed in seeds for episode in seed) / max(1, steps),
        turns=_mean([_over(seed, lambda episode: episode.turns) for seed in seeds]),
        buckets={name: _bucket_success(seeds, name, limits) for name in BUCKETS},
        excluded=sum(episode.error for run in runs for episode in run.panels[panel]),
        costs=costs,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _over(episodes: Sequence[Played], value: Callable[[Played], float]) -> float:
    return _mean([value(episode) for episode in episodes])


def _bucket_success(seeds: Sequence[Sequence[Played]], name: str, limits: tuple[int, int] | None) -> float | None:
    if limits is None:
        return None
    parts = [[episode for episode in seed if bucket(episode.expert_steps, limits) == name] for seed in seeds]
    means = [_over(part, lambda episode: episode.success) for part in parts if part]
    return _mean(means) if means else None


def _notes(done: Sequence[Run], methods: Mapping[str, Sequence[Run]]) -> list[str]:
    told = {label: members[0].facts.get("extra_information") for label, members in methods.items()}
    notes = [f"{label} is given {what}, which other methods are not" for label, what in told.items() if what]
    for run in done:
        if run.unreadable or run.duplicates:
            notes.append(
                f"{run.name}: {run.unreadable} unreadable lines and {run.duplicates} repeated episodes ignored"
            )
        if errors := sum(episode.error for episode in run.panels["eval"]):
            notes.append(f"{run.name}: {errors} episodes excluded, stopped by an error outside the agent's control")
    seeds = {label: sorted(run.seed for run in members) for label, members in methods.items()}
    if len({tuple(numbers) for numbers in seeds.values()}) > 1:
        notes += [f"seeds differ: {label} has {numbers}" for label, numbers in seeds.items()]
    return notes + _unequal(done)


def _unequal(done: Sequence[Run]) -> list[str]:
    """Breaches of what makes the comparison fair: one start per seed, one panel for all."""
    notes = []
    starts: dict[int, set[str]] = defaultdict(set)
    for run in done:
        if run.panels["warm_start"]:
            starts[run.seed].add(f"{run.start} {_digest(run.panels['warm_start'])}")
    for seed, digests in sorted(starts.items()):
        if len(digests) > 1:
            notes.append(f"unequal starts: the methods of seed {seed} did not start from the same policy")
    if len({tuple(sorted(episode.task for episode in run.panels["eval"])) for run in done}) > 1:
        notes.append("unequal panels: the runs did not play the same tasks")
    return notes


def _digest(episodes: Sequence[Played]) -> str:
    played = sorted((e.task, e.success, e.outcome, e.turns, e.grounded) for e in episodes)
    return hashlib.sha256(json.dumps(played).encode()).hexdigest()
