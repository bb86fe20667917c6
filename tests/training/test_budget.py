"""Equal training budgets: what an iteration may collect, by hand, and runs whose methods have overhead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import SETTINGS, config

from spa_bench.config import PPOConfig
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.budget import Budget, least_steps, so_far


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def budget(match: str, iterations: int = 3, env_steps: int = 100, tokens_a_step: float = 5.0) -> Budget:
    settings = PPOConfig(match=match, iterations=iterations, env_steps=env_steps)  # type: ignore[arg-type]
    return Budget(settings, least=10, tokens_a_step=tokens_a_step)


def row(env_steps: int = 0, extra_env_steps: int = 0, tokens_sampled: int = 0, extra_tokens: int = 0) -> dict[str, Any]:
    found = {"env_steps": env_steps, "extra_env_steps": extra_env_steps}
    return {"kind": "iteration"} | found | {"tokens_sampled": tokens_sampled, "extra_tokens_sampled": extra_tokens}


def lengths(planned: Budget, extra: float = 0.0, tokens: float = 0.0) -> list[int]:
    """Steps of each iteration, where each step costs so many more steps, or so many tokens."""
    found = []
    while steps := planned.next():
        found.append(steps)
        planned.add(row(steps, int(extra * steps), int(tokens * steps)))
    return found


def test_an_iteration_holds_a_whole_episode_for_each_minibatch_by_hand():
    """8 minibatches of episodes of up to 20 turns; a game of three characters has three episodes: 3 games are 9."""
    assert least_steps(8, 20, 1) == 160
    assert least_steps(8, 16, 2) == 4 * 32
    assert least_steps(8, 20, 3) == 3 * 60


def test_without_a_match_every_iteration_is_as_long_as_the_configuration_says():
    assert lengths(budget("collected"), extra=3.0, tokens=50.0) == [100, 100, 100]


def test_steps_are_matched_by_hand():
    """300 steps in all. Twice the price: 100 cost 200, and the 100 that are left pay for 50."""
    assert lengths(budget("env-steps")) == [100, 100, 100]
    assert lengths(budget("env-steps"), extra=1.0) == [100, 50]
    assert lengths(budget("env-steps"), extra=0.5) == [100, 100]
    assert lengths(budget("env-steps"), extra=9.0) == [100], "more than all of it, and no second iteration"


def test_tokens_are_matched_by_hand():
    """1,500 tokens in all: 300 steps at 5 each. Replies of ten tokens: 100 + 50 steps; of four: 375 steps."""
    assert lengths(budget("tokens"), tokens=5.0) == [100, 100, 100]
    assert lengths(budget("tokens"), tokens=10.0) == [100, 50]
    assert lengths(budget("tokens"), tokens=4.0) == [100, 100, 100, 75]


def test_what_the_fit_has_spent_is_taken_from_the_same_budget():
    planned = budget("env-steps")
    planned.add({"kind": "stage", "stage": "fit reward", "extra_env_steps": 150})
    assert lengths(planned) == [100, 50]


def test_less_than_a_whole_game_is_not_collected():
    planned = budget("env-steps")
    planned.add({"kind": "stage", "stage": "fit reward", "extra_env_steps": 291})
    assert planned.next() == 0


def test_a_resumed_run_knows_what_it_has_spent():
    rows = [row(100, 100) | {"iteration": 1}, row(100, 100) | {"iteration": 1}, {"kind": "stage", "stage": "explore"}]
    assert so_far(budget("env-steps"), rows).next() == 50


@pytest.mark.parametrize("match", ["env-steps", "tokens"])
def test_methods_of_unequal_price_spend_alike(match, tmp_path):
    spent = {}
    for reward in ("sparse", "monte-carlo"):
        settings = config(reward=reward, ppo=SETTINGS["ppo"] | {"match": match, "iterations": 6, "env_steps": 40})
        path = experiment.run(settings, tmp_path, Progress.quiet())
        rows = [r for r in Journal(path / "metrics.jsonl").read()[0] if r["kind"] == "iteration"]
        names = (
            ("env_steps_budget", "extra_env_steps")
            if match == "env-steps"
            else ("tokens_sampled", "extra_tokens_sampled")
        )
        spent[reward] = sum(r[name] for r in rows for name in names)
        collected = sum(r["env_steps_budget"] for r in rows)
        if match == "env-steps" and reward == "sparse":
            assert collected == spent[reward] == 240
        if reward == "monte-carlo":
            assert 0 < collected < 240
            assert all(r["extra_env_steps"] > 0 and r["extra_tokens"] > 0 for r in rows)
    assert spent["monte-carlo"] == pytest.approx(spent["sparse"], rel=0.35)


def test_what_a_method_plays_beyond_the_dose_is_counted(tmp_path):
    path = experiment.run(config(reward="monte-carlo"), tmp_path, Progress.quiet())
    rows = [r for r in Journal(path / "metrics.jsonl").read()[0] if r["kind"] == "iteration"]
    assert [r["env_steps_budget"] for r in rows] == [80, 80]
    assert all(0 < r["extra_env_steps"] < 80 * 6 for r in rows)
