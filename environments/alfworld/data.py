"""The official games of ALFWorld: where they come from, and the proof that they are the ones of the manifest.

One archive is enough: release 0.2.2 holds all games in the older wording, and the engine can speak the newer one. The
game files are checked one by one, so the archive may come from anywhere; nothing unlisted is kept.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spa_bench.core import UserError
from spa_bench.environments import data, download
from spa_bench.environments.alfworld.tasks import GAME_FILE, LAYOUT, SPLITS, Games, official
from spa_bench.environments.alfworld.verify import Verification
from spa_bench.environments.alfworld.verify import verify as verify_games
from spa_bench.files import cache_root, folder_whole, sole_maker

OFFICIAL = "https://github.com/alfworld/alfworld/releases/download"
ARCHIVE = "0.2.2/json_2.1.1_tw-pddl.zip"
"""Game files alone: 45 MB; `json_2.1.1_json.zip` (trajectories) and `_pddl.zip` (problems) beside it are not needed.

Upstream replaced this file once (2024-02-29), so that the archive has no hash here: its games have.
"""

MOST = 400 << 20
"""Bytes of the archive: far more than it has."""

AGAIN = "spa-bench data get alfworld"

_GAME = re.compile(rf"(?:.*/)?((?:{'|'.join(SPLITS)})/[^/]+/[^/]+/{re.escape(GAME_FILE)})")


@dataclass(frozen=True)
class Finding:
    """What is in a folder of games."""

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    problem: str | None


def get(
    target: Path, sources: Sequence[Path] = (), note: Callable[[str], None] = print, *, base_url: str = OFFICIAL
) -> Finding:
    """Make `target` from the official archive, or from folders and archives at hand.

    A complete `target` is left alone. Raises UserError where anything is missing, changed or added, and then leaves
    nothing behind.
    """
    target = target.absolute()
    with sole_maker(target):
        if target.exists() and any(target.iterdir()):
            return _complete(target)
        with folder_whole(target, durable=False) as build:
            for number, source in enumerate(sources or [_download(base_url, note)]):
                note(f"reading {source}")
                _take(source, build / LAYOUT, build / f"source-{number}")
            note("checking every game")
            games = official(build)
            finding = _finding(target, verify_games(games))
            if finding.problem is not None:
                raise UserError(f"{', '.join(map(str, sources)) or base_url}: {finding.problem}")
            _remove_unlisted(games, build / LAYOUT)
        if not sources:
            _archive().unlink(missing_ok=True)
        return finding


def verify(folder: Path) -> Finding:
    """Read and check every game of a folder; UserError where there is none."""
    return _finding(folder, verify_games(official(folder)))


def _complete(target: Path) -> Finding:
    try:
        finding = verify(target)
    except UserError:
        raise UserError(f"{target} holds something else: name another folder with --data") from None
    if finding.problem is not None:
        raise UserError(f"{target} is there but {finding.problem}; move it away and run `{AGAIN}` again")
    return finding


def _download(base_url: str, note: Callable[[str], None]) -> Path:
    url = f"{base_url.rstrip('/')}/{ARCHIVE}"
    note(f"fetching {url}")
    download.fetch(url, None, _archive(), most=MOST, again=AGAIN)
    return _archive()


def _archive() -> Path:
    return cache_root() / "downloads" / PurePosixPath(ARCHIVE).name


def _take(source: Path, games: Path, scratch: Path) -> None:
    """Move or copy the game files of a source into `games`; a game that is there already must be the same."""
    if source.is_dir():
        found, move = source, False
    elif source.is_file():
        data.unpack(source, scratch, place=_place)
        found, move = scratch, True
    else:
        raise UserError(f"{source} is no folder and no archive: name one with --from")
    count = 0
    for relative, file in _game_files(found):
        count += 1
        path = games / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.read_bytes() != file.read_bytes():
                raise UserError(f"{source} holds another version of {relative} than the source before it: use one")
        elif move:
            os.replace(file, path)
        else:
            shutil.copyfile(file, path)
    shutil.rmtree(scratch, ignore_errors=True)
    if count == 0:
        raise UserError(f"{source} holds no games: it has no {SPLITS[0]}/<task>/<trial>/{GAME_FILE}")


def _place(path: PurePosixPath) -> PurePosixPath | None:
    match = _GAME.fullmatch(str(path))
    return PurePosixPath(match[1]) if match else None


def _game_files(folder: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    for file in sorted(folder.rglob(GAME_FILE)):
        place = _place(PurePosixPath(file.relative_to(folder).as_posix()))
        if place is not None:
            yield place, file


def _remove_unlisted(games: Games, folder: Path) -> None:
    listed = {str(PurePosixPath(entry.task.split, entry.task.key, GAME_FILE)) for entry in games.entries}
    for relative, file in list(_game_files(folder)):
        if str(relative) not in listed:
            shutil.rmtree(file.parent)
            if not any(file.parent.parent.iterdir()):
                file.parent.parent.rmdir()


def _finding(folder: Path, found: Verification) -> Finding:
    counts = {
        report.split: {
            "expected": report.expected,
            "present": report.present,
            "missing": len(report.missing),
            "wrong": len(report.wrong),
            "extra": len(report.extra),
            "ignored": report.ignored,
        }
        for report in found.splits
    }
    shared = {f"in both {a} and {b}": len(keys) for (a, b), keys in found.shared_problems.items()}
    return Finding(str(folder), counts | {"overlap": shared}, _problem(found))


def _problem(found: Verification) -> str | None:
    if found.ok:
        return None
    parts = []
    for report in found.splits:
        for word, keys in (("missing", report.missing), ("changed", report.wrong), ("not listed", report.extra)):
            if keys:
                parts.append(f"{len(keys)} of {report.expected} {report.split} games {word}, such as {keys[0]}")
    for (first, second), keys in found.shared_problems.items():
        if keys:
            parts.append(f"{len(keys)} games in both {first} and {second}")
    return f"{'; '.join(parts)}: fetch them again with `{AGAIN}`"
