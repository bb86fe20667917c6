"""Runs at a training budget: what is read of them, what tables and the figure take, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from written_runs import iteration, played, row, write_run

from spa_bench.analysis.budgets import at, budgets, shared
from spa_bench.analysis.groups import judge
from spa_bench.analysis.runs import find, load
from spa_bench.analysis.summary import summarise
from spa_bench.commands.cli import app
from spa_bench.commands.comparison import budgets_of
from spa_bench.commands.options import Flags
from spa_bench.config import build
from spa_bench.core import UserError
from spa_bench.figures import budgets as figure
from spa_bench.identity import decisive
from spa_bench.report.contents import gather
from spa_bench.runs.folder import RunFolder

TASKS = ("k1", "k2", "k3", "k4")


def budgeted(
    results: Path, wins: tuple[str, ...] = ("1100", "1110"), end: str = "0010", reward: str = "spa", **other: Any
) -> Path:
    """Iterations of 100 steps, one more than `wins`: evaluated after each with its wins ("": not), and at the end."""
    looks = [
        [{"kind": "evaluation", "iteration": number, "success": 0.5}] if outcomes else []
        for number, outcomes in enumerate((*wins, ""), 1)
    ]
    rows = [one for number, look in enumerate(looks, 1) for one in (iteration(number), *look)]
    metrics = other.pop("metrics", [*rows, {"kind": "done"}])
    settings = {"ppo": {"env_steps": 100, "iterations": len(looks)}, "eval": {"budgets": [100, 200, 300]}}
    path = write_run(results, reward, wins=end, metrics=metrics, **settings, **other)
    with RunFolder(path) as folder:
        folder.episodes.extend(
            row(played(key, won == "1"), "budget", index) | {"iteration": number}
            for number, outcomes in enumerate(wins, 1)
            for index, (key, won) in enumerate(zip(TASKS, outcomes, strict=True) if outcomes else ())
        )
    return path


def test_a_run_at_a_budget_is_the_shorter_run(tmp_path: Path) -> None:
    run = load(budgeted(tmp_path))
    assert budgets(run) == [100, 200, 300] and [one.success for one in run.panels["eval"]] == [
        False,
        False,
        True,
        False,
    ]
    cut = at(run, 200)
    assert [one.success for one in cut.panels["eval"]] == [True, True, True, False]
    assert (len(cut.iterations), cut.costs["env_steps"], cut.costs["tokens_sampled"]) == (2, 200, 100)  # of 300, 150
    assert cut.config["ppo"]["iterations"] == 2 and run.config["ppo"]["iterations"] == 3
    assert budgets(cut) == [100, 200] and at(cut, 200) is cut and at(run, 300) is run
    assert [one.success for one in at(cut, 100).panels["eval"]] == [True, True, False, False]
    with pytest.raises(UserError, match=r"^no evaluation at a budget of 150 environment steps: it has 100, 200, 300$"):
        at(run, 150)
    with pytest.raises(UserError, match="none before its end is on record"):
        at(load(write_run(tmp_path / "plain")), 100)
    assert shared([run, at(run, 200)]) == [100, 200]


def test_what_came_after_a_budget_is_not_in_it(tmp_path: Path) -> None:
    """A run that fails, or goes on, after a budget has been at it; one whose evaluation is not complete has not."""
    look = {"kind": "evaluation", "iteration": 1, "success": 0.5}
    failed = load(budgeted(tmp_path, metrics=[iteration(1), look, iteration(2), {"kind": "failed", "reason": "NaN"}]))
    assert budgets(failed) == [100] and at(failed, 100).finished and at(failed, 100).failure is None
    torn = load(budgeted(tmp_path / "torn", metrics=[iteration(1)]))
    with pytest.raises(UserError, match="no evaluation at a budget of 100"):
        at(torn, 100)
    with pytest.raises(UserError, match="no evaluation at a budget of 300"):
        at(failed, 300)


def test_tables_take_the_named_budget_and_never_the_best(tmp_path: Path) -> None:
    for reward, wins in (("spa", ("1111", "1000")), ("sparse", ("0000", "1100"))):
        budgeted(tmp_path, wins, reward=reward)
    write_run(tmp_path, "ppo")

    def success(budget: int | None) -> dict[str, float]:
        return {row.label: row.success.mean for row in gather([tmp_path], budget=budget).tables[0].rows[1:]}

    assert success(100) == {"spa": 1.0, "sparse": 0.0}
    assert success(200) == {"spa": 0.25, "sparse": 0.5}
    found = gather([tmp_path], budget=200)
    assert found.tables[0].about["checkpoint"] == "200-step"
    assert found.tables[0].about["training_budget"].startswith("200 env steps")
    assert [one.reason for one in found.problems] == [
        "no evaluation at a budget of 200 environment steps: none before its end is on record"
    ]
    assert len(gather([tmp_path]).tables) == 2  # ppo trained with other settings
    output = CliRunner().invoke(app, ["report", str(tmp_path), "--budget", "100", "--out", str(tmp_path / "out")])
    assert output.exit_code == 0 and "| spa | - | 1 | 100.0 |" in output.output


def test_success_by_budget_and_the_mean_over_the_last_three(tmp_path: Path) -> None:
    budgeted(tmp_path, ("1100", "1110"), "0010")
    budgeted(tmp_path, ("1111", "1110"), "1010", seed=1)
    (group,) = judge(find([tmp_path]))[0]
    (method,) = figure.data(group).rows
    assert [(point.steps, point.success.mean) for point in method.points] == [(100, 0.75), (200, 0.75), (300, 0.375)]
    # Of the first seed the mean of 0.5, 0.75 and 0.25, of the second that of 1, 0.75 and 0.5.
    assert method.window is not None and method.window.mean == pytest.approx((0.5 + 0.75) / 2)
    # 100 steps and 3 of overhead in each iteration; 50 + 40 + 7 tokens
    assert [point.costs[:2] for point in method.points] == [(103, 97), (206, 194), (309, 291)]
    (grid,) = (one for one in gather([tmp_path]).sections()[0].grids if one.name == "by-budget")
    assert list(grid.header) == ["method", "100", "200", "300", "mean of last 3"]
    assert [cell.split(" ")[0] for cell in grid.rows[0]] == ["spa", "75.0", "75.0", "37.5", "62.5"]
    assert not [one for one in gather([tmp_path], budget=100).sections()[0].grids if one.name == "by-budget"]
    assert figure.data(judge(find([tmp_path]), 200)[0][0]).rows[0].window is None  # of two budgets
    with pytest.raises(UserError, match="at several training budgets"):
        figure.data(judge([write_run(tmp_path / "plain")])[0][0])


def test_the_mean_over_the_last_budgets_is_of_the_same_ones_for_all_methods(tmp_path: Path) -> None:
    """Budgets are no part of a run's identity: one method may have been evaluated at more of them than another."""
    budgeted(tmp_path, ("1111", "0000", "1000"), "1100", reward="sparse")
    budgeted(tmp_path, ("1111", "", "1000"), "1100", reward="spa")
    rows = figure.data(judge(find([tmp_path]))[0][0]).rows
    assert {row.method: [point.steps for point in row.points] for row in rows} == {
        "sparse": [100, 200, 300, 400],
        "spa": [100, 300, 400],
    }
    assert [row.window.mean for row in rows if row.window] == pytest.approx([(1 + 0.25 + 0.5) / 3] * 2)


