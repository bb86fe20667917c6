"""Data from elsewhere: fetched, checked by sha256, unpacked without trusting a byte of it.

Every failure is one line that names the file and the way out; a target appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from spa_bench.core import UserError
from spa_bench.files import TEMPORARY

CHUNK = 1 << 20
TIMEOUT = 60
"""Seconds without a byte after which a download is given up."""

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)
"""What the standard library raises over archives that are cut off, corrupt or of an unknown kind."""

DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that open a device on Windows, in any folder."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold; what is counted is what comes out, not what the archive says."""

    files: int = 200_000
    bytes: int = 8 << 30
    ratio: int = 200
    """Bytes that come out for each byte of the archive, once more than `free` have come out."""
    free: int = 16 << 20


class Refused(Exception):
    """A member that must not be unpacked, and why."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive, of either kind."""

    name: str
    folder: bool
    refusal: str | None
    open: Callable[[], IO[bytes]]


Place = Callable[[PurePosixPath], PurePosixPath | None]
"""Where a member goes below the target; None to leave it out."""


def fetch(url: str, sha256: str | None, target: Path, *, size: int | None = None, again: str = "") -> None:
    """Download to `target` unless it is there already with that hash; `again` is the command that repeats this.

    Raises UserError where the server cannot be reached or does not send what was expected; nothing is left then.
    """
    import pooch  # type: ignore[import-untyped]

    if sha256 is not None and target.is_file() and digest(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{TEMPORARY}{target.name}-{os.getpid()}")
    try:
        download = pooch.HTTPDownloader(progressbar=False, chunk_size=CHUNK, timeout=TIMEOUT)
        try:
            download(url, str(partial), None)
        except (OSError, ValueError) as error:  # all errors of `requests` are one of the two
            reason = " ".join(str(error).split())
            raise UserError(f"cannot fetch {url}: {reason}; try again{_with(again)}, or use --from") from None
        check(partial, sha256, size=size, name=url, again=again)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def check(file: Path, sha256: str | None, *, size: int | None = None, name: str = "", again: str = "") -> None:
    """Raise UserError unless the file is an archive with this size and hash; `name` is what to call it."""
    name = name or str(file)
    fix = f"remove it and fetch it again{_with(again)}"
    with file.open("rb") as opened:
        head = opened.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<html", b"<!doctype")):
        raise UserError(f"{name} is a web page and no archive: the server sent a sign-in, quota or error page; {fix}")
    got = file.stat().st_size
    if size is not None and got != size:
        raise UserError(f"{name} has the wrong size: expected {size} bytes, got {got}; {fix}")
    if sha256 is not None and (found := digest(file)) != sha256:
        raise UserError(f"{name} is damaged or another version: expected sha256 {sha256}, got {found}; {fix}")


def digest(file: Path) -> str:
    """sha256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def unpack(archive: Path, target: Path, *, limits: Limits | None = None, place: Place | None = None) -> int:
    """Unpack a zip or tar archive into the new folder `target`; the number of files.

    Raises UserError naming archive and member for anything that would be written elsewhere, twice, or without end,
    and for damaged archives. `target` then does not exist. Links, devices and permissions are never restored.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists already: move it away or choose another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    build = target.with_name(f"{TEMPORARY}{target.name}-{os.getpid()}")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    try:
        count = _unpack(archive, build, limits or Limits(), place or (lambda path: path))
        if target.exists():
            target.rmdir()
        os.replace(build, target)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return count


def _unpack(archive: Path, build: Path, limits: Limits, place: Place) -> int:
    check(archive, None)
    budget = Budget(limits, archive.stat().st_size)
    names = Names()
    count = 0
    try:
        for member in _members(archive, budget):
            try:
                budget.member()
                path = names.admit(member)
                where = None if member.folder else place(path)
                if where is not None:
                    _write(member, build / where, budget)
                    count += 1
            except Refused as error:
                raise UserError(f"{archive} is refused: member {member.name!r} {error}") from None
    except Refused as error:
        raise UserError(f"{archive} is refused: what follows its members {error}") from None
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{archive} is damaged or no archive ({reason}): fetch it again") from None
    return count


class Budget:
    """What may still come out of one archive."""

    def __init__(self, limits: Limits, packed: int) -> None:
        self.limits = limits
        self.most = min(limits.bytes, max(limits.free, limits.ratio * packed))
        self.members = self.bytes = 0

    def member(self) -> None:
        """Count a member, whether it is written or not."""
        self.members += 1
        if self.members > self.limits.files:
            raise Refused(f"is one of more than {self.limits.files}: the archive may be a bomb")

    def spend(self, size: int) -> None:
        """Count bytes that came out."""
        self.bytes += size
        if self.bytes > self.most:
            raise Refused(f"grows beyond {self.most} bytes: the archive may be a bomb")


class Names:
    """Paths seen so far, as the least careful file system would compare them."""

    def __init__(self) -> None:
        self.files: set[tuple[str, ...]] = set()
        self.folders: set[tuple[str, ...]] = set()

    def admit(self, member: Member) -> PurePosixPath:
        """The member's path below the target; Refused where that is not below it, or not the only one."""
        if member.refusal is not None:
            raise Refused(member.refusal)
        parts = _parts(member.name)
        if not parts and member.folder:
            return PurePosixPath()
        if not parts:
            raise Refused("has no name")
        key = tuple(unicodedata.normalize("NFKC", part).casefold().rstrip(". ") for part in parts)
        above = {key[:end] for end in range(1, len(key))}
        if above & self.files or (key in self.files) or (not member.folder and key in self.folders):
            raise Refused("has the same name as another member on some systems")
        self.folders |= above
        (self.folders if member.folder else self.files).add(key)
        return PurePosixPath(*parts)


def _parts(name: str) -> list[str]:
    if name.startswith("/"):
        raise Refused("has an absolute path")
    if re.match(r"[A-Za-z]:", name):
        raise Refused("has a Windows drive")
    if "\\" in name or ":" in name or any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise Refused("has a name that is a path or a command on some systems")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused("leaves the folder")
    if any(part != part.rstrip(". ") or DEVICES.fullmatch(part) or len(part.encode()) > 255 for part in parts):
        raise Refused("has a name that some systems cannot store")
    return parts


def _write(member: Member, path: Path, budget: Budget) -> None:
    with member.open() as source:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            out = path.open("xb")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        with out:
            while chunk := source.read(CHUNK):
                budget.spend(len(chunk))
                try:
                    out.write(chunk)
                except OSError as error:
                    raise UserError(f"cannot write {path}: {error.strerror}") from None


def _members(archive: Path, budget: Budget) -> Iterator[Member]:
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        with zipfile.ZipFile(archive) as opened:
            _count_zip(archive, len(opened.infolist()))
            yield from (_zip_member(opened, info) for info in opened.infolist())
    else:
        with tarfile.open(archive, "r:*") as tar:
            yield from (_tar_member(tar, info) for info in tar)
            while tar.fileobj is not None and (rest := tar.fileobj.read(CHUNK)):  # the checksum is at the very end
                budget.spend(len(rest))


def _count_zip(archive: Path, found: int) -> None:
    """A damaged length in a directory entry makes the next ones vanish silently: compare with the end record."""
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, 1 << 16), os.SEEK_END)
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    said = int.from_bytes(tail[end + 10 : end + 12], "little")
    if end < 0 or (said != 0xFFFF and said != found):
        raise zipfile.BadZipFile(f"lists {said} members, {found} found")


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    refusal = None
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refusal = "is a link or a device"
    elif info.flag_bits & 1:
        refusal = "is encrypted"
    # `orig_filename` is what the archive says; `filename`, which `is_dir` looks at, has lost what follows a NUL.
    return Member(info.orig_filename, info.orig_filename.endswith("/"), refusal, lambda: archive.open(info))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    refusal = None if (info.isreg() or info.isdir()) and not info.issparse() else "is a link, a device or sparse"

    def open_member() -> IO[bytes]:
        source = archive.extractfile(info)
        if source is None:
            raise Refused("has no content")
        return source

    return Member(info.name, info.isdir(), refusal, open_member)


def _with(again: str) -> str:
    return f" with `{again}`" if again else ""
