"""Built-in tasks of VirtualHome: the same bytes everywhere, each possible, splits that share no home and no task."""

from __future__ import annotations

import hashlib
import os
import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from spa_bench.core import UserError
from spa_bench.environments.dice import Dice
from spa_bench.environments.virtualhome import generate, tasks
from spa_bench.environments.virtualhome.engine import ARITY, World
from spa_bench.environments.virtualhome.env import VirtualHome
from spa_bench.environments.virtualhome.episode import LONGEST, expert_steps
from spa_bench.environments.virtualhome.generation.chores import KINDS, chores
from spa_bench.environments.virtualhome.generation.draft import draft, relation
from spa_bench.environments.virtualhome.generation.household import (
    CLASSES,
    DIFFICULTIES,
    DOORED,
    HELD_OUT,
    NEVER_FIRST,
    ROOMS,
    SEATS,
    STANDS_ON,
    SURFACES,
    THINGS,
    UNSWITCHED,
)
from spa_bench.environments.virtualhome.generation.phrases import ONE, PART, SEVERAL
from spa_bench.environments.virtualhome.goals import met, satisfied
from spa_bench.environments.virtualhome.graph import PROPERTIES, compile_graph
from spa_bench.environments.virtualhome.naming import ids
from spa_bench.environments.virtualhome.verify import verify

SIZES = {"train": 300, "valid_seen": 40, "valid_unseen": 40}
both = pytest.mark.parametrize("difficulty", sorted(DIFFICULTIES))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def panel():
    """The default panel, in the session's own cache."""
    return tasks.folder(generate.ensure())


@pytest.fixture(scope="module", params=sorted(DIFFICULTIES))
def made(request):
    """The homes of a small panel of each difficulty."""
    return list(generate.homes(3, SIZES, request.param))


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if path.is_dir())


def scenarios(made, split=None):
    return [found for home in made if split in (None, home.split) for found in home.scenarios]


# The same everywhere


def test_the_default_panel_is_the_frozen_one(panel):
    manifest = (panel.root / tasks.MANIFEST).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == generate.PANEL


@pytest.mark.parametrize("hash_seed", ["0", "1", "31337"])
def test_the_bytes_do_not_depend_on_the_hash_seed(cache, tmp_path, hash_seed):
    here = contents(generate.ensure(seed=4, train=12, valid=6))
    code = "from spa_bench.environments.virtualhome import generate; print(generate.ensure(seed=4, train=12, valid=6))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "SPA_BENCH_CACHE": str(tmp_path / "other")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert contents(Path(run.stdout.strip())) == here


def test_another_seed_gives_other_tasks(cache):
    assert (
        not contents(generate.ensure(1, train=10, valid=5)).items()
        & contents(generate.ensure(2, train=10, valid=5)).items()
    )


def test_a_longer_panel_begins_with_the_shorter_one():
    short, long = (scenarios(generate.homes(0, {"train": size}, "default")) for size in (14, 40))
    assert [found.task for found in short] == [found.task for found in long][:14]


# Every task is possible


def test_every_task_of_the_panel_is_solved_by_its_program_and_open_before(panel):
    for split in tasks.SPLITS:
        for task in panel.tasks(split):
            scenario = panel.load(task)
            world, done = World(scenario.graph), []
            assert not satisfied(scenario.goal, world), task.key
            for line in scenario.program:
                assert not satisfied(scenario.goal, world, done), f"{task.key} is done before {line}"
                outcome = world.execute(line.action, line.ids, names=line.names)
                assert outcome.executed, (task.key, line, outcome.message)
                done.append(line.action)
            assert satisfied(scenario.goal, world, done), (task.key, met(scenario.goal, world, done))


def test_lengths_are_those_of_the_searching_expert(panel):
    for task in panel.tasks("valid_unseen"):
        assert task.expert_steps == expert_steps(panel.load(task)) < LONGEST


