"""Reading what may be anyone's: folders that change while they are looked at, and files that are none of ours."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spa_bench.core import UserError
from spa_bench.runs import reading
from spa_bench.runs.journal import Journal
from spa_bench.runs.reading import holding, opened, parsed, read_json, row_of


def made(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")


def test_folders_are_found_once_and_neither_checkpoints_nor_unfinished_ones_are_entered(tmp_path: Path):
    run, plain = tmp_path / "a/b", tmp_path / "checkpoints/c"
    made(run / "run.json", run / "checkpoints/0001/run.json", run / "kept/run.json", plain / "run.json")
    made(tmp_path / ".tmp-old/run.json")
    assert holding("run.json", [tmp_path, tmp_path / "a", tmp_path / "absent"]) == [run, run / "kept", plain]
    assert holding("run.json", [tmp_path / "a/b/run.json"]) == []


def test_a_link_to_a_folder_is_entered_only_where_it_is_given(tmp_path: Path):
    made(tmp_path / "elsewhere/one/run.json")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/link").symlink_to(tmp_path / "elsewhere")
    assert holding("run.json", [tmp_path / "results"]) == []
    assert holding("run.json", [tmp_path / "results/link"]) == [tmp_path / "elsewhere/one"]


def test_a_folder_that_vanishes_while_it_is_looked_for_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made(tmp_path / "a/run.json", tmp_path / "b/run.json", tmp_path / "c/d/run.json")
    listed = os.scandir

    def vanishing(folder: Any) -> Any:
        entries = listed(folder)
        if folder == tmp_path and (tmp_path / "b").exists():
            shutil.rmtree(tmp_path / "b")
        return entries

    monkeypatch.setattr(os, "scandir", vanishing)
    assert holding("run.json", [tmp_path]) == [tmp_path / "a", tmp_path / "c/d"]


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Path]:
    """A folder whose deepest one no path reaches."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("x" * 99, dir_fd=here)
        below = os.open("x" * 99, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named_if_asked_for(endless: Path):
    made(endless / "a/run.json")
    assert holding("run.json", [endless]) == [endless / "a"]
    good, closed = holding("run.json", [endless], closed=True)
    assert good == endless / "a" and len(str(closed)) > 4000


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "too large": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_file_of_ours_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    file = Path("file")
    IRREGULAR[kind](file)
    said = "bytes, more than" if kind == "too large" else "is no regular file: move it away"
    for read in (lambda: opened(file, 9), lambda: read_json(file), lambda: Journal(file).read()):
        with pytest.raises(UserError, match=said):
            read()


def test_a_link_to_a_regular_file_is_read_and_a_file_that_is_not_there_is_an_os_error(tmp_path: Path):
    (tmp_path / "file").write_text("[1]")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_json(tmp_path / "link") == [1]
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent")


NUMBERS = {
    "9" * 18: True, "-" + "9" * 18: True, str(2**63 - 1): True, str(-(2**63)): True, str(2**63): False,
    "9" * 400: False, "-" + "9" * 5000: False, "1e308": True, "-1E+308": True, "1e309": False, "1E999": False,
    "-1e+9999": False, "0.12345678901234567890123": True, "1e-999": True, "NaN": False, "-Infinity": False,
}  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_not_finite_or_beyond_64_bits_is_none_of_ours(number: str):
    for text in (number, f"[{number}]", f'{{"a": [0.5, {{"b": {number}}}]}}'):
        if NUMBERS[number]:
            assert parsed(text.encode()) == json.loads(text)
        else:
            with pytest.raises(ValueError, match=r"digits|no finite number|no JSON"):
                parsed(text.encode())
    assert (row_of(f'{{"a": {number}, "text": "e999"}}'.encode()) is not None) == NUMBERS[number]


@given(st.recursive(st.none() | st.integers(-9, 9) | st.text() | st.floats(allow_nan=False, allow_infinity=False),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_everything_else_is_what_json_says(value: Any):
    text = json.dumps(value)
    assert parsed(text.encode()) == json.loads(text)


@pytest.mark.parametrize(("depth", "good"), [(63, True), (64, False), (200_000, False)])
def test_what_is_nested_too_deep_is_refused(depth: int, good: bool):
    text = b"[" * depth + b"1" + b"]" * depth
    if good:
        assert parsed(text)
    else:
        with pytest.raises(ValueError, match="it is nested too deep"):
            parsed(text)


def test_a_line_without_end_is_one_unreadable_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "LONGEST_LINE", 10)
    for long in (b"x" * 10, b"x" * 11, b"x" * 99):
        for end in (b"\n", b'\n{"n": 2}\n', b""):
            (tmp_path / "rows").write_bytes(b'{"n": 1}\n' + long + end)
            rows, unreadable = Journal(tmp_path / "rows").read()
            assert ([row["n"] for row in rows], unreadable) == ([1, 2] if b"2" in end else [1], 1)


def test_t03_a_line_with_a_number_without_end_is_counted_and_the_others_are_kept(tmp_path: Path):
    (tmp_path / "rows").write_text(f'{{"n": 1}}\n{{"n": {"9" * 400}}}\n{{"n": 1e999}}\n{{"n": 2}}\n')
    assert Journal(tmp_path / "rows").read() == ([{"n": 1}, {"n": 2}], 2)
