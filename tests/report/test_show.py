"""What is printed of results: the first screen and all of it on a terminal, Markdown in a pipe."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_audits import SMALL, an_audit
from rich.cells import cell_len
from written_runs import MANY, write_run

from spa_bench.audit.columns import columns
from spa_bench.report.contents import Contents, gather
from spa_bench.report.render import as_markdown
from spa_bench.report.show import show, show_audit, show_contents
from spa_bench.report.table import tables

RECORDED = Path(__file__).resolve().parents[1] / "recorded/results"
METHODS = ("3spo", "gigpo", "grpo", "monte-carlo", "potential", "ppo", "rloo", "rrd", "rudder", "shuffled", "spa")
METHODS += ("spa-published", "spa-released", "sparse", "stepagent-implicit", "stepagent-inverse", "time-only")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns without colours."""
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture(scope="module")
def recorded() -> Contents:
    return gather([RECORDED])


def screen(found: Contents, full: bool = False) -> list[str]:
    out = Terminal()
    show_contents(found, out, full)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def one(lines: Sequence[str], start: str) -> str:
    (found,) = [line for line in lines if line.startswith(start)]
    return found


def test_the_first_screen_of_a_comparison_is_its_verdicts_and_what_they_rest_on(recorded: Contents):
    lines = screen(replace(recorded, tables=recorded.tables[:1], audits=[]))
    assert len(lines) <= 20 and max(map(cell_len, lines)) <= 80
    assert lines[0] == "alfworld, valid_unseen, 20 tasks"
    assert one(lines, "ppo ").split() == ["ppo", "30.0", "-2.5", "-32.2", "to", "+27.2", "n.s.", "42.2"]
    assert "evaluation set 57d93cd79d02; seeds 0, 1; minimum detectable effect 65.9 pp" in lines
    assert "tests over tasks and seeds, adjusted for 8 comparisons; n.s.: not significant" in lines
    assert "from the warm start: all n.s." in lines
    text = " ".join(lines)
    assert "our form, not the paper's: spa, spa (alpha=0)" in text and "no better than a clock" in text
    assert lines[-1] == "all tables and notes: the same command with --full"
    assert "reported" not in text and "IQM" not in text


def test_several_worlds_stand_side_by_side_and_notes_that_do_not_fit_are_counted(recorded: Contents):
    lines = screen(recorded)
    assert len(lines) <= 20 and max(map(cell_len, lines)) <= 80
    assert one(lines, "spa  ").split() == ["spa", "35.0", "+2.5", "n.s.", "25.0", "+0.0", "n.s."]
    assert one(lines, "webshop ").split() == ["webshop", "20", "e95c0e0418be", "0,", "1", "90.0"]
    assert lines[-1] == "(2 more notes) all tables and notes: the same command with --full"


def test_everything_is_drawn_whole_at_80_columns(recorded: Contents):
    lines = screen(recorded, full=True)
    assert max(map(cell_len, lines)) <= 80
    text = "".join("".join(lines).split())
    for section in recorded.sections():
        for grid in section.grids:
            assert all("".join(cell.split()) in text for row in grid.rows for cell in row if " " not in cell)
            assert "".join(grid.title.split()) in text
        assert all("".join(note.split()) in text for note in section.notes)
    start = lines.index("success % by task type")
    kinds, width = recorded.tables[0].kinds, len(one(lines[start : start + 8], "method").split())
    assert len(kinds) == 6 and width == 7
    assert len(one(lines[start : start + 16], "sparse").split()) == 7


def test_a_pipe_gets_all_tables_as_markdown_with_and_without_full(recorded: Contents):
    pipe, full = io.StringIO(), io.StringIO()
    show_contents(recorded, pipe)
    show_contents(recorded, full, full=True)
    assert pipe.getvalue() == full.getvalue() == "\n\n".join(map(as_markdown, recorded.sections())) + "\n"


def test_many_methods_have_a_line_each_and_warnings_have_room(tmp_path: Path):
    for seed, wins in enumerate(("1100", "1010")):
        for name in METHODS:
            write_run(tmp_path, name, seed, wins)
    out = Terminal()
    show(tables([tmp_path]), out)
    lines = out.getvalue().splitlines()
    assert all(sum(line.split()[:1] == [name] for line in lines) == 1 for name in METHODS)
    assert len(lines) <= len(METHODS) + 20


def test_one_seed_says_that_others_may_differ_and_better_stands_by_name(tmp_path: Path):
    for name, wins in (("sparse", "0" * 12), ("spa", "1" * 12)):
        write_run(tmp_path, name, wins=wins, start="0" * 12, tasks=list(MANY)[:12])
    out = Terminal()
    show(tables([tmp_path]), out)
    lines = out.getvalue().splitlines()
    assert one(lines, "spa ").split()[-2:] == ["better", "100.0"]
    assert one(lines, "from the warm start").strip() == "from the warm start: better: spa; the others n.s."
    assert "tests over tasks alone (training seeds were not sampled)" in " ".join(lines)


def test_an_audit_has_its_main_columns_first_and_all_with_full(tmp_path: Path):
    names = ["[red]spa[/red]\x1b[2J", *(f"stepagent-invers{letter}" for letter in "abc")]
    audit, short, full, pipe = an_audit(*names), Terminal(), Terminal(), io.StringIO()
    show_audit(audit, tmp_path, short, json_wanted=False, full=False)
    show_audit(audit, tmp_path, full, json_wanted=False, full=True)
    show_audit(audit, tmp_path, pipe, json_wanted=False, full=False)
    for out in (short, full):
        assert "\x1b" not in out.getvalue() and "[red]spa[/red]\\x1b[2J" in "".join(out.getvalue().split("\n"))
        assert max(map(cell_len, out.getvalue().splitlines())) <= 80
    lines = short.getvalue().splitlines()
    assert len(lines) <= 20 and "beats" in short.getvalue()
    assert " ".join(lines).rstrip().endswith("--full")
    words = full.getvalue().split()
    assert all(word in words for column in columns(audit) for word in column.header.replace("_", "_ ").split())
    assert pipe.getvalue().startswith("**credit of ") and "| method | fits |" in pipe.getvalue()


def test_a_placebo_is_beaten_only_with_the_whole_interval(tmp_path: Path):
    out = Terminal()
    show_audit(SMALL, tmp_path, out, json_wanted=False, full=False)
    told = {line.split()[0]: line.split()[-1] for line in out.getvalue().splitlines() if line.strip()}
    for method in SMALL.methods:
        best = method.best_placebo
        known = best is not None and best.spearman.low is not None
        assert told[method.name] == ("-" if not known else "yes" if best.spearman.low > 0 else "no")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_real_terminal_is_measured():
    code = "from pathlib import Path; from spa_bench.report.show import show; from spa_bench.report.table import tables"
    code += "; import sys; show(tables([Path(sys.argv[1])]), sys.stdout)"
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    size = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    words = [sys.executable, "-c", code, str(RECORDED / "runs/webshop")]
    with os.fdopen(reader, "rb", buffering=0) as terminal:
        subprocess.run(words, stdin=writer, stdout=writer, env=size, check=True)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.read(1 << 16).decode()).splitlines()
        os.close(writer)
    assert lines[0] == "webshop, valid_unseen, 20 tasks" and 50 < max(map(cell_len, lines)) <= 60
