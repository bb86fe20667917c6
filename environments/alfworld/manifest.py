"""Writes the frozen manifest of the official games: `python -m spa_bench.environments.alfworld.manifest --help`.

Separate from the loader because it is run once by a maintainer who has all releases at hand; the same files give the
same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
from pathlib import Path

from spa_bench.core import Task, UserError
from spa_bench.environments.alfworld.expert import solve
from spa_bench.environments.alfworld.game import Game
from spa_bench.environments.alfworld.pddl import GameError
from spa_bench.environments.alfworld.tasks import KINDS, LAYOUT, SPLITS, Entry, game_files, write_manifest


def main() -> None:
    """Read the releases' folders and write one manifest."""
    parser = argparse.ArgumentParser(prog="manifest", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the manifest.csv.gz to write")
    parser.add_argument("roots", type=Path, nargs="+", help=f"folders that hold {LAYOUT}; older release first")
    arguments = parser.parse_args()
    arguments.out.write_bytes(pack(write_manifest(build(arguments.roots))))


def build(roots: list[Path]) -> list[Entry]:
    """Entries of all playable games; a game that is in several releases gets one hash of each."""
    entries: dict[tuple[str, str], Entry] = {}
    for root in roots:
        for split in SPLITS:
            for key, path in game_files(root / LAYOUT, split):
                entry = _entry(split, key, path)
                if entry is not None:
                    known = entries.get((split, key))
                    entries[split, key] = entry if known is None else _merge(known, entry)
    return list(entries.values())


def pack(text: str) -> bytes:
    """Gzip without name and time, so that equal text gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as file:
        file.write(text.encode("utf-8"))
    return buffer.getvalue()


def _entry(split: str, key: str, path: Path) -> Entry | None:
    data = path.read_bytes()
    try:
        game = Game.decode(data, str(path))
    except GameError:
        return None  # not played by upstream
    kind = KINDS[game.goal.kind]
    if not key.startswith(f"{kind}-"):
        raise UserError(f"{path}: its goal is a {kind}, its folder says otherwise; check the release")
    return Entry(Task("alfworld", key, split, kind, len(solve(game))), (hashlib.sha256(data).hexdigest(),))


def _merge(older: Entry, newer: Entry) -> Entry:
    if older.task != newer.task:
        raise UserError(f"{newer.task.key} takes the expert another number of steps in another release")
    return Entry(older.task, tuple(dict.fromkeys((*older.sha256, *newer.sha256))))


if __name__ == "__main__":
    main()
