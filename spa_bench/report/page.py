"""What a page shows, as plain values: runs, tables, curves, episodes. A folder that cannot be read is named, not fatal.

The same folders give the same values, wherever they lie.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from spa_bench.analysis.groups import alike
from spa_bench.analysis.played import DAMAGED, PANELS
from spa_bench.analysis.runs import find, unknown_kinds
from spa_bench.analysis.settings import flattened
from spa_bench.audit import saved
from spa_bench.core import UserError
from spa_bench.report.contents import Contents, of_folders
from spa_bench.report.page_audits import is_audit, read_audit
from spa_bench.report.page_episodes import FIELDS, Book, Episode, Shelf, episode, shortened
from spa_bench.report.page_tables import plain
from spa_bench.report.pictures import Picture, size
from spa_bench.runs.episodes import is_number
from spa_bench.runs.folder import read_run
from spa_bench.runs.journal import Journal
from spa_bench.runs.names import reward_label, run_name, world_name

CURVES = ("success", "grounded", "reward_sum", "kl")
"""Figures of an iteration that are drawn."""

LIMIT = 26_000_000
"""Bytes of episodes in a page; with the rest of it, a page stays under 30 MB."""


@dataclass(frozen=True)
class Folder:
    """One folder of a run or an audit as it was read."""

    path: Path
    name: str
    run: Mapping[str, Any]
    """Its entry in the page."""
    episodes: tuple[Episode, ...] = ()

    @property
    def readable(self) -> bool:
        """This version can read it."""
        return bool(self.run["state"] != "unreadable")


Reader = Callable[[Path], Folder]
Tabulator = Callable[[Sequence[Folder]], Contents]


def read(path: Path) -> Folder:
    """One folder of a run or an audit; an unreadable one has the reason in its entry."""
    name, audit = run_name(path), is_audit(path)
    said: dict[str, Any] = {"name": name, "kind": "audit" if audit else "run"}
    try:
        about, episodes = read_audit(path) if audit else _read_run(path)
    except (UserError, *DAMAGED) as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Folder(path, name, said | {"state": "unreadable", "reason": reason.replace(str(path), name)})
    bare = {key: _bare(value) for key, value in about["about"].items() if value is not None}
    return Folder(path, name, about | said | {"about": bare}, tuple(episodes))


def gather(
    paths: Iterable[Path],
    most: int | None = None,
    baseline: str | None = None,
    limit: int = LIMIT,
    known: Contents | None = None,
    figures: Sequence[Picture] = (),
) -> dict[str, Any]:
    """All that the page shows of the runs and audits at or below `paths`; UserError where there is none.

    `known` is what a report of the same folders has found: its tables are shown, and not made again. `figures` are its
    figures.
    """
    wanted = list(paths)
    audits = saved.find(wanted)
    try:
        runs = find(wanted)
    except UserError:
        if not audits:
            raise
        runs = []
    tabulator = partial(tabulate, baseline=baseline) if known is None else lambda _: known
    room = max(limit // 2, limit - sum(map(size, figures)))
    return compose(sorted({*runs, *audits}), read, tabulator, most, room) | {"figures": figures}


def compose(
    found: Sequence[Path], reader: Reader, tabulator: Tabulator, most: int | None = None, limit: int = LIMIT
) -> dict[str, Any]:
    """As `gather`, with functions to read a folder and to make tables, which may cache."""
    shelf, folders = Shelf(limit, most), []
    for folder in _named_apart([reader(path) for path in found]):
        shelf.add(folder.episodes)
        folders.append(replace(folder, episodes=()))
    made = tabulator([folder for folder in folders if folder.readable])
    bad = {problem.path: problem.reason for problem in made.problems}
    book, kept = Book(), shelf.kept()
    runs = []
    for folder, episodes in zip(folders, kept, strict=True):
        problem = {"problem": f"in no table: {bad[folder.path]}"} if folder.path in bad else {}
        runs.append(dict(folder.run) | {"name": folder.name, "shown": len(episodes)} | problem)
    groups = [book.groups(episodes) for episodes in kept]
    report = {"runs": runs, **plain(made), "left_out": _left_out(shelf), "fields": FIELDS, "curves": CURVES}
    return {"report": report, "book": book.plain(), "episodes": groups, "figures": []}


def tabulate(folders: Sequence[Folder], baseline: str | None = None) -> Contents:
    """The tables of these folders, and those that stand in no table, with the reason."""
    runs = [folder.path for folder in folders if folder.run["kind"] == "run"]
    return of_folders(runs, [folder.path for folder in folders if folder.run["kind"] == "audit"], baseline)


def _named_apart(folders: Sequence[Folder]) -> list[Folder]:
    """Copies of a run have one name: in links they are told apart by a number."""
    seen: dict[str, int] = defaultdict(int)
    named = []
    for folder in sorted(folders, key=lambda one: (one.name, one.path)):
        seen[folder.name] += 1
        name = folder.name if seen[folder.name] == 1 else f"{folder.name}~{seen[folder.name]}"
        named.append(replace(folder, name=name))
    return named


def _read_run(path: Path) -> tuple[dict[str, Any], list[Episode]]:
    content = read_run(path)
    episodes, unreadable, repeated = _episodes(path)
    rows, torn = Journal(path / "metrics.jsonl").read()
    unreadable += torn + len(unknown_kinds(rows))
    return _run(content, rows, episodes) | {"unreadable": unreadable, "repeated": repeated}, episodes


def _episodes(path: Path) -> tuple[list[Episode], int, int]:
    """Readable episodes, the number of other lines, and of repetitions; of two with one identity the first counts."""
    prices, unreadable = _prices(path)
    found: dict[tuple[str, int, int], Episode] = {}
    texts: dict[str, str] = {}
    repeated = 0
    for row in Journal(path / "episodes.jsonl").scan():
        try:
            one = episode(row or {}, prices.get(_place(row or {}), ()))
        except DAMAGED:
            unreadable += 1
            continue
        if one.place in found:
            repeated += 1
        else:
            found[one.place] = _shared(one, texts)
    return [found[place] for place in sorted(found)], unreadable, repeated


def _shared(one: Episode, texts: dict[str, str]) -> Episode:
    """The same episode with texts that exist once in memory."""

    def same(text: str) -> str:
        return texts.setdefault(text, text)

    steps = tuple(
        (same(seen), (same(reply), same(action), same(fault), same(expert)), progress)
        for seen, (reply, action, fault, expert), progress in one.steps
    )
    return replace(one, steps=steps, goal=same(one.goal), final=same(one.final))


def _prices(path: Path) -> tuple[dict[tuple[Any, ...], Sequence[float]], int]:
    """Step rewards by episode, where the run logged them, and the number of lines that hold none."""
    found: dict[tuple[Any, ...], Sequence[float]] = {}
    unreadable = 0
    for row in Journal(path / "prices.jsonl").scan():
        rewards = (row or {}).get("rewards")
        if row is not None and isinstance(rewards, list) and all(map(is_number, rewards)):
            found.setdefault(_place(row), shortened(rewards))
        else:
            unreadable += 1
    return found, unreadable


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    place = (row.get("stage"), row.get("iteration"), row.get("index"))
    return place if all(isinstance(part, str | int) for part in place) else ()


def _run(content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], episodes: Sequence[Episode]) -> dict[str, Any]:
    config, facts = content["config"], content["facts"]
    state, reason = _state(rows, config)
    iterations = {row["iteration"]: row for row in rows if row.get("kind") == "iteration" and "iteration" in row}
    agent = facts.get("agent")
    return {
        "env": world_name(str(config["env"])),
        "label": str(agent) if agent else reward_label(config["reward"], config["reward_options"]),
        "seed": int(config["seed"]),
        "state": state,
        "reason": reason,
        "setting": _setting(config, facts),
        "buckets": _buckets(facts),
        "panels": {stage: _panel(episodes, stage) for stage in PANELS},
        "curves": {name: _curve(iterations, name) for name in CURVES},
        "iterations": len(iterations),
        "episodes": len(episodes),
        "about": _about(config, facts),
    }


def _state(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> tuple[str, str]:
    if any(row.get("kind") == "done" for row in rows):
        return "finished", ""
    if failures := [row for row in rows if row.get("kind") == "failed"]:
        return "failed", str(failures[-1].get("reason", "no reason given"))
    done = len({row.get("iteration") for row in rows if row.get("kind") == "iteration"})
    stages = [str(row.get("stage")) for row in rows if row.get("kind") == "stage"]
    wanted = config.get("ppo", {}).get("iterations")
    if done:
        return "unfinished", f"{done} of {wanted} iterations" if wanted else f"{done} iterations"
    return "unfinished", f"last logged stage: {stages[-1]}" if stages else "no logged stage"


def _setting(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Digest of what runs must share for their curves to be drawn in one picture."""
    return hashlib.sha256(alike(config, facts).encode()).hexdigest()[:12]


