"""Two people in one home: PettingZoo's own tests, conflicts, partial views, talk, one reward for both."""

import json
import os
import subprocess
import sys
import warnings
from typing import Any

import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from spa_bench.core import Task, UserError
from spa_bench.environments.virtualhome import words
from spa_bench.environments.virtualhome.env import VirtualHome
from spa_bench.environments.virtualhome.episode import TAKEN, Episode, begin
from spa_bench.environments.virtualhome.goals import Goal
from spa_bench.environments.virtualhome.graph import compile_graph
from spa_bench.environments.virtualhome.tasks import Scenario
from spa_bench.environments.virtualhome.together import Together

SMALL: dict[str, Any] = {"train": 60, "valid": 20}


def node(i: int, name: str, *properties: str, states: tuple[str, ...] = (), category: str = "Props") -> dict[str, Any]:
    return {"id": i, "class_name": name, "category": category, "properties": list(properties), "states": list(states)}


def edge(a: int, relation: str, b: int) -> dict[str, Any]:
    return {"from_id": a, "relation_type": relation, "to_id": b}


def home(goal: Goal) -> Scenario:
    """A kitchen and a hall; both people stand in the kitchen at the table with one cup, a fridge and a chair."""
    nodes = [
        node(1, "kitchen", category="Rooms"),
        node(2, "hall", category="Rooms"),
        node(3, "table", "SURFACES"),
        node(4, "cup", "GRABBABLE", states=("DIRTY",)),
        node(5, "fridge", "CAN_OPEN", "CONTAINERS", states=("CLOSED",)),
        node(6, "milk", "GRABBABLE", "DRINKABLE"),
        node(7, "chair", "SITTABLE", "MOVABLE"),
        node(8, "lamp", "HAS_SWITCH", states=("OFF",)),
        node(9, "character", category="Characters"),
        node(10, "character", category="Characters"),
    ]
    edges = [edge(i, "INSIDE", 1) for i in range(3, 11)] + [edge(4, "ON", 3), edge(6, "INSIDE", 5)]
    for c in (9, 10):
        edges += [e for i in (3, 5, 7, 8) for e in (edge(c, "CLOSE", i), edge(i, "CLOSE", c))]
    graph = compile_graph({"nodes": nodes, "edges": edges}, "test")
    return Scenario(Task("virtualhome", "t/1", "train", "test", 3), graph, goal, "Do it.", "", ())


def both(goal: Goal | None = None) -> Episode:
    return begin(home(goal or Goal(nodes=((8, "ON"), (5, "OPEN")))), 2)


def test_it_passes_pettingzoos_own_tests() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(Together(**SMALL), num_cycles=60)
        parallel_seed_test(lambda: Together(**SMALL, order="random", talk=True), num_cycles=30)


