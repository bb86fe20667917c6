"""Runs and audits as frames: numbers by hand and as the tables have them; damage is named, text stays what it is."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import strategies
from edited import unchecked
from hypothesis import given
from hypothesis import strategies as st
from made_audits import RECORDED, SMALL, priced
from viewer_runs import HOSTILE, HOSTILE_METHOD, write_all_kinds, write_audit
from written_runs import FACTS, damaged, iteration, log, played, row, write_run

from spa_bench import load_episodes, load_results, load_steps
from spa_bench.analysis import load
from spa_bench.analysis.recordings import read_recording
from spa_bench.audit import saved
from spa_bench.audit.measures import progress_made
from spa_bench.core import Step, Task, Tokens, Trajectory, UserError
from spa_bench.report.contents import gather
from spa_bench.report.table import tables
from spa_bench.runs.episodes import to_row
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.journal import Journal

RESULTS = Path(__file__).resolve().parents[1] / "recorded" / "results"
LOADERS = pytest.mark.parametrize("loader", [load_results, load_episodes, load_steps])
Loader = Callable[..., pd.DataFrame]


@pytest.fixture(autouse=True)
def strict() -> Iterable[None]:
    """A warning that no test expects is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def warned(call: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
    """The frame, and what was warned of: one line each, said of the line here."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = call()
    assert all(one.category is UserWarning and one.filename == __file__ for one in caught)
    lines = [str(one.message) for one in caught]
    assert all("\n" not in line and line.isprintable() for line in lines)
    return frame, lines


def add(path: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    Journal(path / f"{name}.jsonl").extend(rows)


def place(stage: str, number: int, index: int) -> dict[str, Any]:
    return {"stage": stage, "iteration": number, "index": index}


def episode(words: str, branch: int = 0, **more: Any) -> Trajectory:
    """One step for each letter; a capital is one that the world did not execute."""
    steps = tuple(
        Step(f"see {letter}", f"say {letter}", f"do {letter}", letter.islower(), fault, 0.25, 0.5)
        for letter in words
        for fault in (None if letter.islower() else "inadmissible",)
    )
    task = Task("alfworld", "k9", "train", "heat", 5)
    return Trajectory(task, steps, 0.5, False, False, True, branch=branch, **more)


def rows_of(frame: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    return frame


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


# Results


def by_hand(results: Path) -> Path:
    """A run of two episodes that count and one that does not; the fit has cost something."""
    metrics = [
        {"kind": "stage", "stage": "warm start", "seconds": 11.0},
        {"kind": "stage", "stage": "fit reward", "seconds": 3.0, "extra_tokens": 100},
        iteration(1), iteration(2), iteration(2, seconds=4.5), {"kind": "done"},
    ]  # fmt: skip
    facts = FACTS | {"protocol": "default"}
    path = write_run(results, "spa", 3, "", "10", metrics, facts, reward_options={"beta": 0.1, "alpha": 2.0})
    add(
        path,
        "episodes",
        [
            row(replace(played("k1", True, (None, "format")), outcome=1.0), "eval", 0),
            row(replace(played("k2", False, ("inadmissible", None, None)), outcome=0.5), "eval", 1),
            row(played("k3", True, (None,) * 5, error="out of memory"), "eval", 2),
        ],
    )
    return path


def test_the_results_of_a_run_by_hand(tmp_path: Path):
    path = by_hand(tmp_path)
    frame = load_results(tmp_path)
    assert list(frame.columns) == list(load.RESULTS)
    evaluated, start = (json.loads(line) for line in frame.to_json(orient="records", lines=True).splitlines())
    assert evaluated == {
        "run": f"alfworld/spa/{path.name}", "env": "alfworld", "split": "valid_unseen", "tasks": "builtin",
        "model": "embedded", "agent": None, "reward": "spa", "reward_options": '{"alpha": 2.0, "beta": 0.1}',
        "label": "spa (alpha=2, beta=0.1)", "seed": 3, "stage": "eval", "success": 0.5, "outcome": 0.75,
        "grounded": 0.6, "malformed": 0.2, "turns": 2.5, "episodes": 2, "steps": 5, "errors": 1,
        "evaluation_set": "a1b2c3", "protocol": "default", "env_steps": 200, "env_steps_executed": None,
        "tokens_sampled": 100, "tokens_trained": 80, "extra_tokens": 114, "extra_env_steps": 6, "seconds": 10,
        "finished": True, "failure": None, "left_out": None, "unreadable": 0, "repeated": 0,
    }  # fmt: skip
    before = {"stage": "warm_start", "grounded": 1, "malformed": 0, "outcome": 0.5, "turns": 1, "steps": 2, "errors": 0}
    spent = dict.fromkeys(
        ["env_steps", "env_steps_executed", "tokens_sampled", "tokens_trained", "extra_tokens", "extra_env_steps"], 0
    ) | {"seconds": 11}  # fmt: skip
    assert start == evaluated | before | spent


def of_table(line: Any) -> dict[str, Any]:
    means = {"success": line.success.mean, "outcome": line.outcome, "grounded": line.grounded, "turns": line.turns}
    return means | {"malformed": line.malformed, "errors": line.excluded} | dict(line.costs)


def test_each_recorded_run_has_the_numbers_of_its_table():
    frame = load_results(RESULTS)
    assert len(frame) == 24
    for path in sorted(RESULTS.glob("runs/*/*/*")):
        (table,) = tables([path])
        rows = rows_of(frame, run="/".join(path.parts[-3:])).set_index("stage")
        assert [line.label for line in table.rows] == ["warm start", rows.label["eval"]]
        for stage, line in zip(("warm_start", "eval"), table.rows, strict=True):
            wanted = of_table(line)
            assert dict(rows.loc[stage, list(wanted)]) == pytest.approx(wanted, rel=0, abs=0, nan_ok=True)
        about = {"world": "env", "split": "split", "tasks": "tasks", "model": "model", "protocol": "protocol"}
        names = about | {"panel": "evaluation_set", "evaluation_set": "evaluation_set"}
        told = {name: rows.loc["eval", names[key]] for key, name in names.items() if key in table.about}
        assert told and all(table.about[key] == told[name] for key, name in names.items() if key in table.about)


def test_means_over_seeds_are_those_of_the_whole_table():
    frame = load_results(RESULTS)
    assert not frame["left_out"].any()
    seen = 0
    for table in tables([RESULTS]):
        for line in table.rows[1:]:
            rows = rows_of(frame, env=table.about["world"], label=line.label, stage="eval")
            assert tuple(rows.seed) == line.seeds
            pooled = (rows[["grounded", "malformed"]].mul(rows.steps, axis=0)).sum() / rows.steps.sum()
            got = {name: rows[name].mean() for name in of_table(line)} | dict(pooled) | {"errors": rows.errors.sum()}
            assert got == pytest.approx(of_table(line), nan_ok=True)
            seen += 1
    assert seen == 6


def test_the_label_and_what_is_left_out_are_as_in_the_table(tmp_path: Path):
    """Methods of one name are told apart by their code, and of two folders of one seed the second is none."""
    write_run(tmp_path, "spa", 0, facts=FACTS | {"reward_code": "aaaaaaaa"})
    write_run(tmp_path, "spa", 1, facts=FACTS | {"reward_code": "bbbbbbbb"})
    shutil.copytree(write_run(tmp_path, "sparse", 0), tmp_path / "copy" / "alfworld" / "sparse" / "0-x")
    frame = rows_of(load_results(tmp_path), stage="eval")
    (table,) = tables([tmp_path])
    assert set(frame[frame.left_out.isna()].label) == {line.label for line in table.rows} - {"warm start"}
    assert sorted(frame.label) == ["spa [code aaaaaa]", "spa [code bbbbbb]", "sparse", "sparse"]
    assert [note for note in frame.left_out if note] == ["second folder of sparse with seed 0"]


def test_an_agent_that_was_only_evaluated_has_one_row(tmp_path: Path):
    write_run(tmp_path, "expert", start="", facts=FACTS | {"agent": "expert"}, metrics=[{"kind": "done"}])
    (only,) = load_results(tmp_path).itertuples()
    assert (only.stage, only.agent, only.label, only.success, only.seconds) == ("eval", "expert", "expert", 0.5, 0.0)


def test_a_run_without_episodes_has_a_row_without_means(tmp_path: Path):
    write_run(tmp_path, wins="", start="", metrics=[])
    (only,) = load_results(tmp_path).itertuples()
    assert (only.stage, only.episodes, only.steps, only.finished, only.left_out) == ("eval", 0, 0, False, "unfinished")
    means = (only.success, only.outcome, only.grounded, only.malformed, only.turns)
    assert all(map(math.isnan, means))


# Damage


def test_damaged_folders_are_named_as_the_report_names_them_and_the_rest_is_loaded(tmp_path: Path):
    folders = damaged(tmp_path)
    frame, lines = warned(lambda: load_results(tmp_path))
    names = {kind: "/".join(path.parts[-3:]) for kind, path in folders.items()}
    problems = gather([tmp_path]).problems
    assert len(problems) == 5
    assert lines == [f"{one.name}: left out: {one.reason}" for one in problems]
    rows = rows_of(frame, stage="eval").set_index("run")
    assert set(rows.index) == {names[kind] for kind in ("good", "unfinished", "failed", "garbled")}
    assert rows.failure[names["failed"]] == "loss is NaN" and rows.left_out[names["failed"]] == "failed (loss is NaN)"
    assert rows.left_out[names["unfinished"]] == "unfinished"
    assert (rows.unreadable[names["garbled"]], rows.left_out[names["garbled"]]) == (1, None)
    assert rows.finished.to_dict() == {name: name in (names["good"], names["garbled"]) for name in rows.index}


@pytest.mark.parametrize("loader", [load_episodes, load_steps])
def test_episodes_of_damaged_folders_are_left_out_with_a_reason(loader: Loader, tmp_path: Path):
    folders = damaged(tmp_path)
    frame, lines = warned(lambda: loader(tmp_path))
    names = {kind: "/".join(path.parts[-3:]) for kind, path in folders.items()}
    said = {
        "torn": "left out: {} is no run folder: cannot read run.json",
        "foreign": "left out: {}/run.json is not from spa-bench",
        "other rows": "left out: {}/episodes.jsonl holds an episode that this version cannot read",
        "garbled": "without 1 unreadable line(s)",
        "newer": "left out: {}/run.json has schema 99",
    }
    assert len(lines) == len(said)
    for kind, message in said.items():
        (line,) = [line for line in lines if line.startswith(f"{names[kind]}: ")]
        assert line.startswith(f"{names[kind]}: {message.replace('{}', names[kind])}")
    assert set(frame["run"]) == set(names.values()) - {names[kind] for kind in said} | {names["garbled"]}
    assert not any(str(tmp_path) in line for line in lines)


@LOADERS
def test_no_folder_is_a_user_error_in_one_line(loader: Loader, tmp_path: Path):
    for nothing in (tmp_path, [tmp_path], []):
        with pytest.raises(UserError, match=r"^no run folder in .*: give a folder of results, or one of its runs$"):
            loader(nothing)
    for missing in (tmp_path / "missing", [RESULTS, tmp_path / "missing"]):
        with pytest.raises(UserError, match=r"^there is no folder .*missing: give a folder of results, or one of its "):
            loader(missing)


@pytest.mark.parametrize("loader", [load_episodes, load_steps])
def test_an_unknown_stage_is_a_user_error_that_names_the_known_ones(loader: Loader):
    with pytest.raises(UserError, match=r"^no stage 'evaluation': use audit, budget, eval, train, warm_start$"):
        loader(RESULTS, stage="evaluation")


DEEP = '{"schema": 1, "facts": {}, "config": ' + "[" * 100_000
ODD = {
    "a deep run.json": ("run.json", lambda text: DEEP),
    "a seed without end": ("run.json", lambda text: text.replace('"seed": 0', f'"seed": {10**30}')),
    "an outcome without end": ("episodes.jsonl", lambda text: text.replace('"outcome":1.0', f'"outcome":{10**400}', 1)),
    "costs without end": ("metrics.jsonl", lambda text: text.replace('"env_steps":100', f'"env_steps":{10**400}', 1)),
}


@pytest.mark.parametrize("kind", ODD)
def test_numbers_and_depths_that_python_cannot_take_are_damage(kind: str, tmp_path: Path):
    name, change = ODD[kind]
    file = write_run(tmp_path, seed=0) / name
    before = unchecked(file)
    file.write_text(change(before))
    assert file.read_text() != before
    write_run(tmp_path, seed=1)
    frame, lines = warned(lambda: load_results(tmp_path))
    if name == "run.json":
        assert (len(lines), set(frame.seed)) == (1, {1})
    else:
        assert (lines, frame.groupby("seed").unreadable.max().to_dict()) == ([], {0: 1, 1: 0})
    for loader in (load_episodes, load_steps):
        assert len(warned(lambda loader=loader: loader(tmp_path))[1]) == (name != "metrics.jsonl")


@LOADERS
def test_a_folder_in_the_place_of_a_file_is_damage(loader: Loader, tmp_path: Path):
    path = write_run(tmp_path, seed=0)
    (path / "episodes.jsonl").unlink()
    (path / "episodes.jsonl").mkdir()
    write_run(tmp_path, seed=1)
    frame, (line,) = warned(lambda: loader(tmp_path))
    assert "episodes.jsonl is no regular file" in line
    assert len(set(frame["run"])) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"success": 1}, {"outcome": "1"}, {"outcome": True}, {"goal": 5}, {"error": 0}, {"character": -1},
        {"branch": -1}, {"branch": True}, {"parent": "0"}, {"parent": []}, {"steps": {}}, {"task": None},
        {"start_progress": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_with_a_value_of_another_type_is_damage(change: dict[str, Any], tmp_path: Path):
    path = write_run(tmp_path, seed=0)
    add(path, "episodes", [to_row(played("k1", True)) | place("train", 1, 0) | change])
    for loader in (load_episodes, load_steps):
        frame, (line,) = warned(lambda loader=loader: loader(tmp_path))
        assert len(frame) == 0 and "holds an episode that this version cannot read" in line
        assert len(loader(tmp_path, stage="eval")) == 4


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs and an audit; whoever damages a file mends it."""
    results = tmp_path_factory.mktemp("every")
    write_all_kinds(results)
    write_audit(results, turns=2)
    return results


@strategies.max_examples(60)
@given(data=st.data())
def test_t03_whatever_bytes_are_damaged_there_is_a_frame(every_kind: Path, data: st.DataObject):
    """Any file of a run or an audit, cut, or with bytes changed: the columns stay, and nothing but warnings is said."""
    results = every_kind
    names = ("run.json", "audit.json", "episodes.jsonl", "prices.jsonl", "metrics.jsonl")
    files = sorted(file for file in results.rglob("*") if file.name in names)
    file = data.draw(st.sampled_from(files))
    whole = file.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        odd = [b"", b"9", b"-", b'"', b"null", b"1e999", b"[", b"{}", b"\n", b"\xff"]
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.sampled_from(odd))
    file.write_bytes(bytes(content))
    try:
        for loader, dtypes in ((load_results, load.RESULTS), (load_episodes, load.EPISODES), (load_steps, load.STEPS)):
            frame, _ = warned(lambda loader=loader: loader(results))
            assert {name: str(frame.dtypes[name]) for name in dtypes} == dtypes
            assert len(frame) > 0
    finally:
        file.write_bytes(whole)


