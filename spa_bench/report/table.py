"""The table of a comparison: which methods, on what, how well, at what cost.

Built from run folders alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from spa_bench.analysis.differences import (
    Board,
    Difference,
    Resolution,
    Scores,
    Variation,
    board,
    differences,
    resolution,
    scores,
    variation,
)
from spa_bench.analysis.fits import estimators, our_forms, told_form, unrecorded
from spa_bench.analysis.groups import EVAL, START, WARM_START, Group, collect, valid
from spa_bench.analysis.outcomes import Graded, graded
from spa_bench.analysis.played import Played
from spa_bench.analysis.runs import COSTS, Run, about
from spa_bench.analysis.step_intervals import usual_baseline
from spa_bench.core import BUCKETS, UserError, bucket
from spa_bench.report.ablations import Ablation, ablations
from spa_bench.runs.collapse import said as collapsed
from spa_bench.stats import Estimate, over_seeds

OVERSPENT = 1.1
"""Share of the training budget beyond which a table says so: the cost of an iteration is known only after it."""

NEAR = 0.05
"""Success of a warm start so near to 0 or 1 is at the floor or the ceiling."""


@dataclass(frozen=True)
class Row:
    """One line: a policy, averaged over its seeds."""

    label: str
    level: str | None
    """Credit per `turn` or per `token`; None for what is not trained, and where the runs do not say it."""
    seeds: tuple[int, ...]
    success: Estimate
    outcome: float
    grounded: float
    """Valid actions among all steps of all seeds."""
    malformed: float
    """Replies without a command, among the same; counted as not grounded too."""
    turns: float
    buckets: Mapping[str, float | None]
    """Success by task length; None where the evaluation set has no such task."""
    kinds: Mapping[str, float | None]
    """Success by task type; None where no valid episode is of it."""
    excluded: int
    """Episodes left out because something outside the agent's control went wrong."""
    costs: Mapping[str, float]
    """Means over seeds."""
    our_form: str = ""
    """Where the method is another than its paper's; empty where it is not, or where the runs do not say it."""


@dataclass(frozen=True)
class Table:
    """One comparison."""

    about: Mapping[str, Any]
    """World, split, n, hash of the evaluation set and the rest of the footer, in printing order."""
    sizes: Mapping[str, int]
    """Tasks in each length bucket."""
    kinds: Mapping[str, int]
    """Tasks of each type, by name."""
    limits: tuple[int, int] | None
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    """Every method against the warm start, and against the baseline."""
    ablations: tuple[Ablation, ...]
    graded: tuple[Graded, ...]
    """Empty where all outcomes are 0 or 1."""
    variation: tuple[Variation, ...]
    resolution: Resolution
    notes: tuple[str, ...]
    """What may invalidate a number: left-out runs, damage, unequal warm starts."""
    settings: Mapping[str, str]
    """Settings in which it differs from other tables of its world and split; values as text."""

    @property
    def seeds(self) -> list[int]:
        """All training seeds of its rows, ascending."""
        return sorted({seed for row in self.rows for seed in row.seeds})

    @property
    def reference(self) -> str | None:
        """The row that differences are from: the baseline where there is one, else the warm start."""
        return self.differences[-1].reference if self.differences else None


def tables(paths: Iterable[Path], baseline: str | None = None) -> list[Table]:
    """The tables of all run folders at or below `paths`; the same folders always give the same tables.

    Raises UserError for a folder that no table can be made of, and as `tables_of` does.
    """
    groups, problems = collect(paths)
    if problems:
        raise UserError(f"{problems[0].name}: {problems[0].reason}")
    return tables_of(groups, baseline)


def tables_of(groups: Iterable[Group], baseline: str | None = None) -> list[Table]:
    """One table for each group.

    `baseline` is the label of the row that every method is compared with, beside the warm start; where it is not given,
    it is that of `usual_baseline`. UserError where no table has that row.
    """
    found = [_table(group, baseline) for group in groups]
    labels = {row.label for table in found for row in table.rows}
    if baseline is not None and baseline not in labels:
        raise UserError(f"no finished run of the baseline {baseline}; there are: {', '.join(sorted(labels)) or 'none'}")
    return found


def comparisons(labels: Sequence[str], baseline: str | None = None) -> list[tuple[str, str]]:
    """The pairs of a method and a reference that a table of these rows has, beside those of ablations.

    References are the warm start, and the baseline where there are methods beside it.
    """
    methods = [label for label in labels if label != START]
    chosen = baseline if baseline is not None else usual_baseline(methods)
    wanted = [START, *([chosen] if chosen is not None and len(methods) > 1 else [])]
    references = [label for label in dict.fromkeys(wanted) if label in labels]
    return [(label, reference) for reference in references for label in labels if label not in (START, reference)]


