"""An audit as a table, as JSON, as a figure. Everything shown comes from the `Audit` alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from spa_bench.audit.measures import CLIP, GAMMA, Measured
from spa_bench.audit.summary import FEWEST, LENGTHS, Audit, Margin, MethodAudit
from spa_bench.figures.style import ACCENT, BAND, INK, PALE, save
from spa_bench.terminal import printable_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIPE = 132
"""Columns of what is no terminal."""
BROKEN = 1e-6
"""A method that claims to conserve the return and misses it by more is marked; outcomes may have gone through fp32."""
COLOURS = {"short": "#0072B2", "medium": "#E69F00", "long": "#009E73"}
"""Okabe and Ito: told apart by colour-blind readers; the shapes differ too."""
SHAPES = {"short": "o", "medium": "s", "long": "^"}
FLOOR_LINES = ("--", ":", "-.")


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    header: str
    meaning: str
    """One line of the footer."""
    cell: Callable[[MethodAudit], str]


def show(audit: Audit, stream: TextIO, as_json: bool = False) -> None:
    """Print the audit: JSON when asked for, else one table, on a narrow terminal continued below by its columns."""
    if as_json:
        print(json.dumps(to_json(audit), indent=1, sort_keys=True, allow_nan=False), file=stream)
        return
    console = Console(file=stream) if stream.isatty() else Console(file=stream, width=PIPE)
    title = f"credit of {len(audit.methods)} methods, {audit.about.get('world', 'recorded')}"
    for part, chosen in enumerate(_blocks(audit, console.width)):
        console.print(_boxes(audit, chosen, "" if part else title), crop=False)
    for line in footer(audit):
        console.print(printable_line(line), markup=False, highlight=False, soft_wrap=True)


def to_json(audit: Audit) -> dict[str, Any]:
    """The figures as plain values; a number that is not finite is None. Episodes and prices are no part of it."""
    plain = {field.name: _plain(getattr(audit, field.name)) for field in fields(audit) if field.compare}
    return plain | {"methods": [_plain(method) for method in by_name(audit)]}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def by_name(audit: Audit) -> list[MethodAudit]:
    """The methods in the order of every table."""
    return sorted(audit.methods, key=lambda method: method.name)


# The table


def columns(audit: Audit) -> list[Column]:
    """All columns but the name, from the sum of the rewards to where they go and what they cost."""
    probes = [Column(name, why, _named("probes", name)) for name, why in audit.probes.items()]
    costs = [Column(name.replace("_", " "), why, _named("costs", name)) for name, why in audit.costs.items()]
    return [*_return_columns(), *probes, *_agreement_columns(audit), *_shape_columns(), *costs]


def _return_columns() -> list[Column]:
    return [
        Column("claims", "the method says that its rewards add up to the outcome R; !: they do not", _claim),
        Column("gap", "mean |sum r - R|; 0 where the return is conserved", lambda m: _short(m.gap.mean)),
        Column("max", "the largest |sum r - R|", lambda m: _short(m.gap.largest)),
        Column(
            "in task",
            "the same beyond each task's own constant, which changes no policy's rank",
            lambda m: _short(m.gap.mean_beyond_task),
        ),
        Column("slope", "what one more step adds to sum r - R, within task", lambda m: _short(m.gap.slope)),
        Column(
            "invert %",
            "pairs of episodes of one task with different R where the worse one is paid more",
            lambda m: _percent(m.gap.inversions),
        ),
        Column("tie %", "the same pairs, paid alike", lambda m: _percent(m.gap.ties)),
        Column(
            "timeout",
            "sum r - R of episodes that the step limit ended, minus that of the others of their task",
            lambda m: _short(m.gap.timeout),
        ),
        Column(
            "discount",
            f"mean |sum gamma^t r_t - gamma^(T-1) R|, gamma {GAMMA}: paid early is worth more",
            lambda m: _short(m.gap.discounted),
        ),
    ]


def _agreement_columns(audit: Audit) -> list[Column]:
    ranges = dict(zip(LENGTHS, _ranges(audit.limits), strict=True))
    counts = _counts(audit)
    return [
        Column(
            "Spearman",
            f"of r with the oracle's progress, within trajectory, mean of Fisher's z ({CLIP} at most); 95 % interval",
            lambda m: _with_interval(m.agreement.spearman),
        ),
        *(
            Column(
                length,
                f"Spearman where the expert takes {ranges[length]} steps: {counts[length]} trajectories",
                _spearman_of(length),
            )
            for length in LENGTHS
        ),
        Column("n", "trajectories where it is defined: three steps, and neither is constant", _defined),
        Column("Kendall", "tau-b of the same", lambda m: _number(m.agreement.kendall.value)),
        Column("sign %", "steps that change progress and have a sign, paid with the right one", _sign),
        Column("AUPRC", "average precision for steps that raise progress (what a random order reaches)", _precision),
        Column(
            "partial",
            "rank correlation given the turn, its square, whether it is the last, and the action's log-probability",
            lambda m: _with_interval(m.agreement.partial),
        ),
        Column(
            "margin",
            f"Spearman minus that of the placebo which is hardest to beat, 95 % interval, where both are defined "
            f"({FEWEST} tasks at least)",
            lambda m: _margin(m.best_placebo),
        ),
        Column(
            "effect",
            "Spearman of r with the executed effect of the step, over points of all trajectories, 95 % interval",
            lambda m: "-" if m.effects is None else _with_interval(m.effects.spearman),
        ),
        Column(
            "beyond",
            "effect minus that of the placebo which is hardest to beat on the same points, which may know the outcome",
            lambda m: "-" if m.effects is None else _margin(m.effects.best_placebo),
        ),
    ]


def _shape_columns() -> list[Column]:
    return [
        Column("last %", "share of sum |r| that the last step is paid", lambda m: _percent(m.last_turn_share.value)),
        Column("Gini", "of |r| over steps: 0 even, (T - 1)/T all on one", lambda m: _number(m.gini.value)),
        Column(
            "SNR",
            "spread of advantages between steps that lower, keep and raise progress, over that within",
            lambda m: _number(m.signal_to_noise),
        ),
        Column("cosine", "of the advantages with those that progress itself would have", lambda m: _number(m.cosine)),
    ]


def _named(kind: str, name: str) -> Callable[[MethodAudit], str]:
    return lambda method: _short(getattr(method, kind).get(name))


def _spearman_of(length: str) -> Callable[[MethodAudit], str]:
    return lambda method: _number(method.by_length[length].spearman.value)


def _claim(method: MethodAudit) -> str:
    broken = method.gap.largest is not None and method.gap.largest > BROKEN
    return ("yes!" if broken else "yes") if method.conserves else "no"


def _defined(method: MethodAudit) -> str:
    return str(method.agreement.spearman.used)


def _precision(method: MethodAudit) -> str:
    found, chance = method.agreement.auprc.value, method.agreement.chance
    return f"{_number(found)} ({_number(chance)})" if found is not None else "-"


def _sign(method: MethodAudit) -> str:
    return _percent(method.agreement.sign.value)


def _margin(best: Margin | None) -> str:
    """The margin, over which placebo, and what it rests on."""
    return "-" if best is None else f"{_with_interval(best.spearman)} {best.placebo}, {best.spearman.used}"


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value + 0.0:.2f}".replace("-0.00", "0.00")


def _percent(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.0f}"


def _short(value: float | None) -> str:
    """Any size in few characters; what is below `BROKEN` is rounding."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) < BROKEN:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _with_interval(found: Measured) -> str:
    if found.value is None or found.low is None or found.high is None:
        return _number(found.value)
    return f"{_number(found.value)} [{_number(found.low)}, {_number(found.high)}]"


