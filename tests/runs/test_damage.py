"""A run folder in which something has changed is noticed: a byte of a row, of `run.json`, of a checkpoint."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from edited import unchecked

from spa_bench import manifest
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.runs.folder import RunFolder, read_run
from spa_bench.runs.journal import Journal

CONFIG = RunConfig(env="alfworld", reward="sparse")
ROWS = [{"kind": "iteration", "iteration": n, "success": n / 7, "text": "\u2028é,"} for n in range(6)] + [{}]


def changes(content: bytes, count: int) -> Iterator[bytes]:
    """The content with one bit changed, at seeded places."""
    rng = random.Random(0)
    for _ in range(count):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        yield bytes(changed)


def test_t03_no_changed_byte_of_a_journal_is_silent(tmp_path: Path):
    """Each row that is still read says what was written, and what is not read is counted.

    A check whose own name has changed is taken for one more value: the others are as they were.
    """
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.extend(ROWS)
    for changed in changes(journal.path.read_bytes(), 300):
        journal.path.write_bytes(changed)
        rows, unreadable = journal.read()
        written = [{name: row[name] for name in row if name in ROWS[0]} for row in rows]
        assert all(row in ROWS for row in written)
        assert unreadable or written == ROWS


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \n", b""])
def test_t03_a_row_is_read_with_its_check_and_without_whatever_ends_its_line(tmp_path: Path, end: bytes):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.append(ROWS[1])
    line = journal.path.read_bytes().rstrip()
    journal.path.write_bytes(line + end)
    assert journal.read() == ([ROWS[1]], 0)
    plain = unchecked(journal.path)
    assert "crc" not in plain and json.loads(plain) == ROWS[1]
    journal.path.write_text(plain)
    assert journal.read() == ([ROWS[1]], 0)
    journal.append(ROWS[2])
    assert journal.read() == (ROWS[1:3], 0)


def test_no_changed_byte_of_run_json_is_silent(tmp_path: Path):
    """A panel, a split, a seed: what is read is what was written, or it is refused by name."""
    with RunFolder.open(tmp_path, CONFIG, {"panel": "ab12", "train_tasks": 3}):
        pass
    stored, file = read_run(tmp_path), tmp_path / "run.json"
    whole, refused = file.read_text(), 0
    for changed in changes(file.read_bytes(), 300):
        file.write_bytes(changed)
        try:
            assert {name: value for name, value in read_run(tmp_path).items() if name in stored} == stored
        except UserError as error:
            refused += "run.json" in str(error)
    assert refused > 250
    for old, new in (("ab12", "ab13"), ("valid_unseen", "valid_seen")):
        file.write_text(whole.replace(old, new))
        assert file.read_text() != whole
        with pytest.raises(UserError, match=r"run\.json is damaged or was edited"):
            read_run(tmp_path)


def test_run_json_of_an_earlier_version_has_no_check_and_is_read(tmp_path: Path):
    with RunFolder.open(tmp_path, CONFIG, {"panel": "ab12"}):
        pass
    stored = read_run(tmp_path)
    (tmp_path / "run.json").write_text(unchecked(tmp_path / "run.json"))
    assert "sha256" not in json.loads((tmp_path / "run.json").read_text())
    assert read_run(tmp_path) == stored


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """A run with two checkpoints, as a kill before the first is removed leaves them."""
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as opened:
        for number in (1, 2):
            with opened.checkpoint(number) as build:
                (build / "policy").mkdir()
                (build / "policy/weights").write_bytes(bytes(range(256)))
                (build / "metrics.json").write_text(json.dumps({"iteration": number}))
        yield opened


def test_no_changed_byte_of_a_checkpoint_is_silent(folder: RunFolder, capsys: pytest.CaptureFixture[str]):
    last = folder.checkpoints / "0002"
    for name in ("policy/weights", "metrics.json", manifest.NAME):
        whole = (last / name).read_bytes()
        for changed in changes(whole, 40):
            (last / name).write_bytes(changed)
            manifest._remembered.cache_clear()
            latest = folder.latest_checkpoint()
            assert latest is not None and latest[0] == 1
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and f"{last} is damaged" in said and "checkpoint 1 is used" in said
        (last / name).write_bytes(whole)
    manifest._remembered.cache_clear()
    assert folder.latest_checkpoint() == (2, last) and capsys.readouterr().err == ""


def test_t02_with_no_good_checkpoint_one_line_says_which_is_damaged_and_the_way_out(folder: RunFolder):
    (folder.checkpoints / "0002/policy/weights").unlink()
    (folder.checkpoints / "0001/metrics.json").write_text("")
    with pytest.raises(UserError, match=r"0002 is damaged \(policy/weights is missing\), and there is no other: move"):
        folder.latest_checkpoint()


def test_a_checkpoint_of_an_earlier_version_is_used_and_said_to_be_unchecked(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
):
    (folder.checkpoints / "0002" / manifest.NAME).unlink()
    latest = folder.latest_checkpoint()
    assert latest is not None and latest[0] == 2
    assert "0002 cannot be checked, as an earlier version wrote it" in capsys.readouterr().err
