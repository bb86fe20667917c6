"""Built-in tasks: the same bytes everywhere, splits that share nothing they should not, and files the loader reads."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spa_bench.core import UserError
from spa_bench.environments.alfworld import generate, rooms, tasks
from spa_bench.environments.alfworld.engine import Engine, Game
from spa_bench.environments.alfworld.expert import solve
from spa_bench.environments.alfworld.household import OPENABLE, ROOMS, THINGS
from spa_bench.environments.dice import Dice

SIZES = {"train": 30, "valid_seen": 12, "valid_unseen": 12}
both = pytest.mark.parametrize("difficulty", sorted(rooms.DIFFICULTIES))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def panel():
    """The folder of the default panel, in the session's own cache."""
    return generate.ensure()


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if path.is_dir())


def test_the_default_panel_is_the_frozen_one(panel):
    manifest = panel / tasks.MANIFEST
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() == generate.PANEL


def test_the_length_buckets_of_the_default_panel_are_all_well_filled(panel):
    games = tasks.folder(panel)
    for split, least in (("train", 0.2), ("valid_seen", 0.15), ("valid_unseen", 0.15)):
        steps = [task.expert_steps for task in games.tasks(split)]
        for low, high in ((0, 7), (7, 10), (10, 99)):
            assert sum(low < n <= high for n in steps) >= least * len(steps), (split, low)


@pytest.mark.parametrize("hash_seed", ["0", "1", "31337"])
def test_the_bytes_do_not_depend_on_the_hash_seed(cache, tmp_path, hash_seed):
    here = contents(generate.ensure(seed=4, train=12, valid=6))
    code = "from spa_bench.environments.alfworld import generate; print(generate.ensure(seed=4, train=12, valid=6))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "SPA_BENCH_CACHE": str(tmp_path / "other")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert contents(Path(run.stdout.strip())) == here


def test_another_seed_gives_other_games(cache):
    assert contents(generate.ensure(1, 6, 6)) != contents(generate.ensure(2, 6, 6))


def test_a_longer_panel_begins_with_the_shorter_one():
    short = [game for split, _, game in generate.games(0, {"train": 12}, "default")]
    assert [game for split, _, game in generate.games(0, {"train": 30}, "default")][:12] == short


@both
def test_no_task_occurs_twice_and_unseen_rooms_are_not_in_train(difficulty):
    drawn = [(split, draft) for split, draft, _ in generate.games(0, SIZES, difficulty)]
    assert len({draft.content for _, draft in drawn}) == len(drawn)
    layouts = {name: {draft.scene.layout for split, draft in drawn if split == name} for name in SIZES}
    numbers = {name: {draft.scene.number for split, draft in drawn if split == name} for name in SIZES}
    assert not layouts["valid_unseen"] & (layouts["train"] | layouts["valid_seen"])
    assert not numbers["valid_unseen"] & (numbers["train"] | numbers["valid_seen"])


def test_seen_rooms_are_those_of_train():
    sizes = {"train": 3000, "valid_seen": 60}
    drawn = [(split, draft.scene) for split, draft, _ in generate.games(0, sizes, "default")]
    assert {scene for split, scene in drawn if split == "valid_seen"} <= {s for split, s in drawn if split == "train"}


@both
@pytest.mark.parametrize("text", ["2.1.1", "2.1.2"])
def test_every_game_is_open_at_the_start_and_says_what_its_draft_says(difficulty, text):
    for _, draft, raw in generate.games(9, SIZES, difficulty, text):
        game = Game.parse(json.loads(raw))
        engine = Engine(game)
        assert not engine.won
        assert game.text_version == text
        assert game.goal.kind == draft.kind
        assert game.goal.object_type == f"{draft.thing.lower()}type"
        assert game.goal.receptacle_type == f"{draft.target.lower()}type"
        assert game.task == f"Your task is to: {draft.sentence}."
        assert game.openable <= {p.id.lower() for p in draft.scene.places if p.kind in OPENABLE}
        assert {game.names[o].split()[0] for o in game.object_type} == {item.kind.lower() for item in draft.items}
        assert len(game.receptacles) == len(draft.scene.places)


def test_what_starts_in_the_fridge_is_cool():
    cooled = 0
    for _, _, raw in generate.games(0, {"train": 120}, "default"):
        game = Game.parse(json.loads(raw))
        fridges = {r for r in game.receptacles if game.receptacle_type[r] == "fridgetype"}
        inside = {o for o, r in game.initial["inreceptacle"] if r in fridges}
        assert game.initial["iscool"] == inside & game.coolable
        cooled += len(inside)
    assert cooled