def _ranges(limits: tuple[int, int]) -> tuple[str, str, str]:
    short, medium = limits
    return f"up to {short}", f"{short + 1} to {medium}", f"more than {medium}"


def _counts(audit: Audit) -> dict[str, int]:
    """Trajectories by length; the same for all methods."""
    return {length: max((m.by_length[length].spearman.of for m in audit.methods), default=0) for length in LENGTHS}


def _blocks(audit: Audit, room: int) -> Iterator[list[Column]]:
    """Columns that fit side by side behind the names, as few blocks as that takes."""
    names = 2 + max((len(label(method)) for method in audit.methods), default=6)
    block: list[Column] = []
    used = names
    for column in columns(audit):
        width = 2 + max(len(column.header), *(len(column.cell(method)) for method in audit.methods), 0)
        if block and used + width > room:
            yield block
            block, used = [], names
        block.append(column)
        used += width
    if block:
        yield block


def label(method: MethodAudit) -> str:
    """Its name, with a mark for a placebo."""
    return printable_line(method.name) + (" *" if method.placebo else "")


def _boxes(audit: Audit, chosen: Sequence[Column], title: str) -> RichTable:
    box = RichTable(
        title=escape(printable_line(title)) or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    box.add_column("method", no_wrap=True)
    for column in chosen:
        box.add_column(escape(printable_line(column.header)), justify="right", no_wrap=True)
    for method in by_name(audit):
        box.add_row(*(escape(cell) for cell in (label(method), *(column.cell(method) for column in chosen))))
    return box


def footer(audit: Audit) -> list[str]:
    """What the audit is about, the floor, what was usable, notes, and one line for each column."""
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in audit.about.items() if value is not None)
    count = max((method.agreement.spearman.of for method in audit.methods), default=0)
    lines = [
        about,
        f"trajectories: {count} usable, {audit.excluded} left out (no step, or an error outside the agent's control)",
    ]
    if points := next((m.effects for m in audit.methods if m.effects is not None), None):
        lines.append(
            f"effects: {points.points} steps played again; {_percent(points.with_effect)} % have one of more than two "
            f"standard errors, at {_percent(points.without_alternative)} % the policy chose nothing else: theirs is 0"
        )
    lines += [_floor_line(method) for method in audit.floors()]
    if any(method.placebo for method in audit.methods):
        lines.append("*: placebo; a method that does not beat it has shown no credit")
    return [*lines, *audit.notes, *(f"{column.header}: {column.meaning}" for column in columns(audit))]


