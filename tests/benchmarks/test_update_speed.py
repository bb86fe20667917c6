"""The update and the warm start against TRL's SFTTrainer: SmolLM2, the same conversations, tokens/s and peak memory.

    SPA_BENCH_SMOLLM2=FOLDER pytest tests/benchmarks/test_update_speed.py --benchmark-enable -s

Conversations are the searching expert's in the built-in ALFWorld tasks, as the warm start makes them: 1,200 to 1,800
tokens each, a fifth of them sampled ones. Tokens count as a conversation has them, however often a way computes them.
Each way has a process of its own, one thread, and steps of the same size in the same dtype, with layers computed again
in the backward pass. The losses are those of each way: PPO's of policy, KL and value; TRL's and the warm start's cross
entropy.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spa_bench.config import build
from spa_bench.runs.progress import Progress
from spa_bench.training import start
from spa_bench.training.batches import pack

EPISODES, BATCH = 4, 2


@pytest.fixture(scope="module")
def conversations(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstrations in SmolLM2's tokens: ids, places of the sampled ones, and how many each turn has."""
    torch.set_num_threads(1)
    settings = {"model": {"name": str(smollm2)}, "warm_start": {"episodes": EPISODES}}
    common = start.begin(build({"env": "alfworld", "reward": "sparse"} | settings))
    agent, instructions, rows = start.load_policy(common, None), common.env.instructions, []
    for shown in start.experts(common, EPISODES, Progress.quiet(), slip=common.config.warm_start.slip):
        episode = pack(agent.tokenise(instructions, shown))
        (ids,) = episode.ids
        rows.append({"ids": ids.tolist(), "taught": episode.where[:, 1].tolist(), "lengths": episode.lengths.tolist()})
    path = tmp_path_factory.mktemp("conversations") / "conversations.json"
    path.write_text(json.dumps(rows))
    assert np.mean([len(row["ids"]) for row in rows]) > 1000
    return path


@pytest.mark.minutes
@pytest.mark.timeout(0)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("way", ["update", "clone", "trl", "trl-padding-free"])
def test_update(benchmark: Any, smollm2: Path, conversations: Path, way: str, dtype: str) -> None:
    told = {
        "way": way, "model": str(smollm2), "conversations": str(conversations),
        "dtype": dtype, "recompute": True, "batch": BATCH,
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("updated_conversations.py")), json.dumps(told)]
    found: list[dict[str, float]] = []

    def once() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))

    benchmark.pedantic(once, rounds=1)
    (figures,) = found
    said = {"tokens_per_s": figures["tokens"] / figures["seconds"], "peak_gb": figures["peak"] / 1e9}
    benchmark.extra_info |= figures | said
    print(f"\n{way}, {dtype}: {said['tokens_per_s']:.1f} tokens/s, peak {said['peak_gb']:.2f} GB")