# Episodes


def test_an_episode_by_hand(tmp_path: Path):
    path = write_run(tmp_path)
    steps = episode("aBc").steps
    steps = (*steps, replace(steps[0], grounded=False, fault="format"))
    task = Task("webshop", "key", "train", "shoes", 7)
    one = Trajectory(task, steps, 0.25, False, True, False, 0.125, "the end", "find it", 2, 0, "broken")
    with RunFolder(path) as folder:
        log(folder, one, "train", 4)
    (got,) = load_episodes(tmp_path, "train").to_dict("records")
    assert list(got) == list(load.EPISODES)
    assert got.pop("parent") is None
    assert got == {
        "run": f"alfworld/sparse/{path.name}", "stage": "train", "iteration": 0, "index": 4, "env": "webshop",
        "split": "train", "task": "key", "kind": "shoes", "expert_steps": 7, "success": False, "outcome": 0.25,
        "terminated": True, "truncated": False, "turns": 4, "grounded": 2, "malformed": 1, "error": "broken",
        "character": 2, "branch": 0, "start_progress": 0.125, "goal": "find it", "final_observation": "the end",
    }  # fmt: skip


def test_rows_are_in_order_whatever_the_order_of_the_lines(tmp_path: Path):
    places = [("train", 10, 0), ("train", 2, 11), ("train", 2, 3), ("warm_start", 0, 9), ("eval", 0, 10)]
    path = write_run(tmp_path, seed=1, wins="10", start="1")
    add(path, "episodes", [to_row(played("k1", True)) | place(*one) for one in places])
    shutil.copytree(path, tmp_path / "runs" / "alfworld" / "gae" / path.name)
    shutil.copytree(path, tmp_path / "more" / "alfworld" / "sparse" / path.name)
    frame = load_episodes(tmp_path)
    keys = ["run", "stage", "iteration", "index"]
    ends = [("eval", 0, 0), ("eval", 0, 1), ("eval", 0, 10), *sorted(places[:3]), ("warm_start", 0, 0), places[3]]
    runs = [f"alfworld/gae/{path.name}", f"alfworld/sparse/{path.name}", f"alfworld/sparse/{path.name}~2"]
    assert list(frame[keys].itertuples(index=False, name=None)) == [(run, *end) for run in runs for end in ends]
    results = load_results(tmp_path)
    assert list(zip(results["run"], results["stage"], strict=True)) == [
        (run, stage) for run in runs for stage in ("eval", "warm_start")
    ]
    steps = load_steps(tmp_path)
    same(steps[keys], frame[keys])


