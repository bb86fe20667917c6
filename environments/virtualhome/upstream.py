"""The official tasks as their wheel holds them, and as our apartment files hold them.

`virtualhome_eval` (Embodied Agent Interface, MIT) has programs in `executable_programs/<scene>/<group>/<name>.txt`,
graphs in `init_and_final_graphs/<scene>/<group>/<name>.json` and its goals in one JSON file. Separate from `data`,
which fetches and proves; here one form becomes the other, task by task, so that memory stays small.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from spa_bench.core import UserError
from spa_bench.environments.virtualhome.apartments import SUFFIX, Record, difference, write
from spa_bench.environments.virtualhome.graph import compile_graph

PROGRAMS, GRAPHS = "executable_programs", "init_and_final_graphs"
GOALS = "virtualhome/task_state_LTL_formula_accurate.json"
"""With its folder: another folder has a file of this name for another world."""
_TASK = re.compile(rf"(?:.*/)?((?:{PROGRAMS}|{GRAPHS})/\w+/[\w-]+/file\d+_\d+\.(?:txt|json))", re.ASCII)


@dataclass(frozen=True)
class Raw:
    """One task as upstream writes it."""

    scene: str
    name: str
    program: str
    initial: Mapping[str, Any]
    final: Mapping[str, Any]
    goal: Any
    """`vh_goal` of EAI; None where it has none."""


def place(path: PurePosixPath) -> PurePosixPath | None:
    """Where a file of the wheel goes when it is unpacked; None for all that no task needs."""
    if path.match(GOALS):
        return PurePosixPath(GOALS)
    match = _TASK.fullmatch(str(path))
    return PurePosixPath(match[1]) if match else None


def read(folder: Path) -> Iterator[Raw]:
    """Every task of an unpacked wheel, by scene and name. Raises UserError for files that are missing or damaged."""
    root = next(iter(sorted(folder.rglob(PROGRAMS))), None)
    goals = next(iter(sorted(folder.rglob(GOALS))), None)
    if root is None or goals is None:
        raise UserError(f"{folder} holds no tasks: it has no {PROGRAMS if root is None else GOALS}")
    listed = goals_by_task(_json(goals), str(goals))
    programs = {
        (file.parent.parent.name, file.stem): file for file in root.rglob("*.txt") if place(PurePosixPath(file))
    }
    for (scene, name), file in sorted(programs.items()):
        graphs = root.parent / GRAPHS / scene / file.parent.name / f"{name}.json"
        data = _json(graphs)
        if not isinstance(data, dict):
            raise UserError(f"{graphs} holds no graphs: take another copy")
        program = file.read_text(encoding="utf-8", errors="replace")
        yield Raw(
            scene, name, program, data.get("init_graph", {}), data.get("final_graph", {}), listed.get((scene, name))
        )


def goals_by_task(data: Any, where: str) -> dict[tuple[str, str], Any]:
    """(scene, name) -> EAI's goal. Raises UserError for what is not EAI's file."""
    try:
        return {
            (f"TrimmedTestScene{scene.removeprefix('scene_')}_graph", f"file{number}"): task["vh_goal"]
            for scene, titles in data.items()
            for tasks in titles.values()
            for number, task in tasks.items()
        }
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{where} holds no goals of the Embodied Agent Interface: take another copy") from None


def install(tasks: Iterable[Raw], folder: Path) -> None:
    """Write tasks, which come by scene, as one apartment file for each scene.

    The home in its first line is that of the first task; it is as good as any other. Raises UserError for bad graphs.
    """
    for scene, some in groupby(tasks, key=lambda raw: raw.scene):
        records = map(_record, some)
        first = next(records)
        home = first.initial
        write(folder / f"{scene}{SUFFIX}", home, _relative(first, records))


def _relative(first: Record, others: Iterable[Record]) -> Iterator[Record]:
    yield first
    for record in others:
        changes = difference(first.initial, record.initial)
        yield Record(record.name, record.program, record.goal, record.initial, changes, record.final)


def _record(raw: Raw) -> Record:
    where = f"{raw.scene}/{raw.name}"
    initial, final = (compile_graph(data, where) for data in (raw.initial, raw.final))
    return Record(raw.name, raw.program, raw.goal, initial, None, difference(initial, final))


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}; take another copy") from None
    except (ValueError, RecursionError):
        raise UserError(f"{file} is torn or damaged: it is no JSON; take another copy") from None
