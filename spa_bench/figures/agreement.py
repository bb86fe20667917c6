"""Credit against success: what an audit measures of each method, and what training with it came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.audit.agreement import Agreement
from spa_bench.figures.style import PALE, Look, legend, looks, sheet
from spa_bench.figures.success import bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4
"""Pairs of axes side by side."""
UNBOUNDED = ("return error", "loop payoff")
"""Sums of rewards, which methods count in units of their own: logarithmic beyond 1."""
CAPTION = (
    "One point is a method that was both audited and trained. x: what the audit measures of its step rewards, or of "
    "its advantages (the cosine); y: success after training, mean over seeds, 95 % CI over seeds. Above each: "
    "Spearman's rank correlation over methods with its 95 % CI, and p adjusted for the number of measures. Methods are "
    "no random sample."
)


@dataclass(frozen=True)
class CreditAndSuccess:
    """What is drawn."""

    title: str
    caption: str
    measures: tuple[Agreement, ...]


def data(title: str, measures: Sequence[Agreement]) -> CreditAndSuccess:
    """All measures that have a correlation, in their order."""
    return CreditAndSuccess(title[:1].upper() + title[1:], CAPTION, tuple(measures))


def draw(found: CreditAndSuccess) -> Figure:
    """A pair of axes for each measure, with one scale of success; the legend names the methods."""
    methods = sorted({point.method for measure in found.measures for point in measure.points})
    across = min(ACROSS, len(found.measures))
    down = -(-len(found.measures) // across)
    figure = sheet(2.4 + 2.5 * across, max(2.7 * down, 0.6 + 0.17 * len(methods)), found.title, found.caption)
    every = figure.subplots(down, across, sharey=True, squeeze=False)
    own = looks(methods)
    for axes, measure in zip(every.flat, found.measures, strict=False):
        _draw(axes, measure, own)
    for axes in every.flat[len(found.measures) :]:
        axes.set_axis_off()
    for row in every:
        row[0].set_ylabel("success %")
    handles = [
        every[0][0].plot([], [], own[name].marker, color=own[name].colour, markersize=6)[0] for name in methods
    ]  # fmt: skip
    legend(figure, handles, methods)
    return figure


def _draw(axes: Axes, measure: Agreement, own: dict[str, Look]) -> None:
    for point in measure.points:
        look, (low, high) = own[point.method], bounds(point.success)
        if low is not None and high is not None:
            axes.vlines(point.measured, low, high, color=look.colour, linewidth=1, alpha=0.6, zorder=2)
        at = point.measured, 100 * point.success.mean
        axes.plot(*at, look.marker, color=look.colour, markersize=6, zorder=3)
    if measure.measure in UNBOUNDED:
        axes.set_xscale("symlog", linthresh=1.0)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.08)
    axes.set_xlabel(f"{measure.measure}\nright credit: {'high' if measure.sign == '+' else 'low'}", fontsize=8)
    axes.set_title(_correlation(measure), fontsize=8)
    axes.grid(True, color=PALE, alpha=0.3, linewidth=0.5)


def _correlation(measure: Agreement) -> str:
    found = measure.found
    ends = "" if found.low is None or found.high is None else f" ({found.low:+.2f} to {found.high:+.2f})"
    return f"{found.value:+.2f}{ends}, p = {measure.p:.3f}"
