"""What files say is shown as text: on a terminal, in every file of a report; and no secret gets there."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from viewer_runs import write_audit
from written_runs import FACTS, write_run

from spa_bench.report.contents import gather
from spa_bench.report.folder import write
from spa_bench.runs import provenance
from spa_bench.terminal import UNSAFE

TITLE = "\x1b]0;owned\x07\x9b2J\u202e\r"
"""Sets a window's title, clears the screen, turns the reading order round, goes back to the start of the line."""


def hostile(value: Any, but: tuple[str, ...] = ()) -> Any:
    """Every text in a value of JSON followed by `TITLE`, but under these keys."""
    if isinstance(value, dict):
        return {key: inner if key in but else hostile(inner, but) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner, but) for inner in value]
    return value + TITLE if isinstance(value, str) else value


def rewrite(file: Path, *but: str) -> None:
    rows = [hostile(json.loads(line), but) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    """Runs and an audit in which every text is hostile, in folders whose names are."""
    results = tmp_path / f"results{TITLE}"
    said = {"extra_information": "more", "our_form": "ours", "protocol": "default", "outcome": "graded"}
    for seed in (0, 1):
        for reward in ("spa", "ppo"):
            write_run(results, reward, seed, facts=FACTS | said, reward_options={"name": "x"})
    write_run(results, "grpo", metrics=[{"kind": "failed", "reason": "no"}])
    torn = write_run(results, "rloo", world={"options": {"a": "b"}})
    (torn / "run.json").write_text(f'{{"{TITLE}": 1')
    audit = write_audit(results, methods=("spa", "sparse"))
    for file in results.rglob("run.json"):
        if file.parent != torn:
            file.write_text(json.dumps(hostile(json.loads(file.read_text()), ("match",))))
            rewrite(file.parent / "episodes.jsonl", "stage", "fault")
            rewrite(file.parent / "metrics.jsonl", "kind", "stage")
    (audit / "audit.json").write_text(json.dumps(hostile(json.loads((audit / "audit.json").read_text()))))
    torn.rename(torn.with_name(f"torn{TITLE}"))
    return results


def on_a_terminal(*words: str) -> tuple[int, str]:
    """Exit code, and everything that a terminal is sent by `spa-bench`."""
    own, theirs = pty.openpty()
    # Wide: what is folded could not be searched.
    environment = os.environ | {"COLUMNS": "4000", "TERM": "xterm", "PYTHONUTF8": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "spa_bench", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    sent = b""
    while True:
        try:
            part = os.read(own, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        sent += part
    os.close(own)
    return child.wait(), sent.decode()


@pytest.mark.parametrize("words", [[], ["--paper", "spa"], ["--html", "page.html"]], ids=str)
def test_t07_no_text_of_a_file_steers_the_terminal_that_a_report_is_printed_on(owned: Path, words: list[str]):
    words = [str(owned / "page.html") if word.endswith(".html") else word for word in words]
    code, text = on_a_terminal("report", str(owned), *words)
    assert code == 0, text[-2000:]
    assert ("owned" in text and "left out" in text) or "--html" in words
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text.replace("\r\n", "\n"))  # colours and bold are rich's: no text has them
    steering = {char for char in plain if char != "\n" and unicodedata.category(char) in UNSAFE}
    assert steering == set(), sorted(map(ascii, steering))


def test_t07_no_file_of_a_report_holds_what_steers_a_terminal(owned: Path, tmp_path: Path):
    written = write(gather([owned]), [owned], tmp_path / "out")
    texts = [name for name in written.files if Path(name).suffix in (".md", ".csv", ".tex", ".json")]
    assert len(texts) > 10
    for name in texts:
        text = (tmp_path / "out" / name).read_text()
        assert {char for char in text if char != "\n" and unicodedata.category(char) in UNSAFE} == set(), name


def test_t23_no_secret_host_or_home_stands_in_a_run_or_in_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    canaries = {name: f"canary-{name}" for name in ("HF_TOKEN", "WANDB_API_KEY", "SPA_BENCH_API_KEY", "OPENAI_API_KEY")}
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home-of-somebody"
    model = str(home / "models/mine")
    for reward in ("spa", "ppo"):
        write_run(tmp_path / "results", reward, facts=FACTS | provenance.facts(), model={"name": model})
    write(gather([tmp_path / "results"]), [tmp_path / "results"], tmp_path / "out")
    written = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    recorded = list((tmp_path / "results").rglob("run.json"))
    assert len(written) > 20 and len(recorded) == 2
    for file in [*written, *recorded]:
        content = file.read_bytes()
        assert b"canary" not in content, file.name
        assert socket.gethostname().encode() not in content or len(socket.gethostname()) < 4, file.name
    for file in written:
        assert str(home).encode() not in file.read_bytes(), file.name
