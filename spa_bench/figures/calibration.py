"""Calibration of what estimators have learned: the outcome that they predict for held-out tasks, and the actual one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spa_bench.analysis.groups import Group
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.lines import Line, Panel, draw_lines
from spa_bench.figures.style import PALE
from spa_bench.stats import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Bin = tuple[float, float, float]
"""Mean prediction, mean outcome, episodes."""


@dataclass(frozen=True)
class Calibration:
    """What is drawn."""

    title: str
    caption: str
    panel: Panel
    """x is the predicted, y the actual outcome, in per cent."""
    episodes: Mapping[str, int]
    """Held-out episodes of all seeds, by method."""


def data(group: Group) -> Calibration:
    """Of each method whose fit has it on record, parts of equal size by rising prediction, put together over seeds.

    Placebos, whose credit is wrong on purpose, have none. UserError where no method is left.
    """
    found = {
        label: bins
        for label, runs in group.methods.items()
        if not any(run.facts.get("placebo") for run in runs) and (bins := _pooled([_bins(run.fit) for run in runs]))
    }
    if not found:
        raise UserError("no method whose fit says what it predicts for held-out tasks")
    episodes = {label: round(sum(count for _, _, count in bins)) for label, bins in found.items()}
    told = ", ".join(f"{label} {count}" for label, count in episodes.items())
    return Calibration(
        title=f"Calibration of learned progress: {words.title(group)}",
        caption=f"{words.sources(group)}\nWhat an estimator predicts for an episode (where it learns contributions, "
        "their sum) against its outcome: explored episodes of tasks held out from the fit, in parts of equal size by "
        "rising prediction. "
        f"Episodes: {told}. Band: 95 % CI over episodes (Wilson). Dashed: prediction and outcome are equal.",
        panel=Panel(words.title(group), tuple(_line(label, bins) for label, bins in found.items())),
        episodes=episodes,
    )


def draw(found: Calibration) -> Figure:
    """Lines that should follow the dashed one; of many methods a pair of axes for each."""
    labels = ("predicted outcome, %", "outcome, %")
    figure = draw_lines([found.panel], title=found.title, labels=labels, caption=found.caption)
    for axes in figure.axes:
        if axes.axison:
            axes.axline((0, 0), slope=1, color=PALE, linestyle="--", linewidth=1, zorder=1)
    return figure


def _bins(fit: Mapping[str, Any]) -> list[Bin]:
    """Up to the first part that is not on record, or cannot be one."""
    found: list[Bin] = []
    while True:
        values = [fit.get(f"calibration_{len(found) + 1}_{name}") for name in ("predicted", "outcome", "episodes")]
        numbers = [float(one) for one in values if isinstance(one, int | float) and math.isfinite(one)]
        if len(numbers) < 3 or not 0 <= numbers[1] <= 1 or numbers[2] < 1:
            return found
        found.append((numbers[0], numbers[1], numbers[2]))


def _pooled(seeds: Sequence[Sequence[Bin]]) -> list[Bin]:
    """The parts of all seeds by rank, each episode counting the same."""
    pooled = []
    for same in zip(*(bins for bins in seeds if bins), strict=False):
        count = sum(episodes for _, _, episodes in same)
        means = [sum(one[place] * one[2] for one in same) / count for place in (0, 1)]
        pooled.append((means[0], means[1], count))
    return pooled


def _line(label: str, bins: Sequence[Bin]) -> Line:
    bands = [wilson(round(outcome * count), round(count)) for _, outcome, count in bins]
    return Line(
        label,
        x=tuple(100 * predicted for predicted, _, _ in bins),
        y=tuple(100 * outcome for _, outcome, _ in bins),
        low=tuple(None if band is None or band.low is None else 100 * band.low for band in bands),
        high=tuple(None if band is None or band.high is None else 100 * band.high for band in bands),
    )
