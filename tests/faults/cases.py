"""The commands that faults strike: tiny runs of several methods in every world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kills import Case
from tiny import SETTINGS

from spa_bench.commands.options import to_toml

WORLDS: dict[str, dict[str, Any]] = {
    "alfworld": {"train": 24, "valid": 6},
    "webshop": {"products": 20, "valid": 6},
    "virtualhome": {"train": 24, "valid": 6},
}
"""Options of small ones."""

METHODS = ("sparse", "spa", "gigpo", "3spo")

PPO = {"learning_rate": 3e-3, "warmup": 0, "entropy_coef": 0.01}
"""With these every update changes what is said, with any method: tiny policies hardly ever succeed."""

SHORT = (("alfworld", ("spa",), 1), ("webshop", ("3spo",), 1), ("virtualhome", ("sparse", "gigpo"), 2))
"""World, methods and jobs of the cases that every test run has."""

LONG = (
    *((world, (method,), 1) for world, method in zip((*WORLDS, "alfworld"), METHODS, strict=True)),
    *((world, METHODS, 2) for world in WORLDS),
)
"""Those of a campaign."""


def case(world: str, methods: tuple[str, ...], jobs: int, folder: Path) -> Case:
    """The command of a case, which works in `folder`."""
    file = folder / "tiny.toml"
    settings = {"world": {"max_steps": 6, "options": WORLDS[world]}, "ppo": SETTINGS["ppo"] | PPO, "batch": 8}
    file.write_text(to_toml({**SETTINGS, **settings}), encoding="utf-8")
    words = ["--env", world, "--reward", ",".join(methods), "--config", str(file)]
    if len(methods) == 1:
        return Case(("run", *words), folder)
    return Case(("compare", *words, "--seeds", "1", "--jobs", str(jobs)), folder)


def named(one: tuple[str, tuple[str, ...], int]) -> str:
    """A case in the name of its test."""
    world, methods, jobs = one
    return f"{world}-{'-'.join(methods)}-jobs-{jobs}"
