"""Which runs a comparison has: worlds, methods and seeds, from the command line or from its file.

In a file of settings they are the top-level keys `env`, `reward` and `seeds`, each one value or a list.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from spa_bench import registry
from spa_bench.assignments import override
from spa_bench.commands.options import Flags, check, listed
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.runs.folder import config_hash
from spa_bench.runs.names import reward_name, world_name

SEEDS = 3
"""Seeds of each method where nothing else is said."""


def configs(flags: Flags, reward: str, seeds: str | None, first: int | None) -> list[RunConfig]:
    """One configuration for each world, optimiser, method and seed, in this order; all of them are checked.

    Several optimisers are compared one at a time: no table holds two.

    UserError for what one run would be refused for, too, and where nothing is to be compared.
    """
    flags = replace(flags, several=True)
    said = override(flags.of_file(), flags.assignments)
    worlds = listed(flags.env, "env") if flags.env else _several(said, "env")
    names = listed(reward) or _several(said, "reward")
    if not worlds:
        raise UserError(f"no --env: choose of {', '.join(registry.names('environments'))}")
    if not names:
        raise UserError("no --reward: give the methods to compare, for example --reward sparse,ppo")
    numbers = seeds_of(
        said.get("seeds", SEEDS) if seeds is None else seeds, said.get("seed") if first is None else first
    )
    found = []
    optimisers: list[str | None] = [*listed(flags.optimiser, "optimiser")] if flags.optimiser else [None]
    for world, optimiser in itertools.product(worlds, optimisers):
        own = replace(flags, env=world, optimiser=optimiser)
        for name in names:
            runs = [own.config(reward=name, seed=number) for number in numbers]
            check(runs[0])
            found += runs
    return found


def shard(configs: Sequence[RunConfig], words: str) -> list[RunConfig]:
    """The runs of one part: of `2/8` the second, tenth, eighteenth ... in order of world, method, settings and seed.

    That order is the same however the comparison is typed, so that every run is in one part, and in the same one
    whenever the command is repeated. The seeds of a method stand side by side in it: with as many parts as seeds each
    part has one seed of every method, and makes its warm start alone. A part may be empty.

    UserError for what is no part.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", words, re.ASCII)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f"--shard {words}: give the part and their number, from 1/8 to 8/8 for eight of them")
    ordered = sorted(
        configs, key=lambda one: (world_name(one.env), reward_name(one.reward), config_hash(one), one.seed)
    )
    return ordered[part - 1 :: parts]


def budgets_of(said: str | None) -> list[int]:
    """The training budgets of `3000,6000,18000`, rising; empty where none is named. UserError for anything else."""
    parts = [] if said is None else said.split(",")
    if not all(re.fullmatch(r"\s*[1-9][0-9]{0,11}\s*", part, re.ASCII) for part in parts):
        raise UserError(f"--budgets {said}: give environment steps with commas, such as 3000,6000,18000")
    return sorted({int(part) for part in parts})


def _several(said: Mapping[str, Any], key: str) -> list[str]:
    """The names that the file has under a key: a text as it is typed, or a list of them."""
    given = said.get(key, "")
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return list(dict.fromkeys(given))
    return listed(str(given), key)


def seeds_of(said: object, first: object = None) -> list[int]:
    """The seeds of `3` (so many, from `first` on, by default 0) or of `0,1,2` and `[0, 1, 2]` (these).

    A single seed is `5,`. UserError for anything else.
    """
    wrong = UserError(f"--seeds {said}: give their number, such as 3, or the seeds themselves, such as 0,1,2")
    listing = isinstance(said, list) or "," in str(said)
    parts = said if isinstance(said, list) else [part for part in str(said).split(",") if part.strip()]
    try:
        numbers = [int(str(part)) for part in parts]
    except ValueError:
        raise wrong from None
    if not numbers or min(numbers) < (0 if listing else 1):
        raise wrong
    if not listing:
        start = 0 if first is None else int(str(first))
        return list(range(start, start + numbers[0]))
    if first is not None:
        raise UserError(f"--seeds {said} names the seeds: leave --seed out")
    return list(dict.fromkeys(numbers))
