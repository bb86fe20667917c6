"""The folder that `spa-bench report` writes: every table as Markdown, CSV and LaTeX, every figure, and the page."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spa_bench.core import UserError
from spa_bench.files import TEMPORARY, sync, sync_names, write_whole
from spa_bench.locks import Lock
from spa_bench.report import pictures, texts
from spa_bench.report.contents import Contents
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
    from spa_bench.report import html, page

    for below in (build, build / TABLES, build / FIGURES):
        below.mkdir()
    for name, text in texts.files(found).items():
        (build / name).write_text(text, encoding="utf-8", newline="\n")
    reasons = pictures.draw(found, build / FIGURES, baseline, cuts)
    shown = page.gather(folders, most, known=found, figures=pictures.read(build / FIGURES, found))
    (build / PAGE).write_text(html.page(shown), encoding="utf-8", newline="\n")
    said = {one.name for one in found.problems}
    runs = [run for run in shown["report"]["runs"] if run["state"] == "unreadable" and run["name"] not in said]
    return [*reasons, *(f"{run['name']}: {run['reason']}" for run in runs)]


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


def _listed(folder: Path) -> set[str]:
    """What older reports wrote here. UserError for a folder with other files and without a list of ours."""
    if all(name in (LOCK, BUILD) or name.startswith(f"{TEMPORARY}{MANIFEST}-") for name in os.listdir(folder)):
        return set()
    try:
        names = read_json(folder / MANIFEST)["files"]
        return {name for name in names if OWN.fullmatch(name)}
    except (FileNotFoundError, UserError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} holds files that no report has written: choose another folder with --out") from None
