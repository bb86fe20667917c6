"""Starts and finished runs know the model and the tasks by content, not by name or place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import config, language_model

from spa_bench import registry
from spa_bench.agents.chat import DATE
from spa_bench.config import RunConfig
from spa_bench.core import TextEnv, UserError
from spa_bench.runs.folder import read_run
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, start
from spa_bench.training.model_content import identify

INSTRUCTIONS = "You are in a room."


def saved(folder: Path, seed: int = 0) -> Path:
    language_model(seed=seed, layers=1).save(folder)
    return folder


def identity(folder: Path, prompt: str = "react", instructions: str = INSTRUCTIONS) -> dict[str, str]:
    return identify(str(folder), registry.prompt(prompt), instructions)


def settings(**changes: Any) -> RunConfig:
    """A run with the model `./model` that trains for nothing."""
    small = {"name": "./model", "context": 2048, "max_new_tokens": 4, "dtype": "fp32", "threads": 1}
    return config(
        model=small | changes, warm_start={"episodes": 2, "epochs": 1}, ppo={"iterations": 0},
        explore={"tasks": 1, "samples": 1}, eval={"tasks": 1},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def change(folder: Path, file: str, key: str, value: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def test_a_model_that_was_moved_is_the_same_and_says_nothing_of_its_place(tmp_path: Path) -> None:
    first = identity(saved(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "b")
    (tmp_path / "elsewhere" / "b" / "README.md").write_text("about")
    assert identity(tmp_path / "elsewhere" / "b") == first
    assert set(first) == {"weights", "files", "rendered", "template", "template_date", "example"}
    assert first["template_date"] == DATE
    assert str(tmp_path) not in json.dumps(first)


def test_other_weights_files_templates_or_prompts_are_another_model(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a")
    found = [identity(folder), identity(saved(tmp_path / "other", seed=1))]
    assert {key for key in found[0] if found[0][key] != found[1][key]} == {"weights"}
    for prompt, instructions in (("action", INSTRUCTIONS), ("react", "You are in a shop.")):
        found.append(identity(folder, prompt, instructions))
        assert {key for key in found[0] if found[0][key] != found[-1][key]} == {"rendered", "example"}
    change(folder, "generation_config.json", "eos_token_id", [1, 2])
    found.append(identity(folder))
    assert {key for key in found[0] if found[0][key] != found[-1][key]} == {"files"}
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|user|>", "<|user|>~"))
    found.append(identity(folder))
    assert {key for key in found[0] if found[0][key] != found[-1][key]} == {"files", "rendered", "template", "example"}
    assert len({json.dumps(one) for one in found}) == len(found)


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot load model") as caught:
        identity(tmp_path)
    assert "\n" not in str(caught.value)


FROM_HUB = """
import json, sys
from pathlib import Path
from spa_bench.config import build
from spa_bench.training import start
world = {"options": {"train": 24, "valid": 6}}
config = build({"env": "alfworld", "reward": "sparse", "world": world, "model": {"name": "someone/tiny", "threads": 1}})
older, newer, main = sys.argv[1:]
for first, then in ((newer, newer), (older, newer)):
    Path(main).write_text(first)
    common = start.begin(config)
    print(json.dumps(common.model))
    Path(main).write_text(then)  # what the Hub has meanwhile
    print(start.load_policy(common, None).model.get_input_embeddings().weight[5, 5].item())
"""


def test_a_model_from_the_hub_is_known_by_its_revision_and_loaded_at_it(tmp_path: Path) -> None:
    """The Hub's own cache, as a download leaves it."""
    known = tmp_path / "hub" / "models--someone--tiny"
    revisions = ["1" * 40, "2" * 40]
    for seed, revision in enumerate(revisions):
        saved(known / "snapshots" / revision, seed=seed)
    (known / "refs").mkdir()
    arguments = [*revisions, str(known / "refs" / "main")]
    env = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FROM_HUB, *arguments], env=os.environ | env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for told, value, seed in ((lines[0], lines[1], 1), (lines[2], lines[3], 0)):
        found = json.loads(told)
        assert set(found) == {"revision", "rendered", "template", "template_date", "example"}
        assert found["revision"] == revisions[seed]
        agent = language_model(seed=seed, layers=1)
        assert float(value) == agent.model.get_input_embeddings().weight[5, 5].item()


