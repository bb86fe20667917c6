"""An evaluation whose agent keeps what it was asked for, and can kill its process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny import config

from spa_bench import registry
from spa_bench.core import Agent, Conversation, Reply
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, start
from spa_bench.training.evaluation import Evaluation

SETTINGS = config(reward="expert", world={"max_steps": 60, "options": {"train": 24, "valid": 6}})
"""The expert solves the six tasks, all in one chunk, in 5, 6, 8, 11, 13 and 13 turns."""


class Counted(Agent):
    """The expert, who keeps how many tasks were asked for in each turn, and how many were on record then."""

    uses_expert = True

    def __init__(self, apart: bool, dies: int | None, folder: Path) -> None:
        self.prompt = registry.prompt("action")
        self.expert = registry.build("agents", "expert", prompt=self.prompt)
        self.apart, self.dies, self.folder = apart, dies, folder  # type: ignore[misc]
        self.asked: list[int] = []
        self.on_record: list[int] = []

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        if len(self.asked) == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked.append(len(conversations))
        self.on_record.append(len(rows(self.folder)))
        return self.expert.act(conversations)  # type: ignore[no-any-return]

    def spent(self) -> dict[str, Any]:
        return {"turns": len(self.asked)}


def rows(folder: Path, name: str = "episodes.jsonl") -> list[dict[str, Any]]:
    file = folder / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def evaluate(folder: Path, apart: bool, dies: int | None = None) -> Counted:
    """Into `folder`, killed after `dies` turns."""
    common = start.begin(SETTINGS)
    agent = Counted(apart, dies, folder)
    with RunFolder.open(folder, SETTINGS, experiment.facts(common, {}) | {"agent": "expert"}) as opened:
        Evaluation(common, opened, Progress.quiet()).play(agent)
        opened.metrics.append({"kind": "done"})
    return agent
