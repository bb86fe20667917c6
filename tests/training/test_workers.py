"""Processes of a comparison: killed, crashed, interrupted, or left alone by the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import worked

from spa_bench.training import workers

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def shared_out(folder: Path, jobs: int, *ends: str) -> tuple[dict[int, str], list[str]]:
    """What came of each task, and what was noted meanwhile."""
    notes: list[str] = []
    tasks = [(folder, number, end) for number, end in enumerate(ends)]
    found = workers.results(worked.told, tasks, jobs, lambda number, words: notes.append(f"{number}: {words}"))
    return {number: str(answer) for number, answer in found}, notes


def begun(folder: Path, number: int) -> list[int]:
    """The processes that have begun a task."""
    file = folder / str(number)
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


@posix
def test_t08_a_killed_worker_costs_its_task_alone_which_is_tried_once_more(tmp_path: Path) -> None:
    found, notes = shared_out(tmp_path, 2, "SIGKILL", "done", "SIGSEGV-once", "done", "done")
    assert found == {0: "its process was killed (SIGKILL)", 1: "1", 2: "4", 3: "9", 4: "16"}
    assert sorted(notes) == [
        "0: its process was killed (SIGKILL); it is tried once more",
        "2: its process was killed (SIGSEGV); it is tried once more",
    ]
    assert [len(begun(tmp_path, number)) for number in range(5)] == [2, 1, 2, 1, 1]


def test_t08_a_worker_that_raises_is_not_tried_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found, notes = shared_out(tmp_path, 1, "raises", "done")
    assert (found, notes) == ({0: "its process ended with exit code 1", 1: "1"}, [])
    assert "ZeroDivisionError: a defect" in capfd.readouterr().err
    assert len(begun(tmp_path, 0)) == 1


def test_one_process_answers_many_tasks(tmp_path: Path) -> None:
    found, _ = shared_out(tmp_path, 2, *["done"] * 6)
    assert found == {number: str(number * number) for number in range(6)}
    assert len({process for number in range(6) for process in begun(tmp_path, number)}) <= 2


def program(folder: Path, *ends: str) -> subprocess.Popen[str]:
    """Two tasks at a time, in a process group of its own whose first process heeds interrupts."""
    command = [sys.executable, worked.__file__, str(folder), "2", *ends]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeds
    )


def heeds() -> None:
    """A shell starts background jobs with interrupts ignored, and children inherit it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(process: int) -> bool:
    """It exists, and is no zombie that waits to be buried."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # no /proc here, or gone meanwhile
        return Path("/proc/self").exists() is False


def until(reached: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


@posix
@pytest.mark.parametrize(
    ("strike", "code"),
    [
        pytest.param(lambda parent: os.killpg(parent.pid, signal.SIGINT), 130, id="ctrl-C"),
        pytest.param(lambda parent: parent.send_signal(signal.SIGINT), 130, id="SIGINT-to-the-parent"),
        pytest.param(lambda parent: parent.terminate(), 143, id="SIGTERM-to-the-parent"),
        pytest.param(lambda parent: os.killpg(parent.pid, signal.SIGTERM), 143, id="SIGTERM-to-all"),
        pytest.param(lambda parent: parent.kill(), -9, id="SIGKILL-to-the-parent"),
    ],
)
def test_t19_workers_end_with_their_parent_and_begin_nothing_more(
    strike: Callable[[subprocess.Popen[str]], None], code: int, tmp_path: Path
) -> None:
    parent = program(tmp_path, "waits", "waits", "done", "done")
    until(lambda: bool(begun(tmp_path, 0) and begun(tmp_path, 1)), "two tasks begin")
    strike(parent)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == code
    assert said == ("interrupted; run the same command to resume\n" if code > 0 else "")
    until(lambda: not any(map(alive, begun(tmp_path, 0) + begun(tmp_path, 1))), "the workers end")
    assert not begun(tmp_path, 2) and not begun(tmp_path, 3)


@posix
def test_t19_ctrl_c_while_workers_start_is_one_line(tmp_path: Path) -> None:
    """They begin with seconds of imports, in which they have said nothing of signals yet."""
    parent = program(tmp_path, "waits", "waits", "done")
    until(lambda: children(parent.pid) >= 2, "workers start")
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert (parent.returncode, said) == (130, "interrupted; run the same command to resume\n")
    assert not begun(tmp_path, 2)


def children(process: int) -> int:
    """Workers, and a process that the standard library starts before the first of them.

    Lines as wide as they are: ps cuts them at COLUMNS, and a long path to Python leaves no room for the name.
    """
    command = ["ps", "-ww", "-o", "args=", "--ppid", str(process)]
    return subprocess.run(command, capture_output=True, text=True).stdout.count("spawn_main")


@posix
def test_t19_a_worker_that_does_not_heed_signals_ends_too(tmp_path: Path) -> None:
    parent = program(tmp_path, "deaf", "waits")
    until(lambda: bool(begun(tmp_path, 0) and begun(tmp_path, 1)), "two tasks begin")
    parent.terminate()
    parent.communicate(timeout=60)
    assert parent.returncode == 143
    until(lambda: not any(map(alive, begun(tmp_path, 0) + begun(tmp_path, 1))), "the workers end")
