"""Texts to train a tokenizer on: every word of the world, and roughly as often as an agent meets it.

Only train tasks are read, so that a tokenizer learns nothing of the held-out panels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spa_bench.core import derive_seed
from spa_bench.environments.virtualhome import episode, words
from spa_bench.environments.virtualhome.tasks import Homes, Scenario

EPISODES = 200
"""Train tasks that are played, spread evenly over the sorted keys."""
WALK = 20
"""Random steps after each expert episode: they meet the commands that an expert never needs."""


def texts(homes: Homes, characters: int = 1) -> list[str]:
    """One text per episode, and the instructions; the same list on every machine."""
    tasks = homes.tasks("train")
    chosen = [tasks[i * len(tasks) // EPISODES] for i in range(EPISODES)] if len(tasks) > EPISODES else tasks
    episodes = ("\n".join(_episode(homes.load(task), characters)) for task in chosen)
    return [words.instructions(), words.NOTHING, *episodes]


def _episode(scenario: Scenario, characters: int) -> Iterator[str]:
    now = episode.begin(scenario, characters)
    others = [None] * (characters - 1)
    yield now.shown(0)
    while not all(now.conditions) and now.turns < episode.LONGEST:
        command = now.expert_action(0)
        now = now.step([command, *others])
        yield f"{command}\n{now.shown(0)}"
    rng = np.random.default_rng(derive_seed("corpus", scenario.task.key))
    for _ in range(WALK):
        # by verb first: most commands only go somewhere
        by_verb: dict[str, list[str]] = {}
        for command in now.admissible(0):
            by_verb.setdefault(command.split(" ", 1)[0], []).append(command)
        commands = list(by_verb.values())[rng.integers(len(by_verb))]
        command = commands[rng.integers(len(commands))]
        now = now.step([command, *others])
        yield f"{command}\n{now.shown(0)}"
