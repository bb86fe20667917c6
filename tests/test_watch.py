"""Calls into plug-ins that do not return: interrupted with a line, or ended with their process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from spa_bench.method_errors import MethodError, method_call
from spa_bench.watch import Timed, watching

SHORT = {"fit": 0.1, "price": 0.1}


def sleeps() -> None:
    time.sleep(1000)


def waits() -> None:
    threading.Event().wait(1000)


def turns() -> None:
    while True:
        pass


def catches_errors() -> None:
    while True:
        try:
            time.sleep(1000)
        except Exception:  # noqa: BLE001 - as some do
            continue


class Theirs:
    """What a call is blamed on."""


@pytest.mark.parametrize("hangs", [sleeps, waits, turns, catches_errors])
def test_t16_a_call_that_does_not_return_is_one_line_with_its_name(hangs: Callable[[], None]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    said = r"^reward mine: fit did not return within 0\.1 s \(limits\.fit\) at .*test_watch\.py:\d+ \(iteration 1\)$"
    call = method_call("mine", "fit", "iteration 1", code=Theirs)
    with watching(SHORT, "limits"), pytest.raises(MethodError, match=said), call:
        hangs()
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_call_after_an_interrupted_one_has_all_its_time() -> None:
    with watching(SHORT):
        for _ in range(2):
            said = r"rewards did not return within 0\.1 s at"
            with pytest.raises(MethodError, match=said), method_call("mine", "rewards"):
                sleeps()
        with method_call("mine", "rewards"):
            pass


def test_what_the_trainer_does_for_a_method_is_no_time_of_the_method() -> None:
    """The watch sees the inner call while it lasts; the outer one's own seconds go on after it."""
    with watching({"fit": 0.2}):
        with method_call("mine", "fit"), Timed():
            time.sleep(1.0)
        with pytest.raises(MethodError, match="did not return"), method_call("mine", "fit"):
            with Timed():
                pass
            sleeps()


def test_without_a_limit_and_in_a_thread_nothing_is_interrupted() -> None:
    done: list[int] = []

    def call() -> None:
        with watching(SHORT), method_call("mine", "fit"):
            time.sleep(0.5)
            done.append(1)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    with watching({"fit": 0.0, "price": 0.1}), method_call("mine", "fit"):
        time.sleep(0.5)
        done.append(2)
    assert done == [1, 2]


def test_calls_of_another_thread_do_not_end_those_of_the_main_one() -> None:
    with watching({"fit": 0.2, "price": 0.0}), method_call("mine", "rewards"):
        inner = threading.Thread(target=lambda: in_a_call(0.6))
        inner.start()
        time.sleep(0.8)
        inner.join()


def in_a_call(seconds: float) -> None:
    with method_call("mine", "fit"):
        time.sleep(seconds)


STUCK = """
import ctypes, time
from spa_bench.method_errors import method_call
from spa_bench.watch import recording, watching


def in_c():
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


def deaf():
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass


with watching({"fit": 0.3}, "limits"), recording(lambda line: print("recorded:", line, flush=True)):
    with method_call("mine", "fit"):
        %s()
print("went on")
"""


@pytest.mark.parametrize("stuck", ["in_c", "deaf"])
def test_t16_what_cannot_be_interrupted_ends_its_process_with_one_line(stuck: str) -> None:
    done: Any = subprocess.run([sys.executable, "-c", STUCK % stuck], capture_output=True, text=True, timeout=300)
    line = "reward mine: fit did not return within 0.3 s (limits.fit) and cannot be interrupted, so this process ends"
    assert (done.returncode, done.stderr, done.stdout) == (2, f"error: {line}\n", f"recorded: {line}\n")
