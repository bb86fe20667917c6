"""What a report says of a folder: ablations, kinds, worlds side by side, papers' tables, audits, what was left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_audits import an_audit
from written_runs import FACTS, MANY, damaged, write_run

from spa_bench.analysis.published import PUBLISHED, load
from spa_bench.audit import saved
from spa_bench.core import UserError
from spa_bench.report.contents import Contents, gather
from spa_bench.report.grid import Grid
from spa_bench.report.names import headings
from spa_bench.report.papers import PAPERS, fill
from spa_bench.report.render import Section, as_markdown
from spa_bench.report.table import as_json

NO_SPA = "000000000000"


def grid(contents: Contents, name: str) -> Grid:
    found = [one for section in contents.sections() for one in section.grids if one.name == name]
    assert len(found) == 1, name
    return found[0]


def cell(found: Grid, row: str, column: str) -> str:
    """The cell under the first column of that name."""
    (line,) = [line for line in found.rows if line[0] == row]
    return line[list(found.header).index(column)]


def section(sections: list[Section], title: str) -> Section:
    (found,) = [one for one in sections if one.grids and one.grids[0].title.startswith(title)]
    return found


def spas(results: Path, method: str = "spa", **more: Any) -> None:
    """Twelve tasks: the method solves eight, without its bonus four, without its progress none."""
    for options, wins in (({}, "111111110000"), ({"beta": 0}, "111100000000"), ({"alpha": 0}, NO_SPA)):
        write_run(results, method, wins=wins, tasks=tuple(MANY), start=NO_SPA, reward_options=options, **more)


def test_an_ablation_by_hand(tmp_path: Path):
    spas(tmp_path)
    found = grid(gather([tmp_path]), "ablation-spa")
    assert [line[:3] for line in found.rows] == [
        ["spa", "default", "default"],
        ["spa (alpha=0)", "0", "default"],
        ["spa (beta=0)", "default", "0"],
    ]
    assert list(found.header[:3]) == ["setting", "alpha", "beta"]
    assert [cell(found, name, "success %") for name in ("spa", "spa (alpha=0)", "spa (beta=0)")] == [
        "66.7",
        "0.0",
        "33.3",
    ]
    assert [cell(found, name, "Δ success (pp)") for name in ("spa", "spa (alpha=0)", "spa (beta=0)")] == [
        "",
        "-66.7",
        "-33.3",
    ]
    # Of the 7 comparisons of the table, p can be no less than McNemar's 2 / 2^8 and 2 / 2^4 of one.
    assert 2 / 2**8 < float(cell(found, "spa (alpha=0)", "p (adjusted)")) < 0.05
    assert float(cell(found, "spa (beta=0)", "p (adjusted)")) > 2 / 2**4
    assert cell(found, "spa (alpha=0)", "verdict") == "worse (tasks only; seeds not sampled)"


def test_without_the_method_as_it_comes_settings_stand_side_by_side_only(tmp_path: Path):
    for options in ({"beta": 0.1}, {"beta": 0.2}):
        write_run(tmp_path, "spa", reward_options=options)
    found = grid(gather([tmp_path]), "ablation-spa")
    assert "Δ success (pp)" not in found.header
    assert [line[1] for line in found.rows] == ["0.1", "0.2"]


def test_one_setting_is_no_ablation(tmp_path: Path):
    write_run(tmp_path, "spa")
    write_run(tmp_path, "ppo")
    assert not any("ablation" in one.name for part in gather([tmp_path]).sections() for one in part.grids)


def test_success_by_type_by_hand(tmp_path: Path):
    write_run(tmp_path, wins="110000000000", tasks=tuple(MANY), start=NO_SPA)
    found = grid(gather([tmp_path]), "by-type")
    assert list(found.header) == ["method", "cool (n=6)", "heat (n=6)"]
    assert found.rows[1] == ["sparse", "16.7", "16.7"]  # k01 is cool, k02 is heat
    (table,) = gather([tmp_path]).tables
    assert table.rows[1].kinds == {"cool": pytest.approx(1 / 6), "heat": pytest.approx(1 / 6)}


def test_one_type_has_no_table_of_types(tmp_path: Path):
    write_run(tmp_path)
    assert "by-type" not in [one.name for part in gather([tmp_path]).sections() for one in part.grids]


def grade(path: Path, outcomes: Sequence[float]) -> None:
    """Give the episodes of the final panel other outcomes."""
    rows = [json.loads(line) for line in (path / "episodes.jsonl").read_text().splitlines()]
    for row, outcome in zip([row for row in rows if row["stage"] == "eval"], outcomes, strict=True):
        row["outcome"] = outcome
    (path / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_graded_outcomes_by_hand(tmp_path: Path):
    for reward, outcomes in (("ppo", (0.0, 0.5, 0.5, 1.0)), ("spa", (0.5, 0.5, 0.25, 1.0))):
        grade(write_run(tmp_path, reward, env="webshop"), outcomes)
    contents = gather([tmp_path])
    found = grid(contents, "outcomes")
    assert list(found.header) == ["method", "outcome", "95 % CI", "IQM", "P(improvement over ppo)"]
    assert [cell(found, "ppo", name) for name in ("outcome", "IQM", "P(improvement over ppo)")] == [
        "0.500",
        "0.500",
        "",
    ]
    # spa: the middle half of .25 .5 .5 1 is .5; against ppo it is higher, equal, lower, equal: (1 + .5 + 0 + .5) / 4
    assert [cell(found, "spa", name) for name in ("outcome", "IQM", "P(improvement over ppo)")] == [
        "0.562",
        "0.500",
        "0.500",
    ]
    assert cell(found, "warm start", "IQM") == "-"  # all 0 or 1
    assert any(note.startswith("Graded outcomes: ") for note in contents.sections()[0].notes)


def test_better_counts_every_pair_of_runs(tmp_path: Path):
    for reward, seed, outcomes in (
        ("ppo", 0, (0.5, 0.5, 0.5, 0.5)),
        ("ppo", 1, (0.7, 0.7, 0.7, 0.7)),
        ("spa", 0, (0.6, 0.6, 0.6, 0.8)),
    ):
        grade(write_run(tmp_path, reward, seed=seed, env="webshop"), outcomes)
    # Higher than one of the two runs of ppo on three tasks, than both on the fourth: (3 x 1/2 + 1) / 4.
    assert cell(grid(gather([tmp_path]), "outcomes"), "spa", "P(improvement over ppo)") == "0.625"


def test_successes_have_no_table_of_graded_outcomes(tmp_path: Path):
    write_run(tmp_path)
    (table,) = gather([tmp_path]).tables
    assert table.graded == ()


def test_worlds_side_by_side(tmp_path: Path):
    write_run(tmp_path, "ppo", wins="1000")
    write_run(tmp_path, "spa-published", wins="1110")
    write_run(tmp_path, "spa-published", wins="1111", env="webshop")
    found = grid(gather([tmp_path]), "overview")
    assert [line[0] for line in found.rows] == ["warm start", "ppo", "spa-published"]
    assert cell(found, "spa-published", "alfworld: success %") == "75.0"
    assert cell(found, "ppo", "webshop: success %") == ""
    assert cell(found, "spa-published", "webshop: success %") == "100.0"
    assert "79.1" in cell(found, "spa-published", f"alfworld: {PUBLISHED}")
    assert "64.1" in cell(found, "spa-published", f"webshop: {PUBLISHED}")


def test_splits_of_one_world_stand_side_by_side_and_are_named(tmp_path: Path):
    for split in ("valid_seen", "valid_unseen"):
        write_run(tmp_path, eval={"split": split})
    contents = gather([tmp_path])
    assert headings(contents.tables) == ["alfworld, valid_seen", "alfworld, valid_unseen"]
    assert {one.name for one in contents.sections()} >= {"alfworld-valid_seen", "alfworld-valid_unseen"}


def test_tables_that_differ_in_one_setting_are_named_by_it(tmp_path: Path):
    for rate in (1e-5, 2e-5):
        write_run(tmp_path, ppo={"learning_rate": rate})
    assert headings(gather([tmp_path]).tables) == [f"alfworld, ppo.learning_rate={rate}" for rate in ("1e-5", "2e-5")]


def test_published_numbers_stand_in_their_own_column_and_change_none_of_ours(tmp_path: Path):
    write_run(tmp_path, "spa", wins="0000")
    write_run(tmp_path, "spa-published", wins="1110")
    contents = gather([tmp_path])
    found = grid(contents, "results")
    assert found.header[-1] == PUBLISHED == "reported (different protocol)"
    assert cell(found, "spa-published", PUBLISHED) == "79.1 [1]; 79.1 [2]"
    assert cell(found, "spa", PUBLISHED) == cell(found, "warm start", PUBLISHED) == ""
    own = "| spa-published | - | 1 | 75.0 |  | 0.750 | 100.0 | 0.0 | 1.0 |"
    assert f"{own} 79.1 [1]; 79.1 [2] |" in as_markdown(contents.sections()[0])
    assert "79.1" not in json.dumps(contents.as_json())


def test_step_intervals_against_ppo(tmp_path: Path):
    write_run(tmp_path, "ppo", wins="1010")  # k1 and k2 are short, k3 medium, k4 long
    write_run(tmp_path, "spa", wins="1101")
    found = grid(gather([tmp_path]), "step-intervals")
    assert list(found.header) == ["method", "1-4 (n=2)", "5-8 (n=1)", ">8 (n=1)"]
    assert [text.split(" ")[0] for text in found.rows[0]] == ["spa", "+100.0", "-100.0", "-"]
    own = grid(gather([tmp_path], cuts=[5]), "step-intervals")
    assert list(own.header) == ["method", "1-5 (n=3)", ">5 (n=1)"]
    assert cell(own, "spa", "1-5 (n=3)").startswith("+0.0")
    other = grid(gather([tmp_path], baseline="spa"), "step-intervals")
    assert [line[0] for line in other.rows] == ["ppo"]


def test_step_intervals_have_the_baseline_of_the_differences_and_papers_their_own(tmp_path: Path):
    for reward in ("ppo", "sparse", "spa"):
        write_run(tmp_path, reward, wins="1010")
    found = gather([tmp_path])
    assert [one.baseline for one in found.improvements] == ["sparse"] == [found.tables[0].differences[-1].reference]
    assert "over sparse" in grid(found, "step-intervals").title
    assert any(one.reference == "sparse" for one in found.tables[0].differences)
    assert "over ppo" in found.paper("spa")[-1].grids[0].title
    write_run(tmp_path / "b", "spa")
    write_run(tmp_path / "b", "rrd")
    assert gather([tmp_path / "b"]).improvements[0].baseline == "rrd"


def test_without_another_method_there_are_no_step_intervals_and_asking_for_them_is_an_error(tmp_path: Path):
    write_run(tmp_path, "spa")
    assert gather([tmp_path]).improvements == [None]
    with pytest.raises(UserError, match="no step intervals: no table has a baseline and another method"):
        gather([tmp_path], cuts=[5])


def test_spas_tables_are_filled_from_runs(tmp_path: Path):
    spas(tmp_path, "spa-published", eval={"split": "valid_unseen"})
    write_run(tmp_path, "spa", wins="100000000000", tasks=tuple(MANY), start=NO_SPA)
    write_run(tmp_path, "ppo", wins="110000000000", tasks=tuple(MANY), start=NO_SPA)
    sections = gather([tmp_path]).paper("spa")
    main = section(sections, "SPA, main").grids[0]
    success = "alfworld valid_unseen success %"
    assert [cell(main, name, success) for name in ("SFT", "PPO", "SPA", "RAGEN")] == ["0.0", "16.7", "66.7", ""]
    assert cell(main, "SPA, our form", success) == "8.3"
    beside = list(main.header).index(success) + 1
    assert main.header[beside] == PUBLISHED
    printed = {line[0]: line[beside] for line in main.rows if line[beside]}
    assert {name: text.split(" ")[0] for name, text in printed.items()} == {
        "PPO": "73.9", "RAGEN": "75.4", "PRM4A": "73.9", "StepAgent": "75.4", "SPA": "79.1"
    }  # fmt: skip
    assert cell(main, "SPA", "virtualhome success %") == ""
    inner = section(sections, "SPA, intermediate").grids[0]
    assert [cell(inner, f"SPA without {what}", success) for what in ("stepwise progress", "grounding")] == [
        "0.0",
        "33.3",
    ]
    steps = section(sections, "SPA, relative").grids[0]
    assert cell(steps, "spa-published", "1-4 (n=3)").startswith("+50.0")  # tasks of 2, 3 and 4 steps: 3 against 2


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_tables_hold_only_its_own_numbers_and_all_of_them(name: str):
    sections = fill(name, [])
    shown = [text for one in sections for line in one.grids[0].rows for text in line[2::2] if text]
    assert all(text == "" for one in sections for line in one.grids[0].rows for text in line[1::2])  # nothing is ours
    own = [row for row in load() if row.paper == PAPERS[name].arxiv and row.world != "several"]
    values = {row.printed for row in own if not (row.metric == "gain" and row.method == "3SPO")}
    assert {number.split(" [")[0] for text in shown for number in text.split("; ")} == values


def test_an_unknown_paper_is_a_user_error(tmp_path: Path):
    write_run(tmp_path)
    with pytest.raises(UserError, match="no tables of paper 'ragen': choose one of spa, 3spo, stepagent"):
        gather([tmp_path]).paper("ragen")


def test_a_paper_column_takes_the_table_with_most_rows_and_says_so(tmp_path: Path):
    write_run(tmp_path, "spa-published", wins="1111", ppo={"learning_rate": 1e-5})
    write_run(tmp_path, "spa-published", wins="0000")
    write_run(tmp_path, "ppo", wins="0000")
    main = gather([tmp_path]).paper("spa")[0]
    assert cell(main.grids[0], "SPA", "alfworld valid_unseen success %") == "0.0"
    assert any("the one with most rows of 2 tables" in note for note in main.notes)


def test_what_cannot_be_reported_is_named_and_the_rest_is_reported(tmp_path: Path):
    folders = damaged(tmp_path)
    contents = gather([tmp_path])
    (table,) = contents.tables
    assert table.rows[1].seeds == (0, 6)
    text = "\n".join(map(as_markdown, contents.sections()))
    said = {
        "unfinished": "left out, unfinished: {}",
        "failed": "left out, failed (loss is NaN): {}",
        "torn": "left out: {}: {} is no run folder: cannot read run.json",
        "foreign": "left out: {}: {}/run.json is not from spa-bench",
        "shapeless": "left out: {}: {}/run.json holds what this version cannot read: config.env: ",
        "other rows": "left out: {}: {}/episodes.jsonl holds an episode that this version cannot read",
        "garbled": "{}: 1 unreadable lines",
        "newer": "left out: {}: {}/run.json has schema 99",
    }
    for kind, message in said.items():
        assert message.replace("{}", "/".join(folders[kind].parts[-3:])) in text, kind
    assert str(tmp_path) not in text
    assert len(contents.problems) == 5
    assert [one["name"] for one in contents.as_json()["left_out"]] == [one.name for one in contents.problems]


def test_damage_changes_no_number(tmp_path: Path):
    folders = damaged(tmp_path)
    with_damage = gather([tmp_path]).tables[0]
    for kind in set(folders) - {"good", "garbled"}:
        shutil.rmtree(folders[kind])
    assert as_json(gather([tmp_path]).tables[0])["rows"] == as_json(with_damage)["rows"]


def test_an_audit_is_a_table_of_the_report_with_or_without_runs(tmp_path: Path):
    path = saved.save(an_audit(), tmp_path)
    found = grid(gather([tmp_path]), "credit")
    assert [line[0] for line in found.rows] == ["clock *", "even", "last *", "spa"]
    assert "Spearman" in found.header and found.header[0] == "method"
    write_run(tmp_path)
    assert [one.name for one in gather([tmp_path]).sections()][:1] == ["alfworld-valid_unseen"]
    (path / "audit.json").write_text("{}")
    contents = gather([tmp_path])
    assert not contents.audits and len(contents.problems) == 1
    assert "is no audit that this version can read" in contents.problems[0].reason


def test_a_folder_without_anything_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="no run folder in"):
        gather([tmp_path])


def test_the_same_folders_give_the_same_bytes_wherever_they_lie(tmp_path: Path):
    spas(tmp_path / "one")
    write_run(tmp_path / "one", "ppo", wins="110000000000", tasks=tuple(MANY), start=NO_SPA, facts=FACTS)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first, second = (gather([tmp_path / name]) for name in ("one", "two"))
    assert list(map(as_markdown, first.sections())) == list(map(as_markdown, second.sections()))
    assert first.as_json() == second.as_json()
