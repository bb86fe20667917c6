"""A world as a tool: played by its expert, one number for each episode, worked out by hand."""

from __future__ import annotations

import pytest

from spa_bench.core import UserError
from spa_bench.interop.step_rewards import StepRewards
from spa_bench.interop.tool_worlds import OVER, ToolWorld, environment_factory, tool_dataset, tool_reward

WORLD = {"train": 6, "valid": 2}


def begun() -> tuple[ToolWorld, str]:
    """The first task, begun, and its first page."""
    world = environment_factory("alfworld", **WORLD)()
    return world, world.reset(**tool_dataset("alfworld", count=1, **WORLD)[0])


def solved() -> ToolWorld:
    world, _ = begun()
    while not world._dialogue.over:
        world.act(world._dialogue.env.expert_action())
    return world


def test_the_public_functions_are_what_trl_shows_the_model() -> None:
    from transformers.utils import get_json_schema

    world, _ = begun()
    public = [name for name, value in vars(ToolWorld).items() if callable(value) and not name.startswith("_")]
    assert public == ["reset", "act"]
    told = get_json_schema(world.act)["function"]
    assert told["name"] == "act" and list(told["parameters"]["properties"]) == ["command"]


def test_the_reward_is_the_sum_of_the_methods_step_rewards() -> None:
    """Of a solved task `uniform` gives 1/T to each step, so 1; of one that has hardly begun, 0."""
    world, untouched = solved(), begun()[0]
    untouched.act("look")
    rewards = StepRewards("uniform")
    summed = tool_reward(rewards)
    assert summed(environments=[world, untouched], prompts=[], completions=[]) == pytest.approx([1.0, 0.0])
    assert summed.__name__ == "sum of step rewards: uniform"
    (turns,) = rewards([world.trajectory])
    assert turns.tolist() == pytest.approx([1 / len(turns)] * len(turns))
    assert all(step.grounded for step in world.trajectory.steps)


def test_a_world_is_used_again() -> None:
    world = solved()
    assert world.act("look") == OVER
    first = tool_dataset("alfworld", count=1, **WORLD)[0]
    assert first["task"] == world.trajectory.task.key
    assert world.reset(**first) and world.trajectory.steps == ()
    world.act("fly to the moon")
    assert [step.fault for step in world.trajectory.steps] == ["format"]


def test_a_world_that_fails_is_no_reply_of_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL shows the model what a tool raises; the reward raises it again, as one line."""
    world, _ = begun()

    def broken(self: object, action: str) -> None:
        raise ZeroDivisionError("no such place")

    monkeypatch.setattr(type(world._dialogue.env), "step", broken)
    line = r"^environment alfworld: step of task .* raised ZeroDivisionError: no such place at "
    with pytest.raises(UserError, match=line):
        world.act("look")
    assert world.act("look") == OVER
    with pytest.raises(UserError, match=line):
        tool_reward(StepRewards("sparse"))(environments=[world])


def test_rows_of_another_dataset_are_refused() -> None:
    world = environment_factory("alfworld", **WORLD)()
    with pytest.raises(
        UserError, match=r"^environment alfworld: no task 'gone' in train: use the rows of tool_dataset$"
    ):
        world.reset(task="gone", split="train", prompt=[])


def test_several_characters_are_refused() -> None:
    with pytest.raises(UserError, match="several act at once"):
        environment_factory("virtualhome", characters=2)()
