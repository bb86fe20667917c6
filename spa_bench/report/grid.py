"""Cells as text, and the forms that they are written in: Markdown, CSV, LaTeX. `screen` draws them for a terminal.

All forms show the same cells, so that a paper never says anything else than the terminal did. Own code rather than
pandas': the same cells must give the same bytes whatever version is installed.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from spa_bench.analysis.settings import digest
from spa_bench.terminal import printable_line

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "–": "--", "Δ": r"$\Delta$",
}  # fmt: skip
"""Characters that LaTeX reads as commands, or does not have in every font."""

LIVE = re.compile(r"\\|<(?=[a-z/!?])|&(?=#?\w+;)|\](?=[(\[:])|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What Markdown, as GitHub shows it, makes HTML, a link or a picture of, and the sign that keeps it from that."""

MARKUP = {"<": "&lt;", "&": "&amp;"}
"""Written so, as not every program takes a backslash before them."""

LONGEST = 60
"""Characters of a part of a file name."""
COMPUTED = "=+@−˗➕➖"
"""What a cell begins with that a spreadsheet computes, and what some programs take for it; so do all hyphens."""
NUMBER = re.compile(r"-|[+-]?[\d.,]+( to [+-]?[\d.,]+)?")
"""A cell that begins like a formula and is none; others are kept from being computed by a spreadsheet."""


@dataclass(frozen=True)
class Grid:
    """A table as it is printed. The first column names the row."""

    name: str
    """In file names, made by `slug`."""
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(grid: Grid) -> str:
    """The grid under its title, if it has one."""
    lines = [grid.header, ["---", *["---:"] * (len(grid.header) - 1)], *grid.rows]
    body = ["| " + " | ".join(as_text(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([*([f"**{as_text(grid.title)}**", ""] if grid.title else []), *body])


def as_text(words: str) -> str:
    """A line that Markdown shows as it is: nothing in it becomes HTML, a link or a picture."""
    return LIVE.sub(lambda found: MARKUP.get(found[0], f"\\{found[0]}"), printable_line(words))


def comma_separated(grid: Grid) -> str:
    """The header and the rows as CSV, without title."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in (grid.header, *grid.rows):
        writer.writerow([_harmless(printable_line(cell)) for cell in line])
    return text.getvalue()


def latex(grid: Grid, notes: Sequence[str] = (), label: str = "") -> str:
    r"""A `table` for a document with `\usepackage{booktabs,graphicx}`; notes stand under it in small print."""
    columns = "l" + "r" * (len(grid.header) - 1)
    head, *body = [" & ".join(_escaped(cell) for cell in line) + r" \\" for line in (grid.header, *grid.rows)]
    fitted = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    lines = [
        *(r"\begin{table}[t]", r"\centering", rf"\caption{{{_escaped(grid.title)}}}"),
        *(rf"\label{{tab:{label or grid.name}}}", fitted, rf"\begin{{tabular}}{{{columns}}}"),
        *(r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}}"),
        *(rf"\par\footnotesize {_escaped(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def slug(text: str) -> str:
    r"""The text for a file name and a `\label`: ASCII letters, digits and `-_.=`, not empty, no dot at either end.

    Cut after `LONGEST` characters; a cut one ends in a digest of the whole.
    """
    found = re.sub(r"[^A-Za-z0-9_.=-]+", "-", text).strip("-.") or "x"
    return found if len(found) <= LONGEST else f"{found[:LONGEST]}-{digest(text)}"


def _harmless(cell: str) -> str:
    """A name that a spreadsheet would compute is marked as text."""
    first = unicodedata.normalize("NFKC", cell).lstrip()[:1]  # full-width signs as what they stand for
    computed = first and (first in COMPUTED or unicodedata.category(first) == "Pd")
    return f"'{cell}" if computed and not NUMBER.fullmatch(cell) else cell


def _escaped(cell: str) -> str:
    text = "".join(LATEX.get(char, char) for char in printable_line(cell))
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", text)