def test_folders_can_be_given_in_every_way(tmp_path: Path):
    one, two = write_run(tmp_path, seed=0), write_run(tmp_path, seed=1)
    for loader in (load_results, load_episodes, load_steps):
        whole = loader(tmp_path)
        for way in (str(tmp_path), [one, str(two)], (path for path in (two, one)), [tmp_path, one]):
            same(loader(way), whole)
        same(loader(two), whole[whole["run"] == f"alfworld/sparse/{two.name}"])


def test_a_stage_is_what_all_have_of_it(tmp_path: Path):
    write_all_kinds(tmp_path)
    write_audit(tmp_path)
    add(write_run(tmp_path / "budgets"), "episodes", [to_row(episode("ab")) | place("budget", 1, 0)])
    for loader in (load_episodes, load_steps):
        whole, _ = warned(lambda loader=loader: loader(tmp_path))
        assert set(whole.stage) == set(load.STAGES)
        for stage in load.STAGES:
            part, _ = warned(lambda loader=loader, stage=stage: loader(tmp_path, stage))
            # Columns of methods are those of the folders that were read.
            same(part, whole[whole.stage == stage][list(part.columns)])


def test_t03_of_an_episode_that_stands_twice_the_first_counts_and_it_is_said(tmp_path: Path):
    path = write_run(tmp_path)
    add(path, "episodes", [to_row(episode(words)) | place("train", 1, 0) for words in ("ab", "abc")])
    frame, lines = warned(lambda: load_episodes(tmp_path, "train"))
    assert list(frame.turns) == [2]
    assert lines == [f"alfworld/sparse/{path.name}: without 1 repeated episode(s)"]


