"""The tables of papers, filled from runs: the rows and columns are the paper's, the numbers ours.

The paper's own numbers stand in a column of their own. Where a row was not run, or its reported number is unknown, the
cell is empty. Rows and columns are those of the papers as far as they could be read; `note` says what could not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spa_bench.analysis.fits import our_forms
from spa_bench.analysis.groups import START
from spa_bench.analysis.published import PUBLISHED, Published, Sources
from spa_bench.core import UserError
from spa_bench.report.baselines import NAME as BASELINES
from spa_bench.report.grid import Grid, slug
from spa_bench.report.render import Section, percent, shown_facts, with_interval
from spa_bench.report.table import Table


@dataclass(frozen=True)
class Line:
    """A row of a paper's table."""

    name: str
    """As the paper calls it, in our spelling; also the name in the reported numbers."""
    ours: str = ""
    """Label of the row of our tables, as `spa (beta=0)`; empty where we have no such method."""


@dataclass(frozen=True)
class Column:
    """A column of a paper's table."""

    world: str
    metric: str
    """As in the reported numbers."""
    split: str | None = None
    """None: any split; the paper's is unknown."""


@dataclass(frozen=True)
class PaperTable:
    """One table."""

    name: str
    title: str
    lines: Sequence[Line]
    columns: Sequence[Column]
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """What is known of a paper's tables."""

    arxiv: str
    tables: Sequence[PaperTable]
    by_interval: str = ""
    """Title of its table of relative improvement by step interval; empty: it has none."""


ALFWORLD = (Column("alfworld", "success", "valid_unseen"), Column("alfworld", "grounding accuracy", "valid_unseen"))
AGENTS = (Line("SFT", START), Line("PPO", "ppo"))

PAPERS = {
    "spa": Paper(
        "2505.20732",
        (
            PaperTable(
                "main",
                "SPA, main comparison",
                (
                    *AGENTS, Line("RFT"), Line("ArCHer"), Line("GRPO", "grpo"), Line("RAGEN"), Line("PRM4A"),
                    Line("StepAgent"), Line("StepAgent-Inverse", "stepagent-inverse"),
                    Line("StepAgent-Implicit", "stepagent-implicit"), Line("SPA", "spa-published"),
                    Line("SPA, our form", "spa"), Line("SPA, as released", "spa-released"),
                ),
                (
                    *ALFWORLD, Column("webshop", "average reward"), Column("virtualhome", "success"),
                    Column("virtualhome", "grounding accuracy"),
                ),
                "which of the two methods of StepAgent the paper compares with is unknown; the rows of our form and of "
                "the released code are ours",
            ),
            PaperTable(
                "intermediate-rewards",
                "SPA, intermediate rewards on ALFWorld",
                (
                    Line("PPO", "ppo"), Line("SPA", "spa-published"),
                    Line("SPA without stepwise progress", "spa-published (alpha=0)"),
                    Line("SPA without grounding", "spa-published (beta=0)"), Line("SPA, our form", "spa"),
                    Line("SPA, our form, without stepwise progress", "spa (alpha=0)"),
                    Line("SPA, our form, without grounding", "spa (beta=0)"),
                ),
                ALFWORLD,
                "to fill our rows: --reward ppo,spa-published,spa-published:alpha=0,spa-published:beta=0; the rows of "
                "our form: spa,spa:alpha=0,spa:beta=0",
            ),
        ),
        "SPA, relative improvement by step interval",
    ),
    "3spo": Paper(
        "2606.09961",
        (
            PaperTable(
                "main",
                "3SPO, table 1",
                (
                    *AGENTS, Line("RLOO", "rloo"), Line("GRPO", "grpo"), Line("GiGPO", "gigpo"), Line("HGPO", "hgpo"),
                    Line("3SPO", "3spo"), Line("3SPO, its reward alone", "3spo-lite"),
                ),
                (
                    Column("alfworld", "success", "valid_seen"), Column("alfworld", "success", "valid_unseen"),
                    Column("webshop", "average reward"), Column("webshop", "success"),
                ),
                "of the paper's rows only HGPO and 3SPO could be read; the row of the reward alone is ours",
            ),
            PaperTable(
                "ablation",
                "3SPO, ablation",
                (
                    Line("3SPO", "3spo"), Line("3SPO without adaptive rollout", "3spo-lite"),
                    Line("3SPO without the difference of state scores"),
                ),
                (Column("alfworld", "success", "valid_unseen"), Column("webshop", "success")),
                "the paper reports differences from 3SPO, our columns are success; 3spo-lite, its reward with the "
                "rollout of all methods, is our nearest row",
            ),
        ),
    ),
    "stepagent": Paper(
        "2411.03817",
        (
            PaperTable(
                "main",
                "StepAgent",
                (
                    *AGENTS, Line("StepAgent-Inverse", "stepagent-inverse"),
                    Line("StepAgent-Implicit", "stepagent-implicit"),
                ),
                (*ALFWORLD, Column("webshop", "average reward"), Column("virtualhome", "success")),
                "the paper's own tables could not be read: rows are its methods, columns our worlds",
            ),
        ),
    ),
}  # fmt: skip
"""By the name after `--paper`."""


