"""How the configured model is asked: the reply format, what a reply is shown, and worked examples by the expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from spa_bench import registry
from spa_bench.config import EMBEDDED, RunConfig
from spa_bench.core import ReplyFormat, Trajectory, UserError
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player

TRIED = 12
"""Train tasks, the first of the fixed shuffle, among which examples are found: the shortest successes of them."""
THEIRS = ("verl-agent", "eto", "spa")
"""Forms that others have published."""


def chosen(config: RunConfig) -> ReplyFormat:
    """The configured format, without examples; UserError where settings contradict each other."""
    model = config.model
    embedded = model.name == EMBEDDED
    name = ("action" if embedded else "react") if model.prompt == "auto" else model.prompt
    automatic = 2 if name == "verl-agent" else None
    memory = automatic if model.memory == "auto" else None if model.memory == "all" else model.memory
    lists = name == "verl-agent" and memory is not None if model.admissible is None else model.admissible
    if lists and memory is None:
        raise UserError(
            "model.admissible lists commands behind the current page alone: set model.memory too, such as 2"
        )
    repeats = model.repeat_form
    if repeats is None:
        published = config.world.options.get("protocol", "default") != "default"
        repeats = not (embedded or published or name in THEIRS)
    plain: Any = registry.prompt(name)
    return cast(ReplyFormat, replace(plain, memory=memory, lists=lists, repeats_form=repeats))


def examples_wanted(config: RunConfig, name: str) -> int:
    """How many worked examples this format has."""
    model = config.model
    automatic = 0 if model.name == EMBEDDED or name == "verl-agent" else 1
    return automatic if model.examples is None else model.examples


def longest_reply(config: RunConfig, name: str) -> int:
    """`model.max_new_tokens`, or what this form of a reply needs."""
    return config.model.max_new_tokens or (16 if name == "action" else 256)


def longest_episode(config: RunConfig, max_steps: int) -> int:
    """Tokens that an episode of `max_steps` turns can have sampled."""
    return longest_reply(config, chosen(config).name) * max_steps


def with_examples(prompt: ReplyFormat, player: Player, requests: Sequence[Request], wanted: int) -> ReplyFormat:
    """The format with `wanted` successes of the expert among these games; UserError where there are not so many.

    The shortest ones, of different kinds of tasks where there are: they are read in every prompt. They do not depend on
    the run's seed.
    """
    if not wanted:
        return prompt
    agent = registry.build("agents", "expert", prompt=prompt)
    won = [t for _, t, _ in player.play(requests, agent) if t.success and t.steps and not t.character]
    won.sort(key=len)
    first: dict[str, Trajectory] = {}
    for trajectory in won:
        first.setdefault(trajectory.task.kind, trajectory)
    found = [*first.values(), *(t for t in won if t not in first.values())][:wanted]
    if len(found) < wanted:
        raise UserError(
            f"the expert solves {len(found)} of {len(requests)} train tasks: set model.examples={len(found)}"
        )
    of: Any = prompt
    return cast(ReplyFormat, replace(of, examples=tuple(_shown(prompt, trajectory) for trajectory in found)))


def _shown(prompt: ReplyFormat, trajectory: Trajectory) -> tuple[tuple[str, str], ...]:
    """Pages as an agent reads them, and the replies."""
    return tuple(
        (prompt.later(step.observation, trajectory.goal) if number else step.observation, step.reply)
        for number, step in enumerate(trajectory.steps)
    )
