"""How much better than a baseline a method is on tasks of each length, as SPA's figure 4 shows it (arXiv 2505.20732).

Tasks are put into intervals by the expert's steps, which are fixed before any agent plays. Success only, on the seeds
and tasks that both methods have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spa_bench.analysis.differences import Scores, generator, scores, shared_tasks
from spa_bench.analysis.groups import EVAL, START, Group
from spa_bench.core import UserError
from spa_bench.stats import relative_improvement

BASELINES = ("sparse", "ppo")
"""What methods are compared with unless told otherwise, the first of these that is there: of the two, `sparse` differs
from most methods in its reward alone, `ppo` in the level of its credit too."""


def usual_baseline(labels: Iterable[str]) -> str | None:
    """The first of `BASELINES` that is there, or else the first of the methods in alphabetical order."""
    methods = sorted(label for label in labels if label != START)
    return next((label for label in BASELINES if label in methods), next(iter(methods), None))


@dataclass(frozen=True)
class StepInterval:
    """Tasks that take the expert `first` to `last` steps."""

    first: int
    last: int | None
    """None where there is no upper end."""

    @property
    def name(self) -> str:
        """As in `1-5`, `6`, `>15`."""
        if self.last is None:
            return f">{self.first - 1}"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def holds(self, steps: int) -> bool:
        """Whether a task of `steps` steps is in it; the first interval also holds tasks of no step."""
        return (self.first == 1 or steps >= self.first) and (self.last is None or steps <= self.last)


@dataclass(frozen=True)
class Improvement:
    """One method against the baseline on the tasks of one interval."""

    method: str
    interval: str
    """Its name."""
    seeds: int
    """Seeds that both have."""
    tasks: int
    """Tasks that both have a result of with each of these seeds."""
    success: float | None
    """Mean over seeds of the mean over tasks; None where there is no task."""
    baseline: float | None
    """The same of the baseline."""
    difference_pp: float | None
    """100 (success - baseline)."""
    percent: float | None
    """100 (success - baseline) / baseline; None where the baseline solves nothing, or there is no task."""
    low: float | None
    """Ends of the 95 % CI of `percent`, over tasks (`stats.relative_improvement` says when there is none)."""
    high: float | None


@dataclass(frozen=True)
class Improvements:
    """Every method against one baseline."""

    baseline: str
    intervals: tuple[StepInterval, ...]
    rows: tuple[Improvement, ...]
    """By method, and of each method by interval."""


def improvements(group: Group, baseline: str | None = None, cuts: Sequence[int] | None = None) -> Improvements:
    """Every method of the group but the baseline, in every interval.

    `baseline` is by default that of the table's differences.
    `cuts` are the longest task of each interval but the last, as in (5, 10, 15); by default those of the group's own
    table. The draws come from the names of group, methods and interval: a row does not change when others join.
    UserError where the baseline has no finished run, no other method has one, or the cuts are none.
    """
    baseline = baseline or usual_baseline(group.methods) or BASELINES[0]
    if baseline not in group.methods:
        there = ", ".join(sorted(group.methods)) or "none"
        raise UserError(f"no finished run of the baseline {baseline}; there are: {there}")
    others = sorted(group.methods.keys() - {baseline})
    if not others:
        raise UserError(f"no method but the baseline {baseline}")
    ends = cuts if cuts is not None else group.limits
    if ends is None:
        raise UserError("the runs do not say what a short task is: give the ends of the step intervals")
    intervals = step_intervals(ends)
    steps = {episode.task: episode.expert_steps for run in group.good for episode in run.panels[EVAL]}
    played = {label: scores({run.seed: run.panels[EVAL] for run in runs}) for label, runs in group.methods.items()}
    rows = [
        _improvement(group.identity, interval, (method, played[method]), (baseline, played[baseline]), steps)
        for method in others
        for interval in intervals
    ]
    return Improvements(baseline, intervals, tuple(rows))


def step_intervals(ends: Sequence[int]) -> tuple[StepInterval, ...]:
    """(5, 10) -> 1-5, 6-10, >10. UserError unless the ends rise from at least 1."""
    if not ends or any(last <= first for first, last in zip((0, *ends), ends, strict=False)):
        raise UserError(f"step intervals {list(ends)}: use increasing ends from 1 on, such as 5,10,15")
    starts = [1, *(end + 1 for end in ends)]
    return tuple(StepInterval(first, last) for first, last in zip(starts, [*ends, None], strict=True))


def _improvement(
    identity: str,
    interval: StepInterval,
    method: tuple[str, Scores],
    baseline: tuple[str, Scores],
    steps: Mapping[str, int],
) -> Improvement:
    (name, own), (other, against) = method, baseline
    seeds = sorted(own.keys() & against.keys())
    shared = shared_tasks([side[seed] for seed in seeds for side in (own, against)])
    tasks = [task for task in shared if interval.holds(steps[task])]
    if not tasks:
        return Improvement(name, interval.name, len(seeds), 0, *[None] * 6)
    one, two = ([[side[seed][task] for task in tasks] for seed in seeds] for side in (own, against))
    success, reference = (sum(map(sum, table)) / (len(seeds) * len(tasks)) for table in (one, two))
    found = relative_improvement(one, two, generator(identity, name, other, interval.name, "relative"))
    percents = [None] * 3 if found is None else [_percent(end) for end in (found.mean, found.low, found.high)]
    return Improvement(
        name, interval.name, len(seeds), len(tasks), success, reference, 100 * (success - reference), *percents
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
