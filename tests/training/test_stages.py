"""How the parts of a run are wired: chance, rates, temperatures and costs, each as the configuration says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spoken import Fixed, spoken
from tiny import SETTINGS, config, language_model

from spa_bench import registry
from spa_bench.config import RunConfig
from spa_bench.rollout.player import Player, Request
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, ppo, pricing, start
from spa_bench.training.policy import Policy, pack_trajectory
from spa_bench.training.stages import Learner, Run


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(path := tmp_path_factory.mktemp("cache")))
        yield path


def settings(**ppo_settings: Any) -> RunConfig:
    return config(ppo=SETTINGS["ppo"] | ppo_settings)


def rows(path: Path, stage: str) -> list[dict[str, Any]]:
    """Episodes of a stage, by index."""
    found, _ = Journal(path / "episodes.jsonl").read()
    return sorted((row for row in found if row["stage"] == stage), key=lambda row: row["index"])


@pytest.fixture(scope="module")
def still(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A run that learns nothing and samples at a temperature of its own; and what `update` was told."""
    told: list[int] = []
    update = ppo.update

    def noted(*args: Any, done: int, **kwargs: Any) -> dict[str, float]:
        told.append(done)
        return update(*args, done=done, **kwargs)

    unmoved = settings(learning_rate=1e-15, value_learning_rate=1e-15, temperature=1.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, "update", noted)
        return experiment.run(unmoved, tmp_path_factory.mktemp("still"), Progress.quiet()), told


def test_the_evaluation_set_is_played_greedily_as_the_warm_start_was(still: tuple[Path, list[int]]) -> None:
    """Nothing was learned, so each task is answered as before; sampled, hardly one would be."""
    before, after = ([row["steps"] for row in rows(still[0], stage)] for stage in ("warm_start", "eval"))
    said = [[[step["reply"] for step in steps] for steps in part] for part in (before, after)]
    assert len(said[0]) == 6 and said[0] == said[1]


def test_the_warm_up_goes_on_from_one_iteration_to_the_next(still: tuple[Path, list[int]]) -> None:
    """Two iterations of two minibatches."""
    assert still[1] == [0, 2]


def test_training_is_sampled_and_scored_at_its_temperature(still: tuple[Path, list[int]]) -> None:
    found, _ = Journal(still[0] / "metrics.jsonl").read()
    assert [row["sampler_gap"] < 1e-4 for row in found if row["kind"] == "iteration"] == [True, True]
    assert len({step["reply"] for row in rows(still[0], "train") for step in row["steps"]}) > 20


def games(seed: int, iteration: int, tmp_path: Path) -> list[tuple[str, int]]:
    """Task and seed of the first games of an iteration."""
    own = config(seed=seed)
    run = Run(own, start.begin(own), Fixed(), RunFolder(tmp_path), Progress.quiet())
    return [(task.key, chance) for task, chance in itertools.islice(run._games(iteration, 2), 60)]


def test_every_game_of_every_iteration_and_seed_has_a_chance_of_its_own(cache: Path, tmp_path: Path) -> None:
    drawn = {place: games(*place, tmp_path) for place in itertools.product((0, 1), (1, 2))}
    seeds = [seed for part in drawn.values() for _, seed in part]
    assert len(set(seeds)) == len(seeds) == 240
    orders = {tuple(key for key, _ in part) for part in drawn.values()}
    assert len(orders) == 4
    for part in drawn.values():
        assert [key for key, _ in part[::2]] == [key for key, _ in part[1::2]]  # groups of two
        assert len({key for key, _ in part[:48]}) == 24  # each of the 24 train tasks before any comes again
    assert games(0, 1, tmp_path) == drawn[0, 1]


def test_extra_costs_are_those_since_they_were_last_asked_for(policy: Policy, cache: Path) -> None:
    make = lambda: registry.build("environments", "alfworld", train=24, valid=6, max_steps=8)  # noqa: E731
    agent, player = language_model(), Player(make, 4)
    tasks = make().tasks("train")[:2]
    played = [t for _, t, _ in player.play([Request(n, task, n) for n, task in enumerate(tasks)], agent)]
    simulator, reference = PlayedOn(player, agent), pricing.Reference(policy, 4)
    learner = Learner(agent, policy, None, reference, simulator)
    nothing = {"extra_tokens": 0, "extra_tokens_sampled": 0, "extra_env_steps": 0}
    assert learner.extra() == nothing
    (continued,) = simulator([played[0].until(6)], 1, seed=3)
    other = spoken(np.random.default_rng(9), 2)
    reference.encode([other])
    own = continued[0].steps[6:]
    sampled = sum(len(step.tokens.reply) for step in own if step.tokens is not None)
    read = sum(step.tokens.size for step in continued[0].steps if step.tokens is not None)
    assert learner.extra() == {
        "extra_tokens": read + pack_trajectory(other).size,
        "extra_tokens_sampled": sampled,
        "extra_env_steps": len(own),
    }
    assert learner.extra() == nothing
