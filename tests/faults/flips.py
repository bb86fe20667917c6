"""One file damaged in one place by chance, and the command again: noticed, refused, or wrong in silence."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import outcome as left
from forked import Ended
from kills import Case, Life

KINDS = ("bit", "bit", "bit", "cut", "empty", "double", "NUL")
"""Kinds of damage; a flipped bit is the likeliest, and the hardest to notice."""
FAULTS = ("SILENT", "CHANGED", "TRACEBACK", "HUNG")
"""Verdicts that must not be."""


def damage(file: Path, rng: random.Random) -> str:
    """Change a file; says how."""
    content = bytearray(file.read_bytes())
    place, kind = rng.randrange(max(len(content), 1)), rng.choice(KINDS)
    if kind == "bit" and content:
        bit = rng.randrange(8)
        content[place] ^= 1 << bit
        kind = f"bit {bit} of byte {place}"
    elif kind == "cut":
        del content[place:]
        kind = f"cut to {place} bytes"
    elif kind == "NUL":
        end = min(len(content), place + rng.choice((16, 512, 1 << 30)))
        content[place:end] = bytes(end - place)
        kind = f"NUL in bytes {place} to {end}"
    else:
        content *= 0 if kind == "empty" else 2
    file.write_bytes(content)
    return kind


@dataclass(frozen=True)
class Flip:
    """What became of one damaged file."""

    target: str
    file: str
    how: str
    verdict: str
    said: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.target}, {self.file}, {self.how}: {self.said or 'nothing said'}"


@dataclass(frozen=True)
class Target:
    """A state of results and cache, made once, and which of its files are damaged."""

    name: str
    state: Life
    files: str
    """Pattern below the state's folder."""
    record: bool = False
    """What was played is in these files and nowhere else: a table may lack it, where it says so."""

    def choose(self, rng: random.Random) -> str:
        """One of the files."""
        found = sorted(file for file in self.state.place.glob(self.files) if file.is_file() and file.name != "lock")
        return str(rng.choice(found).relative_to(self.state.place))


def flip(target: Target, wanted: left.Outcome, place: Path, rng: random.Random) -> Flip:
    """Damage one file of a copy of the target, and run the command there."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(target.state.place, place)
    chosen = target.choose(rng)
    how = damage(place / chosen, rng)
    life = Life(target.state.case, place)
    ended = life.start().wait()
    found = verdict(life, ended, wanted, Path(chosen).name)
    if found == "told" and not target.record:
        found = "CHANGED"
    said = ended.said() if found != "told" else [*ended.said(), *new_notes(life, wanted)]
    return Flip(target.name, chosen, how, found, " / ".join(said)[:300])


def verdict(life: Life, ended: Ended, wanted: left.Outcome, damaged: str) -> str:
    """`remade`: the same results, and the damage was told; `harmless`: the same, and nothing to tell; `told`: other
    results that say what is wrong with them; `refused`: one line and exit code 2; or one of FAULTS.
    """
    if ended.code is None:
        return "HUNG"
    if ended.refused():
        return "refused"
    if ended.code or "Traceback" in ended.err:
        return "TRACEBACK"
    said = ended.said()
    if same(life, wanted, damaged):
        return "remade" if said else "harmless"
    return "told" if said or new_notes(life, wanted) else "SILENT"


def same(life: Life, wanted: left.Outcome, damaged: str) -> bool:
    """Tables and records are the wanted ones; of a record that was damaged itself only what tables say of it."""
    names = [name for name in left.RECORDS if damaged != f"{name}.jsonl"]
    try:
        found = [left.records(life.results, name) == getattr(wanted, name) for name in names]
    except AssertionError:  # an episode that counts twice, or a line that cannot be read
        return False
    return all(found) and left.table(life.results) == wanted.table


def new_notes(life: Life, wanted: left.Outcome) -> list[str]:
    """What tables say of damage."""
    found, known = (
        [note for table in json.loads(tables) for note in table["notes"]]
        for tables in (left.table(life.results), wanted.table)
    )
    return [note for note in found if note not in known]


def targets(case: Case, calm: Life, half: Life) -> list[Target]:
    """`calm` is done; `half` was killed in its second iteration; a start cache alone is made of the calm one's."""
    start = case.life("start")
    shutil.copytree(calm.place / "cache", start.place / "cache")
    return [
        Target("start cache", start, "cache/warm-start/*/*"),
        Target("start cache", start, "cache/explore/*/*"),
        Target("checkpoint", half, "results/runs/*/*/*/checkpoints/0001/**/*"),
        Target("run folder under way", half, "results/runs/*/*/*/*", record=True),
        Target("finished run folder", calm, "results/runs/*/*/*/*", record=True),
    ]
