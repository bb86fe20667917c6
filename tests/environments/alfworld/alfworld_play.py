"""Small sets and whole episodes, for the tests of ALFWorld as an environment."""

from typing import Any

from spa_bench.environments.alfworld.env import ALFWorld

SMALL: dict[str, Any] = {"train": 36, "valid": 12}


def begin(env: ALFWorld, index: int = 0, split: str = "train") -> tuple[str, dict[str, Any]]:
    return env.reset(options={"task": env.tasks(split)[index].key, "split": split})


def finish(env: ALFWorld) -> tuple[list[str], tuple[str, float, bool, bool, dict[str, Any]]]:
    """Let the expert play on; its commands, and the last result."""
    commands = []
    while True:
        commands.append(env.expert_action())
        result = env.step(commands[-1])
        if result[2] or result[3]:
            return commands, result
