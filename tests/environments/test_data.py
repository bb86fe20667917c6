"""Data from elsewhere: what is hostile, damaged or incomplete is refused in one line and leaves nothing behind."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench.core import UserError
from spa_bench.environments import data, download
from spa_bench.environments.alfworld import data as alfworld

Members = list[tuple[str, bytes]]
GOOD: Members = [("a/one.txt", b"1" * 100), ("a/b/two.txt", bytes(range(256))), ("three", b"")]


def write_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def write_tar(path: Path, members: Members, mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


WRITERS: dict[str, Callable[[Path, Members], Path]] = {
    "zip": write_zip,
    "tar.xz": write_tar,
    "tar.gz": lambda path, members: write_tar(path, members, "w:gz"),
    "tar": lambda path, members: write_tar(path, members, "w"),
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, *words: str, limits: data.Limits | None = None) -> None:
    """Unpacking fails with one line that holds these words, and nothing is left, inside or outside."""
    before = content(archive.parent.parent)
    with pytest.raises(UserError) as error:
        data.unpack(archive, archive.parent / "out" / "target", limits=limits)
    message = str(error.value)
    for word in (archive.name, *words):
        assert word in message
    assert content(archive.parent.parent) == before
    assert not any((archive.parent / "out").iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    return tmp_path / "deep"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_good_archive_is_unpacked_as_it_is(folder: Path, kind: str):
    archive = WRITERS[kind](folder / f"good.{kind}", GOOD)
    assert data.unpack(archive, folder / "out") == 3
    assert content(folder / "out") == dict(GOOD)
    assert sorted(path.name for path in folder.iterdir()) == [archive.name, "out"]


def test_only_what_has_a_place_is_written(folder: Path):
    archive = write_zip(folder / "good.zip", GOOD)
    count = data.unpack(
        archive, folder / "out", place=lambda path: PurePosixPath("x.txt") if path.name == "three" else None
    )
    assert (count, content(folder / "out")) == (1, {"x.txt": b""})


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name",
    [
        "../evil", "a/../../evil", "a/..", "/etc/evil", "//evil", "C:evil", "c:/evil", "..\\evil", "a\\..\\..\\evil",
        "\\evil", "a:stream", "con", "a/NUL.txt", "com1", "evil.", "evil ", "a./b", "new\nline", "esc\x1b[31m",
        "x" * 256,
    ],
)  # fmt: skip
def test_t05_a_member_that_would_leave_the_folder_or_mean_something_else_is_refused(folder: Path, kind: str, name: str):
    members = [*GOOD, (name, b"evil")]
    reason = "leaves the folder" if ".." in name.split("/") else ""
    refused(WRITERS[kind](folder / f"bad.{kind}", members), "is refused: member", reason)


def test_t05_a_zip_name_that_goes_on_behind_a_nul_is_refused(folder: Path):
    archive = write_zip(folder / "bad.zip", [("okXevil", b"")])
    archive.write_bytes(archive.read_bytes().replace(b"okXevil", b"ok\0evil"))
    refused(archive)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/b", "A/B"),
        ("a/b", "a/b"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("a/./b", "a//b"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_t05_two_members_with_one_name_are_refused(folder: Path, kind: str, first: str, second: str):
    refused(WRITERS[kind](folder / f"bad.{kind}", [(first, b"1"), (second, b"2")]), "same name")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_t05_links_and_devices_in_a_tar_are_refused(folder: Path, kind: bytes):
    archive = folder / "bad.tar"
    with tarfile.open(archive, "w") as opened:
        info = tarfile.TarInfo("inside")
        info.type, info.linkname = kind, "../../outside"
        opened.addfile(info)
        opened.addfile(tarfile.TarInfo("inside/file"))
    refused(archive, "'inside'", "link")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_t05_links_and_devices_in_a_zip_are_refused(folder: Path, kind: int):
    archive = folder / "bad.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        info = zipfile.ZipInfo("inside")
        info.external_attr = (kind | 0o777) << 16
        opened.writestr(info, "../../outside")
    refused(archive, "'inside'", "link")


def test_an_encrypted_member_is_refused(folder: Path):
    archive = write_zip(folder / "bad.zip", GOOD)
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    refused(archive, "encrypted")


@pytest.mark.parametrize("kind", WRITERS)
def test_t05_bombs_are_refused(folder: Path, kind: str):
    archive = WRITERS[kind](folder / f"bad.{kind}", [*GOOD, ("bomb", bytes(3_000_000))])
    refused(archive, "'bomb'", "bomb", limits=data.Limits(bytes=1_000_000))
    refused(archive, "bomb", limits=data.Limits(files=3))
    if kind != "tar":
        refused(archive, "'bomb'", "bomb", limits=data.Limits(ratio=20, free=100_000))
    data.unpack(archive, folder / "whole", limits=data.Limits(files=4, bytes=3_020_000))


def test_t05_a_bomb_behind_the_last_member_is_stopped_too(folder: Path):
    tar = write_tar(folder / "good.tar", GOOD, "w").read_bytes()
    (folder / "bad.tar.gz").write_bytes(gzip.compress(tar + bytes(3_000_000)))
    refused(folder / "bad.tar.gz", "bomb", limits=data.Limits(bytes=1_000_000))


def test_t05_a_zip_that_lies_about_its_size_does_not_grow_beyond_the_limit(folder: Path):
    archive = write_zip(folder / "bad.zip", [("bomb", bytes(3_000_000))])
    honest = (3_000_000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(honest, (10).to_bytes(4, "little")))
    refused(archive, limits=data.Limits(bytes=1_000_000))


@pytest.mark.parametrize("kind", WRITERS)
def test_t05_too_many_members_or_names_are_refused_before_anything_is_written(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    written: list[Path] = []
    real = data._write
    monkeypatch.setattr(data, "_write", lambda member, path, budget: (written.append(path), real(member, path, budget)))
    members = [(f"folder/{number:04}", b"x") for number in range(300)]
    archive = WRITERS[kind](folder / f"bad.{kind}", members)
    refused(archive, "more than 299", "bomb", limits=data.Limits(files=299))
    refused(archive, "bomb", limits=data.Limits(names=2_000))
    refused(WRITERS[kind](folder / f"deep.{kind}", [*GOOD, ("a/" * 21 + "b", b"")]), "20 folders")
    refused(WRITERS[kind](folder / f"long.{kind}", [*GOOD, ("a/" + "b/cccc" * 200, b"")]), "1024 characters")
    assert not written
    assert data.unpack(archive, folder / "out", limits=data.Limits(files=300, names=3_600)) == len(written) == 300


def test_t05_a_tar_whose_header_is_a_bomb_is_refused(folder: Path):
    info = tarfile.TarInfo("harmless")
    info.pax_headers = {"comment": "x" * 3_000_000}
    with tarfile.open(folder / "bad.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    refused(folder / "bad.tar.gz", "a header of 300")


@pytest.mark.parametrize("how", ["many", "far"])
def test_t05_a_zip_whose_end_lies_about_its_list_is_refused(folder: Path, how: str):
    archive = write_zip(folder / "bad.zip", [(f"{number}", b"") for number in range(100)])
    raw = archive.read_bytes()
    end = raw.rindex(data.END)
    if how == "many":  # zipfile reads as many entries as fit into the size that is said, whatever number is said
        archive.write_bytes(raw[: end + 8] + b"\1\0\1\0" + raw[end + 12 :])
        refused(archive, "its list of members takes", limits=data.Limits(names=1000))
        refused(archive, "lists 1 members, 100 found")
    else:
        far = b"PK\6\7" + bytes(4) + (7).to_bytes(8, "little") + b"\1\0\0\0"
        archive.write_bytes(raw[:end] + bytes(56) + far + raw[end:])
        refused(archive, "its end is elsewhere")


names = st.text(st.sampled_from("ab./\\:~C -") | st.characters(max_codepoint=0x2FF), min_size=1, max_size=8)


@max_examples(150)
@given(kind=st.sampled_from(["zip", "tar"]), members=st.lists(st.tuples(names, st.binary(max_size=3)), max_size=4))
@example(kind="tar", members=[("./a", b""), ("../a", b"")])
@example(kind="zip", members=[("\x00", b"")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_t05_whatever_the_names_nothing_is_written_elsewhere_or_lost(
    tmp_path_factory: pytest.TempPathFactory, kind: str, members: Members
):
    folder = tmp_path_factory.mktemp("names") / "deep"
    folder.mkdir()
    archive = WRITERS[kind](folder / f"any.{kind}", members)
    before = content(folder.parent)
    try:
        count = data.unpack(archive, folder / "target")
    except UserError:
        assert content(folder.parent) == before
    else:
        after = content(folder.parent)
        assert {path for path in after if not path.startswith("deep/target/")} == set(before)
        files = [body for name, body in members if not name.endswith("/")]
        assert count == len(after) - len(before) == len(files)


@pytest.mark.parametrize("kind", WRITERS)
def test_t04_an_archive_cut_off_anywhere_is_refused_or_whole(folder: Path, kind: str):
    whole = WRITERS[kind](folder / f"whole.{kind}", GOOD).read_bytes()
    cut = folder / f"cut.{kind}"
    for size in {*range(0, len(whole), 61 if kind == "tar" else 5), *range(len(whole) - 40, len(whole))}:
        cut.write_bytes(whole[:size])
        target = folder / f"target-{size}"
        try:
            data.unpack(cut, target)
        except UserError as error:
            assert cut.name in str(error)
            assert not target.exists()
        else:
            assert kind == "tar"  # which has no sign of what should follow
    assert not list(folder.glob(".tmp-*"))


def test_a_bare_tar_cut_off_within_a_member_is_refused(folder: Path):
    whole = write_tar(folder / "whole.tar", [("a", bytes(5000))], "w").read_bytes()
    for size in (513, 3000, 5511):
        (folder / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"cut\.tar"):
            data.unpack(folder / "cut.tar", folder / "out" / "target")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_t04_one_flipped_byte_is_refused_or_harmless(folder: Path, kind: str):
    whole = WRITERS[kind](folder / f"whole.{kind}", GOOD).read_bytes()
    bad = folder / f"bad.{kind}"
    for place in range(0, len(whole), 3):
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        target = folder / f"target-{place}"
        try:
            data.unpack(bad, target)
        except UserError:
            assert not target.exists()
        else:
            # Names are covered by no checksum in a zip, contents are.
            assert sorted(content(target).values()) == sorted(body for _, body in GOOD)
        with pytest.raises(UserError, match="expected sha256"):
            data.check(bad, hashlib.sha256(whole).hexdigest())


@pytest.mark.parametrize(
    "junk", [b"", b"PK", b"no archive at all", b"PK\x05\x06" + bytes(18), gzip.compress(b"text", mtime=0)]
)
def test_what_is_no_archive_is_refused_or_empty(folder: Path, junk: bytes):
    (folder / "junk.zip").write_bytes(junk)
    try:
        assert data.unpack(folder / "junk.zip", folder / "target") == 0
    except UserError as error:
        assert "junk.zip" in str(error)


def test_a_folder_with_something_in_it_is_not_overwritten(folder: Path):
    archive = write_zip(folder / "good.zip", GOOD)
    (folder / "mine").mkdir()
    (folder / "mine/file").write_text("dear")
    with pytest.raises(UserError, match="exists already"):
        data.unpack(archive, folder / "mine")
    assert content(folder / "mine") == {"file": b"dear"}


class Handler(BaseHTTPRequestHandler):
    """Serves what the test put on the shelf: status and body; `short` bodies end before their announced length.

    `/flood` never stops sending, `/trickle` sends a byte now and then, `/stall` one and no more.
    """

    shelf: ClassVar[dict[str, tuple[int, bytes]]] = {}
    asked: ClassVar[list[str]] = []
    sent: ClassVar[int] = 0
    over: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path in ("/flood", "/trickle", "/stall"):
            self.endless()
            return
        status, body = self.shelf.get(self.path, (404, b"<!DOCTYPE html><title>Not found</title>"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + (100 if "short" in self.path else 0)))
        self.end_headers()
        self.wfile.write(body)

    def endless(self) -> None:
        """Send until the client has had enough, or the test is over; at most 64 MB."""
        self.send_response(200)
        self.end_headers()
        block = bytes(1 << 16) if self.path == "/flood" else b"P"
        with contextlib.suppress(ConnectionError):
            while Handler.sent < 1 << 26 and not (self.path != "/flood" and self.over.wait(0.05)):
                if self.path != "/stall" or not Handler.sent:
                    self.wfile.write(block)
                    Handler.sent += len(block)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Handler.shelf, Handler.asked, Handler.sent, Handler.over = {}, [], 0, threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{opened.server_address[1]}"
        Handler.over.set()
        opened.shutdown()
        thread.join()


BODY = b"PK some archive"
HASH = hashlib.sha256(BODY).hexdigest()


def test_a_file_is_fetched_once(server: str, folder: Path):
    Handler.shelf = {"/file.zip": (200, BODY)}
    for _ in range(2):
        download.fetch(f"{server}/file.zip", HASH, folder / "new/file.zip", size=len(BODY))
    assert (folder / "new/file.zip").read_bytes() == BODY
    assert Handler.asked == ["/file.zip"]
    (folder / "new/file.zip").write_bytes(b"damaged")
    download.fetch(f"{server}/file.zip", HASH, folder / "new/file.zip")
    assert (folder / "new/file.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/absent.zip", None, ["cannot fetch", "404"]),
        ("/down.zip", (503, b""), ["cannot fetch", "503"]),
        ("/short.zip", (200, BODY), ["cannot fetch"]),
        ("/file.zip", (200, b"\n<HTML><head>quota exceeded"), ["web page and no archive"]),
        ("/file.zip", (200, b"\xef\xbb\xbf<!doctype html>"), ["web page and no archive"]),
        ("/file.zip", (200, BODY + b"x"), ["wrong size", f"expected {len(BODY)} bytes, got {len(BODY) + 1}"]),
        ("/file.zip", (200, BODY[:-1] + b"X"), ["damaged or another version", f"expected sha256 {HASH}", "got "]),
        ("/file.zip", (200, b""), ["wrong size"]),
    ],
)
def test_t04_a_bad_download_names_the_file_and_the_way_out(
    server: str, folder: Path, path: str, answer: tuple[int, bytes] | None, words: list[str]
):
    Handler.shelf = {path: answer} if answer else {}
    with pytest.raises(UserError) as error:
        download.fetch(f"{server}{path}", HASH, folder / "file.zip", size=len(BODY), again="spa-bench data get x")
    for word in (*words, f"{server}{path}", "`spa-bench data get x`"):
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("expected", [{"size": 20_000}, {"most": 20_000}])
def test_t04_a_download_stops_where_more_comes_than_was_expected(server: str, folder: Path, expected: dict[str, int]):
    with pytest.raises(UserError, match=r"flood has (the wrong size: expected 20000 bytes|more than 20000 bytes)"):
        download.fetch(f"{server}/flood", HASH if "size" in expected else None, folder / "file.zip", **expected)
    assert Handler.sent < 1 << 24  # what the system's buffers take, not all that the server has
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("path", "said"), [("/trickle", r"bytes/s, too few"), ("/stall", "timed out")])
def test_t04_a_download_that_is_too_slow_or_stops_is_given_up(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
):
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    with pytest.raises(UserError, match=f"cannot fetch .*{said}"):
        download.fetch(f"{server}{path}", HASH, folder / "file.zip", size=1000)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/file.zip", "nonsense", "ftp://127.0.0.1:9/x"])
def test_a_server_that_is_not_there_is_a_user_error(folder: Path, url: str):
    with pytest.raises(UserError, match="cannot fetch"):
        download.fetch(url, None, folder / "file.zip")
    assert list(folder.iterdir()) == []


GAME = "json_2.1.1/train/pick_heat_then_place_in_recep-Egg-None-Fridge-1/trial_T1/game.tw-pddl"


def test_an_incomplete_set_of_games_is_refused_with_counts(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(folder / "cache"))
    archive = write_zip(folder / "games.zip", [(GAME, b"{}"), ("json_2.1.1/train/x/y/traj_data.json", b"{}")])
    Handler.shelf = {f"/{alfworld.ARCHIVE}": (200, archive.read_bytes())}
    notes: list[str] = []
    with pytest.raises(UserError, match=r"3553 of 3553 train games missing, such as .*; 140 of 140 valid_seen"):
        alfworld.get(folder / "games", (), notes.append, base_url=server)
    assert Handler.asked == [f"/{alfworld.ARCHIVE}"]
    assert not (folder / "games").exists()
    assert not list(folder.glob(".tmp-*"))


@pytest.mark.parametrize("body", [b"<html>sign in", b"PK\x03\x04 cut off"])
def test_a_web_page_or_half_an_archive_of_games_is_refused(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(folder / "cache"))
    Handler.shelf = {f"/{alfworld.ARCHIVE}": (200, body)}
    with pytest.raises(UserError, match=r"json_2\.1\.1_tw-pddl\.zip"):
        alfworld.get(folder / "games", (), lambda line: None, base_url=server)
    assert not (folder / "games").exists()


def test_sources_that_disagree_or_hold_no_game_are_refused(folder: Path):
    first, second = write_zip(folder / "1.zip", [(GAME, b"{}")]), write_tar(folder / "2.tar.xz", [(GAME, b"[]")])
    empty = write_zip(folder / "empty.zip", GOOD)
    for sources, message in (
        ([first, second], "another version of train/pick_heat"),
        ([first, empty], r"empty\.zip holds no games"),
        ([folder / "absent"], "no folder and no archive"),
    ):
        with pytest.raises(UserError, match=message):
            alfworld.get(folder / "games", sources, lambda line: None)
        assert not (folder / "games").exists()


def test_a_folder_that_holds_something_else_is_left_alone(folder: Path):
    (folder / "home").mkdir()
    (folder / "home/file").write_text("dear")
    with pytest.raises(UserError, match="holds something else"):
        alfworld.get(folder / "home", [write_zip(folder / "1.zip", [(GAME, b"{}")])], lambda line: None)
    assert content(folder / "home") == {"file": b"dear"}