def fill(name: str, tables: Sequence[Table]) -> list[Section]:
    """The tables of a paper, from ours; UserError for a paper that we know no table of."""
    if name not in PAPERS:
        raise UserError(f"no tables of paper {name!r}: choose one of {', '.join([*PAPERS, BASELINES])}")
    return [_section(name, PAPERS[name], one, tables) for one in PAPERS[name].tables]


def _section(name: str, paper: Paper, wanted: PaperTable, tables: Sequence[Table]) -> Section:
    sources = Sources(paper.arxiv)
    header, columns, notes = ["method"], [[line.name for line in wanted.lines]], []
    forms: dict[str, str] = {}
    for column in wanted.columns:
        heading = " ".join(part for part in (column.world, column.split, column.metric) if part)
        table, note = _table(column, tables)
        header += [f"{heading} %", PUBLISHED]
        columns.append([_cell(table, line, column.metric) for line in wanted.lines])
        columns.append([_published(sources, line, column) for line in wanted.lines])
        notes.append(f"{heading}: {note}")
        labels = {line.ours for line in wanted.lines}
        rows = [row for row in (table.rows if table else ()) if row.label in labels]
        forms |= {row.label: row.our_form for row in rows if row.our_form}
    grid = Grid(wanted.name, f"{wanted.title} (arXiv {paper.arxiv})", header, list(zip(*columns, strict=True)))
    own = [wanted.note] if wanted.note else []
    return Section(f"paper-{slug(name)}", [grid], [*dict.fromkeys(notes), *own, *our_forms(forms), *sources.notes()])


def _table(column: Column, tables: Sequence[Table]) -> tuple[Table | None, str]:
    """The table that fills a column, and its facts for the notes."""
    found = [
        table
        for table in tables
        if table.about["world"] == column.world and column.split in (None, table.about["split"]) and table.rows
    ]
    if not found:
        return None, "not run"
    # More methods first: a lone run beside a comparison is an afterthought. The order of equals is that of `tables`.
    table = max(found, key=lambda one: len(one.rows))
    more = f"; the one with most rows of {len(found)} tables, give folders to choose" if len(found) > 1 else ""
    return table, f"{shown_facts(table, settings=True)}{more}"


def _cell(table: Table | None, line: Line, metric: str) -> str:
    row = next((row for row in table.rows if line.ours and row.label == line.ours), None) if table else None
    if row is None:
        return ""
    if metric == "success":
        return with_interval(row.success)
    return percent({"average reward": row.outcome, "grounding accuracy": row.grounded}[metric])


def _published(sources: Sources, line: Line, column: Column) -> str:
    """Its numbers; where the paper reports only differences, as in an ablation, these with their sign."""

    def wanted(row: Published) -> bool:
        here = row.world == column.world and (column.split is None or row.split in ("", column.split))
        return here and row.method == line.name

    found = sources.numbers(column.metric, wanted)
    return found or (sources.numbers("gain", wanted) if column.metric == "success" else "")
