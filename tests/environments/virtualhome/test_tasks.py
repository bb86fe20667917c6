"""Names, apartment files and manifests of VirtualHome, and what the loader says to files that were altered."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from strategies import max_examples
from virtualhome_home import ANNA, CUP, CURTAIN, FRIDGE, KITCHEN, TABLE, TV, TWIN, edge, home, node

from spa_bench.core import UserError
from spa_bench.environments.virtualhome import data, generate, upstream
from spa_bench.environments.virtualhome.apartments import Apartment, Record, changed, difference, fingerprint, write
from spa_bench.environments.virtualhome.engine import World, admissible
from spa_bench.environments.virtualhome.goals import satisfied
from spa_bench.environments.virtualhome.graph import compile_graph, to_json
from spa_bench.environments.virtualhome.manifest import build, kind_of, pack, split_of
from spa_bench.environments.virtualhome.naming import ids, listing, names, with_article
from spa_bench.environments.virtualhome.tasks import (
    COLUMNS,
    LAYOUT,
    SPLITS,
    Homes,
    folder,
    official,
    read_manifest,
    write_manifest,
)
from spa_bench.environments.virtualhome.verify import verify

GRAPH = compile_graph(home(), "home")
ROW = "train,a/b,put,3,," + "0" * 64
HEAD = ",".join(COLUMNS)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return generate.ensure(train=20, valid=10)


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(original, tmp_path / "set"))


def first_file(root: Path, split: str = "train") -> Path:
    homes = folder(root)
    return homes.path(homes.tasks(split)[0].key.partition("/")[0])


def edited(path: Path, line: int, change: object) -> None:
    """Replace one line of an apartment file by what `change` makes of its JSON."""
    lines = path.read_text().splitlines()
    lines[line] = json.dumps(change(json.loads(lines[line])), separators=(",", ":"))  # type: ignore[operator]
    path.write_text("\n".join(lines) + "\n")


# Names


def test_a_class_is_numbered_only_where_there_are_several_of_it():
    more = [node(60, "cup", "placable_objects"), edge(60, "INSIDE", KITCHEN)]
    found = names(compile_graph(home(add=more), "home"))
    assert (found[CUP], found[60], found[TABLE], found[ANNA]) == ("cup 1", "cup 2", "table", "character")
    assert with_article(found[CUP]) == "cup 1" and with_article(found[TABLE]) == "the table"


@given(classes=st.lists(st.sampled_from(["cup", "cup 1", "cup 1 1", "cup 2", "a b", "7", "cup 01"]), max_size=9))
@max_examples(200)
def test_names_and_nodes_belong_to_each_other_one_by_one(classes: list[str]):
    more = [node(100 + n, name, "x") for n, name in enumerate(classes)]
    graph = compile_graph(home(add=more), "home")
    found = names(graph)
    assert list(found) == list(graph.nodes)
    assert len(set(found.values())) == len(found)
    assert ids(graph) == {name: i for i, name in found.items()}


def test_names_stay_whatever_happens():
    world = World(GRAPH)
    before = names(GRAPH)
    for action, *objects in (("WALK", CUP), ("GRAB", CUP), ("WALK", FRIDGE)):
        world.execute(action, objects)
    assert names(compile_graph(to_json(world), "later")) == before


def test_lists_are_read_as_people_write_them():
    assert [listing(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


# Apartment files


def randomly(seed: int, steps: int = 8) -> World:
    rng = random.Random(seed)
    world = World(GRAPH)
    for _ in range(steps):
        action, objects = rng.choice(admissible(world, ANNA, GRAPH.nodes))
        world.execute(action, objects)
    return world


@given(seed=st.integers(0, 10**6))
@max_examples(40)
def test_a_difference_brings_one_graph_to_the_other(seed: int):
    other = compile_graph(to_json(randomly(seed)), "other")
    step = difference(GRAPH, other)
    back = GRAPH if step is None else compile_graph(changed(to_json(GRAPH), step), "back")
    assert fingerprint(back) == fingerprint(other)
    assert difference(GRAPH, GRAPH) is None


def test_nodes_may_come_and_go():
    more = [node(60, "cup", "x", "GRABBABLE"), edge(60, "INSIDE", KITCHEN)]
    other = compile_graph(home(add=more, without=[TV], states={CUP: "CLEAN"}), "other")
    step = difference(GRAPH, other)
    assert step is not None
    assert step["removed_nodes"] == [TV]
    assert {"id": CUP, "states": ["CLEAN"]} in step["nodes"]
    assert fingerprint(compile_graph(changed(to_json(GRAPH), step), "back")) == fingerprint(other)


def stored(path: Path, final: bool = True) -> list[Record]:
    records = []
    for seed in range(3):
        initial = compile_graph(to_json(randomly(seed)), "initial") if seed else GRAPH
        step = difference(initial, compile_graph(to_json(randomly(seed + 10)), "final")) if final else None
        goal = {"actions": [], "goal": [{"id": TV, "state": "OFF"}]} if seed else None
        program = f"Title {seed}\nwords\n\n\n[WALK] <table> (1.{TABLE})"
        records.append(Record(f"task-{seed}", program, goal, initial, difference(GRAPH, initial), step))
    write(path, GRAPH, records)
    return records


def opened(path: Path) -> Apartment:
    return Apartment(path, strict=False, known=None, fix="the fix")


def test_what_is_written_is_read_again_with_the_same_hashes(tmp_path: Path):
    records = stored(tmp_path / "a.jsonl")
    apartment = opened(tmp_path / "a.jsonl")
    assert apartment.names == ("task-0", "task-1", "task-2")
    for record in records:
        again = apartment.record(record.name)
        assert again.sha256 == record.sha256
        assert fingerprint(again.initial) == fingerprint(record.initial)
        assert fingerprint(apartment.final(again)) != fingerprint(again.initial)
    assert apartment.record("task-0").initial is apartment.graph
    assert len({record.sha256 for record in records}) == 3


@pytest.mark.parametrize("field", ["program", "goal", "final", "initial"])
def test_every_part_of_a_task_is_in_its_hash(tmp_path: Path, field: str):
    record = stored(tmp_path / "a.jsonl")[1]
    other = compile_graph(home(states={CUP: "CLEAN"}), "other")
    new = {"program": "x", "goal": None, "final": None, "initial": other}[field]
    assert dataclasses.replace(record, **{field: new}).sha256 != record.sha256


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[]\n", "no home"),
        ("{", "torn or damaged: line 1"),
        ('{"nodes":[],"edges":[]}\n', "no room"),
        ('{"nodes":1}\n', "no graph"),
    ],
)
def test_a_bad_home_is_named(tmp_path: Path, text: str, said: str):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        _ = opened(tmp_path / "a.jsonl").graph
    assert str(tmp_path / "a.jsonl") in str(caught.value)


def test_a_bad_line_is_named_with_its_number(tmp_path: Path):
    stored(tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_text()
    lines = text.splitlines()
    for bad in ('{"name":"x"}', lines[1], "{}", ""):
        (tmp_path / "a.jsonl").write_text("\n".join([*lines, bad, "x"]))
        with pytest.raises(UserError, match=r"line 5; the fix"):
            opened(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text(text[:-30])
    with pytest.raises(UserError, match=r"torn or damaged: task task-2.*the fix"):
        opened(tmp_path / "a.jsonl").record("task-2")
    with pytest.raises(UserError, match=r"no task 'task-9'"):
        opened(tmp_path / "a.jsonl").record("task-9")
    with pytest.raises(UserError, match=r"cannot read .*the fix"):
        opened(tmp_path / "nothing.jsonl")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 60) | st.text(max_size=4) | st.sampled_from(["ON", "INSIDE", 1, 10]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "states", "nodes", "edges", "removed_nodes", "removed_edges", "from_id", "to_id"])
            | st.sampled_from(["relation_type", "class_name", "category", "properties"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(part=st.sampled_from(["changes", "final", "goal", "program"]), value=ANYTHING)
@max_examples(150, HealthCheck.function_scoped_fixture)
def test_whatever_a_task_line_holds_is_a_task_or_a_clear_error(tmp_path: Path, part: str, value: object):
    stored(tmp_path / "a.jsonl")
    edited(tmp_path / "a.jsonl", 1, lambda task: {**task, part: value})
    apartment = opened(tmp_path / "a.jsonl")
    try:
        record = apartment.record("task-0")
        apartment.final(record)
        assert len(record.sha256) == 64
    except UserError as error:
        assert str(tmp_path) in str(error) and "\n" not in str(error)


@given(where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@max_examples(60, HealthCheck.function_scoped_fixture)
def test_an_altered_byte_is_noticed_wherever_it_changes_a_task(original: Path, tmp_path: Path, where: float, byte: int):
    root = tmp_path / "set"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(original, root)
    path = first_file(root)
    content = bytearray(path.read_bytes())
    at = int(where * len(content))
    if content[at] == byte:
        return
    content[at] = byte
    path.write_bytes(content)
    homes = Homes(root, folder(original).entries, strict=True, fix="make it again")
    for task in homes.tasks("train"):
        try:
            scenario = homes.load(task)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            twin = folder(original).load(task)
            assert fingerprint(scenario.graph) == fingerprint(twin.graph)
            assert dataclasses.replace(scenario, graph=twin.graph) == twin


# Sets of tasks


def test_a_set_lists_its_splits_sorted_by_key_with_stable_keys(root: Path):
    homes = folder(root)
    for split, size in (("train", 20), ("valid_seen", 10), ("valid_unseen", 10)):
        tasks = homes.tasks(split)
        assert len(tasks) == size
        assert [task.key for task in tasks] == sorted(task.key for task in tasks)
        assert {(task.split, task.env) for task in tasks} == {(split, "virtualhome")}
        assert all(task.key.count("/") == 1 and not task.key.startswith("/") for task in tasks)
    assert len({entry.key for entry in homes.entries}) == 40


def test_tasks_of_one_home_share_its_graph(root: Path):
    homes = folder(root)
    by_home: dict[str, set[int]] = {}
    for task in homes.tasks("train"):
        scenario = homes.load(task)
        assert scenario is homes.load(task) and homes.final(task) is scenario.graph
        by_home.setdefault(task.key.partition("/")[0], set()).add(id(scenario.graph))
    assert [len(graphs) for graphs in by_home.values()] == [1, 1, 1, 1]


def test_a_key_is_found_in_its_split_and_only_there(root: Path):
    homes = folder(root)
    task = homes.tasks("valid_seen")[0]
    assert homes.find(task.key) == task == homes.find(task.key, "valid_seen")
    with pytest.raises(UserError, match="train"):
        homes.find(task.key, "train")
    with pytest.raises(UserError, match=r"any split.*<apartment>/<task>"):
        homes.find("nothing/here")


def test_unknown_splits_and_goals_are_named_with_the_known_ones(root: Path):
    with pytest.raises(UserError, match=r"'test'.*train, valid_seen, valid_unseen"):
        folder(root).tasks("test")
    with pytest.raises(UserError, match=r"'spa'.*eai, difference"):
        folder(root, "spa")  # type: ignore[arg-type]
    differences = folder(root, "difference")
    with pytest.raises(UserError, match=r"train .* no tasks with goals of the kind 'difference'"):
        differences.tasks("train")
    with pytest.raises(UserError, match="'difference'"):
        differences.find(folder(root).tasks("train")[0].key)


def test_a_missing_apartment_stops_the_listing_with_count_example_and_fix(root: Path):
    path = first_file(root)
    path.unlink()
    homes = Homes(root, folder(root).entries, fix="make it again")
    with pytest.raises(UserError, match=r"1 of 4 apartments of train are missing.*make it again") as caught:
        homes.tasks("train")
    assert str(path) in str(caught.value)
    assert len(homes.tasks("valid_seen")) == 10


def test_a_changed_task_is_refused_when_it_is_loaded(root: Path):
    path = first_file(root)
    entries = folder(root).entries
    edited(path, 1, lambda task: {**task, "program": task["program"].replace("the", "a")})
    homes = Homes(root, entries, strict=True, fix="make it again")
    wrong = []
    for task in homes.tasks("train"):
        try:
            homes.load(task)
        except UserError as error:
            wrong.append(str(error))
    assert len(wrong) == 1
    assert all(part in wrong[0] for part in (str(path), "sha256", "expected", "make it again"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda home: home["nodes"].append(node(900, "spaceship", "x")), "unknown class 'spaceship'"),
        (lambda home: home["edges"].extend([edge(3, "INSIDE", 4), edge(4, "INSIDE", 3)]), "cycle of INSIDE"),
        (lambda home: home["edges"].extend([edge(3, "INSIDE", 1), edge(3, "INSIDE", 2)]), "in 2 rooms"),
        (lambda home: home["nodes"][0].update(states=["GLOWING"]), "'GLOWING'"),
        (lambda home: home["edges"].append(edge(1, "ON", 999)), "'to_id' is 999"),
        (lambda home: home["nodes"].append(home["nodes"][0]), "2 nodes with id"),
    ],
)
def test_a_home_that_cannot_be_is_named_as_such(root: Path, change: object, said: str):
    path = first_file(root)

    def made(home: dict[str, object]) -> dict[str, object]:
        change(home)  # type: ignore[operator]
        return home

    edited(path, 0, made)
    homes = Homes(root, folder(root).entries, strict=True)
    task = next(task for task in homes.tasks("train") if homes.path(task.key.partition("/")[0]) == path)
    with pytest.raises(UserError, match=said) as caught:
        homes.load(task)
    assert str(path) in str(caught.value)


def test_a_program_that_is_none_is_named(tmp_path: Path):
    stored(tmp_path / "a.jsonl")
    (tmp_path / LAYOUT).mkdir()
    text = (tmp_path / "a.jsonl").read_text().replace("[WALK] <table>", "[FLY] <table>")
    (tmp_path / LAYOUT / "a.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"a/task-\d.*FLY"):
        list(build(tmp_path))


def test_curtains_inside_each_other_are_no_fault_of_an_official_home(tmp_path: Path):
    assert edge(CURTAIN, "INSIDE", TWIN) in home()["edges"]
    stored(tmp_path / "a.jsonl")
    assert opened(tmp_path / "a.jsonl").graph.looped == {CURTAIN, TWIN}


def test_a_folder_without_tasks_says_how_to_get_them(tmp_path: Path):
    with pytest.raises(UserError, match="spa-bench data get virtualhome"):
        official(tmp_path)
    with pytest.raises(UserError, match=r"manifest\.csv"):
        folder(tmp_path)


def test_the_official_manifest_has_the_public_counts(tmp_path: Path):
    (tmp_path / LAYOUT).mkdir()
    homes = official(tmp_path)
    counts = {split: [0, 0, 0] for split in SPLITS}
    for entry in homes.entries:
        row = counts[entry.split]
        row[0] += 1
        row[1] += entry.eai is not None
        row[2] += entry.difference is not None
    assert counts == {"train": [362, 228, 348], "valid_seen": [60, 42, 59], "valid_unseen": [96, 68, 95]}
    kinds = {split: {entry.kind for entry in homes.entries if entry.split == split} for split in SPLITS}
    assert len(set.union(*kinds.values())) == 26
    assert not kinds["valid_unseen"] & (kinds["train"] | kinds["valid_seen"])
    assert kinds["valid_seen"] <= kinds["train"]
    with pytest.raises(UserError, match=r"1 of 1 apartments of train are missing.*spa-bench data get virtualhome"):
        homes.tasks("train")


# Manifests


@pytest.mark.parametrize(
    "row",
    [
        ROW + ",",
        ROW.replace("train", "test"),
        ROW.replace("a/b", "../b"),
        ROW.replace("a/b", "a/b/c"),
        ROW.replace("put", "Put it"),
        ROW.replace(",3,", ",-3,"),
        ROW.replace(",3,", ",three,"),
        ROW.replace(",3,", ",٣,"),
        ROW[:-1],
        ROW[:-1] + "g",
        ROW.rpartition(",")[0],
    ],
)
def test_a_bad_row_is_named_with_its_line(row: str):
    with pytest.raises(UserError, match="somewhere, line 3"):
        read_manifest(f"{HEAD}\n{ROW.replace('a/b', 'a/a')}\n{row}\n", "somewhere")


def test_a_manifest_is_written_as_it_is_read():
    rows = [ROW, ROW.replace("a/b", "a/a").replace(",3,,", ",,12,"), ROW.replace("train,a/b", "valid_seen,z/b")]
    entries = read_manifest("\n".join([HEAD, *rows]), "somewhere")
    assert [(entry.eai, entry.difference) for entry in entries] == [(3, None), (None, 12), (3, None)]
    text = write_manifest(entries)
    assert text.splitlines() == [HEAD, rows[1], rows[0], rows[2]]
    assert write_manifest(read_manifest(text, "again")) == text
    assert pack(text) == pack(text)


def test_a_key_is_listed_once_and_the_head_is_the_head():
    with pytest.raises(UserError, match=r"line 3: a/b is listed twice"):
        read_manifest("\n".join([HEAD, ROW, ROW.replace("train", "valid_seen")]), "somewhere")
    with pytest.raises(UserError, match="no manifest"):
        read_manifest(f"split,key\n{ROW}", "somewhere")


# Proof


def test_verification_finds_what_is_missing_changed_or_added(root: Path):
    assert verify(folder(root)).ok
    path = first_file(root)
    entries = folder(root).entries
    edited(path, 1, lambda task: {**task, "program": "another\n\n\n[STANDUP]"})
    lines = path.read_text().splitlines()
    gone = json.loads(lines[2])["task"]
    lines[2] = lines[2].replace(gone, "one-more")
    path.write_text("\n".join(lines) + "\n")
    shutil.copy(path, path.with_name("unlisted.jsonl"))
    answer = verify(Homes(root, entries, strict=True))
    assert not answer.ok
    train = answer.splits[0]
    assert (train.expected, train.present, len(train.wrong)) == (20, 19, 1)
    assert train.missing == (f"{path.stem}/{gone}",)
    assert answer.extra == (f"{path.stem}/one-more", "unlisted.jsonl")


def test_a_torn_file_is_wrong_and_not_fatal(root: Path):
    path = first_file(root)
    entries = folder(root).entries
    path.write_bytes(path.read_bytes()[:1000])
    assert len(verify(Homes(root, entries, strict=True)).splits[0].missing) == 5
    path.write_bytes(b"{}\nnonsense\n")
    assert len(verify(Homes(root, entries, strict=True)).splits[0].wrong) == 5


def test_t12_a_task_in_two_splits_is_found_whatever_it_is_called(root: Path):
    homes = folder(root)
    train, seen = first_file(root), first_file(root, "valid_seen")
    text = train.read_text()
    seen.write_text(text)
    there = {entry.name: entry for entry in homes.entries if entry.apartment == train.stem}
    entries = [entry for entry in homes.entries if entry.apartment != seen.stem]
    entries += [
        dataclasses.replace(entry, split="valid_seen", key=f"{seen.stem}/{name}") for name, entry in there.items()
    ]
    answer = verify(Homes(root, entries, strict=True))
    assert not answer.ok
    assert set(answer.shared_tasks["train", "valid_seen"]) == {entry.key for entry in there.values()}
    assert set(answer.shared_homes["train", "valid_seen"]) == {entry.key for entry in there.values()}
    assert set(answer.shared_tasks["train", "valid_unseen"]) == set()


# The wheel


def program(title: str) -> str:
    return f"{title}\nsome words\n\n\n[WALK] <television> (1.{TV})\n[SWITCHOFF] <television> (1.{TV})\n"


def wheel(path: Path, goals: object = None) -> Path:
    """A wheel as upstream's, with three tasks of the hand-made home."""
    world = World(GRAPH)
    for action in ("WALK", "SWITCHOFF"):
        world.execute(action, [TV])
    graphs = json.dumps({"init_graph": home(), "final_graph": to_json(world)})
    wanted = {"vh_goal": {"actions": [], "goal": [{"id": TV, "class_name": "television", "state": "OFF"}]}}
    goals = {"scene_1": {"Watch TV": {"2_1": wanted}}} if goals is None else goals
    base = "virtualhome_eval/dataset/programs_processed_precond_nograb_morepreconds"
    group = "TrimmedTestScene1_graph/results_intentions_march-13-18"
    with zipfile.ZipFile(path, "w") as archive:
        for number, title in enumerate(["Watch TV", "Watch TV", "Make coffee"]):
            archive.writestr(f"{base}/executable_programs/{group}/file{number + 1}_1.txt", program(title))
            archive.writestr(f"{base}/init_and_final_graphs/{group}/file{number + 1}_1.json", graphs)
        archive.writestr(f"{base}/executable_programs/{group}/__init__.py", "")
        archive.writestr("virtualhome_eval/resources/task_state_LTL_formula_accurate.json", "[]")
        archive.writestr(
            "virtualhome_eval/resources/virtualhome/task_state_LTL_formula_accurate.json", json.dumps(goals)
        )
        archive.writestr("virtualhome_eval/agent_eval.py", "raise SystemExit")
    return path


