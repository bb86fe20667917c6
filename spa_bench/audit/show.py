"""An audit as a table and as JSON. Everything shown comes from the `Audit` alone."""

from __future__ import annotations

import json
import math
import textwrap
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
from spa_bench.audit.summary import COSTS, FEWEST, PROBES, Audit, Margin, MethodAudit
from spa_bench.core import BUCKETS
from spa_bench.terminal import printable_line

PIPE = 132
"""Columns of what is no terminal."""
BROKEN = 1e-6
"""A method that claims to preserve the return and misses it by more is marked; outcomes may have gone through fp32."""
HEAD_LINES = 3
"""Lines that a header may take in the table."""
HEADERS = {
    "loop": "loop payoff",
    "busy %": "idle-loop exploit %",
    "cut": "truncation payoff",
    "extra steps": "overhead: env steps",
    "extra tokens": "overhead: tokens",
}
"""Headers of the probes and costs; `audit.json` has them by the shorter names."""


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    header: str
    meaning: str
    """One line of the footer."""
    cell: Callable[[MethodAudit], str]


def show(audit: Audit, stream: TextIO, as_json: bool = False) -> None:
    """Print the audit: JSON when asked for, else one table; columns that do not fit side by side stand below."""
    if as_json:
        print(json.dumps(to_json(audit), indent=1, sort_keys=True, allow_nan=False), file=stream)
        return
    console = Console(file=stream) if stream.isatty() else Console(file=stream, width=PIPE)
    title = f"credit audit of {len(audit.methods)} methods, {audit.world}"
    for part, chosen in enumerate(_blocks(audit, console.width)):
        console.print(_boxes(audit, chosen, "" if part else title), crop=False)
    for line in footer(audit):
        console.print(printable_line(line), markup=False, highlight=False, soft_wrap=True)


def to_json(audit: Audit) -> dict[str, Any]:
    """The figures as plain values; a number that is not finite is None. Episodes and their rewards are left out."""
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
    """All columns but the name: return, probes, agreement, shape, costs."""
    probes = [_stored_column("probes", name, why) for name, why in audit.probes.items()]
    costs = [_stored_column("costs", name, why) for name, why in audit.costs.items()]
    return [*_return_columns(), *probes, *_agreement_columns(audit), *_shape_columns(), *costs]


def _stored_column(kind: str, name: str, meaning: str) -> Column:
    """A probe or a cost: by today's words where it is known, else as the audit says."""
    known = name.replace("_", " ")
    return Column(HEADERS.get(known, known), (PROBES | COSTS).get(known, meaning), _named(kind, name))


def _return_columns() -> list[Column]:
    return [
        Column(
            "claims return-preserving",
            "whether the method claims that its rewards add up to the outcome R; !: they do not",
            _claim,
        ),
        Column("return error", "mean |sum r - R|; 0 where the return is preserved", lambda m: _short(m.gap.mean)),
        Column("max return error", "largest |sum r - R|", lambda m: _short(m.gap.largest)),
        Column(
            "return error within task",
            "mean |sum r - R| after each task's mean is subtracted: a constant of the task changes no policy's rank",
            lambda m: _short(m.gap.mean_beyond_task),
        ),
        Column(
            "return error per step",
            "slope of sum r - R on the number of steps, within task; above 0, long episodes get more for being long",
            lambda m: _short(m.gap.slope),
        ),
        Column(
            "misordered pairs %",
            "pairs of episodes of one task with different R where the worse one gets the larger sum of rewards",
            lambda m: _percent(m.gap.inversions),
        ),
        Column("tied pairs %", "the same pairs where both get the same sum", lambda m: _percent(m.gap.ties)),
        Column(
            "timeout bias",
            "sum r - R of episodes that the step limit ended, minus that of the others, within task",
            lambda m: _short(m.gap.timeout),
        ),
        Column(
            "discounted return error",
            f"mean |sum gamma^t r_t - gamma^(T-1) R|, t from 0, gamma {GAMMA}; an early reward is discounted less",
            lambda m: _short(m.gap.discounted),
        ),
    ]


def _agreement_columns(audit: Audit) -> list[Column]:
    return [*_oracle_columns(audit), *_effect_columns()]


