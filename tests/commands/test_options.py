"""Options that follow a method's name, in every command that takes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from spa_bench.commands.cli import app
from spa_bench.commands.options import Flags, listed, method_options
from spa_bench.core import UserError


@pytest.mark.parametrize(
    ("said", "name", "options"),
    [
        ("spa", "spa", {}),
        ("spa:bonus=sum", "spa", {"bonus": "sum"}),
        ("spa:alpha=2:exact=false", "spa", {"alpha": 2, "exact": False}),
        ("folder/mine.py:Mine", "folder/mine.py:Mine", {}),
        ("folder/mine.py:Mine:size=3", "folder/mine.py:Mine", {"size": 3}),
        ("spa:bonus=a=b", "spa", {"bonus": "a=b"}),
    ],
)
def test_a_name_and_its_options(said: str, name: str, options: dict[str, Any]):
    assert method_options(said) == (name, options)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("sparse, ppo,,sparse ", ["sparse", "ppo"]),
        ("m.py:F:w=[1,2],spa", ["m.py:F:w=[1,2]", "spa"]),
        ("m.py:F:w=[[1,2],[3,4]]:v={a=1, b=2},spa", ["m.py:F:w=[[1,2],[3,4]]:v={a=1, b=2}", "spa"]),
        ("a],b", ["a]", "b"]),
        ("", []),
    ],
)
def test_a_comma_separates_methods_but_not_inside_brackets(said: str, names: list[str]):
    assert listed(said) == names


@given(st.text(max_size=30))
def test_any_text_is_a_name_with_options_or_an_error_in_one_line(said: str):
    try:
        name, options = method_options(said)
    except UserError as error:
        assert str(error)
    else:
        assert "=" in said or (name, options) == (said, {})


def test_options_of_the_name_win_over_those_of_set_and_leave_the_others():
    flags = Flags(env="alfworld", assignments=["reward_options.alpha=3", "reward_options.beta=4"])
    assert flags.config(reward="spa:alpha=2").reward_options == {"alpha": 2, "beta": 4}


def rates(**flags: Any) -> tuple[float, float]:
    found = Flags(env="alfworld", **flags).config(reward="spa")
    return found.warm_start.learning_rate, found.ppo.learning_rate


def test_an_adapter_has_ten_times_the_rates_of_a_whole_model_and_the_embedded_one_keeps_its_own(tmp_path: Path):
    lora = "model.adapter=lora"
    assert rates(model="some/model") == pytest.approx((2e-5, 1e-5))
    assert rates(model="some/model", assignments=[lora]) == pytest.approx((2e-4, 1e-4))
    assert rates(model="some/model", assignments=[lora, "ppo.learning_rate=3e-6"]) == pytest.approx((2e-4, 3e-6))
    assert rates(assignments=[lora]) == rates()
    (tmp_path / "own.toml").write_text('[model]\nname = "some/model"\nadapter = "lora"\n[ppo]\nwarmup = 5\n')
    found = Flags(env="alfworld", file=tmp_path / "own.toml").config(reward="spa")
    assert (found.ppo.learning_rate, found.ppo.warmup, found.ppo.microbatch) == (1e-4, 5, 16_384)


def test_compare_takes_one_method_with_several_options_and_a_training_budget():
    words = ["compare", "--env", "alfworld", "--reward", "spa,spa:bonus=sum", "--seeds", "1", "--match", "env-steps"]
    shown = CliRunner().invoke(app, [*words, "--dry-run", "--json"])
    assert shown.exit_code == 0, shown.output
    plain = json.loads(shown.stdout)
    assert [config["reward_options"] for config in plain] == [{}, {"bonus": "sum"}]
    assert {config["ppo"]["match"] for config in plain} == {"env-steps"}
    wrong = CliRunner().invoke(app, [*words[:-1], "seconds", "--dry-run"])
    assert wrong.exit_code == 2 and "ppo.match" in wrong.stderr
    unknown = CliRunner().invoke(app, ["run", "--env", "alfworld", "--reward", "spa:bonsu=sum", "--dry-run"])
    assert unknown.exit_code == 2 and "did you mean bonus" in unknown.stderr


def test_check_takes_options_with_the_name_and_they_win_over_those_of_set():
    def check(*words: str) -> Any:
        return CliRunner().invoke(app, ["check", *words])

    assert check("--reward", "spa:alpha=2", "--set", "reward_options.beta=1").exit_code == 0
    both = check("--reward", "spa:alpha=no", "--set", "reward_options.alpha=1")
    assert (both.exit_code, both.stdout) == (2, "") and "alpha='no'" in both.stderr


def test_compare_takes_a_list_as_an_option(tmp_path: Path):
    mine = tmp_path / "mine.py"
    code = "from spa_bench.rewards.sparse import Sparse\n\n\nclass Mine(Sparse):\n"
    mine.write_text(code + "    def __init__(self, *, weights: list = ()):\n        assert weights == [1, 2]\n")
    words = ["--env", "alfworld", "--reward", f"sparse,{mine}:Mine:weights=[1,2]"]
    shown = CliRunner().invoke(app, ["compare", *words, "--seeds", "1", "--dry-run", "--json"])
    assert shown.exit_code == 0, shown.output
    assert [config["reward_options"] for config in json.loads(shown.stdout)] == [{}, {"weights": [1, 2]}]
