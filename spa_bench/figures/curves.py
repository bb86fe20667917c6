"""Learning curves by environment steps collected: success on held-out tasks, beside that of the training episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from spa_bench.analysis.groups import EVAL, WARM_START, Group, valid
from spa_bench.analysis.runs import Run
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.lines import Line, Panel, draw_lines
from spa_bench.figures.style import OVERLAID
from spa_bench.runs.iterations import learned
from spa_bench.stats import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[float, float | None, int]
"""Environment steps so far, success, and the episodes that it is the mean of; None where there is none."""
Band = tuple[float | None, float | None]
HELD_OUT, TRAINING = "held-out tasks", "training episodes"


@dataclass(frozen=True)
class Curves:
    """What is drawn."""

    title: str
    caption: str
    panels: tuple[Panel, ...]
    """Held-out success, one for each group; y in per cent."""
    training: tuple[Panel, ...]
    """Success of the training episodes, in the same order."""


def data(groups: Sequence[Group]) -> Curves:
    """Means over seeds; UserError where no run of the groups has trained.

    Held-out success is known at step 0 (of the warm start), at the end, and after every iteration in which
    `eval.every` asks for it; that of training for each iteration. A point counts where every seed of the method has
    it: a mean over other seeds would jump. The band is the range of the seeds: a CI over two or three seeds would
    cover the axes. Of one seed on held-out tasks it is Wilson's 95 % CI over tasks. Steps are the cumulated environment
    steps collected, mean over seeds.
    """
    panels: list[Panel] = []
    training: list[Panel] = []
    sources: list[str] = []
    for group in groups:
        trained = {label: runs for label, runs in group.methods.items() if all(run.iterations for run in runs)}
        held_out = {label: _together([_held_out(run) for run in runs]) for label, runs in trained.items()}
        own = [_line(label, [_training(run) for run in runs]) for label, runs in trained.items()]
        if not any(line.x for line in own):
            continue
        number = f"{len(panels) + 1}. " if len(groups) > 1 else ""
        title = number + words.title(group)
        panels.append(Panel(f"{title}: {HELD_OUT}", tuple(_line(*one, _wilson) for one in held_out.items())))
        training.append(Panel(f"{title}: {TRAINING}", tuple(own)))
        sources.append(number + words.sources(group))
    if not panels:
        raise UserError("no finished run with an iteration of training")
    return Curves("Success during training", "\n".join([*sources, *_meaning(groups)]), tuple(panels), tuple(training))


def draw(found: Curves) -> Figure:
    """A row for each group, held-out success at the left; a group of many methods has a pair of axes for each."""
    labels = ("environment steps collected", "success %")
    same: dict[str, Any] = {"title": found.title, "labels": labels}
    if all(len(panel.lines) <= OVERLAID for panel in found.panels):
        panels = list(chain.from_iterable(zip(found.panels, found.training, strict=True)))
        return draw_lines(panels, caption=found.caption, **same)
    caption = f"{found.caption}\nLine: {HELD_OUT}; dotted: {TRAINING}; pale: {HELD_OUT}, other methods."
    return draw_lines(found.panels, beside=found.training, caption=caption, **same)


def _meaning(groups: Sequence[Group]) -> list[str]:
    temperatures = sorted({f"{run.config['eval']['temperature']:g}" for group in groups for run in group.good})
    counts = {len(runs) for group in groups for runs in group.methods.values()}
    bands = {
        False: "mean over seeds, band: from the lowest seed to the highest",
        True: f"one seed, band ({HELD_OUT}): 95 % CI over tasks (Wilson)",
    }
    said = "; ".join(bands[one] for one in (False, True) if any((count == 1) is one for count in counts))
    said = said[:1].upper() + said[1:]
    return [
        f"{HELD_OUT.capitalize()}: the evaluation set at temperature {', '.join(temperatures)}, at step 0 the warm "
        f"start. {TRAINING.capitalize()}: those sampled in each iteration, of train tasks. {said}. "
        "Environment steps collected in training; method overhead and evaluations are not counted.",
    ]


def _line(label: str, runs: Sequence[Sequence[Point]], alone: Callable[[Point], Band] | None = None) -> Line:
    """Of the points that all runs have; `alone` is the band of a single run."""
    points: list[tuple[float, float]] = []
    bands: list[Band] = []
    for same in zip(*runs, strict=False):
        won = [100 * success for _, success, _ in same if success is not None]
        if len(won) == len(runs):
            points.append((sum(steps for steps, _, _ in same) / len(same), sum(won) / len(won)))
            bands.append((min(won), max(won)) if len(won) > 1 else alone(same[0]) if alone else (None, None))
    x, y, low, high = (tuple(one[place] for one in ends) for ends in (points, bands) for place in (0, 1))
    return Line(label, x, y, low, high)  # type: ignore[arg-type]


def _together(runs: Sequence[Sequence[Point]]) -> list[list[Point]]:
    """The last points stand beside each other, also where runs have unequal numbers of iterations."""
    most = max(map(len, runs))
    return [[*points[:-1], *[(0.0, None, 0)] * (most - len(points)), points[-1]] for points in runs]


def _wilson(point: Point) -> Band:
    _, success, episodes = point
    found = wilson(round((success or 0.0) * episodes), episodes)
    return (None, None) if found is None else (100 * (found.low or 0.0), 100 * (found.high or 0.0))


def _training(run: Run) -> list[Point]:
    """Of each iteration; None where no episode came to its end."""
    return [_point(row, steps) for row, steps in zip(run.iterations, _steps(run), strict=True)]


def _held_out(run: Run) -> list[Point]:
    """Before training, after each iteration, and after the last one; None where it was not evaluated."""
    looks = {row.get("iteration"): row for row in run.evaluations}
    steps = _steps(run)
    between = [(row.get("iteration"), there) for row, there in zip(run.iterations, steps, strict=True)][:-1]
    points = [_point(looks.get(number, {"episodes": 0}), there) for number, there in between]
    return [_panel(run, WARM_START, 0.0), *points, _panel(run, EVAL, steps[-1])]


def _point(row: Mapping[str, Any], steps: float) -> Point:
    success, episodes = _number(row.get("success")), _number(row.get("episodes", 1))
    known = success is not None and 0 <= success <= 1 and episodes is not None and episodes >= 1
    return steps, success if known else None, int(episodes or 0)


def _panel(run: Run, panel: str, steps: float) -> Point:
    played = valid(run, panel)
    return (steps, sum(one.success for one in played) / len(played) if played else None, len(played))


def _steps(run: Run) -> list[float]:
    """Environment steps collected up to the end of each iteration."""
    found, steps = [], 0.0
    for row in run.iterations:
        steps += _number(learned(row)) or 0.0
        found.append(steps)
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
