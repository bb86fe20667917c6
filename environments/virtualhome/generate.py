"""Built-in tasks: homes and household chores drawn from a seed, in the format of the official tasks.

`ensure` returns a folder with `manifest.csv` and `apartments/<home>.jsonl`, five tasks a home. Kinds of task take
turns. No home and no task occurs twice in a panel. `valid_seen` has homes of its own, and only combinations of kind,
thing and place that occur in `train`; `valid_unseen` has room layouts of its own, and every one of its tasks has a
combination that is held out of both. The same parameters give the same bytes on every machine.

Every gold program is executed and must reach its goal, which must not be reached before: otherwise making the panel
fails, since a task that nobody can do would spoil every table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from spa_bench.core import Task, UserError
from spa_bench.environments.dice import Dice, unchanged
from spa_bench.environments.virtualhome.apartments import SUFFIX, Record, fingerprint, write
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.episode import LONGEST, expert_steps
from spa_bench.environments.virtualhome.generation.chores import KINDS, Chore, Combination, chores
from spa_bench.environments.virtualhome.generation.draft import Draft, draft
from spa_bench.environments.virtualhome.generation.gold import Gold
from spa_bench.environments.virtualhome.generation.household import CLASSES, DIFFICULTIES, Difficulty
from spa_bench.environments.virtualhome.generation.phrases import instruction
from spa_bench.environments.virtualhome.goals import from_eai, satisfied
from spa_bench.environments.virtualhome.graph import Graph, compile_graph
from spa_bench.environments.virtualhome.naming import names
from spa_bench.environments.virtualhome.tasks import (
    LAYOUT,
    MANIFEST,
    Entry,
    Scenario,
    scenario,
    write_manifest,
)
from spa_bench.files import cache_entry, cache_root

VERSION = 1
"""Raised with every change of what is generated."""

PANEL = "081d64ea3ec6e80006a5e304de2dccfeb0b5caa84e80ca77c8db0252baba9933"
"""SHA-256 of the default panel's `manifest.csv`, which holds the hash of every task: the same on every machine."""

FROZEN = {100: PANEL, 2500: "5777f296df819b61e678a0905a1c50ecfc190378113ad0bd4ebe3be6be1893f6"}
"""The same of default panels by the size of their held-out splits."""

PER_HOME = 5
"""Tasks that start in one home."""
ATTEMPTS = 10_000
"""Homes that are drawn until one is new and has chores of every kind that is wanted; about ten are needed."""
PATIENCE = 200
"""Homes that are drawn for `valid_seen` until all its chores occur in `train`; a small `train` has too few."""


@dataclass(frozen=True)
class Made:
    """One home and its tasks."""

    split: str
    name: str
    graph: Graph
    scenarios: tuple[Scenario, ...]
    records: tuple[Record, ...]
    combinations: tuple[tuple[Combination, ...], ...]
    """Of the chores of each task."""


def ensure(seed: int = 0, difficulty: str = "default", train: int = 3000, valid: int = 100) -> Path:
    """The folder with these tasks, generated the first time (some seconds) and kept in the user's cache.

    `valid` is the size of each of the two validation splits. `difficulty`:

    - `default`: a kitchen and one other room, 24 to 32 nodes; the searching expert needs 2 to 16 steps, median 5.
    - `hard`: three or four rooms, 42 to 65 nodes, and tasks of up to six chores; 2 to 39 steps.

    Two processes may call it at once. Raises UserError for parameters that it does not know.
    """
    if difficulty not in DIFFICULTIES:
        raise UserError(f"no difficulty {difficulty!r}: use one of {', '.join(DIFFICULTIES)}")
    if train < 1 or valid < 1:
        raise UserError(f"a split needs at least one task (train={train}, valid={valid})")
    name = f"{difficulty}-seed{seed}-{train}-{valid}-v{VERSION}-{_fingerprint()}"
    with cache_entry(cache_root(), "virtualhome", name, durable=False) as entry:
        if not entry.ready:
            store(entry.build, homes(seed, {"train": train, "valid_seen": valid, "valid_unseen": valid}, difficulty))
            default = (seed, train, difficulty) == (0, 3000, "default")
            unchanged(entry.build / MANIFEST, FROZEN.get(valid) if default else None)
    return entry.path


