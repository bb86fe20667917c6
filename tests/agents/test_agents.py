"""Scripted agents and cloning data: the teacher's slips are seeded, recovered from, and never taught."""

from __future__ import annotations

import numpy as np
from tiny import language_model

from spa_bench import registry
from spa_bench.core import Conversation, Message, Trajectory
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.training.batches import pack
from spa_bench.training.warm_start import Demonstration, _examples


def play(slip: float, batch: int = 7, count: int = 40) -> list[Trajectory]:
    make = lambda: registry.build("environments", "alfworld", train=40, valid=6, max_steps=80)  # noqa: E731
    agent = registry.build("agents", "expert", prompt=registry.prompt("action"), slip=slip)
    requests = [Request(i, task, seed=i) for i, task in enumerate(make().tasks("train")[:count])]
    return [trajectory for _, trajectory, _ in Player(make, batch).play(requests, agent)]


def test_without_slips_every_step_is_the_teachers_and_the_length_is_the_tasks() -> None:
    for trajectory in play(0.0):
        assert trajectory.success and len(trajectory) == trajectory.task.expert_steps
        assert all(step.action == step.expert_action and step.grounded for step in trajectory.steps)


def test_slips_have_their_share_some_fail_and_the_teacher_recovers() -> None:
    episodes = play(0.2)
    assert np.mean([trajectory.success for trajectory in episodes]) > 0.9
    steps = [step for trajectory in episodes for step in trajectory.steps]
    slips = [step for step in steps if step.action != step.expert_action]
    # A slip may hit upon the teacher's own choice, so their share is somewhat below 20 %.
    assert 0.12 < len(slips) / len(steps) < 0.24
    assert {step.grounded for step in slips} == {True, False}


def test_slips_do_not_depend_on_the_batch() -> None:
    actions = [[[step.action for step in t.steps] for t in play(0.3, batch, count=9)] for batch in (1, 4, 9)]
    assert actions[0] == actions[1] == actions[2]


def test_a_random_agent_draws_anew_at_every_turn_from_its_seed_alone() -> None:
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    commands = tuple(f"go to {number}" for number in range(100))

    def said(seed: int) -> list[str]:
        talk, replies = Conversation(0, seed, [], commands), []
        for _ in range(40):
            replies.append(agent.act([talk])[0].text)
            talk.messages.append(Message("assistant", replies[-1]))
        return replies

    assert len(set(said(1))) > 20  # 33 of 40 are expected to differ
    assert said(1) == said(1) != said(2)


def test_a_slip_is_drawn_at_every_turn() -> None:
    """Of twenty turns, half of them slips, no episode has none or nothing else."""
    for trajectory in play(0.5, count=20):
        right = [step.action == step.expert_action for step in trajectory.steps[:20]]
        assert len(right) < 10 or {True, False} == set(right)


def test_only_the_teachers_own_choices_are_taught() -> None:
    agent = language_model(context=8192)
    trajectory = next(t for t in play(0.3) if any(s.action != s.expert_action for s in t.steps))
    episode = pack(agent.tokenise("", trajectory))
    taught = np.array([step.action == step.expert_action for step in trajectory.steps])
    (example,) = _examples(Demonstration(episode, taught))
    labels = np.array(example["labels"])
    shown = agent.tokenizer.decode([i for i in labels if i != -100])
    want = "".join(step.reply + "<|end|>" for step, keep in zip(trajectory.steps, taught, strict=True) if keep)
    assert shown == want
    assert all(i == j for i, j in zip(labels, example["input_ids"], strict=True) if i != -100)
