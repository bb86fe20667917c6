"""Measures training of models that are made on the spot, and writes one JSON file; `figures.sh` calls it.

For each model: a comparison of three methods and `spa-bench bench train` by the command line, and one epoch over the
expert's conversations by our update and by TRL's SFTTrainer, in a process each, so that the peaks of memory are their
own. Then the tests that need a GPU. The file is written after every step; a step that fails leaves its last line there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spa_bench import registry
from spa_bench.commands.options import Flags
from spa_bench.config import SMOLLM2, RunConfig
from spa_bench.core import UserError
from spa_bench.files import data_folder
from spa_bench.runs import provenance
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import checkpoint, ppo, pricing, start, trial
from spa_bench.training.batches import Limit, Sequences, pack
from spa_bench.training.policy import Policy
from spa_bench.training.speed import MEASURED, peak_memory

ROOT = Path(__file__).resolve().parent.parent.parent
REWARDS = "sparse,spa,gigpo"
STEPS = 2
"""Of the optimiser, in an epoch that is measured."""

SHAPES: Mapping[str, tuple[str, dict[str, int]]] = {
    # SmolLM2-135M's
    "100M": (
        "llama",
        {
            "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
        },
    ),
    # Qwen2.5-1.5B's with 18 of its 28 layers
    "1B": (
        "qwen2",
        {
            "vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 18,
            "num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 8192,
        },
    ),
    "tiny": (
        "qwen2",
        {
            "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 8192,
        },
    ),
}  # fmt: skip
"""Type and shape of each model; its weights are random, its embedding is its output layer."""


@dataclass(frozen=True)
class Dose:
    """How much is done."""

    models: tuple[str, ...]
    settings: tuple[str, ...]
    """Of the comparison."""
    bench: tuple[str, ...]
    conversations: int
    """Of the expert, learned from by both updates."""
    rows: int
    """Of them in one pass."""


LARGE = Dose(
    ("100M", "1B"),
    (
        *("world.max_steps=20", "model.max_new_tokens=32", "warm_start.episodes=256", "explore.tasks=16"),
        *("explore.samples=2", "ppo.iterations=2", "ppo.env_steps=640", "eval.tasks=32", "batch=64"),
    ),
    ("world.max_steps=20", "model.max_new_tokens=32", "ppo.env_steps=640"),
    conversations=64,
    rows=8,
)
SMALL = Dose(
    ("tiny",),
    (
        *("world.options.train=6", "world.options.valid=3", "world.max_steps=3", "model.max_new_tokens=4"),
        *("model.threads=1", "model.examples=0", "warm_start.episodes=4", "warm_start.batch=2", "explore.tasks=2"),
        *("explore.samples=2", "ppo.iterations=1", "ppo.env_steps=12", "ppo.minibatches=2"),
    ),
    (
        *("world.options.train=6", "world.options.valid=3", "world.max_steps=3", "ppo.env_steps=12"),
        *("model.max_new_tokens=4", "model.examples=0", "model.threads=1"),
    ),
    conversations=4,
    rows=2,
)


def main() -> int:
    """All steps, or one way of updating with --update; 1 where a step failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="JSON file to write")
    parser.add_argument("--small", action="store_true", help="tiny model and dose, on any machine")
    parser.add_argument("--models", help="some of 100M,1B")
    parser.add_argument("--update", choices=["ours", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    dose = SMALL if told.small else LARGE
    if told.update:
        with contextlib.redirect_stdout(sys.stderr):  # TRL prints what it has measured itself
            found = updated(told.update, told.folder, dose)
        print(json.dumps(found))
        return 0
    if told.file is None:
        parser.error("name the JSON file to write")
    if not told.small and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device: --small measures a tiny model on the CPU")
    models = tuple(told.models.split(",")) if told.models else dose.models
    if unknown := [name for name in models if name not in SHAPES]:
        parser.error(f"no model {unknown[0]!r}: choose from {', '.join(dose.models)}")
    return measured(told.file, models, dose, told.small)


def measured(file: Path, models: Sequence[str], dose: Dose, small: bool) -> int:
    """Each step after the other; the file is complete so far after each."""
    found: dict[str, Any] = {"small": small} | machine() | {"models": {name: {} for name in models}}
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["SPA_BENCH_CACHE"] = f"{scratch}/cache"

        def step(of: dict[str, Any], name: str, work: Callable[[], Any]) -> None:
            print(f"{name} ...", file=sys.stderr, flush=True)
            begun = time.monotonic()
            try:
                of[name] = work()
            except (Failed, RuntimeError, UserError, ValueError) as error:
                failed.append(name)
                of[name] = {"error": str(error).strip().splitlines()[-1]}
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

        tokenizer = smollm2_tokenizer()  # before the cache is another
        for name in models:
            own, folder = found["models"][name], Path(scratch) / name
            step(own, "model", lambda folder=folder, name=name: make(folder, name, tokenizer))
            step(own, "compare", lambda folder=folder: compared(folder, Path(scratch) / "results", dose))
            step(own, "bench", lambda folder=folder: benched(folder, dose))
            for way in ("ours", "trl"):
                words = ["--update", way, "--folder", str(folder), *(["--small"] if small else [])]
                step(own, f"update {way}", lambda words=words: json.loads(python(str(Path(__file__)), *words)))
        step(found, "gpu tests", gpu_tests)
    return bool(failed)


class Failed(Exception):
    """A process ended with an error."""


def python(*words: str, where: Path = ROOT, codes: Sequence[int] = (0,)) -> str:
    """Standard output of this Python with these words; Failed with what it said where its code is another."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=where)
    if done.returncode not in codes:
        raise Failed(done.stderr or done.stdout or f"exit code {done.returncode}")
    return done.stdout


def machine() -> dict[str, Any]:
    """Processor, GPU, versions and commit."""
    facts = provenance.facts()
    gpu: dict[str, Any] = {}
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        gpu = {"gpu": about.name, "gpu_memory_bytes": about.total_memory, "cuda": torch.version.cuda}
    kept = ("commit", "dirty", "platform", "python", "cpus")
    versions = facts["versions"] | {"spa-bench": facts["spa_bench"], "peft": provenance.installed("peft")}
    return {"machine": {name: facts[name] for name in kept} | gpu, "versions": versions}


# The model


def smollm2_tokenizer() -> Any:
    """SmolLM2's where it is, or None."""
    from transformers import AutoTokenizer

    named = os.environ.get("SPA_BENCH_SMOLLM2")
    folder = Path(named) if named else data_folder(SMOLLM2)
    return AutoTokenizer.from_pretrained(folder) if folder.is_dir() else None


def own_tokenizer() -> Any:
    """Made of the world's texts: what it lacks is spelled in bytes."""
    from spa_bench.agents.embedded import train_tokenizer

    env, prompt = registry.build("environments", "alfworld", train=24, valid=6), registry.prompt("react")
    said = [env.instructions, prompt.render("look", "so"), *(m.content for m in prompt.opening(env.instructions, ""))]
    return train_tokenizer([*env.text_sources(), *said])


def make(folder: Path, name: str, tokenizer: Any) -> dict[str, Any]:
    """A model with random weights and its tokenizer, saved as a folder."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, shape = SHAPES[name]
    tokenizer = tokenizer if tokenizer is not None and len(tokenizer) <= shape["vocab_size"] else own_tokenizer()
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = AutoConfig.for_model(kind, tie_word_embeddings=True, **shape, **ends)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    if torch.cuda.is_available():
        model.to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"type": kind, "weights": sum(w.numel() for w in model.parameters()), "tokens": len(tokenizer), **shape}


# By the command line


def words(folder: Path, settings: Sequence[str]) -> list[str]:
    return ["--env", "alfworld", "--model", str(folder), "--json", *(w for s in settings for w in ("--set", s))]


def compared(folder: Path, results: Path, dose: Dose) -> dict[str, Any]:
    """Stages and iterations of one run of each method, from one warm start."""
    begun = time.monotonic()
    own = ["--reward", REWARDS, "--seeds", "1", "--results", str(results / folder.name)]
    json.loads(python("-m", "spa_bench", "compare", *own, *words(folder, dose.settings)))
    found: dict[str, Any] = {"seconds": time.monotonic() - begun, "settings": list(dose.settings), "runs": {}}
    for file in sorted((results / folder.name).rglob("metrics.jsonl")):
        rows, _ = Journal(file).read()
        wanted = MEASURED | {"success", "tokens_sampled", "tokens_trained", "env_steps_executed", "sampler_gap"}
        found["runs"][file.parent.parent.name] = {
            "stages": {row["stage"]: row["seconds"] for row in rows if row["kind"] == "stage"},
            "iterations": [{n: v for n, v in row.items() if n in wanted} for row in rows if row["kind"] == "iteration"],
            "finished": rows[-1]["kind"] == "done",
        }
    return found


def benched(folder: Path, dose: Dose) -> dict[str, Any]:
    """What `spa-bench bench train` says."""
    found: dict[str, Any] = json.loads(python("-m", "spa_bench", "bench", "train", *words(folder, dose.bench)))
    return found | {"model": folder.name}


def gpu_tests() -> dict[str, int]:
    """How many tests of `test_gpu.py` passed, failed and were skipped."""
    own = ["-c", "../pyproject.toml", "--rootdir", "..", "-q", "-p", "no:cacheprovider", "gpu/test_gpu.py"]
    said = python("-m", "pytest", *own, where=ROOT / "tests", codes=(0, 1))
    counts = re.findall(r"(\d+) (passed|failed|skipped|errors?)", said.strip().splitlines()[-1])
    return {kind: int(count) for count, kind in counts}


# The update, and TRL's


def updated(way: str, folder: Path, dose: Dose) -> dict[str, Any]:
    """One epoch over the expert's conversations, in two steps of the optimiser, after one that is not measured."""
    small = [setting for setting in dose.bench if setting.startswith(("world.options", "model"))]
    config = Flags(env="alfworld", model=str(folder), assignments=small).config(reward="sparse")
    common = start.begin(config)
    agent = start.load_policy(common, None)
    shown = start.experts(common, dose.conversations, Progress.quiet())
    instructions = common.make_env().instructions
    episodes = [pack(agent.tokenise(instructions, trajectory)) for trajectory in shown]
    with tempfile.TemporaryDirectory() as scratch:
        make = {"ours": ours, "trl": trl}[way](config, common, agent, episodes, dose.rows, scratch)
        make()()
        train = make()
        if common.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        begun = time.monotonic()
        train()
        if common.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.monotonic() - begun
    tokens = sum(episode.size for episode in episodes)
    return {
        "conversations": len(episodes),
        "tokens": tokens,
        "taught": sum(len(episode.where) for episode in episodes),
        "dtype": common.dtype,
        "device": trial.device_name(common.device),
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "peak_memory_bytes": peak_memory(common.device),
    }


Epoch = Callable[[], Any]


def ours(
    config: RunConfig, common: start.Start, agent: Any, episodes: Sequence[Sequences], rows: int, scratch: str
) -> Callable[[], Epoch]:
    """The PPO update with every advantage 1; scoring, which comes before it, is not measured."""
    policy = Policy(agent.model, recompute=True, packed=start.reads_packed(common, agent.model))
    tokens = rows * max(episode.longest for episode in episodes)
    settings = config.ppo.model_copy(update={"minibatches": STEPS, "epochs": 1, "microbatch": tokens})
    optimizer = checkpoint.make_optimizer(policy, settings)
    samples = []
    for episode, found in zip(episodes, pricing.score(policy, episodes, Limit.of(settings)), strict=True):
        one = np.ones(len(episode.where))
        samples.append(ppo.Sample(episode, found.logprobs, found.logprobs, one, 0 * one))

    def train() -> None:
        rng = np.random.default_rng(0)
        ppo.update(policy, optimizer, samples, settings, rng=rng, kl_in_loss=True, ratio_tolerance=9.0)

    return lambda: train


def trl(
    config: RunConfig, common: start.Start, agent: Any, episodes: Sequence[Sequences], rows: int, scratch: str
) -> Callable[[], Epoch]:
    """TRL's trainer with the same tokens taught, at its defaults: gradient checkpointing, its own padding; bf16 is
    autocast over fp32 weights, as ours are masters in fp32.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    taught = []
    for episode in episodes:
        for number, ids in enumerate(episode.ids):
            labels = np.full(len(ids), -100)
            own = episode.where[episode.where[:, 0] == number, 1]
            labels[own] = ids[own]
            taught.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    agent.model.float()

    def make() -> Epoch:
        settings = SFTConfig(
            output_dir=scratch, per_device_train_batch_size=rows, num_train_epochs=1, max_length=None, packing=False,
            gradient_accumulation_steps=max(1, len(taught) // (STEPS * rows)), learning_rate=config.ppo.learning_rate,
            bf16=common.dtype == "bf16", use_cpu=common.device.type == "cpu", save_strategy="no", report_to=[],
            disable_tqdm=True, logging_strategy="no", dataloader_pin_memory=False,
        )  # fmt: skip
        data = Dataset.from_list(taught)
        trainer = SFTTrainer(model=agent.model, args=settings, train_dataset=data, processing_class=agent.tokenizer)
        train: Epoch = trainer.train
        return train

    return make


if __name__ == "__main__":
    sys.exit(main())
