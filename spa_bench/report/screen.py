"""Tables drawn for a terminal: every cell whole, whatever the width of the screen.

Columns are narrowed by folding headers and words; those that do not fit beside each other then stand below, each time
behind the first column. What is no terminal gets Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Boxes
from rich.text import Text

from spa_bench.report.grid import Grid, markdown
from spa_bench.terminal import printable_line

WORD = 24
"""Columns of a screen that a word, or a cell that begins with a number, has at least before it is folded."""
NUMBER = re.compile(r"[-+<]?\d\S*( .*)?|-?")
"""A cell that stands at the right of its column."""
HEAD_LINES = 4
"""Lines that a header takes at most, if `WORD` columns are enough for that."""


def show_rows(header: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO, title: str = "") -> None:
    """Print a list with a header: drawn for a terminal, Markdown otherwise.

    Cells and headers are plain text; nothing in them is read as markup or steers the terminal.
    """
    grid = Grid("rows", title, header, rows)
    if stream.isatty():
        draw(grid, Console(file=stream))
    else:
        print(markdown(grid), file=stream)


def draw(grid: Grid, console: Console) -> None:
    """Print a grid at the width of the console; a list of words and numbers alike."""
    header = [printable_line(name) for name in grid.header]
    cells = [[printable_line(cell) for cell in row] for row in grid.rows]
    if grid.title:
        say(grid.title, console, style="bold")
    columns = [[name, *(row[place] for row in cells)] for place, name in enumerate(header)]
    for number, (block, widths) in enumerate(_blocks(columns, console.width)):
        if number:
            console.print()
        console.print(_boxes([columns[place] for place in block], widths))


def say(text: str, console: Console, style: str = "") -> None:
    """Print a line as it is, folded at the width of the console."""
    console.print(Text(printable_line(text), style=style, overflow="fold"))


def _boxes(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> Boxes:
    box = Boxes(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)  # the box has a space between columns
    for place, ((name, *cells), width) in enumerate(zip(columns, widths, strict=True)):
        right = place > 0 and all(NUMBER.fullmatch(cell) for cell in cells)
        folded = Text("\n".join(_lines(name, width)))
        box.add_column(folded, justify="right" if right else "left", overflow="fold", width=width)
    for row in list(zip(*columns, strict=True))[1:]:
        box.add_row(*map(Text, row))
    return box


def _blocks(columns: Sequence[Sequence[str]], room: int) -> Iterator[tuple[list[int], list[int]]]:
    """Places of the columns that stand beside each other, and their widths; the first column begins each block."""
    least = [_least(column) for column in columns]
    whole = [max(map(cell_len, column)) for column in columns]
    least[0] = min(max(least[0], min(whole[0], WORD)), max(1, room // 2))
    block = [0]
    for place in range(1, len(columns)):
        if len(block) > 1 and sum(least[one] + 1 for one in block) + least[place] > room:
            yield block, _fitted([whole[one] for one in block], [least[one] for one in block], room)
            block = [0]
        block.append(place)
    yield block, _fitted([whole[one] for one in block], [least[one] for one in block], room)


def _fitted(whole: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths between `least` and `whole` that fit: the widest column is narrowed first."""
    widths, room = [max(1, width) for width in whole], room - len(whole) + 1
    while sum(widths) > room:
        wide = [place for place, width in enumerate(widths) if width > least[place]] or [
            place for place, width in enumerate(widths) if width > 1
        ]
        if not wide:
            break
        widths[max(wide, key=lambda place: widths[place])] -= 1
    return widths


def _least(column: Sequence[str]) -> int:
    """The width that keeps each number whole, each word that is not too long, and the header low."""
    name, *cells = column
    parts = [part.rstrip() for part in _parts(name)]
    for cell in cells:
        parts += cell.split() if cell[:1].isalpha() else cell.split("; ")
    least = min(WORD, max(map(cell_len, ["x", *parts])))
    return next((width for width in range(least, WORD) if len(_lines(name, width)) <= HEAD_LINES), least)


def _parts(header: str) -> list[str]:
    """Where a header may be folded: after spaces, but not inside `95 %`, and after the signs inside names."""
    ends = [0, *(found.end() for found in re.finditer(r"[_/]+| +(?!%)|(?<=\D) +", header)), len(header)]
    return [header[start:end] for start, end in pairwise(ends) if start < end]


def _lines(header: str, width: int) -> list[str]:
    """A header folded at its parts."""
    lines = [""]
    for part in _parts(header):
        if lines[-1] and cell_len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]
