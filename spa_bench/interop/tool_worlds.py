"""A world as a tool that a model calls: what TRL's `environment_factory` makes.

TRL asks the class for public functions and shows each but `reset` to the model as a tool. An error in a tool becomes a
text for the model there, which would make a world that fails look like a model that does; so it is kept and raised when
rewards are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spa_bench.core import Task, TextEnv, Trajectory, UserError, derive_seed
from spa_bench.interop import dialogue
from spa_bench.interop.step_rewards import StepRewards
from spa_bench.rollout.worlds import WorldError

OVER = "The episode is over."


class ToolWorld:
    """One world with one tool, `act`."""

    def __init__(self, make_env: Callable[[], TextEnv], known: dict[tuple[str, str], Task], seed: int) -> None:
        self._known, self._seed, self._begun = known, seed, 0
        self._dialogue = dialogue.Dialogue(make_env)
        self._failure: WorldError | None = None

    def reset(self, *, task: str, split: str, **row: Any) -> str:
        """Begin the task of a row of `tool_dataset`; what is seen first."""
        self._begun += 1
        self._failure = None
        found = _task(self._dialogue.env, self._known, split, task)
        self._dialogue.begin(found, derive_seed(self._seed, task, self._begun))
        return self._dialogue.episode.observation

    def act(self, command: str) -> str:
        """Do something in the world.

        Args:
            command: One command in the words of the world.

        Returns:
            What happens.
        """
        if self._dialogue.over or self._failure is not None:
            return OVER
        try:
            self._dialogue.reply(self._dialogue.render(str(command)))
        except WorldError as error:
            self._failure = error
            raise
        return self._dialogue.episode.observation

    @property
    def trajectory(self) -> Trajectory:
        """The episode so far; UserError where the world has failed."""
        if self._failure is not None:
            raise self._failure
        return self._dialogue.trajectory()


def _task(env: TextEnv, known: dict[tuple[str, str], Task], split: str, key: str) -> Task:
    """The task of that key; the tasks of a split are listed once for all worlds of a factory."""
    if (split, key) not in known:
        known |= {(split, task.key): task for task in dialogue.tasks(env, split, None)}
    if (split, key) not in known:
        raise UserError(f"environment {env.name}: no task {key!r} in {split}: use the rows of tool_dataset")
    return known[split, key]


def environment_factory(world: str, *, seed: int = 0, **options: Any) -> Callable[[], ToolWorld]:
    """What `GRPOTrainer(environment_factory=...)` takes; `options` are the world's own."""
    known: dict[tuple[str, str], Task] = {}
    return lambda: ToolWorld(lambda: dialogue.world(world, options), known, seed)


def tool_dataset(world: str, *, split: str = "train", count: int | None = None, **options: Any) -> Any:
    """A `datasets.Dataset` for it, a row for each of the first `count` tasks: `prompt`, `task` and `split`."""
    from datasets import Dataset  # type: ignore[import-untyped]

    env = dialogue.world(world, options)
    told = f"{env.instructions}\n\nCall the tool `act` with one command at a time.\n\n"
    rows = [
        {"prompt": [{"role": "user", "content": told}], "task": task.key, "split": split}
        for task in dialogue.tasks(env, split, count)
    ]
    return Dataset.from_list(rows)


def tool_reward(rewards: StepRewards) -> Callable[..., list[float]]:
    """A function for `reward_funcs`: the sum of each episode's step rewards, called so in TRL's metrics."""

    def summed(environments: Sequence[ToolWorld], **_: Any) -> list[float]:
        return [float(turns.sum()) for turns in rewards([one.trajectory for one in environments])]

    summed.__name__ = rewards.sum_name
    return summed
