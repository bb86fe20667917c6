"""How the configured model is asked: which settings win, and examples by the expert on train tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import config

from spa_bench import registry
from spa_bench.core import UserError
from spa_bench.runs.progress import Progress
from spa_bench.training import prompting, start

WORLD = {"max_steps": 60, "options": {"train": 24, "valid": 6}}


def settings(**model: Any) -> Any:
    return config(model={"name": "./other", "threads": 1} | model, world=WORLD)


@pytest.mark.parametrize(
    ("model", "name", "memory", "lists", "repeats", "examples"),
    [
        ({"name": "embedded"}, "action", None, False, False, 0),
        ({"name": "embedded", "repeat_form": True, "examples": 2}, "action", None, False, True, 2),
        ({}, "react", None, False, True, 1),
        ({"prompt": "action", "examples": 0}, "action", None, False, True, 0),
        ({"prompt": "verl-agent"}, "verl-agent", 2, True, False, 0),
        ({"prompt": "verl-agent", "memory": "all"}, "verl-agent", None, False, False, 0),
        ({"prompt": "verl-agent", "memory": 0, "admissible": False}, "verl-agent", 0, False, False, 0),
        ({"prompt": "react", "memory": 3, "admissible": True}, "react", 3, True, True, 1),
        ({"prompt": "eto"}, "eto", None, False, False, 1),
        ({"prompt": "spa", "repeat_form": True}, "spa", None, False, True, 1),
    ],
)
def test_the_settings_of_each_form(
    model: dict[str, Any], name: str, memory: int | None, lists: bool, repeats: bool, examples: int
) -> None:
    of = settings(**model)
    found: Any = prompting.chosen(of)
    assert (found.name, found.memory, found.lists, found.repeats_form) == (name, memory, lists, repeats)
    assert prompting.examples_wanted(of, name) == examples


def test_a_published_protocol_is_not_helped() -> None:
    published = config(model={"name": "./other"}, world={"options": {"protocol": "spa-released"}})
    assert not prompting.chosen(published).repeats_form  # type: ignore[attr-defined]


def test_listed_commands_need_a_memory() -> None:
    with pytest.raises(UserError, match=r"set model\.memory too"):
        prompting.chosen(settings(admissible=True))


@pytest.mark.parametrize("prompt", ["action", "react", "verl-agent", "eto", "code-fence"])
def test_examples_are_the_experts_shortest_on_train_tasks_and_its_thoughts_are_not_empty(prompt: str) -> None:
    torch.set_num_threads(1)
    common = start.begin(config(model={"prompt": prompt, "examples": 2, "threads": 1}, world=WORLD))
    made: Any = common.prompt
    plain: Any = registry.prompt(prompt)
    assert replace(made, examples=(), memory=None, lists=False) == plain
    assert len(made.examples) == 2
    won = [t for t in start.experts(replace(common), prompting.TRIED, Progress.quiet())]
    kinds = {t.task.kind for t in won}
    lengths = sorted(len(t) for t in won)
    assert len(made.examples[0]) == lengths[0] and len(kinds) > 1
    for example in made.examples:
        (of,) = [t for t in won if t.steps[0].observation == example[0][0]]
        assert of.task in common.train and of.task not in common.panel
        assert [made.parse(reply) for _, reply in example] == [step.action for step in of.steps]
        if plain.render("look", "so") != plain.render("look"):
            assert all(reply != made.render(made.parse(reply)) for _, reply in example)
    other = start.begin(config(seed=5, model={"prompt": prompt, "examples": 2, "threads": 1}, world=WORLD))
    assert other.prompt_hash == common.prompt_hash


def test_the_hash_of_a_prompt_covers_examples_memory_and_the_repeated_form() -> None:
    torch.set_num_threads(1)
    ways: list[dict[str, Any]] = [{}, {"examples": 1}, {"examples": 2}, {"repeat_form": True}, {"memory": 1}]
    ways.append({"memory": 1, "admissible": True})
    hashes = [start.begin(config(model={"threads": 1} | way, world=WORLD)).prompt_hash for way in ways]
    assert len(set(hashes)) == len(ways)
    env = start.begin(config()).env
    assert (
        hashes[0] == start.hashlib.sha256(registry.prompt("action").system(env.instructions).encode()).hexdigest()[:12]
    )


def test_too_few_successes_are_one_line() -> None:
    torch.set_num_threads(1)
    short = config(model={"examples": 2, "threads": 1}, world={"max_steps": 1, "options": {"train": 24, "valid": 6}})
    with pytest.raises(UserError, match=r"set model\.examples=0"):
        _ = start.begin(short).prompt


def test_demonstrations_of_a_prompt_that_lists_commands_have_them() -> None:
    torch.set_num_threads(1)
    common = start.begin(config(model={"prompt": "verl-agent", "threads": 1}, world=WORLD))
    for trajectory in start.experts(common, 3, Progress.quiet()):
        assert all(step.action in step.admissible for step in trajectory.steps)
        assert all("<think></think>" not in step.reply for step in trajectory.steps)
    plain = start.begin(config(model={"threads": 1}, world=WORLD))
    assert all(step.admissible == () for t in start.experts(plain, 3, Progress.quiet()) for step in t.steps)
