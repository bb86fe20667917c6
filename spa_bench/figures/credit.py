"""The reward assigned to each step of one episode: a row for each method, the oracle's progress on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spa_bench.core import Floats
from spa_bench.figures.style import sheet, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORACLE = "oracle's progress"
FEW = 12
"""Turns up to which cells hold numbers; with more turns cells are narrower and hold the sign only."""
ACROSS = 40
"""Turns side by side; further ones are drawn below."""
SMALL = 0.005
"""A reward below this share of its row's largest has no sign in its cell."""


@dataclass(frozen=True)
class Row:
    """The reward that one method assigns to each turn."""

    label: str
    values: tuple[float, ...]
    largest: float
    """Largest |value|, which the row's colours are scaled by; 0 where all rewards are 0."""


@dataclass(frozen=True)
class CreditMap:
    """What is drawn."""

    title: str
    caption: str
    actions: tuple[str, ...]
    rows: tuple[Row, ...]


def data(
    rewards: Mapping[str, Sequence[float]],
    progress: Sequence[float],
    actions: Sequence[str],
    *,
    title: str,
    caption: str = "",
    start_progress: float = 0.0,
) -> CreditMap:
    """The rows, in the order of the methods' names below the oracle's d_t = Phi_t - Phi_(t-1).

    `rewards` holds one number per turn of each method; `progress` is Phi_t after each turn and `start_progress` Phi_0.
    Raises ValueError for other lengths, no turn, and numbers that are not finite.
    """
    made = np.diff([start_progress, *progress]).tolist()
    rows = {ORACLE: made} | {label: list(rewards[label]) for label in sorted(rewards)}
    for label, values in rows.items():
        if not actions or len(values) != len(actions) or not np.isfinite(values).all():
            raise ValueError(f"{label}: {len(values)} numbers for {len(actions)} turns, or one that is not finite")
    scale = "Each row has its own scale: full colour is its largest |r|, printed at its right."
    return CreditMap(
        title=title,
        caption="\n".join(line for line in (caption, f"{scale} Blue: r > 0, red: r < 0, empty: 0.") if line),
        actions=tuple(actions),
        rows=tuple(_row(label, [float(value) for value in values]) for label, values in rows.items()),
    )


def draw(found: CreditMap) -> Figure:
    """Blue is positive, red negative; as both print alike in grey, cells also hold their sign or number."""
    turns = len(found.actions)
    starts = range(0, turns, ACROSS)
    across = min(turns, ACROSS)
    width = 3.6 + max(4.0, (0.55 if turns <= FEW else 0.25) * across)
    figure = sheet(width, len(starts) * (2.2 + 0.28 * len(found.rows)), found.title, found.caption)
    for axes, start in zip(figure.subplots(len(starts), 1, squeeze=False)[:, 0], starts, strict=True):
        _draw_block(axes, found, start, across)
    return figure


def _row(label: str, values: Sequence[float]) -> Row:
    return Row(label, tuple(values), max(map(abs, values)))


def _draw_block(axes: Axes, found: CreditMap, start: int, across: int) -> None:
    """The turns from `start` on; a last block with fewer turns keeps the width of its cells."""
    shown = slice(start, start + across)
    actions = found.actions[shown]
    shares: Floats = np.array([np.array(row.values[shown]) / (row.largest or 1.0) for row in found.rows])
    axes.pcolormesh(shares, cmap="RdBu", vmin=-1, vmax=1, edgecolors="#dddddd", linewidth=0.5)
    for (row, turn), share in np.ndenumerate(shares):
        if abs(share) >= SMALL:
            value = found.rows[row].values[start + turn]
            text = f"{value:+.2g}" if len(found.actions) <= FEW else "+" if value > 0 else "\N{MINUS SIGN}"
            ink = "white" if abs(share) > 0.6 else "black"
            axes.text(turn + 0.5, row + 0.5, text, color=ink, ha="center", va="center_baseline", fontsize=7)
    for row, one in enumerate(found.rows):
        at = (len(actions), row + 0.5)
        axes.annotate(f"{one.largest:.3g}", at, (6, 0), textcoords="offset points", va="center", fontsize=7)
    axes.hlines(1, 0, len(actions), color="black", linewidth=1.5)
    axes.set_xlim(0, across)
    axes.set_ylim(len(found.rows), 0)
    axes.set_yticks(np.arange(len(found.rows)) + 0.5, [shortened(row.label, 40) for row in found.rows])
    names = [f"{start + turn + 1}  {shortened(action, 28)}" for turn, action in enumerate(actions)]
    axes.set_xticks(np.arange(len(actions)) + 0.5, names, rotation=55, ha="right", rotation_mode="anchor", fontsize=7)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
