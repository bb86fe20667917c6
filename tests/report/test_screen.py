"""Tables on a terminal: no cell is cut, no line is too long, nothing steers the screen."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from strategies import HOSTILE

from spa_bench.report.grid import Grid
from spa_bench.report.screen import draw, show_rows
from spa_bench.terminal import UNSAFE, printable_line

KINDS = ("pick_and_place_simple", "look_at_obj_in_light", "pick_clean_then_place_in_recep", "pick_two_obj_and_place")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(grid: Grid, width: int, colour: bool = False) -> list[str]:
    out = io.StringIO()
    draw(grid, Console(width=width, force_terminal=colour, file=out, _environ={}))
    return out.getvalue().splitlines()


@settings(max_examples=60)
@given(st.lists(st.lists(HOSTILE, min_size=3, max_size=3), min_size=1, max_size=3), HOSTILE, st.integers(20, 90))
def test_t07_every_character_stands_on_the_screen_and_none_steers_it(rows: list[list[str]], title: str, width: int):
    lines = drawn(Grid("x", title, rows[0], rows[1:]), width)
    assert all(cell_len(line) <= width for line in lines)
    assert not {char for line in lines for char in line if unicodedata.category(char) in UNSAFE}
    shown, wanted = Counter("".join(lines)), Counter(printable_line("".join([title, *map("".join, rows)])))
    assert not {char for char in wanted - shown if not char.isspace()}


@pytest.mark.parametrize("width", [40, 80, 140])
def test_columns_that_do_not_fit_stand_below_and_numbers_are_whole(width: int):
    names = ["sparse", "spa-published (alpha=0, beta=0.5)", "[red]spa[/red] :smile:"]
    rows = [[name, *(f"{10 * n + m}.25" for m in range(len(KINDS) * 2))] for n, name in enumerate(names)]
    lines = drawn(Grid("x", "by type", ["method", *(f"{kind} (n=3)" for kind in KINDS * 2)], rows), width, colour=True)
    text = "\n".join(lines)
    blocks = text.count("method")
    assert blocks == {40: 6, 80: 2, 140: 1}[width]
    assert all(text.count(f" {cell}") == 1 for row in rows for cell in row[1:])
    assert "…" not in text and "\x1b[31m" not in text
    assert text.count("[red]spa[/red]") == blocks and ":smile:" in text


def test_words_are_folded_between_words_and_wide_characters_count_two():
    meaning = "Environment steps of one iteration, the same for every method"
    rows = [["ppo.env_steps", "1000", meaning], ["漢字漢字漢字漢字", "2", "漢字 " * 5]]
    assert [line.rstrip() for line in drawn(Grid("x", "", ["key", "default", "meaning"], rows), 40)] == [
        "key              default meaning",
        "─" * 40,
        "ppo.env_steps       1000 Environment",
        "                         steps of one",
        "                         iteration, the",
        "                         same for every",
        "                         method",
        "漢字漢字漢字漢字       2 漢字 漢字 漢字",
        "                         漢字 漢字",
    ]


def test_a_list_is_drawn_on_a_terminal_and_markdown_in_a_pipe(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "dumb")
    screen, pipe = Terminal(), io.StringIO()
    for stream in (screen, pipe):
        show_rows(["name", "what"], [["spa", "a | b\x1b[2J"]], stream)
    assert pipe.getvalue() == "| name | what |\n| --- | ---: |\n| spa | a \\| b\\\\x1b[2J |\n"
    lines = screen.getvalue().splitlines()
    assert [line.rstrip() for line in lines[::2]] == ["name what", "spa  a | b\\x1b[2J"] and set(lines[1]) == {"─"}
