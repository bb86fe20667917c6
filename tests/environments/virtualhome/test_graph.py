"""Compiling a home: what is read, what is refused, and the script format."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples
from virtualhome_home import (
    ANNA,
    APPLE,
    BED,
    BEDROOM,
    CUP,
    CURTAIN,
    FRIDGE,
    KITCHEN,
    NOWHERE,
    PEN,
    SINK,
    TABLE,
    TWIN,
    WATER,
    edge,
    edges,
    home,
    node,
)

from spa_bench.core import UserError
from spa_bench.environments.virtualhome.engine import ARITY, World, admissible
from spa_bench.environments.virtualhome.graph import RELATIONS, compile_graph, room_of, to_json, with_character
from spa_bench.environments.virtualhome.script import Line, parse_script

pytestmark = pytest.mark.timeout(120)


# Reading


def test_a_home_is_compiled_to_ids_classes_states_and_edges_both_ways() -> None:
    graph = compile_graph(home(characters=2), "home")
    assert graph.nodes == tuple(sorted(graph.nodes))
    assert (graph.rooms, graph.characters) == ({KITCHEN, BEDROOM}, (ANNA, ANNA + 1))
    assert (graph.classes[CUP], graph.categories[FRIDGE]) == ("cup", "Appliances")
    assert graph.states[FRIDGE] == {"CLOSED", "OFF", "PLUGGED_IN"}
    assert "CAN_OPEN" in graph.properties[FRIDGE]
    assert graph.out["INSIDE"][APPLE] == {KITCHEN, FRIDGE}
    assert APPLE in graph.into["INSIDE"][FRIDGE]
    assert [graph.classes[i] for i in graph.body_parts] == ["face"]
    assert graph.looped == {CURTAIN, TWIN}


def test_json_written_and_read_again_is_the_same_home() -> None:
    data = home(characters=2)
    once = to_json(compile_graph(data, "home"))
    assert to_json(compile_graph(json.loads(json.dumps(once)), "again")) == once
    assert [item["id"] for item in once["nodes"]] == sorted(item["id"] for item in data["nodes"])
    assert len(once["edges"]) == len({tuple(item.values()) for item in data["edges"]})


def test_json_does_not_depend_on_the_order_of_the_file() -> None:
    data = home()
    turned = {"nodes": data["nodes"][::-1], "edges": [*data["edges"][::-1], data["edges"][0]]}
    assert to_json(compile_graph(data, "home")) == to_json(compile_graph(turned, "home"))


def test_words_are_read_in_any_case_and_a_category_may_be_missing() -> None:
    data = home(add=[{**node(60, "toy", "x", "grabbable", "clean"), "category": None}, edge(60, "inside", KITCHEN)])
    graph = compile_graph(data, "home")
    assert (graph.properties[60], graph.states[60], graph.categories[60]) == ({"GRABBABLE"}, {"CLEAN"}, "")
    assert KITCHEN in graph.out["INSIDE"][60]


def test_a_world_is_written_as_it_is_now() -> None:
    w = World(compile_graph(home(), "home"))
    assert w.execute("WALK", (FRIDGE,)).executed and w.execute("OPEN", (FRIDGE,)).executed
    again = compile_graph(to_json(w), "again")
    assert again.states[FRIDGE] == {"OPEN", "OFF", "PLUGGED_IN"}
    assert list(again.edges()) == list(w.edges()) != list(w.graph.edges())


def test_the_room_of_a_thing_is_direct_or_that_of_its_only_container() -> None:
    inside = {5: {4}, 4: {3, 50}, 6: {7}, 7: {6}, 8: {3, 4}, 9: {9}, 10: {11}, 11: {3, 5}, 12: {50, 40}}
    found = {i: room_of(i, frozenset({40, 50}), lambda n: frozenset(inside.get(n, ()))) for i in (50, *inside, 3)}
    assert found == {50: 50, 5: 50, 4: 50, 6: None, 7: None, 8: None, 9: None, 10: None, 11: None, 12: 40, 3: None}


# Refusing

BROKEN: dict[str, Any] = {
    "no object": [],
    "no nodes": {"edges": []},
    "no edges": {"nodes": []},
    "nodes are text": {"nodes": "x", "edges": []},
    "a node is a number": {"nodes": [1], "edges": []},
    "empty": {"nodes": [], "edges": []},
    "repeated id": home(add=[node(CUP, "cup", "x")]),
    "id is text": home(add=[{**node(60, "cup", "x"), "id": "60"}]),
    "id is a truth": home(add=[{**node(60, "cup", "x"), "id": True}]),
    "id is negative": home(add=[node(-1, "cup", "x")]),
    "id is huge": home(add=[node(10**5000, "cup", "x")]),
    "no class": home(add=[node(60, "", "x")]),
    "class of two lines": home(add=[node(60, "a\nb", "x")]),
    "class is a list": home(add=[{**node(60, "cup", "x"), "class_name": ["cup"]}]),
    "category is a number": home(add=[{**node(60, "cup", "x"), "category": 3}]),
    "unknown state": home(add=[node(60, "cup", "x", "", "BROKEN")]),
    "unknown property": home(add=[node(60, "cup", "x", "FLYING")]),
    "states are text": home(add=[{**node(60, "cup", "x"), "states": "CLEAN"}]),
    "no properties": home(add=[{"id": 60, "class_name": "cup", "states": []}]),
    "a state is a list": home(add=[{**node(60, "cup", "x"), "states": [["CLEAN"]]}]),
    "unknown relation": home(add=[edge(CUP, "UNDER", TABLE)]),
    "relation is a list": home(add=[{"from_id": CUP, "relation_type": ["ON"], "to_id": TABLE}]),
    "edge from nowhere": home(add=[edge(NOWHERE, "ON", TABLE)]),
    "edge to nowhere": home(add=[edge(CUP, "ON", NOWHERE)]),
    "edge to a truth": home(add=[{"from_id": CUP, "relation_type": "ON", "to_id": True}]),
    "edge without an end": home(add=[{"from_id": CUP, "relation_type": "ON"}]),
    "no character": home(without=[ANNA]),
    "no room": home(without=[KITCHEN, BEDROOM]),
    "character in no room": home(without=[KITCHEN]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_graph_is_refused_in_one_line_that_names_it(fault: str) -> None:
    with pytest.raises(UserError) as refused:
        compile_graph(BROKEN[fault], "scene.json")
    assert str(refused.value).startswith("scene.json ")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 900


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ("edge to nowhere", "'to_id' is 999, which is no node"),
        ("id is text", "'id' is '60' and"),
        ("id is huge", "'id' is a int and"),
        ("class is a list", "'class_name' is a list and"),
        ("unknown state", "'BROKEN' among its states"),
        ("repeated id", "2 nodes with id 32"),
        ("character in no room", "character 10 in no room"),
    ],
)
def test_the_complaint_shows_what_was_found(fault: str, shown: str) -> None:
    with pytest.raises(UserError, match=shown):
        compile_graph(BROKEN[fault], "scene.json")


def test_what_the_official_graphs_contain_is_refused_only_where_it_is_asked_for() -> None:
    tidy = home(without=[TWIN])
    compile_graph(tidy, "home", strict=True)
    for messy in (home(), {**tidy, "edges": [*tidy["edges"], edge(CUP, "INSIDE", BEDROOM)]}):
        compile_graph(messy, "home")
        with pytest.raises(UserError, match=r"cycle of INSIDE|in 2 rooms"):
            compile_graph(messy, "home", strict=True)
    names = {n["class_name"] for n in tidy["nodes"]}
    compile_graph(tidy, "home", strict=True, known=names)
    compile_graph(tidy, "home", known=())
    with pytest.raises(UserError, match="unknown class 'cup'"):
        compile_graph(tidy, "home", strict=True, known=names - {"cup"})


def test_a_long_chain_is_no_cycle_and_one_edge_back_makes_it_one() -> None:
    chain = [item for i in range(100, 3000) for item in (node(i, "box", "x"), edge(i, "INSIDE", i + 1))]
    data = home(without=[TWIN], add=[*chain, node(3000, "box", "x"), edge(3000, "INSIDE", KITCHEN)])
    graph = compile_graph(data, "home", strict=True)
    assert World(graph).room(100) == KITCHEN
    assert 100 in World(graph).visible(ANNA)
    loop = compile_graph({**data, "edges": [*data["edges"], edge(2000, "INSIDE", 1000)]}, "home")
    assert loop.looped == set(range(1000, 2001))


HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**5000),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["ON", "INSIDE", "CAN_OPEN", "OPEN", "character", "Rooms"]),
    st.sampled_from([ANNA, KITCHEN, CUP, TABLE]),
    st.lists(st.sampled_from(["OPEN", "GRABBABLE", 3, None]), max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=1),
)


@st.composite
def corrupted(draw: st.DrawFn) -> Any:
    """The home with a few values replaced, removed or repeated, at any depth."""
    data: Any = copy.deepcopy(home())
    for _ in range(draw(st.integers(1, 4))):
        place = data
        for _ in range(draw(st.integers(0, 4))):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys or not isinstance(place[key := draw(st.sampled_from(keys))], (dict, list)):
                break
            place = place[key]
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            continue
        key, change = draw(st.sampled_from(keys)), draw(st.sampled_from(["replace", "remove", "repeat"]))
        if change == "replace":
            place[key] = draw(HOSTILE)
        elif change == "remove":
            del place[key]
        elif isinstance(place, list):
            place.append(place[key])
    return data


@given(data=corrupted(), strict=st.booleans())
@max_examples(400)
def test_a_corrupt_graph_is_a_user_error_or_a_home_that_can_be_played(data: Any, strict: bool) -> None:
    try:
        graph = compile_graph(data, "scene.json", strict=strict, known=["cup"] if strict else None)
    except UserError as refused:
        assert "\n" not in str(refused)
        return
    w = World(graph)
    for character in graph.characters:
        assert w.visible(character) >= graph.rooms
        for action, objects in admissible(w, character, graph.nodes[:12])[::7]:
            assert w.copy().execute(action, objects, character).executed
    assert compile_graph(to_json(w), "again").nodes == graph.nodes


# More characters


def test_a_second_character_stands_in_its_room_close_to_nothing() -> None:
    data = home()
    before = copy.deepcopy(data)
    more = compile_graph(with_character(data, BEDROOM), "home")
    new = max(before["nodes"], key=lambda n: n["id"])["id"] + 1
    assert data == before
    assert more.characters == (ANNA, new)
    assert [e for e in more.edges() if new in (e[0], e[2])] == [(new, "INSIDE", BEDROOM)]
    assert compile_graph(with_character(data, KITCHEN, 5), "home").characters == (5, ANNA)


@pytest.mark.parametrize(("room", "new"), [(CUP, None), (NOWHERE, None), (KITCHEN, CUP)])
def test_a_character_needs_a_room_and_an_id_of_its_own(room: int, new: int | None) -> None:
    with pytest.raises(UserError, match=r"has no room|already has"):
        with_character(home(), room, new)


# Scripts

PROGRAM = """Drink water
Go to the kitchen. Drink.


