"""Lists and references in columns of words: drawn for a terminal, Markdown elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from spa_bench.report.grid import as_text
from spa_bench.report.screen import show_rows


def print_rows(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """Print the rows under a title; every cell whole, as plain text that steers nothing."""
    if stream.isatty():
        show_rows(header, rows, stream, title)
        print(file=stream)
    else:
        print(f"## {as_text(title)}\n\n{table(header, rows)}\n", file=stream)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows in Markdown, all columns at the left."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(as_text(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
