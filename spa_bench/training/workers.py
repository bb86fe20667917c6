"""Tasks in processes of their own, several at a time; a process that is killed costs its task alone.

The standard library's pool gives up all tasks where one process dies, goes through its queue when it is interrupted,
and leaves its processes behind when it is killed. Here every process has a pipe to this one: whichever of the two dies,
in whatever way, the other one is told.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from spa_bench.core import UserError

ATTEMPTS = 2
"""How often a task is begun whose process is killed."""
GRACE = 5.0
"""Seconds that a process has to end by itself."""
LOOK = 1.0
"""Seconds after which waiting is interrupted where the system does not interrupt it for a signal."""


@dataclass(frozen=True)
class Died:
    """The process of a task ended without a result."""

    code: int
    """Its exit code; negative: the number of a signal."""

    @property
    def defect(self) -> bool:
        """It raised an error, whose traceback is on standard error: it would do so again."""
        return self.code == 1

    def __str__(self) -> str:
        number = -self.code if self.code < 0 else self.code - 128
        with suppress(ValueError):
            return f"its process was killed ({signal.Signals(number).name})"
        return f"its process ended with exit code {self.code}"


class Worker:
    """A process that answers one task after another."""

    def __init__(self, function: Callable[..., Any], place: int, environment: Mapping[str, str]) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.task: int | None = None
        self.place = place
        """Of the workers at one time each has another, from 0 on."""
        try:
            with _variables(environment):
                self.process = start(serve, function, theirs)
        except OSError as error:
            raise UserError(f"cannot start a process ({error.strerror}): lower --jobs") from None
        theirs.close()

    def give(self, task: int, arguments: Sequence[Any]) -> None:
        """Begin a task. Where the process has died, its answer will be that."""
        self.task = task
        with suppress(OSError):
            self.pipe.send(arguments)

    def answer(self) -> tuple[int, Any]:
        """Its task and the result, for which it is ready, or `Died`."""
        assert self.task is not None
        task, self.task = self.task, None
        try:
            return task, self.pipe.recv()
        except (EOFError, OSError):
            self.pipe.close()
            self.process.join()
            return task, Died(self.process.exitcode or 0)


@contextmanager
def _variables(added: Mapping[str, str]) -> Iterator[None]:
    """Variables of processes that are started meanwhile; some libraries read theirs while they are loaded."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Call a function of a module in a new interpreter, which no ctrl-C reaches while it starts."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    if sys.platform == "win32":
        process.start()
        return process
    resource_tracker.ensure_running()  # which the process needs, and which lets signals through when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # inherited; here a signal comes afterwards
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def results(
    function: Callable[..., Any],
    tasks: Sequence[Sequence[Any]],
    jobs: int,
    note: Callable[[int, str], None],
    environments: Sequence[Mapping[str, str]] = (),
) -> Generator[tuple[int, Any], None, None]:
    """Call `function` with the arguments of each task, `jobs` at a time; gives index and result of each as it ends.

    A task whose process was killed is begun once more after the others, which `note` is told; where that one is killed
    too, or raises an error, its result is `Died`. When the generator is closed all processes end. `environments`, one
    for each job where there are any, are added to that of its process, and to that of the one that takes its place.
    """
    waiting, begun = deque(range(len(tasks))), Counter[int]()
    workers: list[Worker] = []
    try:
        while True:
            while waiting and (idle := _idle(workers, jobs, function, environments)) is not None:
                idle.give(task := waiting.popleft(), tasks[task])
                begun[task] += 1
            busy = [worker for worker in workers if worker.task is not None]
            if not busy:
                return
            ready = connection.wait([worker.pipe for worker in busy], LOOK)
            for worker in [worker for worker in busy if worker.pipe in ready]:
                task, answer = worker.answer()
                if isinstance(answer, Died):
                    workers.remove(worker)
                if isinstance(answer, Died) and not answer.defect and begun[task] < ATTEMPTS:
                    note(task, f"{answer}; it is tried once more")
                    waiting.append(task)
                else:
                    yield task, answer
    finally:
        _end(workers)


def _idle(
    workers: list[Worker], jobs: int, function: Callable[..., Any], environments: Sequence[Mapping[str, str]]
) -> Worker | None:
    """One that has nothing to do, a new one where there may be more of them."""
    for worker in workers:
        if worker.task is None:
            return worker
    if len(workers) == jobs:
        return None
    place = min(set(range(jobs)) - {worker.place for worker in workers})
    workers.append(Worker(function, place, environments[place] if environments else {}))
    return workers[-1]


def _end(workers: Sequence[Worker]) -> None:
    """End processes, those at work too: what a run has on record is whole at every moment."""
    for worker in workers:
        worker.pipe.close()
    end = time.monotonic() + 2 * GRACE
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def serve(function: Callable[..., Any], pipe: connection.Connection) -> None:
    """Body of a worker: answers tasks until the other end of the pipe is closed, as the system does for the dead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches all processes of a terminal: the parent decides
    signal.signal(signal.SIGTERM, _leave)
    try:
        tasks: queue.SimpleQueue[Sequence[Any]] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(pipe, tasks), daemon=True).start()
        while True:
            result = function(*tasks.get())
            with suppress(OSError):  # nobody listens any more: this process is about to end
                pipe.send(result)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGTERM) from None


def _listen(pipe: connection.Connection, tasks: queue.SimpleQueue[Sequence[Any]]) -> None:
    with suppress(EOFError, OSError):
        while True:
            tasks.put(pipe.recv())
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)  # it may be deep in a library that does not see signals
    os._exit(128 + signal.SIGTERM)


def _leave(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # once: what is ended now is not interrupted again
    raise KeyboardInterrupt  # as ctrl-C does where there is one process: it passes through everything
