"""Texts to train a tokenizer on: every word of the world, and roughly as often as an agent meets it.

Only train tasks are read, so that a tokenizer learns nothing of the held-out panels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spa_bench.core import Task, derive_seed
from spa_bench.environments.alfworld import words
from spa_bench.environments.alfworld.engine import NOTHING, Engine
from spa_bench.environments.alfworld.expert import Expert
from spa_bench.environments.alfworld.game import Game, TextVersion
from spa_bench.environments.alfworld.tasks import Games

EPISODES = 200
"""Train tasks that are played, spread evenly over the sorted keys and so over the kinds of task."""
WALK = 30
"""Random steps after each expert episode: they meet the commands that an expert never needs."""


def texts(games: Games, wording: TextVersion) -> list[str]:
    """One text per episode, and the instructions; the same list on every machine."""
    tasks = games.tasks("train")
    chosen = [tasks[i * len(tasks) // EPISODES] for i in range(EPISODES)] if len(tasks) > EPISODES else tasks
    episodes = ["\n".join(_episode(games.load(task, wording), task)) for task in chosen]
    return [words.instructions(wording), NOTHING, *episodes]


def _episode(game: Game, task: Task) -> Iterator[str]:
    engine = Engine(game)
    observation = engine.reset()
    yield observation
    expert = Expert(observation)
    for _ in range(task.expert_steps):
        command = expert.act(engine.admissible)
        observation = engine.step(command)
        expert.observe(command, observation)
        yield f"{command}\n{observation}"
    rng = np.random.default_rng(derive_seed("corpus", task.key))
    for _ in range(WALK):
        # by verb first: most commands only go somewhere
        by_verb: dict[str, list[str]] = {}
        for command in engine.admissible:
            by_verb.setdefault(command.split(" ", 1)[0], []).append(command)
        commands = list(by_verb.values())[rng.integers(len(by_verb))]
        command = commands[rng.integers(len(commands))]
        yield f"{command}\n{engine.step(command)}"
