"""What every method begins with: the panel's name, and the demonstrations in the policy's own tokens."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny import config

from spa_bench.runs.progress import Progress
from spa_bench.training import start


def test_an_evaluation_set_is_known_by_its_tasks_and_settings_and_not_by_where_its_data_lie() -> None:
    torch.set_num_threads(1)
    common = start.begin(config())
    world = common.config.world
    moved, longer = (
        replace(common, config=common.config.model_copy(update={"world": world.model_copy(update=changes)}))
        for changes in ({"data": "/elsewhere"}, {"max_steps": 7})
    )
    assert moved.panel_hash == common.panel_hash
    assert longer.panel_hash != common.panel_hash
    assert replace(common, panel=common.panel[1:]).panel_hash != common.panel_hash


def test_a_demonstration_that_failed_is_left_out() -> None:
    """Five steps are enough for some tasks only: those of which the expert needs no more."""
    torch.set_num_threads(1)
    common = start.begin(config(world={"max_steps": 5, "options": {"train": 24, "valid": 6}}))
    shown = start.experts(common, 24, Progress.quiet())
    assert 0 < len(shown) < 24 and all(trajectory.success for trajectory in shown)
    assert [t.task for t in shown] == [task for task in common.train_tasks(24) if task.expert_steps <= 5]


def test_demonstrations_are_successes_whose_every_step_has_tokens() -> None:
    torch.set_num_threads(1)
    settings = config(world={"max_steps": 60, "options": {"train": 24, "valid": 6}})
    common = start.begin(settings)
    agent = start.load_policy(common, None)
    shown = start.demonstrations(common, agent, 5, Progress.quiet())
    assert len(shown) == 5 and all(trajectory.success for trajectory in shown)
    for trajectory in shown:
        for step in trajectory.steps:
            assert step.tokens is not None and step.tokens.logprobs == (0.0,) * len(step.tokens.reply)
            assert agent.chat.text(step.tokens.reply) == step.reply  # type: ignore[attr-defined]