# Steps


def family(path: Path) -> None:
    """A parent of four steps, a branch of it after two, a branch of that after three, and prices of the own steps."""
    whole = [(0, None, episode("abcd")), (1, 0, episode("abEf", 2)), (2, 1, episode("abEGh", 3))]
    rows = [
        to_row(one) | place("train", 3, index) | ({} if parent is None else {"parent": parent})
        for index, parent, one in whole
    ]
    add(path, "episodes", rows[::-1])
    rewards = {0: [1, 2.0, 3.0, 4.0], 1: [5.0, 6.0], 2: [7.0, 8.0]}
    add(path, "prices", [place("train", 3, index) | {"rewards": paid} for index, paid in rewards.items()])


def test_a_branch_has_the_first_steps_of_its_parent_and_its_own_rewards(tmp_path: Path):
    family(write_run(tmp_path))
    frame = load_steps(tmp_path, "train", messages=True)
    assert list(frame.columns) == [*load.STEPS, "reward", "messages"]
    told = {index: "".join(rows.observation).replace("see ", "") for index, rows in frame.groupby("index")}
    assert told == {0: "abcd", 1: "abEf", 2: "abEGh"}
    nan = math.nan
    np.testing.assert_equal(list(frame.reward), [1.0, 2.0, 3.0, 4.0, nan, nan, 5.0, 6.0, nan, nan, nan, 7.0, 8.0])
    assert list(frame.turn) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert list(frame.fault.notna()) == list(~frame.grounded) == [letter.isupper() for letter in "abcdabEfabEGh"]
    once = frame[frame.turn >= frame.branch]
    assert "".join(once.action).replace("do ", "") == "abcdEfGh" and once.reward.notna().all()
    assert [message["content"] for message in frame.messages.iloc[-1]] == [
        "see a", "say a", "see b", "say b", "see E", "say E", "see G", "say G", "see h"
    ]  # fmt: skip
    episodes = load_episodes(tmp_path, "train")
    assert list(episodes.turns) == [4, 4, 5] and list(episodes.grounded) == [4, 3, 3]
    assert list(episodes.parent.fillna(-1)) == [-1, 0, 1] and list(episodes.branch) == [0, 2, 3]


