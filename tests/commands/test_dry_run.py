"""`--dry-run`: every value, where it comes from, what is left open, and what is missing before anything is begun."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from invoked import invoke

from spa_bench.commands.options import Flags, to_toml
from spa_bench.config import build, known_keys

RUN = ("run", "--env", "webshop", "--reward", "spa", "--dry-run")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without data, and a folder to stand in."""
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_value_says_where_it_comes_from_and_the_file_is_the_same_run(empty: Path):
    Path("own.toml").write_text("[ppo]\nwarmup = 3\nclip = 0.1\nenv_steps = 950\n[worlds.webshop.explore]\ntasks = 5\n")
    found = invoke(*RUN, "--config", "own.toml", "--set", "ppo.clip=0.3", "--set", "world.options.valid=7")
    assert (found.exit_code, found.stderr) == (0, "")
    lines = set(found.stdout.splitlines())
    assert lines >= {
        "clip = 0.3  # --set",
        "options = { valid = 7 }  # --set",
        "warmup = 3  # --config own.toml",
        "tasks = 5  # --config own.toml",
        "env_steps = 950  # --config own.toml",
        "iterations = 5  # webshop",
        "kl_coef = 0.05  # default",
        "# max_steps = 15  # by webshop",
        'prompt = "auto"  # default',
        '# prompt = "action"  # by model.name',
        "# context = 2048  # by model.name",
        '# level = "turn"  # by spa',
        '# tasks = "all"  # by eval.split',
    }
    assert build(tomllib.loads(found.stdout)) == Flags(
        env="webshop", file=Path("own.toml"), assignments=["ppo.clip=0.3", "world.options.valid=7"]
    ).config(reward="spa")
    assert not (empty / "results").exists() and not (empty / "cache" / "webshop").exists()


def test_no_setting_is_left_out(empty: Path):
    said, section = set(), ""
    for line in invoke(*RUN, "--set", "model.adapter=lora").stdout.splitlines():
        section = f"{line.strip('[]')}." if line.startswith("[") else section
        if " = " in line:
            said.add(section + line.removeprefix("# ").split(" = ")[0])
    unset = {"world.data", "model.thinking", "reward_options.*"}  # without official data, a template, or options
    assert set(known_keys()) - said == unset


def test_options_of_models_and_words_typed_are_sources_too():
    found = Flags(env="alfworld", model="some/model", data="games", split="valid_seen").sources()
    assert found["model.name"] == "--model" and found["eval.split"] == "--split"
    assert (found["world.tasks"], found["world.data"]) == ("--data", "--data")
    assert found["ppo.learning_rate"] == "model"
    assert Flags(env="alfworld", tasks="official", data="x").sources()["world.tasks"] == "--tasks"


def test_a_comment_does_not_leave_its_line():
    sources = Flags(env="alfworld", file=None, assignments=["ppo.clip=1"]).sources()
    text = to_toml({"ppo": {"clip": 1, "level": None}}, sources, {"ppo.level": ("a\nb", "c")})
    assert tomllib.loads(text) == {"ppo": {"clip": 1}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "spa-bench data"),
        (["--tasks", "official"], "spa-bench data"),
        (["--model", "smollm2"], "get it with `spa-bench data get smollm2`"),
        (["--model", "./model"], "cannot load model './model'"),
        (["--track", "tensorbord"], "no tracker 'tensorbord'; known: tensorboard"),
        (["--results", "file/runs"], "file is no folder that can be written"),
        (["--set", "ppo.env_steps=3"], "ppo.env_steps must be at least 120"),
        (["--set", "model.admissible=true"], "set model.memory too"),
        (["--tasks", "official", "--model", "smollm2"], "(and 1 more problems)"),
    ],
)
def test_what_is_missing_is_one_line_below_the_settings(words: Sequence[str], message: str, empty: Path):
    (empty / "file").touch()
    found = invoke(*RUN, *words)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1), found.output
    assert message in found.stderr
    assert tomllib.loads(found.stdout)["env"] == "webshop"


def test_a_folder_without_weights_is_no_model(empty: Path):
    (empty / "model").mkdir()
    (empty / "model" / "config.json").write_text('{"model_type": "llama", "hidden_size": 64}')
    found = invoke(*RUN, "--model", "model")
    assert found.exit_code == 2 and "has no weights (*.safetensors)" in found.stderr