def test_a_summary_keeps_the_budgets(tmp_path: Path) -> None:
    path = budgeted(tmp_path / "results")
    (kept,) = summarise([tmp_path / "results"], tmp_path / "kept")
    assert load(kept).panels == load(path).panels and budgets(load(kept)) == [100, 200, 300]
    for budget in (100, 200, None):
        tables = [json.dumps(gather([place], budget=budget).as_json()) for place in (tmp_path / "results", kept)]
        assert tables[0] == tables[1]


def test_what_no_budget_can_be_is_refused_in_one_line() -> None:
    assert budgets_of("6000,3000") == [3000, 6000] and budgets_of(None) == []
    for said in ("", "3000,", "x", "-3000", "0", "3e3", "٣"):
        with pytest.raises(UserError, match="give environment steps with commas"):
            budgets_of(said)

    def refused(**settings: Any) -> str:
        with pytest.raises(UserError) as error:
            build({"env": "alfworld", "reward": "sparse"} | settings)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "ends at a budget of 4000 env steps: use 3000 or 6000" in refused(eval={"budgets": [4000]})
    assert "use 3000" in refused(eval={"budgets": [1000]})
    assert "must rise" in refused(eval={"budgets": [6000, 3000]})
    assert "what training collects: 18000" in refused(eval={"budgets": [21000]})
    assert "ppo.match=collected" in refused(eval={"budgets": [3000]}, ppo={"match": "tokens"})
    assert "ppo.dynamic_sampling=false" in refused(eval={"budgets": [3000]}, ppo={"dynamic_sampling": True})


def test_budgets_say_how_long_training_is_and_are_no_part_of_earlier_identities() -> None:
    config = Flags(env="alfworld", budgets=[600, 1200], assignments=["ppo.env_steps=600"]).config(reward="sparse")
    assert (config.ppo.iterations, config.eval.budgets) == (2, [600, 1200])
    assert Flags(env="alfworld", budgets=[3000]).config(reward="sparse").ppo.iterations == 1
    with pytest.raises(UserError, match="use 3000 or 6000"):
        Flags(env="alfworld", budgets=[3000, 5000]).config(reward="sparse")
    assert "budgets" not in decisive(build({"env": "alfworld", "reward": "sparse"}))["eval"]
