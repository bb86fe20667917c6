"""Learning curves: success of the training episodes by environment steps collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spa_bench.analysis.groups import Group
from spa_bench.analysis.runs import Run
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.lines import Line, Panel, draw_lines
from spa_bench.runs.iterations import learned

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Curves:
    """What is drawn."""

    title: str
    caption: str
    panels: tuple[Panel, ...]
    """One for each group; y in per cent."""


def data(groups: Sequence[Group]) -> Curves:
    """Mean over seeds of each iteration's success; UserError where no run of the groups has trained.

    The band is the range of the seeds: a CI over two or three seeds would cover the axes. An iteration counts where
    every seed of the method has episodes of it: a mean over other seeds would jump. Steps are the cumulated environment
    steps collected, mean over seeds.
    """
    panels: list[Panel] = []
    sources: list[str] = []
    for group in groups:
        lines = [_line(label, runs) for label, runs in group.methods.items()]
        if lines := [line for line in lines if line.x]:
            number = f"{len(panels) + 1}. " if len(groups) > 1 else ""
            panels.append(Panel(number + words.title(group), tuple(lines)))
            sources.append(number + words.sources(group))
    if not panels:
        raise UserError("no finished run with an iteration of training")
    meant = (
        "Success of the episodes of each training iteration, mean over seeds; band: from the lowest seed to the "
        "highest. Environment steps collected in training, method overhead not counted."
    )
    return Curves("Success during training", "\n".join([*sources, meant]), tuple(panels))


def draw(found: Curves) -> Figure:
    """One pair of axes for each group; a group of many methods has one for each method."""
    labels = ("environment steps collected", "success %")
    return draw_lines(found.panels, title=found.title, labels=labels, caption=found.caption, limits=(-3.0, 103.0))


def _line(label: str, runs: Sequence[Run]) -> Line:
    points = []
    for same in zip(*(_points(run) for run in runs), strict=False):
        won = [success for _, success in same if success is not None]
        if len(won) == len(runs):
            points.append((sum(steps for steps, _ in same) / len(same), won))
    return Line(
        label,
        x=tuple(steps for steps, _ in points),
        y=tuple(100 * sum(won) / len(won) for _, won in points),
        low=tuple(100 * min(won) if len(won) > 1 else None for _, won in points),
        high=tuple(100 * max(won) if len(won) > 1 else None for _, won in points),
    )


def _points(run: Run) -> list[tuple[float, float | None]]:
    """Steps so far and success of each iteration; None where no episode came to its end."""
    points, steps = [], 0.0
    for row in run.iterations:
        steps += _number(learned(row)) or 0.0
        points.append((steps, _number(row.get("success")) if row.get("episodes", 1) else None))
    return points


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
