"""Goals of VirtualHome: what each condition means, when it holds, and that no list of goals brings the loader down."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples
from virtualhome_home import (
    ANNA,
    APPLE,
    BED,
    BEDROOM,
    BOOK,
    CHAIR,
    CUP,
    DESK,
    FRIDGE,
    KITCHEN,
    NOWHERE,
    PLATE,
    SOFA,
    STOVE,
    TABLE,
    TV,
    home,
)

from spa_bench.core import UserError
from spa_bench.environments.virtualhome.engine import ARITY, World, admissible
from spa_bench.environments.virtualhome.goals import HOLDS, Goal, from_difference, from_eai, matched, met, satisfied
from spa_bench.environments.virtualhome.graph import RELATIONS, STATES, compile_graph, to_json

GRAPH = compile_graph(home(), "home")


def state(node, name, **more):
    return {"id": node, "class_name": GRAPH.classes.get(node, "cup"), "state": name, **more}


def edge(a, relation, b):
    return {"from_id": a, "relation_type": relation, "to_id": b}


def eai(*goal, actions=(), **options):
    return from_eai({"actions": list(actions), "goal": list(goal)}, GRAPH, "task x", **options)


def after(*steps, graph=GRAPH):
    """The world after some steps, each `(action, *objects)`, all of which must be executed."""
    world = World(graph)
    for action, *objects in steps:
        outcome = world.execute(action, objects)
        assert outcome.executed, (action, objects, outcome.message)
    return world


def compiled(world):
    return compile_graph(to_json(world), "final")


# What a condition means


def test_a_state_is_not_a_relation():
    lit = eai(state(STOVE, "ON"))
    laden = eai(edge(BOOK, "ON", TABLE))
    switched = after(("WALK", STOVE), ("PLUGIN", STOVE), ("SWITCHON", STOVE))
    put = after(("WALK", BOOK), ("GRAB", BOOK), ("WALK", TABLE), ("PUTBACK", BOOK, TABLE))
    assert (satisfied(lit, switched), satisfied(laden, switched)) == (True, False)
    assert (satisfied(lit, put), satisfied(laden, put)) == (False, True)
    assert not satisfied(eai(edge(TABLE, "ON", BOOK)), put)


def test_inside_is_the_container_and_not_what_the_container_is_in():
    assert satisfied(eai(edge(APPLE, "INSIDE", FRIDGE)), World(GRAPH))
    assert not satisfied(eai(edge(APPLE, "INSIDE", BEDROOM)), World(GRAPH))


@pytest.mark.parametrize("asked", ["HOLDS_RH", "HOLDS_LH"])
def test_either_hand_holds_unless_the_very_hand_is_asked_for(asked):
    right = after(("WALK", CUP), ("GRAB", CUP))
    left = after(("WALK", APPLE), ("OPEN", FRIDGE), ("GRAB", APPLE), ("WALK", CUP), ("GRAB", CUP))
    goal, exact = eai(edge(ANNA, asked, CUP)), eai(edge(ANNA, asked, CUP), exact_hands=True)
    assert goal.edges == ((ANNA, HOLDS, CUP),)
    assert satisfied(goal, right) and satisfied(goal, left)
    assert not satisfied(goal, World(GRAPH))
    assert satisfied(exact, right) == (asked == "HOLDS_RH")
    assert satisfied(exact, left) == (asked == "HOLDS_LH")


def test_a_thing_asked_for_in_both_hands_is_one_condition():
    assert len(eai(edge(ANNA, "HOLDS_RH", CUP), edge(ANNA, "HOLDS_LH", CUP))) == 1
    assert len(eai(edge(ANNA, "HOLDS_RH", CUP), edge(ANNA, "HOLDS_LH", CUP), exact_hands=True)) == 2


def test_close_and_facing_are_kept_where_eai_lists_them():
    goal = eai(edge(ANNA, "CLOSE", TV), edge(ANNA, "FACING", TV))
    assert met(goal, after(("WALK", TV))) == (True, False)
    assert met(goal, after(("WALK", TV), ("TURNTO", TV))) == (True, True)


# Actions


@pytest.mark.parametrize(
    ("wanted", "done", "count"),
    [
        (["GRAB", "WASH|RINSE"], [], 0),
        (["GRAB", "WASH|RINSE"], ["WALK", "GRAB", "WALK", "RINSE"], 2),
        (["GRAB", "WASH|RINSE"], ["WASH", "GRAB"], 1),
        (["GRAB", "WASH|RINSE"], ["WASH"], 0),
        (["TYPE", "TYPE"], ["TYPE"], 1),
        (["LOOKAT|WATCH"], ["WATCH", "LOOKAT"], 1),
        ([], ["WALK"], 0),
    ],
)
def test_actions_count_in_their_order_with_anything_between(wanted, done, count):
    goal = eai(actions=wanted)
    assert matched(goal, done) == count
    assert met(goal, World(GRAPH), done) == (True,) * count + (False,) * (len(wanted) - count)
    assert satisfied(goal, World(GRAPH), done) == (count == len(wanted))


def test_actions_and_states_must_both_be_there():
    goal = eai(state(TV, "ON"), actions=["WATCH|LOOKAT"])
    assert met(goal, World(GRAPH)) == (True, False)
    assert satisfied(goal, World(GRAPH), ["TURNTO", "LOOKAT"])
    assert not satisfied(goal, after(("WALK", TV), ("SWITCHOFF", TV)), ["LOOKAT"])


# The whole


def test_a_goal_that_is_met_at_the_start_is_seen_to_be():
    assert satisfied(eai(state(TV, "ON"), state(FRIDGE, "CLOSED")), World(GRAPH))
    empty = eai()
    assert len(empty) == 0 and met(empty, World(GRAPH)) == () and satisfied(empty, World(GRAPH))


def test_a_condition_listed_twice_counts_once():
    assert len(eai(state(TV, "ON"), state(TV, "ON"))) == 1


@given(seed=st.integers(0, 10**6), steps=st.integers(0, 12))
@max_examples(60)
def test_satisfied_is_all_of_met_in_any_world(seed, steps):
    rng = random.Random(seed)
    world, done = World(GRAPH), []
    for _ in range(steps):
        action, objects = rng.choice(admissible(world, ANNA, GRAPH.nodes))
        assert world.execute(action, objects).executed
        done.append(action)
    nodes = sorted(GRAPH.nodes)
    conditions = [(rng.choice(nodes), rng.choice(sorted(STATES))) for _ in range(4)]
    links = [(rng.choice(nodes), rng.choice([*RELATIONS, HOLDS]), rng.choice(nodes)) for _ in range(4)]
    links += rng.sample(list(world.edges()), 2)
    verbs = tuple(frozenset({rng.choice([*done, *ARITY])}) for _ in range(rng.randrange(3)))
    for goal in (
        Goal(nodes=tuple(conditions[:2]), edges=tuple(links[4:]), actions=verbs),
        Goal(absent_states=tuple(conditions), absent_edges=tuple(links[:4]), actions=verbs),
        Goal(tuple(conditions[:1]), tuple(conditions[1:]), tuple(links[3:5]), tuple(links[:3]), verbs),
    ):
        answer = met(goal, world, done)
        assert len(answer) == len(goal)
        assert satisfied(goal, world, done) == all(answer)


# The difference of two graphs


def test_a_difference_is_what_changed_and_nothing_of_nearness():
    final = compiled(after(("WALK", TV), ("SWITCHOFF", TV), ("WALK", SOFA), ("SIT", SOFA)))
    goal = from_difference(GRAPH, final, "task x")
    assert goal.nodes == ((ANNA, "SITTING"), (TV, "OFF"))
    assert goal.absent_states == ((TV, "ON"),)
    assert goal.edges == ((ANNA, "INSIDE", BEDROOM), (ANNA, "ON", SOFA))
    assert goal.absent_edges == ((ANNA, "INSIDE", KITCHEN),)
    near = from_difference(GRAPH, final, "task x", close=True)
    assert {(ANNA, "CLOSE", SOFA), (SOFA, "CLOSE", ANNA)} <= set(near.edges)
    turned = from_difference(GRAPH, final, "task x", facing=True)
    assert set(turned.edges) - set(goal.edges) == {(ANNA, "FACING", TV)}


def test_a_difference_holds_at_the_end_and_not_before_whatever_the_way():
    way = [("WALK", BOOK), ("GRAB", BOOK), ("WALK", TABLE), ("PUTBACK", BOOK, TABLE)]
    goal = from_difference(GRAPH, compiled(after(*way)), "task x")
    assert satisfied(goal, after(*way))
    assert not satisfied(goal, World(GRAPH))
    detour = [("WALK", BOOK), ("GRAB", BOOK), ("WALK", BED), ("PUTBACK", BOOK, BED), ("GRAB", BOOK), *way[2:]]
    assert satisfied(goal, after(*detour))


def test_a_thing_that_changed_hands_has_not_changed():
    both = [("WALK", APPLE), ("OPEN", FRIDGE), ("GRAB", APPLE), ("WALK", CUP), ("GRAB", CUP)]
    held = compiled(after(*both))
    swapped = to_json(held)
    for item in swapped["edges"]:
        if item["relation_type"].startswith("HOLDS"):
            item["relation_type"] = "HOLDS_LH" if item["relation_type"] == "HOLDS_RH" else "HOLDS_RH"
    other = compile_graph(swapped, "swapped")
    assert len(from_difference(held, other, "task x")) == 0
    assert len(from_difference(held, other, "task x", exact_hands=True)) == 4


def test_whole_states_ask_for_exactly_the_states_of_the_end():
    final = compiled(after(("WALK", TV), ("SWITCHOFF", TV)))
    strict = from_difference(GRAPH, final, "task x", whole_states=True)
    assert set(strict.nodes) == {(TV, "OFF"), (TV, "PLUGGED_IN")}
    assert {name for _, name in strict.absent_states} == STATES - {"OFF", "PLUGGED_IN"}
    wiped = after(("WALK", TV), ("SWITCHOFF", TV), ("WASH", TV))
    assert satisfied(from_difference(GRAPH, final, "task x"), wiped)
    assert not satisfied(strict, wiped)


def test_graphs_of_two_homes_have_no_difference():
    smaller = compile_graph(home(without=[CUP]), "smaller")
    with pytest.raises(UserError, match=r"task x.*different nodes"):
        from_difference(GRAPH, smaller, "task x")


# Lists that are no goals


@pytest.mark.parametrize(
    ("goal", "named"),
    [
        (state(NOWHERE, "ON"), r"'id' is .* no node"),
        (state(TV, "BROKEN"), "'BROKEN'.*PLUGGED_IN"),
        (state(TV, ["ON"]), "none of"),
        (state(TV, "ON", class_name="radio"), "'radio'.*television"),
        (edge(NOWHERE, "ON", TABLE), "'from_id'"),
        (edge(CUP, "ON", "table"), "'to_id' is 'table'"),
        (edge(True, "ON", TABLE), "'from_id'"),
        (edge(CUP, "UNDER", TABLE), "'UNDER'.*INSIDE"),
        (edge(CUP, None, TABLE), "None"),
        ("cup on table", "no JSON object"),
        ({}, "relation"),
    ],
)
def test_a_bad_condition_is_named_with_its_task(goal, named):
    with pytest.raises(UserError, match=f"(?s)task x.*{named}") as caught:
        eai(goal)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("action", ["", "|", "FLY", "GRAB|", "grab", 7, None, ["GRAB"], "LOOKAT_SHORT"])
def test_a_bad_action_is_named_with_its_task(action):
    with pytest.raises(UserError, match=r"task x.*no executable action"):
        eai(actions=[action])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([CHAIR, "ON", "GRAB"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "state", "class_name", "from_id", "to_id", "relation_type"]), inner)
    ),
    max_leaves=8,
)


@given(data=JSON | st.fixed_dictionaries({"actions": JSON, "goal": JSON | st.lists(JSON, max_size=3)}))
@max_examples(200)
def test_any_json_is_a_goal_or_a_clear_error(data):
    before = copy.deepcopy(data)
    try:
        goal = from_eai(data, GRAPH, "task x")
    except UserError as error:
        assert str(error).startswith("task x") and "\n" not in str(error)
    else:
        assert isinstance(satisfied(goal, World(GRAPH)), bool)
    assert repr(data) == repr(before)


def test_a_plate_is_put_in_no_state_by_lying_on_something():
    assert not satisfied(eai(state(PLATE, "ON")), World(GRAPH))
    assert satisfied(eai(edge(PLATE, "ON", TABLE)), World(GRAPH))
    assert not satisfied(eai(edge(DESK, "ON", TABLE)), World(GRAPH))
