"""Worlds are copied, pickled and run in processes of their own: the copy goes on as the original does."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory
from hypothesis import given
from strategies import HOSTILE

from spa_bench.core import TextEnv, UserError
from spa_bench.environments.text import AnyText
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.graph import Graph, compile_graph, to_json
from spa_bench.environments.virtualhome.together import Together

WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "alfworld": ("ALFWorld-v0", {"train": 24, "valid": 6}),
    "webshop": ("WebShop-v0", {"products": 60, "valid": 5}),
    "virtualhome": ("VirtualHome-v0", {"train": 24, "valid": 6}),
    "spa-released": ("VirtualHome-v0", {"train": 24, "valid": 6, "protocol": "spa-released"}),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),  # noqa: S301 - its own
}


def make(name: str, **more: Any) -> Any:
    kind, options = WORLDS[name]
    return gymnasium.make(f"spa_bench:{kind}", **options, **more)


def on(env: Any, turns: int) -> list[Any]:
    """What the expert's next steps lead to, and the end of it."""
    world: TextEnv = env.unwrapped
    found: list[Any] = []
    for _ in range(turns):
        action = world.expert_action()
        told, reward, terminated, truncated, info = env.step(action)
        found.append([action, told, reward, terminated, truncated, info["progress"], list(info["admissible"])])
        if terminated or truncated:
            break
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WORLDS)
def test_t17_a_copy_is_in_the_same_state_and_goes_on_alike(name: str, way: str) -> None:
    env = make(name)
    assert WAYS[way](env).reset(seed=3)[0] == env.reset(seed=3)[0]
    for _ in range(3):
        twin = WAYS[way](env)
        before = env.unwrapped.snapshot()
        assert twin.unwrapped.snapshot() == before
        ahead = on(twin, 3)
        assert env.unwrapped.snapshot() == before, "the original stays where it is"
        assert on(copy.deepcopy(env), 3) == ahead
        assert on(env, 1) == ahead[:1]
        if env.unwrapped.snapshot() != before and (ahead[0][3] or ahead[0][4]):
            break
    assert WAYS[way](env).reset()[0] == env.reset()[0], "the random state goes with it"


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_two_people_in_one_home_goes_on_alike(way: str) -> None:
    pair = Together(train=24, valid=6, talk=True, order="random")
    assert WAYS[way](pair).reset(seed=2) == pair.reset(seed=2), "before the first episode"
    for turn in range(4):
        twin, before = WAYS[way](pair), pair.state()
        assert twin.state() == before
        actions = dict(zip(pair.agents, [f"say {turn}", pair.home.expert_actions()[1]], strict=True))
        ahead = twin.step(actions)
        assert pair.state() == before, "the original stays where it is"
        assert pair.step(actions) == ahead
        assert (pair.agents, pair.state()) == (twin.agents, twin.state())
    assert WAYS[way](pair).reset()[0] == pair.reset()[0], "the random state goes with it"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WORLDS)
def test_a_copied_menu_is_the_tuple_of_what_it_shows(name: str, way: str) -> None:
    menu = make(name).reset(seed=3)[1]["admissible"]
    copied = WAYS[way](menu)
    assert type(copied) is tuple and copied == (*menu,) != ()


def test_states_that_differ_are_not_equal() -> None:
    env = make("virtualhome")
    env.reset(seed=3)
    before = env.unwrapped.snapshot()
    on(env, 1)
    assert env.unwrapped.snapshot() != before
    game = make("alfworld")
    game.reset(seed=1)
    first = game.unwrapped.snapshot().game
    game.reset(seed=2)
    assert game.unwrapped.snapshot().game != first and copy.deepcopy(first) is first


