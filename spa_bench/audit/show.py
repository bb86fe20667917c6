"""An audit as a table and as JSON. Everything shown comes from the `Audit` alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TextIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from spa_bench.audit.equivalence import GAMMA
from spa_bench.audit.measures import CLIP, Measured
from spa_bench.audit.summary import FEWEST, Audit, Margin, MethodAudit
from spa_bench.core import BUCKETS
from spa_bench.terminal import printable_line

PIPE = 132
"""Columns of what is no terminal."""
BROKEN = 1e-6
"""A method that claims to conserve the return and misses it by more is marked; outcomes may have gone through fp32."""


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
    steps = dict(zip(BUCKETS, ranges(audit.limits), strict=True))
    found = counts(audit)
    return [
        Column(
            "Spearman",
            f"of r with the oracle's progress, within trajectory, mean of Fisher's z ({CLIP} at most); 95 % interval",
            lambda m: _with_interval(m.agreement.spearman),
        ),
        *(
            Column(
                length,
                f"Spearman where the expert takes {steps[length]} steps: {found[length]} trajectories",
                _spearman_of(length),
            )
            for length in BUCKETS
        ),
        Column(
            "n",
            "trajectories where it is defined: three steps, and neither is constant",
            lambda m: str(m.agreement.spearman.used),
        ),
        Column("Kendall", "tau-b of the same", lambda m: _number(m.agreement.kendall.value)),
        Column(
            "sign %",
            "steps that change progress and have a sign, paid with the right one",
            lambda m: _percent(m.agreement.sign.value),
        ),
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


def _precision(method: MethodAudit) -> str:
    found, chance = method.agreement.auprc.value, method.agreement.chance
    return f"{_number(found)} ({_number(chance)})" if found is not None else "-"


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


def ranges(limits: tuple[int, int]) -> tuple[str, str, str]:
    """Steps of the expert, in the order of `BUCKETS`."""
    short, medium = limits
    return f"up to {short}", f"{short + 1} to {medium}", f"more than {medium}"


def counts(audit: Audit) -> dict[str, int]:
    """Trajectories by length; the same for all methods."""
    return {length: max((m.by_length[length].spearman.of for m in audit.methods), default=0) for length in BUCKETS}


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
