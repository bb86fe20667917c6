"""Adapters that engines with weights of their own are given by name; server and vLLM are played by a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import played_vllm
import pytest
import torch
from safetensors.torch import load_file
from served import Served
from tiny import config, language_model

from spa_bench import registry
from spa_bench.agents.engines import Engine, Prompt, Sampling
from spa_bench.agents.engines.agreement import apart
from spa_bench.agents.engines.server import ServerEngine
from spa_bench.agents.engines.weights import RANKS, room, save_adapter, untied
from spa_bench.config import ModelConfig
from spa_bench.core import Conversation, Message, UserError
from spa_bench.runs.progress import Progress
from spa_bench.training import adapter, experiment, start

pytest.importorskip("peft")

LORA = ModelConfig(adapter="lora", lora_rank=4, lora_alpha=12)
SAMPLED = Sampling(6, 0.7, frozenset({3, 5}))
PROMPTS = [Prompt(key, [7, 9, 30 + key], 2**62 + key) for key in range(4)]


def adapted(engine: Any = None, seed: int = 0) -> Any:
    agent = language_model(seed=seed, engine=engine)
    adapter.attach(agent.model, LORA, seed=3)
    return agent


def moved(model: Any, seed: int) -> None:
    """Another adapter, as an update makes one."""
    own = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in adapter.weights(model).items():
            if adapter.is_b(name):
                weight.add_(0.2 * torch.randn(weight.shape, generator=own))


def gap(engine: Engine, model: Any) -> float:
    return apart(model, PROMPTS, engine.generate(PROMPTS, SAMPLED), 0.7)


def at(server: Served, folder: Path, **options: Any) -> ServerEngine:
    engine = ServerEngine(context=512, lora_rank=4, url=server.url, retries=1, weights=str(folder), **options)
    engine.client._sleep = lambda seconds: None
    return engine


def asked(server: Served, end: str) -> list[Any]:
    return [body for path, _, body in server.requests if path.endswith(end)]


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = played_vllm.module()
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")  # is set by the engine
    return module.platforms.current_platform


def in_process(**options: Any) -> Any:
    return registry.engine("vllm", options, context=512, lora_rank=4)


# What is handed over


def test_an_adapter_is_saved_as_peft_reads_it(tmp_path: Path) -> None:
    from peft import PeftModel, get_peft_model

    model = adapted().model
    moved(model, 1)
    save_adapter(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    get_peft_model(language_model().model, model.peft_config["default"]).save_pretrained(tmp_path / "own")
    of = [load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, tmp_path / "own")]
    assert of[0].keys() == of[1].keys(), "vLLM knows no other names"
    again = PeftModel.from_pretrained(language_model().model, tmp_path)
    ids = torch.arange(4, 40)[None]
    assert torch.equal(again.eval()(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


def test_the_base_of_an_adapter_is_what_it_was_before_it() -> None:
    model = adapted().model
    moved(model, 1)
    before, base, merged = untied(language_model().model), untied(model, merged=False), untied(model)
    assert before.keys() == base.keys() == merged.keys()
    assert all(torch.equal(base[name], before[name]) for name in before)
    changed = {name for name in before if not torch.equal(merged[name], before[name])}
    assert len(changed) == 2 * 7  # linear layers


@pytest.mark.parametrize(("rank", "least"), [(1, 1), (2, 8), (8, 8), (16, 16), (17, 32), (512, 512), (513, 0)])
def test_vllm_has_room_for_an_adapter_in_the_least_of_its_sizes(rank: int, least: int) -> None:
    assert room(rank) == least and list(RANKS) == sorted(RANKS)


# A server


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_server_gets_the_base_once_and_then_adapters_under_new_names(
    server: Served, tmp_path: Path, kind: Any
) -> None:
    engine, model = at(server, tmp_path, kind=kind), adapted(seed=5).model
    assert gap(engine, model) > 0.01, "it has other weights"
    moved(model, 0)
    names: list[str] = []
    for update in range(1, 4):
        engine.load(model)
        assert gap(engine, model) < 1e-5
        moved(model, update)
        assert gap(engine, model) > 0.01, "stale adapters are told apart"
        loads, removed = asked(server, "/load_lora_adapter"), asked(server, "/unload_lora_adapter")
        names = [body["lora_name"] for body in loads]
        assert len(set(names)) == update and [body["lora_name"] for body in removed] == names[:-1]
        assert list(server.adapters) == names[-1:]
        assert {path.name for path in tmp_path.iterdir()} == {"weights-000000", names[-1]}
    assert len(asked(server, "/collective_rpc") + asked(server, "/update_weights_from_disk")) == 1
    said = server.requests[-1][2]
    assert (said["model"] if kind == "vllm" else said["lora_path"]) == names[-1]
    other = ServerEngine(context=512, url=server.url, weights=str(tmp_path / "other"), kind=kind)
    other.load(model)
    assert other.adapter not in names, "another run at this server has names of its own"


def test_a_server_gets_another_base_and_whole_weights_where_a_model_has_them(server: Served, tmp_path: Path) -> None:
    engine, plain, one, two = at(server, tmp_path), language_model(seed=7).model, adapted().model, adapted(seed=5).model
    pushed = 0
    for model, base in ((plain, 1), (one, 1), (one, 0), (two, 1), (plain, 1), (two, 1), (two, 0)):
        moved(model, pushed) if model is not plain else None
        engine.load(model)
        pushed += base
        assert gap(engine, model) < 1e-5
        assert len(asked(server, "/collective_rpc")) == len(asked(server, "/reset_prefix_cache")) == pushed
    engine.load(plain)
    assert not server.adapters and [path.name for path in tmp_path.iterdir()] == ["weights-000005"]


def test_a_server_gets_merged_weights_where_that_is_asked_for(server: Served, tmp_path: Path) -> None:
    engine, model = at(server, tmp_path, merge=True), adapted().model
    for update in range(2):
        moved(model, update)
        engine.load(model)
        assert gap(engine, model) < 1e-4
    assert not asked(server, "/load_lora_adapter") and len(asked(server, "/collective_rpc")) == 2


def test_a_server_that_takes_no_adapters_is_refused_in_one_line(server: Served, tmp_path: Path) -> None:
    inner = server.tokens
    server.answer = lambda path, body: (404, {}, b"") if path.endswith("lora_adapter") else inner(path, body)
    model = adapted().model
    with pytest.raises(UserError, match=r"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora .* 8 .*merge=true"):
        at(server, tmp_path / "one").load(model)
    with pytest.raises(UserError, match=r"--max-lora-rank 4 and --lora-target-modules all .*merge=true"):
        at(server, tmp_path / "two", kind="sglang").load(model)


def talk(number: int) -> Conversation:
    return Conversation(number, number, [Message("user", "look")])


def test_an_adapter_that_a_server_did_not_take_stops_the_run(server: Served, tmp_path: Path) -> None:
    agent = adapted(at(server, tmp_path))
    for n in range(3):
        moved(agent.model, n)
        agent.release()
        assert agent.act([talk(n)])[0].error is None
        assert len(asked(server, "/load_lora_adapter")) == n + 1
    server.stale = True
    moved(agent.model, 3)
    agent.release()
    with pytest.raises(UserError, match="did not sample with the trainer's weights"):
        agent.act([talk(3)])


def test_the_name_of_no_adapter_ends_the_run(server: Served, tmp_path: Path) -> None:
    agent = adapted(at(server, tmp_path))
    agent.act([talk(0)])
    agent.engine.adapter = "adapter-of-another"
    with pytest.raises(UserError, match="no such model"):
        agent.act([talk(1)])


@pytest.mark.parametrize("merge", [False, True])
def test_a_run_with_an_adapter_samples_with_it_at_a_server(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: bool
) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    options = {"url": server.url, "weights": str(tmp_path / "weights"), "merge": merge}
    model = config().model.model_dump() | {"adapter": "lora", "engine": "server", "engine_options": options}
    folder = experiment.run(config(model=model), tmp_path, Progress("quiet"))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    gaps = [row["sampler_gap"] for row in rows if row["kind"] == "iteration"]
    assert len(gaps) == 2 and max(gaps) < 1e-4
    # Two updates, and the evaluation after the last one; before them the warm start, which has no adapter, explores and
    # is evaluated.
    assert len(asked(server, "/load_lora_adapter")) == (0 if merge else 3)
    assert len(asked(server, "/collective_rpc")) == (5 if merge else 3)


# vLLM in this process


@pytest.mark.usefixtures("vllm")
def test_vllm_gets_the_base_once_and_then_adapters_under_new_names() -> None:
    engine, model = in_process(), adapted().model
    for update in range(3):
        moved(model, update)
        engine.load(model)
        assert gap(engine, model) < 1e-5
        moved(model, update + 9)
        assert gap(engine, model) > 0.01
    assert engine._llm.calls == ["start", "adapter-1", "adapter-2", "adapter-3"]
    assert engine._llm.settings["enable_lora"] and engine._llm.settings["max_lora_rank"] == 8


@pytest.mark.usefixtures("vllm")
def test_vllm_gets_another_base_and_whole_weights_where_a_model_has_them() -> None:
    engine, plain, one, two = in_process(), language_model(seed=7).model, adapted().model, adapted(seed=5).model
    for n, model in enumerate((plain, one, one, two, plain, two)):
        moved(model, n) if model is not plain else None
        engine.load(model)
        assert gap(engine, model) < 1e-5
    assert engine._llm.calls == [
        "start", "reload_weights", "adapter-1", "adapter-2", "reload_weights", "adapter-3", "reload_weights",
        "reload_weights", "adapter-4",
    ]  # fmt: skip


@pytest.mark.usefixtures("vllm")
def test_vllm_gets_merged_weights_where_that_is_asked_for() -> None:
    engine, model = in_process(merge=True), adapted().model
    for update in range(2):
        moved(model, update)
        engine.load(model)
        assert gap(engine, model) < 1e-4
    assert engine._llm.calls == ["start", "reload_weights"] and "enable_lora" not in engine._llm.settings


@pytest.mark.usefixtures("vllm")
def test_vllm_without_room_for_an_adapter_says_so_in_one_line() -> None:
    with pytest.raises(UserError, match=r"rank 512 at most: set model\.engine_options\.merge=true"):
        registry.engine("vllm", {}, context=512, lora_rank=600)
    engine = registry.engine("vllm", {}, context=512, lora_rank=4)
    engine.load(adapted().model)
    engine._llm.settings["max_lora_rank"] = 1
    with pytest.raises(UserError, match=r"does not take the adapter \(LoRA rank 4 .*merge=true"):
        engine.load(adapted().model)


def test_vllm_is_woken_for_an_adapter(vllm: Any) -> None:
    vllm.is_cuda = lambda: True
    engine, model = in_process(), adapted().model.bfloat16()
    for update in range(2):
        moved(model, update)
        engine.load(model)
        assert not engine._llm.asleep and engine.generate(PROMPTS, SAMPLED)
        engine.release()
        assert engine._llm.asleep
    assert engine._llm.calls == ["start", "adapter-1", "sleep", "wake", "adapter-2", "sleep"]


def test_fp32_adapters_are_refused_on_a_gpu(vllm: Any) -> None:
    vllm.is_cuda = lambda: True
    with pytest.raises(UserError, match=r"16 bits only: set model\.dtype=bf16 or model\.engine_options\.merge=true"):
        in_process().load(adapted().model)
    in_process(merge=True).load(adapted().model)


@pytest.mark.usefixtures("vllm")
def test_the_engine_of_a_run_has_room_for_its_adapter() -> None:
    for kind, space in (("lora", 32), ("none", None)):
        model = config().model.model_dump() | {"adapter": kind, "lora_rank": 17, "engine": "vllm"}
        assert start.begin(config(model=model)).engine.room == space
