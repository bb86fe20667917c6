"""Fresh episodes for an iteration of training, recorded as they are played, and the rewards assigned to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np

from spa_bench.config import RunConfig
from spa_bench.core import Agent, Floats, Task, Trajectory, derive_seed
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.progress import Progress, bursts
from spa_bench.training import sampling, start
from spa_bench.training.evaluation import Evaluation
from spa_bench.training.learner import Learner


class Collection(Evaluation):
    """Plays train tasks into a run folder, resumable."""

    def __init__(self, config: RunConfig, common: start.Start, folder: RunFolder, progress: Progress) -> None:
        super().__init__(common, folder, progress)
        self.config = config
        self.resumed = 1
        """The first iteration of this process."""
        self.left = config.ppo.iterations * config.ppo.env_steps
        """Environment steps that the rest of the training budget allows."""

    def collect(self, iteration: int, steps: int, learner: Learner) -> tuple[dict[int, Trajectory], int]:
        """Fresh episodes worth exactly so many environment steps, by index, and all the steps that were given.

        Each is recorded when its chunk is over.
        """
        trajectories: dict[int, Trajectory] = {}
        given, settings = 0, self.config.ppo
        # Only the iteration in which a run was interrupted can have episodes on record.
        recorded = self.recorded("train", iteration) if iteration == self.resumed else {}
        size = settings.samples * self.common.characters
        with self.progress.stage(self.title(iteration), total=steps, unit="steps") as stage:
            wins = 0
            most = self.left if settings.dynamic_sampling else steps
            for first, budget in sampling.draws(steps, trajectories, size, most):
                given += budget
                requests = start.seats(self.common, self.games(iteration, settings.samples))
                played = self.common.player.play(
                    itertools.islice(requests, first, None),
                    cast(Agent, learner.agent),
                    recorded=recorded,
                    budget=budget,
                )
                for burst in bursts(self.logged(played, "train", iteration), self.common.chunk):
                    trajectories |= burst
                    wins += sum(trajectory.success for _, trajectory in burst)
                    stage.advance(sum(len(trajectory) for _, trajectory in burst), success=wins / len(trajectories))
        return trajectories, given

    def title(self, iteration: int) -> str:
        """What progress calls an iteration: by number, and of how many where that is known."""
        settings = self.config.ppo
        fixed = settings.match == "collected" and not settings.dynamic_sampling
        return f"iteration {iteration}{f'/{settings.iterations}' if fixed else ''}"

    def games(self, iteration: int, samples: int) -> Iterator[tuple[Task, int]]:
        """Groups of one task each, without end, in an order that every method shares."""
        rng = np.random.default_rng(derive_seed(self.config.seed, "tasks", iteration))
        number = itertools.count()
        while True:
            for position in rng.permutation(len(self.common.train)):
                task = self.common.train[position]
                for _ in range(samples):
                    yield task, derive_seed(self.config.seed, "train", iteration, task.key, next(number))

    def record_prices(self, iteration: int, prices: Mapping[int, Floats], stage: str = "train") -> None:
        """The method's rewards: one row for each episode by its index, one number for each of its own steps."""
        place = {"stage": stage, "iteration": iteration}
        have = set()
        if stage != "train" or iteration == self.resumed:
            rows = (row for row in self.folder.prices.scan() if row)
            have = {row.get("index") for row in rows if place.items() <= row.items()}
        self.folder.prices.extend(
            place | {"index": index, "rewards": earned} for index, earned in prices.items() if index not in have
        )
