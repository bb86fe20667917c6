"""The ALFWorld engine against recordings of the real one, and the whole official set played by expert and oracle."""

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spa_bench.core import Task
from spa_bench.environments.alfworld import expert, oracle
from spa_bench.environments.alfworld.engine import Engine, Game
from spa_bench.environments.alfworld.env import ALFWorld
from spa_bench.environments.alfworld.tasks import KINDS, SPLITS, Games, official
from spa_bench.environments.alfworld.verify import verify

pytestmark = pytest.mark.official

COUNTS = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}
KIND_COUNTS = {
    "train": (790, 308, 650, 459, 533, 813),
    "valid_seen": (35, 13, 27, 16, 25, 24),
    "valid_unseen": (24, 18, 31, 23, 21, 17),
}
"""Of upstream's six task types, in the order of `KINDS`."""

WITHOUT_GAME = "pick_clean_then_place_in_recep-Cloth-None-BathtubBasin-413/trial_T20190908_065418_661400"
"""One recorded expert game is not among upstream's solvable games."""


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


@pytest.fixture(scope="module")
def games(alfworld_games: Path) -> Games:
    return official(alfworld_games)


def find(games: Games, name: str) -> Task:
    """The task of `split/task/trial`."""
    split, _, key = name.partition("/")
    return games.find(key, split)


def test_t21_recorded_episodes_of_the_real_simulator_replay_without_a_difference(
    games: Games, alfworld_data: Path
) -> None:
    episodes = steps = 0
    for episode in lines(alfworld_data / "upstream_traces.jsonl.xz"):
        engine = Engine(games.load(find(games, episode["game"]), episode["version"]))
        seen = engine.reset(), list(engine.admissible), engine.won
        assert seen == (episode["obs0"], episode["adm0"], episode["won0"]), episode["game"]
        for turn, (command, observation, admissible, won, *_) in enumerate(episode["steps"]):
            seen = engine.step(command), list(engine.admissible), engine.won
            assert seen == (observation, admissible, won), (episode["game"], turn, command)
            assert engine.last_executed == (observation != "Nothing happens.")
            steps += 1
        assert engine.won == episode["won"]
        episodes += 1
    assert (episodes, steps) == (213, 8054)


def test_published_expert_transcripts_replay_without_a_difference(games: Games, alfworld_data: Path) -> None:
    episodes = 0
    absent = []
    for record in lines(alfworld_data / "expert_transcripts.jsonl.xz"):
        if record["game"].endswith(WITHOUT_GAME):
            absent.append(record["game"])
            continue
        turns = [turn["value"] for turn in record["trajectory"]]
        engine = Engine(games.load(find(games, record["game"])))
        assert engine.reset() == turns[0]
        for command, observation in zip(turns[1::2], turns[2::2], strict=False):
            seen = engine.step(command)
            # the transcripts leave out where one arrives
            seen = seen.partition(". ")[2] if seen.startswith("You arrive at loc ") else seen
            assert seen == observation, (record["game"], command)
            assert engine.last_executed
        if len(turns) % 2 == 0:
            engine.step(turns[-1])
        assert engine.won, record["game"]
        episodes += 1
    assert (episodes, len(absent)) == (2053, 1)


@pytest.mark.parametrize("split", SPLITS)
def test_the_official_splits_have_the_papers_tasks(games: Games, split: str) -> None:
    tasks = games.tasks(split)
    assert len(tasks) == COUNTS[split]
    places = ["place", "light", "clean", "heat", "cool", "two"]
    assert tuple(sum(task.kind == KINDS[kind] for task in tasks) for kind in places) == KIND_COUNTS[split]


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_wins_every_game_in_the_steps_of_the_manifest_and_plans_are_never_longer(
    games: Games, split: str
) -> None:
    for task in games.tasks(split):
        game = games.load(task)
        commands = expert.solve(game)
        assert len(commands) == task.expert_steps, task.key
        engine = Engine(game)
        assert KINDS[game.goal.kind] == task.kind
        assert not engine.won
        best = oracle.remaining(game, engine.state)
        plan = oracle.plan(game, engine.state)
        assert best == len(plan) <= len(commands), task.key
        for left, command in zip(range(best, 0, -1), plan, strict=True):
            assert not engine.won
            assert oracle.remaining(game, engine.state) == left, (task.key, command)
            engine.step(command)
            assert engine.last_executed, (task.key, command)
        assert engine.won, task.key


@pytest.mark.parametrize("split", ["valid_seen", "valid_unseen"])
def test_both_releases_are_one_world_in_two_wordings(games: Games, alfworld_games_new: Path, split: str) -> None:
    newer = official(alfworld_games_new)
    for task in games.tasks(split):
        old, new = games.load(task), newer.load(task)
        assert (old.text_version, new.text_version) == ("2.1.1", "2.1.2")
        assert (old.names, old.goal, old.task, old.initial) == (new.names, new.goal, new.task, new.initial)
        first, second = Engine(old), Engine(new)
        assert first.reset() == second.reset()
        forced = Engine(games.load(task, "2.1.2"))
        for command in expert.solve(new):
            assert second.step(command) == forced.step(command)
            assert second.admissible == forced.admissible
        assert second.won and forced.won


@pytest.mark.parametrize("split", ["valid_seen", "valid_unseen"])
def test_official_plans_of_the_newer_release_win_and_are_not_shorter_than_the_oracles(
    alfworld_games_new: Path, split: str
) -> None:
    games = official(alfworld_games_new)
    for task in games.tasks(split):
        walkthrough = json.loads(games.path(task).read_text(encoding="utf-8"))["walkthrough"]
        game = games.load(task)
        engine = Engine(game)
        assert oracle.remaining(game, engine.state) <= len(walkthrough), task.key
        for command in walkthrough:
            engine.step(named(game, command))
            assert engine.last_executed, (task.key, command)
        assert engine.won, task.key


def named(game: Game, command: str) -> str:
    """A recorded command with names: those of valid_unseen were recorded with ids."""
    return " ".join(game.names.get(word.lower(), word) for word in command.split(" "))


def test_verification_of_the_official_set_finds_nothing(games: Games) -> None:
    answer = verify(games)
    assert answer.ok
    assert {report.split: report.present for report in answer.splits} == COUNTS
    assert set(answer.shared.values()) == set(answer.shared_problems.values()) == {()}


def test_the_newer_release_is_accepted_by_the_same_manifest(alfworld_games_new: Path) -> None:
    answer = verify(official(alfworld_games_new))
    assert [(report.present, report.wrong, report.extra) for report in answer.splits[1:]] == [
        (140, (), ()),
        (134, (), ()),
    ]
    assert len(answer.splits[0].missing) == 3553


def test_the_environment_plays_official_games(alfworld_games: Path) -> None:
    env = ALFWorld(tasks="official", data=str(alfworld_games), max_steps=100)
    task = env.tasks("valid_unseen")[0]
    _, info = env.reset(options={"task": task.key, "split": "valid_unseen"})
    assert info["task"] == task
    terminated = False
    while not terminated:
        _, _, terminated, truncated, info = env.step(env.expert_action())
        assert not truncated
    assert info["success"]
    texts = env.text_sources()
    assert len(texts) > 200


def test_every_official_file_survives_being_read_as_another_text(games: Games) -> None:
    for split in SPLITS:
        for task in games.tasks(split)[::50]:
            old, new = games.load(task, "2.1.1"), games.load(task, "2.1.2")
            assert Engine(old).reset() == Engine(new).reset()
            assert isinstance(old, Game)
