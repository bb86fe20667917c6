"""Recipes: settings for a model and a machine that are shipped with the package, as `--config recipe:NAME`.

A recipe is a TOML file of settings in `spa_bench/recipes`. Its head, a comment, says what it is for, on which machine,
and what memory and time it takes; every number says where it is from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spa_bench import registry
from spa_bench.assignments import from_file
from spa_bench.core import UserError

FOLDER = Path(__file__).resolve().parent.parent / "recipes"
PREFIX = "recipe:"


def names() -> list[str]:
    """Every recipe, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def read(said: Path) -> dict[str, Any]:
    """Values of `recipe:NAME`, or of a TOML file; UserError where there is none."""
    name = str(said).removeprefix(PREFIX)
    if name == str(said):
        if name in names() and not said.exists():
            raise UserError(f"there is no file {name}; the recipe of that name is --config {PREFIX}{name}")
        return from_file(said)
    if name not in (known := names()):
        raise UserError(f"no recipe {name!r}{registry.suggest(name, known)}")
    return from_file(FOLDER / f"{name}.toml")
