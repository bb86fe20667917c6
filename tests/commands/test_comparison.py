"""Which runs `compare` has, and that several worlds are one command, one file and one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from invoked import invoke
from written_runs import write_run

from spa_bench.commands.comparison import seeds_of
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.training import experiment

FIVE = ["sparse", "ppo", "spa", "spa:bonus=sum", "shuffled"]
PAPER = f"""
env = ["alfworld", "webshop", "virtualhome"]
reward = {json.dumps(FIVE)}
seeds = [0, 7]

[ppo]
iterations = 2

[worlds.webshop.ppo]
iterations = 1
"""


def asked(*words: str) -> list[tuple[str, str, int]]:
    found = invoke("compare", *words, "--dry-run", "--json")
    assert found.exit_code == 0, found.output
    runs = json.loads(found.stdout)
    return [(one["env"], one["reward"], one["seed"]) for one in (runs if isinstance(runs, list) else [runs])]


@pytest.mark.parametrize(
    ("said", "first", "seeds"),
    [
        ("3", None, [0, 1, 2]),
        (3, 4, [4, 5, 6]),
        ("0,1,2", None, [0, 1, 2]),
        ("7, 3,7", None, [7, 3]),
        ("5,", None, [5]),
        ([5], None, [5]),
    ],
)
def test_seeds_are_a_number_or_a_list(said: object, first: int | None, seeds: list[int]):
    assert seeds_of(said, first) == seeds


@pytest.mark.parametrize(
    ("said", "first"), [("0", None), ("0-4", None), ("", None), (",", None), ("-1,2", None), ([1.5], None), ("1,2", 3)]
)
def test_other_seeds_are_one_line(said: object, first: int | None):
    with pytest.raises(UserError, match=r"^--seeds .*: (give their number, such as 3|leave --seed out)"):
        seeds_of(said, first)


def test_worlds_methods_and_seeds_are_asked_for_once_each():
    words = ["--env", "webshop, alfworld,webshop", "--reward", "sparse,ppo", "--seeds", "4,2"]
    both = [("sparse", 4), ("sparse", 2), ("ppo", 4), ("ppo", 2)]
    assert asked(*words) == [(world, *one) for world in ("webshop", "alfworld") for one in both]
    assert asked("--env", "alfworld", "--reward", "ppo", "--set", "seed=4", "--seeds", "2") == [
        ("alfworld", "ppo", 4), ("alfworld", "ppo", 5)
    ]  # fmt: skip


def test_a_file_names_them_and_what_is_typed_wins(tmp_path: Path):
    (file := tmp_path / "paper.toml").write_text(PAPER)
    words = ["--config", str(file)]
    assert len(asked(*words)) == 3 * 5 * 2
    assert asked(*words, "--env", "webshop", "--reward", "ppo", "--seeds", "1") == [("webshop", "ppo", 0)]
    shown = json.loads(invoke("compare", *words, "--dry-run", "--json").stdout)
    assert {(one["env"], one["ppo"]["iterations"]) for one in shown} == {
        ("alfworld", 2), ("webshop", 1), ("virtualhome", 2)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "--env", "alfworld", "--reward", "sparse spa"], "separate several by commas, as in sparse,spa"),
        (["compare", "--env", "alfworld webshop", "--reward", "spa"], "as in alfworld,webshop"),
        (["compare", "--env", "alfworld,webshp", "--reward", "spa"], "did you mean webshop?"),
        (["compare", "--reward", "spa"], "no --env: choose of alfworld"),
        (["run", "--env", "alfworld", "--reward", "sparse,spa"], "`spa-bench compare` takes several"),
        (["run", "--env", "alfworld,webshop", "--reward", "spa"], "`spa-bench compare` takes several"),
        (["run", "--config", "paper.toml", "--env", "alfworld"], "is for `compare`"),
        (["run", "--config", "paper.toml", "--reward", "spa"], "is for `compare`"),
        (["run", "--config", "paper.toml", "--env", "alfworld", "--reward", "spa"], "seeds=[0, 7] is for `compare`"),
    ],
)
def test_what_is_no_comparison_is_one_line(
    words: Sequence[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("paper.toml").write_text(PAPER)
    found = invoke(*words)
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.output
    assert message in found.stderr


def test_five_methods_in_three_worlds_are_one_command_and_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The runs themselves are written by hand; that a comparison makes them is tested in `training`."""

    def compare(configs: Sequence[RunConfig], results: Path, jobs: int, *_: Any) -> list[Path]:
        assert jobs == 2
        return [
            write_run(**config.model_dump(mode="json", exclude_defaults=True), results=results) for config in configs
        ]

    monkeypatch.setattr(experiment, "compare", compare)
    (file := tmp_path / "paper.toml").write_text(PAPER)
    found = invoke("compare", "--config", str(file), "--jobs", "2", "--results", str(tmp_path / "results"))
    assert found.exit_code == 0, found.output
    first = found.stdout.split("\n\n")[1].splitlines()
    for world in ("alfworld", "webshop", "virtualhome"):
        assert f"{world}: success %" in first[0]
    labels = [line.split("|")[1].strip() for line in first[2:]]
    assert sorted(labels) == sorted(["warm start", "sparse", "ppo", "spa", "spa (bonus=sum)", "shuffled"])
    table = json.loads(invoke("report", str(tmp_path / "results"), "--json").stdout)["tables"]
    assert len(table) == 3
