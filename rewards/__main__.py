"""Prints the method table of README.md from the cards: `python -m spa_bench.rewards`.

A card is the docstring of a method's file: a title, then `Heading: text` paragraphs, always the same headings.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

HEADINGS = ("Paper", "Equation", "Defaults", "Deviations", "Conserves return", "Needs")


def card(file: Path) -> dict[str, str]:
    """Title and headings of a method's file, without importing it; ValueError where a heading is missing."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    title, *rest = re.split(r"\n+(?=[A-Z][a-z ]+: )", text)
    fields = dict(part.split(": ", 1) for part in rest)
    if tuple(fields) != HEADINGS:
        raise ValueError(f"{file.name}: the card has {', '.join(fields)}; it needs {', '.join(HEADINGS)}")
    return {key: " ".join(value.split()) for key, value in {"Title": title, **fields}.items()}


def table() -> str:
    """One row per method, in Markdown."""
    titles = ("reward assigned to a step", "conserves return", "needs", "source", "our form")
    rows = [f"| `--reward` | {' | '.join(titles)} |", "|---|---|---|---|---|---|"]
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        fields = card(file)
        cells = [fields[key].rstrip(".") for key in ("Title", "Conserves return", "Needs", "Paper")]
        first = fields["Deviations"].split(". ")[0].rstrip(".")
        cells.append("as published" if first.startswith("none") else first)
        rows.append(" | ".join([f"| `{file.stem.replace('_', '-')}`", *(c.replace("|", "\\|") for c in cells)]) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