@pytest.mark.parametrize(
    ("change", "left"), [({"index": 9}, [9]), ({"iteration": 2}, [0]), ({"steps": []}, [0]), ({"stage": "eval"}, [0])]
)
def test_branches_whose_parent_is_not_on_record_are_left_out_and_counted(
    change: dict[str, Any], left: list[int], tmp_path: Path
):
    """One of another iteration or too short is no parent; a branch of a branch without a parent has none either."""
    path = write_run(tmp_path, wins="", start="")
    family(path)
    rows, _ = Journal(path / "episodes.jsonl").read()
    parent = rows[-1] | change
    (path / "episodes.jsonl").unlink()
    (path / "prices.jsonl").unlink()
    add(path, "episodes", [*rows[:-1], parent])
    for loader in (load_episodes, load_steps):
        frame, (line,) = warned(lambda loader=loader: loader(tmp_path))
        assert line.endswith(": without 2 branch(es) without the episode that they left")
        assert list(frame["index"].unique()) == (left if loader is load_episodes or parent["steps"] else [])


def test_branches_in_a_circle_are_left_out(tmp_path: Path):
    path = write_run(tmp_path, wins="", start="")
    add(path, "episodes", [to_row(episode("ab", 1)) | place("train", 1, i) | {"parent": 1 - i} for i in (0, 1)])
    add(path, "episodes", [to_row(episode("ab", 1)) | place("train", 1, 2) | {"parent": 2}])
    frame, (line,) = warned(lambda: load_steps(tmp_path))
    assert len(frame) == 0 and "without 3 branch(es)" in line


