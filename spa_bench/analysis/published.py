"""Reported numbers of papers, with source and confidence: shown beside our tables, never mixed with them.

They lie as CSV files in `as-published`, which `results/published` links to; its README says what each column means and
what may become a row. A file that breaks a rule is refused: a wrong number with a source is worse than none.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from decimal import Decimal
from functools import cache
from pathlib import Path

from spa_bench.core import UserError
from spa_bench.terminal import printable_line

FOLDER = Path(__file__).resolve().parent / "as-published"
"""What comes with the package."""

PUBLISHED = "reported (different protocol)"
"""Head of the column beside ours."""

METRICS = ("success", "average reward", "grounding accuracy", "gain", "gain in success", "gain in grounding accuracy")
"""What a value is, in per cent; a gain is a difference in percentage points (pp), over what its remark says."""

SHOWN = ("success", "average reward")
"""Those that stand beside our success and outcome."""

CONFIDENCE = ("primary", "secondary", "inference")
"""Read in the paper itself; read in a text that quotes it; partly inferred by us, as the remark says."""

MANY = 4
"""Numbers that a cell shows one by one."""
SIDE_BY_SIDE = "spa-bench report --paper baselines"

LONGEST = 60
"""Characters of a wrong cell that are quoted."""


@dataclass(frozen=True)
class Published:
    """One number of one paper. Empty text and None: not known."""

    paper: str
    """arXiv id of the paper that prints the number, which need not be the method's own."""
    method: str
    """As the paper calls it, in our spelling."""
    ours: str
    """Name of the nearest row of our tables, such as `spa (beta=0)`; empty where we have none."""
    world: str
    """As typed after `--env`, or `several`."""
    split: str
    metric: str
    value: Decimal
    """With the digits that were printed."""
    spread: Decimal | None
    """The number after the paper's ±."""
    n: int | None
    """Tasks."""
    seeds: int | None
    model: str
    protocol: str
    source: str
    """Where the number was read."""
    confidence: str
    remark: str

    @property
    def printed(self) -> str:
        """Value and spread as the paper writes them."""
        sign = "+" if self.metric.startswith("gain") and self.value > 0 else ""
        return f"{sign}{self.value}" if self.spread is None else f"{sign}{self.value} ± {self.spread}"


HEADER = tuple(field.name for field in fields(Published))

_WORDS = re.compile(r"\S(.*\S)?")
_WHOLE = re.compile(r"[1-9][0-9]{0,6}")
_SHARE = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?")
_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "paper": (re.compile(r"[0-9]{4}\.[0-9]{4,5}"), "an arXiv id such as 2505.20732"),
    "method": (_WORDS, "a name"),
    "world": (re.compile(r"[a-z][a-z0-9-]*"), "a world, or `several`"),
    "metric": (re.compile("|".join(METRICS)), f"one of {', '.join(METRICS)}"),
    "value": (re.compile(rf"-?{_SHARE.pattern}"), "a number as printed, such as 79.1"),
    "source": (_WORDS, "where the number was read"),
    "confidence": (re.compile("|".join(CONFIDENCE)), f"one of {', '.join(CONFIDENCE)}"),
}
"""Cells that every row has, and what they must be."""
_OPEN: Mapping[str, tuple[re.Pattern[str], str]] = {
    "spread": (_SHARE, "the number after the paper's ±"),
    "n": (_WHOLE, "a number of tasks"),
    "seeds": (_WHOLE, "a number of seeds"),
}
"""Cells that may be empty, which means that the fact is not known. All others are free text."""
_RESULT = ("value", "spread", "source", "confidence", "remark", "ours")
"""What may differ between two rows without their being about different things."""


def load(folder: Path = FOLDER) -> tuple[Published, ...]:
    """All rows of the CSV files of a folder, sorted; the same files always give the same order.

    Raises UserError, with file and line, for a wrong header, a cell that is not what its column says, or a fact that
    is there twice.
    """
    places: dict[tuple[object, ...], str] = {}
    rows = []
    for file in _files(folder):
        for line, row in _parsed(_text(file), file.name):
            place = f"{file.name}:{line}"
            if (first := places.setdefault(_identity(row), place)) != place:
                raise UserError(f"reported numbers: {place} repeats {first}: keep one of them")
            rows.append(row)
    return tuple(sorted(rows, key=_order))


@cache
def installed() -> tuple[Published, ...]:
    """The rows that come with the package, read once."""
    return load()


def parse(text: str, name: str) -> tuple[Published, ...]:
    """The rows of one file, in its order; `name` is what messages call it. Raises UserError as `load` does."""
    return tuple(row for _, row in _parsed(text, name))


