"""Summaries of runs stand for them in every table and figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from written_runs import played, write_run

from spa_bench import manifest
from spa_bench.analysis.played import OUTCOMES
from spa_bench.analysis.runs import load
from spa_bench.analysis.summary import METRICS, summarise
from spa_bench.audit import saved
from spa_bench.commands.cli import app
from spa_bench.core import UserError
from spa_bench.report.contents import gather
from spa_bench.runs.folder import RunFolder

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "results"


def test_tables_from_summaries_are_those_from_the_runs_to_the_byte(tmp_path: Path) -> None:
    written = summarise([RECORDED], tmp_path / "summaries")
    (audit,) = saved.summarise([RECORDED], tmp_path / "summaries")
    assert len(written) == 12 and [file.name for file in audit.iterdir()] == [saved.AUDIT]
    assert saved.summarise([RECORDED], tmp_path / "summaries") == []
    from_runs, from_summaries = (
        json.dumps(gather([place]).as_json()).replace(str(place), "") for place in (RECORDED, tmp_path / "summaries")
    )
    assert from_runs == from_summaries
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in written]
    assert max(sizes) < 30_000, "20 tasks; the runs have 200 kB each even without observations and replies"


def test_a_summary_of_an_audit_is_reported_without_a_complaint_about_what_it_never_has(tmp_path: Path) -> None:
    saved.summarise([RECORDED], tmp_path / "summaries")
    done = CliRunner().invoke(app, ["report", str(tmp_path / "summaries"), "--out", str(tmp_path / "report")])
    assert done.exit_code == 0 and "not drawn" not in done.stderr
    assert not list((tmp_path / "report" / "figures").glob("*-credit.svg"))


def test_a_summary_reads_as_its_run_and_has_the_hash_of_the_weights(tmp_path: Path) -> None:
    path = write_run(tmp_path / "results", wins="10")  # two of the tasks were not played after training
    with RunFolder(path) as folder:
        folder.episodes.append(
            {**episode("k3", False, [None, "format", "world"]), "stage": "eval", "iteration": 0, "index": 7}
        )
        folder.episodes.append({**episode("k4", False, [], "lost"), "stage": "eval", "iteration": 0, "index": 8})
    weights = path / "checkpoints" / "0002" / "policy"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"weights")
    (place,) = summarise([tmp_path / "results"], tmp_path / "kept")
    assert place == tmp_path / "kept" / "runs" / path.relative_to(tmp_path / "results" / "runs")
    run, summary = load(path), load(place)
    assert summary.panels == run.panels and len(run.panels["eval"]) == 4
    assert (run.panels["eval"][2].turns, run.panels["eval"][2].malformed, run.panels["eval"][3].error) == (3, 1, True)
    assert repr(summary.costs) == repr(run.costs) and (summary.facts, summary.finished) == (run.facts, True)
    last = json.loads((place / METRICS).read_text().splitlines()[-1])
    assert last["weights"] == manifest.content_hash([weights / "model.safetensors"])
    assert summarise([tmp_path / "results", tmp_path / "kept"], tmp_path / "kept") == [], "it is there"


def episode(key: str, success: bool, faults: list[str | None], error: str | None = None) -> dict[str, object]:
    from spa_bench.runs.episodes import to_row

    return to_row(played(key, success, faults, error))


def test_unfinished_runs_have_none(tmp_path: Path) -> None:
    write_run(tmp_path / "results", metrics=[{"kind": "failed", "reason": "out of memory"}])
    assert summarise([tmp_path / "results"], tmp_path / "kept") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("k1,heat,3,1,1.0", "k1,heat,3,0,1.0"), ("k1,heat", "k1,\x00heat"), ("k1,heat,3,", "k1,heat,-3,")],
)
def test_what_was_edited_or_damaged_is_told(tmp_path: Path, old: str, new: str) -> None:
    write_run(tmp_path / "results")
    (place,) = summarise([tmp_path / "results"], tmp_path / "kept")
    text = (place / OUTCOMES).read_text()
    assert text.count(old) == 1
    (place / OUTCOMES).write_text(text.replace(old, new))
    with pytest.raises(UserError, match=r"is no whole summary, .*outcomes\.csv.*: copy it again"):
        load(place)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("k1,heat,3,1,1.0", "k1,heat,3,2,1.0"),
        ("k1,heat,3,1,1.0", "k1,heat,3,1,nan"),
        ("k1,heat,3", "k1,heat,-3"),
        ("k1,heat,3,1,1.0,1", "k1,heat,3,1,1.0,0"),
        ("k1,heat,3,1,1.0", "k1,heat,3,1,1e300"),
        ("eval outcome", "outcome"),
    ],
)
def test_numbers_that_no_run_has_are_refused_even_with_a_fitting_list(tmp_path: Path, old: str, new: str) -> None:
    write_run(tmp_path / "results")
    (place,) = summarise([tmp_path / "results"], tmp_path / "kept")
    text = (place / OUTCOMES).read_text()
    assert old in text, text
    (place / OUTCOMES).write_text(text.replace(old, new, 1))
    manifest.write(place)
    with pytest.raises(UserError, match=r"outcomes\.csv is damaged or was edited"):
        load(place)


def test_a_summary_of_another_run_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "results")
    (place,) = summarise([tmp_path / "results"], tmp_path / "kept")
    other = write_run(tmp_path / "elsewhere", facts={"panel": "a1b2c3", "text": "2.1.2"})
    with pytest.raises(UserError, match="is the summary of another run of that name: move it away"):
        summarise([other], tmp_path / "kept")
    assert load(place).facts["text"] == "2.1.1"


def test_the_command_says_how_many_it_wrote(tmp_path: Path) -> None:
    write_run(tmp_path / "results")
    done = CliRunner().invoke(app, ["summarise", str(tmp_path / "results"), "--to", str(tmp_path / "kept")])
    assert (done.exit_code, done.output) == (0, f"1 new summary in {tmp_path / 'kept'}\n")
