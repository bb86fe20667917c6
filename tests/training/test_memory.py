"""Running out of memory: one line with the setting to change, and the last checkpoint stays."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SETTINGS, config

from spa_bench.runs.folder import RunFolder
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, ppo, stages, start, warm_start
from spa_bench.training.memory import OutOfMemory, enough_memory


def too_much() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def test_the_allocators_refusal_is_known_from_other_errors() -> None:
    with pytest.raises(OutOfMemory, match=r"^out of memory here: lower it; "), enough_memory("here", "lower it"):
        too_much()
    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError()):
        with pytest.raises(OutOfMemory), enough_memory("here", "lower it"):
            raise error
    with pytest.raises(RuntimeError, match="shapes") as caught, enough_memory("here", "lower it"):
        torch.ones(2) @ torch.ones(3, 3)
    assert not isinstance(caught.value, OutOfMemory)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_run_that_runs_out_of_memory_keeps_its_checkpoint_and_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """As a run that did not, with the settings lowered; in bf16 from the masters."""
    own = config(model=SETTINGS["model"] | {"dtype": dtype})
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    update = ppo.update

    def second(*args: Any, **kwargs: Any) -> dict[str, float]:
        if kwargs["done"]:
            too_much()
        return update(*args, **kwargs)

    whole = experiment.run(own, tmp_path / "whole", Progress.quiet())
    with monkeypatch.context() as patch:
        patch.setattr(ppo, "update", second)
        for name in ("parts", "same"):
            with pytest.raises(OutOfMemory, match=r"in the update: lower ppo\.microbatch, or "):
                experiment.run(own, tmp_path / name, Progress.quiet())
    (left,) = (tmp_path / "parts").rglob("checkpoints/0001")
    rows, _ = Journal(left.parent.parent / "metrics.jsonl").read()
    assert [row["kind"] for row in rows if row["kind"] != "stage"] == ["iteration"]
    lower = {"microbatch_episodes": 1, "microbatch": 4096}
    small = config(
        model=SETTINGS["model"] | {"dtype": dtype, "cache_bytes": 2**26, "gradient_checkpointing": True},
        ppo=SETTINGS["ppo"] | lower,
    )
    again = experiment.run(small, tmp_path / "parts", Progress.quiet())
    assert again == left.parent.parent and experiment.is_finished(RunFolder(again))
    parts = experiment.run(own, tmp_path / "same", Progress.quiet())
    for name in ("policy/model.safetensors", "optimizer.safetensors"):
        one, other = ((path / "checkpoints/0002" / name).read_bytes() for path in (whole, parts))
        assert one == other


def test_the_warm_start_and_the_games_name_their_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    for module, name, setting in (
        (stages, "explore", r"lower model\.cache_bytes"),
        (warm_start, "clone", "warm_start"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: too_much())
        with pytest.raises(OutOfMemory, match=setting):
            experiment.run(config(seed=1), tmp_path / name, Progress.quiet())
        monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "other"))


def test_what_the_warm_start_took_is_free_when_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its trainer refers to itself, and Python frees such things when it likes."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    made, optimizers = warm_start._optimizer, []

    def watched(*args: Any) -> Any:
        found = made(*args)
        optimizers.append(weakref.ref(found))
        return found

    monkeypatch.setattr(warm_start, "_optimizer", watched)
    common = start.begin(config(model=SETTINGS["model"] | {"dtype": "bf16"}))
    gc.disable()
    try:
        start.warm_start(common, Progress.quiet())
        (optimizer,) = optimizers
        assert optimizer() is None
    finally:
        gc.enable()
