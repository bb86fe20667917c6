"""How often a table is wrong: false verdicts, coverage of its intervals, and power, by simulation.

    python tests/simulation/verdicts.py

plays tables of methods in memory, has them judged by the functions that make the tables, and prints the results as
Markdown, for the bench card. About half an hour of one core; `--tables 200` is faster and less exact. The same command
gives the same numbers.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from spa_bench.analysis.differences import Board, differences, over_both, resolution
from spa_bench.analysis.groups import START
from spa_bench.core import Floats
from spa_bench.report.table import comparisons
from spa_bench.stats import over_seeds

SEEDS, METHODS, DEVIATIONS = (3, 5, 10), (4, 8, 19), (0.0, 2.6, 7.0)
TASKS, LEVEL = 100, -0.5
"""Tasks of the evaluation set, and where the mean success lies, in logits: about 40 %."""
KINDS = np.linspace(-0.8, 0.8, 6)
"""Task types, in logits; tasks of a type differ by a standard deviation of 1."""
COLLAPSED = 0.02
"""Mean success of a method that has collapsed. In logits it varies over seeds as the others do, in points hardly."""
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
BASELINE = "sparse"
DRAWS = 1_999
"""Of the largest ratio: fewer than a table has, for speed."""


@dataclass(frozen=True)
class Cell:
    """What the tables of one kind have in common."""

    seeds: int
    methods: int
    deviation: float
    """Standard deviation of a run's success over training seeds, in points."""
    uneven: float = 1.0
    """How many times that deviation the baseline has."""
    apart: float = 0.0
    """How much more often the first method beside the baseline succeeds, in points."""
    collapsed: int = 0
    """How many methods, the last ones, have collapsed."""
    started: float = 0.0
    """Standard deviation of the warm starts' success over seeds, in points: all runs of a seed begin from one."""
    kept: float = 1.0
    """Share of it that is left after training."""
    tasks: int = TASKS

    @property
    def labels(self) -> list[str]:
        """Rows of the table: from eight methods on three of them are settings of one."""
        options = ["spa", "spa (alpha=0)", "spa (beta=0)"] if self.methods >= 8 else []
        named = [f"method {number:02}" for number in range(self.methods - 1 - len(options))]
        return [START, BASELINE, *named, *options]

    @property
    def wanted(self) -> list[tuple[str, str]]:
        """Every comparison of the table."""
        ablation = [("spa (alpha=0)", "spa"), ("spa (beta=0)", "spa")] if self.methods >= 8 else []
        return [*comparisons(self.labels), *ablation]

    @property
    def better(self) -> tuple[str, str]:
        """The pair that is `apart`."""
        return self.labels[2], BASELINE


@dataclass(frozen=True)
class Played:
    """One simulated table, and the truth."""

    found: Board
    kinds: dict[str, str]
    truth: dict[str, float]
    """Success by row, over all tasks and seeds."""
    here: dict[str, float]
    """Success by row on these tasks, over all seeds."""


@dataclass(frozen=True)
class Tally:
    """Sums over simulated tables."""

    tables: int
    false: int
    """Tables with a verdict that is wrong."""
    together: int
    """Tables whose simultaneous intervals all hold."""
    over_seeds: int
    """Rows whose interval over seeds holds, and all that have one."""
    over_seeds_of: int
    over_both: int
    over_both_of: int
    called: int
    """Tables in which the method that is better is called so."""
    detectable: float
    """Sum of the minimum detectable effects that the tables print, in points."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def play(cell: Cell, rng: np.random.Generator) -> Played:
    """Tasks and seeds drawn anew; every run plays every task once.

    Runs of one seed share what is left of its warm start, and are independent beside it.
    """
    kinds = np.arange(cell.tasks) % len(KINDS)
    hard = LEVEL + KINDS[kinds] + rng.normal(size=cell.tasks)
    labels, slope = cell.labels, _slope()
    shifts, own = np.zeros(len(labels)), np.full(len(labels), cell.deviation / 100 / slope)
    own[1] *= cell.uneven
    begun = np.full(len(labels), cell.kept * cell.started / 100 / slope)
    if cell.started:
        own[0], begun[0] = 0.0, cell.started / 100 / slope
    spreads = np.hypot(own, begun)
    if cell.started:  # a wider spread is another mean
        shifts[0] = _shift(_mean(0.0, float(np.hypot(1, spreads[2]))), float(spreads[0]))
    if cell.apart:
        shifts[2] = _shift(_mean(0.0, float(np.hypot(1, spreads[1]))) + cell.apart / 100, float(spreads[2]))
    if cell.collapsed:
        shifts[-cell.collapsed :] = _shift(COLLAPSED, float(spreads[-1]))
    runs = shifts[:, None] + own[:, None] * rng.normal(size=(len(labels), cell.seeds))
    if cell.started:
        runs += begun[:, None] * rng.normal(size=cell.seeds)
    won = rng.random((len(labels), cell.seeds, cell.tasks)) < _share(hard + runs[:, :, None])
    names = tuple(f"task {number:03}" for number in range(cell.tasks))
    rows = list(zip(labels, shifts, spreads, strict=True))
    return Played(
        found=Board(tuple(labels), tuple(range(cell.seeds)), names, won.astype(np.float64)),
        kinds={name: str(kind) for name, kind in zip(names, kinds, strict=True)},
        truth={label: _mean(float(shift), float(np.hypot(1, spread))) for label, shift, spread in rows},
        here={label: _mean_here(hard + shift, float(spread)) for label, shift, spread in rows},
    )


def judge(cell: Cell, played: Played, identity: str) -> Tally:
    """One table by the product's functions, against the truth; intervals of success where all methods are equal."""
    judged = differences(played.found, cell.wanted, identity, DRAWS)
    gaps = [played.truth[one.method] - played.truth[one.reference] for one in judged]
    wrong = [
        (one.verdict == "better" and gap <= 1e-9) or (one.verdict == "worse" and gap >= -1e-9)
        for one, gap in zip(judged, gaps, strict=True)
    ]
    holds = [_holds(one.found.effect.low, one.found.effect.high, gap) for one, gap in zip(judged, gaps, strict=True)]
    by_seed, by_both = [], []
    for place, label in enumerate(played.found.labels if not cell.apart else ()):
        each = over_seeds([float(one) for one in played.found.values[place].mean(1)], limits=(0.0, 1.0))
        both = over_both(label, played.found, played.kinds)
        assert both is not None
        by_seed += [] if each.low is None else [_holds(each.low, each.high, played.here[label])]
        by_both += [] if both.low is None else [_holds(both.low, both.high, played.truth[label])]
    (better,) = [one for one in judged if (one.method, one.reference) == cell.better]
    smallest = resolution(judged, BASELINE, played.found).smallest
    return Tally(
        1, any(wrong), all(holds), sum(by_seed), len(by_seed), sum(by_both), len(by_both),
        better.verdict == "better", 100 * (1.0 if smallest is None else smallest),
    )  # fmt: skip


