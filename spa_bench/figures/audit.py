"""The figure of an audit: rank correlations with the oracle's progress, from the `Audit` alone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa_bench.audit.columns import PLURAL, counts, ranges
from spa_bench.audit.intervals import Measured
from spa_bench.audit.summary import OUTCOMES, Audit, MethodAudit
from spa_bench.core import BUCKETS
from spa_bench.figures.style import ACCENT, BAND, INK, PALE, save
from spa_bench.figures.words import forms
from spa_bench.terminal import printable_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"short": "#0072B2", "medium": "#E69F00", "long": "#009E73", "success": "#56B4E9", "failure": "#D55E00"}
"""Okabe and Ito: told apart by colour-blind readers; the shapes differ too."""
SHAPES = {"short": "o", "medium": "s", "long": "^", "success": "o", "failure": "s"}
FLOOR_LINES = ("--", ":", "-.")


def plot(audit: Audit, *paths: Path) -> None:
    """Save what `draw` makes to each of the paths, as `.png`, `.pdf` or `.svg` by the name's ending.

    The same audit gives the same bytes. Raises UserError for another ending.
    """
    save(lambda: draw(audit), *paths)


def draw(audit: Audit) -> Figure:
    """The figure. Spearman with its 95 % CI, the floors as lines; on successes and on failures; by task length."""
    from matplotlib.figure import Figure

    methods = sorted(audit.methods, key=_plot_order)
    figure = Figure(figsize=(12, 2.6 + 0.3 * max(4, len(methods))), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharex=True, sharey=True)
    _draw_overall(left, audit, methods)
    _draw_outcomes(middle, audit, methods)
    _draw_lengths(right, audit, methods)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=8)
    figure.legend(*middle.get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=8)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", frameon=False, fontsize=8)
    title = f"Rank correlation of step rewards with the oracle's progress {_subject(audit)}"
    figure.suptitle("\n".join([title, *textwrap.wrap(printable_line(forms(audit.ours)), 130)]), fontsize=11)
    return figure


def _plot_order(method: MethodAudit) -> tuple[float, str]:
    """The best last, which is on top; what is undefined first."""
    value = method.agreement.spearman.value
    return (-2.0 if value is None else value), method.name


def _subject(audit: Audit) -> str:
    """Environment and number of trajectories."""
    count = max((method.agreement.spearman.of for method in audit.methods), default=0)
    return printable_line(f"({audit.world}, {count} trajectories)")


def _draw_overall(axes: Axes, audit: Audit, methods: Sequence[MethodAudit]) -> None:
    """A dot and its CI for each method, hollow for a placebo; the floors as lines."""
    _rows(axes, methods)
    for style, method in zip(FLOOR_LINES, audit.floors(), strict=False):
        if (value := method.agreement.spearman.value) is not None:
            axes.axvline(
                value,
                color=ACCENT,
                linestyle=style,
                linewidth=1.2,
                label=f"floor: {printable_line(method.name)} ({value:.2f})",
            )
    for row, method in enumerate(methods):
        colour, fill = (PALE, "white") if method.placebo else (INK, INK)
        if not _draw_dot(axes, method.agreement.spearman, row, "o", colour, fill):
            at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8, "zorder": 4}
            axes.text(0.01, row, "undefined: no episode\ncan be ranked", color=PALE, **at)
    axes.plot([], [], "o", color=INK, label=f"method, 95 % CI over {audit.sampled}")
    axes.plot([], [], "o", color=PALE, markerfacecolor="white", label="placebo")
    axes.set_yticks(range(len(methods)), [printable_line(method.name) for method in methods])
    axes.set_title("all trajectories", fontsize=10)


def _draw_outcomes(axes: Axes, audit: Audit, methods: Sequence[MethodAudit]) -> None:
    """Two dots for each method: on successes, and below on failures."""
    _rows(axes, methods)
    for place, outcome in enumerate(OUTCOMES):
        known = [(row, method.by_outcome[outcome]) for row, method in enumerate(methods) if method.by_outcome]
        for row, agreement in known:
            at, colour = row + 0.2 * (1 - 2 * place), COLOURS[outcome]
            _draw_dot(axes, agreement.spearman, at, SHAPES[outcome], colour, colour)
        count = max((agreement.spearman.of for _, agreement in known), default=0)
        axes.plot([], [], SHAPES[outcome], color=COLOURS[outcome], markersize=4, label=f"{PLURAL[outcome]} (n={count})")
    axes.set_title("by outcome", fontsize=10)


def _draw_lengths(axes: Axes, audit: Audit, methods: Sequence[MethodAudit]) -> None:
    """Three dots for each method, one below the other."""
    _rows(axes, methods)
    steps, found = dict(zip(BUCKETS, ranges(audit.limits), strict=True)), counts(audit)
    for place, length in enumerate(BUCKETS):
        for row, method in enumerate(methods):
            at, colour = row + 0.25 * (1 - place), COLOURS[length]
            _draw_dot(axes, method.by_length[length].spearman, at, SHAPES[length], colour, colour)
        label = f"{length} tasks: expert takes {steps[length]} steps (n={found[length]})"
        axes.plot([], [], SHAPES[length], color=COLOURS[length], markersize=4, label=label)
    axes.set_title("by task length", fontsize=10)


def _rows(axes: Axes, methods: Sequence[MethodAudit]) -> None:
    """Bands that lead from a name to its dots, and the axes of both halves of the figure."""
    for row in range(0, len(methods), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=INK, alpha=BAND, linewidth=0, zorder=0)
    axes.axvline(0, color=PALE, linewidth=0.8, zorder=1)
    axes.set_ylim(-0.5, max(1, len(methods)) - 0.5)
    axes.set_xlabel("Spearman, within trajectory")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_dot(axes: Axes, found: Measured, y: float, shape: str, colour: str, fill: str) -> bool:
    """False where there is nothing to draw."""
    if found.value is None:
        return False
    if found.low is not None and found.high is not None:
        axes.hlines(y, found.low, found.high, color=colour, linewidth=1.2, zorder=2)
    axes.plot(found.value, y, shape, color=colour, markerfacecolor=fill, markersize=5, zorder=3)
    return True
