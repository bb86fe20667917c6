"""The figures of a report: drawn into a folder, and read from there for the page.

Whatever figure lies in the folder is shown: the page knows none of them by name.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spa_bench.analysis.prints import cells
from spa_bench.analysis.published import installed
from spa_bench.audit import saved
from spa_bench.audit.summary import Audit
from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.figures import credit, words
from spa_bench.figures.credit import ACROSS, CreditMap
from spa_bench.report.agreement import matched
from spa_bench.report.contents import Contents
from spa_bench.report.names import audit_names, audit_settings, section_names
from spa_bench.report.render import DIFFER
from spa_bench.runs.reading import read_json

Picture = Mapping[str, Any]
"""Name, title and caption of a figure, the section that it belongs to, its SVG, and its PDF in base64, if any."""


def drawn(found: Contents, baseline: str | None = None, cuts: Sequence[int] | None = None) -> list[Picture]:
    """All figures of what was found, for a page that stands alone."""
    with TemporaryDirectory(prefix="spa-bench-") as folder:
        draw(found, Path(folder), baseline, cuts)
        return read(Path(folder), found)


def draw(found: Contents, folder: Path, baseline: str | None = None, cuts: Sequence[int] | None = None) -> list[str]:
    """Draw all figures into `folder`; returns one line for each that could not be drawn."""
    from spa_bench.figures import files as figures

    maps, reasons = _credit_maps(found)
    groups = dict(zip(section_names(found.tables), found.groups, strict=True))
    own = [audit for _, audit in found.audits]
    audits = dict(zip(audit_names(own), own, strict=True))
    differences = {name: table.differences for name, table in zip(groups, found.tables, strict=True)}
    printed = cells(installed()) if found.prints else ()
    agreements = {one.name: (one.title, one.measures) for one in matched(found.tables, own)}
    written = figures.figures(
        groups, audits, maps, folder, cuts, baseline, differences, printed, agreements
    )  # fmt: skip
    return [*written.reasons, *reasons]


def read(folder: Path, found: Contents) -> list[Picture]:
    """The figures that were drawn of `found` into `folder`, by name."""
    sections = [*section_names(found.tables), *audit_names([audit for _, audit in found.audits])]
    return [_picture(file, sections) for file in sorted(folder.glob("*.svg"))]


def size(one: Picture) -> int:
    """Bytes in a page, about."""
    return sum(len(str(part)) for part in one.values())


def _picture(file: Path, sections: Sequence[str]) -> Picture:
    """It belongs to the section whose name its own begins with, of several the longest; empty: to all of them."""
    numbers, pdf = file.with_suffix(".json"), file.with_suffix(".pdf")
    about = read_json(numbers) if numbers.exists() else {}
    of = max((one for one in sections if file.stem.startswith(f"{one}-")), key=len, default="")
    plain = file.stem.removeprefix(f"{of}-").replace("-", " ")
    return {
        "name": file.stem,
        "section": of,
        "title": str(about.get("title") or plain),
        "caption": str(about.get("caption") or ""),
        "svg": file.read_text(encoding="utf-8"),
        **({"pdf": base64.b64encode(pdf.read_bytes()).decode("ascii")} if pdf.exists() else {}),
    }


def _credit_maps(found: Contents) -> tuple[dict[str, CreditMap], list[str]]:
    """One for each audit by its name that has episodes, and why there is none for others of these."""
    maps, reasons = {}, []
    own = [audit for _, audit in found.audits]
    names, settings = audit_names(own), audit_settings(own)
    for (path, audit), name, told in zip(found.audits, names, settings, strict=True):
        if not saved.has_episodes(path):  # a summary
            continue
        try:
            episodes, prices = saved.episodes(path), saved.prices(path)
        except UserError as error:
            reasons.append(f"credit of each step: {error}")
            continue
        if (chosen := _telling(episodes)) is not None:
            maps[name] = _credit_map(audit, chosen, episodes[chosen], prices, told)
    return maps, reasons


def _telling(episodes: Sequence[Trajectory]) -> int | None:
    """The longest success that fits into a figure; else the episode with the most progress."""
    fit = [number for number, one in enumerate(episodes) if 0 < len(one) <= ACROSS]
    if won := [number for number in fit if episodes[number].success]:
        return max(won, key=lambda number: len(episodes[number]))
    return max(fit, key=lambda number: episodes[number].steps[-1].progress, default=None)


def _credit_map(
    audit: Audit, number: int, one: Trajectory, prices: Mapping[str, Sequence[Floats]], settings: str
) -> CreditMap:
    ended = "success" if one.success else "failure"
    more = f" {DIFFER}: {settings}." if settings else ""
    more += f" {ours}" if (ours := words.forms(audit.ours)) else ""
    return credit.data(
        {label: paid[number].tolist() for label, paid in prices.items()},
        [step.progress for step in one.steps],
        [step.action for step in one.steps],
        title=f"Reward assigned to each step: {one.goal or one.task.key} ({ended})",
        caption=f"{audit.world}, task {one.task.key}, episode {number} of the audit.{more}",
        start_progress=one.start_progress,
    )
