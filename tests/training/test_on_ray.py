"""A comparison on a Ray cluster of two nodes: a killed driver and a killed worker cost nothing but time."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import struck
from invoked import invoke
from outcome import outcome
from tiny import SETTINGS, config

from spa_bench.commands.options import to_toml
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.runs.folder import run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, on_ray

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Any]:
    """Two nodes of a processor each, every one with a cache of its own."""
    from ray.cluster_utils import Cluster

    store = 80 << 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(place / "cache-of-the-head"))
        found = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": store})
        other = {"SPA_BENCH_CACHE": str(place / "cache-of-the-other")}
        found.add_node(num_cpus=1, object_store_memory=store, env_vars=other)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture(autouse=True)
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(place / "cache-of-the-driver"))


def compared(configs: list[RunConfig], results: Path, cluster: Any) -> str:
    """The runs on the cluster; what was said meanwhile. The connection stays, so that processes need not start anew."""
    if not ray.is_initialized():
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    said = io.StringIO()
    attempts = partial(on_ray.runs, on_ray.Request())
    experiment.compare(configs, results, 1, Progress("notes", said), attempts=attempts)
    return said.getvalue()


def rows(path: Path, kind: str) -> int:
    return sum(row["kind"] == kind for row in Journal(path / "metrics.jsonl").read()[0])


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_driver_and_a_worker_are_killed_and_the_table_is_that_of_one_process(cluster: Any, place: Path) -> None:
    """The driver while its first runs train, a worker of the one that goes on in the middle of an iteration."""
    (place / "mine.py").write_text(struck.CODE)
    (file := place / "tiny.toml").write_text(to_toml(SETTINGS), encoding="utf-8")
    methods = ["uniform", f"{place}/mine.py:Once"]
    configs = [config(reward=method, seed=seed) for method in methods for seed in (0, 1)]
    results, alone = place / "results", place / "alone"
    paths = [run_path(results, one) for one in configs]

    words = ["compare", "--env", "alfworld", "--reward", ",".join(methods), "--seeds", "2", "--config", str(file)]
    words += ["--engine", "ray", "--address", cluster.address, "--results", str(results)]
    driver = subprocess.Popen([sys.executable, "-m", "spa_bench", *words], stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 300
    while not any(rows(path, "iteration") for path in paths if path.is_dir()):
        assert driver.poll() is None and time.monotonic() < limit, driver.communicate()[1]
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    _, before = driver.communicate()
    assert "Ray cluster of 2 nodes, 2 CPUs and 0 GPUs; the folder of results is seen by all" in before
    assert sum(rows(path, "done") for path in paths) < len(paths)

    (place / "struck").unlink(missing_ok=True)
    said = compared(configs, results, cluster)
    assert said.count("its process was lost (WorkerCrashedError); it is tried once more") == 1
    assert all(f"alfworld, mine.Once, seed {seed}: begun on" in said for seed in (0, 1))
    assert [rows(path, "done") for path in paths] == [1] * 4
    assert [rows(path, "failed") for path in paths] == [0] * 4

    shutil.copytree(place / "cache-of-the-head", place / "cache-of-the-driver", dirs_exist_ok=True)
    experiment.compare(configs, alone, 1, Progress.quiet())
    assert outcome(results) == outcome(alone)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="a folder that only one process sees")
def test_runs_come_back_from_nodes_that_do_not_see_the_results(cluster: Any, place: Path, tmp_path: Path) -> None:
    """Under the number of a file that is open in this process alone, the path leads nowhere on a node."""
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        results = Path(f"/proc/self/fd/{handle}/results")
        configs = [config(reward="uniform"), config(reward="sparse")]
        assert "is not seen by all: runs are brought back" in compared(configs, results, cluster)
        assert "begun on" not in compared(configs, results, cluster), "what was brought back is finished"
    finally:
        os.close(handle)
    alone = tmp_path / "alone"
    experiment.compare(configs, alone, 1, Progress.quiet())
    assert outcome(tmp_path / "results") == outcome(alone)
    assert not list(place.glob("cache-of-*/ray/*/runs/*/*/*/run.json")), "nothing is left on the nodes"


def test_no_more_is_handed_in_than_there_is_room_for(cluster: Any, tmp_path: Path) -> None:
    if not ray.is_initialized():
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    place = on_ray.ray_tasks.Place(tmp_path, tmp_path, "", tmp_path, {})
    configs = [config(seed=seed) for seed in range(9)]

    def room(**asked: Any) -> int:
        given = (on_ray.Request(**asked), configs, place, Progress.quiet(), None, on_ray.Deadline())
        return on_ray.Queue(ray, *given).room()

    assert [room(), room(cpus=0.5), room(cpus=0.3), room(cpus=2.0), room(gpus=0.5)] == [2, 4, 6, 0, 0]


def test_without_ray_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["compare", "--env", "alfworld", "--reward", "sparse", "--results", str(tmp_path)]
    found = invoke(*words, "--engine", "ray")
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert "error: --engine ray needs Ray (" in found.stderr and "pip install 'spa-bench[ray]'" in found.stderr
    found = invoke(*words, "--gpus-per-run", "0.5")
    assert (found.exit_code, found.stderr) == (2, "error: --gpus-per-run is for --engine ray\n")


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    request = on_ray.Request("nothing:here")
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(UserError, match=r"^no Ray cluster at nothing:here \("):
        list(on_ray.runs(request, [config()], [True], Progress.quiet(), (tmp_path, None, on_ray.Deadline())))


def test_runs_share_a_start_that_differ_in_the_method_alone() -> None:
    one = on_ray.start_of(config(reward="spa", reward_options={"alpha": 2.0}))
    assert one == on_ray.start_of(config(reward="sparse", ppo=SETTINGS["ppo"] | {"iterations": 9}))
    others = [
        config(seed=1),
        config(env="webshop"),
        config(ppo=SETTINGS["ppo"] | {"temperature": 0.5}),
        config(explore={"tasks": 5, "samples": 2}),
        config(model=SETTINGS["model"] | {"hidden": 64}),
    ]
    assert all(on_ray.start_of(other) != one for other in others)
