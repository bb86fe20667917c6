"""Printing results: on a terminal the first screen, or everything drawn; Markdown elsewhere; JSON when asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from spa_bench.audit.show import to_json
from spa_bench.audit.summary import Audit
from spa_bench.report.brief import Brief, brief
from spa_bench.report.contents import Contents
from spa_bench.report.overview import overview
from spa_bench.report.render import Section, as_markdown, counted, section
from spa_bench.report.screen import draw, say
from spa_bench.report.table import Table, as_json
from spa_bench.terminal import argument

LINES = 20
"""Of the first screen, so that it stands in a terminal of 24 lines; more only where there are more rows."""
NOTES = 2
"""Lines of notes for which there always is room."""
MORE = "all tables and notes: the same command with --full"


def show(found: Sequence[Table], stream: TextIO, json_wanted: bool = False, full: bool = False) -> None:
    """Print tables: JSON when asked for; on a terminal the first screen, or with `full` everything; else Markdown."""
    if json_wanted:
        print(json.dumps({"tables": [as_json(table) for table in found]}, indent=1), file=stream)
    elif full or not stream.isatty():
        together = overview(found)
        show_sections([*([together] if together else []), *map(section, found)], stream)
    else:
        _first_screen(brief(found), stream, MORE)


def show_contents(found: Contents, stream: TextIO, full: bool = False, more: str = MORE) -> None:
    """Print tables and audits: on a terminal their first screen, or with `full` all of them; else Markdown.

    `more` says on the first screen where the rest is.
    """
    if full or not stream.isatty():
        show_sections(found.sections(), stream)
        return
    left_out = [f"left out: {one.name}: {one.reason}" for one in found.problems]
    _first_screen(brief(found.tables, [audit for _, audit in found.audits], left_out), stream, more)


def show_audit(audit: Audit, folder: Path, stream: TextIO, json_wanted: bool, full: bool) -> None:
    """Print an audit that lies in `folder`: JSON when asked for; else as `show_contents`."""
    if json_wanted:
        print(json.dumps(to_json(audit), indent=1, sort_keys=True, allow_nan=False), file=stream)
        return
    more = f"all columns and notes: spa-bench report {argument(folder)} --full"
    show_contents(Contents([], [], [], [(folder, audit)], []), stream, full, more)


def show_sections(found: Sequence[Section], stream: TextIO) -> None:
    """Print sections: drawn on a terminal, Markdown otherwise."""
    if not stream.isatty():
        print("\n\n".join(as_markdown(one) for one in found), file=stream)
        return
    console = Console(file=stream)
    for one in found:
        for grid in one.grids:
            draw(grid, console)
            console.print()
        for note in one.notes:
            say(f"- {note}", console)
        console.print()


def _first_screen(found: Brief, stream: TextIO, more: str) -> None:
    """The grids and facts, then notes while there is room for them and for the last line."""
    console = Console(file=stream)
    with console.capture() as drawn:
        for number, grid in enumerate(found.grids):
            if number:
                console.print()
            draw(grid, console)
        for fact in found.facts:
            say(fact, console)
    print(drawn.get(), end="", file=stream)
    room, notes = max(NOTES, LINES - 1 - drawn.get().count("\n")), list(found.notes)
    while notes and (room := room - _height(notes[0], console)) >= 0:
        say(notes.pop(0), console)
    say(f"({counted(len(notes), 'more note')}) {more}" if notes else more, console)


def _height(text: str, console: Console) -> int:
    return len(Text(text, overflow="fold").wrap(console, console.width))
