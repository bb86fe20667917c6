"""The expert's way in the tasks at hand: the task that was asked for, successful, alike when asked again, counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import SETTINGS

from spa_bench.config import build
from spa_bench.training import start
from spa_bench.training.demonstrator import Demonstrator


@pytest.mark.parametrize(("env", "characters"), [("alfworld", 1), ("virtualhome", 2)])
def test_it_shows_the_expert_in_each_task(env: str, characters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    options = {"train": 24, "valid": 6} | ({"characters": 2} if characters == 2 else {})
    common = start.begin(
        build({"env": env, "reward": "sparse"} | SETTINGS | {"world": {"max_steps": 40, "options": options}})
    )
    shows = Demonstrator(common)
    tasks = list(common.train[:3])
    ways = shows(tasks)
    assert [[(way.task, way.character) for way in own] for own in ways] == [
        [(task, character) for character in range(characters)] for task in tasks
    ]
    assert all(way.success for own in ways for way in own)
    assert shows.env_steps == sum(len(own[0]) for own in ways)
    again = shows(tasks[1:])
    assert [[[s.action for s in way.steps] for way in own] for own in again] == [
        [[s.action for s in way.steps] for way in own] for own in ways[1:]
    ]
