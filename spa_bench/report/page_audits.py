"""What a page shows of an audit: its methods, its episodes, and the rewards of every method for every step.

Separate from the page: a run has one reward for each step, an audit one for each step and method.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spa_bench.audit import saved
from spa_bench.core import UserError
from spa_bench.report.page_episodes import Episode, episode, shortened
from spa_bench.runs.episodes import to_row
from spa_bench.runs.reading import RUN

NOT_KEPT = "written by an earlier version, without episodes"


def is_audit(path: Path) -> bool:
    """A folder is read as an audit; one that holds a run too is read as the run."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return saved.AUDIT in names and RUN not in names


def read_audit(path: Path) -> tuple[dict[str, Any], list[Episode]]:
    """The page's entry of an audit folder, and its episodes. Raises UserError for a damaged one."""
    found = saved.load(path)
    methods = sorted(found.methods, key=lambda method: method.name)
    kept = saved.has_episodes(path)
    episodes = _episodes(path, [method.name for method in methods]) if kept else []
    return {
        "env": str(found.about["world"]),
        "label": f"audit of {len(methods)} methods" if len(methods) != 1 else "audit of one method",
        "seed": int(found.about["seed"]),
        "state": "audit",
        "reason": "" if kept else NOT_KEPT,
        "methods": [{"name": method.name, "placebo": method.placebo} for method in methods],
        "buckets": list(found.limits),
        "notes": list(found.notes),
        "iterations": 0,
        "episodes": len(episodes),
        "about": {name.replace("_", " "): value for name, value in found.about.items()}
        | {"excluded episodes": found.excluded},
    }, episodes


def _episodes(path: Path, names: list[str]) -> list[Episode]:
    played, prices = saved.episodes(path), saved.prices(path)
    if played and sorted(prices) != names:
        raise UserError(f"{path / saved.PRICES}: not the rewards of the audited methods")
    return [
        episode(to_row(one) | saved.place(index), paid=[shortened(prices[name][index].tolist()) for name in names])
        for index, one in enumerate(played)
    ]