def _buckets(facts: Mapping[str, Any]) -> list[int] | None:
    limits = facts.get("buckets")
    return [int(limits[0]), int(limits[1])] if limits else None


def _panel(episodes: Sequence[Episode], stage: str) -> dict[str, Any]:
    played = [one for one in episodes if one.place[0] == stage and not one.error]
    wins = sum(one.success for one in played)
    return {"n": len(played), "success": round(wins / len(played), 6) if played else None}


def _curve(iterations: Mapping[int, Mapping[str, Any]], name: str) -> list[list[float]]:
    points = [(number, row.get(name)) for number, row in sorted(iterations.items())]
    return [[int(number), round(float(value), 8)] for number, value in points if isinstance(value, int | float)]


def _about(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration and facts, flat."""
    renamed = {
        {"panel": "evaluation_set", "panel_tasks": "evaluation_tasks"}.get(name, name): facts[name] for name in facts
    }
    flat = dict(flattened(config)) | {f"made with {name}": value for name, value in flattened(renamed)}
    return {name: value for name, value in flat.items() if name != "reward"}


def _bare(value: Any) -> str:
    """A value as text; of a path only its last part, as it may name people and machines."""
    text = value if isinstance(value, str) else json.dumps(value)
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute():
            return kind(text).name
    return text


def _left_out(shelf: Shelf) -> str:
    shown = sum(len(episodes) for run in shelf.runs for episodes in run.values())
    if shown == shelf.total:
        return ""
    parts = [f"This page shows {shown:,} of {shelf.total:,} episodes."]
    if shelf.deepest < 2:
        parts.append("Of every run only the evaluation set is shown.")
    elif shelf.deepest < math.inf:
        last = "iteration" if shelf.deepest == 2 else f"{int(shelf.deepest) - 1} iterations"
        parts.append(f"Of every run the evaluation set and the last {last} of training are shown.")
    if shelf.most is not None:
        parts.append(f"Of each run at most {shelf.most:,} are shown: evaluation first, then the last of training.")
    return " ".join(parts)
