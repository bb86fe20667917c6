"""The folder that `spa-bench report` writes: every table as Markdown, CSV and LaTeX, every figure, and the page."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from spa_bench.audit import saved
from spa_bench.audit.summary import Audit
from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.figures import credit, words
from spa_bench.figures.credit import ACROSS, CreditMap
from spa_bench.files import TEMPORARY, Lock, sync, sync_names, write_whole
from spa_bench.report import grid as forms
from spa_bench.report.contents import Contents
from spa_bench.report.grid import Grid
from spa_bench.report.names import audit_names, audit_settings, distinct, section_names
from spa_bench.report.papers import PAPERS
from spa_bench.report.render import DIFFER, Section, as_markdown
from spa_bench.runs.reading import read_json

MANIFEST = "report.json"
"""Lists what a report has written, so that the next one removes what it no longer writes, and nothing else."""
LOCK, BUILD = ".lock", f"{TEMPORARY}report"
"""Held by who writes; and where a report is made before any file takes its place."""
PAGE = "index.html"
TABLES, FIGURES = "tables", "figures"
OWN = re.compile(
    rf"tables\.md|papers\.md|{PAGE}|({TABLES}|{FIGURES})/[A-Za-z0-9_=-][A-Za-z0-9_.=-]*\.(csv|tex|svg|png|json)"
)
"""Names of files that a report writes; whatever a list says, no other is removed."""


@dataclass(frozen=True)
class Written:
    """What lies in the folder now."""

    folder: Path
    files: Sequence[str]
    """Paths below the folder, sorted."""
    notes: Sequence[str]
    """Figures that could not be drawn, episodes that could not be shown, and why."""


def write(
    found: Contents,
    folders: Sequence[Path],
    folder: Path,
    baseline: str | None = None,
    cuts: Sequence[int] | None = None,
    most: int | None = None,
) -> Written:
    """Write the report of `folders` into `folder`; what an older report left there and this one has not is removed.

    `baseline` and `cuts` are those of `found`; `most`: episodes of each run in the page, at most. Whenever it is ended,
    the same call completes it. UserError where the folder cannot be written, or holds what no report has written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder) as old:
            build = folder / BUILD
            try:
                notes = _make(found, folders, build, baseline, cuts, most)
                files = sorted(str(PurePosixPath(file.relative_to(build))) for file in build.rglob("*.*"))
                _settle(folder, build, files, old)
            finally:
                shutil.rmtree(build, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; choose another folder with --out") from None
    return Written(folder, files, notes)


@contextmanager
def _held(folder: Path) -> Iterator[set[str]]:
    """While nobody else writes there: what older reports have listed. What a killed one was making is removed.

    UserError for a folder that is no report's, or holds a link where a report writes.
    """
    for name in (TABLES, FIGURES, MANIFEST, LOCK, BUILD):
        if (folder / name).is_symlink():
            raise UserError(f"{folder / name} is a link, and a report follows none: remove it, or choose another --out")
    _listed(folder)  # before the lock is made: nothing is written into somebody else's folder
    lock = Lock(folder / LOCK)
    if not lock.acquire(wait=False):
        raise UserError(f"{folder} is being written by {lock.holder()}: wait for it")
    try:
        if (folder / BUILD).exists():
            shutil.rmtree(folder / BUILD)
        for stale in folder.glob(f"{TEMPORARY}{MANIFEST}-*"):
            stale.unlink()
        yield _listed(folder)
    finally:
        os.truncate(lock.path, 0)  # the holder's number: the same runs give the same bytes, lock included
        lock.release()


def _make(
    found: Contents,
    folders: Sequence[Path],
    build: Path,
    baseline: str | None,
    cuts: Sequence[int] | None,
    most: int | None,
) -> list[str]:
    """Every file, in a new folder `build`; why there are not more of them."""
    from spa_bench.figures import files as figures
    from spa_bench.report import html, page

    for below in (build, build / TABLES, build / FIGURES):
        below.mkdir()
    for name, text in _texts(found).items():
        (build / name).write_text(text, encoding="utf-8", newline="\n")
    maps, reasons = _credit_maps(found)
    groups = dict(zip(section_names(found.tables), found.groups, strict=True))
    own = [audit for _, audit in found.audits]
    audits = dict(zip(audit_names(own), own, strict=True))
    drawn = figures.figures(groups, audits, maps, build / FIGURES, cuts, baseline)
    shown = page.gather(folders, most, known=found)
    (build / PAGE).write_text(html.page(shown), encoding="utf-8", newline="\n")
    said = {one.name for one in found.problems}
    runs = [run for run in shown["report"]["runs"] if run["state"] == "unreadable" and run["name"] not in said]
    return [*drawn.reasons, *reasons, *(f"{run['name']}: {run['reason']}" for run in runs)]


def _settle(folder: Path, build: Path, files: Sequence[str], old: set[str]) -> None:
    """Give all files their places. Whatever is there at any moment stands in the list: it comes first, and last."""
    sync(build)
    _list(folder, sorted(old.union(files)))
    for below in (TABLES, FIGURES):
        (folder / below).mkdir(exist_ok=True)
    for name in files:
        os.replace(build / name, folder / name)
    for stale in sorted(old.difference(files)):
        (folder / stale).unlink(missing_ok=True)
    for place in (folder / TABLES, folder / FIGURES, folder):
        sync_names(place)
    _list(folder, files)


def _list(folder: Path, files: Sequence[str]) -> None:
    write_whole(folder / MANIFEST, json.dumps({"files": list(files)}, indent=1) + "\n")


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
    """What older reports wrote here. UserError for a folder with other files and without a list of ours."""
    if all(name in (LOCK, BUILD) or name.startswith(f"{TEMPORARY}{MANIFEST}-") for name in os.listdir(folder)):
        return set()
    try:
        names = read_json(folder / MANIFEST)["files"]
        return {name for name in names if OWN.fullmatch(name)}
    except (FileNotFoundError, UserError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} holds files that no report has written: choose another folder with --out") from None