def as_json(table: Table, seconds: bool = True) -> dict[str, Any]:
    """A table as plain values, None for what is not on record.

    Without `seconds`, and the executed steps (they depend on how many games ran at once), it depends on nothing but
    what the agents did.
    """
    plain: dict[str, Any] = asdict(table)
    for row in plain["rows"]:
        wanted = [name for name in row["costs"] if seconds or name not in ("seconds", "env_steps_executed")]
        row["costs"] = {name: row["costs"][name] if isfinite(row["costs"][name]) else None for name in wanted}
    return plain


def _table(group: Group, baseline: str | None) -> Table:
    done, limits, identity = group.good, group.limits, group.identity
    tasks = {episode.task: episode for run in done for episode in run.panels[EVAL]}
    names = [bucket(episode.expert_steps, limits) for episode in tasks.values()] if limits else []
    kinds = {episode.task: episode.kind for run in done for panel in run.panels.values() for episode in panel}
    sizes = Counter(kinds[task] for task in tasks)
    played = {label: _scores(runs, panel) for label, (runs, panel) in group.rows.items()}
    seen, settings, wanted = board(played), ablations(group), comparisons(list(played), baseline)
    every = [*wanted, *(pair for one in settings for pair in one.pairs)]
    judged = differences(seen, every, identity)
    found = [one for one in judged if (one.method, one.reference) in wanted]
    moved = [variation(label, seen, kinds) for label in played]
    return Table(
        about=about(group.runs[0], len(tasks), sorted({run.seed for run in done})),
        sizes={name: names.count(name) for name in BUCKETS},
        kinds={kind: sizes[kind] for kind in sorted(sizes)},
        limits=limits,
        rows=tuple(_row(label, runs, panel, limits, sorted(sizes)) for label, (runs, panel) in group.rows.items()),
        differences=tuple(found),
        ablations=tuple(one.judged(judged) for one in settings),
        graded=graded(group, kinds, found[-1].reference if found else None),
        variation=tuple(one for one in moved if one is not None),
        resolution=resolution(judged, found[-1].reference if found else None, seen),
        notes=(
            *[f"left out, {reason}: {run.name}" for run, reason in group.judged if reason],
            *_notes(done, group.methods),
            *_alone(judged, list(dict.fromkeys(every)), seen),
        ),
        settings=group.settings,
    )


def _scores(runs: Sequence[Run], panel: str) -> Scores:
    return scores({run.seed: run.panels[panel] for run in runs})


def _alone(found: Sequence[Difference], wanted: Sequence[tuple[str, str]], seen: Board) -> list[str]:
    """The pairs that could not be compared, or not on all tasks."""
    tasks = {(one.method, one.reference): one.found.tasks for one in found}
    return [
        *[
            f"not compared: {method} and {other} share no seed and task"
            for method, other in wanted
            if (method, other) not in tasks
        ],
        *[
            f"{method} and {other} are compared on {n} tasks only: on these both have a result"
            for (method, other), n in tasks.items()
            if n < len(seen.tasks)
        ],
    ]