def test_two_models_at_the_same_path_share_no_start_and_one_model_at_two_paths_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for place, seed in (("a", 0), ("b", 1), ("c", 0)):
        saved(tmp_path / place / "model", seed=seed)
        monkeypatch.chdir(tmp_path / place)
        common = start.begin(settings())
        keys.append(start.warm_start(common, Progress.quiet()))
        policy = start.load_policy(common, keys[-1])
        fresh = language_model(seed=seed, layers=1)
        drift = policy.model.get_input_embeddings().weight - fresh.model.get_input_embeddings().weight  # type: ignore[operator]
        assert drift.abs().max().item() < 0.05, "the start is not that of this folder's model"
    assert keys[0] != keys[1] and keys[0] == keys[2]


def test_a_finished_run_of_another_model_at_the_same_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "model")
    path = experiment.run(settings(), tmp_path / "results", Progress.quiet())
    common = start.begin(settings())
    assert len(common.prompt.examples) == 1  # type: ignore[attr-defined]
    told = identify(str(tmp_path / "model"), common.prompt, common.env.instructions)
    assert read_run(path)["facts"]["model"] == told
    assert experiment.run(settings(), tmp_path / "results", Progress.quiet()) == path
    assert experiment.evaluate(settings(), "model", None, tmp_path / "results", Progress.quiet())
    saved(tmp_path / "model", seed=1)
    for again in (
        lambda: experiment.run(settings(), tmp_path / "results", Progress.quiet()),
        lambda: experiment.evaluate(settings(), "model", None, tmp_path / "results", Progress.quiet()),
    ):
        with pytest.raises(UserError, match="another model under the same name") as caught:
            again()
        assert "\n" not in str(caught.value)


def test_a_checkpoint_is_known_by_its_weights_and_by_the_model_that_its_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "model")
    trained = settings().model_copy(
        update={"ppo": config().ppo.model_copy(update={"iterations": 1, "env_steps": 12, "minibatches": 1})}
    )
    run = experiment.run(trained, tmp_path / "results", Progress.quiet())
    for seed in (0, 1):  # what lies at ./model now is of no importance
        saved(tmp_path / "model", seed=seed)
        path = experiment.evaluate(trained, "policy", run, tmp_path / "results", Progress.quiet())
        assert read_run(path)["facts"]["model"] == read_run(run)["facts"]["model"]


def test_the_embedded_model_is_what_settings_and_code_say() -> None:
    common = start.begin(config())
    assert common.model == {}
    assert "model" not in experiment.facts(common, common.model)


@pytest.mark.parametrize(
    ("world", "options", "other"),
    [
        ("alfworld", {"train": 24, "valid": 6}, {"train": 25, "valid": 6}),
        ("alfworld", {"train": 24, "valid": 6}, {"train": 24, "valid": 6, "seed": 1}),
        ("alfworld", {"train": 24, "valid": 6, "text": "2.1.1"}, {"train": 24, "valid": 6, "text": "2.1.2"}),
        ("webshop", {"products": 60, "valid": 4}, {"products": 60, "valid": 4, "seed": 1}),
        ("webshop", {"products": 60, "valid": 4}, {"products": 60, "valid": 5}),
        ("virtualhome", {"train": 20, "valid": 10}, {"train": 20, "valid": 10, "seed": 1}),
    ],
)
def test_a_world_of_other_tasks_has_another_content(world: str, options: dict[str, Any], other: dict[str, Any]) -> None:
    make: Any = lambda arguments: registry.build("environments", world, **arguments)  # noqa: E731
    first = make(options).content
    assert first and first == make(options).content
    assert make(other).content != first


def test_a_start_depends_on_the_content_of_the_tasks_and_on_what_is_said_of_the_world() -> None:
    common = start.begin(config())
    moved = common.config.world.model_copy(update={"data": "/elsewhere"})

    def key(**attributes: str) -> str:
        env = common.make_env()
        kind = type("Other", (type(env),), attributes)
        made = kind(**config().world.arguments())  # type: ignore[call-arg]
        return start.digest(start._identity(replace(common, make_env=lambda: made)))

    here = key()
    assert key() == here
    elsewhere = replace(common, config=common.config.model_copy(update={"world": moved}))
    assert start.digest(start._identity(elsewhere)) == start.digest(start._identity(common))
    assert key(content="other") != here
    assert key(instructions="other") != here
    assert isinstance(TextEnv.content, property)
