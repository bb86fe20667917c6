"""Trackers show every row of metrics.jsonl once, on this machine, and never stand in a run's way.

What was written is read back with each library's own code where it is installed. What needs no library is tested with a
made-up `wandb` that writes down what it is told.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import preloaded
import pytest
from tiny import config

from spa_bench.core import UserError
from spa_bench.runs import provenance, trackers
from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, workers

Points = Counter[tuple[str, int, float]]

ROWS: list[dict[str, Any]] = [
    {"kind": "stage", "stage": "warm start", "seconds": 1.5, "weights": "abc"},
    {"kind": "stage", "stage": "fit reward", "seconds": 2.5, "loss": 0.25, "extra_tokens": 12},
    {"kind": "iteration", "iteration": 1, "kl": 0.125, "env_steps": 80, "lost": None, "odd": True},
    {"kind": "iteration", "iteration": 2, "kl": -0.5, "env_steps": 80},
    {"kind": "stage", "stage": "evaluate", "seconds": 3.0},
    {"kind": "failed", "reason": "the loss is NaN"},
    {"kind": "done"},
]
POINTS = [
    ("warm_start/seconds", 0, 1.5),
    ("fit_reward/seconds", 0, 2.5),
    ("fit_reward/loss", 0, 0.25),
    ("fit_reward/extra_tokens", 0, 12.0),
    ("iteration/kl", 1, 0.125),
    ("iteration/env_steps", 1, 80.0),
    ("iteration/kl", 2, -0.5),
    ("iteration/env_steps", 2, 80.0),
    ("evaluate/seconds", 2, 3.0),
]

USERS = {
    "WANDB_API_KEY": "0123456789" * 4,
    "WANDB_MODE": "online",
    "WANDB_PROJECT": "theirs",
    "TRACKIO_SPACE_ID": "someone/space",
    "TRACKIO_SERVER_URL": "http://203.0.113.7/?write_token=abc",
    "TRACKIO_WRITE_TOKEN": "abc",
    "HF_TOKEN": "hf_0123456789",
}
"""What a user may have set for other programs: each would send a run somewhere."""

GUARD = """
import os, socket