def test_rewards_are_of_their_stage_iteration_and_index(tmp_path: Path):
    """Not of one with the same index; of two the first counts; such as fit no episode are missing and said."""
    path = write_run(tmp_path, wins="1", start="")
    add(path, "episodes", [to_row(episode("ab")) | place("train", *at) for at in ((1, 0), (1, 1), (2, 0), (2, 1))])
    rewards = [
        place("train", 2, 0) | {"rewards": [0.5, -1]},
        place("train", 2, 0) | {"rewards": [9.0, 9.0]},
        place("train", 1, 1) | {"rewards": [1.5, 2.5]},
        place("train", 2, 1) | {"rewards": [3.5]},
        place("train", 7, 0) | {"rewards": [3.5, 3.5]},
        place("train", 1, 0) | {"rewards": [True, 1.0]},
        place("train", 1, 0) | {"rewards": "ab"},
    ]
    add(path, "prices", rewards)
    frame, lines = warned(lambda: load_steps(tmp_path))
    nan = math.nan
    np.testing.assert_equal(list(frame.reward), [nan, nan, nan, 1.5, 2.5, 0.5, -1.0, nan, nan])
    assert lines == [
        f"alfworld/sparse/{path.name}: without 1 episode(s) with rewards of another length, "
        "2 unreadable line(s) of rewards"
    ]
    assert warned(lambda: load_episodes(tmp_path))[1] == []


def test_tokens_are_not_kept_and_a_text_is_kept_once(tmp_path: Path):
    path = write_run(tmp_path, wins="", start="")
    one = strategies.episode(1.0)
    steps = tuple(replace(step, tokens=Tokens((1,), (2,), (-0.5,))) for step in one.steps)
    add(path, "episodes", [to_row(replace(one, steps=steps)) | place("train", 1, index) for index in (0, 1)])
    first, second = read_recording(path).episodes
    assert first.trajectory == one
    assert all(
        a.observation is b.observation for a, b in zip(first.trajectory.steps, second.trajectory.steps, strict=True)
    )


@st.composite
def forests(draw: st.DrawFn) -> list[tuple[int | None, Trajectory]]:
    """Parent and whole episode; some go on from the middle of an earlier one."""
    grown: list[tuple[int | None, Trajectory]] = []
    for _ in range(draw(st.integers(1, 6))):
        one = draw(strategies.trajectories())
        parent = draw(st.none() | st.integers(0, len(grown) - 1)) if grown else None
        if parent is not None:
            origin = grown[parent][1]
            branch = draw(st.integers(0, len(origin)))
            one = replace(one, steps=origin.steps[:branch] + one.steps, branch=branch)
        grown.append((parent, one))
    return grown


@strategies.max_examples(60)
@given(grown=forests(), lottery=st.randoms(use_true_random=False))
def test_any_episodes_come_back_step_by_step(tmp_path_factory: pytest.TempPathFactory, grown: Any, lottery: Any):
    results = tmp_path_factory.mktemp("any")
    path = write_run(results, wins="", start="")
    rows = [
        to_row(one) | place("train", 1, index) | ({} if parent is None else {"parent": parent})
        for index, (parent, one) in enumerate(grown)
    ]
    paid = {index: [lottery.uniform(-9, 9) for _ in range(one.played)] for index, (_, one) in enumerate(grown)}
    paid = {index: numbers for index, numbers in paid.items() if lottery.random() < 0.7}
    lottery.shuffle(rows)
    add(path, "episodes", rows)
    add(path, "prices", [place("train", 1, index) | {"rewards": numbers} for index, numbers in paid.items()])
    episodes, steps = load_episodes(results), load_steps(results, messages=True)
    assert len(episodes) == len(grown) and list(episodes["index"]) == list(range(len(grown)))
    for index, (parent, one) in enumerate(grown):
        got, own = episodes.iloc[index], rows_of(steps, index=index)
        assert (got.success, got.outcome, got.turns, got.branch) == (one.success, one.outcome, len(one), one.branch)
        assert (None if got.parent is pd.NA else got.parent) == parent
        assert list(own.turn) == list(range(len(one)))
        for name in ("observation", "reply", "action", "grounded", "fault", "env_reward", "progress"):
            assert list(own[name]) == [joined(getattr(step, name)) for step in one.steps]
        earned = [math.nan] * one.branch + paid[index] if index in paid else [math.nan] * len(one)
        np.testing.assert_equal(list(own.reward), earned)
        for turn, chat in enumerate(own.messages):
            texts = [text for step in one.steps for text in (step.observation, step.reply)]
            assert [message["content"] for message in chat] == list(map(joined, texts[: 2 * turn + 1]))


def joined(value: Any) -> Any:
    """JSON joins a high and a low surrogate that happen to stand side by side."""
    return json.loads(json.dumps(value))


# Audits


def test_an_audit_has_a_column_for_each_method(tmp_path: Path):
    folder = saved.save(priced(RECORDED), tmp_path)
    frame, prices = load_steps(tmp_path), saved.prices(folder)
    assert list(frame.columns) == [*load.STEPS, *(f"reward:{label}" for label in sorted(prices))]
    assert list(prices) == sorted(method.name for method in SMALL.methods)
    for label, paid in prices.items():
        np.testing.assert_array_equal(frame[f"reward:{label}"], np.concatenate(paid))
    assert list(frame.progress) == [step.progress for one in RECORDED for step in one.steps]
    np.testing.assert_allclose(
        frame.progress_change, np.concatenate([progress_made(one) for one in RECORDED]), atol=1e-8
    )
    assert set(frame["run"]) == {f"audits/alfworld/{folder.name}"}
    episodes = load_episodes(tmp_path)
    assert list(episodes.task) == [one.task.key for one in RECORDED]
    assert list(episodes.turns) == list(map(len, RECORDED)) and set(episodes.stage) == {"audit"}
    with pytest.raises(UserError, match="no run folder"):
        load_results(tmp_path)


