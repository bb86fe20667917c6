"""How fast the VirtualHome engine is on recorded programs, and the released one on the same programs in the same run.

`pytest tests/benchmarks/test_virtualhome_speed.py --benchmark-enable --benchmark-json=out.json` writes one entry for
each; `extra_info["steps"]` is how many actions one round executed, so that rates and their ratio follow from one
file. The released engine is there after `pip install --no-deps virtualhome==2.3.0`. Nothing here asserts a time.
"""

import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from virtualhome_upstream import Upstream, load

from spa_bench.environments.virtualhome.engine import Profile, World, admissible
from spa_bench.environments.virtualhome.graph import RELATIONS, Graph, compile_graph
from spa_bench.environments.virtualhome.script import Line, parse_script

pytestmark = pytest.mark.official

PROGRAMS = 20
WATCHED = 5
"""Of the programs, those that are played with what is seen, by both engines: upstream takes 40 ms for each look."""


class Episode(NamedTuple):
    """A program that the released engine executes to its end."""

    data: dict[str, Any]
    graph: Graph
    lines: tuple[Line, ...]


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    """The first programs on real trimmed scenes, of 280 to 300 nodes and 5,700 edges."""
    chosen = os.environ.get("SPA_BENCH_SHARED")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[3] / "shared"
    path = folder / "data" / "virtualhome" / "activity_programs_400.jsonl.xz"
    if not path.is_file():
        pytest.skip(f"no {path}: set SPA_BENCH_SHARED")
    found: list[Episode] = []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for raw in map(json.loads, file):
            graph, lines = compile_graph(raw["init_graph"], raw["id"]), parse_script(raw["program"]).lines
            world = World(graph, "v2")
            if all(world.execute(line.action, line.ids).executed for line in lines):
                found.append(Episode(_untangled(raw["init_graph"], graph), graph, lines))
            if len(found) == PROGRAMS:
                return found
    raise AssertionError(f"only {len(found)} programs run in the released engine")


def _untangled(data: dict[str, Any], graph: Graph) -> dict[str, Any]:
    """Without things inside each other, at which upstream's observation never ends (defect 15)."""
    edges = [e for e in data["edges"] if not (e["relation_type"] == "INSIDE" and {*e.values()} & graph.looped)]
    rooms = [
        {"from_id": i, "relation_type": "INSIDE", "to_id": min(graph.out["INSIDE"][i] & graph.rooms)}
        for i in graph.looped
    ]
    return {"nodes": data["nodes"], "edges": edges + rooms}


def play(episodes: list[Episode], profile: Profile, observe: bool) -> None:
    for _, graph, lines in episodes:
        world, character = World(graph, profile), graph.characters[0]
        for line in lines:
            assert world.execute(line.action, line.ids).executed
            if observe:
                seen_graph(world, character)


