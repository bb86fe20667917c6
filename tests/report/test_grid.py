"""Grids as Markdown, CSV and LaTeX: the same cells, whatever characters are in them."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from strategies import HOSTILE

from spa_bench.report.grid import Grid, as_text, comma_separated, latex, markdown, slug

GRID = Grid(
    "results", "alfworld, n=4", ["method", "success %", "Δ success (pp)"], [["a_b", "50.0", "-1.5"], ["c", "", "+2.0"]]
)
CELLS = st.lists(HOSTILE, min_size=2, max_size=2)


def test_markdown_by_hand():
    assert markdown(GRID).splitlines() == [
        "**alfworld, n=4**",
        "",
        "| method | success % | Δ success (pp) |",
        "| --- | ---: | ---: |",
        "| a_b | 50.0 | -1.5 |",
        "| c |  | +2.0 |",
    ]


def test_csv_by_hand():
    assert comma_separated(GRID) == "method,success %,Δ success (pp)\na_b,50.0,-1.5\nc,,+2.0\n"


def test_latex_by_hand():
    assert latex(GRID, ["50 % of 4"], label="x").splitlines() == [
        r"\begin{table}[t]",
        r"\centering",
        r"\caption{alfworld, n=4}",
        r"\label{tab:x}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & success \% & $\Delta$ success (pp) \\",
        r"\midrule",
        r"a\_b & 50.0 & $-$1.5 \\",
        r"c &  & +2.0 \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\footnotesize 50 \% of 4",
        r"\end{table}",
    ]


def test_ranges_keep_their_hyphen_and_negative_numbers_get_a_minus():
    grid = Grid("x", "t", ["m", "a"], [["spa-released", "1.0-2.0"], ["x", "-1.0 to -2.0 (-3)"]])
    text = latex(grid)
    assert "spa-released & 1.0-2.0" in text
    assert "$-$1.0 to $-$2.0 ($-$3)" in text


LOOK_ALIKES = [
    "＝1+1",
    "＋1+1",
    "－2+3",
    "＠SUM(A1)",
    "﹣1+1",
    "⁻1+1",
    "⁺1+1",
    "−2+3",
    "–2+3",
    "—2",
    "‐2+3",
    "‑2",
    "➖2",
    "\u3000=x",
]


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =x", "\xa0=x", "-HYPERLINK(1)", *LOOK_ALIKES]
)
def test_t07_a_spreadsheet_computes_no_name(cell: str):
    line = comma_separated(Grid("x", "t", ["m", "a"], [[cell, "1"]])).splitlines()[1]
    assert next(csv.reader([line]))[0] == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1.5", "+2.0", "-", "+1.0 to +2.0", "-1,234", "1.0-2.0", "", "<0.001"])
def test_numbers_are_no_formulas(cell: str):
    line = comma_separated(Grid("x", "t", ["m", "a"], [["m", cell]])).splitlines()[1]
    assert next(csv.reader([line])) == ["m", cell]


@given(CELLS, CELLS)
def test_t07_no_cell_leaves_its_place(header: list[str], row: list[str]):
    grid = Grid("x", "title", header, [row])
    lines = markdown(grid).splitlines()
    assert len(lines) == 5
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in (lines[2], lines[4]))
    read = list(csv.reader(io.StringIO(comma_separated(grid), newline="")))
    assert [len(line) for line in read] == [2, 2]
    tex = latex(grid)
    body = tex.splitlines()[7:10]
    assert len(tex.splitlines()) == 13
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in (body[0], body[2]))
    assert not re.findall(r"(?<!\\)[#%~^](?!$)", body[0] + body[2])


LINKS = {
    "<img src=x onerror='hacked = 1'>": "&lt;img src=x onerror='hacked = 1'>",
    "</td><script>hacked = 1</script>": "&lt;/td>&lt;script>hacked = 1&lt;/script>",
    "<!-- a -->": "&lt;!-- a -->",
    "<http://a.b>": r"&lt;http\://a.b>",
    "[a](http://b.c)": r"[a\](http\://b.c)",
    "![a](b)": r"![a\](b)",
    r"[a\](b)": r"[a\\\](b)",
    "[a][b]": r"[a\][b]",
    "[a]: b": r"[a\]: b",
    "see WWW.a.b": r"see WWW\.a.b",
    "&lt;b&gt; &#60;b": "&amp;lt;b&amp;gt; &amp;#60;b",
    r"a\|b": r"a\\\|b",
    "n < 4, p <0.001, R&D, 79.1 [1]; 3 [2], spa [code ab]": "n < 4, p <0.001, R&D, 79.1 [1]; 3 [2], spa [code ab]",
}


@pytest.mark.parametrize("cell", LINKS)
def test_t07_markdown_shows_html_and_links_as_text(cell: str):
    table = markdown(Grid("x", cell, ["m", cell], [[cell, "1"]]))
    assert table.splitlines()[4] == f"| {LINKS[cell]} | 1 |"
    shown = list(tokens(table + f"\n\n- {as_text(cell)}"))
    inner = [token for token in shown if token.type == "inline"]
    assert [token.children[0].content for token in inner if len(token.children) == 1].count(cell) == 3


PIECES = st.sampled_from(
    [*LINKS, "|", "\\", "`", "[", "]", "(", ")", "]:", "<", ">", "&", ":", "//", "*", "!", "\n", " ", "a"]
)


@given(st.lists(PIECES | HOSTILE, max_size=8).map("".join))
def test_t07_no_text_becomes_html_a_link_or_another_cell(text: str):
    found = list(tokens(f"{markdown(Grid('x', text, ['m', text], [[text, '1']]))}\n\n- {as_text(text)}"))
    kinds = {token.type for one in found for token in (one, *(one.children or ()))}
    assert kinds.isdisjoint({"html_inline", "html_block", "link_open", "image"})
    assert [token.type for token in found].count("td_open") == [token.type for token in found].count("th_open") == 2
    assert not re.search(r"(?<!\\)://|www\.", as_text(text), re.IGNORECASE)  # GitHub makes links of these alone


def tokens(text: str) -> Sequence[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


@given(HOSTILE)
def test_a_slug_names_a_file(text: str):
    assert re.fullmatch(r"[A-Za-z0-9_=-]([A-Za-z0-9_.=-]*[A-Za-z0-9_=-])?", slug(text))
    assert len(slug(text)) <= 67 and not slug(text).startswith("-")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles(tmp_path: Path):
    rows = [[r"a\b{c}$&#_%~^<>|\"±–Δ", "1.0-2.0", "-3"], ["\x1b[2J\n", "", "é"]]
    table = latex(Grid("x", "50 % of {it}", ["m", "a", "b"], rows), ["note_1 & more"], "x")
    packages = r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs,graphicx}"
    (tmp_path / "x.tex").write_text(packages + "\n\\begin{document}\n" + table + "\\end{document}\n", encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "x.pdf").stat().st_size > 1000
