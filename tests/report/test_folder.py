"""The folder that `report` writes: what is in it, what is removed from it, and what is never touched."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invoked import invoke
from made_audits import RECORDED, priced
from written_runs import FACTS, damaged, write_run

from spa_bench.audit import saved
from spa_bench.core import UserError
from spa_bench.report.contents import gather
from spa_bench.report.folder import LOCK, MANIFEST, PAGE, Written, write
from spa_bench.report.pictures import _credit_map, _telling
from spa_bench.report.render import as_markdown

SMALL_AUDIT = priced(RECORDED)


def two_runs(folder: Path) -> Path:
    results = folder / "results"
    for reward, wins in (("ppo", "1010"), ("spa", "1110")):
        write_run(results, reward, wins=wins, facts=FACTS | {"protocol": "default"})
    return results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return two_runs(tmp_path)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    """Results and what was written of them, to be read only: drawing takes most of the time of these tests."""
    results = two_runs(tmp_path_factory.mktemp("reported"))
    return results, write(gather([results]), [results], results.parent / "out")


@pytest.fixture
def out(reported: tuple[Path, Written], tmp_path: Path) -> Path:
    """A report of `results` that may be changed."""
    return Path(shutil.copytree(reported[1].folder, tmp_path / "out"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_every_table_is_there_in_three_forms_and_every_figure_in_two(reported: tuple[Path, Written]):
    results, written = reported
    found = gather([results])
    there = files(written.folder)
    assert sorted([*written.files, MANIFEST, LOCK]) == sorted(there)
    assert json.loads(there[MANIFEST])["files"] == list(written.files)
    (own,) = found.sections()
    for grid in own.grids:
        name = f"tables/{own.name}-{grid.name}"
        read = list(csv.reader(there[f"{name}.csv"].decode().splitlines()))
        assert read == [list(grid.header), *map(list, grid.rows)]
        assert rf"\label{{tab:{own.name}-{grid.name}}}".encode() in there[f"{name}.tex"]
    assert as_markdown(own) in there["tables.md"].decode()
    assert "79.1" in there["papers.md"].decode()
    figures = {Path(name).stem for name in there if name.startswith("figures/")}
    assert {name.rpartition("-")[2] for name in figures} >= {"intervals", "lengths"}
    assert all({f"figures/{name}.svg", f"figures/{name}.png"} <= set(there) for name in figures)
    assert there[PAGE].startswith(b"<!doctype html>")


def test_the_page_holds_every_table_and_figure_that_is_written(reported: tuple[Path, Written]):
    there = files(reported[1].folder)
    blocks = re.findall(r'<script type="application/json" id="([a-z0-9-]+)">(.*?)</script>', there[PAGE].decode())
    report = json.loads(dict(blocks)["report"])
    sections = [*report["tables"], *report["worlds"], *report["audits"], *report["papers"]]
    grids = [grid for section in sections for grid in section["grids"]]
    for form in ("csv", "tex"):
        held = {f"tables/{grid['file']}.{form}": grid[form].encode() for grid in grids}
        assert held == {name: text for name, text in there.items() if name.endswith(form)}
    drawn = [json.loads(text) for name, text in blocks if name.startswith("figure-")]
    assert {f"figures/{one['name']}.svg": one["svg"].encode() for one in drawn} == {
        name: text for name, text in there.items() if name.endswith(".svg")
    }
    assert {one["section"] for one in drawn} == {"alfworld-valid_unseen"} and len(drawn) >= 4
    assert report["tables"][0]["name"] == "alfworld-valid_unseen"
    for one in drawn:
        numbers = json.loads(there[f"figures/{one['name']}.json"])
        assert (one["title"], one["caption"]) == (numbers["title"], numbers["caption"])


def test_the_page_shows_the_tables_that_were_printed(results: Path, tmp_path: Path):
    write(gather([results], cuts=[5]), [results], tmp_path / "out", cuts=[5])
    page, tables = ((tmp_path / "out" / name).read_text() for name in (PAGE, "tables.md"))
    assert "| 1-5 (n=3) |" in tables and '"1-5 (n=3)"' in page
    assert "| 5-8 (n=1) |" not in tables and '"5-8 (n=1)"' not in page


def test_the_caption_of_each_table_says_what_it_is_about(reported: tuple[Path, Written]):
    written = reported[1]
    captions = {
        name: re.findall(r"\\caption{(.*)}", (written.folder / name).read_text())[0]
        for name in written.files
        if name.startswith("tables/alfworld") and name.endswith(".tex")
    }
    assert len(captions) > 3 and len(set(captions.values())) == len(captions)
    assert all(caption.startswith("alfworld, valid\\_unseen") for caption in captions.values()), captions
    assert captions["tables/alfworld-valid_unseen-costs.tex"] == "alfworld, valid\\_unseen: cost of one run"


def test_under_each_table_stands_what_it_is_about(reported: tuple[Path, Written]):
    written = reported[1]
    for name in written.files:
        if name.endswith(".tex") and "paper" not in name:
            text = (written.folder / name).read_text()
            assert "split valid\\_unseen, n 4, seeds [0], evaluation set a1b2c3" in text, name
            assert "checkpoint final" in text and "protocol default" in text, name


def test_the_same_folders_give_the_same_bytes_wherever_they_lie(reported: tuple[Path, Written], tmp_path: Path):
    results, first = reported
    elsewhere = shutil.copytree(results, tmp_path / "elsewhere")
    second = write(gather([elsewhere]), [elsewhere], tmp_path / "out-elsewhere")
    assert files(first.folder) == files(second.folder)


def test_writing_again_changes_nothing_and_removes_what_is_no_longer_there(results: Path, out: Path):
    before = files(out)
    (out / "tables" / "mine.csv").write_text("mine")
    write(gather([results]), [results], out)
    assert files(out) == before | {"tables/mine.csv": b"mine"}
    shutil.rmtree(next((results / "runs/alfworld").glob("ppo")))
    write(gather([results]), [results], out)
    assert not any("step-intervals" in name for name in files(out))
    assert files(out)["tables/mine.csv"] == b"mine"


@pytest.mark.parametrize("listed", [None, "no JSON", '{"files": 3}', "[]"])
def test_a_folder_of_somebody_else_is_not_touched(results: Path, tmp_path: Path, listed: str | None):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    if listed is not None:
        (out / MANIFEST).write_text(listed)
    before = files(out)
    with pytest.raises(UserError, match="no report has written: choose another folder with --out"):
        write(gather([results]), [results], out)
    assert files(out) == before


def test_a_list_that_was_tampered_with_removes_nothing_outside(results: Path, out: Path, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (out / MANIFEST).write_text(json.dumps({"files": ["../victim", str(victim), "tables/../../victim"]}))
    write(gather([results]), [results], out)
    assert victim.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_a_user_error(results: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another folder with --out"):
        write(gather([results]), [results], tmp_path / "file" / "out")


def test_an_audits_figures_are_drawn_and_the_longest_success_is_shown(tmp_path: Path):
    saved.save(SMALL_AUDIT, tmp_path / "results")
    written = write(gather([tmp_path / "results"]), [tmp_path / "results"], tmp_path / "out")
    stems = {Path(name).stem for name in written.files if name.startswith("figures/")}
    assert len([name for name in stems if "credit" in name]) == 1
    assert len([name for name in stems if name.endswith("-scatter")]) + len(written.notes) == 1
    episodes = list(SMALL_AUDIT.episodes)
    won = [number for number, one in enumerate(episodes) if one.success]
    assert _telling(episodes) == max(won, key=lambda number: len(episodes[number]))
    lost = [replace(one, success=False) for one in episodes]
    chosen = _telling(lost)
    assert chosen is not None
    assert lost[chosen].steps[-1].progress == max(one.steps[-1].progress for one in lost)
    assert _telling([]) is None


def test_an_audit_without_its_episodes_is_reported_and_the_reason_said(tmp_path: Path):
    path = saved.save(SMALL_AUDIT, tmp_path / "results")
    (path / "episodes.jsonl").unlink()
    written = write(gather([tmp_path / "results"]), [tmp_path / "results"], tmp_path / "out")
    assert any("episodes.jsonl" in note for note in written.notes)
    assert any("-credit.csv" in name for name in written.files)


def test_report_needs_no_words_and_says_what_to_open(results: Path, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    done = invoke("report")
    assert done.exit_code == 0, done.stderr
    assert "open results/report/index.html in a browser" in done.stderr
    assert "| spa | - | 1 | 75.0 |" in done.stdout
    assert (results / "report" / "index.html").is_file()
    again = invoke("report")
    assert again.stdout == done.stdout  # what was written is no run


def test_report_names_what_it_cannot_read_and_reports_the_rest(tmp_path: Path):
    folders = damaged(tmp_path)
    done = invoke("report", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.exit_code == 0
    for kind in set(folders) - {"good"}:
        assert "/".join(folders[kind].parts[-3:]) in done.stdout, kind
    assert "| spa | - | 2 |" in done.stdout


def test_report_of_nothing_readable_says_so_and_fails(tmp_path: Path):
    path = write_run(tmp_path)
    (path / "run.json").write_text("{}")
    done = invoke("report", str(tmp_path))
    assert done.exit_code == 2
    assert "left out: " in done.stdout and "is not from spa-bench" in done.stdout
    assert "error: no readable run or audit in" in done.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--intervals", "5,x"], "use whole numbers with commas, such as 5,10,15"),
        (["--intervals", "10,5"], "use increasing ends from 1 on, such as 5,10,15"),
        (["--intervals", ""], "--intervals '': use whole numbers with commas, such as 5,10,15"),
        (["--paper", "ragen"], "choose one of spa, 3spo, stepagent"),
        (["--baseline", "sprse"], "no finished run of the baseline sprse"),
    ],
)
def test_wrong_words_are_one_line(results: Path, words: list[str], message: str):
    done = invoke("report", str(results), *words)
    assert done.exit_code == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (results / "report").exists()


def test_intervals_in_the_wrong_order_are_told_before_a_missing_baseline(tmp_path: Path):
    write_run(tmp_path, "sparse")
    done = invoke("report", str(tmp_path), "--intervals", "10,5")
    assert done.exit_code == 2 and "use increasing ends from 1 on, such as 5,10,15" in done.stderr


def test_report_prints_a_papers_tables(results: Path):
    done = invoke("report", str(results), "--paper", "spa")
    assert done.exit_code == 0
    assert re.search(r"^\| SPA \|  \| 79\.1 \[\d\] \|", done.stdout, re.MULTILINE)
    assert re.search(r"^\| SPA, our form \| 75\.0 \|  \|", done.stdout, re.MULTILINE)
    assert "relative improvement over ppo" in done.stdout


def test_report_as_json_has_every_digit_and_writes_nothing(results: Path):
    done = invoke("report", str(results), "--json", "--intervals", "4")
    found = json.loads(done.stdout)
    assert [row["success"]["mean"] for row in found["tables"][0]["rows"]] == [0.25, 0.5, 0.75]
    assert [row["percent"] for row in found["step_intervals"][0]["rows"]] == [pytest.approx(100.0), 0.0]
    assert not (results / "report").exists()


def test_the_credit_of_each_step_says_which_methods_are_not_their_papers():
    one = RECORDED[0]
    prices = {"spa": [np.ones(len(one))]}
    ours = replace(SMALL_AUDIT, notes=("spa: our form: the bonus is shared",))
    captions = [_credit_map(audit, 0, one, prices, "").caption for audit in (ours, SMALL_AUDIT)]
    assert ["Our form, not the paper's formula: spa (the table says where)." in text for text in captions] == [
        True,
        False,
    ]