def guarded(kind):
    class Guarded(kind):
        def connect(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
                with open(os.environ["NETWORK_LOG"], "a") as log:
                    log.write(f"{address}\\n")
                raise OSError("no network in this test")
            return super().connect(address)
    return Guarded

socket.socket = guarded(socket.socket)
resolve = socket.getaddrinfo

def getaddrinfo(host, *args, **kwargs):
    if host not in (None, "127.0.0.1", "::1", "localhost"):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{host}\\n")
        raise socket.gaierror("no network in this test")
    return resolve(host, *args, **kwargs)

socket.getaddrinfo = getaddrinfo
"""


def needs(name: str) -> None:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")


@pytest.fixture(params=["tensorboard", "trackio", "wandb"])
def library(request: pytest.FixtureRequest) -> str:
    needs(request.param)
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What any new process tried to reach: Python by itself, other programs (wandb has one) by the proxy they are told.

    The home is an empty one, and the user has accounts.
    """
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    log = tmp_path / "network.log"
    monkeypatch.setenv("NETWORK_LOG", str(log))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(guard), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in USERS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")

        def tried() -> list[str]:
            try:
                proxy.accept()[0].close()
                return ["something, through the proxy"]
            except BlockingIOError:
                return log.read_text().splitlines() if log.exists() else []

        yield tried


def truth(path: Path) -> Points:
    """All points that metrics.jsonl asks for; read here once more, without the package's own code."""
    found: Points = Counter()
    step = 0
    for line in (path / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        step = row.get("iteration", step)
        place = row.get("stage", row["kind"]).replace(" ", "_")
        for key, value in row.items():
            if type(value) in (int, float) and key != "iteration":
                found[f"{place}/{key}", step, value] += 1
    return found


def read_tensorboard(path: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return Counter((tag, e.step, e.value) for tag in events.Tags()["scalars"] for e in events.Scalars(tag))


def read_trackio(path: Path) -> Points:
    """In a process of its own: the library reads its folder when it is imported."""
    code = """
    import json, sys
    import trackio
    from trackio.sqlite_storage import SQLiteStorage
    runs = [run.name for run in trackio.Api().runs("spa-bench") if run.name == sys.argv[1]]
    assert len(runs) == 1, runs
    print(json.dumps(SQLiteStorage.get_logs("spa-bench", sys.argv[1])))
    """
    environment = {name: value for name, value in os.environ.items() if name not in USERS}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), "/".join(path.parts[-3:])],
        env=environment | {"TRACKIO_DIR": str(path.parents[3] / "trackio"), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = json.loads(done.stdout.splitlines()[-1])
    return Counter((tag, row["step"], value) for row in rows for tag, value in row.items() if "/" in tag)


def wandb_records(path: Path) -> list[Any]:
    """The records of the one offline file: blocks of 32 KiB with pieces of records, as in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = (path / "wandb").glob("offline-run-*/*.wandb")
    data, found, piece = file.read_bytes(), [], b""
    assert data[:4] == b":W&B"
    place = 7
    while place + 7 <= len(data):
        if (rest := (1 << 15) - place % (1 << 15)) < 7:
            place += rest
            continue
        size, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        piece += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            found.append(Record.FromString(piece))
            piece = b""
    return found


def read_wandb(path: Path) -> Points:
    found: Points = Counter()
    for record in wandb_records(path):
        items = {item.nested_key[0] if item.nested_key else item.key: item for item in record.history.item}
        for tag, item in items.items():
            if not tag.startswith("_"):
                found[tag, record.history.step.num, json.loads(item.value_json)] += 1
    return found


READERS = {"tensorboard": read_tensorboard, "trackio": read_trackio, "wandb": read_wandb}


def shown(library: str, path: Path) -> Points:
    return READERS[library](path)


def same(library: str, path: Path) -> None:
    wanted = truth(path)
    assert wanted and max(wanted.values()) == 1
    if library == "tensorboard":  # which keeps 32 bits
        wanted = Counter((t, s, struct.unpack("f", struct.pack("f", value))[0]) for t, s, value in wanted)
    assert shown(library, path) == wanted


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    settings = config(world={"data": "/data/of/someone/games"}, reward="/data/of/someone/mine.py:Mine")
    with RunFolder.open(run_path(tmp_path / "results", settings), settings, {}) as opened:
        yield opened


def test_points_are_the_numbers_of_iterations_and_stages() -> None:
    found = [(tag, step, value) for step, numbers in trackers.points(ROWS) for tag, value in numbers.items()]
    assert found == POINTS


def test_t23_a_configuration_is_shared_without_folders_of_this_machine() -> None:
    given = {
        "data": "/srv/someone/games",
        "model": {"name": "C:\\models\\qwen", "hub": "Qwen/Qwen2.5-1.5B-Instruct"},
        "reward": "mine/mine.py:Mine",
        "options": {"list": ["~/secret", 3, None, "a/b"]},
    }
    assert provenance.shareable(given) == {
        "data": "games",
        "model": {"name": "qwen", "hub": "Qwen/Qwen2.5-1.5B-Instruct"},
        "reward": "mine/mine.py:Mine",
        "options": {"list": ["secret", 3, None, "a/b"]},
    }


def test_a_missing_or_unknown_library_ends_a_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment.start, "begin", None)
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)  # a folder that wandb left is not the library
    monkeypatch.setattr(trackers.importlib.metadata, "distribution", missing)
    for begin in (experiment.run, lambda *words: experiment.compare([words[0]], words[1], 2, *words[2:])):
        with pytest.raises(UserError, match=r"^wandb is not installed: pip install wandb$"):
            begin(config(), tmp_path / "results", Progress.quiet(), "wandb")
        with pytest.raises(UserError, match=r"^no tracker 'mlflow'; known: tensorboard, trackio, wandb$"):
            begin(config(), tmp_path / "results", Progress.quiet(), "mlflow")
    assert not (tmp_path / "results").exists()


def missing(name: str) -> Any:
    raise importlib.metadata.PackageNotFoundError(name)


def test_the_guard_of_these_tests_sees_an_attempt(network: Callable[[], list[str]]) -> None:
    for code in ("socket.create_connection(('203.0.113.7', 80), 1)", "socket.getaddrinfo('api.wandb.ai', 443)"):
        subprocess.run([sys.executable, "-c", f"import socket; {code}"], capture_output=True)
    assert network() == ["203.0.113.7", "api.wandb.ai"]
    socket.create_connection(("127.0.0.1", int(os.environ["HTTPS_PROXY"].rpartition(":")[2]))).close()
    assert network() == ["something, through the proxy"]


def test_every_point_is_shown_once_without_network_prompt_or_noise(
    library: str, folder: RunFolder, network: Callable[[], list[str]]
) -> None:
    """In a terminal, as a user would run it; with rows before the tracker starts and while it is there."""
    folder.metrics.extend(ROWS[:2])
    code = f"""
    import json, sys, time
    from pathlib import Path
    from spa_bench.runs import trackers
    from spa_bench.runs.journal import Journal
    from spa_bench.runs.progress import Progress
    path = Path(sys.argv[1])
    with trackers.tracked({library!r}, path, Progress("lines")):
        for row in json.loads(sys.argv[2]):
            Journal(path / "metrics.jsonl").append(row)
            time.sleep(0.4)
    """
    ours, terminal = pytest.importorskip("pty").openpty()
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder.path), json.dumps(ROWS[2:])]
    done = subprocess.run(command, stdin=terminal, capture_output=True, text=True, timeout=120)
    os.close(ours)
    os.close(terminal)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert network() == []
    assert shown(library, folder.path) == Counter(POINTS)
    results = folder.path.parents[3]
    told = b"".join(file.read_bytes() for file in results.rglob("*") if file.suffix in {".wandb", ".db", ".0"})
    assert b"mine.py:Mine" in told, "the configuration is there"
    for secret in (b"/data/of", b"hf_01234", b"0123456789" * 4, os.fsencode(results)):
        assert secret not in told


def test_a_run_that_was_killed_and_resumed_has_each_point_once(library: str, tmp_path: Path) -> None:
    settings = config()
    path = run_path(tmp_path, settings)
    process = preloaded.start(experiment.run, settings, tmp_path, Progress.quiet(), library)
    deadline = time.monotonic() + 120
    while not (path / "checkpoints/0001").exists() or not (path / "tracker.log").exists():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.join()
    rows, _ = Journal(path / "metrics.jsonl").read()
    assert not any(row["kind"] == "done" for row in rows), "the kill came too late to tell anything"
    assert experiment.run(settings, tmp_path, Progress.quiet(), library) == path
    same(library, path)
    experiment.run(settings, tmp_path, Progress.quiet(), library)  # finished: shown anew, and not twice
    same(library, path)


def test_runs_side_by_side_are_all_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the three, trackio keeps all runs in one file."""
    needs(library := "trackio")
    monkeypatch.setattr(workers, "start", preloaded.start)
    configs = [config(reward=reward) for reward in ("sparse", "uniform")]
    paths = experiment.compare(configs, tmp_path, 2, Progress.quiet(), library)
    assert paths == [run_path(tmp_path, settings) for settings in configs], "the tracker is in no hash"
    for path in paths:
        same(library, path)


def test_a_library_that_cannot_write_is_noted_once_and_the_run_goes_on(
    library: str, folder: RunFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    place = (folder.path.parents[3] if library == "trackio" else folder.path) / library
    place.write_text("a file is in the way")
    with trackers.tracked(library, folder.path, Progress("lines")):
        folder.metrics.extend(ROWS)
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"{library} is incomplete (")
    assert folder.metrics.read() == (ROWS, 0)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A library called wandb that writes what it is told into `told` of the run folder, and first does `body`."""

    def write(body: str = "pass") -> None:
        site = tmp_path / "site"
        (site / "wandb-0.dist-info").mkdir(parents=True)
        (site / "wandb-0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: wandb\nVersion: 0\n")
        (site / "wandb.py").write_text(
            "import json, os, signal, sys, time\n"
            "def Settings(**kwargs): return kwargs\n"
            "class init:\n"
            "    def __init__(self, **kwargs):\n"
            "        print('noise', flush=True); os.system('echo noise of a process >&2')\n"
            "        self.file = open(os.path.join(kwargs['settings']['root_dir'], 'told'), 'w')\n"
            "        print(json.dumps(kwargs), file=self.file, flush=True)\n"
            "    def log(self, numbers, step):\n"
            f"        {body}\n"
            "        print(json.dumps([step, numbers]), file=self.file, flush=True)\n"
            "    def finish(self): print('\"finished\"', file=self.file, flush=True)\n"
        )
        monkeypatch.syspath_prepend(site)

    return write


def told(folder: RunFolder) -> list[Any]:
    file = folder.path / "told"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_rows_are_shown_while_the_run_goes_on_and_torn_ones_when_they_are_whole(
    fake: Callable[..., None], folder: RunFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    fake()
    folder.metrics.append(ROWS[0])
    with folder.metrics.path.open("ab") as file:
        file.write(b'{"kind":"iteration","iter')  # a kill came in between
    with trackers.tracked("wandb", folder.path, Progress("lines")):
        until(lambda: len(told(folder)) == 2)
        folder.metrics.append(ROWS[2])
        until(lambda: len(told(folder)) == 3)
        folder.metrics.append(ROWS[4])
    start, *points, end = told(folder)
    assert points == [
        [0, {"warm_start/seconds": 1.5}],
        [1, {"iteration/kl": 0.125, "iteration/env_steps": 80}],
        [1, {"evaluate/seconds": 3.0}],
    ]
    assert end == "finished"
    assert (start["mode"], start["settings"]["root_dir"]) == ("offline", str(folder.path))
    assert (start["config"]["reward"], start["config"]["world"]["data"]) == ("mine.py:Mine", "games")
    assert capfd.readouterr() == ("", "")
    assert "noise of a process" in (folder.path / "tracker.log").read_text()


def test_a_tracker_ends_when_its_run_is_killed(fake: Callable[..., None], folder: RunFolder) -> None:
    """It sends what is there and lets go; the next one waits for that."""
    fake()
    folder.metrics.append(ROWS[0])
    code = (
        "import sys, time; from pathlib import Path; from spa_bench.runs import trackers; from spa_bench.runs.progress "
        "import Progress; sys.path.insert(0, sys.argv[2]); context = trackers.tracked('wandb', Path(sys.argv[1]), "
        "Progress.quiet()); context.__enter__(); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder.path), sys.path[0]])
    until(lambda: len(told(folder)) == 2)
    folder.metrics.append(ROWS[2])
    process.kill()
    process.wait()
    until(lambda: told(folder)[-1] == "finished")
    assert [step for step, _ in told(folder)[1:-1]] == [0, 1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise type('Odd', (Exception,), {})('no room')", "wandb.Odd: no room"),
        ("os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
        ("sys.exit(3)", "exit code 3"),
        ("time.sleep(1000)", "it did not finish in 1 s"),
    ],
)
def test_whatever_a_library_does_the_run_goes_on(
    body: str,
    reason: str,
    fake: Callable[..., None],
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fake(body)
    if "sleep" in body:  # the others end by themselves, on a busy machine later than on an idle one
        monkeypatch.setattr(trackers, "PATIENCE", 1.0)
    with trackers.tracked("wandb", folder.path, Progress("lines")):
        for row in ROWS:
            folder.metrics.append(row)
    assert folder.metrics.read() == (ROWS, 0)
    said = capfd.readouterr()
    assert said.out == ""
    log = folder.path / "tracker.log"
    assert said.err == f"wandb is incomplete ({reason}); metrics.jsonl is complete. See {log}\n"


def test_a_tracker_that_cannot_even_complain_is_no_reason_to_stop(
    fake: Callable[..., None], folder: RunFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    fake()
    (folder.path / "tracker.log").mkdir()
    with trackers.tracked("wandb", folder.path, Progress("lines")):
        folder.metrics.extend(ROWS)
    said = capfd.readouterr().err
    assert said.startswith("no wandb: ") and said.endswith("; metrics.jsonl is still written\n")
    assert folder.metrics.read() == (ROWS, 0)


def test_a_machine_without_room_for_a_process_is_no_reason_to_stop(
    fake: Callable[..., None],
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def full(process: Any) -> None:
        raise BlockingIOError(11, "no more processes")

    fake()
    monkeypatch.setattr(trackers.multiprocessing.get_context("spawn").Process, "start", full)
    with trackers.tracked("wandb", folder.path, Progress("lines")):
        folder.metrics.extend(ROWS)
    assert capfd.readouterr().err.startswith("no wandb: ") and folder.metrics.read() == (ROWS, 0)
