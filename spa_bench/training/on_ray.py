"""The runs of a comparison on a Ray cluster: the start of each seed first, and no more tasks than there is room for.

What is on record of a run is whole at every moment, so that a lost process, node or driver costs no more than what is
under way: the next one goes on from there.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.files import cache_root, sole_maker, temporary_name
from spa_bench.runs.deadline import Deadline
from spa_bench.runs.folder import RunFolder, record_failure, run_path
from spa_bench.runs.progress import Progress
from spa_bench.training import ray_tasks
from spa_bench.training.experiment import Attempt, time_left, title
from spa_bench.training.workers import ATTEMPTS

LOOK = 1.0
"""Seconds between two looks at what the runs say."""
PERIOD = 60.0
"""Seconds between two lines on how far one run has come."""
AHEAD = 2
"""Tasks beyond those that there is room for: a node begins the next at once, and a growing cluster sees the demand."""


@dataclass(frozen=True)
class Request:
    """What is asked of a cluster."""

    address: str | None = None
    """As of `ray.init`; by default RAY_ADDRESS, else a cluster of this machine alone."""
    cpus: float = 1.0
    """Of each run."""
    gpus: float | None = None
    """Of each run; by default one where the cluster has any and the run may use it."""
    most: int | None = None
    """Runs at a time; by default as many as there is room for."""


def required() -> Any:
    """Ray; UserError without it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would tell its makers that it was started
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        return import_module("ray")
    except ImportError as error:
        raise UserError(f"--engine ray needs Ray ({error}): pip install 'spa-bench[ray]'") from None


def runs(
    request: Request,
    configs: Sequence[RunConfig],
    todo: Sequence[bool],
    progress: Progress,
    where: tuple[Path, str | None, Deadline],
) -> Iterator[tuple[int, Attempt]]:
    """The runs on the cluster of a request; index and outcome of each as it ends.

    UserError where there is no Ray or no such cluster, and where its nodes have different versions installed.
    """
    ray = required()
    results, track, deadline = where
    with _connected(ray, request.address), _place(results) as place:
        nodes = _look(ray, place, progress)
        shared = all(seen.results for seen in nodes)
        took, rest = list[float](), sum(todo)
        queue = Queue(ray, request, configs, place, progress, track, deadline)
        queue.fill([index for index in range(len(configs)) if todo[index] or shared], todo)
        with progress.stage("runs", total=len(configs)) as stage:
            done = [(index, Attempt(0.0)) for index in range(len(configs)) if not (todo[index] or shared)]
            for index, attempt in itertools.chain(done, queue.results()):
                if todo[index] and attempt.problem is None:
                    took.append(attempt.seconds)
                rest -= todo[index]
                left = time_left(took, rest, max(1, min(queue.room(), len(configs))))
                stage.given(1, last=title(configs[index]), **({"left": left} if left else {}))
                yield index, attempt


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """A connection to the cluster, ended with all that it has begun; one that is open already stays so."""
    if ray.is_initialized():
        yield
        return
    chosen = address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"include_dashboard": False} if chosen == "local" else {}
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=chosen, log_to_driver=False, logging_level="ERROR", **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        fix = "start one with `ray start`, or check --address"
        raise UserError(f"no Ray cluster at {chosen} ({said}): {fix}") from None
    if threading.current_thread() is threading.main_thread():
        for number, handler in heard.items():
            signal.signal(number, handler)  # Ray has put its own in their place
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _place(results: Path) -> Iterator[ray_tasks.Place]:
    """The driver's folders, with a file in each by which a node knows them."""
    token = temporary_name(Path(f"ray-{secrets.token_hex(8)}")).name
    own = {name: value for name in ray_tasks.HANDED if (value := os.environ.get(name)) is not None}
    place = ray_tasks.Place(results.absolute(), cache_root(), token, Path.cwd(), own)
    place.results.mkdir(parents=True, exist_ok=True)
    files = [folder / token for folder in (place.results, place.cache)]
    try:
        for file in files:
            file.touch()
        yield place
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _look(ray: Any, place: ray_tasks.Place, progress: Progress) -> list[ray_tasks.Seen]:
    """Look at each node; UserError where two of them would not make the same run."""
    strategy = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    look = ray_tasks.tasks(ray)[ray_tasks.look]
    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    asked = [look.options(scheduling_strategy=strategy(node, soft=False)).remote(place) for node in alive]
    seen: list[ray_tasks.Seen] = []
    for reference in asked:
        try:
            seen.append(ray.get(reference))
        except ray.exceptions.RayTaskError as error:
            raise UserError(f"a node of the cluster cannot run spa-bench: {_last_line(error)}") from None
        except ray.exceptions.RayError:  # a node that is gone by now
            continue
    if not seen:
        raise UserError("no node of the cluster answers: see `ray status`")
    ours = ray_tasks.installed()
    for node in seen:
        for name, version in node.versions.items():
            same = ours if name.startswith("spa-bench") else seen[0].versions  # a driver may have no GPU's torch
            if version != same[name]:
                known = f"{version} on {node.host} and {same[name]} elsewhere"
                raise UserError(f"{name} is {known}: install the same on all nodes, or their runs cannot be compared")
    cpus, gpus = (ray.cluster_resources().get(kind, 0) for kind in ("CPU", "GPU"))
    words = "is seen by all" if all(node.results for node in seen) else "is not seen by all: runs are brought back"
    size = f"{len(seen)} nodes, {cpus:g} CPUs and {gpus:g} GPUs"
    progress.note(f"Ray cluster of {size}; the folder of results {words}")
    return seen


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1][:300]


