"""A world as a tool: played by its expert, one number for each episode, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import trl

from spa_bench.agents.embedded import build_model, train_tokenizer
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


CALL = '<tool_call>\n{"name": "act", "arguments": {"command": "look"}}\n</tool_call><|im_end|>'
SHORT = WORLD | {"max_steps": 3}
COUNTING = """
import numpy as np
from spa_bench import RewardMethod


class Counting(RewardMethod):
    def rewards(self, group):
        return [np.arange(1.0, len(episode) + 1) for episode in group]
"""


def caller() -> tuple[torch.nn.Module, object]:
    """A tiny model that has learned to call the tool, and its tokenizer, with a template of TRL's that knows tools."""
    row, world = tool_dataset("alfworld", count=1, **SHORT)[0], environment_factory("alfworld", **SHORT)()
    template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")
    page = [{"role": "user", "content": row["prompt"][0]["content"] + world.reset(**row)}]
    form = {"chat_template": template, "tools": [world.act], "add_generation_prompt": True, "tokenize": False}
    text = train_tokenizer(["x"]).apply_chat_template(page, **form)
    tokenizer = train_tokenizer([text, CALL])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", template
    model = build_model(tokenizer, hidden=32, layers=1, heads=2, context=2048, seed=0)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    ids = torch.tensor([tokenizer.encode(text + CALL)])
    labels = ids.clone()
    labels[:, : -len(tokenizer.encode(CALL))] = -100
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        loss = model(ids, labels=labels).loss
        if loss < 0.002:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, tokenizer


def test_two_steps_of_trl_call_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`counting` gives 1, 2, 3, ... to the steps. Then the world fails, which ends training with one line."""
    model, tokenizer = caller()
    (tmp_path / "counting.py").write_text(COUNTING, encoding="utf-8")
    config = trl.GRPOConfig(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, num_generations=2, report_to=[],
        save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True, max_tool_calling_iterations=1,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        model=model, processing_class=tokenizer, args=config, train_dataset=tool_dataset("alfworld", count=1, **SHORT),
        reward_funcs=tool_reward(StepRewards(f"{tmp_path / 'counting.py'}:Counting")),
        environment_factory=environment_factory("alfworld", **SHORT),
    )  # fmt: skip
    trainer.train()
    played = [[step.action for step in world.trajectory.steps] for world in trainer.environments]
    assert ["look"] in played and trainer.state.global_step == 2
    paid = trainer._logs["rewards"]["sum of step rewards: counting.Counting"]
    assert [*paid][-2:] == [len(actions) * (len(actions) + 1) / 2 for actions in played]

    def broken(self: object, action: str) -> None:
        raise ZeroDivisionError("no such place")

    monkeypatch.setattr(type(trainer.environments[0]._dialogue.env), "step", broken)
    trainer.args.max_steps = 3
    with pytest.raises(
        UserError, match=r"^environment alfworld: step of task .* raised ZeroDivisionError: no such place"
    ):
        trainer.train()


def test_rows_of_another_dataset_are_refused() -> None:
    world = environment_factory("alfworld", **WORLD)()
    with pytest.raises(
        UserError, match=r"^environment alfworld: no task 'gone' in train: use the rows of tool_dataset$"
    ):
        world.reset(task="gone", split="train", prompt=[])


def test_several_characters_are_refused() -> None:
    with pytest.raises(UserError, match="several act at once"):
        environment_factory("virtualhome", characters=2)()
