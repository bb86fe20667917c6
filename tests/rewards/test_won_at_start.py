"""Tasks that are won before the first step: played, priced, trained on, recorded and counted, by every method."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SETTINGS

from spa_bench import registry
from spa_bench.audit import run as auditing
from spa_bench.audit import show
from spa_bench.audit.stage import Size
from spa_bench.config import build
from spa_bench.core import UserError
from spa_bench.environments.alfworld.env import ALFWorld
from spa_bench.report.table import tables
from spa_bench.rollout.game import Request, begin
from spa_bench.rollout.player import Player, fitting
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.checked_method import CheckedMethod


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' starts were made where nothing is won at the start."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def win_at_start(monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Of ALFWorld's tasks one in `share`, by the letters of its key, is won when it begins."""
    told = ALFWorld._info

    def info(self: ALFWorld) -> dict[str, Any]:
        won = len(self._history) == 1 and sum(map(ord, self._task.key)) % share == 0
        return told(self) | ({"success": True, "progress": 1.0} if won else {})

    monkeypatch.setattr(ALFWorld, "_info", info)


@pytest.fixture(autouse=True)
def methods_see_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a method is fitted on and observes has steps."""
    for name in ("fit", "observe"):
        monkeypatch.setattr(CheckedMethod, name, _with_steps(getattr(CheckedMethod, name)))


def _with_steps(method: Any) -> Any:
    def checked(self: CheckedMethod, episodes: Any, *more: Any) -> Any:
        assert all(episode.steps for episode in episodes)
        return method(self, episodes, *more)

    return checked


def settings(reward: str, **changes: Any) -> Any:
    world = SETTINGS["world"] | {"max_steps": 16}
    ppo = SETTINGS["ppo"] | {"iterations": 1, "env_steps": 48, "trees": 3}
    return build({"env": "alfworld", "reward": reward} | SETTINGS | {"world": world, "ppo": ppo} | changes)


def test_every_method_trains_where_some_tasks_are_won_at_their_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    win_at_start(monkeypatch, 2)
    for reward in registry.names("rewards"):
        path = experiment.run(settings(reward), tmp_path, Progress.quiet())
        rows, torn = Journal(path / "metrics.jsonl").read()
        assert torn == 0 and rows[-1]["kind"] == "done", reward
        episodes, _ = Journal(path / "episodes.jsonl").read()
        played = [row for row in episodes if row["stage"] in ("train", "eval")]
        empty = [row for row in played if not row["steps"]]
        assert 0 < len(empty) < len(played), reward
        assert all((not row["steps"]) == (sum(map(ord, row["task"]["key"])) % 2 == 0) for row in played), reward
        prices, _ = Journal(path / "prices.jsonl").read()
        priced = {row["index"]: row["rewards"] for row in prices if row["stage"] == "train"}
        assert all(priced[row["index"]] == [] for row in empty if row["stage"] == "train"), reward
        assert all(row["success"] and row["terminated"] and row["outcome"] == 1.0 for row in empty)
    (table,) = tables([tmp_path])
    assert len(table.rows) == 1 + len(registry.names("rewards"))


def test_where_every_task_is_won_at_its_start_the_run_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    win_at_start(monkeypatch, 1)
    with pytest.raises(UserError, match="all of 24 train tasks were won at their start"):
        experiment.run(settings("ppo"), tmp_path, Progress.quiet())


@pytest.mark.parametrize("share", [1, 2])
def test_a_budget_is_spent_where_tasks_are_won_at_their_start(share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these counts as one step: endless requests come to an end, and other episodes cost what they did."""
    win_at_start(monkeypatch, share)
    player = Player(lambda: ALFWorld(train=24, valid=6, max_steps=5), batch=4)
    tasks = player.worlds(1)[0].tasks("train")
    requests = (Request(n, tasks[n % len(tasks)], n) for n in itertools.count())
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    played = [trajectory for _, trajectory, _ in player.play(requests, agent, budget=30)]
    won = [t for t in played if not t.steps]
    assert all((t.success, t.terminated, t.outcome, t.truncated) == (True, True, 1.0, False) for t in won)
    assert 25 < sum(len(t) for t in played) + len(won) <= 30
    assert (len(won) == len(played) == 30) if share == 1 else (0 < len(won) < len(played))


def test_a_game_that_is_won_at_its_start_takes_one_step_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    win_at_start(monkeypatch, 1)
    env = ALFWorld(train=24, valid=6)
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    games = [begin([Request(n, task, n)], env, agent) for n, task in enumerate(env.tasks("train")[:3])]
    assert [len(fitting(games, budget)) for budget in range(5)] == [0, 1, 2, 3, 3]


def test_an_audit_prices_episodes_that_are_won_at_their_start_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    win_at_start(monkeypatch, 2)
    size = Size(tasks=6, samples=2, points=2, alternatives=2, probes=2, fits=1)
    names = ("sparse", "spa", "potential", "rudder", "3spo", "shuffled", "time-only")
    found = auditing.audit([settings(name) for name in names], None, size, Progress.quiet())
    empty = [n for n, episode in enumerate(found.episodes) if not episode.steps]
    assert 0 < len(empty) < len(found.episodes) == 12 and found.excluded == len(empty)
    assert [method.name for method in found.methods] == list(names)
    for label, prices in found.prices.items():
        assert [len(paid) for paid in prices] == [len(episode) for episode in found.episodes], label
    json.loads(json.dumps(show.to_json(found)))
