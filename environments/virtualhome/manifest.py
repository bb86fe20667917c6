"""Writes the frozen manifest of the official tasks: `python -m spa_bench.environments.virtualhome.manifest --help`.

Separate from the loader because it is run once by a maintainer who has the wheel at hand; the same wheel gives the same
bytes. It also decides the splits, which upstream does not have:

- `valid_unseen`: all programs of the titles in `UNSEEN`, whole families of them, so that no title of the same
  household task under another name is in `train` (`Brush teeth` goes with `Wash teeth`);
- `valid_seen`: of the other titles one program in `SEEN_SHARE`, by hash of its text: the title, and the steps
  without ids. Programs of the same text fall on the same side, whatever home they were recorded in;
- `train`: the rest.
"""

from __future__ import annotations

import argparse
import gzip
import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spa_bench.core import Task, derive_seed
from spa_bench.environments import data
from spa_bench.environments.virtualhome import upstream
from spa_bench.environments.virtualhome.apartments import Apartment, Record, files
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.episode import expert_steps
from spa_bench.environments.virtualhome.goals import from_difference, from_eai, satisfied
from spa_bench.environments.virtualhome.tasks import (
    LAYOUT,
    Entry,
    scenario,
    write_manifest,
)

UNSEEN = frozenset(
    {
        *("Brush teeth", "Wash teeth", "Take shower", "Go to sleep"),
        *("Pick up phone", "Listen to music", "Make coffee", "Get some water", "Set up table"),
    }
)
"""Titles of `valid_unseen`."""
SEEN_SHARE = 6


def main() -> None:
    """Read the wheel and write one manifest."""
    parser = argparse.ArgumentParser(prog="manifest", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the manifest.csv.gz to write")
    parser.add_argument("wheel", type=Path, help="virtualhome_eval-0.1.1-py3-none-any.whl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        unpacked, root = Path(scratch, "wheel"), Path(scratch, "root")
        data.unpack(arguments.wheel, unpacked, place=upstream.place)
        (root / LAYOUT).mkdir(parents=True)
        upstream.install(upstream.read(unpacked), root / LAYOUT)
        arguments.out.write_bytes(pack(write_manifest(build(root))))


def build(root: Path) -> Iterator[Entry]:
    """Entries of all tasks in a root, with the expert's steps to each of their goals."""
    for name, path in files(root / LAYOUT):
        apartment = Apartment(path, strict=False, known=None, fix="unpack the wheel again")
        for task in apartment.names:
            yield _entry(f"{name}/{task}", apartment, apartment.record(task))


def pack(text: str) -> bytes:
    """Gzip without name and time, so that equal text gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as file:
        file.write(text.encode("utf-8"))
    return buffer.getvalue()


def split_of(program: str) -> str:
    """The split of a program, by its title and text."""
    title = program.partition("\n")[0].strip()
    if title in UNSEEN:
        return "valid_unseen"
    text = re.sub(r"\([\d.]+\)", "", program)
    steps = [line.strip() for line in text.splitlines() if line.startswith("[")]
    return "train" if derive_seed("virtualhome seen", title, *steps) % SEEN_SHARE else "valid_seen"


def kind_of(program: str) -> str:
    """The stratum of a program: its title as one word."""
    return re.sub(r"[^a-z0-9]+", "_", program.partition("\n")[0].lower()).strip("_")


def _entry(key: str, apartment: Apartment, record: Record) -> Entry:
    kind, split = kind_of(record.program), split_of(record.program)
    task = Task("virtualhome", key, split, kind, 0)
    goals = [
        None if record.goal is None else from_eai(record.goal, record.initial, key),
        from_difference(record.initial, apartment.final(record), key),
    ]
    world = World(record.initial)
    eai, difference = (
        None if goal is None or satisfied(goal, world) else expert_steps(scenario(task, record, goal, key))
        for goal in goals
    )
    return Entry(split, key, kind, eai, difference, record.sha256)


if __name__ == "__main__":
    main()
