"""Runs that `test_ranks` makes in one process and in several, and the program that makes them where it is launched."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tiny import SETTINGS, config, language_model

from spa_bench.commands.failures import ended
from spa_bench.commands.signals import heeded
from spa_bench.config import RunConfig
from spa_bench.core import Floats
from spa_bench.rewards.spa import SPA
from spa_bench.runs.folder import run_path
from spa_bench.runs.progress import Progress, Stage
from spa_bench.training import experiment


class Asked(SPA):
    """Learns from hidden states, pays every step, and counts how often it is asked."""

    times = 0

    def rewards(self, group: Any) -> list[Floats]:
        self.times += 1
        return [steps + np.arange(1.0, len(steps) + 1) for steps in super().rewards(group)]

    def state_dict(self) -> Any:
        return super().state_dict() | {"times": np.array(self.times)}

    def load_state_dict(self, state: Any) -> None:
        self.times = int(state["times"])
        super().load_state_dict({name: array for name, array in state.items() if name != "times"})


PPO = SETTINGS["ppo"] | {"env_steps": 60, "learning_rate": 3e-3, "warmup": 0, "kl_coef": 0.1, "epochs": 2}
WORLD = {"max_steps": 12, "options": {"train": 24, "valid": 5}}
TAUGHT = {"episodes": 24, "epochs": 1, "batch": 5, "learning_rate": 5e-3}


def settings(kind: str, folder: Path) -> RunConfig:
    """Of the run of this kind; `folder` holds the tiny model that some of them train."""
    own: dict[str, Any] = {"batch": 2} if kind == "begun" else {}  # more ranks have other chunks of episodes then
    own |= {"world": WORLD, "ppo": PPO, "warm_start": TAUGHT, "explore": {"tasks": 3, "samples": 1}}
    if kind.startswith("qwen2"):
        model = SETTINGS["model"] | {"name": str(folder), "prompt": "action", "context": 2048, "max_new_tokens": 6}
        if kind.endswith("lora"):
            model |= {"adapter": "lora", "lora_rank": 4, "lora_alpha": 8}
        shorter = {"env_steps": 30, "iterations": 1, "learning_rate": 1e-3, "samples": 1, "epochs": 1}
        own |= {"model": model, "ppo": PPO | shorter, "warm_start": TAUGHT | {"episodes": 12}}
    if kind == "served":
        options = {"url": os.environ["SERVED"], "weights": str(folder / "served"), "retries": 1}
        model = SETTINGS["model"] | {"engine": "server", "engine_options": options}
        own |= {"model": model, "ppo": PPO | {"env_steps": 30}, "world": WORLD | {"max_steps": 6}}
    return config(reward=f"{__file__}:Asked", **own)


def qwen2(folder: Path) -> Path:
    """A folder with a tiny model of Qwen2's shape."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = language_model().tokenizer
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer), num_key_value_heads=1, tie_word_embeddings=True, initializer_range=0.2,
            **shape, **ends,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Interrupted(Progress):
    """Ctrl-C in the middle of the second iteration, when its first episodes are on record."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Stage]:
        def shown(stage: Stage) -> None:
            if name == "iteration 2/2":
                raise KeyboardInterrupt

        yield Stage(name, total, unit, time.monotonic, shown)


def dies_after_a_checkpoint(path: Path) -> None:
    """This process, by SIGKILL."""

    def wait() -> None:
        while not (path / "checkpoints" / "0001").exists():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main(results: Path, model: Path, kinds: list[str]) -> None:
    """Each run in the folder of its name; `NAME-killed-N` is `NAME` and loses rank N on its way.

    The one that was begun by one process goes on with the warm start of that.
    """
    rank, cache = os.environ["RANK"], os.environ["SPA_BENCH_CACHE"]
    for kind in kinds:
        name, _, doomed = kind.partition("-killed-")
        where, chosen = results / kind, settings(name, model)
        os.environ["SPA_BENCH_CACHE"] = str(where / "cache") if kind == "begun" else cache
        if doomed == rank:
            dies_after_a_checkpoint(run_path(where, chosen))
        with contextlib.suppress(SystemExit) if rank != "0" else contextlib.nullcontext():
            experiment.run(chosen, where, Progress.quiet())


if __name__ == "__main__":
    with heeded(), ended(resumes=True):
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
