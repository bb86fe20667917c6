"""A folder that is not what was written is noticed, whatever happened to it; an entry of the cache is made again."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from spa_bench import manifest
from spa_bench.files import cache_entry

CONTENT = {"config.json": b'{"a": 1}\n', "deep/weights": bytes(range(256)) * 40, "deep/empty": b""}


def fill(folder: Path) -> None:
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def listed(folder: Path) -> Path:
    folder.mkdir()
    fill(folder)
    manifest.write(folder)
    return folder


def get(root: Path, durable: bool = True) -> tuple[bool, Path]:
    """An entry of the cache as another process would find it: what this one knows of its files is forgotten."""
    manifest._remembered.cache_clear()
    manifest._known.cache_clear()
    with cache_entry(root, "kind", "key", durable=durable) as entry:
        if not entry.ready:
            fill(entry.build)
    return entry.ready, entry.path


def link(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "elsewhere")
    (folder / "config.json").symlink_to(folder.parent / "elsewhere")


def pipe(folder: Path) -> None:
    (folder / "deep/empty").unlink()
    os.mkfifo(folder / "deep/empty")


def no_file(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda folder: os.truncate(folder / "deep/weights", 100), "deep/weights has another size"),
    "emptied": (lambda folder: (folder / "config.json").write_bytes(b""), "config.json has another size"),
    "doubled": (lambda folder: (folder / "config.json").write_bytes(2 * CONTENT["config.json"]), "another size"),
    "zeros": (lambda folder: (folder / "deep/weights").write_bytes(bytes(10240)), "deep/weights has another content"),
    "missing": (lambda folder: (folder / "deep/empty").unlink(), "deep/empty is missing"),
    "missing folder": (lambda folder: shutil.rmtree(folder / "deep"), "deep/empty is missing"),
    "one more": (lambda folder: (folder / "deep/more").write_bytes(b""), "deep/more is no file of it"),
    "no list": (lambda folder: (folder / manifest.NAME).unlink(), manifest.NONE),
    "an empty list": (lambda folder: (folder / manifest.NAME).write_text(""), "sha256.json is damaged"),
    "a list of lists": (lambda folder: (folder / manifest.NAME).write_text("[" * 100_000), "sha256.json is damaged"),
    "another list": (lambda folder: (folder / manifest.NAME).write_text('{"a": 7}'), "sha256.json is damaged"),
    "a link": (link, "config.json has another size"),
    "a pipe": (pipe, "deep/empty has another size"),
    "a folder": (no_file, "config.json is missing"),
}


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_made_again_and_one_line_says_what_was_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, durable: bool
):
    assert get(tmp_path, durable) == (False, tmp_path / "kind/key")
    damage, fault = DAMAGE[kind]
    damage(tmp_path / "kind/key")
    ready, folder = get(tmp_path, durable)
    said = capsys.readouterr().err
    assert not ready and said.startswith("cache entry kind/key is damaged") and fault in said and said.count("\n") == 1
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files[manifest.NAME]
    assert files == CONTENT and not list(folder.parent.glob(".tmp-*"))
    assert get(tmp_path, durable) == (True, folder) and capsys.readouterr().err == ""


def test_what_is_no_folder_is_replaced_by_the_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind/key").write_text("not a folder")
    assert get(tmp_path) == (False, tmp_path / "kind/key") and get(tmp_path)[0]
    assert "it is no folder" in capsys.readouterr().err


def test_each_of_200_changed_bytes_is_noticed(tmp_path: Path):
    folder = listed(tmp_path / "folder")
    rng = random.Random(0)
    files = [folder / name for name in ("config.json", "deep/weights", manifest.NAME)]
    for _ in range(200):
        file = rng.choice(files)
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
        manifest._remembered.cache_clear()
        assert manifest.fault(folder) is not None, (file, changed)
        file.write_bytes(whole)
    manifest._remembered.cache_clear()
    assert manifest.fault(folder) is None


def test_what_the_system_leaves_in_a_folder_is_no_damage(tmp_path: Path):
    folder = listed(tmp_path / "folder")
    for name in (".nfs000012ab", "deep/.DS_Store"):
        (folder / name).write_text("")
    assert manifest.fault(folder) is None and manifest.fault_once(folder) is None


def test_an_entry_that_cannot_be_made_again_stays_as_it_was(tmp_path: Path):
    folder = get(tmp_path)[1]
    (folder / "more").write_text("")
    with pytest.raises(ZeroDivisionError), cache_entry(tmp_path, "kind", "key") as entry:
        assert not entry.ready
        raise ZeroDivisionError
    assert (folder / "config.json").read_bytes() == CONTENT["config.json"] and (folder / "more").exists()


def test_who_reads_an_entry_while_it_is_made_again_finds_every_file_whole(tmp_path: Path):
    folder = get(tmp_path)[1]
    over, lost = threading.Event(), list[object]()

    def read() -> None:
        while not over.is_set():
            for name, content in CONTENT.items():
                try:
                    if (folder / name).read_bytes() != content:
                        lost.append(name)
                except OSError as error:
                    lost.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            (folder / "more").write_text("")
            assert not get(tmp_path)[0]
    finally:
        over.set()
        reader.join()
    assert not lost


def test_files_are_read_once_in_a_process_and_again_when_they_change(tmp_path: Path):
    folder = listed(tmp_path / "folder")
    before = manifest._remembered.cache_info()
    assert (manifest.fault(folder), manifest.fault(folder)) == (None, None)
    after = manifest._remembered.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (3, 3)
    (folder / "config.json").write_bytes(b'{"a": 2}\n')
    os.utime(folder / "config.json", ns=(0, 7))
    assert manifest.fault(folder) == "config.json has another content"
