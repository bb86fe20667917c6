"""The official games, served from this machine as upstream serves them: fetched, complete, and proven so."""

from __future__ import annotations

import functools
import json
import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spa_bench.commands.cli import app
from spa_bench.core import UserError
from spa_bench.environments.alfworld import data

SHARED = Path(os.environ.get("SPA_BENCH_SHARED") or Path(__file__).parents[2].parent / "shared") / "data" / "alfworld"
ARCHIVES = [SHARED / "alfworld_train_2.1.1.tar.xz", SHARED / "alfworld_valid_2.1.1.tar.xz"]

pytestmark = [
    pytest.mark.official,
    pytest.mark.skipif(
        not SHARED.is_dir(), reason="no shared data: set SPA_BENCH_SHARED to the folder that holds data/"
    ),
]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A release as upstream's: one zip with all games, unsolvable and moved ones and another split among them."""
    root = tmp_path_factory.mktemp("release")
    archive = root / data.ARCHIVE
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as release:  # stored: packing 300 MB would take longer than the test
        for packed in ARCHIVES:
            with tarfile.open(packed) as source:
                for member in source:
                    opened = source.extractfile(member)
                    assert opened is not None
                    release.writestr(member.name, opened.read())
        release.writestr("json_2.1.1/train/", "")
        release.writestr("json_2.1.1/valid_train/x-1/trial_T1/game.tw-pddl", "{}")
        release.writestr("json_2.1.1/train/pick_and_place_with_movable_recep-x-1/trial_T1/game.tw-pddl", "{}")
    handler = functools.partial(Handler, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def games(served: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `spa-bench data get alfworld` makes."""
    root = tmp_path_factory.mktemp("games")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(root / "cache"))
        patch.setenv("no_proxy", "127.0.0.1")
        notes: list[str] = []
        found = data.get(root / "alfworld", (), notes.append, base_url=served)
    assert found.problem is None
    assert notes[0] == f"fetching {served}/{data.ARCHIVE}"
    assert not list((root / "cache/downloads").iterdir())
    return root / "alfworld"


def test_all_official_games_come_out_of_the_release_and_nothing_else(games: Path):
    found = data.verify(games)
    assert {split: counts["present"] for split, counts in found.counts.items() if split != "overlap"} == {
        "train": 3553,
        "valid_seen": 140,
        "valid_unseen": 134,
    }
    assert set(found.counts["overlap"].values()) == {0}
    assert sum(counts["ignored"] for split, counts in found.counts.items() if split != "overlap") == 0
    files = [path for path in games.rglob("*") if path.is_file()]
    assert len(files) == 3827
    assert {path.name for path in files} == {"game.tw-pddl"}
    assert [path.name for path in games.iterdir()] == ["json_2.1.1"]


def test_a_complete_folder_is_not_fetched_again(games: Path):
    assert data.get(games, (), pytest.fail, base_url="http://127.0.0.1:9").problem is None


def test_verify_proves_it_on_the_command_line(games: Path):
    found = CliRunner().invoke(app, ["data", "verify", "alfworld", "--data", str(games), "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["counts"]["train"]["present"] == 3553


def test_the_newer_release_of_the_evaluation_games_is_accepted_too(games: Path, tmp_path: Path):
    newer = tmp_path / "newer"
    shutil.copytree(games / "json_2.1.1/train", newer / "train", copy_function=os.link)
    found = CliRunner().invoke(
        app,
        ["data", "get", "alfworld", "--data", str(tmp_path / "out"), "--from", str(newer),
         "--from", str(SHARED / "alfworld_valid_2.1.3.tar.xz")],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "train: expected 3553, present 3553" in found.stdout


def test_damage_is_found_and_counted(games: Path, tmp_path: Path):
    damaged = tmp_path / "damaged"
    shutil.copytree(games, damaged, copy_function=os.link)
    trials = sorted((damaged / "json_2.1.1/valid_seen").glob("*/*"))
    changed = trials[0] / "game.tw-pddl"
    text = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    shutil.rmtree(trials[1])
    train = next((damaged / "json_2.1.1/train").glob("*/*"))
    shutil.copytree(train, damaged / "json_2.1.1/valid_unseen" / train.parent.name / train.name)
    found = CliRunner().invoke(app, ["data", "verify", "alfworld", "--data", str(damaged)])
    assert found.exit_code == 2
    for words in (
        "1 of 140 valid_seen games missing",
        "1 of 140 valid_seen games changed",
        "1 of 134 valid_unseen games not listed",
        "spa-bench data get alfworld",
    ):
        assert words in found.stderr
    with pytest.raises(UserError, match="is there but"):
        data.get(damaged)