@dataclass(frozen=True)
class Task:
    """A run, or the start of a seed, which is made with the configuration of its first run."""

    index: int
    start: str | None = None
    """What the runs of one start have in common; None for a run."""


@dataclass
class Queue:
    """Tasks that wait, and those under way."""

    ray: Any
    request: Request
    configs: Sequence[RunConfig]
    place: ray_tasks.Place
    progress: Progress
    track: str | None
    deadline: Deadline
    waiting: deque[Task] = field(default_factory=deque)
    under_way: dict[Any, tuple[Task, Any]] = field(default_factory=dict)
    """Reference of a task's outcome -> the task, and the reference of its files."""
    after: dict[str, list[int]] = field(default_factory=dict)
    """Start -> the runs that wait for it."""
    starts: dict[str, Any] = field(default_factory=dict)
    """Start -> the reference of its files."""
    begun: Counter[Task] = field(default_factory=Counter)
    shown: dict[int, float] = field(default_factory=dict)
    """Run -> when it was last shown how far it has come."""

    def __post_init__(self) -> None:
        self.tasks = ray_tasks.tasks(self.ray)
        self.board = None
        if self.progress.mode != "quiet":
            self.board = self.ray.remote(num_cpus=0)(ray_tasks.Board).remote()

    def fill(self, wanted: Sequence[int], todo: Sequence[bool]) -> None:
        """Have these runs done: those that are finished are only looked at, the others wait for their start."""
        for index in wanted:
            if todo[index]:
                self.after.setdefault(start_of(self.configs[index]), []).append(index)
            else:
                self.waiting.append(Task(index))
        self.waiting.extend(Task(indices[0], start) for start, indices in self.after.items())

    def results(self) -> Generator[tuple[int, Attempt], None, None]:
        """Index and outcome of each run as it ends; when it is closed, all that is under way is ended."""
        try:
            while self.waiting or self.under_way:
                while self.waiting and len(self.under_way) < self._most():
                    self._begin(self.waiting.popleft())
                ready, _ = self.ray.wait(list(self.under_way), num_returns=1, timeout=LOOK)
                self._show()
                for reference in ready:
                    yield from self._ended(reference)
            self._show()
        finally:
            for reference in self.under_way:
                with suppress(self.ray.exceptions.RayError):
                    self.ray.cancel(reference, force=True)

    def room(self) -> int:
        """How many runs the cluster can do at once as it is now."""
        gpus = max(map(self._gpus, self.configs))
        found = 0
        for node in self.ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            parts = [has.get("CPU", 0) / self.request.cpus] if self.request.cpus else []
            parts += [has.get("GPU", 0) / gpus] if gpus else []
            found += int(min(parts, default=1))
        return found

    def _most(self) -> int:
        return self.request.most or self.room() + AHEAD

    def _gpus(self, config: RunConfig) -> float:
        if self.request.gpus is not None:
            return self.request.gpus
        return float(config.model.device != "cpu" and self.ray.cluster_resources().get("GPU", 0) > 0)

    def _begin(self, task: Task) -> None:
        config = self.configs[task.index]
        self.begun[task] += 1
        given = [self.place, task.index, config, self.board, self.deadline]
        if task.start is None:
            starts = [self.starts[start]] if (start := start_of(config)) in self.starts else []
            given += [self.track, starts]
        function = self.tasks[ray_tasks.do_run if task.start is None else ray_tasks.make_start]
        name = f"spa-bench: {'start of ' if task.start is not None else ''}{title(config)}"
        options = {"num_cpus": self.request.cpus, "num_gpus": self._gpus(config), "name": name}
        outcome, files = function.options(**options).remote(*given)
        self.under_way[outcome] = task, files

    def _ended(self, reference: Any) -> Iterator[tuple[int, Attempt]]:
        """What comes of a task that is over: a run's outcome, runs that can begin now, or another attempt."""
        task, files = self.under_way.pop(reference)
        errors = self.ray.exceptions
        try:
            attempt: Attempt = self.ray.get(reference)
            if task.start is None:
                self._bring_back(task, self.ray.get(files))
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            attempt = Attempt(0.0, RuntimeError(f"{title(self.configs[task.index])}: {error}"))
        except errors.RayError as error:
            reason = f"its process was lost ({type(error).__name__})"
            if self.begun[task] < ATTEMPTS:
                self._note(task.index, f"{reason}; it is tried once more")
                self.waiting.append(task)
                return
            fix = "raise --cpus-per-run if memory ran out, so that fewer share a node"
            attempt = self._lost(task, f"{reason}, {ATTEMPTS} times: {fix}")
        if task.start is None:
            yield task.index, attempt
            return
        runs = self.after.pop(task.start)
        if attempt.problem is not None:
            yield from ((index, Attempt(0.0, attempt.problem)) for index in runs)
            return
        self.starts[task.start] = files
        self.waiting.extend(map(Task, runs))

    def _lost(self, task: Task, reason: str) -> Attempt:
        """A task whose process was lost each time that it was begun: it cannot say so itself."""
        config = self.configs[task.index]
        said = f"{reason}; the same command tries it again"
        if task.start is None:
            record_failure(run_path(self.place.results, config), said)
        return Attempt(0.0, UserError(f"{title(config)}: {said}"))

    def _bring_back(self, task: Task, files: ray_tasks.Files) -> None:
        """Put a run that was done in a folder of another node into the folder of results."""
        path = run_path(self.place.results, self.configs[task.index])
        if files and not RunFolder(path).is_finished():
            with sole_maker(path):
                ray_tasks.unpack_run(files, path)

    def _note(self, index: int, words: str) -> None:
        self.progress.note(f"{title(self.configs[index])}: {words}")

    def _show(self) -> None:
        """All notes of the runs, and now and then how far each has come."""
        if self.board is None:
            return
        try:
            notes, lines = self.ray.get(self.board.take.remote())
        except self.ray.exceptions.RayActorError:  # its node is gone: runs go on without it
            self.board = None
            return
        for index, line in notes:
            self._note(index, line)
        now = time.monotonic()
        for index, line in sorted(lines.items()):
            if now - self.shown.get(index, -PERIOD) >= PERIOD:
                self.shown[index] = now
                self._note(index, line)


def start_of(config: RunConfig) -> str:
    """What the runs of one start have in common: all settings but those of the method and of its training."""
    values = config.model_dump(mode="json", exclude={"reward", "reward_options", "ppo", "limits", "collect"})
    return json.dumps([values, config.ppo.temperature], sort_keys=True)
