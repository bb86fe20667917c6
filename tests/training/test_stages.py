"""How the parts of a run are wired: chance, rates, temperatures and costs, each as the configuration says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spoken import Fixed, spoken
from tiny import SETTINGS, config, language_model

from spa_bench import registry
from spa_bench.config import RunConfig
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, ppo, pricing, stages, start
from spa_bench.training.backbone import Tunable
from spa_bench.training.batches import Limit, pack_trajectory
from spa_bench.training.demonstrator import Demonstrator
from spa_bench.training.hindsight import Hindsight
from spa_bench.training.policy import Policy
from spa_bench.training.stages import Learner, Run
from spa_bench.training.warm_episodes import explore, read_episodes


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(path := tmp_path_factory.mktemp("cache")))
        yield path


class Reading(Fixed):
    """Pays 1, 2, 3, ... and reads the explored episodes once."""

    def fit(self, trajectories: Any, experts: Any) -> dict[str, float]:
        assert self.encoder is not None
        return {"read": float(len(self.encoder(trajectories)))}


@dataclass
class Watched:
    """A run, and what each of its updates was told."""

    path: Path
    done: list[int]
    kl_in_loss: list[bool]
    chance: list[int]


def watched(own: RunConfig, results: Path, reward: str = "sparse") -> Watched:
    found = Watched(results, [], [], [])
    update = ppo.update

    def noted(*args: Any, **kwargs: Any) -> dict[str, float]:
        found.done.append(kwargs["done"])
        found.kl_in_loss.append(kwargs["kl_in_loss"])
        found.chance.append(kwargs["rng"].bit_generator.state["state"]["state"])
        return update(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, "update", noted)
        found.path = experiment.run(own.model_copy(update={"reward": reward}), results, Progress.quiet())
    return found


def metrics(path: Path, kind: str) -> list[dict[str, Any]]:
    return [row for row in Journal(path / "metrics.jsonl").read()[0] if row["kind"] == kind]


def settings(**ppo_settings: Any) -> RunConfig:
    return config(ppo=SETTINGS["ppo"] | ppo_settings)


def rows(path: Path, stage: str) -> list[dict[str, Any]]:
    """Episodes of a stage, by index."""
    found, _ = Journal(path / "episodes.jsonl").read()
    return sorted((row for row in found if row["stage"] == stage), key=lambda row: row["index"])


@pytest.fixture(scope="module")
def still(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run that learns nothing and samples at a temperature of its own."""
    unmoved = settings(learning_rate=1e-15, value_learning_rate=1e-15, temperature=1.5)
    return watched(unmoved, tmp_path_factory.mktemp("still"))


def test_the_evaluation_set_is_played_greedily_as_the_warm_start_was(still: Watched) -> None:
    """Nothing was learned, so each task is answered as before; sampled, hardly one would be."""
    before, after = (
        {row["task"]["key"]: [step["reply"] for step in row["steps"]] for row in rows(still.path, stage)}
        for stage in ("warm_start", "eval")
    )
    assert len(before) == 6 and before == after


def test_the_warm_up_goes_on_from_one_iteration_to_the_next(still: Watched) -> None:
    """Two iterations of two minibatches."""
    assert still.done == [0, 2]


def test_every_update_draws_minibatches_of_its_own(still: Watched) -> None:
    assert len(set(still.chance)) == 2


def test_training_is_sampled_and_scored_at_its_temperature(still: Watched) -> None:
    assert [row["sampler_gap"] < 1e-4 for row in metrics(still.path, "iteration")] == [True, True]
    assert len({step["reply"] for row in rows(still.path, "train") for step in row["steps"]}) > 20


def test_the_kl_is_in_the_loss_unless_the_method_has_it_in_the_reward(still: Watched, tmp_path: Path) -> None:
    assert registry.find("rewards", "ppo").kl_in_reward  # type: ignore[attr-defined]
    assert still.kl_in_loss == [True, True]
    assert watched(settings(iterations=1), tmp_path, "ppo").kl_in_loss == [False]


