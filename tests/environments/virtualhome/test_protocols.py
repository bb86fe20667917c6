"""SPA's environment with its defects, each of them shown, and their absence from our own."""

from dataclasses import replace
from typing import Any

import pytest

from spa_bench.core import Task
from spa_bench.environments.virtualhome import protocols, words
from spa_bench.environments.virtualhome.env import VirtualHome
from spa_bench.environments.virtualhome.episode import begin
from spa_bench.environments.virtualhome.goals import Goal
from spa_bench.environments.virtualhome.graph import Graph, compile_graph, to_json
from spa_bench.environments.virtualhome.protocols import ERROR, Released, without_duplicates
from spa_bench.environments.virtualhome.script import parse_script
from spa_bench.environments.virtualhome.tasks import Scenario

SMALL: dict[str, Any] = {"train": 20, "valid": 10}
ON = Goal(nodes=((8, "ON"),))


def node(i: int, name: str, *properties: str, states: tuple[str, ...] = (), category: str = "Props") -> dict[str, Any]:
    return {"id": i, "class_name": name, "category": category, "properties": list(properties), "states": list(states)}


def edge(a: int, relation: str, b: int) -> dict[str, Any]:
    return {"from_id": a, "relation_type": relation, "to_id": b}


def graph(extra: list[dict[str, Any]] | None = None) -> Graph:
    """A kitchen: two cups on a table, a third one far away in the hall, a chair, a lamp, a shirt."""
    nodes = [
        node(1, "kitchen", category="Rooms"),
        node(2, "hall", category="Rooms"),
        node(3, "table", "SURFACES"),
        node(4, "cup", "GRABBABLE", states=("CLEAN",)),
        node(5, "cup", "GRABBABLE", states=("DIRTY",)),
        node(6, "cup", "GRABBABLE"),
        node(7, "chair", "SITTABLE"),
        node(8, "lamp", "HAS_SWITCH", states=("OFF", "CLEAN")),
        node(9, "shirt", "CLOTHES", "GRABBABLE"),
        node(10, "character", category="Characters"),
    ]
    edges = [edge(i, "INSIDE", 1) for i in (3, 4, 5, 7, 8, 9, 10)] + [edge(6, "INSIDE", 2)]
    edges += [edge(4, "ON", 3), edge(5, "ON", 3), *(extra or [])]
    return compile_graph({"nodes": nodes, "edges": edges}, "test")


def start(program: str = "Do\n\n\n[WALK] <lamp> (1.8)\n[SWITCHON] <lamp> (1.8)", home: Graph | None = None) -> Released:
    lines = parse_script(program).lines
    scenario = Scenario(Task("virtualhome", "t/1", "train", "x", 2), home or graph(), ON, "Read", "by the lamp", lines)
    return protocols.begin(scenario, ON, seed=1)


def play(now: Released, *texts: str) -> Released:
    for text in texts:
        now = now.step([text])
    return now


def test_the_first_thing_told_is_the_task_alone_and_then_what_is_close() -> None:
    now = start()
    assert now.shown(0) == "The task is Read(by the lamp)."
    assert play(now, "walk to table").told == "Observation: table. "
    assert play(now, "walk to lamp").told == "Observation: lamp is CLEAN and OFF. "
    held = play(now, "walk to cup", "grab cup")
    assert held.told.endswith("You have cup. ") and "cup" in held.told
    assert play(start(home=graph([edge(10, "CLOSE", 4), edge(10, "CLOSE", 3)])), "turn to lamp").told == (
        "Observation: table, cup is CLEAN, cup ON table. "
    )


def test_names_are_understood_as_gold_then_close_then_by_the_last_thing() -> None:
    gold = start("Do\n\n\n[WALK] <cup> (1.6)\n[GRAB] <cup> (1.6)")
    assert dict(play(gold, "walk to cup").called)["cup"] == 6, "the gold id leaks into the name, from another room"
    near = start(home=graph([edge(10, "CLOSE", 4), edge(10, "CLOSE", 5)]))
    assert dict(play(near, "touch cup").called)["cup"] == 5, "of what is close the last wins"
    assert dict(play(near, "touch cup", "walk to hall", "walk to cup").called)["cup"] == 5, "and stays for good"
    by_last = start(home=graph([edge(3, "CLOSE", 4)]))
    assert dict(play(by_last, "walk to table", "walk to cup").called)["cup"] == 4
    drawn = {dict(play(replace(start(), seed=seed), "walk to cup").called)["cup"] for seed in range(40)}
    assert drawn == {4, 5, 6}, "else any, by the seed"


