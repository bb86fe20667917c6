"""Recipes: every one fits the configuration, says where its numbers are from, and takes the memory that it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_models import BILLIONS, SHAPES, local
from typer.testing import CliRunner

from spa_bench import registry
from spa_bench.commands import comparison, recipes
from spa_bench.commands.cli import app
from spa_bench.commands.evaluate import settings_for, settings_to_audit
from spa_bench.commands.options import Flags, check, to_toml
from spa_bench.config import EMBEDDED, RunConfig
from spa_bench.core import UserError
from spa_bench.training.estimate import Network, memory, peak

ROOT = Path(__file__).resolve().parents[2]
NAMES = recipes.names()
WORLDS = registry.names("environments")
OFFICIAL = {"alfworld": 50, "virtualhome": 40, "webshop": 15}
"""Steps of an episode of official tasks, which are not at hand here."""
HEAD = ("For", "Machine", "Memory", "Time")
every = pytest.mark.parametrize("name", NAMES)


def text(name: str) -> str:
    return (recipes.FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def head(name: str) -> dict[str, str]:
    """What the first lines say."""
    lines = text(name).splitlines()[: len(HEAD)]
    return dict(re.fullmatch(r"# (\w+): (.+)", line).groups() for line in lines)  # type: ignore[union-attr, misc]


def configured(name: str, env: str, **flags: Any) -> RunConfig:
    return Flags(env=env, file=Path(f"recipe:{name}"), **flags).config(reward="spa")


def test_the_recipes_are_those_that_were_promised():
    laptop = ["smollm2-cpu", "embedded-official", "smollm2-official"]
    qwen = [f"qwen2.5-{size}" for size in ("0.5b", "1.5b", "1.5b-lora", "7b-lora", "7b-fsdp")]
    assert set(NAMES) == {*laptop, *qwen, "llama-3.2-3b-spa"}


# Settings


@every
@pytest.mark.parametrize("env", WORLDS)
def test_a_recipe_is_a_configuration_of_each_world_with_each_method(name: str, env: str):
    for reward in registry.names("rewards"):
        config = Flags(env=env, file=Path(f"recipe:{name}")).config(reward=reward)
        check(config)
        assert (config.env, config.reward) == (env, reward)
        official = config.world.tasks == "official"
        own = OFFICIAL[env] if official else registry.build("environments", env).max_steps
        steps = config.world.max_steps or own
        assert config.ppo.env_steps >= config.ppo.minibatches * steps, "a minibatch holds a whole episode"


def less(values: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each setting, and all the others."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += [(f"{key}.{inner}", {**values, key: rest}) for inner, rest in less(value)]
        else:
            found.append((key, {other: kept for other, kept in values.items() if other != key}))
    return found


@every
def test_a_recipe_sets_nothing_that_would_be_so_without_it(name: str, tmp_path: Path):
    without = less(tomllib.loads(text(name)))
    assert without
    for setting, values in without:
        file = tmp_path / "less.toml"
        file.write_text(to_toml(values), encoding="utf-8")
        same = [Flags(env=env, file=file).config(reward="spa") == configured(name, env) for env in WORLDS]
        assert not all(same), setting


@every
def test_every_number_says_where_it_is_from(name: str):
    settings = [line for line in text(name).splitlines() if re.match(r"\w+ = ", line)]
    numbers = [line for line in settings if re.search(r"= -?\d", line)]
    assert numbers
    assert [line for line in numbers if not re.search(r" # \S.{3,}$", line)] == []


def test_worlds_differ_where_a_recipe_says_so_and_what_is_typed_wins():
    plain, shop = (configured("qwen2.5-1.5b", env) for env in ("alfworld", "webshop"))
    assert (plain.model.context, plain.ppo.env_steps, plain.ppo.minibatches) == (2560, 6400, 25)
    assert (shop.model.context, shop.ppo.env_steps, shop.ppo.minibatches) == (4608, 1920, 30)
    assert shop.ppo.learning_rate == 1e-6 and shop.ppo.iterations == 150, "a recipe wins over a world's own settings"
    assert shop.warm_start.episodes == 2400, "which hold where it says nothing"
    typed = configured(
        "qwen2.5-1.5b", "webshop", assignments=["model.context=1000"], model="some/model", tasks="official"
    )
    assert (typed.model.context, typed.model.name, typed.world.tasks) == (1000, "some/model", "official")
    assert typed.model.prompt == "verl-agent"


def test_a_file_of_ones_own_may_differ_by_world_too(tmp_path: Path):
    own = tmp_path / "own.toml"
    common = 'env = "webshop"\nbatch = 4\n[ppo]\nwarmup = 3\nclip = 0.1\n'
    own.write_text(f"{common}[worlds.webshop]\nbatch = 5\nppo = {{warmup = 4}}\n")
    found = Flags(file=own).config(reward="spa")
    assert (found.batch, found.ppo.warmup, found.ppo.clip) == (5, 4, 0.1)
    assert Flags(file=own, env="alfworld").config(reward="spa").ppo.warmup == 3
    assert Flags(file=own, assignments=['env="virtualhome"']).config(reward="spa").batch == 4


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("recipe:qwen2.5-1.5", "no recipe 'qwen2.5-1.5': did you mean qwen2.5-1.5b? (there are: embedded-official, "),
        ("recipe:../recipes/smollm2-cpu", "no recipe '../recipes/smollm2-cpu'"),
        ("recipe:", "no recipe '' (there are: "),
        ("smollm2-cpu", "there is no file smollm2-cpu; the recipe of that name is --config recipe:smollm2-cpu"),
    ],
)
def test_an_unknown_recipe_is_told_the_nearest_one_and_all_of_them(said: str, words: str):
    done = CliRunner().invoke(app, ["run", "--env", "alfworld", "--reward", "spa", "--config", said, "--dry-run"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("[worlds.webshp]\nbatch = 4\n", r"no environment for \[worlds.webshp\]: did you mean webshop\?"),
        ("worlds = 3\n", "setting worlds is a section, not the value 3"),
        ("[worlds]\nwebshop = 3\n", "setting webshop is a section, not the value 3"),
        ("[worlds.webshop.ppo]\nenvsteps = 4\n", r"unknown setting ppo.envsteps: did you mean ppo.env_steps\?"),
        ("ppo = 3\n[worlds.webshop.ppo]\nenv_steps = 4\n", "setting ppo is a section, not the value 3"),
    ],
)
def test_what_is_wrong_in_the_part_of_a_world_is_one_line(tmp_path: Path, written: str, words: str):
    file = tmp_path / "own.toml"
    file.write_text(written)
    with pytest.raises(UserError, match=words):
        Flags(env="webshop", file=file).config(reward="spa")


# Commands


def test_the_help_of_each_command_that_takes_a_configuration_lists_the_recipes():
    for command in ("run", "compare", "eval", "audit"):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).stdout
        words = " ".join(re.sub(r"[│\s]+", " ", shown).split())
        assert f"recipe:NAME, one of {', '.join(NAMES)}." in words


@every
def test_compare_takes_the_configuration_of_a_recipe(name: str):
    flags = Flags(env="virtualhome", file=Path(f"recipe:{name}"))
    (shown,) = comparison.configs(flags, "sparse", "1", None)
    assert shown.model.name == configured(name, "virtualhome").model.name


def test_evaluation_and_audit_take_a_recipe():
    flags = Flags(env="alfworld", file=Path("recipe:smollm2-cpu"))
    config, player = settings_for(flags, "causal-lm", None, None)
    assert (player, config.model.name, config.eval.tasks) == (
        "policy",
        "smollm2",
        configured("smollm2-cpu", "alfworld").eval.tasks,
    )
    assert settings_to_audit(flags, None, "sparse", None).model.prompt == "action"


def test_a_dry_run_without_a_hub_shows_the_settings_and_fails_as_there_is_no_model(tmp_path: Path):
    words = ["run", "--env", "alfworld", "--reward", "spa", "--config", "recipe:qwen2.5-7b-lora", "--dry-run"]
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "spa_bench", *words], capture_output=True, text=True, env=os.environ | alone
    )
    assert done.returncode == 2, done.stderr
    assert tomllib.loads(done.stdout)["model"]["adapter"] == "lora"
    assert "cannot load model 'Qwen/Qwen2.5-7B-Instruct'" in done.stderr or "peft" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("smollm2_by_name")
def test_a_dry_run_of_smollm2_shows_settings_and_estimate():
    words = ["run", "--env", "webshop", "--reward", "spa", "--config", "recipe:smollm2-cpu", "--dry-run"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert tomllib.loads(done.stdout)["model"]["name"] == "smollm2"
    assert done.stderr.startswith("memory of smollm2 in ")


# Heads


def test_the_shapes_are_those_of_the_models():
    for name, shape in SHAPES.items():
        assert Network.of(shape).parameters / 1e9 == pytest.approx(BILLIONS[name], rel=0.01), name


def most(name: str, folder: Path) -> float:
    """GB at the peak, in the world that takes most; fp32 on CPUs, which have no matrix units, bf16 on GPUs."""
    cpu = "CPU" in head(name)["Machine"]
    dtype = torch.float32 if cpu else torch.bfloat16
    return max(peak(memory(local(configured(name, env), folder), dtype, cpu=cpu))[0] for env in WORLDS) / 1e9


OTHERS = [name for name in NAMES if configured(name, "alfworld").model.name != EMBEDDED]


@pytest.mark.parametrize("name", OTHERS)
def test_the_memory_that_a_recipe_says_is_what_the_estimate_says(name: str, tmp_path: Path):
    found = most(name, tmp_path)
    assert head(name)["Memory"] == f"{found:.0f} GB"
    for room in re.findall(r"one (?:GPU|device) of (\d+) GB", head(name)["Machine"]):
        assert found < float(room)


@pytest.mark.parametrize("name", ["qwen2.5-1.5b", "qwen2.5-7b-lora"])
def test_80_gb_hold_all_weights_of_one_and_a_half_billion_and_an_adapter_of_seven(name: str, tmp_path: Path):
    assert most(name, tmp_path) < 80


GPUS = [name for name in OTHERS if "CPU" not in head(name)["Machine"]]


@pytest.mark.parametrize("name", GPUS)
def test_the_hours_on_a_gpu_are_what_docs_recipes_computes(name: str):
    """Two operations of a weight and token forward; backward four, two where only an adapter is trained."""
    config = configured(name, "alfworld")
    weights = Network.of(SHAPES[config.model.name]).parameters
    tokens = config.ppo.iterations * config.ppo.env_steps * (800 if config.model.prompt == "verl-agent" else 150)
    backward = 4 if config.model.adapter == "none" else 2
    operations = weights * tokens * (2 + 2 * 2 + config.ppo.epochs * (2 + 2 + backward))
    hours = operations / (0.4 * 989e12) / 3600
    assert re.match(rf"{hours:.2g} h .*H100, computed and not measured$", head(name)["Time"])


def test_the_page_shows_what_the_heads_say():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = []
    for name in NAMES:
        said = head(name)
        model = configured(name, "alfworld").model.name
        rows.append(f"| `{name}` | {model} | {said['Machine']} | {said['Memory']} | {said['Time']} | {said['For']} |")
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows, "\n" + "\n".join(rows)
