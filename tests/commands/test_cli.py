"""The command line: exit codes, one-line errors that come at once, configurations that can be read back."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tomllib
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
from edited import run_json
from hypothesis import given
from hypothesis import strategies as st
from invoked import invoke
from written_runs import write_run

import spa_bench.training
from spa_bench import registry
from spa_bench.assignments import from_file
from spa_bench.commands import doctor
from spa_bench.commands.cli import main
from spa_bench.commands.doctor import examine
from spa_bench.commands.options import Flags, to_toml
from spa_bench.commands.signals import heeded
from spa_bench.config import RunConfig, build
from spa_bench.core import UserError
from spa_bench.runs.deadline import DeadlineReached
from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.runs.progress import INTERVAL, Progress

SMALL = ("--set", "world.options.train=2", "--set", "world.options.valid=2")


def shell(*words: str, text: bool = True, **options: Any) -> subprocess.CompletedProcess[Any]:
    return subprocess.run([sys.executable, "-m", "spa_bench", *words], capture_output=True, text=text, **options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--env", "alfword", "--reward", "sparse"], "did you mean alfworld?"),
        (["run", "--env", "alfworld", "--reward", "sprse"], "did you mean sparse?"),
        (["run", "--env", "alfworld"], "no --reward: choose one of"),
        (["run", "--reward", "sparse"], "no --env: choose one of alfworld"),
        (
            ["run", "--env", "alfworld", "--reward", "sparse", "--set", "ppo.iteration=3"],
            "did you mean ppo.iterations?",
        ),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "ppo.clip=-1"], "setting ppo.clip"),
        (
            ["run", "--env", "alfworld", "--reward", "sparse", "--set", "ppo.learning_rate=inf"],
            "a finite number (got inf)",
        ),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "ppo.kl_coef=nan"], "a finite number (got nan)"),
        (
            ["run", "--env", "alfworld", "--reward", "sparse", "--set", "model.heads=5"],
            "setting model.heads: must divide model.hidden=128 into parts of an even width (got 5)",
        ),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "model.hidden=12"], "an even width (got 4)"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "ppo"], "write it as section.key=value"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "ppo=3"], "ppo is a section, not the value 3"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "model=x"], "such as model.name"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "agent.model=x"], "did you mean model.name?"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "iterations=3"], "did you mean ppo.iterations?"),
        (
            ["run", "--env", "alfworld", "--reward", "sparse", "--set", "lr=3"],
            "did you mean warm_start.learning_rate or ppo.learning_rate?",
        ),
        (["run", "--env", "alfworld", "--reward", "spa", "--set", "reward.alpha=3"], "mean reward_options.alpha?"),
        (["run", "--env", "alfworld", "--reward", "spa", "--set", "env.max_steps=3"], "mean world.max_steps?"),
        (["run", "--env", "alfworld", "--reward", "spa", "--set", "world.difficulty=hard"], "world.options.NAME"),
        (["run", "--env", "alfworld", "--reward", "spa", "--set", "model.memory=x"], "a valid integer or 'auto' or"),
        (["run", "--env", "alfworld", "--reward", "spa:alpha"], "write an option as spa:alpha=VALUE"),
        (["run", "--env", "alfworld", "--reward", "spa:=3"], "write an option as NAME:OPTION=VALUE"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "world=3", "--data", "x"], "world is a section"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--set", "reward_options.x=3"], "no option 'x'"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--config", "absent.toml"], "cannot read configuration"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--tasks", "offical"], "setting world.tasks"),
        (["run", "--env", "alfworld", "--reward", "sparse", "--track", "mlflow"], "known: tensorboard, trackio, wandb"),
        (["compare", "--env", "alfworld"], "no --reward: give the methods"),
        (["compare", "--env", "alfworld", "--reward", "sparse,gipgo"], "no reward 'gipgo'"),
        (
            ["compare", "--env", "alfworld", "--reward", "sparse,spa:alpha=2", "--baseline", "spa"],
            "no row 'spa' in this comparison: --baseline is one of warm start, sparse, spa (alpha=2)",
        ),
        (["run", "--reward", "sparse", "--set", "env=3"], "no environment '3' (there are: alfworld"),
        (["eval", "--env", "alfworld"], "exactly one of --agent, --checkpoint and --model"),
        (["eval", "--env", "alfworld", "--agent", "expert", "--model", "x"], "exactly one of"),
        (["eval", "--env", "alfworld", "--agent", "exprt"], "did you mean expert?"),
        (["eval", "--env", "alfworld", "--agent", "../x"], "(there are: causal-lm, expert, random)"),
        (["eval", "--checkpoint", "nowhere"], "nowhere is no run folder"),
        (["play", "--env", "alfworld", "--split", "test", *SMALL], "test"),
        (["play", "--env", "alfworld", "--task", "nonsense", *SMALL], "no task 'nonsense'"),
        (["report", "nowhere"], "no run folder in nowhere"),
        (["data", "get", "nowhere"], "no environment 'nowhere'"),
        (["data", "verify", "alfworld", "--data", "nowhere"], "no games in nowhere"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    words: Sequence[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    found = invoke(*words)
    assert found.exit_code == 2, found.output
    assert found.stdout == ""
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
    assert message in found.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["compare", "eval", "audit", "bench", "bench train"])
def test_what_one_process_does_is_refused_where_several_are_started(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = {"compare": ["--reward", "sparse"], "eval": ["--agent", "random"], "audit": ["--reward", "sparse"]}
    written = [] if command.startswith("bench") else ["--results", str(tmp_path / "results")]
    found = invoke(*command.split(), "--env", "alfworld", *words.get(command, []), *written)
    said = f"error: accelerate launch is for `run`: start `{command.split()[0]}` without it\n"
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", said)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("words", [["run", "--no-such-option"], ["nonsense"], ["compare", "--jobs", "0"]])
def test_a_usage_error_is_exit_code_2(words: Sequence[str]):
    assert invoke(*words).exit_code == 2


def test_wrong_names_are_refused_before_torch_is_loaded():
    code = (
        "import sys\n"
        "from spa_bench.commands.cli import main\n"
        "sys.argv = ['spa-bench', 'run', '--env', 'alfworld', '--reward', 'sprse']\n"
        "try:\n    main()\n"
        "finally:\n    print('torch' in sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (2, "False\n"), found.stderr


def test_a_dry_run_prints_settings_that_can_be_read_back(tmp_path: Path):
    words = ["--env", "alfworld", "--reward", "sparse", "--seed", "3", "--set", "ppo.clip=0.3", "--model", 'a"b\\c']
    found = invoke("run", *words, "--dry-run")
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1) and "cannot load model" in found.stderr
    (tmp_path / "again.toml").write_text(found.stdout)
    again = invoke("run", "--config", str(tmp_path / "again.toml"), "--dry-run")
    assert tomllib.loads(again.stdout) == tomllib.loads(found.stdout)
    config = build(from_file(tmp_path / "again.toml"))
    assert (config.seed, config.ppo.clip, config.model.name) == (3, 0.3, 'a"b\\c')
    assert build(json.loads(invoke("run", *words, "--dry-run", "--json").stdout)) == config


def test_a_dry_run_shows_the_shape_of_the_embedded_model_and_of_an_adapter_only_where_there_is_one():
    def shown(model: str, *assignments: str) -> dict[str, Any]:
        sets = [word for assignment in assignments for word in ("--set", assignment)]
        words = ("run", "--env", "alfworld", "--reward", "sparse", "--model", model, *sets, "--dry-run", "--json")
        found: dict[str, Any] = json.loads(invoke(*words).stdout)
        assert build(found) == Flags(env="alfworld", model=model, assignments=assignments).config(reward="sparse")
        return found["model"]

    shape = {"hidden", "layers", "heads"}
    assert shape <= shown("embedded").keys() and not shape & shown("some/model").keys()
    assert shape & shown("some/model", "model.hidden=64").keys() == {"hidden"}  # the name of the run depends on it
    adapter = {"lora_rank", "lora_alpha", "lora_targets"}
    assert adapter <= shown("embedded", "model.adapter=lora").keys() and not adapter & shown("embedded").keys()
    assert adapter & shown("some/model", "model.lora_rank=8").keys() == {"lora_rank"}


values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aZ_-. \"ü\n"), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(options=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), values, max_size=4))
def test_any_options_survive_toml(tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]):
    config = RunConfig(env="alfworld", reward="sparse", reward_options=options)
    file = tmp_path_factory.mktemp("toml") / "settings.toml"
    file.write_text(to_toml(config.model_dump(mode="json")), encoding="utf-8", newline="\n")
    assert build(from_file(file)) == config


def test_a_dry_run_of_several_names_each_and_every_part_can_be_read_back(tmp_path: Path):
    words = ["compare", "--env", "alfworld", "--reward", "sparse,spa:alpha=2", "--seeds", "2"]
    shown = invoke(*words, "--dry-run").stdout
    titles = [line for line in shown.splitlines() if line.startswith("# run")]
    assert titles == [
        "# run 1 of 4: alfworld, sparse, seed 0",
        "# run 2 of 4: alfworld, sparse, seed 1",
        "# run 3 of 4: alfworld, spa (alpha=2), seed 0",
        "# run 4 of 4: alfworld, spa (alpha=2), seed 1",
    ]
    parts = shown.split("# run ")[1:]
    found = []
    for part in parts:
        (tmp_path / "one.toml").write_text(f"# run {part}")
        found.append(build(from_file(tmp_path / "one.toml")))
    assert found == [build(one) for one in json.loads(invoke(*words, "--dry-run", "--json").stdout)]
    assert "# run" not in invoke(*words[:4], "sparse", "--seeds", "1", "--dry-run").stdout


def test_the_later_word_wins(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text('env = "other"\nseed = 4\n[model]\nname = "from file"\nhidden = 64\n[ppo]\nclip = 0.1\n')
    flags = Flags(env="alfworld", model="from flag", file=file, assignments=["ppo.clip=0.5", "model.name=from set"])
    config = flags.config(reward="sparse", seed=None)
    assert (config.env, config.seed, config.model.name, config.model.hidden) == ("alfworld", 4, "from flag", 64)
    assert config.ppo.clip == 0.5


def test_a_data_folder_means_official_tasks_unless_it_is_said_otherwise():
    config = Flags(env="alfworld", data="games").config(reward="sparse")
    assert (config.world.tasks, config.world.data) == ("official", "games")
    assert Flags(env="alfworld", data="games", tasks="builtin").config(reward="sparse").world.tasks == "builtin"


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Stands where the experiment would be, and keeps what it was asked for."""
    found = types.SimpleNamespace(asked=[])

    def answer(results: Path, config: RunConfig) -> Path:
        path = run_path(results, config)
        with RunFolder.open(path, config, {}):
            return path

    def run(config: RunConfig, results: Path, progress: Progress, *_: Any) -> Path:
        found.asked.append((config, progress.mode))
        return answer(results, config)

    def compare(configs: Sequence[RunConfig], results: Path, jobs: int, *_: Any) -> list[Path]:
        found.asked.append((configs, jobs))
        return [answer(results, config) for config in configs]

    def evaluate(config: RunConfig, agent: str, checkpoint: Path | None, results: Path, progress: Progress) -> Path:
        found.asked.append((config, agent, checkpoint))
        return answer(results, config)

    found.run, found.compare, found.evaluate = run, compare, evaluate
    monkeypatch.setattr(spa_bench.training, "experiment", found, raising=False)
    monkeypatch.setitem(sys.modules, "spa_bench.training.experiment", found)
    return found


