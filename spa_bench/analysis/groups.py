"""Which runs stand in one table, and which in none, with the reason.

Runs belong together if they differ in nothing but method and seed: two models of one name, or two catalogues, are apart
as two settings are. What is unfinished, failed, damaged or no run at all
is named and left out; the rest is reported. Separate from the table, because figures are drawn from the same runs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from spa_bench.analysis.budgets import at
from spa_bench.analysis.played import Played
from spa_bench.analysis.runs import Run, find, load
from spa_bench.analysis.settings import differing, digest, without_presets
from spa_bench.config import NAMED, SHOWN
from spa_bench.core import UserError
from spa_bench.identity import as_before
from spa_bench.runs.names import run_name, world_name

VARYING = ("reward", "reward_options", "seed", "batch", "limits", "collect")
"""What may differ between the runs of one table, beside `config.SHOWN` and `config.NAMED`."""
FACTS = {"panel": "evaluation_set", "content": "tasks_data", "model": "model_content", "world_code": "world_code"}
"""Facts that are the same in one table, and what they are called where they tell tables apart."""
START = "warm start"
"""Name of the row before RL training; every method is compared with it."""
EVAL, WARM_START = "eval", "warm_start"


@dataclass(frozen=True)
class Group:
    """Runs that may be compared."""

    identity: str
    """What they share; the same text for the same setting on every machine."""
    runs: tuple[Run, ...]
    """All of them, by label and seed."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings in which it differs from the other groups of its world and split, by dotted key; values as text."""

    @cached_property
    def judged(self) -> list[tuple[Run, str | None]]:
        """Each run, and why it is no observation of its method; None for a good one."""
        return [(run, _reason_to_leave_out(run, self.runs[:place])) for place, run in enumerate(self.runs)]

    @cached_property
    def good(self) -> list[Run]:
        """What is averaged: one run for each method and seed."""
        return [run for run, reason in self.judged if reason is None]

    @cached_property
    def methods(self) -> Mapping[str, Sequence[Run]]:
        """The good runs by label."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self.good:
            found[run.label].append(run)
        return dict(found)

    @cached_property
    def started(self) -> list[Run]:
        """The first run of each seed, for the warm start.

        At the cost of the run that trained it: the others found it in the cache.
        """
        members: dict[int, list[Run]] = defaultdict(list)
        for run in self.good:
            if valid(run, WARM_START):
                members[run.seed].append(run)
        costs = {seed: max(run.warm_start_seconds for run in same) for seed, same in members.items()}
        return [replace(members[seed][0], warm_start_seconds=costs[seed]) for seed in sorted(members)]

    @cached_property
    def rows(self) -> Mapping[str, tuple[Sequence[Run], str]]:
        """Runs and stage of each row of the table: the warm start first, then the methods."""
        before: dict[str, tuple[Sequence[Run], str]] = {START: (self.started, WARM_START)} if self.started else {}
        return before | {label: (runs, EVAL) for label, runs in self.methods.items()}

    @property
    def limits(self) -> tuple[int, int] | None:
        """The longest short and the longest medium task, by steps of the expert; None where the runs do not say it."""
        return self.runs[0].limits


@dataclass(frozen=True)
class Problem:
    """A folder that stands in no table."""

    path: Path
    reason: str

    @property
    def name(self) -> str:
        """The end of its path, the same on every machine."""
        return run_name(self.path)


def collect(paths: Iterable[Path]) -> tuple[list[Group], list[Problem]]:
    """The runs at or below `paths`, and the folders that are none; the same folders always give the same groups.

    UserError where there is no run folder at all.
    """
    return judge(find(paths))


def judge(folders: Iterable[Path], budget: int | None = None) -> tuple[list[Group], list[Problem]]:
    """As `collect`, of these folders; with a `budget`, in environment steps, the runs as they were there."""
    runs, problems = [], []
    for path in folders:
        try:
            run = load(path)
            runs.append(run if budget is None else at(run, budget))
        except UserError as error:
            problems.append(problem(path, error))
    return grouped(runs), sorted(problems, key=lambda one: (one.name, one.reason))


def problem(path: Path, error: UserError) -> Problem:
    """What is wrong with a folder, without its path."""
    return Problem(path, str(error).replace(str(path), run_name(path)))


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Runs by setting."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[setting(run)].append(run)
    told = {name: told_apart(same) for name, same in found.items()}
    ordered = {name: sorted(same, key=lambda run: (run.label, run.seed)) for name, same in told.items()}
    differ = _differing({name: same[0] for name, same in ordered.items()})
    return [Group(name, tuple(ordered[name]), differ[name]) for name in sorted(ordered)]


def _differing(first: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """For each group, by its first run, the settings in which it differs from others of its world and split."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in sorted(first):
        config = first[name].config
        places[world_name(str(config["env"])), str(config["eval"]["split"])].append(name)
    found: dict[str, dict[str, str]] = {}
    for names in places.values():
        compared = without_presets([shared(first[name].config) for name in names])
        if len({json.dumps(one, sort_keys=True) for one in compared}) < len(names):  # then facts differ
            for fact, called in FACTS.items():
                texts = _shortened([first[name].facts.get(fact) for name in names])
                compared = [one | {called: text} for one, text in zip(compared, texts, strict=True)]
        found |= dict(zip(names, differing(compared), strict=True))
    return found


def _shortened(values: Sequence[Any]) -> list[str]:
    """Hashes, or digests of several, shortened where that tells them apart."""
    exact = [json.dumps(one, sort_keys=True) for one in values]
    short = [
        "unknown" if one is None else digest(text) if isinstance(one, Mapping) else str(one)[:6]
        for one, text in zip(values, exact, strict=True)
    ]
    return short if len(set(short)) == len(set(exact)) else exact


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs, those of one name marked by their code where it differs: another method, or one that was edited."""
    codes: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        codes[run.label].add(_code(run))
    return [replace(run, mark=f"code {_code(run)}") if len(codes[run.label]) > 1 else run for run in runs]


def _code(run: Run) -> str:
    return str(run.facts.get("reward_code") or "unknown")[:6]


def setting(run: Run) -> str:
    """What runs of one table share, as text."""
    return alike(run.config, run.facts)


def alike(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """As `setting`, of what `run.json` holds. Content counts where it is on record.

    What is drawn for a table is drawn by this text: for runs of before a setting was there it stays as it was.
    """
    held = {name: facts[name] for name in FACTS if name != "panel" and facts.get(name)}
    same = shared(config)
    same |= {name: as_before(name, section) for name, section in same.items() if isinstance(section, dict)}
    return json.dumps([same, facts.get("panel"), *([held] if held else [])], sort_keys=True)


def shared(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that is the same in one table."""
    same = {key: value for key, value in config.items() if key not in VARYING}
    return same | {"eval": {key: value for key, value in config["eval"].items() if key not in (*SHOWN, *NAMED)}}


def valid(run: Run, panel: str) -> list[Played]:
    """The episodes of a stage that no error outside the agent's control has stopped."""
    return [episode for episode in run.panels[panel] if not episode.error]


def _reason_to_leave_out(run: Run, earlier: Sequence[Run]) -> str | None:
    if run.failure is not None:
        return f"failed ({run.failure})"
    if not run.finished:
        return "unfinished"
    if not valid(run, EVAL):
        return "no valid episode of the evaluation set"
    if any((run.label, run.seed) == (other.label, other.seed) and other.finished for other in earlier):
        return f"second folder of {run.label} with seed {run.seed}"
    return None
