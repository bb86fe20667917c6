"""Success of each method on each part of the tasks as a heat map: by task type, or by world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from spa_bench.analysis.groups import EVAL, Group
from spa_bench.analysis.played import Played
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.style import NAME, PALE, sheet, tall, wrapped
from spa_bench.figures.success import intervals, success
from spa_bench.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class HeatMap:
    """What is drawn."""

    title: str
    caption: str
    sizes: Mapping[str, int]
    """Tasks of each column."""
    rows: Mapping[str, tuple[Estimate | None, ...]]
    """Success by row of the table and column, between 0 and 1; None where it has no episode."""
    missing: str
    """What a cell without success says."""


def by_type(group: Group) -> HeatMap:
    """Success by task type; UserError where there are not two of them."""
    kinds = {episode.task: episode.kind for run in group.good for episode in run.panels[EVAL]}
    columns = sorted(set(kinds.values()))
    if len(columns) < 2:
        raise UserError("no two task types")
    return HeatMap(
        title=f"Success by task type: {words.title(group)}",
        caption=f"{words.sources(group)}\n{_meant(intervals(group))}",
        sizes={kind: list(kinds.values()).count(kind) for kind in columns},
        rows={
            label: tuple(success(runs, panel, partial(_is, kind)) for kind in columns)
            for label, (runs, panel) in group.rows.items()
        },
        missing="no task",
    )


def by_world(groups: Sequence[Group]) -> HeatMap:
    """Success by group of runs; UserError where there are not two with a finished run."""
    groups = [group for group in groups if group.good]
    if len(groups) < 2:
        raise UserError("no two worlds, splits or settings")
    names = [f"{place}. {words.title(group)}" for place, group in enumerate(groups, 1)]
    labels = sorted({label for group in groups for label in group.methods})
    every = [*dict.fromkeys(label for group in groups for label in group.rows if label not in labels), *labels]
    said = " ".join(dict.fromkeys(intervals(group) for group in groups))
    return HeatMap(
        title="Success by world",
        caption="\n".join([*(f"{n}. {words.sources(group)}" for n, group in enumerate(groups, 1)), _meant(said)]),
        sizes={
            name: len({episode.task for run in group.good for episode in run.panels[EVAL]})
            for name, group in zip(names, groups, strict=True)
        },
        rows={
            label: tuple(success(*group.rows[label]) if label in group.rows else None for group in groups)
            for label in every
        },
        missing="not run",
    )


def draw(found: HeatMap) -> Figure:
    """Cells hold per cent and CI: no information is in colour alone."""
    import seaborn  # type: ignore[import-untyped]

    labels = list(found.rows)
    width = 1.6 + 0.075 * min(NAME, max(map(len, labels))) + 1.0 * len(found.sizes)
    figure = sheet(max(6.0, width), 1.1 + 1.5 * tall(labels), found.title, found.caption)
    axes = figure.subplots()
    cells = [found.rows[label] for label in labels]
    values = np.array([[np.nan if one is None else 100 * one.mean for one in row] for row in cells])
    seaborn.heatmap(
        values, mask=np.isnan(values), annot=np.array([list(map(_text, row)) for row in cells]), fmt="",
        annot_kws={"fontsize": 7}, vmin=0, vmax=100, cmap="crest", linewidths=0.5, ax=axes,
        cbar_kws={"label": "success %", "fraction": 0.04},
    )  # fmt: skip
    for row, column in np.argwhere(np.isnan(values)):
        axes.text(column + 0.5, row + 0.5, found.missing, color=PALE, ha="center", va="center", fontsize=7)
    axes.set_yticks(np.arange(len(labels)) + 0.5, [wrapped(label, NAME) for label in labels], rotation=0)
    names = [f"{wrapped(name.replace('_', ' '), 18)}\n(n={size})" for name, size in found.sizes.items()]
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=0, fontsize=7.5)
    axes.tick_params(length=0)
    return figure


def _is(kind: str, episode: Played) -> bool:
    return episode.kind == kind


def _meant(said: str) -> str:
    return f"Success in per cent, n: tasks. {said} In brackets the CI."


def _text(found: Estimate | None) -> str:
    if found is None:
        return ""
    between = "" if found.low is None or found.high is None else f"\n({100 * found.low:.0f} to {100 * found.high:.0f})"
    return f"{100 * found.mean:.0f}{between}"
