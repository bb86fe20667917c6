"""A start cache with one changed byte is made again: every method starts from the same bytes, or from none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from tiny import config

from spa_bench import manifest
from spa_bench.runs.progress import Progress
from spa_bench.training import start
from spa_bench.training.warm_episodes import EPISODES, evaluate, explore


def test_no_changed_byte_of_a_start_cache_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 bytes are noticed; warm start and exploration, made again, have the bytes that they had."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    common = start.begin(config())

    def begin() -> list[Path]:
        policy = start.warm_start(common, Progress.quiet())
        return [policy, explore(common, policy, Progress.quiet()), evaluate(common, policy, Progress.quiet())]

    folders = begin()
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    assert {path.name for path in files} > {"model.safetensors", "tokenizer.json", EPISODES}
    whole = {path: path.read_bytes() for path in files}
    assert begin() == folders and capsys.readouterr().err == ""

    def change(path: Path, rng: random.Random) -> None:
        content = bytearray(whole[path])
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        manifest._remembered.cache_clear()

    rng = random.Random(0)
    for number in range(60):
        path = files[number % len(files)]
        change(path, rng)
        assert [folder for folder in folders if manifest.fault(folder)] == [path.parents[0]]
        path.write_bytes(whole[path])
    for name in ("model.safetensors", EPISODES):
        change(next(path for path in files if path.name == name), rng)
        assert begin() == folders
        said = capsys.readouterr().err
        assert f"({name} has another content): it is made again" in said and said.count("\n") == 1
    assert {path: path.read_bytes() for path in files} == whole
