"""Success by task length: short, medium and long, by expert steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from spa_bench.analysis.groups import EVAL, Group
from spa_bench.analysis.played import Played
from spa_bench.core import BUCKETS, UserError, bucket
from spa_bench.figures import words
from spa_bench.figures.bars import draw_parts
from spa_bench.figures.rows import Column, Mark
from spa_bench.figures.success import bounds, intervals, success
from spa_bench.stats import Estimate

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
        caption=f"{words.sources(group)}\n{intervals(group)}",
        limits=limits,
        sizes={name: sizes[name] for name in BUCKETS},
        rows={
            label: {name: success(runs, panel, partial(_is, name, limits)) for name in BUCKETS}
            for label, (runs, panel) in group.rows.items()
        },
    )


def draw(found: Lengths) -> Figure:
    """A group of bars for each length; of many methods a row for each, and a pair of axes for each length."""
    short, medium = found.limits
    ranges = {"short": f"up to {short}", "medium": f"{short + 1} to {medium}", "long": f"more than {medium}"}
    columns = [
        Column(
            f"{name} (n={found.sizes[name]})\n{ranges[name]} steps",
            {method: _mark(parts[name]) for method, parts in found.rows.items()},
        )
        for name in BUCKETS
    ]
    reached = [end for column in columns for mark in column.marks.values() for end in (mark.value, mark.high) if end]
    most = min(100.0, 1.1 * max([10.0, *reached]))
    ends = (-0.015 * most, most)
    return draw_parts(columns, list(found.rows), title=found.title, label="success %", caption=found.caption, ends=ends)


def _is(name: str, limits: tuple[int, int], episode: Played) -> bool:
    return bucket(episode.expert_steps, limits) == name


def _mark(found: Estimate | None) -> Mark:
    if found is None:
        return Mark(None, why="no task")
    return Mark(100 * found.mean, *bounds(found))