@pytest.fixture(scope="module")
def moved(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run that learns: tiny settings hardly ever succeed, so most methods would pay nothing."""
    return watched(settings(learning_rate=3e-3, warmup=0), tmp_path_factory.mktemp("moved"), f"{__file__}:Reading")


def test_the_reference_stays_where_the_policy_began(moved: Watched) -> None:
    first, second = (row["largest_log_ratio_to_start"] for row in metrics(moved.path, "iteration"))
    assert first < 1e-4 and second > 1e-2


def test_what_the_fit_costs_is_counted_as_the_fits(moved: Watched) -> None:
    """The fit reads the explored episodes once; nothing else is read."""
    (fit,) = [row for row in metrics(moved.path, "stage") if row["stage"] == "fit reward"]
    common = start.begin(settings())
    explored = explore(common, start.warm_start(common, Progress.quiet()), Progress.quiet())
    sizes = [pack_trajectory(episode).size for episode in read_episodes(explored)]
    assert fit["extra_tokens"] == sum(sizes) > 0
    assert [row["extra_tokens"] for row in metrics(moved.path, "iteration")] == [0, 0]


def test_trees_that_are_learned_from_in_parts_count_every_step(cache: Path, tmp_path: Path) -> None:
    grown = watched(settings(trees=3, minibatches=4), tmp_path, "3spo")
    assert grown.done == list(range(8))
    assert len(set(grown.chance)) == 8


def test_a_method_has_the_chance_of_its_run(cache: Path) -> None:
    seeds = [experiment.make_method(config(seed=seed)).seed for seed in (0, 1, 0)]
    assert seeds[0] == seeds[2] != seeds[1]


def games(seed: int, iteration: int, tmp_path: Path) -> list[tuple[str, int]]:
    """Task and seed of the first games of an iteration."""
    own = config(seed=seed)
    run = Run(own, start.begin(own), Fixed(), RunFolder(tmp_path), Progress.quiet())
    return [(task.key, chance) for task, chance in itertools.islice(run.games(iteration, 2), 60)]


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
    simulator, reference = PlayedOn(player, agent), pricing.Reference(policy, Limit(10**6, 4))
    backbone = Tunable(reference, 1e-4)
    hindsight, demonstrator = Hindsight(agent, policy, "", Limit(10**6, 4)), Demonstrator(None)
    learner = Learner(agent, policy, policy, None, reference, simulator, backbone, hindsight, demonstrator, 1.0)
    nothing = {"extra_tokens": 0, "extra_tokens_sampled": 0, "extra_env_steps": 0}
    assert learner.extra() == nothing
    (continued,) = simulator([played[0].until(6)], 1, seed=3)
    other = spoken(np.random.default_rng(9), 2)
    reference.encode([other])
    backbone.encode(backbone.weights(), [other, other])
    hindsight(played[:1], ["room 1"])
    told, demonstrator.env_steps = hindsight.tokens, 7
    own = continued[0].steps[6:]
    sampled = sum(len(step.tokens.reply) for step in own if step.tokens is not None)
    read = sum(step.tokens.size for step in continued[0].steps if step.tokens is not None)
    assert learner.extra() == {
        "extra_tokens": read + 3 * pack_trajectory(other).size + told,
        "extra_tokens_sampled": sampled,
        "extra_env_steps": len(own) + 7,
    }
    assert told and learner.extra() == nothing


@pytest.mark.parametrize("reward", ["sparse", "3spo"])
def test_keys_and_values_are_given_back_before_an_update(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reward: str
) -> None:
    """Also where the games go on after it, as under a method that learns between steps."""
    agents, held = [], []
    make, update = stages.make_policy, ppo.update

    def made(*args: Any) -> Any:
        found = make(*args)
        agents.append(found[0])
        return found

    def noted(*args: Any, **kwargs: Any) -> dict[str, float]:
        held.append(agents[-1].engine._cache)
        return update(*args, **kwargs)

    monkeypatch.setattr(stages, "make_policy", made)
    monkeypatch.setattr(ppo, "update", noted)
    own = settings(iterations=1, trees=2).model_copy(update={"reward": reward})
    experiment.run(own, tmp_path, Progress.quiet())
    assert len(held) == (1 if reward == "sparse" else 2)
    assert held == [None] * len(held)