def simulate(cell: Cell, tables: int, seed: int = 0) -> Tally:
    """Many tables of one kind."""
    rng = np.random.default_rng(seed)
    found = [judge(cell, play(cell, rng), f"{seed} {number}") for number in range(tables)]
    return sum(found[1:], found[0])


def both(task: tuple[Cell, int]) -> tuple[Tally, Tally]:
    """Equal methods, and in half as many tables one that is as much better as the first say that they detect."""
    cell, tables = task
    equal = simulate(cell, tables)
    apart = simulate(replace(cell, apart=equal.detectable / equal.tables), max(1, tables // 2), seed=1)
    return equal, apart


def markdown(cells: Sequence[Cell], found: Sequence[tuple[Tally, Tally]]) -> str:
    """One line for each kind of table."""
    header = [
        "seeds", "methods", "training SD (pp)", "any false verdict %", "simultaneous CIs %", "CI over seeds %",
        "CI over seeds and tasks %", "minimum detectable effect (pp)", "called at that effect %", "CIs there %",
    ]  # fmt: skip
    lines = [header, ["---:"] * len(header)]
    for cell, (equal, apart) in zip(cells, found, strict=True):
        more = "" if cell.uneven == 1 else f", baseline {cell.deviation * cell.uneven:.1f}"
        more += f", {cell.collapsed} collapsed" if cell.collapsed else ""
        more += f", warm starts {cell.started:.1f}, {100 * cell.kept:.0f} % kept" if cell.started else ""
        more += f", {cell.tasks} tasks" if cell.tasks != TASKS else ""
        lines.append(
            [
                str(cell.seeds), str(cell.methods), f"{cell.deviation:.1f}{more}", _percent(equal.false, equal.tables),
                _percent(equal.together, equal.tables), _percent(equal.over_seeds, equal.over_seeds_of),
                _percent(equal.over_both, equal.over_both_of), f"{equal.detectable / equal.tables:.1f}",
                _percent(apart.called, apart.tables), _percent(apart.together, apart.tables),
            ]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}"


def _holds(low: float | None, high: float | None, truth: float) -> bool:
    return low is None or high is None or low <= truth <= high


def _share(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _mean_here(logits: Floats, spread: float) -> float:
    """Mean success on tasks of these logits over normal seeds, by Gauss-Hermite quadrature."""
    return float(_share(logits[:, None] + spread * POINTS).mean(0) @ WEIGHTS / WEIGHTS.sum())


@cache
def _mean(shift: float, spread: float) -> float:
    """Mean success over the types, with normal tasks and seeds together of this standard deviation."""
    return _mean_here(LEVEL + shift + KINDS, spread)


@cache
def _slope() -> float:
    """Change of the mean success by a logit."""
    return (_mean(0.01, 1.0) - _mean(-0.01, 1.0)) / 0.02


@cache
def _shift(success: float, spread: float) -> float:
    """Logits by which a method must be better for this mean success, by bisection."""
    low, high, deviation = -20.0, 20.0, float(np.hypot(1, spread))
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean(middle, deviation) < success else (low, middle)
    return low


CELLS = [Cell(seeds, methods, deviation) for seeds in SEEDS for methods in METHODS for deviation in DEVIATIONS]
"""Those that are to hold; some where methods have collapsed, the baseline trains more evenly or less than the others,
with two seeds, or from warm starts that differ."""
CELLS += [Cell(seeds, 4, deviation, collapsed=2) for seeds in (3, 5) for deviation in (2.6, 7.0)]
CELLS += [Cell(seeds, 8, 2.6, uneven) for seeds in (3, 5) for uneven in (0.25, 2.7)]
CELLS += [Cell(2, methods, 2.6) for methods in (2, 4, 8)]
CELLS += [Cell(seeds, 8, 2.6, started=5.0, kept=kept) for seeds in (3, 5) for kept in (1.0, 0.5, 0.0)]
CELLS += [Cell(5, 16, 2.6, started=5.0, kept=kept, tasks=500) for kept in (1.0, 0.5, 0.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=1000, help="simulated tables of each kind")
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    with multiprocessing.Pool(wanted.jobs) as pool:
        found = pool.map(both, [(cell, wanted.tables) for cell in CELLS], chunksize=1)
    print(markdown(CELLS, found))


if __name__ == "__main__":
    main()
