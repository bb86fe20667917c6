"""Locks on files that several machines may share, whose systems know nothing of each other's."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from spa_bench import files, locks
from spa_bench.locks import LEASE, Lock, machine_name


def held_on_another_machine(lock: Path, silent: float) -> None:
    """As a process there leaves it, of which this system knows nothing, so many seconds after its last sign of life."""
    lock.write_text("7 node_9.0123abcd\n")
    os.utime(lock, (time.time() - silent,) * 2)


def test_a_lock_of_another_machine_holds_until_it_has_been_silent_for_long(tmp_path: Path):
    held_on_another_machine(tmp_path / "lock", LEASE - 30)
    lock = Lock(tmp_path / "lock")
    assert not lock.acquire(wait=False) and lock.holder() == "process 7 on node_9"
    held_on_another_machine(tmp_path / "lock", LEASE + 1)
    assert lock.acquire(wait=False) and lock.holder() == f"process {os.getpid()}"
    assert (tmp_path / "lock").read_text() == f"{os.getpid()} {machine_name()}\n", "for the other machine"
    lock.release()
    assert (tmp_path / "lock").read_text() == "", "it need not wait for the silence"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]


def test_who_waits_for_another_machine_goes_on_when_it_lets_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    held_on_another_machine(tmp_path / "lock", 0)
    release = threading.Timer(1.5, (tmp_path / "lock").write_text, [""])
    release.start()
    assert Lock(tmp_path / "lock").acquire(wait=True)
    assert "waiting for process 7 on node_9, which holds the lock " in capsys.readouterr().err
    release.join()


def test_a_lock_of_this_machine_whose_process_is_dead_is_free_at_once(tmp_path: Path):
    for content in (f"7 {machine_name()}\n", f"7 {machine_name()[:-3]}", "7\n", "", "7 " + "x" * 99):
        (tmp_path / "lock").write_text(content)
        lock = Lock(tmp_path / "lock")
        assert lock.acquire(wait=False), content
        lock.release()


def test_a_holder_shows_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    monkeypatch.setattr(locks, "_BEATS", locks._Beats())
    (lock := Lock(tmp_path / "lock")).acquire(wait=False)
    os.utime(tmp_path / "lock", (0, 0))
    limit = time.monotonic() + 60
    while (tmp_path / "lock").stat().st_mtime == 0:
        assert time.monotonic() < limit, "it is silent"
        time.sleep(0.01)
    lock.release()


def test_what_two_machines_build_at_once_has_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "machine_name", lambda: "other.0123abcd")
    with files.folder_whole(tmp_path / "made") as theirs:
        (theirs / "whose").write_text("theirs")
        monkeypatch.setattr(files, "machine_name", machine_name)
        with files.folder_whole(tmp_path / "made") as ours:
            (ours / "whose").write_text("ours")
        assert (theirs / "whose").read_text() == "theirs", "what is under way elsewhere stays"
    assert (tmp_path / "made" / "whose").read_text() == "theirs"
    (left := tmp_path / ".tmp-made-gone.0123abcd").mkdir()
    os.utime(left, (0, 0))
    with files.folder_whole(tmp_path / "made"):
        assert not left.exists()
