"""What leaves this machine, and what of it is written down: no connection, no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from apart import Ended, command, content, settings
from watching import CONNECTS, Watch

SECRETS = {
    name: f"canary-{name.lower()}"
    for name in (
        "HF_TOKEN",
        "WANDB_API_KEY",
        "OPENAI_API_KEY",
        "SPA_BENCH_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "PASSWORD",
    )
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Ended]]:
    """Each kind of command once, with secrets in the environment; the folder of all that was written."""
    folder = tmp_path_factory.mktemp("watched")
    tiny.language_model(layers=1, context=4096).save(folder / "model")
    file, results = settings(folder), folder / "results"
    small = ("--groups", "2", "--samples", "2", "--points", "0", "--probes", "0", "--fits", "1")
    told: list[tuple[object, ...]] = [
        ("compare", "--config", file, "--reward", "sparse,spa", "--seeds", "1", "--results", results),
        ("audit", "--config", file, "--reward", "sparse", "--results", results, *small),
        ("eval", "--config", file, "--model", folder / "model", "--set", "model.context=4096", "--results", results),
        ("report", results),
        ("doctor", "--results", results),
    ]
    environment = SECRETS | {"SPA_BENCH_CACHE": str(folder / "cache")}
    return folder, [command(*words, folder=folder, first=Watch(folder / "seen"), **environment) for words in told]


def test_t22_no_command_reaches_another_machine_though_it_may(watched: tuple[Path, list[Ended]]):
    folder, ended = watched
    assert [one.done().code for one in ended] == [0] * 5
    assert (folder / "seen").read_text() == ""


def test_t22_the_watch_sees_an_attempt(tmp_path: Path):
    code = (
        f"import pathlib, socket, watching\nwatching.Watch(pathlib.Path({str(tmp_path / 'seen')!r}))()\n"
        "socket.create_connection(('127.0.0.1', 9))"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=Path(__file__).parent)
    assert "socket.connect" in (tmp_path / "seen").read_text()


def test_t22_without_the_hub_a_model_from_it_is_one_line_and_not_asked_for(tmp_path: Path):
    code = (
        "import os, sys\nseen = []\n"
        f"sys.addaudithook(lambda event, arguments: event in {CONNECTS} and seen.append(event))\n"
        "from spa_bench.commands.cli import main\n"
        "sys.argv = ['spa-bench', 'eval', '--env', 'alfworld', '--model', 'nobody/nothing']\n"
        "try:\n    main()\nfinally:\n    print(seen)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    Ended(found.returncode, found.stdout, found.stderr).refused("cannot load model 'nobody/nothing'")
    assert found.stdout == "[]\n"


def test_t23_no_secret_is_written_or_said(watched: tuple[Path, list[Ended]]):
    folder, ended = watched
    written = content(folder)
    assert len(written) > 50 and not [name for name, text in written.items() if b"canary" in text]
    assert not [one for one in ended if "canary" in one.out + one.err]
