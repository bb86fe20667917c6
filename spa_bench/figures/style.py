"""How every figure looks, and how it is saved: the same bytes for the same data, the user's own settings left alone.

Seaborn's style for papers, drawn on figures that pyplot does not know. No information is in colour alone: each method
has its own colour, marker, line style and hatch. An SVG has no background, and what is `INK` in it has the colour of
the text around it (`currentColor`, black where there is none); all other colours are seen on white and on black.
"""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa_bench.core import UserError
from spa_bench.files import replaced
from spa_bench.terminal import printable_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE, ACCENT = "#222222", "#767676", "#D55E00"
BAND = 0.06
"""How much `INK` there is in the background of every other row."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same letters on every machine
    "text.parse_math": False,
    "svg.hashsalt": "spa-bench",
    "hatch.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 3,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
STAMPS: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    ".svg": {"Date": None, "Creator": None},
}
"""Dates and versions that a file would hold; without them the same figure is the same bytes."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#7a7a7a")
"""Okabe and Ito (2008), which seaborn's "colorblind" follows: told apart by colour-blind readers. Without the yellow
that no line can have on white, and with grey for the black that none can have on black."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
LINES = ("-", "--", "-.", ":")
HATCHES = ("", "///", "..", "\\\\\\", "xxx", "---", "+++", "|||", "oo")
NAME = 40
"""Characters of a row's name on one line."""
OVERLAID = 6
"""More methods than this are not told apart in one pair of axes."""
KNOWN = (
    *("ppo", "spa", "sparse", "shuffled", "gigpo", "stepagent-inverse", "3spo", "rrd", "grpo", "rudder", "rloo"),
    *("stepagent-implicit", "3spo-lite", "potential", "monte-carlo", "uniform", "spa-released", "random-split"),
    *("all-on-last", "time-only", "warm start", "spa-published", "mt-grpo", "salt", "beacon"),
    *("hgpo", "g2po", "graphgpo", "istar", "hcapo", "beacon-released"),
)
"""A method's look is its place in this list, to which names are only ever appended: whatever else is drawn, and in
every version, a method looks the same. Sorted places would change with the company, and hashes of names alone clash.
Nothing else follows from it."""
OWN = 40
"""Looks from this place on belong to names that are not in the list."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    colour: str
    marker: str
    line: str
    hatch: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """The look of each of the methods of one figure.

    A name that is not in `KNOWN`, as of a method with options, has a look by its hash. Only where it would be taken for
    another of the figure, as a bar or as a line, does the later one, by name, move on to the next that is free.
    """
    names = sorted(set(methods))
    found = {name: _look(KNOWN.index(name)) for name in names if name in KNOWN}
    spare = len(COLOURS) * len(MARKERS) - OWN
    for name in (name for name in names if name not in KNOWN):
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        start = int.from_bytes(digest[:8], "big") % spare
        ways = [_look(OWN + (start + step) % spare) for step in range(spare)]
        free = [way for way in ways if way not in found.values()] or ways
        found[name] = next((way for way in free if not any(_alike(way, other) for other in found.values())), free[0])
    return found


def _look(place: int) -> Look:
    parts: list[Sequence[str]] = [COLOURS, MARKERS, LINES, HATCHES]
    return Look(*(part[place % len(part)] for part in parts))


def _alike(one: Look, other: Look) -> bool:
    bars = (one.colour, one.hatch) == (other.colour, other.hatch)
    return bars or (one.marker, one.line) == (other.marker, other.line)


def shortened(text: str, most: int) -> str:
    """One line that is safe to draw, cut to `most` characters."""
    line = printable_line(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


@contextmanager
def drawing() -> Iterator[None]:
    """The settings of every figure; the user's own of Matplotlib are put back afterwards.

    Letters that the font has not are drawn as boxes without a warning.
    """
    import matplotlib

    # Before the settings change: it keeps those that it finds, to put them back when it is asked to.
    import seaborn  # type: ignore[import-untyped]

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(seaborn.axes_style("ticks") | seaborn.plotting_context("paper") | STYLE)
        yield


def save(draw: Callable[[], Figure], *paths: Path) -> None:
    """Save what `draw` makes to each of the paths, as `.png`, `.pdf` or `.svg` by the name's ending.

    No window is opened. Raises UserError for another ending.
    """
    for path in paths:
        if path.suffix not in STAMPS:
            raise UserError(f"{path.name}: a figure is saved as .png, .pdf or .svg")
    with drawing():
        figure = draw()
        settle(figure)
        for path in paths:
            ending, made = path.suffix, io.BytesIO()
            figure.savefig(made, format=ending[1:], dpi=150, metadata=STAMPS[ending], transparent=ending == ".svg")
            content = made.getvalue()
            with replaced(path) as file:
                file.write_bytes(_inlined(content) if ending == ".svg" else content)


def settle(figure: Figure) -> None:
    """Give all parts their places, once: what is added then moves none of them, and all files are alike."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _inlined(svg: bytes) -> bytes:
    """With the colour of the text around it, and hundredths of a point in its outlines: a third of the bytes."""
    short = re.sub(rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]), svg)
    return short.replace(INK.encode(), b"currentColor")


def sheet(width: float, height: float, title: str, caption: str) -> Figure:
    """An empty figure with a title above and a caption below; `height` is that of the rest, in inches."""
    from matplotlib.figure import Figure

    parts = map(printable_line, caption.splitlines())
    lines = [line for part in parts for line in textwrap.wrap(part, int(17 * width)) or [""]]
    figure = Figure(figsize=(width, height + 0.35 + 0.14 * len(lines)), layout="constrained")
    figure.suptitle(shortened(title, int(12 * width)), fontsize=11)
    figure.supxlabel("\n".join(lines), fontsize=7.5, color=INK, x=0.01, ha="left", linespacing=1.3)
    return figure


def wrapped(name: str, width: int) -> str:
    """A name on as many lines as it needs, each of up to `width` characters; cut after four."""
    lines = textwrap.wrap(printable_line(name), width) or [""]
    return "\n".join(lines if len(lines) <= 4 else [*lines[:3], shortened(" ".join(lines[3:]), width)])


def legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """One legend for all axes, at their right: below them stands the caption."""
    figure.legend(handles, [wrapped(name, 28) for name in names], loc="outside right center")


def tall(names: Sequence[str]) -> float:
    """Inches that `striped` rows of these names need."""
    lines = max((wrapped(name, NAME).count("\n") for name in names), default=0)
    return (0.24 + 0.15 * lines) * max(3, len(names))


def striped(axes: Axes, names: Sequence[str]) -> None:
    """Rows from top to bottom, with bands that lead from a name to its figures."""
    for row in range(0, len(names), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=INK, alpha=BAND, linewidth=0, zorder=0)
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), [wrapped(name, NAME) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