def test_runs_and_audits_stand_side_by_side(tmp_path: Path):
    family(write_run(tmp_path / "a", wins="1", start=""))
    write_audit(tmp_path / "b", methods=("spa", "sparse"), seed=1)
    write_audit(tmp_path / "c", methods=("spa", "potential"), seed=2)
    frame = load_steps(tmp_path)
    assert list(frame.columns)[len(load.STEPS) :] == ["reward", "reward:potential", "reward:spa", "reward:sparse"]
    assert list(frame["run"].str.split("/").str[0]) == ["alfworld"] * 14 + ["audits"] * 30
    assert frame.reward.notna().sum() == 8
    assert frame["reward:spa"].notna().sum() == 30 and frame["reward:spa"][:14].isna().all()
    for part, lacking in (("b", "potential"), ("c", "sparse")):
        alone = load_steps(tmp_path / part)
        rows = frame[frame["run"] == alone["run"][0]]
        same(rows[list(alone.columns)], alone)
        assert rows[f"reward:{lacking}"].isna().all()
    assert "reward" not in load_steps(tmp_path, stage="audit")
    assert list(load_steps(tmp_path, stage="train").columns) == [*load.STEPS, "reward"]


def test_names_of_methods_are_columns_that_a_screen_can_show(tmp_path: Path):
    """Also where two names look the same then: each has a column of its own."""
    names = ("a\ud800\n", "a\\ud800\\n", "\x1b[31mred", HOSTILE_METHOD, "reward", "")
    folder = write_audit(tmp_path, methods=names)
    frame = load_steps(tmp_path)
    titles = list(frame.columns)[len(load.STEPS) :]
    assert len(set(titles)) == len(names) and all(title.isprintable() for title in titles)
    assert {"reward:", "reward:reward", "reward:\\x1b[31mred", "reward:a\\ud800\\n", "reward:a\\ud800\\n~2"} < set(
        titles
    )
    prices = saved.prices(folder)
    for label, title in zip(sorted(names), titles, strict=True):
        np.testing.assert_array_equal(frame[title], np.concatenate(prices[label]))


