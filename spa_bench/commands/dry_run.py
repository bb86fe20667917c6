"""`--dry-run` of `run` and `compare`: every value that will be in force, where it comes from, and what is missing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spa_bench.commands.options import Flags, in_force, to_toml
from spa_bench.commands.words import aside
from spa_bench.config import EMBEDDED, RunConfig
from spa_bench.core import UserError
from spa_bench.files import cache_root
from spa_bench.runs import trackers
from spa_bench.runs.names import reward_label
from spa_bench.terminal import printable_line

if TYPE_CHECKING:
    from spa_bench.training.resolved import Resolved


def dry_run(configs: Sequence[RunConfig], flags: Flags, results: Path, track: str | None, as_json: bool) -> None:
    """Print the configurations, as TOML for `--config` or as JSON; then UserError where a run could not begin.

    In TOML every value says where it comes from, and settings that are left open stand as comments with what they come
    to, so that the file is the same run. Memory and time of a model from elsewhere are told on standard error.
    """
    from spa_bench.training.resolved import resolve

    with aside():
        alike = {config.model_copy(update={"seed": 0}).model_dump_json(): config for config in configs}
        looked = {key: resolve(config) for key, config in alike.items()}
    found = [looked[config.model_copy(update={"seed": 0}).model_dump_json()] for config in configs]
    if as_json:
        plain = [in_force(config) for config in configs]
        print(json.dumps(plain[0] if len(plain) == 1 else plain, indent=1))
    else:
        _print_toml(configs, flags, found)
    trackers.check(track)
    _writable(results)
    cache_root()
    problems = list(dict.fromkeys(problem for one in found for problem in one.problems))
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
    if len(configs) == 1:
        _print_estimate(configs[0])


def _print_toml(configs: Sequence[RunConfig], flags: Flags, found: Sequence[Resolved]) -> None:
    """Several configurations each under a comment that names the run."""
    for number, (config, resolved) in enumerate(zip(configs, found, strict=True), 1):
        if len(configs) > 1:
            label = f"{config.env}, {reward_label(config.reward, config.reward_options)}, seed {config.seed}"
            print(("\n" if number > 1 else "") + f"# run {number} of {len(configs)}: {printable_line(label)}")
        chosen = config.ppo.optimiser if flags.optimiser else None
        own = replace(flags, env=config.env, optimiser=chosen, several=flags.several or len(configs) > 1)
        print(to_toml(in_force(config), own.sources(), resolved.values), end="")


def _writable(folder: Path) -> None:
    """UserError where results could not be written; no folder is made."""
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"--results {folder}: {place} is no folder that can be written: choose another")


def _print_estimate(config: RunConfig) -> None:
    """Memory and time of a model from elsewhere, on standard error; the embedded one fits everywhere."""
    if config.model.name == EMBEDDED:
        return
    from spa_bench.training.estimate import estimate

    try:
        with aside():
            lines = estimate(config).lines()
    except UserError as error:
        lines = [f"no estimate of memory and time: {error}"]
    for line in lines:
        print(printable_line(line), file=sys.stderr)