def installed(tmp_path: Path, source: Path) -> Homes:
    (tmp_path / "root" / LAYOUT).mkdir(parents=True)
    upstream.install(upstream.read(source), tmp_path / "root" / LAYOUT)
    return Homes(tmp_path / "root", build(tmp_path / "root"))


def test_a_wheel_becomes_an_apartment_with_both_kinds_of_goals(tmp_path: Path):
    with data._unpacked(wheel(tmp_path / "w.whl"), tmp_path / "unpacked") as (_, unpacked):
        assert not list(unpacked.rglob("*.py"))
        homes = installed(tmp_path, unpacked)
    assert not (tmp_path / "unpacked").exists()
    rows = [(entry.split, entry.name, entry.kind, entry.eai, entry.difference) for entry in homes.entries]
    side = split_of(program("Watch TV"))
    # into the room, to the television, off
    assert rows == sorted(
        [
            (side, "file1_1", "watch_tv", None, 3),
            (side, "file2_1", "watch_tv", 3, 3),
            ("valid_unseen", "file3_1", "make_coffee", None, 3),
        ]
    )
    differences = Homes(homes.root, homes.entries, goals="difference")
    for task in (*differences.tasks(side), *differences.tasks("valid_unseen")):
        scenario = differences.load(task)
        assert not satisfied(scenario.goal, World(scenario.graph))
        assert satisfied(scenario.goal, World(differences.final(task)))
        assert (scenario.title, scenario.description) == (scenario.title.strip(), "some words")
        assert [line.ids for line in scenario.program] == [(TV,), (TV,)]
    (task,) = homes.tasks(side)
    assert satisfied(homes.load(task).goal, World(homes.final(task)))