def of_audit(text: str, change: Callable[[list[dict[str, Any]]], Sequence[dict[str, Any]]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in change([json.loads(line) for line in text.splitlines()]))


AUDIT_DAMAGE: dict[str, tuple[str, Callable[[str], str | None], str]] = {
    "torn figures": ("audit.json", lambda text: text[:-20], "JSONDecodeError"),
    "no methods": ("audit.json", lambda text: "{}", "KeyError"),
    "another method": ("audit.json", lambda text: text.replace('"name": "spa"', '"name": "spam"'), "not the prices of"),
    "a method twice": ("audit.json", lambda text: text.replace('"name": "spa"', '"name": "sparse"'), "stands twice"),
    "deep": ("audit.json", lambda text: "[" * 100_000, "nested too deep"),
    "no prices": ("prices.jsonl", lambda text: None, "keeps no prices.jsonl"),
    "no episodes": ("episodes.jsonl", lambda text: None, "keeps no episodes.jsonl"),
    "a torn price": ("prices.jsonl", lambda text: text[:-5], "unreadable, repeated or missing lines"),
    "a lost price": ("prices.jsonl", lambda text: of_audit(text, lambda rows: rows[1:]), "not the prices of"),
    "a price twice": ("prices.jsonl", lambda text: text + text.splitlines()[0], "unreadable, repeated"),
    "a short price": (
        "prices.jsonl",
        lambda text: of_audit(text, lambda rows: [rows[0] | {"rewards": [1.0]}, *rows[1:]]),
        "not the prices of the audited methods",
    ),
    "a torn episode": ("episodes.jsonl", lambda text: text[:-5], "unreadable, repeated or missing lines"),
    "a lost episode": ("episodes.jsonl", lambda text: of_audit(text, lambda rows: rows[1:]), "missing lines"),
    "the last episode lost": (
        "episodes.jsonl",
        lambda text: of_audit(text, lambda rows: rows[:-1]),
        "audited episodes",
    ),
}


@pytest.mark.parametrize("kind", AUDIT_DAMAGE)
def test_a_damaged_audit_is_left_out_whole(kind: str, tmp_path: Path):
    name, change, reason = AUDIT_DAMAGE[kind]
    file = write_audit(tmp_path, methods=("spa", "sparse"), seed=1) / name
    good = write_audit(tmp_path, methods=("spa", "shuffled"), seed=2)
    text = change(file.read_text())
    file.unlink()
    if text is not None:
        file.write_text(text)
    frame, (line,) = warned(lambda: load_steps(tmp_path))
    assert set(frame["run"]) == {f"audits/alfworld/{good.name}"}
    assert f"{file.parent.name}: left out: " in line and reason in line and str(tmp_path) not in line
    assert list(frame.columns) == [*load.STEPS, "reward:shuffled", "reward:spa"]


def test_an_audit_that_is_being_written_and_one_in_a_run_folder_are_no_audits(tmp_path: Path):
    folder = write_audit(tmp_path)
    shutil.copytree(folder, folder.with_name(".tmp-0-12345678"))
    run = write_run(tmp_path)
    shutil.copy(folder / "audit.json", run)
    assert set(load_episodes(tmp_path)["run"]) == {f"audits/alfworld/{folder.name}", f"alfworld/sparse/{run.name}"}


# Text


def test_t07_hostile_text_goes_through_unchanged(tmp_path: Path):
    texts = [HOSTILE, "\ud800", "", "\r\n\u2028"]
    steps = tuple(Step(text, text, text, True, None, 0.0, 0.0, expert_action=text) for text in texts)
    task = Task("alfworld", HOSTILE, "train", HOSTILE, 1)
    one = Trajectory(task, steps, 0.0, False, False, True, goal=HOSTILE, final_observation=HOSTILE, error=HOSTILE)
    path = write_run(tmp_path, metrics=[{"kind": "failed", "reason": HOSTILE}], facts=FACTS | {"protocol": HOSTILE})
    with RunFolder(path) as folder:
        log(folder, one, "train", 0)
    frame = load_steps(tmp_path, "train", messages=True)
    for name in ("observation", "reply", "action", "expert_action"):
        assert list(frame[name]) == texts
    assert [message["content"] for message in frame.messages[3]] == [text for text in texts for _ in "ab"][:-1]
    (got,) = load_episodes(tmp_path, "train").itertuples()
    assert (got.task, got.kind, got.goal, got.final_observation, got.error) == (HOSTILE,) * 5
    results = load_results(tmp_path)
    assert set(results.failure) == {HOSTILE} and set(results.protocol) == {HOSTILE}


def test_t07_a_hostile_reason_is_one_line_that_cannot_steer_a_screen(tmp_path: Path):
    path = write_run(tmp_path)
    content = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(content | {"schema": f"{HOSTILE}\n\x1b[31m" + "x" * 10_000}))
    for loader in (load_results, load_episodes, load_steps):
        frame, (line,) = warned(lambda loader=loader: loader(tmp_path))
        assert len(frame) == 0 and len(line) < 1000


def test_chats_go_into_a_dataset_and_back(tmp_path: Path):
    from datasets import Dataset

    write_all_kinds(tmp_path)
    write_audit(tmp_path, methods=("spa",), episodes=[episode("ab"), episode("C")])
    frame, _ = warned(lambda: load_steps(tmp_path, messages=True))
    for name in ("observation", "reply", "action"):  # Arrow takes no lone surrogates
        frame = frame[~frame[name].str.contains("\ud800")]
    frame = frame[[not any("\ud800" in part["content"] for part in chat) for chat in frame.messages]]
    frame = frame.reset_index(drop=True)
    assert len(frame) > 60 and frame.turn.max() >= 3
    dataset = Dataset.from_pandas(frame)
    assert dataset.column_names == list(frame.columns)
    for got, chat, reply in zip(dataset, frame.messages, frame.reply, strict=True):
        assert got["messages"] == chat and got["reply"] == reply
        assert [part["role"] for part in chat] == [*["user", "assistant"] * got["turn"], "user"]
        assert chat[-1]["content"] == got["observation"]
    back = dataset.to_pandas()
    np.testing.assert_equal(list(back.reward), list(frame.reward))
    same(back[["turn", "grounded", "progress"]], frame[["turn", "grounded", "progress"]])


def test_chats_fit_a_chat_template(tmp_path: Path):
    from jinja2 import Environment

    family(write_run(tmp_path, wins="", start=""))
    template = Environment(autoescape=False).from_string(
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    )
    frame = load_steps(tmp_path, messages=True)
    assert (
        template.render(messages=frame.messages[6])
        == "<user>see a<assistant>say a<user>see b<assistant>say b<user>see E"
    )


def test_loading_loads_no_deep_learning_and_no_member_of_a_room():
    code = (
        "import sys; from spa_bench import load_episodes, load_results, load_steps; "
        f"[load({str(RESULTS)!r}) for load in (load_results, load_episodes, load_steps)]; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'transformers', 'trl', 'datasets') "
        "or name.startswith(('spa_bench.rewards', 'spa_bench.agents', 'spa_bench.environments.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