def test_the_grammar_holds_the_help_that_the_engine_prints():
    raw = json.loads(next(generate.games(0, {"train": 1}, "default"))[2])
    engine = Engine(Game.parse(raw))
    assert engine.step("help") in raw["grammar"]
    old = json.loads(next(generate.games(0, {"train": 1}, "default", "2.1.1"))[2])
    assert "help" not in old["grammar"] and "help" not in old["pddl_domain"]


def test_domain_and_problem_are_balanced_and_declare_what_they_use():
    for text in ("2.1.1", "2.1.2"):
        for _, _, game in generate.games(0, {"train": 12}, "hard", text):
            raw = json.loads(game)
            for part in ("pddl_domain", "pddl_problem"):
                assert raw[part].count("(") == raw[part].count(")")
            assert "@" not in raw["pddl_domain"] + raw["grammar"]
            declared = raw["pddl_problem"].partition("(:init")[0] + raw["pddl_domain"]
            words = raw["pddl_problem"].partition("(:init")[2].replace("(", " ").replace(")", " ").split()
            assert all(word in declared for word in words if "_bar_" in word or word.endswith("Type"))


def test_the_loader_reads_the_folder_and_the_manifest_is_true(cache):
    games = tasks.folder(generate.ensure(train=12, valid=6))
    for split, size in (("train", 12), ("valid_seen", 6), ("valid_unseen", 6)):
        assert len(games.tasks(split)) == size
        assert {task.kind for task in games.tasks(split)} == set(tasks.KINDS.values())
        for task in games.tasks(split):
            assert len(solve(games.load(task))) == task.expert_steps


def test_traj_data_agrees_with_the_folder_name(cache):
    for path in generate.ensure(train=12, valid=6).rglob("traj_data.json"):
        data = json.loads(path.read_text())
        wanted = data["pddl_params"]
        name = "-".join([data["task_type"], wanted["object_target"], "None"])
        name += f"-{wanted['parent_target'] or wanted['toggle_target']}-{data['scene']['scene_num']}"
        assert (path.parent.parent.name, path.parent.name) == (name, data["task_id"])


def test_tasks_are_made_once_and_kept(cache):
    folder = generate.ensure(train=6, valid=6)
    marker = folder / ".untouched"
    marker.touch()
    assert generate.ensure(train=6, valid=6) == folder
    assert marker.exists()
    assert folders(folder.parent) == [folder.name]


def test_two_processes_at_once_agree(cache):
    code = "from spa_bench.environments.alfworld import generate; print(generate.ensure(train=30, valid=6))"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert len(tasks.folder(said[0]).tasks("train")) == 30
    assert folders(Path(said[0]).parent) == [Path(said[0]).name]


def test_a_failure_leaves_nothing_behind(cache, monkeypatch):
    monkeypatch.setattr(generate, "_traj_data", lambda draft, trial: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate.ensure(train=6, valid=6)
    assert folders(cache / "alfworld") == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"difficulty": "easy"}, "default"),
        ({"text": "2.1.0"}, "2.1.1"),
        ({"train": 0}, "train=0"),
        ({"valid": -1}, "-1"),
    ],
)
def test_unknown_parameters_are_named_with_what_there_is(cache, wrong, named):
    with pytest.raises(UserError, match=named):
        generate.ensure(**wrong)
    assert list(cache.iterdir()) == []


def test_more_tasks_than_there_are_is_an_error_and_no_endless_loop():
    dice = Dice("few")
    level = rooms.DIFFICULTIES["default"]

    class Everything(set):
        def __contains__(self, item):
            return True

    homes = [rooms.scene(dice, "kitchen", 1, 5, level)]
    with pytest.raises(UserError, match="ask for fewer"):
        generate._new(dice, "heat", homes, level, Everything())


def test_the_tables_only_name_things_and_places_that_exist():
    places = {name for room in ROOMS.values() for name in (*room.fixed, *(extra for extra, _ in room.extra))}
    for name, thing in THINGS.items():
        assert set(thing.places) <= places, name
        assert set(thing.traits) <= set("khcsrt"), name
    assert places >= OPENABLE
    for room in ROOMS.values():
        assert set(room.things) <= set(THINGS)
    assert {thing for room in ROOMS.values() for thing in room.things} | {"DeskLamp"} == set(THINGS)


def test_dice_are_fair_enough_and_stay_in_range():
    dice = Dice("fair")
    rolls = [dice.between(1, 6) for _ in range(6000)]
    assert set(rolls) == {1, 2, 3, 4, 5, 6}
    assert all(850 < rolls.count(face) < 1150 for face in range(1, 7))
    assert sorted(dice.shuffled(range(9))) == list(range(9))


def test_the_dice_are_the_frozen_ones():
    dice = Dice("frozen", 1)
    assert [dice.between(0, 99) for _ in range(8)] == [97, 49, 40, 54, 51, 10, 32, 48]
