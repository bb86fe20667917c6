"""Which GPU a job sees: worked out here, and received by the processes of a comparison. No GPU is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import worked
from invoked import invoke
from tiny import SETTINGS, config

from spa_bench.core import UserError
from spa_bench.runs.folder import config_hash
from spa_bench.training import workers
from spa_bench.training.devices import VARIABLE, choose_device, shared_out, take_device, visible


def test_jobs_have_the_devices_in_turn() -> None:
    assert shared_out(["auto", "cuda"], 3, ["0", "1"]) == [{VARIABLE: "0"}, {VARIABLE: "1"}, {VARIABLE: "0"}]
    assert shared_out(["auto"], 2, ["GPU-8f", "3", "7"]) == [{VARIABLE: "GPU-8f"}, {VARIABLE: "3"}]


@pytest.mark.parametrize(
    ("wanted", "devices"), [("auto", []), ("auto", ["0"]), ("cpu", ["0", "1"]), ("cuda:1", ["0", "1"])]
)
def test_nothing_is_shared_out_where_there_is_no_choice(wanted: str, devices: list[str]) -> None:
    assert shared_out(["auto", wanted], 2, devices) == []


@pytest.mark.parametrize(
    ("said", "count", "want"),
    [(None, 3, ["0", "1", "2"]), ("2, 0", 2, ["2", "0"]), ("1,9", 1, ["1"]), ("", 0, []), (None, 0, [])],
)
def test_only_devices_that_this_process_sees_are_shared_out(
    said: str | None, count: int, want: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv(VARIABLE, raising=False)
    if said is not None:
        monkeypatch.setenv(VARIABLE, said)
    assert visible() == want


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_worker_begins_with_its_device_and_so_does_the_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "5,6")
    own = shared_out(["auto"], 2, ["5", "6"])
    tasks = [(tmp_path, number, end) for number, end in enumerate(("waits", "SIGKILL-once", "done", "ends-0"))]
    found = dict(workers.results(worked.sees, tasks, 2, lambda *_: None, own))
    assert found[0] == "5", "the first one is at work until the last task is done"
    assert [found[number] for number in (1, 2, 3)] == ["6", "6", "6"]
    assert os.environ[VARIABLE] == "5,6"


def test_one_gpu_of_several_is_no_part_of_what_a_run_is() -> None:
    first, second, every = (config(model=SETTINGS["model"] | {"device": name}) for name in ("cuda:0", "cuda:1", "cuda"))
    assert config_hash(first) == config_hash(second) == config_hash(every) != config_hash(config())


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:1"])
def test_other_devices_are_refused(wanted: str) -> None:
    found = invoke("run", "--env", "alfworld", "--reward", "spa", "--set", f"model.device={wanted}", "--dry-run")
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
    assert "setting model.device: " in found.stderr


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"^model\.device=cuda:1, but torch sees no CUDA device: install "):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"^model\.device=cuda:2, but torch sees cuda:0 to cuda:1: choose one of these"):
        choose_device("cuda:2")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match=r"vLLM takes the first GPU that it sees: set CUDA_VISIBLE_DEVICES=1 and "):
        take_device(config(model=SETTINGS["model"] | {"device": "cuda:1", "engine": "vllm"}))


def test_the_doctor_names_each_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((80 - 20 * number) * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Some GPU")
    said = invoke("doctor", "--results", str(tmp_path)).stdout
    assert "good device cuda:0: Some GPU, 80 GB, 80 GB free" in said
    assert "good device cuda:1: Some GPU, 80 GB, 60 GB free" in said
