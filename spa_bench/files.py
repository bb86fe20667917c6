"""Where files go, and how they get there whole.

A file or folder appears under its final name only when it is complete and on the disk. Until then its name has that of
the machine in it: a folder may be one that several machines share.
Below `runs`, because worlds keep downloads and generated tasks by the same rules.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from spa_bench import machine, manifest
from spa_bench.core import UserError
from spa_bench.locks import Lock, machine_name
from spa_bench.terminal import printable_line

TEMPORARY = ".tmp-"
"""Names that start so are unfinished or on their way out: never read, and removed by the next owner of the lock."""

ABANDONED = 86400.0
"""Seconds after which an unfinished folder of another machine is taken for one that nobody will finish."""


def cache_root() -> Path:
    """The folder of everything that can be made again: SPA_BENCH_CACHE, or spa-bench in XDG_CACHE_HOME or ~/.cache.

    Created when absent; raises UserError where it cannot be written.
    """
    chosen, shared = os.environ.get("SPA_BENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(chosen) if chosen else (Path(shared) if shared else Path.home() / ".cache") / "spa-bench"
        root = root.expanduser().absolute()
        root.mkdir(parents=True, exist_ok=True)
        usable = os.access(root, os.W_OK | os.X_OK)
    except (OSError, RuntimeError) as error:
        raise UserError(f"no cache folder ({error}): set SPA_BENCH_CACHE to a folder that can be written") from None
    if not usable:
        raise UserError(f"cache folder {root} cannot be written: set SPA_BENCH_CACHE to another folder")
    return root


def data_folder(env: str) -> Path:
    """Where `spa-bench data get ENV` puts official data, and where it is looked for when nothing else is said."""
    return cache_root() / "data" / simple_name(env, "environment")


def simple_name(name: str, what: str) -> str:
    """`name` itself, when it is safe as the name of one file on every system; UserError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,199}", name) or name.endswith("."):
        raise UserError(f"{what} {name!r} cannot name a folder: use letters, digits, '-' and '_'")
    return name


def sync(path: Path) -> None:
    """Force a file, or a folder with everything below it, onto the disk."""
    if path.is_dir():
        for child in path.iterdir():
            sync(child)
        sync_names(path)
    else:
        with path.open("rb" if os.name == "posix" else "r+b") as file:
            os.fsync(file.fileno())


def sync_names(folder: Path) -> None:
    """Force the names in a folder (what was created, renamed, removed) onto the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class writing:
    """A context in which what a disk refuses is raised as an OSError that names `path`.

    Errors of a write name no file, and those of libraries are no OSErrors. A file that is named already stays, but for
    one in `build`, where `path` is made and which nobody knows.
    """

    def __init__(self, path: Path, build: Path | None = None) -> None:
        self.path, self.build = path, build

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        number = None if error is None else machine.refusal(error)
        if number is None:
            return
        file = getattr(error, "filename", None)
        if file is None or (self.build is not None and Path(str(file)).is_relative_to(self.build)):
            raise OSError(number, os.strerror(number), str(self.path)) from error


def temporary_name(path: Path) -> Path:
    """Where this process writes what will be `path`."""
    return path.with_name(f"{TEMPORARY}{path.name}-{machine_name()}-{os.getpid()}")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a name to write a file under; on clean exit it takes the place of `path`, else it is removed."""
    temporary = temporary_name(path)
    with writing(path, temporary):
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_names(path.parent)


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old content or the new one, never a part."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def folder_whole(final: Path, *, durable: bool = True, in_place: bool = False) -> Iterator[Path]:
    """Yields an empty folder beside `final`; on clean exit it is synced and takes that name, else it is removed.

    A folder that already has the name is replaced. The caller holds a lock that covers `final`. Without `durable` the
    files are not synced one by one: for thousands of small files whose content is checked whenever they are read.
    With `in_place` a folder that has the name keeps it, and is given the files one by one.
    """
    build = final.with_name(f"{TEMPORARY}{final.name}-{machine_name()}")
    with writing(final, build):
        _remove_builds(final, build)
        build.mkdir(parents=True)
        try:
            yield build
            if durable:
                sync(build)
            _settle(build, final, in_place)
        except BaseException:
            shutil.rmtree(build, ignore_errors=True)
            raise
        sync_names(final.parent)