def test_a_comparison_says_how_to_get_more_and_json_does_not(
    experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    words = ["compare", "--env", "alfworld", "--reward", "sparse", "--seeds", "1"]
    assert invoke(*words).stderr.endswith("for figures, LaTeX and a web page: spa-bench report\n")
    assert "spa-bench report" not in invoke(*words, "--json").stderr
    elsewhere = str(tmp_path / "my runs")
    assert invoke(*words, "--results", elsewhere).stderr.endswith(f"spa-bench report '{elsewhere}'\n")


@pytest.mark.parametrize("folder", ["-x", "--help", "my runs", "it's", 'a"b', "$HOME", "a;b", "~", "-"])
def test_the_suggested_report_reads_the_folder_whatever_its_name(
    experiment: Any, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    words = ["compare", "--env", "alfworld", "--reward", "sparse", "--seeds", "1"]
    (tmp_path / folder).mkdir()
    line = invoke(*words, f"--results={folder}").stderr.splitlines()[-1]
    spelled = subprocess.run(
        ["bash", "-c", f'printf "%s\\n" {line.partition(": spa-bench ")[2]}'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = invoke(*spelled)
    assert found.exit_code == 0, found.output
    assert (tmp_path / folder / "report" / "index.html").is_file()


def test_a_world_has_defaults_of_its_own_and_the_user_has_the_last_word(tmp_path: Path):
    own = registry.find("environments", "webshop").settings
    common, shop = (Flags(env=env).config(reward="sparse") for env in ("alfworld", "webshop"))
    assert shop.ppo.env_steps == own["ppo"]["env_steps"] < common.ppo.env_steps
    assert shop.warm_start.episodes == own["warm_start"]["episodes"] < common.warm_start.episodes
    assert shop.ppo.model_copy(update={key: getattr(common.ppo, key) for key in own["ppo"]}) == common.ppo
    file = tmp_path / "settings.toml"
    file.write_text('env = "webshop"\n[ppo]\nclip = 0.5\n')
    mine = Flags(file=file, assignments=["warm_start.episodes=7"]).config(reward="sparse")
    assert (mine.ppo.clip, mine.ppo.env_steps, mine.warm_start.episodes) == (0.5, shop.ppo.env_steps, 7)
    with pytest.raises(UserError, match="ppo is a section"):
        Flags(env="webshop", assignments=["ppo=3"]).config(reward="sparse")


def test_other_models_than_the_embedded_one_have_the_rates_of_papers_and_the_user_has_the_last_word(tmp_path: Path):
    def rates(env: str, model: str | None = None, *assignments: str, file: Path | None = None) -> tuple[float, float]:
        config = Flags(env=env, model=model, assignments=assignments, file=file).config(reward="sparse")
        return config.warm_start.learning_rate, config.ppo.learning_rate

    assert rates("alfworld") == rates("alfworld", "embedded") == (3e-3, 5e-4)
    assert rates("webshop") == (3e-3, 3e-4)
    hub = "Qwen/Qwen2.5-1.5B-Instruct"
    assert {rates(env, hub) for env in registry.names("environments")} == {(2e-5, 1e-5)}
    assert rates("webshop", None, f"model.name={hub}") == (2e-5, 1e-5)
    assert rates("webshop", hub, "ppo.learning_rate=2e-6") == (2e-5, 2e-6)
    file = tmp_path / "settings.toml"
    file.write_text(f'[model]\nname = "{hub}"\n[warm_start]\nlearning_rate = 1e-4\n')
    assert rates("alfworld", file=file) == (1e-4, 1e-5)
    assert rates("alfworld", "embedded", file=file) == (1e-4, 5e-4)
    others = Flags(env="webshop", model=hub).config(reward="sparse")
    assert others.ppo.env_steps == Flags(env="webshop").config(reward="sparse").ppo.env_steps
    shown = json.loads(
        invoke("run", "--env", "alfworld", "--reward", "spa", "--model", hub, "--dry-run", "--json").stdout
    )
    assert (shown["warm_start"]["learning_rate"], shown["ppo"]["learning_rate"]) == (2e-5, 1e-5)
    with pytest.raises(UserError, match="model is a section"):
        Flags(env="webshop", assignments=["model=3"]).config(reward="sparse")


def test_run_prints_the_table_of_its_folder(experiment: types.SimpleNamespace, tmp_path: Path):
    words = ["run", "--env", "alfworld", "--reward", "sparse", "--results", str(tmp_path)]
    found = invoke(*words)
    assert found.exit_code == 0, found.output
    assert "left out, unfinished: alfworld/sparse/0-" in found.stdout
    as_json = invoke(*words, "--json")
    assert json.loads(as_json.stdout)["tables"][0]["rows"] == []
    assert [mode for _, mode in experiment.asked] == ["lines", "quiet"]


def test_compare_asks_for_each_method_and_seed_once(experiment: types.SimpleNamespace, tmp_path: Path):
    words = ["--env", "alfworld", "--reward", "sparse, ppo,sparse", "--seeds", "2", "--seed", "5", "--jobs", "4"]
    found = invoke("compare", *words, "--results", str(tmp_path))
    assert found.exit_code == 0, found.output
    ((configs, jobs),) = experiment.asked
    assert [(c.reward, c.seed) for c in configs] == [("sparse", 5), ("sparse", 6), ("ppo", 5), ("ppo", 6)]
    assert jobs == 4


def test_eval_of_an_agent_and_of_a_model(experiment: types.SimpleNamespace, tmp_path: Path):
    invoke("eval", "--env", "alfworld", "--agent", "expert", "--split", "valid_seen", "--results", str(tmp_path))
    invoke("eval", "--env", "alfworld", "--model", "some/model", "--results", str(tmp_path))
    (config, agent, checkpoint), (other, policy, _) = experiment.asked
    assert (config.reward, config.eval.split, agent, checkpoint) == ("expert", "valid_seen", "expert", None)
    assert (other.model.name, policy) == ("some/model", "policy")


def test_eval_of_a_checkpoint_keeps_the_settings_of_its_run(experiment: types.SimpleNamespace, tmp_path: Path):
    trained = build({"env": "alfworld", "reward": "ppo", "seed": 7, "model": {"hidden": 64}})
    path = run_path(tmp_path, trained)
    with RunFolder.open(path, trained, {}):
        pass
    words = ["eval", "--checkpoint", str(path), "--results", str(tmp_path / "new")]
    found = invoke(*words, "--split", "valid_seen", "--set", "eval.tasks=5")
    assert found.exit_code == 0, found.output
    ((config, agent, checkpoint),) = experiment.asked
    assert (config.reward, config.seed, config.model.hidden, agent, checkpoint) == ("ppo", 7, 64, "policy", path)
    assert (config.eval.split, config.eval.tasks) == ("valid_seen", 5)
    assert "omit --env" in invoke(*words, "--env", "other").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "setting seed: input should be greater than or equal to 0 (got -1)"),
        (["--config", "x.toml"], "{} has its own configuration"),
    ],
)
@pytest.mark.parametrize("command", [["eval", "--checkpoint"], ["audit", "--from"]])
def test_what_changes_the_settings_of_a_recorded_run_is_checked(
    command: list[str], words: list[str], message: str, tmp_path: Path
):
    path = write_run(tmp_path)
    found = invoke(*command, str(path), *words)
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.output
    assert found.stderr.startswith(f"error: {message.format(command[1])}")


@pytest.mark.parametrize("command", [["eval", "--checkpoint"], ["audit", "--from"]])
def test_a_run_with_a_setting_that_is_gone_is_reported_and_nothing_else(command: list[str], tmp_path: Path):
    path = write_run(tmp_path, wins="1110")
    stored = run_json(path)
    stored["config"]["ppo"]["value_coef"] = 0.1
    (path / "run.json").write_text(json.dumps(stored))
    found = invoke(*command, str(path))
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.output
    assert "written by another version of spa-bench (unknown setting ppo.value_coef" in found.stderr
    assert f"use {command[1]} with that version, or train again" in found.stderr
    (table,) = json.loads(invoke("report", str(tmp_path), "--json").stdout)["tables"]
    assert [row["success"]["mean"] for row in table["rows"]] == [0.25, 0.75]


def test_the_language_model_as_an_agent_is_the_configured_model(experiment: types.SimpleNamespace, tmp_path: Path):
    for choice in (["--agent", "causal-lm"], ["--model", "embedded"]):
        assert invoke("eval", "--env", "alfworld", *choice, "--results", str(tmp_path)).exit_code == 0
    assert experiment.asked[0] == experiment.asked[1]


def test_a_run_that_trained_nothing_says_so_instead_of_asking_to_be_finished(tmp_path: Path):
    from spa_bench.training.experiment import last_policy

    with pytest.raises(UserError, match="has no checkpoint: finish the run first"):
        last_policy(write_run(tmp_path, seed=1, metrics=[]))
    with pytest.raises(UserError, match=r"not trained \(ppo\.iterations=0\)"):
        last_policy(write_run(tmp_path, ppo={"iterations": 0}))


@pytest.mark.parametrize("baseline", ["ppo", "uniform", "warm start", None])
def test_where_a_run_of_a_comparison_failed_the_table_of_the_others_comes_before_the_error(
    baseline: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from spa_bench.training import experiment

    def compare(configs: Sequence[RunConfig], results: Path, *_: Any) -> None:
        for config in configs:
            failed = [{"kind": "failed", "reason": "no idea"}] if config.reward == "uniform" else None
            write_run(results, config.reward, metrics=failed)
        raise UserError("uniform has no idea")

    monkeypatch.setattr(experiment, "compare", compare)
    words = ["compare", "--env", "alfworld", "--reward", "ppo,uniform,sparse", "--seeds", "1"]
    found = invoke(*words, "--results", str(tmp_path), *([] if baseline is None else ["--baseline", baseline]))
    assert found.exit_code == 2
    rows = [line.split(" |")[0].removeprefix("| ") for line in found.stdout.splitlines() if line.startswith("| ")]
    assert rows[2:5] == ["warm start", "ppo", "sparse"]
    references = [line.split(",")[0] for line in found.stdout.splitlines() if line.startswith("**difference")]
    chosen = {"ppo": ["ppo"], "warm start": []}.get(baseline or "", ["sparse"])
    assert references == [f"**difference of success from {reference}" for reference in ["warm start", *chosen]]
    assert "left out, failed (no idea): alfworld/uniform/0-" in found.stdout
    assert found.stderr.splitlines() == [
        f"for figures, LaTeX and a web page: spa-bench report {tmp_path}",
        "error: uniform has no idea",
    ]


def test_where_no_run_of_a_comparison_finished_there_is_the_error_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from spa_bench.training import experiment

    def compare(configs: Sequence[RunConfig], results: Path, *_: Any) -> None:
        write_run(results, configs[0].reward, metrics=[])
        raise UserError("no idea")

    monkeypatch.setattr(experiment, "compare", compare)
    words = ["compare", "--env", "alfworld", "--reward", "ppo", "--seeds", "2", "--results", str(tmp_path)]
    found = invoke(*words)
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", "error: no idea\n")


LOUD = """
from spa_bench.rewards.sparse import Sparse

print("imported")


class Loud(Sparse):
    def __init__(self):
        print("made")

    def fit(self, trajectories, experts):
        print("fitted")
        return {}
"""


@pytest.mark.parametrize("words", [["run"], ["compare", "--seeds", "1", "--jobs", "2"], ["audit"]])
def test_what_a_method_prints_is_no_part_of_the_results(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """What reaches the streams of this process and of those that it starts; with two jobs a run has one of its own."""
    (tmp_path / "loud.py").write_text(LOUD)
    settings = tiny.config().model_dump(mode="json", exclude={"env", "reward", "reward_options", "seed"})
    (tmp_path / "tiny.toml").write_text(to_toml(settings))
    size = ["--groups", "2", "--samples", "1", "--points", "0", "--probes", "0"] if words == ["audit"] else []
    given = ["--env", "alfworld", "--reward", f"{tmp_path / 'loud.py'}:Loud", "--config", str(tmp_path / "tiny.toml")]
    told = ["spa-bench", *words, *given, *size, "--results", str(tmp_path / "results"), "--json"]
    monkeypatch.setattr(sys, "argv", told)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # `main` sets it where nobody has
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert ended.value.code == 0, err
    assert json.loads(out)
    assert all(text in err.splitlines() for text in ("imported", "made", "fitted"))


def test_an_interruption_says_how_to_go_on(experiment: types.SimpleNamespace, tmp_path: Path):
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    experiment.run = interrupted
    found = invoke("run", "--env", "alfworld", "--reward", "sparse", "--results", str(tmp_path))
    assert found.exit_code == 130
    assert found.stderr == "interrupted; run the same command to resume\n"


def test_a_defect_keeps_its_traceback_and_an_error_its_single_line(experiment: types.SimpleNamespace, tmp_path: Path):
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    def refused(*arguments: Any) -> None:
        raise UserError("two\nlines \x1b[31m")

    words = ["run", "--env", "alfworld", "--reward", "sparse", "--results", str(tmp_path)]
    experiment.run = broken
    assert isinstance(invoke(*words).exception, ZeroDivisionError)
    experiment.run = refused
    assert invoke(*words).stderr == "error: two\\nlines \\x1b[31m\n"


def _heeds_interrupts() -> None:
    """A shell starts background jobs with interrupts ignored, and children inherit it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_control_c_ends_a_real_process_with_130(tmp_path: Path):
    words = [sys.executable, "-m", "spa_bench", "play", "--env", "alfworld", *SMALL]
    environment = os.environ | {"SPA_BENCH_CACHE": str(tmp_path)}
    child = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=_heeds_interrupts,
    )
    assert child.stdout is not None
    while (char := child.stdout.read(1)) and char != ">":
        pass
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert (child.returncode, said) == (130, "interrupted\n"), "a game cannot be resumed"


ENDING = """
import time, typer
from spa_bench.commands.words import resumable

@resumable
def slow():
    try:
        print("working", flush=True)
        while True:
            time.sleep(0.01)
    finally:
        print("ending", flush=True)
        while True:
            time.sleep(0.01)

slow()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGTERM", "SIGINT")])
def test_t19_a_second_signal_ends_at_once_what_the_first_has_begun_to_end(first: str, second: str):
    child = subprocess.Popen(
        [sys.executable, "-c", ENDING], stdout=subprocess.PIPE, text=True, preexec_fn=_heeds_interrupts
    )
    assert child.stdout is not None
    for said, number in (("working\n", signal.Signals[first]), ("ending\n", signal.Signals[second])):
        assert child.stdout.readline() == said
        child.send_signal(number)
    assert child.wait(60) == -signal.Signals[second]
    child.stdout.close()


def test_what_was_started_to_ignore_interrupts_goes_on_ignoring_them():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heeded():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("words", ["2x", "", "h", "-5", "1.5h", "0", "30m2h", "2 h", "9" * 30])
@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_deadline_is_hours_minutes_or_seconds(command: str, words: str):
    found = invoke(command, "--env", "alfworld", "--reward", "sparse", f"--deadline={words}")
    assert (found.exit_code, found.stdout) == (2, "")
    assert (
        found.stderr == f"error: --deadline {words!r}: give hours, minutes or seconds, such as 2h, 90m, 1h30m or 5400\n"
    )


def test_where_the_deadline_came_first_exit_code_and_line_say_how_to_go_on(
    experiment: types.SimpleNamespace, tmp_path: Path
):
    def late(*arguments: Any) -> None:
        raise DeadlineReached("after iteration 3/40")

    experiment.run = late
    found = invoke("run", "--env", "alfworld", "--reward", "sparse", "--results", str(tmp_path), "--deadline", "2h")
    assert (found.exit_code, found.stdout) == (3, "")
    assert found.stderr == "stopped at the deadline, after iteration 3/40; run the same command to go on\n"


def test_a_game_of_the_real_world_can_be_played_through_a_pipe(tmp_path: Path):
    environment = os.environ | {"SPA_BENCH_CACHE": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    words = ["play", "--env", "alfworld", "--split", "valid_seen", "--oracle", *SMALL]
    found = shell(*words, input=b"look\nfly to the m\xf6\xf6n\n:quit\n", env=environment, text=False)
    assert found.returncode == 0, found.stderr
    for text in (
        b"Your task is to:",
        b"[grounded]",
        b"[not grounded: ",
        b"[progress 0.50]",
        b"fly to the m\\xf6\\xf6n",
    ):
        assert text in found.stdout


def test_the_version_is_the_one_of_the_package():
    found = invoke("--version")
    assert (found.exit_code, found.stdout) == (0, f"spa-bench {spa_bench.__version__}\n")


def test_the_version_of_the_package_runs_as_a_module():
    assert "compare" in shell("--help").stdout


def test_the_doctor_finds_this_machine_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    found = invoke("doctor", "--json", "--results", str(tmp_path))
    checks = {check["name"]: check for check in json.loads(found.stdout)}
    assert found.exit_code == 0, found.stdout
    assert checks["numpy"]["state"] == "good"
    assert checks["official data of alfworld"]["fix"] == "spa-bench data get alfworld"
    assert checks["official data of webshop"]["fix"] == "spa-bench data get webshop --from FOLDER"
    assert "cpu" in checks["torch device"]["found"] or "cuda" in checks["torch device"]["found"]


def test_the_doctor_says_what_an_absent_extra_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "installed", lambda name: None)
    fixes = {check.name: check.fix for check in examine(tmp_path)}
    assert fixes["extra lora"] == "only for model.adapter=lora: pip install 'spa-bench[lora]'"
    assert fixes["extra test"] == "only for development: pip install 'spa-bench[test]'"


def test_the_doctor_suggests_nothing_for_a_world_without_official_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "names", lambda room: ["theirs"])
    monkeypatch.setattr(registry, "find", lambda room, name: json.JSONDecoder)
    (check,) = [check for check in examine(tmp_path) if check.name.startswith("official data")]
    assert (check.name, check.fix) == ("official data of theirs", "")


def test_the_doctor_names_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "file/cache"))
    checks = {check.name: check for check in examine(tmp_path / "file/results")}
    assert checks["results"].state == "bad"
    assert checks["cache"].state == "bad" and "SPA_BENCH_CACHE" in checks["cache"].found