def seen_graph(world: World, character: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What upstream's `get_visible_nodes` returns: nodes as dictionaries, and all edges between them."""
    seen, graph = world.visible(character), world.graph
    nodes = [
        {"id": n, "class_name": graph.classes[n], "category": graph.categories[n],
         "properties": [*graph.properties[n]], "states": [*world.states(n)]}
        for n in seen
    ]  # fmt: skip
    edges = [
        {"from_id": n, "relation_type": relation, "to_id": to}
        for relation in RELATIONS
        for n in seen
        for to in world.out(relation, n)
        if to in seen
    ]
    return nodes, edges


def played(episodes: list[Episode], observe: bool) -> list[Episode]:
    """What both engines play."""
    return episodes[:WATCHED] if observe else episodes


@pytest.mark.parametrize("observe", [False, True], ids=["alone", "with what is seen"])
@pytest.mark.parametrize("profile", ["fixed", "v2"])
def test_engine_steps(benchmark: Any, episodes: list[Episode], profile: Profile, observe: bool) -> None:
    """Resets are included: they cost nothing beside the steps."""
    some = played(episodes, observe)
    benchmark.extra_info["steps"] = sum(len(episode.lines) for episode in some)
    benchmark.pedantic(play, (some, profile, observe), rounds=20, warmup_rounds=2)


def upstream_steps(worlds: list[Upstream], episodes: list[Episode], observe: Callable[..., Any] | None) -> None:
    for world, episode in zip(worlds, episodes, strict=True):
        executor, state, character = world.executors[_character(episode)], world.state, _character(episode)
        for line in episode.lines:
            executed, state = executor.execute_one_step(world.line(line.action, line.ids, None), state)
            assert executed
            if observe is not None:
                observe(state.to_dict(), character)


def _character(episode: Episode) -> int:
    return episode.graph.characters[0]


@pytest.mark.reference
@pytest.mark.parametrize("observe", [False, True], ids=["alone", "with what is seen"])
def test_upstream_steps(benchmark: Any, episodes: list[Episode], observe: bool) -> None:
    """Its graphs are built beforehand; what is seen is its `get_visible_nodes` of its `to_dict`."""
    _, module = load()
    some = played(episodes, observe)
    worlds = [Upstream(episode.data) for episode in some]
    benchmark.extra_info["steps"] = sum(len(episode.lines) for episode in some)
    look = module.get_visible_nodes if observe else None
    benchmark.pedantic(upstream_steps, (worlds, some, look), rounds=3)


@pytest.mark.parametrize("start", ["from JSON", "from a built graph"])
def test_engine_reset(benchmark: Any, episodes: list[Episode], start: str) -> None:
    """A world in which the next step can be taken."""
    data, graph = episodes[0].data, episodes[0].graph
    if start == "from JSON":
        benchmark.pedantic(lambda: World(compile_graph(data, "scene")), rounds=10, warmup_rounds=1)
    else:
        benchmark.pedantic(World, (graph,), rounds=50, iterations=2000, warmup_rounds=2)


@pytest.mark.reference
@pytest.mark.parametrize("start", ["from JSON", "from a built graph"])
def test_upstream_reset(benchmark: Any, episodes: list[Episode], start: str) -> None:
    """Its state alone: the executor, without which it takes no step, is not counted."""
    execution, _ = load()
    data, built = episodes[0].data, execution.EnvironmentGraph(episodes[0].data)
    if start == "from JSON":
        benchmark.pedantic(lambda: execution.EnvironmentState(execution.EnvironmentGraph(data), {}, True), rounds=10)
    else:
        benchmark.pedantic(execution.EnvironmentState, (built, {}, True), rounds=50, iterations=2000, warmup_rounds=2)


def after(episode: Episode) -> tuple[World, int]:
    """The world at the end of a program."""
    world = World(episode.graph)
    for line in episode.lines:
        world.execute(line.action, line.ids)
    return world, _character(episode)


def test_engine_copy(benchmark: Any, episodes: list[Episode]) -> None:
    benchmark(after(episodes[0])[0].copy)


def test_engine_key(benchmark: Any, episodes: list[Episode]) -> None:
    benchmark(after(episodes[0])[0].key)


def test_engine_visible(benchmark: Any, episodes: list[Episode]) -> None:
    world, character = after(episodes[0])
    benchmark.extra_info["nodes"] = len(world.visible(character))
    benchmark(world.visible, character)


def test_engine_admissible(benchmark: Any, episodes: list[Episode]) -> None:
    """All that can be done with what is seen."""
    world, character = after(episodes[0])
    seen = world.visible(character)
    benchmark.extra_info["actions"] = len(admissible(world, character, seen))
    benchmark(admissible, world, character, seen)


def test_compile_a_scene(benchmark: Any, episodes: list[Episode]) -> None:
    benchmark.extra_info["edges"] = len(episodes[0].data["edges"])
    benchmark(compile_graph, episodes[0].data, "scene")
