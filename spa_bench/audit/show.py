"""An audit as JSON, and what stands in its table: rows, their names, footer. All of it comes from the `Audit` alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from spa_bench.audit import alias_rows
from spa_bench.audit.columns import PLURAL, columns, number, percent, precision, with_interval
from spa_bench.audit.intervals import Measured
from spa_bench.audit.summary import FEWEST, Audit, Margin, MethodAudit
from spa_bench.terminal import printable_line

EFFECT = "effect margin over best placebo"
FEW = 3
"""Names that a line of the footer lists."""


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


def label(method: MethodAudit) -> str:
    """Its name, with a mark for a placebo."""
    return printable_line(method.name) + (" *" if method.placebo else "")


def footer(audit: Audit) -> list[str]:
    """What was audited, what was usable, the floor, notes, and one line for each column."""
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in audit.about.items() if value is not None)
    count = max((method.agreement.spearman.of for method in audit.methods), default=0)
    lines = [
        about,
        f"trajectories: {count} usable, {audit.excluded} left out (no step, or an error outside the agent's control)",
    ]
    lines += [*_effect_lines(audit), *_incomparable(audit), *_missing(audit)]
    lines += [_floor_line(method, audit.has_effects) for method in audit.floors()]
    if any(method.placebo for method in audit.methods):
        lines.append("*: placebo, whose credit ignores what a step did; a method must beat it")
    lines += [*audit.notes, *(f"{column.header}: {column.meaning}" for column in columns(audit))]
    return [*lines, *alias_rows.notes(audit)]


def _effect_lines(audit: Audit) -> list[str]:
    """The power check, and whether the effect columns stand."""
    if (power := audit.power) is None:
        return []
    told = f"power check: as a reward, the oracle's progress has the effect correlation {with_interval(power.oracle)}"
    if power.margin is not None:
        told += f" and the margin {with_interval(power.margin.spearman)} over {power.margin.placebo}"
    lines = [
        f"{told} on {power.points} steps; at {percent(power.without_alternative)} % of them the policy chose no other "
        "action (effect 0)"
    ]
    if power.oracle.value is not None and power.oracle.tasks < FEWEST:
        few = f"these steps are of fewer than {FEWEST} tasks"
        lines.append(f"withheld: the effect columns, as {few}: more --points may help")
    elif not power.passed:
        lines.append("withheld: the effect columns, as the oracle's own score is not above 0: more --points may help")
    elif power.margin is not None and not power.margin_passed:
        lines.append("withheld: the effect margin, as the oracle's own is not above 0: --alternatives 4 may help")
    return lines


def _incomparable(audit: Audit) -> list[str]:
    """Placebos that cannot be compared with a method on all of its trajectories, or steps."""
    found: dict[tuple[str, str], list[str]] = {}
    for method in by_name(audit):
        for what, margins, own in _compared(method):
            for margin in margins:
                if margin.spearman.used < own.used:
                    told = f"{method.name} ({margin.spearman.used} of {own.used})"
                    found.setdefault((what, margin.placebo), []).append(told)
    return [
        f"{what}: not over {placebo}, which is undefined in some of the {'steps' if what == EFFECT else 'trajectories'}"
        f" of {', '.join(names) if len(names) <= FEW else f'{len(names)} methods'}"
        for (what, placebo), names in sorted(found.items())
    ]


def _compared(method: MethodAudit) -> Iterator[tuple[str, Sequence[Margin], Measured]]:
    """The margins of a method, and the correlation that they stand beside."""
    yield "margin over best placebo", method.margins, method.agreement.spearman
    for outcome, margins in method.margins_by_outcome.items():
        yield f"margin, {PLURAL[outcome]}", margins, method.by_outcome[outcome].spearman
    if method.effects is not None:
        yield EFFECT, method.effects.margins, method.effects.spearman


def _missing(audit: Audit) -> list[str]:
    """What an audit of an earlier version does not hold."""
    missing = {
        "agreement by outcome": any(not method.by_outcome for method in audit.methods),
        "the number of fits, which intervals leave out": any(method.fits is None for method in audit.methods),
        "a power check, without which the effect columns are withheld": audit.power is None
        and any(method.effects for method in audit.methods),
    }
    told = [what for what, lacks in missing.items() if lacks]
    return [f"not in this audit, which is of an earlier version: {'; '.join(told)}"] if told else []


def _floor_line(method: MethodAudit, has_effects: bool) -> str:
    seen = method.agreement
    return (
        f"floor: {method.name} reaches Spearman {with_interval(seen.spearman)} on {seen.spearman.used} trajectories, "
        f"Kendall {number(seen.kendall.value)}, AUPRC {precision(method)}, partial rank correlation "
        f"{with_interval(seen.partial)}"
        + (f", effect correlation {with_interval(method.effects.spearman)}" if has_effects and method.effects else "")
    )