def test_plain_progress_is_a_line_at_the_start_the_end_and_now_and_then():
    now = [0.0]
    out = io.StringIO()
    progress = Progress("lines", out, clock=lambda: now[0])
    with progress.stage("explore", total=4) as stage:
        for second in (1.0, 2.0, INTERVAL, INTERVAL + 1):
            now[0] = second
            stage.advance(1, success=0.25)
    progress.note("done\nfor \x1b[1mnow")
    assert out.getvalue().splitlines() == [
        "explore: started, 4 to do",
        "explore: 3/4 12/min, about 5 s left success=0.25",
        "explore: done 4/4 in 16.0 s success=0.25",
        "done\\nfor \\x1b[1mnow",
    ]


def test_progress_says_where_a_stage_stopped_and_is_silent_when_quiet():
    out = io.StringIO()
    for mode in ("lines", "quiet"):
        with pytest.raises(ZeroDivisionError), Progress(mode, out, clock=lambda: 0.0).stage("train") as stage:  # type: ignore[arg-type]
            stage.advance(2)
            raise ZeroDivisionError
    assert out.getvalue().splitlines() == ["train: started", "train: stopped at 2 in 0.0 s"]


def test_bars_may_be_nested_and_text_in_them_is_no_markup():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    progress = Progress(stream=out)
    assert progress.mode == "bars"
    with progress.stage("outer [red]", total=2) as outer:
        with progress.stage("inner") as inner:
            inner.advance(3, note="[bold]x\x1b")
        progress.note("kept [blue]")
        outer.advance(2)
    assert "outer [red]" in out.getvalue() and "kept [blue]" in out.getvalue() and "[bold]x\\x1b" in out.getvalue()
    with progress.stage("again", total=1):
        pass


