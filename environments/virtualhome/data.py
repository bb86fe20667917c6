"""The official tasks of VirtualHome: where they come from, and the proof that they are the ones of the manifest.

518 programs with the graphs before and after, and the goals of the Embodied Agent Interface for 342 of them, are in the
wheel `virtualhome_eval` 0.1.1 on PyPI (MIT). The tasks are checked one by one, so the wheel, or a folder where it is
unpacked, may come from anywhere; what is kept of 380 MB of graphs is a few megabytes of differences.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spa_bench.core import UserError
from spa_bench.environments import data, download
from spa_bench.environments.virtualhome import upstream
from spa_bench.environments.virtualhome.tasks import LAYOUT, official
from spa_bench.environments.virtualhome.verify import Verification
from spa_bench.environments.virtualhome.verify import verify as verify_homes
from spa_bench.files import cache_root, folder_whole, sole_maker

WHEEL = (
    "https://files.pythonhosted.org/packages/b9/6f/63a7e29f0c00f10c2a8fd80d7697f77bf40c9a4ec0c813cdbf198f70551e/"
    "virtualhome_eval-0.1.1-py3-none-any.whl"
)
SHA256 = "a4e244f423edfc0da2ec7b7daf48f2fca8af00afe6f2af07b8f1e53d8c79de37"
SIZE = 27_159_713

AGAIN = "spa-bench data get virtualhome"


@dataclass(frozen=True)
class Finding:
    """What is in a folder of tasks."""

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    problem: str | None


def get(
    target: Path, sources: Sequence[Path] = (), note: Callable[[str], None] = print, *, url: str = WHEEL
) -> Finding:
    """Make `target` from the wheel, or from one source at hand: the wheel, or a folder that holds it or is made of it.

    A complete `target` is left alone. Raises UserError where anything is missing, changed or added, and then leaves
    nothing behind. Takes a minute.
    """
    if len(sources) > 1:
        raise UserError("the tasks of virtualhome are all in one wheel: name it, or its folder, with one --from")
    target = target.absolute()
    with sole_maker(target):
        if target.exists() and any(target.iterdir()):
            return _complete(target)
        with folder_whole(target, durable=False) as build:
            source = sources[0] if sources else _download(url, note)
            with _unpacked(source, build / "unpacked") as (named, unpacked):
                note(f"reading {named}")
                (build / LAYOUT).mkdir()
                try:
                    upstream.install(upstream.read(unpacked), build / LAYOUT)
                except UserError as error:  # of what is unpacked nobody knows the path, and it is gone by now
                    raise UserError(str(error).replace(str(unpacked), str(named))) from None
            note("checking every task")
            finding = _finding(target, verify_homes(official(build)))
            if finding.problem is not None:
                raise UserError(f"{source}: {finding.problem}")
        if not sources:
            _archive(url).unlink(missing_ok=True)
        return finding


def verify(folder: Path) -> Finding:
    """Read and check every task of a folder; UserError where there is none."""
    return _finding(folder, verify_homes(official(folder)))


def _complete(target: Path) -> Finding:
    try:
        finding = verify(target)
    except UserError:
        raise UserError(f"{target} holds something else: name another folder with --data") from None
    if finding.problem is not None:
        raise UserError(f"{target} is there but {finding.problem}; move it away and run `{AGAIN}` again")
    return finding


def _download(url: str, note: Callable[[str], None]) -> Path:
    note(f"fetching {url}")
    download.fetch(url, SHA256, _archive(url), size=SIZE, again=AGAIN)
    return _archive(url)


def _archive(url: str) -> Path:
    return cache_root() / "downloads" / PurePosixPath(url).name


@contextmanager
def _unpacked(source: Path, scratch: Path) -> Iterator[tuple[Path, Path]]:
    """The wheel or folder of a source, and a folder with its files; what had to be unpacked is removed again."""
    wheels = sorted(source.glob(f"*{PurePosixPath(WHEEL).name}")) if source.is_dir() else [source]
    if not source.exists():
        raise UserError(f"{source} is no folder and no wheel: name one with --from")
    if not wheels:
        yield source, source
        return
    try:
        data.unpack(wheels[0], scratch, place=upstream.place)
        yield wheels[0], scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _finding(folder: Path, found: Verification) -> Finding:
    counts: dict[str, Mapping[str, int]] = {
        report.split: {
            "expected": report.expected,
            "present": report.present,
            "missing": len(report.missing),
            "wrong": len(report.wrong),
            "with a goal of EAI": report.eai,
            "with a graph difference": report.difference,
        }
        for report in found.splits
    }
    for what, shared in (
        ("homes", found.shared_homes),
        ("tasks", found.shared_tasks),
        ("words", found.shared_programs),
    ):
        counts[f"the same {what}"] = {f"in both {a} and {b}": len(keys) for (a, b), keys in shared.items()}
    return Finding(str(folder), counts | {"not listed": {"tasks and files": len(found.extra)}}, _problem(found))


def _problem(found: Verification) -> str | None:
    parts = []
    for report in found.splits:
        for word, keys in (("missing", report.missing), ("changed", report.wrong)):
            if keys:
                parts.append(f"{len(keys)} of {report.expected} {report.split} tasks {word}, such as {keys[0]}")
    if found.extra:
        parts.append(f"{len(found.extra)} tasks or files not listed, such as {found.extra[0]}")
    for shared in (found.shared_homes, found.shared_tasks, found.shared_programs):
        parts += [f"{len(keys)} tasks shared by {a} and {b}" for (a, b), keys in shared.items() if keys]
    return f"{'; '.join(parts)}: fetch them again with `{AGAIN}`" if parts else None
