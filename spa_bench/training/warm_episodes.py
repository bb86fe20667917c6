"""Episodes of the warm start: those that methods learn from, and its evaluation. Played once, kept in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spa_bench.core import Trajectory
from spa_bench.identity import decisive
from spa_bench.rollout.game import Request
from spa_bench.runs.episodes import from_row, to_row
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress, bursts
from spa_bench.training.record import SharedJournal, shared_entry
from spa_bench.training.start import Start, digest, load_policy, make_requests, refuse_failed

EPISODES = "episodes.jsonl"


def explore(start: Start, policy_folder: Path, progress: Progress) -> Path:
    """Folder with episodes on train tasks, some of each; `policy_folder` is that of the warm start."""
    config = start.config
    tasks = start.train_tasks(config.explore.tasks)
    requests = make_requests(start, "explore", 0, tasks, config.explore.samples)
    identity = [config.explore.model_dump(), config.ppo.temperature]
    return _played(start, policy_folder, "explore", identity, requests, config.ppo.temperature, progress)


def evaluate(start: Start, policy_folder: Path, progress: Progress) -> Path:
    """Folder with one episode on each task of the evaluation set, in its order."""
    config = start.config
    requests = make_requests(start, "eval", 0, start.panel, 1)
    identity = [config.eval.played(), start.panel_hash]
    return _played(start, policy_folder, "evaluate warm start", identity, requests, config.eval.temperature, progress)


def read_episodes(folder: Path) -> list[Trajectory]:
    """The episodes in a folder, in the order of their requests."""
    rows, _ = Journal(folder / EPISODES).read()
    return [from_row(row) for row in rows]


def _played(
    start: Start,
    policy_folder: Path,
    name: str,
    identity: Sequence[Any],
    requests: Sequence[Request],
    temperature: float,
    progress: Progress,
) -> Path:
    """From the cache, or played now; `identity` is what the episodes depend on beside the warm start."""
    depends = [policy_folder.name, *identity, sorted(start.records), start.config.batch]
    if start.engine is not None:
        depends += [start.engine.facts(), decisive(start.config)["model"]["engine_options"]]
    with shared_entry(name.replace(" ", "-"), digest(depends)[:16]) as entry:
        if not entry.ready:
            agent = load_policy(start, policy_folder)
            agent.temperature = temperature
            _record(start, agent, requests, entry.build / EPISODES, name, progress)
    return entry.path


def _record(start: Start, agent: Any, requests: Sequence[Request], path: Path, name: str, progress: Progress) -> None:
    journal = SharedJournal(path)
    with progress.stage(name, total=len(requests), unit="episodes") as stage:
        wins = 0
        for burst in bursts(start.player.play(requests, agent), start.chunk):
            for _, trajectory, _ in burst:
                refuse_failed(name, trajectory)
            journal.extend(to_row(trajectory) | {"index": request.index} for request, trajectory, _ in burst)
            wins += sum(trajectory.success for _, trajectory, _ in burst)
            stage.advance(len(burst), success=wins / (stage.done + len(burst)))