@pytest.mark.parametrize("progress", [Progress.quiet(), Progress("lines")])
def test_progress_can_be_sent_to_another_process(progress: Progress):
    context = multiprocessing.get_context("spawn")
    sender, receiver = context.Pipe()
    sender.send(progress)
    assert receiver.recv().mode == progress.mode


def test_a_dry_run_and_the_doctor_say_what_a_model_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny.language_model().save(tmp_path / "model")
    words = ["--model", str(tmp_path / "model"), "--set", "model.context=512", "--set", "model.threads=1"]
    found = invoke("run", "--env", "alfworld", "--reward", "spa", *words, "--dry-run")
    memory, seconds = found.stderr.splitlines()[-2:]
    assert memory.startswith("memory of ") and " Adam " in memory and " key-value cache " in memory
    assert seconds.startswith("time, min: ")
    checks = {one["name"]: one for one in json.loads(invoke("doctor", *words, "--json").stdout)}
    assert checks["memory of the model"]["state"] == "good"
    monkeypatch.setattr("spa_bench.training.estimate.available", lambda device: 10**6)
    refused = json.loads(invoke("doctor", *words, "--json").stdout)
    assert "lower ppo.microbatch" in next(one for one in refused if one["name"] == "memory of the model")["fix"]


def test_an_optimiser_is_a_layer_of_defaults_below_what_is_said(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text('[ppo]\noptimiser = "gspo"\nclip_high = 0.1\n')
    config = Flags(env="webshop", file=file, assignments=["ppo.kl_coef=0.5"]).config(reward="sparse").ppo
    assert (config.ratio, config.clip, config.clip_high, config.kl_coef) == ("sequence", 3e-4, 0.1, 0.5)
    assert config.learning_rate == Flags(env="webshop").config(reward="sparse").ppo.learning_rate
    typed = Flags(env="webshop", file=file, optimiser="dapo").config(reward="sparse").ppo
    assert (typed.ratio, typed.clip_high, typed.dynamic_sampling) == ("token", 0.1, True)
    with pytest.raises(UserError, match=r"ppo\.optimiser.*'adam'"):
        Flags(env="webshop", optimiser="adam").config(reward="sparse")


def test_several_optimisers_are_compared_one_at_a_time():
    words = ["compare", "--env", "alfworld", "--reward", "sparse,rloo", "--seeds", "1", "--optimiser", "gspo,cispo"]
    found = [one["ppo"]["optimiser"] for one in json.loads(invoke(*words, "--dry-run", "--json").stdout)]
    assert found == ["gspo", "gspo", "cispo", "cispo"]
    assert 'ratio = "sequence"  # ppo.optimiser' in invoke(*words, "--dry-run").stdout
