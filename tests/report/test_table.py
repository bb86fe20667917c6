"""The table: numbers by hand, and everything that must not slip into it unnoticed."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edited import unchecked
from written_runs import FACTS, MANY, iteration, log, played, write_run

from spa_bench.analysis.differences import Board, Difference, board, differences, resolution, scores
from spa_bench.analysis.groups import collect
from spa_bench.analysis.runs import find, load
from spa_bench.config import build
from spa_bench.core import UserError
from spa_bench.report.render import markdown
from spa_bench.report.show import show
from spa_bench.report.table import Table, as_json, tables
from spa_bench.runs.folder import RunFolder
from spa_bench.stats import minimum_detectable, paired, spread


def test_methods_of_one_name_and_different_code_have_rows_of_their_own(tmp_path: Path) -> None:
    """A file that was edited between two seeds, or two files of one name."""
    codes = {0: "aaaa1111", 1: "aaaa1111", 2: "bbbb2222"}
    for seed, code in codes.items():
        write_run(tmp_path, seed=seed, facts=FACTS | {"reward_code": code})
        write_run(tmp_path, seed=seed, reward="spa", facts=FACTS | {"reward_code": "cccc"})
    table = only(tmp_path)
    assert [(row.label, row.seeds) for row in table.rows if "sparse" in row.label] == [
        ("sparse [code aaaa11]", (0, 1)), ("sparse [code bbbb22]", (2,)),
    ]  # fmt: skip
    assert [row.seeds for row in table.rows if row.label == "spa"] == [(0, 1, 2)]
    assert not any("second folder" in note for note in table.notes)


def test_skipped_updates_are_told(tmp_path: Path) -> None:
    rows = [iteration(1, updates=5, skipped=3), iteration(2, updates=8, skipped=0), {"kind": "done"}]
    path = write_run(tmp_path, metrics=rows)
    write_run(tmp_path, reward="spa", metrics=[iteration(1, updates=8, skipped=0), {"kind": "done"}])
    told = [note for note in only(tmp_path).notes if "skipped" in note]
    assert told == [f"{'/'.join(path.parts[-3:])}: 3 of 16 updates skipped, not finite"]


def test_a_budget_is_overspent_by_what_was_given_not_by_what_was_learned_from(tmp_path: Path) -> None:
    """Of 20 steps both iterations were given 10, and learned from 7: with 3 extra ones each it is 26 of 20."""
    small = {"match": "env-steps", "iterations": 2, "env_steps": 10}
    rows = [iteration(n, env_steps=7, env_steps_budget=10, env_steps_executed=11) for n in (1, 2)]
    write_run(tmp_path, metrics=[*rows, {"kind": "done"}], ppo=small)
    assert load(find([tmp_path])[0]).overspent == pytest.approx(1.3)


def test_a_training_budget_that_was_overspent_is_told(tmp_path: Path) -> None:
    """Iterations of 100 steps and 3 extra ones each: 206 of 200, and 206 of 20."""
    small = {"match": "env-steps", "iterations": 2, "env_steps": 10}
    path = write_run(tmp_path / "a", ppo=small)
    told = [note for note in only(tmp_path / "a").notes if "training budget" in note]
    assert told == [
        f"{'/'.join(path.parts[-3:])}: spent 10.3 times the training budget: "
        "its first iteration cost more than expected"
    ]
    write_run(tmp_path / "b", ppo=small | {"env_steps": 100})
    write_run(tmp_path / "c", ppo=small | {"match": "collected"})
    assert not [note for table in "bc" for note in only(tmp_path / table).notes if "training budget" in note]


def only(results: Path) -> Table:
    (table,) = tables([results])
    return table


def labels(table: Table) -> list[str]:
    return [row.label for row in table.rows]


def test_success_is_the_mean_over_seeds_with_an_interval(tmp_path: Path):
    for seed, wins in enumerate(("1111", "1010", "1000")):
        write_run(tmp_path, seed=seed, wins=wins)
    table = only(tmp_path)
    start, sparse = table.rows
    assert labels(table) == ["warm start", "sparse"]
    assert sparse.seeds == (0, 1, 2)
    assert sparse.success.mean == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert sparse.success.low == 0.0  # Student's interval reaches below 0
    assert sparse.outcome == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert (start.success.mean, start.success.low, start.success.high) == (
        0.25,
        None,
        None,
    )  # equal seeds say nothing of the spread
    assert table.about["n"] == 4
    assert table.about["seeds"] == [0, 1, 2]
    assert table.about["evaluation_set"] == "a1b2c3"


def test_one_seed_prints_no_interval(tmp_path: Path):
    write_run(tmp_path)
    text = markdown(only(tmp_path))
    assert "| sparse | - | 1 | 50.0 |  | 0.500 |" in text
    write_run(tmp_path, seed=1, wins="1110")
    assert "| sparse | - | 2 | 62.5 | 0.0-100.0 | 0.625 |" in markdown(only(tmp_path))


def test_success_by_length_uses_the_limits_of_the_run(tmp_path: Path):
    write_run(tmp_path, wins="1010")
    table = only(tmp_path)
    assert table.sizes == {"short": 2, "medium": 1, "long": 1}
    assert table.rows[1].buckets == {"short": 0.5, "medium": 1.0, "long": 0.0}
    text = markdown(table)
    assert "short 1-4 (n=2) | medium 5-8 (n=1) | long >8 (n=1)" in text


def test_an_empty_length_bucket_is_a_dash_and_not_a_zero(tmp_path: Path):
    write_run(tmp_path, facts=FACTS | {"buckets": [10, 30]})
    table = only(tmp_path)
    assert table.rows[0].buckets["long"] is None
    assert "| 0.0 | - |" in markdown(table)


def test_grounding_is_counted_over_steps_and_malformed_text_apart(tmp_path: Path):
    path = write_run(tmp_path, metrics=[], wins="", start="")
    config = build({"env": "alfworld", "reward": "sparse"})
    with RunFolder.open(path, config, FACTS) as folder:
        log(folder, played("k1", True, [None]), "eval", 0)
        log(folder, played("k2", False, [None, "format", "format", "inadmissible", None, None, None]), "eval", 1)
        folder.metrics.append({"kind": "done"})
    (line,) = only(tmp_path).rows
    assert line.grounded == pytest.approx(5 / 8)
    assert line.malformed == pytest.approx(2 / 8)
    assert line.turns == pytest.approx(4.0)


def test_episodes_stopped_by_an_error_are_left_out_and_named(tmp_path: Path):
    path = write_run(tmp_path, wins="111")
    with RunFolder.open(path, build({"env": "alfworld", "reward": "sparse"}), FACTS) as folder:
        log(folder, played("k4", False, error="engine crashed"), "eval", 3)
    table = only(tmp_path)
    assert table.rows[1].success.mean == 1.0
    assert table.rows[1].excluded == 1
    assert any("1 episodes excluded" in note for note in table.notes)


def test_t03_of_a_repeated_episode_the_first_counts_and_of_an_iteration_the_last(tmp_path: Path):
    metrics = [iteration(1, env_steps=999), iteration(1, env_steps=100), iteration(2), {"kind": "done"}]
    path = write_run(tmp_path, wins="1111", metrics=metrics)
    with RunFolder.open(path, build({"env": "alfworld", "reward": "sparse"}), FACTS) as folder:
        log(folder, played("k1", False), "eval", 0)
    table = only(tmp_path)
    assert table.rows[1].success.mean == 1.0
    assert table.rows[1].costs["env_steps"] == 200
    assert any("1 repeated episodes" in note for note in table.notes)


def test_costs_are_sums_over_a_run_with_the_fit_of_the_reward(tmp_path: Path):
    fit = {"kind": "stage", "stage": "fit reward", "seconds": 4.0, "extra_tokens": 1000}
    evaluation = {"kind": "stage", "stage": "evaluate", "seconds": 500.0}
    second = iteration(2, env_steps=97, env_steps_executed=104, tokens_trained=None)
    rest = [second, evaluation, {"kind": "done"}]
    write_run(tmp_path, metrics=[fit, iteration(1, env_steps=97, env_steps_executed=102), *rest])
    costs = only(tmp_path).rows[1].costs
    assert costs == {
        "env_steps": 194,
        "env_steps_executed": 206,
        "tokens_sampled": 100,
        "tokens_trained": 40,
        "extra_tokens": 1014,
        "extra_env_steps": 6,
        "seconds": 9.0,
    }


def test_runs_of_earlier_versions_tell_what_they_learned_from_and_not_what_was_executed(tmp_path: Path):
    """`env_steps` was the budget there, the same whatever was left over."""
    write_run(tmp_path, metrics=[iteration(1, env_steps_learned=93.0), iteration(2), {"kind": "done"}])
    table = only(tmp_path)
    assert table.rows[1].costs["env_steps"] == 193
    assert as_json(table)["rows"][1]["costs"]["env_steps_executed"] is None
    assert "| sparse | 193 | 100 | 80 | 14 | 6 | - | 5 |" in markdown(table)


def test_the_warm_start_counts_each_seed_once(tmp_path: Path):
    for reward in ("sparse", "ppo"):
        for seed in (0, 1):
            write_run(tmp_path, reward=reward, seed=seed, start="1000" if seed else "1110")
    table = only(tmp_path)
    assert labels(table) == ["warm start", "ppo", "sparse"]
    assert table.rows[0].seeds == (0, 1)
    assert table.rows[0].success.mean == pytest.approx(0.5)
    assert table.notes == ()


def test_the_cost_of_the_warm_start_is_that_of_the_run_that_made_it(tmp_path: Path):
    for reward, seconds in (("ppo", 0.1), ("sparse", 30.0), ("uniform", 0.2)):
        stage = {"kind": "stage", "stage": "warm start", "seconds": seconds}
        write_run(tmp_path, reward=reward, metrics=[stage, {"kind": "done"}])
    assert only(tmp_path).rows[0].costs["seconds"] == 30.0


def test_unfinished_and_failed_runs_are_named_and_not_averaged(tmp_path: Path):
    write_run(tmp_path, seed=0, wins="0000")
    unfinished = write_run(tmp_path, seed=1, wins="1111", metrics=[iteration(1)])
    write_run(tmp_path, seed=2, wins="1111", metrics=[{"kind": "failed", "reason": "the loss is NaN"}])
    table = only(tmp_path)
    assert table.rows[1].seeds == (0,)
    assert table.rows[1].success.mean == 0.0
    assert f"left out, unfinished: alfworld/sparse/{unfinished.name}" in table.notes
    assert any("failed (the loss is NaN)" in note for note in table.notes)


def test_a_table_of_unfinished_runs_has_no_rows_but_names_them(tmp_path: Path):
    write_run(tmp_path, metrics=[])
    table = only(tmp_path)
    assert table.rows == ()
    assert "left out, unfinished" in markdown(table)


def test_a_copy_of_a_run_is_no_second_seed(tmp_path: Path):
    write_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    table = only(tmp_path)
    assert table.rows[1].success.n == 1
    assert any("second folder of sparse with seed 0" in note for note in table.notes)


def test_a_path_that_is_given_twice_counts_once(tmp_path: Path):
    path = write_run(tmp_path)
    (table,) = tables([path, tmp_path, path])
    assert table.rows[1].success.n == 1
    assert table.notes == ()


@pytest.mark.parametrize("where", ["panel", "weights"])
def test_methods_that_did_not_start_from_the_same_policy_are_named(tmp_path: Path, where: str):
    for number, reward in enumerate(("sparse", "ppo")):
        weights = {"kind": "stage", "stage": "warm start", "weights": f"w{number if where == 'weights' else 0}"}
        start = "0100" if where == "panel" and number else "1000"
        write_run(tmp_path, reward=reward, start=start, metrics=[weights, {"kind": "done"}])
    assert any("unequal warm starts" in note and "seed 0" in note for note in only(tmp_path).notes)


@pytest.mark.parametrize(
    ("starts", "note"),
    [
        (("0000", "1000"), "warm start at the floor (0.0 % with seed 0): methods can hardly be told apart here"),
        (
            ("0000", "0000"),
            "warm start at the floor (0.0 %, 0.0 % with seeds 0, 1): methods can hardly be told apart here",
        ),
        (("1000", "1111"), "warm start at the ceiling (100.0 % with seed 1): methods can hardly be told apart here"),
    ],
)
def test_a_warm_start_near_0_or_100_percent_is_named(tmp_path: Path, starts: tuple[str, str], note: str):
    for seed, start in enumerate(starts):
        write_run(tmp_path, seed=seed, start=start)
    assert [one for one in only(tmp_path).notes if "told apart" in one] == [note]


def test_a_warm_start_that_wins_one_task_of_twelve_is_not_at_the_floor(tmp_path: Path):
    for name, wins in (("near", "0" * 12), ("away", "1" + "0" * 11)):
        write_run(tmp_path / name, start=wins, wins="10" * 6, tasks=tuple(MANY))
        assert any("told apart" in note for note in only(tmp_path / name).notes) == (name == "near")


def test_runs_that_played_other_tasks_are_named(tmp_path: Path):
    write_run(tmp_path, reward="sparse", wins="1111")
    write_run(tmp_path, reward="ppo", wins="111")
    assert any("unequal evaluation sets" in note for note in only(tmp_path).notes)


def test_methods_with_other_seeds_are_named(tmp_path: Path):
    write_run(tmp_path, reward="sparse", seed=0)
    write_run(tmp_path, reward="ppo", seed=1)
    assert "seeds differ: ppo has [1]" in only(tmp_path).notes


def test_runs_that_differ_in_more_than_the_method_get_tables_of_their_own(tmp_path: Path):
    write_run(tmp_path)
    write_run(tmp_path, reward="ppo", batch=3)
    write_run(tmp_path, reward="ppo", ppo={"clip": 0.5})
    assert [len(table.rows) for table in tables([tmp_path])] in ([3, 2], [2, 3])
    write_run(tmp_path / "other evaluation set", facts=FACTS | {"panel": "ffff"})
    assert len(tables([tmp_path])) == 3


def test_options_of_a_method_make_a_row_of_its_own(tmp_path: Path):
    write_run(tmp_path)
    write_run(tmp_path, reward_options={"beta": 2})
    assert labels(only(tmp_path)) == ["warm start", "sparse", "sparse (beta=2)"]


def test_an_evaluated_agent_is_called_by_its_name(tmp_path: Path):
    write_run(tmp_path, start="", facts=FACTS | {"agent": "expert"})
    assert labels(only(tmp_path)) == ["expert"]


def test_a_reward_in_a_file_is_shown_without_its_folder(tmp_path: Path):
    write_run(tmp_path, reward=f"{tmp_path}/mine.py:Mine")
    assert str(tmp_path) not in json.dumps(as_json(only(tmp_path)))
    assert "mine.Mine" in labels(only(tmp_path))


def test_t03_torn_lines_are_counted_and_named(tmp_path: Path):
    path = write_run(tmp_path)
    with (path / "episodes.jsonl").open("ab") as file:
        file.write(b'{"stage": "eval", "iter')
    assert any("1 unreadable lines" in note for note in only(tmp_path).notes)
    assert only(tmp_path).rows[1].success.mean == 0.5


def test_a_row_of_an_unknown_kind_and_lost_episodes_are_told(tmp_path: Path):
    rows = [iteration(1), iteration(2) | {"kind": "iteratiom"}, {"kind": "done"}]
    path = write_run(tmp_path, metrics=rows, facts=FACTS | {"panel_tasks": 6})
    name = "/".join(path.parts[-3:])
    told = [note for note in only(tmp_path).notes if note.startswith(name)]
    assert told == [
        f"{name}: 1 unreadable lines and 0 repeated episodes ignored",
        f"{name}: metrics.jsonl has rows of an unknown kind ('iteratiom')",
        f"{name}: 2 tasks of the evaluation set have no episode on record",
    ]


def test_the_same_runs_give_the_same_bytes_wherever_they_lie(tmp_path: Path):
    for reward in ("sparse", "ppo"):
        for seed in (1, 0):
            wins = {"sparse": "1110", "ppo": "0100"}[reward][:: 2 * seed - 1]
            write_run(tmp_path / "a", reward=reward, seed=seed, wins=wins, start="1001"[seed:] + "0")
    shutil.copytree(tmp_path / "a", tmp_path / "b/deep")
    for path in (tmp_path / "b").rglob("metrics.jsonl"):
        path.write_text(unchecked(path).replace('"seconds":2.5', '"seconds":77.25'))
    first, second = only(tmp_path / "a"), only(tmp_path / "b")
    assert markdown(first, seconds=False) == markdown(second, seconds=False)
    assert json.dumps(as_json(first, seconds=False)) == json.dumps(as_json(second, seconds=False))
    assert markdown(first) != markdown(second)
    assert str(tmp_path) not in markdown(first) + json.dumps(as_json(first))


def test_t07_hostile_text_does_not_leave_its_cell(tmp_path: Path):
    write_run(tmp_path, reward_options={"name": "a|b\x1b[31m[red]\nc"})
    out = io.StringIO()
    show(tables([tmp_path]), out)
    assert "\x1b" not in out.getvalue()
    line = next(line for line in out.getvalue().splitlines() if "name=a" in line and "0.500" in line)
    assert line.count("|") - line.count("\\|") == 10


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_boxes_a_pipe_markdown_and_a_program_json(tmp_path: Path):
    write_run(tmp_path, reward_options={"name": "[red]x[/red]"})
    boxes, pipe, program = Terminal(), io.StringIO(), io.StringIO()
    show(tables([tmp_path]), boxes, full=True)
    show(tables([tmp_path]), pipe)
    show(tables([tmp_path]), program, json_wanted=True)
    assert "───" in boxes.getvalue()
    assert "|" not in boxes.getvalue()
    assert "[red]x[/red]" in boxes.getvalue().replace("\n", "")
    assert "| method | level | seeds |" in pipe.getvalue()
    line = json.loads(program.getvalue())["tables"][0]["rows"][1]
    assert line["success"] == {"mean": 0.5, "low": None, "high": None, "n": 1}


def test_a_narrow_terminal_folds_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    for seed, wins in enumerate(("1111", "1010")):
        write_run(tmp_path, seed=seed, wins=wins, reward_options={"a": "long name" * 5})
    out = Terminal()
    show(tables([tmp_path]), out, full=True)
    text = re.sub(r"\x1b\[[0-9]*m", "", out.getvalue())
    assert max(map(len, text.splitlines())) <= 80
    assert {
        "75.0",
        "0.0-100.0",
        "0.750",
        "100.0",
        "CI",
        "malformed",
        "outcome",
        "turns",
        "(adjusted)",
    } <= set(text.split())


@pytest.mark.parametrize("damage", [lambda path: None, lambda path: path.write_text("{}"), lambda path: path.unlink()])
def test_a_folder_without_runs_is_a_user_error(tmp_path: Path, damage: Any):
    (tmp_path / "run.json").write_text("no JSON")
    damage(tmp_path / "run.json")
    with pytest.raises(UserError, match=r"run\.json|no run folder"):
        tables([tmp_path])


def test_a_method_that_is_told_more_than_others_is_named(tmp_path: Path):
    write_run(tmp_path, facts=FACTS | {"extra_information": "expert episodes"}, reward="stepagent-inverse")
    write_run(tmp_path, facts=FACTS | {"extra_information": None})
    assert only(tmp_path).notes == ("stepagent-inverse uses expert episodes; other methods do not",)


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("collected", "18,000 env steps (method overhead not counted)"),
        ("env-steps", "18,000 env steps (overhead env steps counted)"),
        ("tokens", "by sampled tokens (overhead sampled tokens counted)"),
    ],
)
def test_the_training_budget_is_said_and_another_one_is_another_table(match: str, said: str, tmp_path: Path):
    write_run(tmp_path, ppo={"match": match})
    write_run(tmp_path, ppo={"match": match, "iterations": 1})
    assert len(tables([tmp_path])) == 2
    assert said in {table.about["training_budget"] for table in tables([tmp_path])}
    write_run(tmp_path / "agent", facts=FACTS | {"agent": "expert"})
    assert only(tmp_path / "agent").about["training_budget"] is None


# Differences


def write_many(results: Path, reward: str, *seeds: str, start: str = "100000000000", **settings: Any) -> list[Path]:
    return [
        write_run(results, reward=reward, seed=seed, wins=wins, start=start, tasks=tuple(MANY), **settings)
        for seed, wins in enumerate(seeds)
    ]


def only_difference(table: Table, method: str, reference: str) -> Difference:
    (found,) = [one for one in table.differences if (one.method, one.reference) == (method, reference)]
    return found


def pairs(table: Table) -> list[tuple[str, str]]:
    return [(one.method, one.reference) for one in table.differences]


def test_one_seed_is_judged_on_tasks_and_says_so(tmp_path: Path):
    write_many(tmp_path, "ppo", "110000001000")
    write_many(tmp_path, "sparse", "111111111100", start="100000000000")
    table = only(tmp_path)
    found = only_difference(table, "ppo", "sparse")
    # 7 of 12 tasks, all of them lost: one of three comparisons, and no surer than McNemar's 2 / 2^7.
    assert found.found.effect.mean == pytest.approx(-7 / 12)
    assert 2 / 2**7 < found.found.p < 3 * 2 / 2**7
    assert found.found.effect.high is not None and found.found.effect.high < 0
    assert not found.found.trained
    assert found.words.startswith(
        "ppo is worse than sparse (tasks only; seeds not sampled; -58.3 pp, simultaneous 95 %"
    )
    line = next(line for line in markdown(table).splitlines() if line.startswith("| ppo | -58.3 |"))
    assert line.endswith("| worse (tasks only; seeds not sampled) |")
    assert "Training seeds were not sampled" in markdown(table)


def test_several_seeds_are_judged_with_the_luck_of_training(tmp_path: Path):
    """Of one seed nine tasks are lost, which is sure; of another none is."""
    for reward, seeds in (("sparse", ("111111111111", "000000000111")), ("ppo", ("000000000111", "000000000111"))):
        write_many(tmp_path, reward, *seeds)
    found = only_difference(only(tmp_path), "ppo", "sparse")
    assert found.found.trained
    assert found.verdict == "no significant difference"
    write_many(tmp_path / "one", "sparse", "111111111111")
    write_many(tmp_path / "one", "ppo", "000000000111")
    found = only_difference(only(tmp_path / "one"), "ppo", "sparse")
    assert found.verdict == "worse (tasks only; seeds not sampled)"


def test_seeds_are_paired_by_number_and_tasks_by_name(tmp_path: Path):
    """The tasks of one run are in another order, and it has a seed more; each would break a pairing by place."""
    first = [[1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1], [1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1]]
    second = [[0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1]]
    for seed in (0, 1):
        wins = "".join(map(str, second[seed]))[::-1]
        write_run(tmp_path, reward="uniform", seed=seed + 1, wins=wins, start="", tasks=tuple(MANY)[::-1])
        wins = "".join(map(str, first[seed]))
        write_run(tmp_path, reward="sparse", seed=seed + 1, wins=wins, start="", tasks=tuple(MANY))
    write_run(tmp_path, reward="sparse", seed=0, wins="0" * 12, start="", tasks=tuple(MANY))
    found = only_difference(only(tmp_path), "uniform", "sparse").found
    expected = paired(second, first)
    assert (found.seeds, found.tasks) == (2, 12)
    assert found.effect.mean == pytest.approx(expected.difference)


def test_the_verdicts_are_of_the_whole_table(tmp_path: Path):
    """Both references and the ablation are one family: what `differences` makes of all pairs at once."""
    write_many(tmp_path, "ppo", "110000001000", "110011001000")
    write_many(tmp_path, "sparse", "111111111100", "011110111100")
    for options, wins in (({}, "111111110000"), ({"beta": 0}, "111100000000")):
        write_many(tmp_path, "spa", wins, wins[::-1], reward_options=options)
    table = only(tmp_path)
    assert [(one.method, one.reference) for one in table.differences] == [
        ("ppo", "warm start"),
        ("spa", "warm start"),
        ("spa (beta=0)", "warm start"),
        ("sparse", "warm start"),
        ("ppo", "sparse"),
        ("spa", "sparse"),
        ("spa (beta=0)", "sparse"),
    ]
    ((group,), _) = collect([tmp_path])
    seen = board({
        label: scores({run.seed: run.panels[panel] for run in runs}) for label, (runs, panel) in group.rows.items()
    })  # fmt: skip
    together = differences(seen, [*pairs(table), ("spa (beta=0)", "spa")], group.identity)
    assert list(table.differences) == together[:7]
    assert table.ablations[0].differences == (together[7],)
    assert table.resolution.comparisons == 8
    alone = differences(seen, [("ppo", "sparse")], group.identity)
    assert only_difference(table, "ppo", "sparse").found.p > alone[0].found.p
    assert "adjusted for all 8 comparisons of this table" in markdown(table)


@pytest.mark.parametrize(("baseline", "reference"), [(None, "sparse"), ("ppo", "ppo"), ("uniform", "uniform")])
def test_the_baseline_is_chosen_or_sparse(tmp_path: Path, baseline: str | None, reference: str):
    for reward in ("uniform", "sparse", "ppo"):
        write_run(tmp_path, reward=reward)
    (table,) = tables([tmp_path], baseline)
    others = sorted({"ppo", "sparse", "uniform"} - {reference})
    assert pairs(table)[3:] == [(other, reference) for other in others]
    assert f"difference of success from {reference}, same tasks and seeds" in markdown(table)


@pytest.mark.parametrize(("there", "reference"), [(("uniform", "ppo"), "ppo"), (("uniform", "spa"), "spa")])
def test_without_sparse_the_baseline_is_ppo_or_the_first_of_the_alphabet(
    tmp_path: Path, there: tuple[str, str], reference: str
):
    for reward in there:
        write_run(tmp_path, reward=reward)
    assert only(tmp_path).differences[-1].reference == reference


def test_the_credit_level_of_every_method_stands_in_the_table(tmp_path: Path):
    """As the run says it; of one of an older version, as it was set."""
    write_run(tmp_path, reward="ppo", facts=FACTS | {"level": "token"})
    write_run(tmp_path, reward="sparse", facts=FACTS | {"level": "turn"})
    write_run(tmp_path, reward="uniform")
    table = only(tmp_path)
    assert [(row.label, row.level) for row in table.rows] == [
        ("warm start", None), ("ppo", "token"), ("sparse", "turn"), ("uniform", None),
    ]  # fmt: skip
    lines = markdown(table).splitlines()
    assert [line.split(" | ")[1] for line in lines if line.startswith(("| ppo | t", "| sparse | t", "| uniform | - |"))]
    assert any(line.startswith("| ppo | token | 1 |") for line in lines)
    write_run(tmp_path / "set", reward="uniform", ppo={"level": "token"})
    assert only(tmp_path / "set").rows[1].level == "token"


def test_the_warm_start_may_be_the_only_reference(tmp_path: Path):
    for reward in ("sparse", "ppo"):
        write_run(tmp_path, reward=reward)
    (table,) = tables([tmp_path], "warm start")
    assert pairs(table) == [("ppo", "warm start"), ("sparse", "warm start")]


def test_a_baseline_that_nobody_ran_is_a_user_error(tmp_path: Path):
    write_run(tmp_path)
    with pytest.raises(UserError, match="no finished run of the baseline ppo; there are: sparse, warm start"):
        tables([tmp_path], "ppo")


def test_a_baseline_need_not_be_in_every_table(tmp_path: Path):
    write_run(tmp_path)
    write_run(tmp_path, reward="ppo", ppo={"clip": 0.5})
    write_run(tmp_path, reward="uniform", ppo={"clip": 0.5})
    found = {pair for table in tables([tmp_path], "ppo") for pair in pairs(table)}
    assert found == {("sparse", "warm start"), ("ppo", "warm start"), ("uniform", "warm start"), ("uniform", "ppo")}


def test_one_method_without_a_start_is_compared_with_nothing(tmp_path: Path):
    write_run(tmp_path, start="", facts=FACTS | {"agent": "expert"})
    table = only(tmp_path)
    assert table.differences == ()
    assert "Differences:" not in markdown(table)
    assert table.resolution.assumed
    assert table.resolution.comparisons == 1


def test_methods_without_a_common_seed_are_not_compared(tmp_path: Path):
    write_run(tmp_path, reward="sparse", seed=0)
    write_run(tmp_path, reward="ppo", seed=1)
    table = only(tmp_path)
    assert ("sparse", "ppo") not in pairs(table)
    assert "not compared: ppo and sparse share no seed and task" in table.notes
    assert only_difference(table, "sparse", "warm start").found.seeds == 1


def test_tasks_that_one_of_two_methods_lacks_are_left_out_of_both_and_said(tmp_path: Path):
    write_many(tmp_path, "ppo", "000000000000")
    write_many(tmp_path, "sparse", "11111111")
    table = only(tmp_path)
    found = only_difference(table, "ppo", "sparse").found
    assert (found.tasks, found.effect.mean) == (8, -1.0)
    assert "ppo and sparse are compared on 8 tasks only: on these both have a result" in table.notes


def test_an_episode_with_an_error_is_no_half_of_a_pair(tmp_path: Path):
    write_run(tmp_path, reward="ppo", wins="0000", start="")
    path = write_run(tmp_path, reward="sparse", wins="111", start="")
    with RunFolder.open(path, build({"env": "alfworld", "reward": "sparse"}), FACTS) as folder:
        log(folder, played("k4", False, error="engine crashed"), "eval", 3)
    found = only_difference(only(tmp_path), "ppo", "sparse").found
    assert (found.tasks, found.effect.mean) == (3, -1.0)


def test_equal_methods_differ_by_nothing_and_it_is_said_in_words(tmp_path: Path):
    for reward in ("sparse", "ppo"):
        write_many(tmp_path, reward, "110000001000", "100000001011")
    table = only(tmp_path)
    found = only_difference(table, "ppo", "sparse")
    assert (found.found.effect.mean, found.found.p) == (0.0, 1.0)
    assert found.found.effect.low is not None and found.found.effect.high is not None
    low, high = 100 * found.found.effect.low, 100 * found.found.effect.high
    assert low == pytest.approx(-high)
    said = "no significant difference between ppo and sparse"
    assert found.words == f"{said} (+0.0 pp, simultaneous 95 % CI {low:+.1f} to {high:+.1f}, adjusted p = 1)"
    assert f"| ppo | +0.0 | {low:+.1f} to {high:+.1f} | 1.000 | no significant difference |" in markdown(table)


def test_a_difference_does_not_change_when_a_method_joins_but_is_less_sure(tmp_path: Path):
    write_many(tmp_path, "ppo", "110000001000", "110011001000")
    write_many(tmp_path, "sparse", "111111111100", "011110111100")
    before = only_difference(only(tmp_path), "ppo", "sparse").found
    for reward in ("uniform", "spa", "grpo"):
        write_many(tmp_path, reward, "110000001000", "110011001000")
    after = only_difference(only(tmp_path), "ppo", "sparse").found
    assert (after.effect.mean, after.seeds, after.tasks) == (before.effect.mean, before.seeds, before.tasks)
    assert after != before


def test_the_variation_of_a_method_is_split(tmp_path: Path):
    write_many(tmp_path, "sparse", "111111111100", "011110111000")
    table = only(tmp_path)
    assert [one.method for one in table.variation] == ["warm start", "sparse"]
    start, sparse = table.variation
    assert sparse.spread == spread([list(map(float, "111111111100")), list(map(float, "011110111000"))])
    assert sparse.everywhere.low is not None and sparse.everywhere.high is not None
    assert sparse.everywhere.mean == pytest.approx(17 / 24)
    assert 0 <= sparse.everywhere.low < 0.5 < 0.8 < sparse.everywhere.high <= 1
    assert start.spread.training == 0.0
    assert re.search(r"\| sparse \| [\d.]+-[\d.]+ \| [\d.]+ \| [\d.]+ \|", markdown(table))


def test_the_interval_over_tasks_is_that_within_kinds(tmp_path: Path):
    """All of one kind are solved, all of the other not: within kinds nothing varies."""
    write_many(tmp_path, "sparse", "101010101010")
    (_, sparse) = only(tmp_path).variation
    assert (sparse.everywhere.mean, sparse.everywhere.low) == (0.5, None)


def test_the_minimum_detectable_effect_is_that_of_the_verdicts_with_the_baseline(tmp_path: Path):
    write_many(tmp_path, "ppo", "110000001000", "110100001000")
    write_many(tmp_path, "sparse", "111111111100", "011111111100")
    write_many(tmp_path, "uniform", "011111111100", "111011101110")
    table = only(tmp_path)
    found = table.resolution
    assert (found.tasks, found.seeds, found.comparisons, found.pooled, found.assumed) == (12, 2, 5, True, False)
    effects = [one.found.detectable or 0 for one in table.differences if one.reference == "sparse"]
    assert found.smallest == pytest.approx(sum(effects) / 2)
    assert found.smallest is not None
    said = f"minimum detectable effect (80 % power) against sparse: {100 * found.smallest:.1f} pp on 12 tasks, 2 seeds"
    assert f"- {said}, as one of 5 comparisons\n" in markdown(table)


@pytest.mark.parametrize(("wins", "sampled"), [(("110000001000",), 1), (("110000001000",) * 2, 2)])
def test_where_no_pair_differs_the_effect_is_of_the_seeds_that_ran(wins: Sequence[str], sampled: int, tmp_path: Path):
    for reward in ("sparse", "ppo"):
        write_many(tmp_path, reward, *wins, start="110000001000")
    table = only(tmp_path)
    found = table.resolution
    assert (found.seeds, found.trained, found.assumed) == (sampled, sampled > 1, True)
    expected = minimum_detectable(12, sampled, [(0, 2), (1, 2), (0, 1)], discordance=0.2)
    assert (expected is None) == (sampled == 2)  # 12 tasks that agree have a t of 4.9 at most, 2 seeds ask for more
    effect = "no effect is detectable" if expected is None else f"{100 * expected:.1f} pp"
    seeds = "2 seeds" if sampled == 2 else "training seeds not sampled"
    said = f"{effect} on 12 tasks, {seeds}, as one of 3 comparisons"
    assert f"{said}, if equal methods differ on 20.0 % of tasks (assumed)" in markdown(table)


def test_the_minimum_detectable_effect_is_that_of_the_comparisons_with_most_seeds(tmp_path: Path):
    for reward in ("ppo", "sparse", "uniform"):
        write_many(tmp_path, reward, "110000001000", "110100001011", "000100111011")
    before = only(tmp_path).resolution
    write_many(tmp_path, "grpo", "100000001000")
    after = only(tmp_path)
    assert (before.reference, before.seeds, before.fewer) == ("sparse", 3, 0)
    assert (after.resolution.seeds, after.resolution.fewer) == (3, 1)
    own = [only_difference(after, name, "sparse").found for name in ("ppo", "uniform")]
    assert [one.differing for one in own] == [0, 0] and after.resolution.assumed
    assert "12 tasks, 3 seeds, as one of 7 comparisons" in markdown(after)
    assert "(assumed); 1 comparison of fewer seeds or tasks not counted" in markdown(after)


def test_where_all_tasks_differ_nothing_is_assumed(tmp_path: Path):
    for reward, wins in (("sparse", "1" * 12), ("ppo", "0" * 12)):
        write_many(tmp_path, reward, wins, start="110000001000")
    found = only(tmp_path).resolution
    assert not found.assumed
    assert found.smallest == pytest.approx(only_difference(only(tmp_path), "ppo", "sparse").found.detectable)


def test_where_methods_differ_on_too_few_tasks_nothing_is_assumed_nor_detectable(tmp_path: Path):
    for reward, wins in (("sparse", "11100"), ("ppo", "00100")):
        write_run(tmp_path, reward=reward, wins=wins, start="00100", tasks=tuple(MANY)[:5])
    table = only(tmp_path)
    assert (table.resolution.smallest, table.resolution.assumed) == (None, False)
    assert "against sparse: no effect is detectable on 5 tasks, training seeds not sampled, as one" in markdown(table)


def test_a_table_without_comparisons_has_the_seeds_and_the_training_variance_of_its_row(tmp_path: Path):
    for seed, wins in enumerate(("1" * 12, "110000000000", "111111000000")):
        write_run(tmp_path, seed=seed, wins=wins, tasks=tuple(MANY), start="", facts=FACTS | {"agent": "expert"})
    table = only(tmp_path)
    assert table.differences == () and table.resolution.trained
    deviation = (np.var([1, 1 / 6, 1 / 2], ddof=1) - 0.1 / 12) ** 0.5
    assert table.resolution.smallest == minimum_detectable(12, 3, [(0, 1)], deviation=float(deviation))
    assert "against another method: no effect is detectable on 12 tasks, 3 seeds, if equal" in markdown(table)


def test_a_short_run_says_nothing_of_the_training_variance():
    values = np.random.default_rng(0).integers(0, 2, size=(3, 3, 100)).astype(float)
    values[2, :, 2:] = np.nan
    values[2, :, :2] = [[0, 0], [1, 1], [0, 1]]
    names = tuple(f"t{n:03}" for n in range(100))
    short = Board(("a", "b", "c"), (0, 1, 2), names, values).training
    alone = Board(("a", "b"), (0, 1, 2), names, values[:2]).training
    assert short is not None and alone is not None
    assert short.beside[0] == pytest.approx(alone.beside[0])
    assert short.beside_freedom[0] == alone.beside_freedom[0] == 2


def test_a_row_of_one_seed_among_several_says_whose_training_variance_it_has(tmp_path: Path):
    write_many(tmp_path, "sparse", "111111111100", "011110111000")
    write_many(tmp_path, "ppo", "110000001000", "100000001011")
    told = "Of one seed, with the training variance of the other rows"
    assert told not in markdown(only(tmp_path))
    assert "about 5 % of tables" in markdown(only(tmp_path))
    assert "Its training variance is pooled over the rows, so it may be shorter" in markdown(only(tmp_path))
    write_many(tmp_path, "uniform", "110000001000")
    assert f"{told}: uniform." in markdown(only(tmp_path))


def test_with_one_seed_at_most_5_percent_of_tables_are_wrong(tmp_path: Path):
    write_many(tmp_path, "sparse", "111111111100")
    text = markdown(only(tmp_path))
    assert "at most 5 % of tables" in text and "at least 95 %" in text
    assert "with the training variance" not in text and "Its training variance" not in text


def test_settings_that_share_no_seed_are_named(tmp_path: Path):
    write_run(tmp_path, reward="sparse")
    for seed, options in ((0, {}), (1, {"beta": 0})):
        write_run(tmp_path, reward="spa", seed=seed, reward_options=options)
    assert "not compared: spa (beta=0) and spa share no seed and task" in only(tmp_path).notes


def test_graded_scores_are_no_multiples_of_the_share_of_one_task():
    values = np.array([[0.4, 0.45, 0.5], [0.45, 0.45, 0.45], [0.5, 0.4, 0.45]])
    names = tuple(f"t{n:02}" for n in range(20))
    graded = Board(("a", "b", "c"), (0, 1, 2), names, values[:, :, None].repeat(20, 2))
    won = np.arange(20) < np.round(values * 20)[:, :, None]
    successes = Board(("a", "b", "c"), (0, 1, 2), names, won.astype(float))
    assert graded.training is not None and successes.training is not None
    assert (graded.training.pooled, successes.training.pooled) == (False, True)


def test_an_assumed_effect_has_the_training_variance_of_the_table():
    runs = np.array([[0.45, 0.5, 0.55], [0.55, 0.5, 0.45]])[:, :, None].repeat(100, axis=2)
    seen = Board(("a", "b", "c"), (0, 1, 2), tuple(f"t{n:03}" for n in range(100)), np.concatenate([runs, runs[:1]]))
    judged = differences(seen, [("c", "a")], "x", 999)
    found = resolution(judged, "a", seen)
    assert seen.training is not None and found.assumed
    deviation = max(0.0, float(seen.training.beside[0]) - 0.1 / 100) ** 0.5
    assert deviation > 0.02 and found.smallest is not None
    assert found.smallest == minimum_detectable(100, 3, [(2, 0)], discordance=0.2, deviation=deviation)


def test_an_evaluation_set_that_is_too_small_says_so(tmp_path: Path):
    write_run(tmp_path, start="", wins="1", tasks=["k1"])
    text = markdown(only(tmp_path))
    said = "against another method: no effect is detectable on 1 task, training seeds not sampled"
    assert f"{said}, if equal methods differ on 20.0 % of tasks (assumed)" in text


def test_differences_are_in_the_json_as_plain_numbers(tmp_path: Path):
    write_many(tmp_path, "ppo", "110000001000")
    write_many(tmp_path, "sparse", "111111111100")
    plain = json.loads(json.dumps(as_json(only(tmp_path)), allow_nan=False))
    found = plain["differences"][-1]
    assert (found["method"], found["reference"], found["verdict"]) == (
        "ppo", "sparse", "worse (tasks only; seeds not sampled)"
    )  # fmt: skip
    assert 2 / 2**7 < found["found"]["p"] < 0.05
    assert set(plain["variation"][0]["spread"]) == {"training", "task", "residual", "evaluation"}
    assert set(plain["resolution"]) == {
        "smallest", "reference", "tasks", "seeds", "fewer", "comparisons", "pooled", "assumed"
    }  # fmt: skip


def test_the_name_of_a_reference_does_not_leave_its_title(tmp_path: Path):
    write_run(tmp_path, reward_options={"name": "a|b\x1b[31m[red]\nc"})
    write_run(tmp_path, reward="uniform")
    boxes, pipe = Terminal(), io.StringIO()
    show(tables([tmp_path]), pipe)
    show(tables([tmp_path]), boxes, full=True)
    assert "\x1b" not in pipe.getvalue()
    assert "[31m[red]" in boxes.getvalue().replace("\n", "")
    (title,) = [line for line in pipe.getvalue().splitlines() if line.startswith("**difference of success from sparse")]
    assert title.endswith("same tasks and seeds**")
