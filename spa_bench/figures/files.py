"""All figures of some run folders and audits, as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa_bench.analysis.budgets import shared
from spa_bench.analysis.differences import Difference
from spa_bench.analysis.groups import Group
from spa_bench.analysis.prints import Cell
from spa_bench.audit.agreement import Agreement
from spa_bench.audit.summary import Audit
from spa_bench.core import UserError
from spa_bench.figures import (
    agreement,
    budgets,
    calibration,
    costs,
    credit,
    curves,
    forest,
    heat,
    lengths,
    prints,
    profiles,
    scatter,
    step_intervals,
)
from spa_bench.figures.credit import CreditMap
from spa_bench.figures.style import OVERLAID, save
from spa_bench.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".png")


@dataclass(frozen=True)
class Written:
    """What came of it."""

    paths: tuple[Path, ...]
    reasons: tuple[str, ...]
    """One line for each figure that was not drawn."""


def figures(
    groups: Mapping[str, Group],
    audits: Mapping[str, Audit],
    credits: Mapping[str, CreditMap],
    folder: Path,
    cuts: Sequence[int] | None = None,
    baseline: str | None = None,
    differences: Mapping[str, Sequence[Difference]] | None = None,
    printed: Sequence[Cell] = (),
    agreements: Mapping[str, tuple[str, Sequence[Agreement]]] | None = None,
) -> Written:
    """Draw all that can be drawn, each as SVG and PNG, with the numbers behind it as JSON (nine digits).

    The names are what the files begin with, as `report.names` makes them. `folder` is made where it is missing; an
    older file of the same name is written over. `cuts` and `baseline` are those of `step_intervals.improvements`,
    `differences` those of each group's table; `printed` are cells of papers; `agreements` have a title each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    book = _Book(folder)
    for name, group in groups.items():
        book.add(f"{name}-step-intervals", partial(step_intervals.data, group, baseline, cuts), step_intervals.draw)
        book.add(f"{name}-lengths", partial(lengths.data, group), lengths.draw)
        book.add(f"{name}-differences", partial(forest.data, group, (differences or {}).get(name, ())), forest.draw)
        book.add(f"{name}-by-type", partial(heat.by_type, group), heat.draw)
        book.add(f"{name}-calibration", partial(calibration.data, group), calibration.draw)
        book.add(f"{name}-costs", partial(costs.data, group), costs.draw)
        if any(map(shared, group.methods.values())):
            book.add(f"{name}-budgets", partial(budgets.data, group), budgets.draw)
        book.add(f"{name}-profiles", partial(profiles.data, group), profiles.draw)
        if len(group.methods) > OVERLAID:
            book.add(f"{name}-learning-curves", partial(curves.data, [group]), curves.draw)
    if few := [group for group in groups.values() if len(group.methods) <= OVERLAID]:
        book.add("learning-curves", partial(curves.data, few), curves.draw)
    if len(groups) > 1:
        book.add("worlds", partial(heat.by_world, list(groups.values())), heat.draw)
    for name, audit in audits.items():
        book.add(f"{name}-scatter", partial(scatter.data, audit), scatter.draw)
    for name, found in credits.items():
        book.add(f"{name}-credit", partial(_given, found), credit.draw)
    for name, (title, measures) in (agreements or {}).items():
        book.add(name, partial(agreement.data, title, measures), agreement.draw)
    if printed:
        book.add("paper-baselines", partial(prints.data, printed), prints.draw)
    return Written(tuple(book.paths), tuple(book.reasons))


def _rounded(value: Any) -> Any:
    """Floats with nine digits: the last bits differ between machines."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def _given(found: CreditMap) -> CreditMap:
    return found


class _Book:
    """The files so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.reasons: list[str] = []

    def add(self, name: str, data: Callable[[], Any], draw: Callable[[Any], Figure]) -> None:
        """Draw one figure, or say why not."""
        try:
            found = data()
        except UserError as error:
            self.reasons.append(f"{name}: {error}")
            return
        paths = [self.folder / f"{name}{ending}" for ending in ENDINGS]
        save(lambda: draw(found), *paths)
        numbers = self.folder / f"{name}.json"
        write_whole(numbers, json.dumps(_rounded(asdict(found)), indent=1, allow_nan=False) + "\n")
        self.paths += [*paths, numbers]