def test_the_same_programs_run_in_the_released_simulator_too(made):
    """Nothing in them rests on what `fixed` repairs, posture apart."""
    solved = 0
    for found in scenarios(made):
        world, done = World(found.graph, "v2"), []
        for line in found.program:
            assert world.execute(line.action, line.ids).executed, (found.task.key, line)
            done.append(line.action)
        solved += satisfied(found.goal, world, done)
    assert solved >= 0.9 * len(scenarios(made))


def test_lengths_are_spread(panel):
    steps = [task.expert_steps for task in panel.tasks("train")]
    assert min(steps) <= 3 and 12 <= max(steps) <= VirtualHome().max_steps
    assert 4 <= statistics.median(steps) <= 7
    short, medium = VirtualHome.buckets
    for split in tasks.SPLITS:
        steps = [task.expert_steps for task in panel.tasks(split)]
        for low, high in ((0, short), (short, medium), (medium, 99)):
            assert sum(low < n <= high for n in steps) >= 0.15 * len(steps), (split, low)


@pytest.mark.parametrize("made", ["hard"], indirect=True)
def test_hard_tasks_are_long(made):
    steps = [found.task.expert_steps for found in scenarios(made)]
    assert min(steps) <= 3 and 30 <= max(steps) <= 50
    assert sum(n > 20 for n in steps) >= 0.08 * len(steps)


# What a task says


def test_instructions_call_things_by_their_names_and_name_all_that_the_goal_is_about(made):
    for found in scenarios(made):
        called = ids(found.graph)
        longest_first = sorted(called, key=len, reverse=True)
        name = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")
        said = {called[word] for word in name.findall(found.title)}
        about = {n for n, _ in found.goal.nodes} | {n for a, _, b in found.goal.edges for n in (a, b)}
        assert about - set(found.graph.characters) <= said, found.title
        # what is left is plain English: no name that is not there
        assert re.fullmatch("[A-Z][A-Za-z ,;:]*[.]", name.sub("", found.title)), found.title


def test_names_with_numbers_matter(made):
    numbered = [found for found in scenarios(made) if any(word.strip(".,;:").isdigit() for word in found.title.split())]
    assert len(numbered) > 0.15 * len(scenarios(made))


def test_every_kind_has_three_phrasings_and_all_are_used(panel):
    assert all(3 <= len(set(phrases)) <= 6 for phrases in (*ONE.values(), *SEVERAL.values()))
    assert PART.keys() <= ONE.keys()
    titles = [panel.load(task).title for task in panel.tasks("train")]
    for phrasing, phrases in ONE.items():
        for phrase in phrases:
            start = phrase.partition("{")[0]
            assert any(title.startswith(start) for title in titles), phrasing


def test_every_kind_and_many_actions_occur(panel):
    for split in tasks.SPLITS:
        counts = Counter(task.kind for task in panel.tasks(split))
        assert counts.keys() == set(KINDS)
        assert max(counts.values()) - min(counts.values()) <= 1
    verbs = Counter(line.action for task in panel.tasks("train") for line in panel.load(task).program)
    needed = {"WALK", "GRAB", "PUTIN", "PUTBACK", "OPEN", "CLOSE", "SWITCHON", "SWITCHOFF", "PLUGIN", "WASH"}
    needed |= {"SIT", "LIE", "READ", "DRINK", "TURNTO", "WATCH"}
    assert verbs.keys() == needed and needed <= ARITY.keys()
    assert min(verbs.values()) >= 20
    for split in ("valid_seen", "valid_unseen"):
        assert {line.action for task in panel.tasks(split) for line in panel.load(task).program} <= needed


# Splits


def combinations(made, split):
    return [set(task) for home in made if home.split == split for task in home.combinations]


def is_held_out(combination):
    kind, *rest = combination
    return tuple(rest) in HELD_OUT[kind] if kind in HELD_OUT else None