def _oracle_columns(audit: Audit) -> list[Column]:
    steps = dict(zip(BUCKETS, ranges(audit.limits), strict=True))
    found = counts(audit)
    return [
        Column(
            "Spearman",
            f"of r with the oracle's progress, within trajectory, mean of Fisher's z ({CLIP} at most); 95 % CI",
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
            "trajectories where Spearman is defined: at least three steps, and neither r nor progress is constant",
            lambda m: str(m.agreement.spearman.used),
        ),
        Column("Kendall", "tau-b of the same", lambda m: _number(m.agreement.kendall.value)),
        Column(
            "sign agreement %",
            "steps that change progress and have a sign, with the right one; r counts from its mean over steps that "
            "change nothing",
            lambda m: _percent(m.agreement.sign.value),
        ),
        Column(
            "AUPRC",
            "average precision for steps that raise progress (in brackets: expected of a random order)",
            _precision,
        ),
        Column(
            "partial rank correlation",
            "of r with progress given the turn, its square, whether it is the last, and the action's log-probability; "
            "95 % CI",
            lambda m: _with_interval(m.agreement.partial),
        ),
        Column(
            "margin over best placebo",
            f"Spearman minus that of the placebo with the smallest margin, 95 % CI, its name, and the trajectories "
            f"where both are defined ({FEWEST} tasks at least)",
            lambda m: _margin(m.best_placebo),
        ),
    ]


def _effect_columns() -> list[Column]:
    return [
        Column(
            "effect correlation",
            "Spearman of r with the executed effect of the step, over steps of all trajectories; 95 % CI",
            lambda m: "-" if m.effects is None else _with_interval(m.effects.spearman),
        ),
        Column(
            "effect margin over best placebo",
            "effect correlation minus that of the placebo with the smallest margin on the same steps; a placebo may "
            "know the outcome",
            lambda m: "-" if m.effects is None else _margin(m.effects.best_placebo),
        ),
    ]


def _shape_columns() -> list[Column]:
    return [
        Column(
            "share on last step %",
            "share of sum |r| that is on the last step",
            lambda m: _percent(m.last_turn_share.value),
        ),
        Column("Gini", "of |r| over steps: 0 even, (T - 1)/T all on one", lambda m: _number(m.gini.value)),
        Column(
            "SNR",
            "spread of advantages between steps that lower, keep and raise progress, over the spread within these",
            lambda m: _number(m.signal_to_noise),
        ),
        Column(
            "cosine with oracle advantages",
            "of the advantages with those that the oracle's progress as reward would have",
            lambda m: _number(m.cosine),
        ),
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
        width = 2 + _width(audit, column)
        if block and used + width > room:
            yield block
            block, used = [], names
        block.append(column)
        used += width
    if block:
        yield block


def _width(audit: Audit, column: Column) -> int:
    """Characters of its widest cell, or of its folded header."""
    cells = max((len(column.cell(method)) for method in audit.methods), default=1)
    return max([cells, *map(len, _folded(printable_line(column.header), cells))])


def _folded(header: str, width: int) -> list[str]:
    """A header in at most `HEAD_LINES` lines, none wider than `width` if that can be done."""
    for room in range(max(width, 1), len(header) + 1):
        lines = textwrap.wrap(header, room, break_long_words=False, break_on_hyphens=False)
        if len(lines) <= HEAD_LINES:
            return lines
    return [header]


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
        lines = _folded(printable_line(column.header), _width(audit, column))
        box.add_column(escape("\n".join(lines)), justify="right", no_wrap=True)
    for method in by_name(audit):
        box.add_row(*(escape(cell) for cell in (label(method), *(column.cell(method) for column in chosen))))
    return box


def footer(audit: Audit) -> list[str]:
    """What was audited, what was usable, the floor, notes, and one line for each column."""
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in audit.about.items() if value is not None)
    count = max((method.agreement.spearman.of for method in audit.methods), default=0)
    lines = [
        about,
        f"trajectories: {count} usable, {audit.excluded} left out (no step, or an error outside the agent's control)",
    ]
    if points := next((m.effects for m in audit.methods if m.effects is not None), None):
        lines.append(
            f"effects: {points.points} steps, {_percent(points.with_effect)} % with one above two standard errors, "
            f"at {_percent(points.without_alternative)} % the policy chose no other action (effect 0)"
        )
    lines += [_floor_line(method) for method in audit.floors()]
    if any(method.placebo for method in audit.methods):
        lines.append("*: placebo, whose credit ignores what a step did; a method must beat it")
    return [*lines, *audit.notes, *(f"{column.header}: {column.meaning}" for column in columns(audit))]


def _floor_line(method: MethodAudit) -> str:
    seen = method.agreement
    return (
        f"floor: {method.name} reaches Spearman {_with_interval(seen.spearman)} on {seen.spearman.used} trajectories, "
        f"Kendall {_number(seen.kendall.value)}, AUPRC {_precision(method)}, partial rank correlation "
        f"{_with_interval(seen.partial)}"
        + (f", effect correlation {_with_interval(method.effects.spearman)}" if method.effects is not None else "")
    )
