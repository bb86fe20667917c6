"""The stages of one run, each resumable: common start -> fit the reward -> PPO iterations -> evaluation.

Read `Run.finish` first. What was done is in the run folder; an unfinished run goes on where the last complete
checkpoint and the recorded episodes end.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from spa_bench import ppo, records
from spa_bench.config import RunConfig
from spa_bench.core import Agent, RewardMethod, Task, Trajectory, derive_seed
from spa_bench.progress import Progress
from spa_bench.rollout import Request
from spa_bench.training import checkpoint, pricing, start
from spa_bench.training.policy import Policy

TOLERANCES = {"fp32": {"ratio": 1e-3, "kl": 1e-4, "sampler": 1e-3}, "bf16": {"ratio": 0.3, "kl": 1e-4, "sampler": 0.1}}
"""How far log-probs that should be equal may be apart. Measured on the embedded default on a CPU: fp32 agrees to 1e-5;
bf16 rounds a log-prob by up to some 0.1, and a batch of another shape rounds differently."""


class Clock:
    """Seconds since the last look."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self.last = now - self.last, now
        return seconds


@dataclass
class Evaluation:
    """Playing the held-out panel into a folder, resumable."""

    common: start.Start
    folder: records.RunFolder
    progress: Progress

    def play(self, agent: Any) -> None:
        """Each task of the panel once."""
        config, clock = self.common.config, Clock()
        agent.temperature = config.eval.temperature
        requests = start.make_requests(self.common, "eval", 0, self.common.panel, 1)
        recorded = self.recorded("eval", 0)
        with self.progress.stage("evaluate", total=len(requests)) as stage:
            wins = 0
            for request, trajectory, new in self.common.player.play(requests, agent, recorded=recorded):
                if new:
                    self.log(trajectory, "eval", 0, request.index)
                wins += trajectory.success
                stage.advance(1, success=wins / (stage.done + 1))
        self.stage("evaluate", clock)

    def stage(self, name: str, clock: Clock, **figures: Any) -> None:
        """Record a stage once: a resumed run passes through it again, but it cost nothing then."""
        rows, _ = self.folder.metrics.read()
        if not any(row.get("kind") == "stage" and row.get("stage") == name for row in rows):
            self.folder.metrics.append({"kind": "stage", "stage": name, "seconds": clock.lap()} | figures)

    def recorded(self, stage: str, iteration: int) -> dict[int, Trajectory]:
        """Episodes of an interrupted run, by index; of a double the first one counts."""
        rows = (row for row in self.folder.episodes.scan() if row is not None)
        mine = [row for row in rows if row.get("stage") == stage and row.get("iteration") == iteration]
        return {row["index"]: records.from_row(row) for row in reversed(mine)}

    def log(self, trajectory: Trajectory, stage: str, iteration: int, index: int) -> None:
        """Record one episode."""
        place = {"stage": stage, "iteration": iteration, "index": index}
        self.folder.episodes.append(records.to_row(trajectory) | place)


