"""The folder that `spa-bench report` writes: every table as Markdown, CSV and LaTeX, every figure, and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spa_bench.audit import saved
from spa_bench.audit.summary import Audit
from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.figures import credit, words
from spa_bench.figures.credit import ACROSS, CreditMap
from spa_bench.files import write_whole
from spa_bench.report import grid as forms
from spa_bench.report.contents import Contents
from spa_bench.report.grid import Grid
from spa_bench.report.names import audit_names, audit_settings, distinct, section_names
from spa_bench.report.papers import PAPERS
from spa_bench.report.render import DIFFER, Section, as_markdown

MANIFEST = "report.json"
"""Lists what a report has written, so that the next one removes what it no longer writes, and nothing else."""
PAGE = "index.html"


@dataclass(frozen=True)
class Written:
    """What lies in the folder now."""

    folder: Path
    files: Sequence[str]
    """Paths below the folder, sorted."""
    notes: Sequence[str]
    """Figures that could not be drawn, and why."""


def write(
    found: Contents,
    folders: Sequence[Path],
    folder: Path,
    baseline: str | None = None,
    cuts: Sequence[int] | None = None,
    most: int | None = None,
) -> Written:
    """Write the report of `folders` into `folder`; what an older report left there and this one has not is removed.

    `baseline` and `cuts` are those of `found`; `most`: episodes of each run in the page, at most. UserError where the
    folder cannot be written.
    """
    from spa_bench.figures import files as figures
    from spa_bench.report import serve

    try:
        old = _listed(folder)
        texts = _texts(found)
        for below in ("tables", "figures"):
            (folder / below).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text)
        maps, reasons = _credit_maps(found)
        groups = dict(zip(section_names(found.tables), found.groups, strict=True))
        own = [audit for _, audit in found.audits]
        audits = dict(zip(audit_names(own), own, strict=True))
        drawn = figures.figures(groups, audits, maps, folder / "figures", cuts, baseline)
        serve.write(folders, folder / PAGE, most, known=found)
        files = sorted([*texts, *(f"figures/{path.name}" for path in drawn.paths), PAGE])
        for stale in sorted(old - set(files)):
            (folder / stale).unlink(missing_ok=True)
        write_whole(folder / MANIFEST, json.dumps({"files": files}, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; choose another folder with --out") from None
    return Written(folder, files, [*drawn.reasons, *reasons])


def _credit_maps(found: Contents) -> tuple[dict[str, CreditMap], list[str]]:
    """One for each audit by its name, and why there is none for others."""
    maps, reasons = {}, []
    own = [audit for _, audit in found.audits]
    names, settings = audit_names(own), audit_settings(own)
    for (path, audit), name, told in zip(found.audits, names, settings, strict=True):
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


def _texts(found: Contents) -> dict[str, str]:
    """Content by file: everything that was printed, the tables of papers, and each table by itself."""
    sections = found.sections()
    papers = [one for name in PAPERS for one in found.paper(name) if one.grids]
    texts = {"tables.md": _pages(sections), "papers.md": _pages(papers)}
    grids = [(one, number, grid) for one in (*sections, *papers) for number, grid in enumerate(one.grids)]
    for (one, number, grid), name in zip(grids, _file_names([(one, grid) for one, _, grid in grids]), strict=True):
        texts[f"tables/{name}.csv"] = forms.comma_separated(grid)
        alone = replace(grid, title=f"{one.heading}: {grid.title}") if one.heading and number else grid
        texts[f"tables/{name}.tex"] = forms.latex(alone, _under(one, number), label=name)
    return texts


def _file_names(grids: Sequence[tuple[Section, Grid]]) -> list[str]:
    """Section and table, and a digest of the title where two would be the same file."""
    names = [f"{one.name}-{grid.name}" for one, grid in grids]
    return distinct(names, [f"{name} {grid.title}" for name, (_, grid) in zip(names, grids, strict=True)])


def _pages(sections: Sequence[Section]) -> str:
    return "\n\n".join(f"## {one.name}\n\n{as_markdown(one)}" for one in sections) + "\n"


def _under(found: Section, number: int) -> Sequence[str]:
    """Under a section's first table all notes, under the others the first one: what they are about."""
    return found.notes if number == 0 else found.notes[:1]


def _listed(folder: Path) -> set[str]:
    """What the last report wrote here. UserError for a folder with other files and without a list of ours."""
    file = folder / MANIFEST
    if not folder.exists() or not any(folder.iterdir()):
        return set()
    try:
        names = json.loads(file.read_text(encoding="utf-8"))["files"]
        inside = {str(name) for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} holds files that no report has written: choose another folder with --out") from None
    return inside
