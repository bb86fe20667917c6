"""A few iterations of training for their speed alone, `spa-bench bench train`: no warm start, nothing is kept."""

from __future__ import annotations

import math
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import torch

from spa_bench.config import RunConfig
from spa_bench.core import Agent, UserError
from spa_bench.rollout.game import begin, seated
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.progress import Progress
from spa_bench.runs.provenance import installed
from spa_bench.training import experiment, start
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.memory import enough_memory
from spa_bench.training.speed import MEASURED
from spa_bench.training.stages import Run


def measure(config: RunConfig, progress: Progress) -> dict[str, Any]:
    """Play, score and update as a run does, with the model as it is configured; returns the last iteration's figures.

    Beside those of `speed.MEASURED`: what was measured, and `prefill_tokens_per_second`, of first prompts alone, where
    the model's own network samples. Raises UserError as a run does.
    """
    start.needs_tokens(config)
    if not config.ppo.iterations:
        raise UserError("ppo.iterations=0: nothing is trained, so nothing can be measured; set 1 or more")
    method = experiment.make_method(config)
    common = start.begin(config)
    experiment.check_iteration(config, common.env.max_steps, common.characters)
    remedy = "lower batch or ppo.microbatch, or set model.gradient_checkpointing=true"
    with (
        enough_memory("while training was measured", remedy),
        tempfile.TemporaryDirectory() as scratch,
        RunFolder.open(Path(scratch) / "run", config, {}) as folder,
    ):
        run = Run(config, common, method, folder, progress)
        learner, _ = run.learner(None)
        row: dict[str, Any] = {}
        for iteration in range(1, config.ppo.iterations + 1):
            row = run.iteration(iteration, config.ppo.env_steps, learner)
        weights = learner.meter.weights
        about = {
            "model": config.model.name,
            "weights": sum(weight.numel() for weight in learner.policy.model.parameters()),
            "trained": weights.trained_layers + weights.trained_head,
            "dtype": common.dtype,
            "device": device_name(common.device),
            "threads": torch.get_num_threads(),
            "env": config.env,
            "iterations": config.ppo.iterations,
            "versions": {name: installed(name) for name in ("spa-bench", "torch", "transformers")},
        }
        wanted = ("env_steps_executed", "tokens_sampled", "tokens_trained")
        found = about | {name: value for name, value in row.items() if name in MEASURED or name in wanted}
        if common.engine is None:
            found["prefill_tokens_per_second"] = prefill(common, learner.agent)
    return found


def prefill(common: start.Start, agent: LanguageModel) -> float:
    """Tokens of first prompts read in a second, of as many games as an iteration begins with."""
    games = min(common.player.batch, math.ceil(common.config.ppo.env_steps / common.env.max_steps))
    seats = list(seated(start.make_requests(common, "prefill", 0, common.train_tasks(games), 1)))
    worlds = common.player.worlds(len(seats))
    played = [begin(same, env, cast(Agent, agent)) for same, env in zip(seats, worlds, strict=True)]
    talks = [episode.conversation for game in played for episode in game.episodes]
    read, begun = agent.tokens_read, time.monotonic()
    cast(Agent, agent).fork([(talk, []) for talk in talks])
    if common.device.type == "cuda":
        torch.cuda.synchronize(common.device)
    seconds = time.monotonic() - begun
    agent.forget([talk.id for talk in talks])
    agent.release()
    return (agent.tokens_read - read) / seconds


def device_name(device: torch.device) -> str:
    """Its name, or the processor's kind."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