def homes(seed: int, sizes: Mapping[str, int], difficulty: str) -> Iterator[Made]:
    """Every home with its tasks, in order. Nothing is written."""
    level = DIFFICULTIES[difficulty]
    known: set[str] = set()
    trained: set[Combination] = set()
    for split, size in sizes.items():
        for number in range(-(-size // PER_HOME)):
            count = min(PER_HOME, size - number * PER_HOME)
            made = _made((difficulty, seed, split, number), level, count, known, trained)
            known.add(fingerprint(made.graph))
            if split == "train":
                trained.update(combination for task in made.combinations for combination in task)
            yield made


def store(folder: Path, made: Iterator[Made]) -> None:
    """Write a panel: apartments and manifest."""
    (folder / LAYOUT).mkdir()
    entries = []
    for home in made:
        write(folder / LAYOUT / f"{home.name}{SUFFIX}", home.graph, home.records)
        for found, record in zip(home.scenarios, home.records, strict=True):
            task = found.task
            entries.append(Entry(task.split, task.key, task.kind, task.expert_steps, None, record.sha256))
    (folder / MANIFEST).write_bytes(write_manifest(entries).encode())


def _made(
    place: tuple[str, int, str, int], level: Difficulty, count: int, known: set[str], trained: set[Combination]
) -> Made:
    """The first home that is new and has chores of every kind that is wanted."""
    _, _, split, number = place
    kinds = [KINDS[(number * PER_HOME + n) % len(KINDS)] for n in range(PER_HOME)]
    for attempt in range(ATTEMPTS):
        dice = Dice("virtualhome", VERSION, *place, attempt)
        home = draft(dice, level, unseen=split == "valid_unseen")
        patient = split == "valid_seen" and attempt < PATIENCE
        wanted = _filter(split, trained if patient else None)
        chosen = _chosen(dice, home, kinds, level, wanted)
        if chosen is None:
            continue
        graph = compile_graph(home.to_json(), f"home {place}", strict=True, known=CLASSES)
        if fingerprint(graph) not in known:
            return _written(dice, split, home, graph, chosen[:count], level)
    raise UserError(f"no home of {place} has new tasks of every kind: ask for fewer")


def _filter(split: str, trained: set[Combination] | None) -> Callable[[Chore], bool]:
    """Which chores a split may have."""
    if split == "valid_unseen":
        return lambda chore: chore.held_out
    if trained is not None:
        return lambda chore: chore.combination in trained
    return lambda chore: not chore.held_out


def _chosen(
    dice: Dice, home: Draft, kinds: Sequence[str], level: Difficulty, wanted: Callable[[Chore], bool]
) -> list[tuple[str, list[Chore]]] | None:
    """For each kind the chores of one task, no two tasks alike; None where the home has too few."""
    chosen: list[tuple[str, list[Chore]]] = []
    known: set[tuple[str, frozenset[object]]] = set()
    for kind in kinds:
        every = list(chores(home, kind))
        right = [chore for chore in every if wanted(chore)]
        for first in dice.shuffled(right):
            # what goes along with a chore that is held out may be any
            task = _several(dice, kind, first, every if first.held_out else right, level)
            content = kind, frozenset(_identity(chore) for chore in task)
            if len(task) >= level.chores.get(kind, (1, 1))[0] and content not in known:
                known.add(content)
                chosen.append((kind, task))
                break
        else:
            return None
    return chosen


def _several(dice: Dice, kind: str, first: Chore, rest: Sequence[Chore], level: Difficulty) -> list[Chore]:
    """The chore, and as many others with other things as the kind asks for, or as there are."""
    count = dice.between(*level.chores.get(kind, (1, 1)))
    task = [first]
    for chore in dice.shuffled(rest):
        if len(task) < count and chore.pieces[0] not in [other.pieces[0] for other in task]:
            task.append(chore)
    return task


def _identity(chore: Chore) -> tuple[object, ...]:
    return (chore.phrasing, *[piece.id for piece in chore.pieces])


def _written(
    dice: Dice, split: str, home: Draft, graph: Graph, chosen: Sequence[tuple[str, list[Chore]]], level: Difficulty
) -> Made:
    """The tasks as they are stored, each proven to be possible."""
    name = f"home-{fingerprint(graph)[:10]}"
    called = names(graph)
    records, scenarios = [], []
    for kind, task in chosen:
        closes = task[0].container if len(task) == 1 and dice.chance(level.closing) else None
        title = instruction(dice, kind, task, called, closed=closes is not None)
        gold = Gold(home)
        for chore in task:
            chore.do(gold)
        goal = _once(condition for chore in task for condition in chore.goal)
        if closes is not None:
            gold.close(closes)
            goal.append({"id": closes.id, "class_name": closes.kind, "state": "CLOSED"})
        program = "\n".join([title, "", "", "", *gold.lines])
        actions = [action for chore in task for action in chore.actions]
        record = _record(kind, task[0], program, {"actions": actions, "goal": goal}, graph)
        records.append(record)
        scenarios.append(_proven(f"{name}/{record.name}", split, kind, record))
    combinations = tuple(tuple(chore.combination for chore in task) for _, task in chosen)
    return Made(split, name, graph, tuple(scenarios), tuple(records), combinations)


def _once(conditions: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({str(condition): condition for condition in conditions}.values())


def _record(kind: str, first: Chore, program: str, goal: Mapping[str, Any], graph: Graph) -> Record:
    """With a name that says what it is and depends on nothing but its content."""
    digest = hashlib.sha256(json.dumps(goal, sort_keys=True).encode()).hexdigest()[:8]
    _, thing, place = first.combination
    return Record(f"{kind}-{thing}-{place.lower()}-{digest}", program, goal, graph, None, None)


def _proven(key: str, split: str, kind: str, record: Record) -> Scenario:
    """The task with its length. Raises RuntimeError where its own program does not reach its goal: a defect of ours."""
    task = Task("virtualhome", key, split, kind, 0)
    found = scenario(task, record, from_eai(record.goal, record.initial, key), key)
    world = World(record.initial)
    done: list[str] = []
    if satisfied(found.goal, world, done):
        raise RuntimeError(f"{key} is done before it begins")
    for line in found.program:
        outcome = world.execute(line.action, line.ids, names=line.names)
        if not outcome.executed:
            raise RuntimeError(f"{key}: {line}: {outcome.message}")
        done.append(line.action)
    if not satisfied(found.goal, world, done):
        raise RuntimeError(f"{key} is not done by its own program")
    steps = expert_steps(found)
    if steps == LONGEST:
        raise RuntimeError(f"{key} is not done by the searching expert")
    return replace(found, task=replace(task, expert_steps=steps))


@cache
def _fingerprint() -> str:
    """Of this world's code: an edit never meets the tasks, or their lengths, of the old one."""
    here = Path(__file__).parent
    files = [*sorted(here.rglob("*.py")), here.parent / "dice.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
