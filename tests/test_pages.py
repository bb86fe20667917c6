"""Pages are true: settings files are ones, generated pages are current, and the tutorial ends in its tables.

`python tests/test_pages.py` writes `docs/cli.md` anew. The site itself is built by `tox -e docs`, which fails for a
link or a name that leads nowhere.
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import test_docs
import typer
from test_docs import ROOT, blocks

from spa_bench.commands.cli import app
from spa_bench.config import build

PAGES = [*test_docs.PAGES, ROOT / "CONTRIBUTING.md"]
CLI = ROOT / "docs" / "cli.md"


def calls(lines: Sequence[str]) -> Iterator[list[str]]:
    """The words of each call of `spa-bench`, without placeholders and with 1 for a shell's variables."""
    for part in (part.strip() for line in lines for part in re.split(r"&&|\|\|", line.removeprefix("$ "))):
        if part.startswith("spa-bench "):
            yield [
                word
                for word in shlex.split(re.sub(r"\$\w+", "1", part), comments=True)[1:]
                if word not in ("...", "\\")
            ]


def shown(page: Path) -> list[list[str]]:
    """Those in blocks of a page, fenced or indented."""
    lines = [line for block in blocks(page, "bash", "console") for line in block.replace("\\\n", " ").splitlines()]
    return list(calls(lines + re.findall(r"^    (spa-bench .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=lambda page: page.name)
def test_every_settings_file_of_a_page_is_one(page: Path) -> None:
    for block in blocks(page, "toml"):
        values = tomllib.loads(block)
        build({"env": "alfworld", "reward": "sparse"} | {key: part for key, part in values.items() if key != "worlds"})


def test_the_tutorial_ends_in_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from invoked import invoke

    page = ROOT / "docs" / "tutorial.md"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(*blocks(page, "toml"), encoding="utf-8")
    said = {}
    for words in shown(page):
        done = invoke(*words)
        assert done.exit_code == 0, f"{words}: {done.output}"
        said[words[0]] = done.stdout
    assert "| sparse |" in said["compare"] and "minimum detectable effect" in said["compare"]
    assert "reported" in said["report"] or (tmp_path / "paper" / "tables").is_dir()
    assert (tmp_path / "paper" / "index.html").is_file()


def test_every_variable_that_is_read_is_listed_and_no_other() -> None:
    folders = ("spa_bench", "agents", "environments", "rewards", "tests")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")] + [
        ROOT / "tox.ini",
        ROOT / ".ci/run",
    ]
    read = {name for file in files for name in re.findall(r"SPA_BENCH_[A-Z0-9_]*[A-Z0-9]", file.read_text("utf-8"))}
    listed = set(re.findall(r"`(SPA_BENCH_[A-Z0-9_]+)`", (ROOT / "docs" / "variables.md").read_text("utf-8")))
    assert listed == read


def reference() -> str:
    """The page of all commands."""
    lines = ["# Commands", "", "Written by `python tests/test_pages.py`: change the command, not this page.", ""]
    return "\n".join([*lines, *_command(typer.main.get_command(app), "spa-bench")])


def _command(command: Any, name: str) -> Iterator[str]:
    yield from (f"## {name}", "", " ".join((command.help or "").split()), "")
    for one in command.params:
        if one.name not in ("help", "install_completion", "show_completion"):
            yield f"- {_option(one)}"
    yield ""
    for each, below in getattr(command, "commands", {}).items():
        yield from _command(below, f"{name} {each}")


def _option(one: Any) -> str:
    """Its names, what it is for, and its default."""
    names = ", ".join([*one.opts, *one.secondary_opts]) if one.opts[0].startswith("-") else one.name.upper()
    default = one.default if isinstance(one.default, str | int | Path) and not isinstance(one.default, bool) else ""
    told = f" Default: `{default}`." if default != "" else ""
    return f"`{names}`: {' '.join((one.help or '').split())}{told}"


def test_the_page_of_commands_is_current() -> None:
    assert CLI.read_text(encoding="utf-8") == reference(), "python tests/test_pages.py writes it anew"


if __name__ == "__main__":
    CLI.write_text(reference(), encoding="utf-8")
    sys.exit()
