"""The published study: its script runs what is missing and nothing else, and its tables come from its summaries."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny import SETTINGS
from typer.testing import CliRunner

from spa_bench.analysis.runs import load
from spa_bench.commands.cli import app
from spa_bench.commands.options import to_toml

FOLDER = Path(__file__).resolve().parents[1] / "results" / "studies" / "2026-12-credit"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("study", FOLDER / "study.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "study", module)
    spec.loader.exec_module(module)
    # In this process, which has loaded torch.
    monkeypatch.setattr(module, "run", lambda *words: CliRunner().invoke(app, [*words]).exit_code)
    return module


def test_all_of_its_runs_can_be_named_and_all_worlds_have_the_first_seed_before_any_has_the_next(study) -> None:
    missing = [
        (part.world, part.config, seed, rewards) for part in study.PARTS for seed, rewards in part.missing(FOLDER)
    ]
    assert all(rewards for *_, rewards in missing)
    seeds = [part.seeds[0] for part in study.PARTS if part.config == str(FOLDER / "study.toml")]
    assert seeds == sorted(seeds) and {part.world for part in study.PARTS} == set(study.AUDITED)


def test_what_has_a_summary_is_not_run_again(study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.toml").write_text(to_toml(SETTINGS))
    work, kept = tmp_path / "work", tmp_path / "kept"
    one, both = (
        study.Part("alfworld", names, (0,), str(tmp_path / "tiny.toml"))
        for names in (("sparse",), ("sparse", "uniform"))
    )
    assert study.main(work, 1, False, [one], kept) == 0
    first = one.summary(kept, "sparse", 0)
    written = first.stat().st_mtime_ns
    assert not list(work.rglob("*.safetensors")) and not list(work.rglob("episodes.jsonl")), "the rest is removed"

    assert study.main(work, 1, False, [one, both], kept) == 0
    found = {load(path.parent).label for path in kept.rglob("outcomes.csv")}
    assert found == {"sparse", "uniform"} and first.stat().st_mtime_ns == written
    monkeypatch.setattr(study, "run", lambda *words: pytest.fail(f"nothing is left to do: {words}"))
    assert study.main(tmp_path / "new", 1, False, [one, both], kept) == 0


def test_a_failed_run_is_counted_and_the_others_are_kept(study, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(to_toml(SETTINGS))
    (tmp_path / "broken.py").write_text(
        "from spa_bench import RewardMethod\n\n\nclass Broken(RewardMethod):\n"
        "    def rewards(self, group):\n        raise ValueError('no')\n"
    )
    work, kept, broken = tmp_path / "work", tmp_path / "kept", f"{tmp_path / 'broken.py'}:Broken"
    part = study.Part("alfworld", ("sparse", broken), (0,), str(tmp_path / "tiny.toml"))
    assert study.main(work, 1, False, [part], kept) == 1
    assert {load(path.parent).label for path in kept.rglob("outcomes.csv")} == {"sparse"}
    assert list(part.missing(kept)) == [(0, [broken])]


@pytest.mark.skipif(not (FOLDER / "report").is_dir(), reason="the study has no tables yet")
def test_its_tables_are_those_of_its_summaries_to_the_byte(study, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    assert study.publish(tmp_path / "copy", tmp_path / "report") == 0
    published = sorted(file for file in (FOLDER / "report").rglob("*") if file.is_file())
    assert published
    for file in published:
        assert (tmp_path / "report" / file.relative_to(FOLDER / "report")).read_bytes() == file.read_bytes(), file


CELL = re.compile(r"^\| (\d+) \| `(.+?)` \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
"""A line of the last table of the study's README: number, table, row, column, and what stands there.

The row `below it` is for a note below the tables of the section that `table` names; the column is - then.
"""
NUMBER = re.compile(r"\d+\.\d+")


def cells() -> dict[int, tuple[str, str, str, str]]:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    return {int(number): (table, row, column, cell) for number, table, row, column, cell in CELL.findall(page)}


def findings() -> list[str]:
    """The items of the list below the heading Results, each in one line."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = page.partition("\n## Results\n")[2].partition("\n## ")[0]
    return [" ".join(item.split()) for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]]


@pytest.mark.parametrize("number", cells())
def test_each_number_of_the_findings_stands_in_its_table(number: int) -> None:
    table, row, column, cell = cells()[number]
    if row == "below it":
        below = (FOLDER / "report" / "tables.md").read_text(encoding="utf-8").split(f"\n## {table}\n")[1]
        assert f"\n- {cell}\n" in below.split("\n## ")[0]
        return
    with (FOLDER / "report" / "tables" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        found = [line for line in csv.DictReader(file) if next(iter(line.values())) == row]
    assert [line[column] for line in found] == [cell]


@pytest.mark.parametrize("finding", findings())
def test_each_finding_rests_on_cells_and_has_no_other_number(finding: str) -> None:
    cited = [int(number) for group in re.findall(r"\[([\d, ]+)\]", finding) for number in group.split(",")]
    assert cited, "rests on nothing"
    known = {number for one in cited for number in NUMBER.findall(cells()[one][3])}
    assert set(NUMBER.findall(finding)) <= known
