"""Data from elsewhere: checked by sha256, unpacked without trusting a byte of it.

Every failure is one line that names the file and the way out; a target appears whole or not at all.
"""

from __future__ import annotations

import bz2
import gzip
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
from typing import IO, Any

from spa_bench.core import UserError
from spa_bench.files import temporary_name, writing

CHUNK = 1 << 20
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

PACKERS: dict[bytes, Callable[[Path, str], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}
"""How a packed tar begins, and what reads it."""
END = b"PK\x05\x06"
"""How the last record of a zip begins."""

LONGEST, DEEPEST = 1024, 20
"""Characters of a member's name, and folders that it may lie in."""

DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that open a device on Windows, in any folder."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold; what is counted is what comes out, not what the archive says."""

    files: int = 200_000
    names: int = 32 << 20
    """Characters of all names."""
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
    size: int
    """As the archive says; some lie."""
    refusal: str | None
    open: Callable[[], IO[bytes]]


Place = Callable[[PurePosixPath], PurePosixPath | None]
"""Where a member goes below the target; None to leave it out."""


def check(file: Path, sha256: str | None, *, size: int | None = None, name: str = "", again: str = "") -> None:
    """Raise UserError unless the file is an archive with this size and hash; `name` is what to call it."""
    name = name or str(file)
    fix = f"remove it and fetch it again{with_command(again)}"
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
    build = temporary_name(target)
    with writing(target, build):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(build, ignore_errors=True)
        try:
            count = _unpack(archive, build, limits or Limits(), place or (lambda path: path))
            if target.exists():
                target.rmdir()
            os.replace(build, target)
        finally:
            shutil.rmtree(build, ignore_errors=True)
    return count


def _unpack(archive: Path, build: Path, limits: Limits, place: Place) -> int:
    """All members are looked at before the first one is written."""
    check(archive, None)
    names, places = Names(limits), []

    def admit(member: Member, budget: Budget) -> None:
        budget.member()
        budget.spend(member.size)
        path = names.admit(member)
        places.append(None if member.folder else place(path))

    _each(archive, limits, admit)
    build.mkdir()
    left = iter(places)

    def write(member: Member, budget: Budget) -> None:
        if (where := next(left)) is not None:
            _write(member, build / where, budget)

    _each(archive, limits, write)
    return sum(where is not None for where in places)


def _each(archive: Path, limits: Limits, visit: Callable[[Member, Budget], None]) -> None:
    """Call `visit` for each member, with what may still come out. UserError where one is refused, or damaged."""
    budget = Budget(limits, archive.stat().st_size)
    try:
        for member in _members(archive, budget):
            try:
                visit(member, budget)
            except Refused as error:
                raise UserError(f"{archive} is refused: member {member.name[:100]!r} {error}") from None
    except Refused as error:
        raise UserError(f"{archive} is refused: its list of members {error}") from None
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{archive} is damaged or no archive ({reason}): fetch it again") from None


class Budget:
    """What may still come out of one archive."""

    def __init__(self, limits: Limits, packed: int) -> None:
        self.limits = limits
        self.most = min(limits.bytes, max(limits.free, limits.ratio * packed))
        self.members = self.bytes = 0

    def member(self) -> None:
        """Count a member, whether it is written or not."""
        self.members += 1
        self.refuse_more(self.members)

    def refuse_more(self, members: int) -> None:
        """Refused where there are so many members."""
        if members > self.limits.files:
            raise Refused(f"is one of more than {self.limits.files}: the archive may be a bomb")

    def spend(self, size: int) -> None:
        """Count bytes that came out."""
        self.bytes += size
        if self.bytes > self.most:
            raise Refused(f"grows beyond {self.most} bytes: the archive may be a bomb")


class Names:
    """Paths seen so far, as the least careful file system would compare them."""

    def __init__(self, limits: Limits) -> None:
        self.files: set[tuple[str, ...]] = set()
        self.folders: set[tuple[str, ...]] = set()
        self.left = limits.names

    def admit(self, member: Member) -> PurePosixPath:
        """The member's path below the target; Refused where that is not below it, or not the only one."""
        if member.refusal is not None:
            raise Refused(member.refusal)
        self.left -= len(member.name)
        if self.left < 0:
            raise Refused("is one of too many with long names: the archive may be a bomb")
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
    if len(name) > LONGEST or name.count("/") > DEEPEST:
        raise Refused(f"has a name of more than {LONGEST} characters, or {DEEPEST} folders")
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
        head = file.read(6)
    if head.startswith(b"PK"):
        budget.refuse_more(said := _said_of_zip(archive, budget.limits))
        with zipfile.ZipFile(archive) as opened:
            if said != (found := len(opened.infolist())):  # a damaged length in an entry makes the next ones vanish
                raise zipfile.BadZipFile(f"lists {said} members, {found} found")
            yield from (_zip_member(opened, info) for info in opened.infolist())
        return
    opener = next((opener for magic, opener in PACKERS.items() if head.startswith(magic)), open)
    with opener(archive, "rb") as stream:
        careful = _Careful(stream)
        with tarfile.TarFile(fileobj=careful) as tar:  # type: ignore[arg-type]
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # they are many, and may hold much
                yield _tar_member(tar, info)
        while rest := careful.read(CHUNK):  # the checksum is at the very end
            budget.spend(len(rest))


class _Careful:
    """A tar file in which no header is large: it would be read into memory at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        """As of any file, of up to `CHUNK` bytes."""
        if size > CHUNK:
            raise Refused(f"has a header of {size} bytes")
        return self._stream.read(size)


def _said_of_zip(archive: Path, limits: Limits) -> int:
    """How many members a zip says that it has. Refused where their list takes more bytes than their names may."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(-min(size, 1 << 16), os.SEEK_END)
        tail = file.read()
    plain = tail[-22:].startswith(END) and tail[-2:] == bytes(2)  # without a comment, where zipfile looks first
    end = len(tail) - 22 if plain else tail.rfind(END)
    said, listed = (int.from_bytes(tail[end + start : end + stop], "little") for start, stop in ((10, 12), (12, 16)))
    if tail[max(end - 20, 0) :].startswith(b"PK\x06\x07"):
        far = end - 76
        place = int.from_bytes(tail[end - 12 : end - 4], "little")
        if far < 0 or place != size - len(tail) + far:
            raise zipfile.BadZipFile("its end is elsewhere")
        said, listed = (int.from_bytes(tail[far + start : far + start + 8], "little") for start in (32, 40))
    if end < 0:
        raise zipfile.BadZipFile("it has no end")
    if listed > 46 * said + limits.names:
        raise Refused(f"takes {listed} bytes: the archive may be a bomb")
    return said


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    refusal = None
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refusal = "is a link or a device"
    elif info.flag_bits & 1:
        refusal = "is encrypted"
    # `orig_filename` is what the archive says; `filename`, which `is_dir` looks at, has lost what follows a NUL.
    name = info.orig_filename
    return Member(name, name.endswith("/"), info.file_size, refusal, lambda: archive.open(info))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    refusal = None if (info.isreg() or info.isdir()) and not info.issparse() else "is a link, a device or sparse"

    def open_member() -> IO[bytes]:
        source = archive.extractfile(info)
        if source is None:
            raise Refused("has no content")
        return source

    return Member(info.name, info.isdir(), info.size, refusal, open_member)


def with_command(again: str) -> str:
    """The end of an advice: the command that is to be repeated."""
    return f" with `{again}`" if again else ""
