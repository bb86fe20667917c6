"""One cell, several prints: what different papers print of one method, in one world, with one model.

A cell is a world, split, metric, model and method. Papers repeat its number from each other, or measure it anew with
settings of their own; how far their numbers lie apart stands beside the gains that the same papers claim over it. No
mean, interval or test is made: the numbers are as printed, and only subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from spa_bench.analysis.published import Published

PAPERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "2505.20732": ("SPA", ("SPA",)),
    "2505.10978": ("GiGPO", ("GiGPO with std", "GiGPO without std")),
    "2509.19199": ("iStar", ("iStar",)),
    "2606.09961": ("3SPO", ("3SPO",)),
    "2603.08754": ("HCAPO", ("HCAPO", "HCAPO with smoothing")),
    "2603.18683": ("HISR", ("HISR",)),
    "2602.22817": ("HGPO", ("HGPO, memory of 2 turns", "HGPO, memory of 4 turns")),
    "2606.22995": ("G2PO", ("G2PO",)),
    "2605.26684": ("GraphGPO", ("GraphGPO",)),
    "2608.16156": ("TRCA", ("TRCA",)),
    "2609.02236": ("PGPO", ("PGPO",)),
    "2606.25556": ("BiPACE", ("BiPACE",)),
    "2602.16165": ("HiPER", ("HiPER",)),
    "2602.21534": ("ARLArena", ("SAMPO",)),
    "2605.06078": ("BEACON", ("BEACON",)),
}
"""By arXiv id: what a paper is called here, and the methods that it proposes, which its gains are of."""
SAME: Mapping[str, str] = {
    "GiGPO with std": "GiGPO",
    "GiGPO without std": "GiGPO",
    "GiGPO, memory of 2 turns": "GiGPO",
    "HGPO, memory of 2 turns": "HGPO",
}
"""Names that papers have for what others call by its bare name: GiGPO's two forms, and verl-agent's default memory."""
MEMORY = ", memory of "
UNSEEN = "valid_unseen"


@dataclass(frozen=True)
class Print:
    """One number, and the papers that print it; of equal numbers with unequal digits the one with most."""

    value: Decimal
    papers: tuple[str, ...]


@dataclass(frozen=True)
class Gain:
    """What a paper claims for a method of its own over the cell's, in percentage points."""

    paper: str
    method: str
    value: Decimal
    """The difference of two numbers that the paper prints, or the gain that it states."""
    stated: bool
    """Whether it is stated, and not a difference of ours."""


@dataclass(frozen=True)
class Cell:
    """One cell that at least two papers print."""

    world: str
    split: str
    """`valid_unseen`; else empty: seen games, or not said."""
    metric: str
    model: str
    method: str
    prints: tuple[Print, ...]
    """From the lowest to the highest; no two are equal."""
    papers: int
    gains: tuple[Gain, ...]
    """From the lowest to the highest."""

    @property
    def name(self) -> str:
        """As a table and a figure call it: method, model, world, with the split where it is that of unseen games."""
        where = f"{self.world} {self.split}".rstrip()
        return f"{self.method}, {self.model.removesuffix('-Instruct')}, {where}, {self.metric}"

    @property
    def spread(self) -> Decimal:
        """Highest minus lowest print, in percentage points."""
        return self.prints[-1].value - self.prints[0].value

    @property
    def within(self) -> int:
        """Gains that are no larger than the spread."""
        return sum(gain.value <= self.spread for gain in self.gains)


def cells(rows: Iterable[Published]) -> list[Cell]:
    """The cells that several papers print, by world, split, metric, model and method.

    Gains of a cell are those of papers that print it, or that state one over its method for the same model. Only
    numbers of the same number of seeds, and of the same memory where a name says it, are subtracted.
    """
    shelves: dict[tuple[str, ...], list[Published]] = {}
    known = [row for row in rows if row.paper in PAPERS and row.model]
    for row in known:
        if not row.metric.startswith("gain"):
            shelves.setdefault((*_place(row), SAME.get(row.method, row.method)), []).append(row)
    return [_cell(key, own, known) for key, own in sorted(shelves.items()) if len({row.paper for row in own}) > 1]


def _place(row: Published) -> tuple[str, str, str, str]:
    """World, split, metric and model. Whether games were seen is often not said; then they were, where it is known."""
    return row.world, UNSEEN if row.split == UNSEEN else "", row.metric.removeprefix("gain in "), row.model


def _cell(key: tuple[str, ...], own: Sequence[Published], known: Sequence[Published]) -> Cell:
    beside = [row for row in known if _place(row) == key[:4]]
    gains = {gain for base in own for row in beside for gain in _difference(base, row)}
    gains |= {gain for row in beside for gain in _stated(row, key[4])}
    ordered = tuple(sorted(gains, key=lambda one: (one.value, one.paper, one.method)))
    world, split, metric, model, method = key
    papers = len({row.paper for row in own})
    return Cell(world, split, metric, model, method, _prints(own), papers, ordered)


def _difference(base: Published, row: Published) -> list[Gain]:
    """The gain of `row` over `base`, where both are of one table and only `row` is the paper's own method."""
    name, proposed = PAPERS[base.paper]
    comparable = row.paper == base.paper and row.seeds == base.seeds and not row.metric.startswith("gain")
    if not comparable or row.method not in proposed or base.method in proposed or _memory(base) != _memory(row):
        return []
    return [Gain(name, row.method, row.value - base.value, stated=False)]


def _stated(row: Published, method: str) -> list[Gain]:
    name, proposed = PAPERS[row.paper]
    over = row.metric.startswith("gain in ") and row.remark.startswith(f"over {method},")
    return [Gain(name, row.method, row.value, stated=True)] if over and row.method in proposed else []


def _memory(row: Published) -> str:
    return row.method.partition(MEMORY)[2]


def _prints(own: Sequence[Published]) -> tuple[Print, ...]:
    """Numbers that are equal when rounded to the digits of the shorter one are one print."""
    by_digits = sorted(own, key=lambda row: (_digits(row.value), row.paper, row.value))
    papers: dict[Decimal, list[str]] = {}
    for row in by_digits:
        same = next((value for value in papers if _rounds_to(value, row.value)), row.value)
        papers.setdefault(same, []).append(PAPERS[row.paper][0])
    return tuple(Print(value, tuple(dict.fromkeys(papers[value]))) for value in sorted(papers))


def _digits(value: Decimal) -> int:
    """Exponent of the last digit: the number with most digits first."""
    return int(value.as_tuple().exponent)


def _rounds_to(value: Decimal, shorter: Decimal) -> bool:
    """Also where the digits were cut off: papers do both."""
    return any(value.quantize(shorter, way) == shorter for way in (ROUND_HALF_UP, ROUND_DOWN))
