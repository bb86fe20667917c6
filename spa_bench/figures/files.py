"""All figures of some run folders and audits, as files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa_bench.audit.summary import Audit
from spa_bench.core import UserError
from spa_bench.figures import credit, curves, lengths, profiles, scatter, step_intervals
from spa_bench.figures.credit import CreditMap
from spa_bench.figures.style import OVERLAID, save
from spa_bench.report.groups import Group
from spa_bench.report.intervals import BASELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg")


@dataclass(frozen=True)
class Written:
    """What came of it."""

    paths: tuple[Path, ...]
    reasons: tuple[str, ...]
    """One line for each figure that was not drawn."""


def figures(
    groups: Sequence[Group],
    audits: Sequence[Audit],
    folder: Path,
    cuts: Sequence[int] | None = None,
    baseline: str = BASELINE,
    credits: Sequence[CreditMap] = (),
) -> Written:
    """Draw all that can be drawn, each as SVG and PNG; `folder` is made where it is missing.

    `cuts` and `baseline` are those of `report.intervals.improvements`. A file's name says what it is of by a digest of
    the setting, so it does not depend on what else is drawn; an older file of the same name is written over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    book = _Book(folder)
    for group in groups:
        name = _name(group.runs[0].config["env"], group.identity)
        book.add(f"{name}-step-intervals", partial(step_intervals.data, group, baseline, cuts), step_intervals.draw)
        book.add(f"{name}-lengths", partial(lengths.data, group), lengths.draw)
        book.add(f"{name}-profiles", partial(profiles.data, group), profiles.draw)
        if len(group.methods) > OVERLAID:
            book.add(f"{name}-learning-curves", partial(curves.data, [group]), curves.draw)
    if few := [group for group in groups if len(group.methods) <= OVERLAID]:
        book.add("learning-curves", partial(curves.data, few), curves.draw)
    for audit in audits:
        name = _name(audit.about.get("world", "recorded"), json.dumps(dict(audit.about), sort_keys=True, default=str))
        book.add(f"{name}-audit", partial(scatter.data, audit), scatter.draw)
    for one in credits:
        book.add(_name("credit", json.dumps([one.title, one.actions])), partial(_given, one), credit.draw)
    return Written(tuple(book.paths), tuple(book.reasons))


class _Book:
    """The files so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.reasons: list[str] = []

    def add(self, name: str, data: Callable[[], Any], draw: Callable[[Any], Figure]) -> None:
        """Draw one figure, or say why not."""
        paths = [self.folder / f"{name}{ending}" for ending in ENDINGS]
        if paths[0] in self.paths:
            self.reasons.append(f"{name}: a second one of the same setting is not drawn")
            return
        try:
            found = data()
        except UserError as error:
            self.reasons.append(f"{name}: {error}")
            return
        save(lambda: draw(found), *paths)
        self.paths += paths


def _given(found: CreditMap) -> CreditMap:
    return found


def _name(what: Any, identity: str) -> str:
    """Safe as a file's name on every system."""
    said = re.sub(r"[^a-z0-9]+", "-", str(what).lower()).strip("-")[:40]
    return f"{said or 'unnamed'}-{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