@both
def test_combinations_decide_the_split(difficulty, monkeypatch):
    monkeypatch.setattr(generate, "expert_steps", lambda found: 1)  # slow, and it decides no split
    panel = list(generate.homes(0, {"train": 1200, "valid_seen": 40, "valid_unseen": 40}, difficulty))
    train = set().union(*combinations(panel, "train"))
    assert not any(is_held_out(combination) for combination in train)
    for task in combinations(panel, "valid_seen"):
        assert task <= train
    for task in combinations(panel, "valid_unseen"):
        assert task - train, task


def test_no_home_and_no_task_occurs_twice_and_unseen_rooms_are_not_in_train(made):
    names = Counter(home.name for home in made)
    assert set(names.values()) == {1}
    contents = Counter((found.task.key.partition("/")[0], frozenset(found.goal.nodes), frozenset(found.goal.edges),
                        found.goal.actions) for found in scenarios(made))  # fmt: skip
    assert set(contents.values()) == {1}
    layouts = defaultdict(set)
    for home in made:
        graph = home.graph
        for room in graph.rooms:
            inside = [graph.classes[n] for n in graph.into["INSIDE"][room]]
            fixed = [kind for kind in inside if kind not in THINGS and kind not in ("character", "door")]
            layouts[home.split].add((graph.classes[room], *sorted(fixed)))
    assert not layouts["valid_unseen"] & (layouts["train"] | layouts["valid_seen"])
    assert layouts["valid_seen"].isdisjoint(layouts["valid_unseen"])


def test_verification_proves_the_splits(panel):
    answer = verify(panel)
    assert answer.ok
    assert {report.split: report.present for report in answer.splits} == {
        "train": 3000,
        "valid_seen": 100,
        "valid_unseen": 100,
    }
    assert set(answer.shared_homes.values()) == set(answer.shared_tasks.values()) == {()}


# Homes


def test_homes_have_the_size_and_the_order_of_homes(made):
    for home in made:
        graph = home.graph
        assert 25 <= len(graph.nodes) <= 66
        assert 2 <= len(graph.rooms) <= 4
        assert len(graph.characters) == 1
        world = World(graph)
        for i in graph.nodes:
            assert world.room(i) in graph.rooms
            places = (world.out("ON", i) | world.out("INSIDE", i)) - graph.rooms
            assert len(places) <= 1
            for place in places:
                assert world.room(place) == world.room(i)
                assert relation(graph.classes[place]) == ("ON" if place in world.out("ON", i) else "INSIDE")
            assert not {"ON", "OFF"} <= graph.states[i] and not {"OPEN", "CLOSED"} <= graph.states[i]
            assert not {"ON", "PLUGGED_OUT"} <= graph.states[i]
        doors = [i for i in graph.nodes if graph.classes[i] == "door"]
        assert len(doors) == len(graph.rooms) - 1
        assert all(len(world.out("BETWEEN", door)) == 2 for door in doors)
        assert not graph.out["CLOSE"]


def test_homes_have_duplicates_closed_unplugged_and_dirty_things(made):
    counts = Counter()
    for home in made:
        graph = home.graph
        several = Counter(graph.classes[i] for i in graph.nodes if graph.classes[i] in THINGS)
        counts["several"] += max(several.values()) > 1
        for name in ("PLUGGED_OUT", "DIRTY", "CLOSED", "OPEN", "ON", "OFF"):
            counts[name] += any(name in states for states in graph.states.values())
    assert all(count >= 0.4 * len(made) for count in counts.values()), counts