class Sources:
    """Numbers for a column beside ours, and the notes that say where each was read."""

    def __init__(self, paper: str | None = None) -> None:
        """Of all papers, or of one by its arXiv id."""
        self._rows = [row for row in installed() if paper in (None, row.paper)]
        self._notes: dict[str, int] = {}

    def cell(self, world: str, split: str | None, label: str, metric: str | None = None) -> str:
        """What is printed of our row `label`, with the numbers of the notes; empty where nothing is known.

        Of the split, or where the split is not known, which the note says. Without `metric`: success, and average
        reward by its name. Of more than `MANY` numbers only how far they reach.
        """

        def wanted(row: Published) -> bool:
            return row.ours == label and row.world == world and row.split in ("", split)

        shown = [(name, [row for row in self._rows if wanted(row) and row.metric == name]) for name in SHOWN]
        if metric is None and sum(len(rows) for _, rows in shown) > MANY:
            return "; ".join(self._reach(name, rows) for name, rows in shown if rows)
        return self.numbers(metric, wanted)

    def numbers(self, metric: str | None, wanted: Callable[[Published], bool]) -> str:
        """The numbers of the rows that are wanted, in the order of the files."""
        shown = SHOWN if metric is None else (metric,)
        found = [row for row in self._rows if row.metric in shown and wanted(row)]
        names = {"average reward": "average reward "} if metric is None else {}
        return "; ".join(f"{names.get(row.metric, '')}{row.printed} [{self._note(row)}]" for row in found)

    def notes(self) -> list[str]:
        """One for each kind of source that a cell has named, in order."""
        return [f"[{number}] {PUBLISHED}: {text}" for text, number in self._notes.items()]

    def _reach(self, metric: str, rows: Sequence[Published]) -> str:
        """The lowest and the highest of some numbers of one metric."""
        values = sorted(row.value for row in rows)
        note = f"each of the numbers with its source in results/published, side by side: {SIDE_BY_SIDE}"
        name = "" if metric == "success" else f"{metric} "
        between = f"{values[0]} to {values[-1]} ({len(rows)} numbers)" if len(rows) > 1 else f"{values[0]}"
        return f"{name}{between} [{self._number(note)}]"

    def _note(self, row: Published) -> int:
        told = {
            "split": row.split or "unknown",
            "n": row.n or "unknown",
            "seeds": row.seeds or "unknown",
            "model": row.model or "unknown",
            "protocol": row.protocol or "unknown",
        }
        facts = ", ".join(f"{name} {value}" for name, value in told.items())
        remark = f"; {row.remark}" if row.remark else ""
        text = f"arXiv {row.paper}, {row.source} ({row.confidence}); {facts}{remark}"
        return self._number(text)

    def _number(self, text: str) -> int:
        return self._notes.setdefault(text, len(self._notes) + 1)


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise UserError(f"reported numbers: no CSV file in {printable_line(str(folder))}")
    return files


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"reported numbers: cannot read {file.name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"reported numbers: {file.name}:{line} is not UTF-8: save it as UTF-8") from None


def _parsed(text: str, name: str) -> Iterator[tuple[int, Published]]:
    """(line, row) of each row."""
    lines = _records(text, name)
    line, header = next(lines, (1, []))
    if tuple(header) != HEADER:
        raise UserError(f"{_place(name, line)} must be the header {','.join(HEADER)}")
    for line, cells in lines:
        if len(cells) != len(HEADER):
            raise UserError(f"{_place(name, line)} has {len(cells)} cells instead of {len(HEADER)}")
        yield line, _row(dict(zip(HEADER, cells, strict=True)), _place(name, line))


def _records(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each record; a quoted cell cannot go over the end of its line."""
    for line, content in enumerate(io.StringIO(text, newline=""), 1):
        try:
            yield from ((line, cells) for cells in csv.reader([content], strict=True))
        except csv.Error as error:
            raise UserError(f"{_place(name, line)} is no CSV: {error}") from None


def _row(cells: Mapping[str, str], place: str) -> Published:
    for column, cell in cells.items():
        if cell != printable_line(cell).strip():
            raise UserError(f"{place}: {column} {_quoted(cell)} has white space at an end, or invisible text")
        form, wanted = _FORMS.get(column) or _OPEN.get(column) or (re.compile(".*"), "")
        if not form.fullmatch(cell) and (cell or column in _FORMS):
            raise UserError(f"{place}: {column} {_quoted(cell)} must be {wanted}")
    value, gain = Decimal(cells["value"]), cells["metric"].startswith("gain")
    if not (abs(value) <= 100 if gain else 0 <= value <= 100):
        raise UserError(f"{place}: value {value} is not a percentage")
    if gain and not cells["remark"]:
        raise UserError(f"{place}: a gain needs a remark that names what it is a gain over")
    return Published(
        **{column: cell for column, cell in cells.items() if column not in ("value", *_OPEN)},
        value=value,
        spread=Decimal(cells["spread"]) if cells["spread"] else None,
        n=int(cells["n"]) if cells["n"] else None,
        seeds=int(cells["seeds"]) if cells["seeds"] else None,
    )


def _place(name: str, line: int) -> str:
    return f"reported numbers: {printable_line(name)}:{line}"


def _quoted(cell: str) -> str:
    return f"`{printable_line(cell, LONGEST)}`"


def _identity(row: Published) -> tuple[object, ...]:
    """What a row is about: two rows that agree in it contradict or repeat each other."""
    return tuple(getattr(row, name) for name in HEADER if name not in _RESULT)


def _order(row: Published) -> tuple[str, ...]:
    """Of one world and metric side by side, then by model and paper; whole rows, so that no order depends on files."""
    first = (row.world, row.split, row.metric, row.model, row.paper, row.method)
    return (*first, *(str(cell) for cell in astuple(row)))