@pytest.mark.parametrize(
    "wanted", ["grab cup", "open fridge", "sit on chair", "switch on lamp"], ids=["grab", "open", "sit", "switch"]
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_where_only_one_can_have_it_the_order_decides_and_the_other_is_told(
    wanted: str, order: tuple[int, int]
) -> None:
    now = both().step([wanted, wanted], order)
    winner, loser = order
    assert now.refused[winner] is None
    refused = now.refused[loser]
    assert refused is not None and (refused.fault, refused.reason) == ("inadmissible", TAKEN)
    assert now.shown(loser) == words.NOTHING
    assert now.info(loser, 4)["conflict"] and not now.info(winner, 4)["conflict"]
    alone = both().step([wanted, "turn to lamp"] if winner == 0 else ["turn to lamp", wanted], order)
    assert alone.refused == (None, None)


def test_a_command_must_be_possible_before_the_step_whoever_is_first() -> None:
    """Nobody takes milk from a fridge that somebody is just opening, and both hear why not."""
    for order in ((0, 1), (1, 0)):
        now = both().step(["open fridge", "grab cup"], order)
        assert now.refused == (None, None)
        late = both().step(["open fridge", "grab milk"], order)
        assert late.refused[1] is not None and late.refused[1].reason != TAKEN
        assert not late.info(1, 4)["conflict"]


def test_what_does_not_collide_is_done_by_both() -> None:
    now = both().step(["switch on lamp", "open fridge"])
    assert now.refused == (None, None) and all(now.conditions) and now.done == ("SWITCHON", "OPEN")
    walked = both().step(["walk to hall", "walk to hall"])
    assert walked.refused == (None, None)
    assert {walked.world.room(c) for c in (9, 10)} == {2}


def test_nothing_is_taken_from_the_others_hand() -> None:
    now = both().step(["grab cup", "turn to lamp"])
    assert "Held by character 1: cup (dirty)" in now.step(["turn to lamp", "walk to table"]).shown(1)
    tried = now.step(["turn to lamp", "grab cup"])
    assert tried.refused[1] is not None and tried.world.held(9) == (4,) and tried.world.held(10) == ()


def test_each_sees_its_own_room_only() -> None:
    now = both().step(["walk to hall", "grab cup"])
    assert now.shown(0) == "You are in hall. You see: nothing."
    assert 4 not in now.world.visible(9) and 10 not in now.world.visible(9)
    back = now.step(["walk to kitchen", "turn to lamp"])
    assert "character 2" in back.shown(0) and "Held by character 2: cup" in back.shown(0)


def test_either_may_do_what_is_asked_of_the_character_but_one_alone() -> None:
    goal = Goal(nodes=((9, "SITTING"),), edges=((9, "ON", 7), (9, "HOLDS", 4)))
    split = both(goal).step(["grab cup", "sit on chair"])
    assert sum(split.conditions) == 2
    same = both(goal).step(["turn to lamp", "grab cup"]).step(["turn to lamp", "sit on chair"])
    assert all(same.conditions)
    assert both(goal).remaining == 2


@pytest.mark.parametrize(("order", "first"), [("fixed", [0, 0, 0, 0]), ("rotate", [0, 1, 0, 1])])
def test_who_is_first_follows_the_rule(order: str, first: list[int]) -> None:
    env = Together(**SMALL, order=order)
    env.reset(seed=1)
    found = []
    for _ in first:
        found.append(env.home._precedence(env.home.snapshot())[0])
        env.step({agent: "dance" for agent in env.agents})
    assert found == first


def test_the_random_rule_is_the_seeds() -> None:
    def firsts(seed: int) -> list[int]:
        env = Together(**SMALL, order="random")
        env.reset(seed=seed)
        found = []
        for _ in range(12):
            found.append(env.home._precedence(env.home.snapshot())[0])
            env.step({agent: "dance" for agent in env.agents})
        return found

    assert firsts(3) == firsts(3) and len({tuple(firsts(seed)) for seed in range(6)}) > 1 and set(firsts(3)) == {0, 1}


def test_talk_costs_the_step_and_is_heard_once_by_the_other() -> None:
    env = Together(**SMALL, talk=True)
    env.reset(seed=2)
    told, _, _, _, infos = env.step({"char0": "say:  the  cup\nis\x1b here " + "x" * 600, "char1": "dance"})
    said = told["char1"].splitlines()[0]
    assert said.startswith('character 1 says: "the cup is') and len(said) < 530
    assert told["char1"].splitlines()[1] == words.NOTHING
    assert "says" not in told["char0"] and infos["char0"]["grounded"] and not infos["char1"]["grounded"]
    assert "says" not in env.step({"char0": "dance", "char1": "dance"})[0]["char1"]
    silent = Together(**SMALL)
    silent.reset(seed=2)
    assert silent.step({"char0": "say: hello", "char1": "dance"})[4]["char0"]["fault"] == "format"
    assert "say:" in env.home.instructions and "say:" not in silent.home.instructions


def test_both_share_reward_and_end_and_are_gone_afterwards() -> None:
    env = Together(**SMALL, max_steps=100)
    solved = 0
    for task in env.home.tasks("train")[:15]:
        env.reset(options={"task": task.key, "split": "train"})
        while env.agents:
            plans = env.home.expert_actions()
            _, rewards, terminated, truncated, infos = env.step(dict(zip(env.agents, plans, strict=True)))
            assert rewards["char0"] == rewards["char1"]
            assert terminated["char0"] == terminated["char1"] and truncated["char0"] == truncated["char1"]
        solved += infos["char0"]["success"]
        assert infos["char0"]["success"] == infos["char1"]["success"] == (rewards["char0"] == 1.0)
        assert env.step({}) == ({}, {}, {}, {}, {})
    assert solved >= 13, "two experts who know nothing of each other still get most things done"


def test_state_is_the_whole_home_and_stepping_a_copy_changes_nothing() -> None:
    env = Together(**SMALL)
    env.reset(seed=4)
    before = json.dumps(env.state(), sort_keys=True)
    env.world.execute("WALK", (sorted(env.world.graph.rooms)[0],), env.world.graph.characters[1])
    assert json.dumps(env.state(), sort_keys=True) == before
    characters = [n for n in env.state()["nodes"] if n["class_name"] == "character"]
    assert len(characters) == 2


def test_the_single_interface_refuses_two() -> None:
    env = VirtualHome(**SMALL, characters=2)
    for use in (env.reset, lambda: env.step("dance")):
        with pytest.raises(UserError, match="reset_all"):
            use()
    assert "2 characters" in env.protocol


def test_the_same_seed_and_actions_give_the_same_bytes_under_any_hash_seed(tmp_path: Any) -> None:
    script = (
        "from spa_bench.environments.virtualhome.together import Together\n"
        "env = Together(train=60, valid=20, order='random')\n"
        "told, infos = env.reset(seed=5)\n"
        "print(told)\n"
        "for turn in range(12):\n"
        "    menus = {a: infos[a]['admissible'] for a in env.agents}\n"
        "    if not menus: break\n"
        "    told, _, _, _, infos = env.step({a: m[(7 * turn) % len(m)] for a, m in menus.items()})\n"
        "    print(told, {a: (i['progress'], i['reason'], tuple(i['admissible'])) for a, i in infos.items()})\n"
    )
    out = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(out) == 1 and len(out.pop()) > 2000
