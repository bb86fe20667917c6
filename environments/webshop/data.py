"""The official products of WebShop: which files they are in, and the catalogue that is made from them.

Upstream offers its files on Google Drive alone, where the daily quota is often used up: nothing is downloaded here. The
files may come from anywhere, because every one is checked by its hash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spa_bench.core import UserError
from spa_bench.environments.webshop import build as builder
from spa_bench.environments.webshop import verify as proof
from spa_bench.environments.webshop.catalogue import AGAIN, BUILD, GET, INDEX, Catalogue, Summary
from spa_bench.environments.webshop.sources import MANIFEST, fingerprint

__all__ = ["GET", "MANIFEST", "SETS", "Built", "Finding", "build", "get", "verify"]

SETS: Mapping[str, Mapping[str, str]] = {
    "all 1,181,430 products": {
        "items": "items_shuffle.json",
        "attributes": "items_ins_v2.json",
        "human": "items_human_ins.json",
    },
    "1,000 products": {
        "items": "items_shuffle_1000.json",
        "attributes": "items_ins_v2_1000.json",
        "human": "items_human_ins.json",
    },
}
"""Name of a set -> role of a file -> its name. The file of human instructions serves both."""

UPSTREAM = "https://github.com/princeton-nlp/WebShop (setup.sh)"
DRIVE = "https://drive.google.com/uc?id="


@dataclass(frozen=True)
class Finding:
    """What is in a catalogue."""

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    problem: str | None


@dataclass(frozen=True)
class Built:
    """What a build made."""

    folder: str
    figures: Mapping[str, int | float | str]


def get(target: Path, sources: Sequence[Path] = (), note: Callable[[str], None] = print) -> Finding:
    """Make `target` from official files at hand: files, or folders that hold them under their official names.

    A `target` that is there is verified. Raises UserError, without sources after notes of all that is needed to fetch
    them, and where a file is missing or not the official one; then nothing is left behind.
    """
    if not sources:
        if target.is_dir() and any(target.iterdir()):
            return _complete(target)
        for name, known in MANIFEST.items():
            note(f"{name}: {DRIVE}{known.drive}, {known.size} bytes, sha256 {known.sha256}")
        raise UserError(_instructions())
    files = _official_files(sources)
    for path in files.values():
        note(f"checking {path}")
        _check(path)
    built = builder.build(
        files["items"], files["attributes"], target, human=files["human"], note=note, advance=_spoken(note)
    )
    return _proved(target, built, None)


def build(
    target: Path,
    files: Mapping[str, Path],
    *,
    tagger: str = "auto",
    note: Callable[[str], None] = print,
    advance: builder.Advance = lambda done, read, total: None,
) -> Built:
    """Make `target` from any files of upstream's format: `items`, `attributes` and perhaps `human`.

    Raises UserError as `build.build` does.
    """
    started = time.monotonic()
    made = builder.build(
        files["items"],
        files["attributes"],
        target,
        human=files.get("human"),
        tagger=tagger,
        note=note,
        advance=advance,
    )
    summary = made.summary
    return Built(
        str(target),
        {
            "products": len(made),
            "skipped": sum(summary.skipped.values()),
            "human instructions": summary.human,
            "synthetic instructions": summary.synthetic,
            "index MB": round(_index_size(summary) / 1e6, 1),
            "nouns": made.tagger,
            "seconds": round(time.monotonic() - started, 1),
        },
    )


def verify(folder: Path) -> Finding:
    """Check every file of a catalogue by its hash, count what it holds and what the splits of its goals share.

    Raises UserError where there is no catalogue.
    """
    summary = Summary.read(folder)
    bad = {name: state for name in summary.files if (state := _state(folder / name, *summary.files[name]))}
    if bad:
        problem = f"{len(bad)} of {len(summary.files)} files missing or changed, such as {min(bad)}: {AGAIN}"
        return _finding(folder, summary, list(bad.values()), problem)
    made = Catalogue.open(folder)
    human = sum(bool(wish.attributes) for product in made.instructed("human") for wish in product.human)
    found = human, sum(1 for _ in made.instructed("synthetic")), sum(1 for _ in made.ranged())
    same = found == (summary.human, summary.synthetic, summary.ranged)
    return _proved(folder, made, None if same else f"it holds other products than it says: {AGAIN}")


def _proved(folder: Path, made: Catalogue, problem: str | None) -> Finding:
    shared = proof.overlaps(made)
    found = _finding(folder, made.summary, [], problem or proof.problem(shared))
    return replace(found, counts=dict(found.counts) | shared)


def _complete(target: Path) -> Finding:
    finding = verify(target)
    if finding.problem is not None:
        raise UserError(f"{target} is there but {finding.problem}")
    return finding


def _instructions() -> str:
    sets = ", or ".join(f"{', '.join(roles.values())} for {name}" for name, roles in SETS.items())
    return (
        f"no program can fetch the files of WebShop: download {sets}, from {UPSTREAM} or any copy, into one folder and "
        f"run `{GET}`; of files that are not the official ones: `{BUILD}`"
    )


def _official_files(sources: Sequence[Path]) -> dict[str, Path]:
    """Role -> file, of the one set that is complete in the sources."""
    found: dict[str, Path] = {}
    for source in sources:
        if not source.exists():
            raise UserError(f"there is no {source}: name a folder or a file with --from")
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            name = path.name.removesuffix(".gz")
            if name in MANIFEST and path.is_file():
                found.setdefault(name, path)
    complete = {name: roles for name, roles in SETS.items() if set(roles.values()) <= found.keys()}
    if len(complete) == 1:
        (roles,) = complete.values()
        return {role: found[name] for role, name in roles.items()}
    where = ", ".join(map(str, sources))
    if complete:
        raise UserError(f"{where} holds two sets ({' and '.join(complete)}): name the three files with --from each")
    lacks = " or ".join(", ".join(sorted(set(roles.values()) - found.keys())) for roles in SETS.values())
    raise UserError(f"{where} lacks {lacks}: run `spa-bench data get webshop` to see where each comes from")


def _check(path: Path) -> None:
    got = fingerprint(path)
    known = MANIFEST[got.name]
    if not got.official:
        raise UserError(
            f"{path} has {got.size} bytes and sha256 {got.sha256}, the official file {known.size} and {known.sha256}: "
            f"fetch it again, or take it as it is with `{BUILD}`"
        )


def _spoken(note: Callable[[str], None]) -> builder.Advance:
    """A note at every tenth of the items file: `get` has no bar of its own."""
    said = 0

    def advance(done: int, read: int, total: int) -> None:
        nonlocal said
        tenth = 10 * read // max(total, 1)
        if tenth > said:
            said = tenth
            note(f"{done} products, {10 * tenth} %")

    return advance


def _state(path: Path, size: int, sha256: str) -> str:
    if not path.is_file():
        return "missing"
    return "" if builder.hashed(path) == (size, sha256) else "changed"


def _index_size(summary: Summary) -> int:
    return sum(size for name, (size, _) in summary.files.items() if name.startswith(f"{INDEX}/"))


def _finding(folder: Path, summary: Summary, bad: Sequence[str], problem: str | None) -> Finding:
    official = sum(source.official for source in summary.sources.values())
    counts = {
        "products": {"in the shop": summary.products, "with two prices": summary.ranged},
        "skipped": summary.skipped,
        "instructions": {"human": summary.human, "synthetic": summary.synthetic},
        "sources": {"expected": len(summary.sources), "official": official},
        "files": {
            "expected": len(summary.files),
            "missing": bad.count("missing"),
            "changed": bad.count("changed"),
        },
    }
    return Finding(str(folder), counts, problem)
