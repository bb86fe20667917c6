"""The same code on CUDA: cached sampling, scoring and a whole run agree with what the CPU says."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SETTINGS, TEXTS, config, language_model

from spa_bench.core import Conversation, Message
from spa_bench.runs.folder import read_run
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.batches import pack
from spa_bench.training.policy import DTYPES, Policy

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def talk(agent, turns: int = 3):  # type: ignore[no-untyped-def]
    conversations = [Conversation(i, 10 + i, [Message("user", TEXTS[i % len(TEXTS)])]) for i in range(5)]
    said: list[list] = [[] for _ in conversations]
    for _ in range(turns):
        for conversation, reply, own in zip(conversations, agent.act(conversations), said, strict=True):
            own.append(reply.tokens)
            conversation.messages += [Message("assistant", reply.text), Message("user", TEXTS[conversation.id])]
    return said


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-3), ("bf16", 0.1)])
def test_cached_log_probs_on_the_gpu_equal_a_forward_pass(dtype: str, tolerance: float) -> None:
    agent = language_model(dtype=DTYPES[dtype])
    agent.model.to("cuda")
    said = talk(agent)
    policy = Policy(agent.model)
    with torch.no_grad():
        plain = policy([pack(own) for own in said]).logprobs.cpu().numpy()
    sampled = [lp for own in said for tokens in own for lp in tokens.logprobs]
    assert np.abs(plain - sampled).mean() < tolerance


def test_gpu_and_cpu_score_alike() -> None:
    agent = language_model()
    packed = [pack(own) for own in talk(agent)]
    there = copy.deepcopy(agent.model).to("cuda")
    with torch.no_grad():
        cpu = Policy(agent.model)(packed).logprobs
        gpu = Policy(there)(packed).logprobs.cpu()
    torch.testing.assert_close(cpu, gpu, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_whole_run_on_the_gpu(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    model = SETTINGS["model"] | {"device": "cuda", "dtype": dtype}
    path = experiment.run(config(reward="spa", model=model), tmp_path, Progress.quiet())
    rows, _ = Journal(path / "metrics.jsonl").read()
    assert [row["kind"] for row in rows][-1] == "done"
    assert read_run(path)["facts"]["device"] == "cuda"