[WALK] <dining_room> (1.201)
[Grab] <Drinking Glass> (1.1000)
[PUTBACK] <drinking_glass> (1.1000) <table> (226)
[STANDUP]
[LOOKAT_MEDIUM] <table> (2.226) [5]
"""


def test_a_program_is_read_as_upstream_reads_it() -> None:
    script = parse_script(PROGRAM)
    assert (script.title, script.description) == ("Drink water", "Go to the kitchen. Drink.")
    assert script.lines == (
        Line("WALK", (("dining_room", 201),), 1),
        Line("GRAB", (("drinking_glass", 1000),), 2),
        Line("PUTBACK", (("drinking_glass", 1000), ("table", 226)), 3),
        Line("STANDUP", (), 4),
        Line("LOOKAT", (("table", 226),), 5),
    )
    third = script.lines[2]
    assert (third.ids, third.names) == ((1000, 226), ("drinking_glass", "table"))
    assert str(third) == "[PUTBACK] <drinking_glass> (1000) <table> (226)"
    assert parse_script("\n".join(map(str, script.lines))).lines == script.lines


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no step"),
        ("Title\n\nonly words", "no step"),
        ("[WALK] <a> (1.2)\nthen sleep", "line 2 .* no step"),
        ("[FOLD] <a> (1.2)", "line 1 .* action FOLD"),
        ("[WALK]", "WALK takes 1 objects, not 0"),
        ("[WALK] <a> (1.2) <b> (1.3)", "WALK takes 1 objects, not 2"),
        ("[WALK] <a> (x)", "line 1 .* no step"),
        ("[WALK] <a> (1.2.3)", "line 1 .* no step"),
        ("[WALK] <a> (1.2) quickly", "line 1 .* no step"),
        ("[WALK <a> (1.2)", "line 1 .* no step"),
        (f"[WALK] <a> ({'9' * 5000})", "line 1 .* no step"),
    ],
)
def test_a_line_that_is_no_step_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse_script(text)


@given(text=st.text() | st.text("[]<>(). 1WALK\n", max_size=60))
@max_examples(300)
def test_any_text_is_a_program_or_a_user_error(text: str) -> None:
    try:
        script = parse_script(text)
    except UserError as refused:
        assert "\n" not in str(refused)
        return
    assert all(len(line.objects) == ARITY[line.action] for line in script.lines)


# The same everywhere

DUMP = """
import json, random
from virtualhome_home import home
from spa_bench.environments.virtualhome.engine import World, admissible
from spa_bench.environments.virtualhome.graph import compile_graph, to_json
for profile in ("fixed", "v2", "v1"):
    w, rng = World(compile_graph(home(characters=2), "home"), profile), random.Random(3)
    for turn in range(150):
        c = rng.choice(w.graph.characters)
        steps = admissible(w, c, w.graph.nodes)
        print(turn, len(steps), *(steps and rng.choice(steps)), sorted(w.visible(c)))
        if steps:
            print(w.execute(*rng.choice(steps), c))
        for action in ("GRAB", "PUTOBJBACK", "WATCH"):
            print(w.execute(action, (rng.choice(w.graph.nodes),), c))
    print(json.dumps(to_json(w)), w.messages)
"""


def test_nothing_depends_on_the_seed_of_hashes() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    outputs = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": folder}
        done = subprocess.run([sys.executable, "-c", DUMP], env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop()) > 10_000


def test_relations_are_those_of_upstream_and_all_are_indexed() -> None:
    graph = compile_graph(home(add=edges(CUP, "SITTING", TABLE, PEN, "BETWEEN", BED, WATER, "ON", SINK)), "home")
    assert set(graph.out) == set(graph.into) == set(RELATIONS)
    forth = {(a, r, b) for r in RELATIONS for a, to in graph.out[r].items() for b in to}
    back = {(a, r, b) for r in RELATIONS for b, of in graph.into[r].items() for a in of}
    assert forth == back == set(graph.edges())
