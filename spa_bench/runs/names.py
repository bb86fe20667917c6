"""Names of runs and methods: in folders, in messages, in tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_name(path: Path) -> str:
    """Name of a folder below the results, the same on every machine: `alfworld/spa/0-1a2b3c4d`."""
    return "/".join(path.parts[-3:])


def reward_name(reward: str) -> str:
    """A method as folders and tables call it: `folder/mine.py:Mine` is `mine.Mine`."""
    location, colon, class_name = reward.rpartition(":")
    return f"{Path(location).stem}.{class_name}" if colon else reward


def world_name(env: str) -> str:
    """A world as folders and tables call it: `folder/mine.py:Mine` is `mine.Mine`."""
    return reward_name(env) if ".py:" in env else env


def reward_typed(reward: str) -> str:
    """A method as messages call it: what was typed, without the folder of a file."""
    location, colon, class_name = reward.rpartition(":")
    return f"{Path(location).name}:{class_name}" if colon else reward


def reward_label(reward: str, options: Mapping[str, Any]) -> str:
    """A method with its options as tables call it: `spa (beta=0.1)`; whole numbers have no point, however typed."""
    whole = {key: int(value) for key, value in options.items() if isinstance(value, float) and value.is_integer()}
    said = ", ".join(f"{key}={value}" for key, value in sorted({**options, **whole}.items()))
    return f"{reward_name(reward)} ({said})" if said else reward_name(reward)
