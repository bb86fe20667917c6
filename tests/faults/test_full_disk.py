"""A full disk ends a command in one line, takes nothing that was there, and once there is room the same command ends
well: T10.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import forked
import pytest
from kills import Case, Life, calm
from outcome import Outcome, unfinished
from small_disk import disk, fill

from spa_bench.runs.journal import Journal


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path / "disk", 16 << 20) as folder:
        yield folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Outcome]:
    """A run that had all the room it needs."""
    case = cases.case("alfworld", ("spa",), 1, tmp_path_factory.mktemp("room"))
    return case, calm(case)[0]


def size(folder: Path) -> int:
    """Bytes that its files take there: whole pages."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("where", ["results", "cache"])
def test_t10_a_run_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(
    done: Any, small: Path, where: str, share: float, tmp_path: Path
) -> None:
    case, wanted = done
    life = Life(case, tmp_path / "life")
    (small / where).mkdir(parents=True)
    life.place.mkdir()
    (life.place / where).symlink_to(small / where, target_is_directory=True)
    if where == "results":
        shutil.copytree(case.life("calm").place / "cache", life.place / "cache")
    filler = fill(small, int(share * size(case.life("calm").place / where)))
    ended = life.start().wait()
    assert ended.refused(), f"exit code {ended.code}: {ended.err}"
    for journal in life.results.rglob("*.jsonl"):
        assert Journal(journal).read()[1] <= 1, journal  # a row that found no room is cut off by the next
    filler.unlink()
    assert life.end()[0] == wanted


def test_t10_a_report_on_a_full_disk_ends_in_one_line_and_is_written_when_there_is_room(
    done: Any, small: Path, tmp_path: Path
) -> None:
    case, _ = done
    words = ["report", case.life("calm").results, "--out", small / "report"]
    filler = fill(small, 100_000)
    ended = forked.start(words, tmp_path / "said").wait()
    assert ended.refused(), f"exit code {ended.code}: {ended.err}"
    filler.unlink()
    ended = forked.start(words, tmp_path / "said").wait()
    assert ended.code == 0, ended.err
    assert (small / "report" / "index.html").exists() and not unfinished(small / "report")
