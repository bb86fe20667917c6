"""Worlds that raise, hang or give wrong numbers: what becomes of their games, and of all the others."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from failing import Failing
from tiny import SETTINGS, config

from spa_bench import registry
from spa_bench.config import RunConfig
from spa_bench.core import Agent, Task, Trajectory, UserError, derive_seed
from spa_bench.report.table import tables
from spa_bench.rollout.branching import Grower
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.rollout.worlds import MOST_HANGS, WorldError, WorldHangs, ask
from spa_bench.runs.folder import run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, start
from spa_bench.training.ppo import TrainingError
from spa_bench.training.warm_episodes import evaluate, explore
from spa_bench.watch import watching

OPTIONS: dict[str, Any] = {"train": 12, "valid": 6, "max_steps": 6}


def make() -> Failing:
    return registry.build("environments", "failing", **OPTIONS)  # type: ignore[return-value]


def tasks() -> tuple[Task, ...]:
    return registry.build("environments", "alfworld", **OPTIONS).tasks("train")


def agent(name: str = "random") -> Agent:
    return registry.build("agents", name, prompt=registry.prompt("action"))


def play(batch: int, who: str = "random", soon: bool = False) -> tuple[list[Trajectory], Player]:
    player = Player(make, batch, soon)
    requests = [Request(number, task, derive_seed(number)) for number, task in enumerate(tasks()[:5])]
    with watching({"step": 0.3, "reset": 0.3}, "limits"):
        return [trajectory for _, trajectory, _ in player.play(requests, agent(who))], player


class Slow:
    name = "slow"

    def tasks(self, split: str) -> list[str]:
        time.sleep(0.2)
        return [split]


def test_tasks_may_take_as_long_as_a_reset() -> None:
    """They are made when they are first asked for: thousands, on a machine that may be busy."""
    with watching({"step": 0.05, "reset": 60.0}, "limits"):
        assert ask(Slow(), "tasks", "train") == ["train"]  # type: ignore[arg-type]


SAID = {
    "raises": r"raised KeyError: 'room 3' at .*failing\.py:\d+",
    "hangs": r"did not return within 0\.3 s \(limits\.(step|reset)\) at .*failing\.py:\d+",
    "wrong": r"raised ValueError: reward nan, progress \S+",
}

WAYS = [*itertools.product(("reset", "step"), ("raises", "hangs")), ("step", "wrong")]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("who", ["random", "expert"])
@pytest.mark.parametrize(
    ("call", "how"), [*itertools.product(("reset", "step"), ("raises", "hangs")), ("step", "wrong")]
)
def test_t08_a_world_that_fails_costs_its_game_alone(call: str, how: str, who: str, batch: int, failing: Any) -> None:
    """The third game fails twice: it ends with an error, after the steps that it had; no other is touched."""
    whole, _ = play(batch, who)
    broken = tasks()[2]
    failing(call=call, how=how, marks=(broken.key,))
    played, _ = play(batch, who)
    assert Failing.failed == 2
    assert played[:2] + played[3:] == whole[:2] + whole[3:]
    lost = played[2]
    assert lost.error is not None and lost.truncated and not lost.success and not lost.terminated
    assert lost.steps == (whole[2].steps[:1] if call == "step" else ())
    assert re.match(rf"^environment failing: {call} of task {re.escape(broken.key)} {SAID[how]}", lost.error)


@pytest.mark.parametrize("call", ["reset", "step"])
@pytest.mark.parametrize(("how", "soon"), [("raises", False), ("hangs", False), ("raises", True)])
def test_t08_a_game_whose_world_fails_once_is_played_again_from_its_start(
    call: str, how: str, soon: bool, failing: Any
) -> None:
    whole, _ = play(3)
    failing(call=call, how=how, marks=(tasks()[2].key,), times=1)
    played, player = play(3, soon=soon)
    assert Failing.failed == 1 and played == whole
    wasted = 1 if call == "step" else 0
    assert player.executed == sum(map(len, whole)) + wasted, "what was played in vain was executed"


def test_t08_a_world_in_which_nothing_returns_ends_the_run_by_name(failing: Any) -> None:
    failing(call="step", how="hangs", marks=("",))
    said = rf"^environment failing: step of task .* did not return within .* as {MOST_HANGS - 1} calls before"
    with pytest.raises(WorldHangs, match=said):
        play(3)
    assert Failing.failed == MOST_HANGS


@pytest.mark.parametrize("call", ["reset", "step"])
@pytest.mark.parametrize("times", [1, 2])
def test_t08_a_try_whose_world_fails_is_made_again_and_then_closed(call: str, times: int, failing: Any) -> None:
    """Of trees: with one failure the records are those of sound worlds, with two one episode has an error."""

    def grown() -> list[Trajectory]:
        player = Player(make, 2)
        games = (Request(n, tasks()[n % 12], 100 + n) for n in itertools.count())
        grower = Grower(
            games, player.worlds(2), agent(), lambda state: 2, lambda group: [t.played * [1.0] for t in group],  # type: ignore[misc]
            wanted=2, replace=player.replace,
        )  # fmt: skip
        for _ in grower.harvests(40, 1):
            pass
        return [trajectory for _, _, trajectory in grower.records()]

    whole = grown()
    failing(call=call, how="raises", marks=("",), times=times)
    found = grown()
    errors = [trajectory.error for trajectory in found if trajectory.error is not None]
    assert Failing.failed == times
    assert len(errors) == times - 1
    assert (found == whole) == (times == 1)


def test_t08_an_episode_that_is_played_on_in_a_failing_world_ends_the_run(failing: Any) -> None:
    (whole, *_), player = play(1)
    failing(call="step", how="raises", marks=("",), at=1)
    with pytest.raises(WorldError, match=r"^environment failing: step of task .* raised KeyError"):
        PlayedOn(player, agent())([whole.until(2)], 1, seed=0)


def run(**settings: Any) -> RunConfig:
    return config(env="failing", **settings)


def test_t08_a_run_records_lost_episodes_as_errors_and_its_table_counts_them(failing: Any, tmp_path: Path) -> None:
    """A task of the evaluation set and one of training always fail, after the start has been made."""
    torch.set_num_threads(1)
    own = run(ppo=SETTINGS["ppo"] | {"iterations": 1}, limits={"step": 0.3})
    common = start.begin(own)
    policy = start.warm_start(common, Progress.quiet())
    for play in (explore, evaluate):
        play(common, policy, Progress.quiet())
    failing(how="hangs", marks=(common.panel[1].key,))
    path = experiment.run(own, tmp_path, Progress.quiet())
    rows = [row for row in Journal(path / "episodes.jsonl").read()[0] if row["stage"] == "eval"]
    rows.sort(key=lambda row: row["index"])
    said = "environment failing: step of task .* did not return within 0.3 s"
    assert [bool(row["error"] and re.match(said, row["error"])) for row in rows] == [n == 1 for n in range(6)]
    (table,) = tables([path])
    (row,) = [row for row in table.rows if row.label == "sparse"]
    assert row.excluded == 1
    assert any("1 episodes excluded, stopped by an error" in note for note in table.notes)


def test_t08_a_run_in_a_world_that_always_fails_is_a_failed_run(failing: Any, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    own = run(limits={"step": 0.2})
    common = start.begin(own)
    policy = start.warm_start(common, Progress.quiet())
    for play in (explore, evaluate):
        play(common, policy, Progress.quiet())
    for how, kind in (("raises", TrainingError), ("hangs", WorldHangs)):
        failing(how=how, marks=("",))
        with pytest.raises(kind, match="environment failing: step of task ") as raised:
            experiment.run(own, tmp_path / how, Progress.quiet())
        rows, _ = Journal(run_path(tmp_path / how, own) / "metrics.jsonl").read()
        assert rows[-1] == {"kind": "failed", "reason": str(raised.value)}


def test_t08_a_start_is_not_made_of_episodes_that_failed(failing: Any, tmp_path: Path) -> None:
    failing(how="raises", marks=("",))
    common = start.begin(run(seed=11))
    with pytest.raises(UserError, match=r"^demonstrate: an episode has no end \(environment failing: step of task"):
        start.warm_start(common, Progress.quiet())