def _remove_builds(final: Path, build: Path) -> None:
    """Remove what processes of this machine left of `final` unfinished, and those of others a day ago."""
    for left in (build, final.with_name(f"{TEMPORARY}{final.name}")):  # the second as earlier versions named it
        remove(left)
    for other in final.parent.glob(f"{TEMPORARY}{glob.escape(final.name)}-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - other.stat().st_mtime > ABANDONED:
                remove(other)


def _settle(build: Path, final: Path, in_place: bool) -> None:
    """Give what was made its name."""
    if in_place and final.is_dir():
        _give_files(build, final)
        return
    if in_place:
        final.unlink(missing_ok=True)
    remove(final)
    os.replace(build, final)


def _give_files(build: Path, final: Path) -> None:
    """Move each file to its place in `final`, where readers find the old one or the new one, and remove all others."""
    made = {path.relative_to(build): path.is_dir() for path in sorted(build.rglob("*"))}
    for path in sorted(final.rglob("*"), reverse=True):
        folder = path.is_dir() and not path.is_symlink()
        if made.get(path.relative_to(final)) != folder:
            path.rmdir() if folder else path.unlink()
    for name, folder in made.items():
        if folder:
            (final / name).mkdir(exist_ok=True)
        else:
            os.replace(build / name, final / name)
    shutil.rmtree(build)


def remove(folder: Path) -> None:
    """Remove a folder; a crash half way leaves a temporary name, never a part under the final one."""
    if not folder.is_dir():
        return
    doomed = folder
    if not folder.name.startswith(TEMPORARY):
        doomed = folder.with_name(f"{TEMPORARY}old-{folder.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(folder, doomed)
    shutil.rmtree(doomed)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left behind in `folder`; the caller holds the lock that covers it."""
    for stale in folder.glob(f"{TEMPORARY}*"):
        if stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale)
        else:
            stale.unlink()


@contextmanager
def sole_maker(target: Path) -> Iterator[None]:
    """Holds the lock beside `target`, below a folder that is made where it is absent; UserError where it is held."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(target.with_name(f".{target.name}.lock"))
    if not lock.acquire(wait=False):
        raise UserError(f"{target} is being made by {lock.holder()}: wait for it")
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class CacheEntry:
    """One folder of the cache while its context is open."""

    ready: bool
    """It is complete: read `path`. Otherwise fill `build`, which becomes `path` when the context ends cleanly."""
    path: Path
    build: Path


@contextmanager
def cache_entry(root: Path, kind: str, key: str, *, durable: bool = True) -> Iterator[CacheEntry]:
    """The folder `<root>/<kind>/<key>`, made once: of two processes the second says that it waits, then finds it ready.

    `key` holds, or is a digest of, everything that decides the content. `durable` as in `folder_whole`; without it the
    files are compared with their list once in a process, else whenever the entry is asked for. An entry that differs
    from its list is made again, and one line on standard error says so; whoever reads it meanwhile finds every file.
    An exception inside leaves everything as it was.
    """
    final = root / simple_name(kind, "cache kind") / simple_name(key, "cache key")
    final.parent.mkdir(parents=True, exist_ok=True)
    if _wrong(final, durable) is None:
        yield CacheEntry(True, final, final)
        return
    lock = Lock(final.with_name(f"{final.name}.lock"))
    lock.acquire(wait=True)
    try:
        wrong = _wrong(final, durable)
        if wrong is None:
            lock.release()
            yield CacheEntry(True, final, final)
            return
        if wrong:
            said = f"cache entry {kind}/{key} is damaged or of an earlier version ({wrong}): it is made again"
            print(printable_line(said), file=sys.stderr, flush=True)
        with folder_whole(final, durable=durable, in_place=True) as build:
            yield CacheEntry(False, final, build)
            manifest.write(build)
    finally:
        lock.release()


def _wrong(final: Path, durable: bool) -> str | None:
    """What is wrong with an entry, in a few words; empty where there is none, None where it can be read."""
    if final.is_dir():
        return manifest.fault(final) if durable else manifest.fault_once(final)
    return "it is no folder" if os.path.lexists(final) else ""
