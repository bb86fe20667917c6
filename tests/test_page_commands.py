"""Commands on the pages are carried out, each once and as small as it can be: training only up to `--dry-run`.

Tutorial and how-tos are carried out as they stand, by `test_pages.py` and `test_scaffold.py`. Not here: `data`, which
needs a network or official data, `new`, of which the how-tos show what it writes, and `view`, which does not end.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from invoked import invoke
from test_docs import ROOT, blocks
from test_page_values import PLACEHOLDER, READ, commands, meant, write_files
from test_pages import shown
from test_screen import Terminal

from spa_bench.report import pictures
from spa_bench.report.contents import gather
from spa_bench.report.show import show_contents

DOCS = ROOT / "docs"
SIZES = {
    "alfworld": ("train=24", "valid=6"),
    "webshop": ("products=40", "valid=10"),
    "blocks": ("train=30", "valid=6"),
}
"""Options of a world that make it small; that of the example package is named by its file."""
SMALLER = {
    "run": "--dry-run",
    "compare": "--dry-run",
    "eval": "--set eval.tasks=1",
    "audit": "--config small.toml --groups 2 --samples 2 --points 0 --probes 0 --fits 1",
    "bench": "--seconds 0.01",
    "bench train": "--config small.toml --set ppo.iterations=1 --set ppo.env_steps=16",
    **dict.fromkeys(("check", "doctor", "list", "play", "report", "settings", "summarise"), ""),
}
"""Command -> words behind it that make it small; of options that are given twice the last one counts."""
WANTED = {
    **dict.fromkeys(("run", "compare"), ("--env", "--reward")),
    **dict.fromkeys(("eval", "audit", "play", "bench"), ("--env",)),
}
"""Command -> options without which it is only meant."""
ABSENT = r"error: (cannot load model '(Qwen|MODEL)|no model smollm2 in|no games in)"
"""What `--dry-run` says last of a model or data that are not on this machine."""
BUDGETS = "--budget"
"""An option of `report` for runs that were evaluated at budgets: `report/test_budgets.py` has such."""


def kind(words: Sequence[str]) -> str:
    """What tells sizes apart: the command, and what is measured."""
    return "bench train" if list(words[:2]) == ["bench", "train"] else words[0]


def complete(words: Sequence[str]) -> bool:
    """It can be carried out as it stands, but for size, and without a model or runs that are elsewhere."""
    if kind(words) not in SMALLER or not set(WANTED.get(kind(words), ())) <= set(words) or BUDGETS in words:
        return False
    if words[0] == "check" and len(words) == 1:
        return False
    elsewhere = {"--model", "--config", "--from"} & set(words)
    return not elsewhere or words[0] in ("run", "compare")


def smaller(words: Sequence[str]) -> list[str]:
    """The same at small size."""
    found = [*words, *SMALLER[kind(words)].split()]
    if words[0] == "audit" and "--reward" not in words:
        found += ["--reward", "uniform"]
    world = next((name for name in SIZES if f":{name.title()}" in " ".join(words) or name in words), "alfworld")
    if words[0] in ("bench", "check", "eval", "play") and "--env" in words and kind(words) != "bench train":
        found += [word for option in SIZES[world] for word in ("--set", f"world.options.{option}")]
    return found


WALKED = [meant(call) for page in ("tutorial", "rewards", "worlds", "agents") for call in shown(DOCS / f"{page}.md")]
CALLS = {
    shlex.join(words): words
    for page in READ
    for call in commands(page)
    if not any(PLACEHOLDER.fullmatch(part) for word in call for part in word.split(","))
    for words in [meant(call)]
}
CARRIED_OUT = {said: words for said, words in CALLS.items() if complete(words) and words not in WALKED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the files that pages speak of, and results of runs."""
    made = tmp_path_factory.mktemp("reader")
    write_files(made)
    shutil.copytree(ROOT / "tests/recorded/results/runs/alfworld", made / "results/runs/alfworld")
    (made / "1").mkdir()
    (made / "1/results").symlink_to(made / "results")  # a shell's variable is 1 here
    assert invoke("summarise", str(made / "results"), "--to", str(made / "summaries")).exit_code == 0
    return made


@pytest.mark.parametrize("said", CARRIED_OUT)
def test_a_command_of_a_page_is_carried_out(said: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(pictures, "draw", lambda *_: [])  # the tutorial's are drawn
    done = invoke(*smaller(CARRIED_OUT[said]), input="")
    told = done.stderr.strip().splitlines()[-1:]
    missing = SMALLER[kind(CARRIED_OUT[said])] == "--dry-run" and re.match(ABSENT, *told) if told else None
    assert done.exit_code == (2 if missing else 0), done.stderr
    assert done.stdout.strip()


def test_the_first_screen_is_the_one_that_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (screen,) = blocks(DOCS / "report.md", "text")
    show_contents(gather([ROOT / "tests/recorded/results/runs/alfworld"]), out := Terminal())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert [line.rstrip() for line in plain.splitlines()] == screen.splitlines()


def test_commands_of_every_kind_are_among_them() -> None:
    def kinds() -> Iterator[str]:
        yield from map(kind, CARRIED_OUT.values())

    assert set(kinds()) == SMALLER.keys()