@pytest.mark.parametrize("text", ["dance", "", "walk to unicorn", "release", "take off shirt", "x" * 300, "put back"])
def test_what_cannot_be_read_and_what_dies_counts_as_executed(text: str) -> None:
    now = play(start(), text)
    assert now.told == ERROR and now.refused == (None,) and now.done == ()
    ours = begin(now.scenario).step([text])
    assert ours.refused[0] is not None and ours.shown(0) == words.NOTHING


def test_finding_what_is_far_dies_there_and_walks_here() -> None:
    assert play(start(), "find lamp").told == ERROR
    assert begin(start().scenario).step(["find lamp"]).refused == (None,)


def test_standing_up_never_works_there_and_does_here() -> None:
    there = play(start(), "walk to chair", "sit on chair", "stand up")
    assert there.told == words.NOTHING and there.refused[0] is not None
    here = begin(there.scenario)
    for text in ("walk to chair", "sit on chair", "stand up"):
        here = here.step([text])
        assert here.refused == (None,)


def test_the_first_of_two_things_must_be_held() -> None:
    now = play(start(), "walk to table", "put cup on table")
    assert now.told == words.NOTHING and now.refused[0] is not None and now.refused[0].reason == "cup is not held"
    assert play(start(home=graph([edge(10, "CLOSE", 4)])), "grab cup", "walk to table", "put cup on table").refused == (
        None,
    )


def test_an_edge_to_a_container_takes_the_thing_out_of_it_and_the_list_is_walked_through_meanwhile() -> None:
    """Two cups inside the table and CLOSE to it: both lose their container; the room's contents stay."""
    close = [edge(3, "CLOSE", 4), edge(3, "CLOSE", 5), edge(4, "INSIDE", 3), edge(5, "INSIDE", 3)]
    loaded = without_duplicates(graph(close))
    assert loaded.out["INSIDE"].get(4) == frozenset({1}) == loaded.out["INSIDE"].get(5)
    assert without_duplicates(graph()) is not None and to_json(without_duplicates(graph())) == to_json(graph())
    # of a pair inside each other, the first removes the second, which then removes nothing
    pair = without_duplicates(graph([edge(7, "INSIDE", 8), edge(8, "INSIDE", 7)]))
    assert 8 in pair.out["INSIDE"][7] and 7 not in pair.out["INSIDE"][8]


def test_the_gold_program_is_the_expert() -> None:
    now = start()
    assert now.expert_action(0) == "walk to lamp" == now.admissible(0)[0]
    done = play(now, "walk to lamp", "switch on lamp")
    assert all(done.conditions) and done.remaining == 0
    found = start("Do\n\n\n[FIND] <lamp> (1.8)")
    assert found.expert_action(0) == "walk to lamp", "what kills the simulator is not shown as an example"


def test_the_environment_keeps_the_home_and_pays_all_or_nothing() -> None:
    env = VirtualHome(**SMALL, protocol="spa-released")
    assert env.max_steps == 40 and "spa-released" in env.protocol and env.outcome.startswith("1 for success")
    task = env.tasks("train")[0]
    observation, info = env.reset(options={"task": task.key})
    assert observation.startswith("The task is ") and info["goal"] == observation
    rewards = []
    for _ in range(40):
        _, reward, terminated, truncated, info = env.step(env.expert_action())
        rewards.append(reward)
        if terminated or truncated:
            break
    assert sum(rewards) == float(info["success"]) and set(rewards) <= {0.0, 1.0}
    left = env.snapshot().episode.world.key()
    env.reset(options={"task": task.key})
    assert env.snapshot().episode.world.key() == left, "defect: the home is as the last episode left it"
    env.reset(options={"task": env.tasks("train")[1].key})
    ours = VirtualHome(**SMALL)
    ours.reset(options={"task": task.key})
    first = ours.snapshot().episode.world.key()
    ours.step(ours.snapshot().episode.admissible(0)[0])
    ours.reset(options={"task": task.key})
    assert ours.snapshot().episode.world.key() == first


def test_the_instructions_name_27_actions_and_promise_another_answer_than_is_given() -> None:
    assert len(protocols.ADVERTISED) == 27 and "FIND" not in protocols.ADVERTISED
    assert "Nothing happened" in protocols.instructions() and words.NOTHING not in protocols.instructions()
