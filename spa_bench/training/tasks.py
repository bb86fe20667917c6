"""Which tasks of a world a run has: the first of a fixed shuffle, or all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from spa_bench.config import RunConfig
from spa_bench.core import Task, TextEnv, UserError
from spa_bench.rollout.worlds import ask


def fixed_shuffle(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """An order that depends on the keys alone, so that the first N are a fair and stable sample."""
    return tuple(sorted(tasks, key=lambda task: hashlib.sha256(task.key.encode()).digest()))


def train_tasks(config: RunConfig, env: TextEnv) -> tuple[Task, ...]:
    """The train tasks, `world.train_tasks` of them where that is set; UserError where there are fewer."""
    return _first(config.world.train_tasks, "world.train_tasks", config.env, "train", env)


def evaluation_set(config: RunConfig, env: TextEnv) -> tuple[Task, ...]:
    """The tasks of the split, `eval.tasks` of them where that is set; UserError where there are fewer."""
    return _first(config.eval.tasks, "eval.tasks", config.env, config.eval.split, env)


def _first(wanted: int | None, setting: str, world: str, split: str, env: TextEnv) -> tuple[Task, ...]:
    tasks = fixed_shuffle(ask(env, "tasks", split))
    if wanted is not None and wanted > len(tasks):
        raise UserError(
            f"{setting}={wanted}: {split} of {world} has {len(tasks)} tasks: ask for no more, or leave it out for all"
        )
    return tasks[:wanted]