class Run(Evaluation):
    """One run while it is under way."""

    def __init__(
        self,
        config: RunConfig,
        common: start.Start,
        method: RewardMethod,
        folder: records.RunFolder,
        progress: Progress,
    ) -> None:
        super().__init__(common, folder, progress)
        self.config, self.method = config, method

    def finish(self) -> None:
        """All stages that are still to be done."""
        clock = Clock()
        policy_folder = start.warm_start(self.common, self.progress)
        self.stage("warm start", clock, weights=weights_hash(policy_folder))
        explored = start.explore(self.common, policy_folder, self.progress)
        self._copy_panel(explored)
        self.stage("explore", clock)

        reference = self._reference(policy_folder)
        agent, policy, optimizer, done = self._restore(policy_folder)
        self.method.encoder = reference.encode
        if done == 0:
            self._fit(explored, reference, clock)
        for iteration in range(done + 1, self.config.ppo.iterations + 1):
            # only the iteration in which a run was interrupted can have episodes on record
            recorded = self.recorded("train", iteration) if iteration == done + 1 else {}
            self._iterate(iteration, recorded, agent, policy, optimizer, reference)
        self.play(agent)
        self.folder.metrics.append({"kind": "done"})

    def _copy_panel(self, explored: Path) -> None:
        """The warm start's episodes on the panel belong to every run, so that its folder tells the whole story."""
        have = self.recorded("warm_start", 0)
        for index, trajectory in enumerate(start.read_episodes(explored / "panel.jsonl")):
            if index not in have:
                self.log(trajectory, "warm_start", 0, index)

    def _reference(self, policy_folder: Path) -> pricing.Reference:
        model = start.load_policy(self.common, policy_folder).model
        policy = Policy(model, precision=self.common.precision, temperature=self.config.ppo.temperature)
        return pricing.Reference(policy.requires_grad_(False), self.config.ppo.microbatch)

    def _restore(self, policy_folder: Path) -> tuple[start.LanguageModel, Policy, Any, int]:
        """Policy and optimiser as of the last complete checkpoint, and its number (0: the warm start)."""
        latest = self.folder.latest_checkpoint()
        number, folder = latest if latest is not None else (0, None)
        agent = start.load_policy(self.common, policy_folder if folder is None else folder / "policy")
        policy = Policy(agent.model, precision=self.common.precision, temperature=self.config.ppo.temperature)
        optimizer = checkpoint.make_optimizer(policy, self.config.ppo)
        if folder is not None:
            row = checkpoint.load(folder, policy, optimizer, self.method)
            self._heal_metrics(row)
        return agent, policy, optimizer, number

    def _heal_metrics(self, row: dict[str, Any]) -> None:
        """A kill between checkpoint and metrics loses the row there; the checkpoint kept a copy."""
        rows, _ = self.folder.metrics.read()
        if row not in rows:
            self.folder.metrics.append(row)

    def _fit(self, explored: Path, reference: pricing.Reference, clock: Clock) -> None:
        episodes = start.read_episodes(explored / "explore.jsonl")
        demonstrations = start.experts(self.common, self.progress) if self.method.uses_experts else []
        with self.progress.stage("fit reward", total=1) as stage:
            figures = self.method.fit(episodes, demonstrations)
            stage.advance(1, **figures)
        figures = {name: value for name, value in figures.items() if np.isfinite(value)}
        self.stage("fit reward", clock, extra_tokens=reference.extra_tokens, **figures)

    def _iterate(
        self,
        iteration: int,
        recorded: dict[int, Trajectory],
        agent: start.LanguageModel,
        policy: Policy,
        optimizer: Any,
        reference: pricing.Reference,
    ) -> None:
        settings, clock = self.config.ppo, Clock()
        reference.extra_tokens = 0
        trajectories = self._collect(iteration, agent, recorded)
        tolerance = TOLERANCES[self.common.precision]
        priced = pricing.price(
            self.method, policy, reference, trajectories, settings, sampler_tolerance=tolerance["sampler"]
        )
        if iteration == 1 and priced.figures["largest_log_ratio_to_start"] > tolerance["kl"]:
            raise ppo.TrainingError(
                f"the KL to the warm start is not 0 before the first update (a log-prob differs by "
                f"{priced.figures['largest_log_ratio_to_start']:.2g}): the policy is not the warm start"
            )
        rng = np.random.default_rng(derive_seed(self.config.seed, "minibatches", iteration))
        figures = ppo.update(
            policy, optimizer, priced.samples, settings,
            rng=rng, kl_in_loss=not self.method.kl_in_reward, ratio_tolerance=tolerance["ratio"],
            done=(iteration - 1) * settings.epochs * settings.minibatches,
        )  # fmt: skip
        row = {"kind": "iteration", "iteration": iteration, "seconds": clock.lap()}
        row |= collection_figures(trajectories) | priced.figures | figures
        row |= {"env_steps": settings.env_steps, "extra_tokens": reference.extra_tokens, "extra_env_steps": 0}
        row = {
            name: value if not isinstance(value, float) or np.isfinite(value) else None for name, value in row.items()
        }
        with self.folder.checkpoint(iteration) as folder:
            checkpoint.save(folder, agent, policy, optimizer, self.method, row)
        self.folder.metrics.append(row)
        self.folder.prune(keep=1)

    def _collect(self, iteration: int, agent: start.LanguageModel, recorded: dict[int, Trajectory]) -> list[Trajectory]:
        """Fresh episodes worth exactly `ppo.env_steps`, each recorded when its chunk is over."""
        settings = self.config.ppo
        agent.temperature = settings.temperature
        trajectories = []
        with self.progress.stage(f"iteration {iteration}/{settings.iterations}", total=settings.env_steps) as stage:
            wins = 0
            requests = self._requests(iteration)
            for request, trajectory, new in self.common.player.play(
                requests, cast(Agent, agent), recorded=recorded, budget=settings.env_steps
            ):
                if new:
                    self.log(trajectory, "train", iteration, request.index)
                trajectories.append(trajectory)
                wins += trajectory.success
                stage.advance(len(trajectory), success=wins / len(trajectories))
        return trajectories

    def _requests(self, iteration: int) -> Iterator[Request]:
        """Groups of one task each, without end, in an order that every method shares."""
        return start.seats(self.common, self._games(iteration))

    def _games(self, iteration: int) -> Iterator[tuple[Task, int]]:
        rng = np.random.default_rng(derive_seed(self.config.seed, "tasks", iteration))
        number = itertools.count()
        while True:
            for position in rng.permutation(len(self.common.train)):
                task = self.common.train[position]
                for _ in range(self.config.ppo.samples):
                    yield task, derive_seed(self.config.seed, "train", iteration, task.key, next(number))


def collection_figures(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What was collected: success, grounding, length, sampled tokens."""
    steps = [step for trajectory in trajectories for step in trajectory.steps]
    return {
        "episodes": len(trajectories),
        "success": float(np.mean([t.success for t in trajectories])) if trajectories else 0.0,
        "grounded": float(np.mean([step.grounded for step in steps])) if steps else 0.0,
        "turns": float(np.mean([len(t) for t in trajectories])) if trajectories else 0.0,
        "env_steps_learned": len(steps),
        "tokens_sampled": sum(len(step.tokens.reply) for step in steps if step.tokens is not None),
    }


def weights_hash(folder: Path) -> str:
    """sha256 over the saved weights: equal for all methods of one comparison."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