def test_an_incomplete_wheel_is_an_error_with_counts_and_leaves_nothing(tmp_path: Path):
    source = wheel(tmp_path / "virtualhome_eval-0.1.1-py3-none-any.whl")
    for place in (source, tmp_path):
        with pytest.raises(UserError, match=r"361 of 362 train tasks missing.*2 tasks or files not listed") as caught:
            data.get(tmp_path / "target", [place], lambda text: None)
        assert "spa-bench data get virtualhome" in str(caught.value)
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_wrong_wheel_is_named_by_its_own_path(tmp_path: Path):
    """And not by that of what was unpacked, which is gone by then."""
    other = tmp_path / "other-1.0.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(UserError, match="executable_programs") as caught:
        data.get(tmp_path / "target", [other], lambda text: None)
    assert str(other) in str(caught.value) and "unpacked" not in str(caught.value)


def test_sources_that_hold_no_tasks_are_named(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.whl").write_bytes(wheel(tmp_path / "w.whl").read_bytes()[:3000])
    with pytest.raises(UserError, match="executable_programs"):
        data.get(tmp_path / "target", [tmp_path / "empty"])
    with pytest.raises(UserError, match="one --from"):
        data.get(tmp_path / "target", [tmp_path, tmp_path])
    for source in ("nothing.whl", "torn.whl"):
        with pytest.raises(UserError, match=source):
            data.get(tmp_path / "target", [tmp_path / source])
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("goals", [[], {"scene_1": []}, {"scene_1": {"t": {"1_1": {}}}}, {"scene_1": {"t": [1]}}])
def test_goals_that_are_none_are_named(tmp_path: Path, goals: object):
    with (
        data._unpacked(wheel(tmp_path / "w.whl", goals), tmp_path / "unpacked") as (_, unpacked),
        pytest.raises(UserError, match="no goals"),
    ):
        list(upstream.read(unpacked))


def test_a_target_that_is_there_is_left_alone(tmp_path: Path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").touch()
    with pytest.raises(UserError, match="holds something else"):
        data.get(tmp_path / "target")
    (tmp_path / "target" / LAYOUT).mkdir()
    with pytest.raises(UserError, match="is there but"):
        data.get(tmp_path / "target")
    assert (tmp_path / "target" / "mine").exists()


def test_splits_follow_title_and_text_alone():
    assert split_of(program("Wash teeth")) == split_of("Wash teeth\nother\n\n\n[STANDUP]") == "valid_unseen"
    one = program("Watch TV")
    assert split_of(one) == split_of(one.replace(str(TV), "999")) == split_of(one.replace("some words", "others"))
    sides = {split_of(f"Work\n\n\n\n[WALK] <x{n}> (1.{n})") for n in range(60)}
    assert sides == {"train", "valid_seen"}
    assert kind_of("Put groceries in Fridge\n") == "put_groceries_in_fridge"
    assert kind_of("Change TV channel!") == "change_tv_channel"
