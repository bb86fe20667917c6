"""The first screen of a result: one table with verdicts, what it rests on, and only the footnotes that it needs.

Everything else that is known of the same runs is in the sections of `render` and `contents`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spa_bench.analysis.differences import Difference
from spa_bench.analysis.fits import our_forms
from spa_bench.analysis.groups import START
from spa_bench.audit.columns import columns as audit_columns
from spa_bench.audit.show import by_name, label
from spa_bench.audit.summary import Audit, MethodAudit
from spa_bench.report.grid import Grid
from spa_bench.report.names import headings
from spa_bench.report.render import counted, detectable, interval, percent, points, signed, titled
from spa_bench.report.table import Table

EQUAL = "n.s."
"""The verdict of no significant difference, as short as a cell needs it."""
TRAINED = "tests over tasks and seeds, adjusted {within}"
UNTRAINED = "tests over tasks alone (training seeds were not sampled), adjusted {within}"
AUDITED = ("return error", "misordered pairs %", "idle-loop exploit %", "Spearman")
"""Columns of an audit on the first screen; `BEATS` stands after them."""
BEATS = "beats placebos"
AUDIT_NOTES = (
    "return error: mean |sum of rewards - outcome|; -: cannot be measured here",
    "misordered pairs: of two episodes of a task, the worse one gets more reward",
    "idle-loop exploit: acting on until the step limit pays as much as success",
    "Spearman: of rewards with the oracle's progress, in an episode; 95 % CI",
    "beats placebos (*): its CI of the margin over the best of them is above 0",
)


@dataclass(frozen=True)
class Brief:
    """What stands on the first screen."""

    grids: Sequence[Grid]
    facts: Sequence[str]
    """Lines that always stand under the grids."""
    notes: Sequence[str]
    """Lines that stand there as far as there is room; how many are left is said."""


def brief(tables: Sequence[Table], audits: Sequence[Audit] = (), left_out: Sequence[str] = ()) -> Brief:
    """Of one table the methods with verdicts, of several the worlds side by side; of audits alone the credit."""
    shown = [table for table in tables if table.rows]
    notes = [*left_out, *_notes(tables)]
    if not shown:
        return Brief([_audit(one) for one in audits], AUDIT_NOTES if audits else (), notes)
    if audits:
        worlds = ", ".join(sorted({one.world for one in audits}))
        notes.append(f"{counted(len(audits), 'audit')} of credit ({worlds}), not shown here")
    grids = [_methods(shown[0])] if len(shown) == 1 else [_worlds(shown), _facts(shown)]
    about = [_about(shown[0]), *_from_start(shown[0])] if len(shown) == 1 else []
    return Brief(grids, [*about, *_reading(shown), *_rows_told(shown)], notes)


def _compared(table: Table, reference: str | None) -> Mapping[str, Difference]:
    return {one.method: one for one in table.differences if one.reference == reference}


def _verdict(one: Difference) -> str:
    side = one.verdict.split()[0]
    return side if side in ("better", "worse") else EQUAL


def _methods(table: Table) -> Grid:
    """A row for each method: success, difference from the reference, verdict."""
    reference = table.reference
    compared = _compared(table, reference)
    beside = [f"Δ (pp) from {reference}", "simultaneous 95 % CI", "verdict"] if compared else []
    graded = bool(table.graded)
    header = ["method", "success %", "95 % CI", *beside, "outcome" if graded else "grounded %", *_wide(compared)]
    rows = []
    for row in table.rows:
        one = compared.get(row.label)
        found = [points(one.found.effect), signed(one.found.effect), _verdict(one)] if one else [""] * len(beside)
        last = f"{row.outcome:.3f}" if graded else percent(row.grounded)
        more = [] if compared else [f"{row.turns:.1f}", percent(row.malformed)]
        rows.append([row.label, percent(row.success.mean), interval(row.success), *found, last, *more])
    return Grid("brief", titled(table, counted(int(table.about["n"]), "task")), header, rows)


def _wide(compared: Mapping[str, Difference]) -> list[str]:
    """Columns for which there is room where nothing is compared."""
    return [] if compared else ["turns", "malformed %"]


def _worlds(tables: Sequence[Table]) -> Grid:
    """A row for each method, two columns for each table: success, and difference with verdict."""
    labels = list(dict.fromkeys(row.label for table in tables for row in table.rows))
    columns = [["method", *labels]]
    for name, table in zip(headings(tables), tables, strict=True):
        rows, reference = {row.label: row for row in table.rows}, table.reference
        compared = _compared(table, reference)
        reached = [percent(rows[one].success.mean) if one in rows else "" for one in labels]
        columns.append([f"{name} success %", *reached])
        if compared:
            cells = [_told(compared[one]) if one in compared else "" for one in labels]
            columns.append([f"Δ (pp) from {reference}", *cells])
    header, *lines = zip(*columns, strict=True)
    splits = {str(table.about["split"]) for table in tables}
    return Grid("brief", ", ".join(["method by world", *splits]) if len(splits) == 1 else "", header, lines)


def _told(one: Difference) -> str:
    return f"{points(one.found.effect)} {_verdict(one)}"


def _facts(tables: Sequence[Table]) -> Grid:
    """What each of several tables rests on."""
    header = ["world", "tasks", "evaluation set", "seeds", "minimum detectable effect (pp)"]
    rows = [
        [
            name,
            str(table.about["n"]),
            str(table.about.get("evaluation_set") or "-"),
            _seeds(table),
            "none" if (smallest := table.resolution.smallest) is None else percent(smallest),
        ]
        for name, table in zip(headings(tables), tables, strict=True)
    ]
    return Grid("facts", "", header, rows)


def _about(table: Table) -> str:
    known = table.about.get("evaluation_set")
    about = [f"evaluation set {known}"] if known else []
    seeds = _seeds(table)
    return "; ".join([*about, f"seed{'s' if ',' in seeds else ''} {seeds}", detectable(table.resolution)])


def _seeds(table: Table) -> str:
    return ", ".join(map(str, table.seeds))


def _from_start(table: Table) -> list[str]:
    """Which methods differ from the warm start, where the differences shown are from another row."""
    if table.reference == START:
        return []
    sides: dict[str, list[str]] = {"better": [], "worse": [], EQUAL: []}
    for one in _compared(table, START).values():
        sides[_verdict(one)].append(one.method)
    told = [f"{side}: {', '.join(sides[side])}" for side in ("better", "worse") if sides[side]]
    told += [f"{'the others' if told else 'all'} {EQUAL}"] if sides[EQUAL] else []
    return [f"from the {START}: {'; '.join(told)}"] if told else []


def _reading(tables: Sequence[Table]) -> list[str]:
    """What the verdicts are of, in a line for each kind."""
    kinds: dict[str, bool] = {}
    for table in (table for table in tables if table.differences):
        within = f"for {counted(table.resolution.comparisons, 'comparison')}"
        words = TRAINED if table.resolution.trained else UNTRAINED
        line = words.format(within=within if len(tables) == 1 else "within each table")
        kinds[line] = kinds.get(line, False) or any(_verdict(one) == EQUAL for one in table.differences)
    return [f"{line}; {EQUAL}: not significant" if equal else line for line, equal in kinds.items()]


def _rows_told(tables: Sequence[Table]) -> list[str]:
    """What the rows are that a reader may take for something else."""
    rows = [row for table in tables for row in table.rows]
    start = [f"{START}: the SFT model before RL"] if any(row.label == START for row in rows) else []
    ours = list(dict.fromkeys(row.label for row in rows if row.our_form))
    told = [*start, *([f"our form, not the paper's: {', '.join(ours)}"] if ours else [])]
    return ["; ".join(told)] if told else []


def _notes(tables: Sequence[Table]) -> list[str]:
    """What may invalidate a number, each once; what `_rows_told` says is left out."""
    several = len(tables) > 1
    notes = []
    for name, table in zip(headings(tables), tables, strict=True):
        told = our_forms({row.label: row.our_form for row in table.rows if row.our_form})
        notes += [f"{name}: {note}" if several else note for note in table.notes if note not in told]
    return list(dict.fromkeys(notes))


def _audit(audit: Audit) -> Grid:
    chosen = [column for column in audit_columns(audit) if column.header in AUDITED]
    rows = [[label(method), *(column.cell(method) for column in chosen), _beats(method)] for method in by_name(audit)]
    about = [f"{name} {audit.about[name]}" for name in ("tasks", "trajectories", "seed") if name in audit.about]
    title = ", ".join([f"credit of {len(audit.methods)} methods", audit.world, *about])
    return Grid("brief", title, ["method", *(column.header for column in chosen), BEATS], rows)


def _beats(method: MethodAudit) -> str:
    best = method.best_placebo
    if best is None or best.spearman.low is None:
        return "-"
    return "yes" if best.spearman.low > 0 else "no"
