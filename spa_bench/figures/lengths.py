"""Success by task length: short, medium and long, by expert steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.analysis.groups import EVAL, Group, valid
from spa_bench.analysis.runs import Run
from spa_bench.core import BUCKETS, UserError, bucket
from spa_bench.figures import words
from spa_bench.figures.rows import Column, Mark, draw_rows
from spa_bench.stats import Estimate, over_seeds, wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Lengths:
    """What is drawn."""

    title: str
    caption: str
    limits: tuple[int, int]
    """The longest short and the longest medium task."""
    sizes: Mapping[str, int]
    """Tasks of each length."""
    rows: Mapping[str, Mapping[str, Estimate | None]]
    """Success by method and length, between 0 and 1; None where it has no episode."""


def data(group: Group) -> Lengths:
    """Success of each row of the table by length: the mean over seeds with Student's CI, of one seed Wilson's CI.

    UserError where the runs do not say what a short task is, and where none is finished.
    """
    limits = group.limits
    if limits is None:
        raise UserError("the runs do not say what a short task is")
    if not group.good:
        raise UserError("no finished run")
    tasks = {episode.task: bucket(episode.expert_steps, limits) for run in group.good for episode in run.panels[EVAL]}
    sizes = Counter(tasks.values())
    return Lengths(
        title=f"Success by task length (expert steps): {words.title(group)}",
        caption=f"{words.sources(group)}\n{_intervals(group)}",
        limits=limits,
        sizes={name: sizes[name] for name in BUCKETS},
        rows={
            label: {name: _success(runs, panel, name, limits) for name in BUCKETS}
            for label, (runs, panel) in group.rows.items()
        },
    )


def draw(found: Lengths) -> Figure:
    """One pair of axes for each length."""
    short, medium = found.limits
    ranges = {"short": f"up to {short}", "medium": f"{short + 1} to {medium}", "long": f"more than {medium}"}
    columns = [
        Column(
            f"{name} (n={found.sizes[name]})\n{ranges[name]} steps",
            {method: _mark(parts[name]) for method, parts in found.rows.items()},
        )
        for name in BUCKETS
    ]
    methods, ends = list(found.rows), (0.0, 100.0)
    return draw_rows(columns, methods, title=found.title, label="success %", caption=found.caption, ends=ends)


def _success(runs: Sequence[Run], panel: str, name: str, limits: tuple[int, int]) -> Estimate | None:
    seeds = [[one.success for one in valid(run, panel) if bucket(one.expert_steps, limits) == name] for run in runs]
    if len(seeds) == 1:
        return wilson(sum(seeds[0]), len(seeds[0]))
    means = [sum(won) / len(won) for won in seeds if won]
    return over_seeds(means, limits=(0.0, 1.0)) if means else None


def _intervals(group: Group) -> str:
    counts = {len(runs) for runs, _ in group.rows.values()}
    said = {
        True: "One seed: 95 % CI over tasks (Wilson).",
        False: "Mean over seeds; 95 % CI over seeds (Student), none where all seeds are equal.",
    }
    return " ".join(said[one] for one in (False, True) if any((count == 1) is one for count in counts))


def _mark(found: Estimate | None) -> Mark:
    if found is None:
        return Mark(None, why="no task")
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    return Mark(100 * found.mean, low, high)