def _row(label: str, runs: Sequence[Run], panel: str, limits: tuple[int, int] | None, kinds: Sequence[str]) -> Row:
    """Each seed is averaged by itself, then the seeds; shares of steps are over all steps."""
    seeds = [valid(run, panel) for run in runs]
    steps = sum(episode.turns for seed in seeds for episode in seed)
    before = panel == WARM_START
    costs = {name: 0.0 if before else _mean([run.costs[name] for run in runs]) for name in COSTS}
    if before:
        costs["seconds"] = _mean([run.warm_start_seconds for run in runs])
    return Row(
        label=label,
        level=None if before else runs[0].level,
        seeds=tuple(sorted(run.seed for run in runs)),
        success=over_seeds([_over(seed, lambda episode: episode.success) for seed in seeds], limits=(0.0, 1.0)),
        outcome=_mean([_over(seed, lambda episode: episode.outcome) for seed in seeds]),
        grounded=sum(episode.grounded for seed in seeds for episode in seed) / max(1, steps),
        malformed=sum(episode.malformed for seed in seeds for episode in seed) / max(1, steps),
        turns=_mean([_over(seed, lambda episode: episode.turns) for seed in seeds]),
        buckets={name: _success_in(seeds, name, limits) for name in BUCKETS},
        kinds={kind: _success_of([[e for e in seed if e.kind == kind] for seed in seeds]) for kind in kinds},
        excluded=sum(episode.error for run in runs for episode in run.panels[panel]),
        costs=costs,
        our_form="" if before else told_form(runs[0]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _over(episodes: Sequence[Played], value: Callable[[Played], float]) -> float:
    return _mean([value(episode) for episode in episodes])


def _success_in(seeds: Sequence[Sequence[Played]], name: str, limits: tuple[int, int] | None) -> float | None:
    if limits is None:
        return None
    return _success_of(
        [[episode for episode in seed if bucket(episode.expert_steps, limits) == name] for seed in seeds]
    )


def _success_of(parts: Sequence[Sequence[Played]]) -> float | None:
    """Success on some tasks of each seed, over the seeds that have any of them."""
    means = [_over(part, lambda episode: episode.success) for part in parts if part]
    return _mean(means) if means else None


def _notes(done: Sequence[Run], methods: Mapping[str, Sequence[Run]]) -> list[str]:
    told = {label: members[0].facts.get("extra_information") for label, members in methods.items()}
    notes = our_forms({label: told_form(members[0]) for label, members in methods.items()})
    notes += [f"{label} uses {what}; other methods do not" for label, what in told.items() if what]
    notes += [*estimators(methods), *unrecorded(methods)]
    notes += [note for run in done for note in _notes_of(run)]
    seeds = {label: sorted(run.seed for run in members) for label, members in methods.items()}
    if len({tuple(numbers) for numbers in seeds.values()}) > 1:
        notes += [f"seeds differ: {label} has {numbers}" for label, numbers in seeds.items()]
    return notes + _at_an_end(done) + _unequal(done)


def _notes_of(run: Run) -> list[str]:
    """What a reader must know of one run."""
    notes = []
    if run.unreadable or run.duplicates:
        notes.append(f"{run.name}: {run.unreadable} unreadable lines and {run.duplicates} repeated episodes ignored")
    if run.strange:
        notes.append(f"{run.name}: metrics.jsonl has rows of an unknown kind ({', '.join(run.strange)})")
    if run.missing:
        notes.append(f"{run.name}: {run.missing} tasks of the evaluation set have no episode on record")
    if errors := sum(episode.error for episode in run.panels[EVAL]):
        notes.append(f"{run.name}: {errors} episodes excluded, stopped by an error outside the agent's control")
    if skipped := int(sum(row.get("skipped") or 0 for row in run.iterations)):
        done_too = int(sum(row.get("updates") or 0 for row in run.iterations))
        notes.append(f"{run.name}: {skipped} of {skipped + done_too} updates skipped, not finite")
    if undone := [row["broken"] for row in run.iterations if row.get("broken")]:
        notes.append(f"{run.name}: {len(undone)} of {len(run.iterations)} iterations taken back: {undone[-1]}")
    if collapse := collapsed(run.iterations):
        notes.append(f"{run.name}: collapsed: {collapse}")
    if (share := run.overspent) > OVERSPENT:
        notes.append(
            f"{run.name}: spent {share:.1f} times the training budget: its first iteration cost more than expected"
        )
    return notes


def _at_an_end(done: Sequence[Run]) -> list[str]:
    """Where the warm start solves so little, or so much, that methods can hardly be told apart."""
    starts = {run.seed: valid(run, WARM_START) for run in done}
    shares = {seed: _over(won, lambda episode: episode.success) for seed, won in sorted(starts.items()) if won}
    notes = []
    for name, end in (("floor", 0.0), ("ceiling", 1.0)):
        near = {seed: share for seed, share in shares.items() if abs(share - end) <= NEAR}
        if near:
            told = ", ".join(f"{100 * share:.1f} %" for share in near.values())
            notes.append(
                f"warm start at the {name} ({told} with {'seed' if len(near) == 1 else 'seeds'} "
                f"{', '.join(map(str, near))}): methods can hardly be told apart here"
            )
    return notes


def _unequal(done: Sequence[Run]) -> list[str]:
    """Breaches of what makes the comparison fair: one warm start per seed, one evaluation set for all."""
    notes = []
    starts: dict[int, set[str]] = defaultdict(set)
    for run in done:
        if run.panels[WARM_START]:
            starts[run.seed].add(f"{run.start} {_digest(run.panels['warm_start'])}")
    for seed, digests in sorted(starts.items()):
        if len(digests) > 1:
            notes.append(f"unequal warm starts: the methods of seed {seed} did not start from the same policy")
    if len({tuple(sorted(episode.task for episode in run.panels[EVAL])) for run in done}) > 1:
        notes.append("unequal evaluation sets: the runs did not play the same tasks")
    return notes


def _digest(episodes: Sequence[Played]) -> str:
    played = sorted((e.task, e.success, e.outcome, e.turns, e.grounded) for e in episodes)
    return hashlib.sha256(json.dumps(played).encode()).hexdigest()