def test_the_tables_only_name_things_and_places_that_exist():
    furniture = {kind for room in ROOMS.values() for kind in (*room.fixed, *sum(room.seen + room.unseen, ()))}
    everything = furniture | set(THINGS) | set(ROOMS) | {"character", "door", "floor", "light"}
    assert everything == set(CLASSES)
    assert 60 <= len(CLASSES) <= 82
    assert {kind for room in ROOMS.values() for kind in (*room.fixed, *sum(room.seen, ()))} == furniture
    assert {thing for room in ROOMS.values() for thing in room.things} == set(THINGS)
    for thing in THINGS.values():
        assert set(thing.places) <= furniture and set(thing.uses) <= set("sdlctvpkr") and thing.sink in ROOMS
        assert set(thing.places) - NEVER_FIRST
    assert (SURFACES | NEVER_FIRST | DOORED | SEATS.keys() | STANDS_ON.keys()) <= furniture
    assert {place for places in STANDS_ON.values() for place in places} <= SURFACES
    for kind, (_, properties) in CLASSES.items():
        assert set(properties.split()) <= PROPERTIES
        assert (kind in THINGS) <= ("GRABBABLE" in properties)
        assert (kind in DOORED) <= ({"CAN_OPEN", "HAS_SWITCH"} <= set(properties.split()))
    assert all("HAS_SWITCH" in CLASSES[kind][1] for kind in UNSWITCHED)
    for kind, pairs in HELD_OUT.items():
        assert kind in KINDS and pairs


def test_every_held_out_combination_can_occur():
    found = set()
    for n in range(600):
        home = draft(Dice("held out", n), DIFFICULTIES["hard"], unseen=True)
        found |= {chore.combination for kind in KINDS for chore in chores(home, kind) if chore.held_out}
    assert {(kind, *pair) for kind, pairs in HELD_OUT.items() for pair in pairs} <= found


def test_a_draft_is_a_strict_graph():
    for n in range(50):
        home = draft(Dice("strict", n), DIFFICULTIES["hard"], unseen=bool(n % 2))
        compile_graph(home.to_json(), "a draft", strict=True, known=CLASSES)


# The folder


def test_the_panel_is_small_and_the_loader_reads_it(panel):
    assert sum(path.stat().st_size for path in panel.root.rglob("*") if path.is_file()) < 30_000_000
    assert [len(panel.tasks(split)) for split in tasks.SPLITS] == [3000, 100, 100]
    assert len(list((panel.root / tasks.LAYOUT).iterdir())) == 640


def test_tasks_are_made_once_and_kept(cache):
    folder = generate.ensure(train=6, valid=6)
    marker = folder / ".untouched"
    marker.touch()
    assert generate.ensure(train=6, valid=6) == folder
    assert marker.exists()
    assert folders(folder.parent) == [folder.name]


def test_two_processes_at_once_agree(cache):
    code = "from spa_bench.environments.virtualhome import generate; print(generate.ensure(train=30, valid=6))"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]
    assert len(tasks.folder(said[0]).tasks("train")) == 30
    assert folders(Path(said[0]).parent) == [Path(said[0]).name]


def test_a_task_that_its_program_does_not_solve_stops_the_panel_and_leaves_nothing(cache, monkeypatch):
    monkeypatch.setattr(generate.Gold, "close", lambda gold, piece: None)
    with pytest.raises(RuntimeError, match=r"home-.* is not done by its own program"):
        generate.ensure(train=200, valid=6)
    assert folders(cache / "virtualhome") == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"difficulty": "easy"}, "default"), ({"train": 0}, "train=0"), ({"valid": -1}, "-1")],
)
def test_unknown_parameters_are_named_with_what_there_is(cache, wrong, named):
    with pytest.raises(UserError, match=named):
        generate.ensure(**wrong)
    assert list(cache.iterdir()) == []


def test_more_homes_than_there_are_is_an_error_and_no_endless_loop(monkeypatch):
    class Everything(set):
        def __contains__(self, item):
            return True

    monkeypatch.setattr(generate, "ATTEMPTS", 20)
    with pytest.raises(UserError, match="ask for fewer"):
        generate._made(("default", 0, "train", 0), DIFFICULTIES["default"], 10, Everything(), set())