@pytest.mark.parametrize("name", WORLDS)
def test_a_fresh_process_goes_on_from_a_pickle(name: str) -> None:
    env = make(name)
    env.reset(seed=5)
    on(env, 1)
    code = (
        "import sys, pickle, json; sys.path.insert(0, sys.argv[1]); from test_copies import on\n"
        "env = pickle.load(sys.stdin.buffer); print(json.dumps(on(env, 3)))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    made = subprocess.run(command, input=pickle.dumps(env), capture_output=True, check=True, env=paths)
    assert json.loads(made.stdout) == json.loads(json.dumps(on(env, 3)))


def test_worlds_of_other_homes_or_with_other_complaints_are_not_equal() -> None:
    env = make("virtualhome")
    env.reset(seed=3)
    graph: Graph = env.unwrapped.snapshot().episode.scenario.graph
    data = to_json(graph)
    data["nodes"][-1]["states"] = ["DIRTY"] if data["nodes"][-1]["states"] != ["DIRTY"] else ["CLEAN"]
    world, other = World(graph), World(compile_graph(data, "other"))
    assert world.key() == other.key() and world != other and world == World(graph)
    before = world.copy()
    assert not world.execute("GRAB", (graph.characters[0],)).executed and world.messages
    assert world.key() == before.key() and world != before


def test_equal_homes_are_one_key_whatever_the_order_of_their_edges() -> None:
    env = make("virtualhome")
    env.reset(seed=3)
    graph: Graph = env.unwrapped.snapshot().episode.scenario.graph
    data = to_json(graph)
    again = compile_graph(data, "again")
    data["edges"].sort(key=lambda edge: (edge["relation_type"] == "INSIDE", edge["from_id"], -edge["to_id"]))
    turned = compile_graph({**data, "edges": data["edges"]}, "turned")
    assert again == graph and hash(again) == hash(graph) and {graph: 1}[again] == 1
    assert hash(turned) == hash(graph)
    assert copy.deepcopy(graph) is graph
    data["nodes"][0]["states"] = ["DIRTY"] if data["nodes"][0]["states"] != ["DIRTY"] else ["CLEAN"]
    changed = compile_graph(data, "changed")
    assert changed != graph
    data["nodes"][0]["properties"] = [] if data["nodes"][0]["properties"] else ["MOVABLE"]
    same_hash = compile_graph(data, "same hash")
    assert hash(same_hash) == hash(changed) and same_hash != changed


@pytest.mark.parametrize("name", ["alfworld", "webshop", "virtualhome"])
def test_vectors_of_processes_tell_what_single_worlds_do(name: str) -> None:
    kind, options = WORLDS[name]
    several = gymnasium.make_vec(f"spa_bench:{kind}", num_envs=2, vectorization_mode="async", **options)
    try:
        singles = [make(name) for _ in range(2)]
        told, infos = several.reset(seed=[1, 2])
        assert told == tuple(env.reset(seed=seed)[0] for env, seed in zip(singles, (1, 2), strict=True))
        for _ in range(2):
            actions = [env.unwrapped.expert_action() for env in singles]
            told, rewards, *_, infos = several.step(actions)
            wanted = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            assert told == tuple(step[0] for step in wanted)
            assert rewards.tolist() == [step[1] for step in wanted]
            assert infos["progress"].tolist() == [step[4]["progress"] for step in wanted]
    finally:
        several.close()


@given(HOSTILE, HOSTILE, HOSTILE)
def test_shared_memory_gives_back_any_text_after_any_other(first: str, second: str, other: str) -> None:
    space = AnyText(300, ["look"])
    memory = create_shared_memory(space, n=2)
    view = read_from_shared_memory(space, memory, n=2)
    write_to_shared_memory(space, 1, other, memory)
    for text in (first, second):
        write_to_shared_memory(space, 0, text, memory)
        assert copy.deepcopy(view) == (text, other) == (view[0], view[1])
    assert len(view) == 2


def test_a_text_that_shared_memory_cannot_hold_is_refused_in_one_line() -> None:
    space = AnyText(4, ["look"])
    memory = create_shared_memory(space, n=2)
    write_to_shared_memory(space, 0, "look", memory)
    with pytest.raises(UserError, match="a text of 5 characters does not fit into a space of 4") as caught:
        write_to_shared_memory(space, 0, "looks", memory)
    assert "\n" not in str(caught.value)
    assert read_from_shared_memory(space, memory, n=2)[0] == "look"


@pytest.mark.parametrize("name", WORLDS)
def test_an_action_that_is_no_text_is_refused_and_costs_nothing(name: str) -> None:
    env = make(name).unwrapped
    env.reset(seed=0)
    for action in (3, None, b"look", ["look"]):
        with pytest.raises(TypeError, match=r"^an action is a text, such as 'look around', not "):
            env.step(action)
    assert len(on(env, 1)) == 1