def _floor_line(method: MethodAudit) -> str:
    seen = method.agreement
    return (
        f"floor: {method.name} reaches Spearman {_with_interval(seen.spearman)} on {seen.spearman.used} trajectories, "
        f"Kendall {_number(seen.kendall.value)}, AUPRC {_precision(method)}, partial {_with_interval(seen.partial)}"
        + (f", effect {_with_interval(method.effects.spearman)}" if method.effects is not None else "")
    )


# The figure


def plot(audit: Audit, path: Path) -> None:
    """Save what `draw` makes as `.png`, `.pdf` or `.svg`, by the name's ending; the same audit gives the same bytes.

    The user's own settings of Matplotlib are left alone. Raises UserError for another ending.
    """
    save(lambda: draw(audit), path)


def draw(audit: Audit) -> Figure:
    """The figure. Left: Spearman with its interval, the floors as lines. Right: by length of the task."""
    from matplotlib.figure import Figure

    methods = sorted(audit.methods, key=_plot_order)
    figure = Figure(figsize=(10, 2.4 + 0.3 * max(4, len(methods))), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    _draw_overall(left, audit, methods)
    _draw_lengths(right, audit, methods)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", frameon=False, fontsize=8)
    figure.suptitle(f"Does the reward follow the oracle's progress? {_subject(audit)}", fontsize=11)
    return figure


def _plot_order(method: MethodAudit) -> tuple[float, str]:
    """The best last, which is on top; what is undefined first."""
    value = method.agreement.spearman.value
    return (-2.0 if value is None else value), method.name


def _subject(audit: Audit) -> str:
    """World and number of trajectories."""
    count = max((method.agreement.spearman.of for method in audit.methods), default=0)
    return printable_line(f"({audit.about.get('world', 'recorded')}, {count} trajectories)")


def _draw_overall(axes: Axes, audit: Audit, methods: Sequence[MethodAudit]) -> None:
    """A dot and its interval for each method, hollow for a placebo; the floors as lines."""
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
            box = {"facecolor": "white" if row % 2 else BAND, "edgecolor": "none", "pad": 1}
            axes.text(0, row, "undefined: nothing to rank", color=PALE, va="center", fontsize=8, bbox=box, zorder=4)
    axes.plot([], [], "o", color=INK, label="method, 95 % interval")
    axes.plot([], [], "o", color=PALE, markerfacecolor="white", label="placebo")
    axes.set_yticks(range(len(methods)), [printable_line(method.name) for method in methods])
    axes.set_title("all trajectories", fontsize=10)


def _draw_lengths(axes: Axes, audit: Audit, methods: Sequence[MethodAudit]) -> None:
    """Three dots for each method, one below the other."""
    _rows(axes, methods)
    ranges, counts = dict(zip(LENGTHS, _ranges(audit.limits), strict=True)), _counts(audit)
    for place, length in enumerate(LENGTHS):
        for row, method in enumerate(methods):
            at, colour = row + 0.25 * (1 - place), COLOURS[length]
            _draw_dot(axes, method.by_length[length].spearman, at, SHAPES[length], colour, colour)
        label = f"{length} task: expert takes {ranges[length]} steps (n={counts[length]})"
        axes.plot([], [], SHAPES[length], color=COLOURS[length], markersize=4, label=label)
    axes.set_title("by length of the task", fontsize=10)


def _rows(axes: Axes, methods: Sequence[MethodAudit]) -> None:
    """Bands that lead from a name to its dots, and the axes of both panels."""
    for row in range(0, len(methods), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=BAND, linewidth=0, zorder=0)
    axes.axvline(0, color=PALE, linewidth=0.8, zorder=1)
    axes.set_ylim(-0.5, max(1, len(methods)) - 0.5)
    axes.set_xlabel("Spearman of step reward with progress, within trajectory")
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
