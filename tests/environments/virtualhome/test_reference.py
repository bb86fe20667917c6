"""Profile `v2` against the released engine 2.3.0, step for step: outcome, message, and the whole state.

Upstream takes equally good nodes in the order of a set; for the comparison it is made to take the smallest id.
"""

from __future__ import annotations

import json
import lzma
import os
import random
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from virtualhome_home import ANNA, BED, CHAIR, CUP, NOWHERE, SOAP, TABLE, Director, edge, home
from virtualhome_upstream import Upstream, load, ties_by_id

from spa_bench.environments.virtualhome.engine import ARITY, World, admissible
from spa_bench.environments.virtualhome.graph import RELATIONS, compile_graph, with_character
from spa_bench.environments.virtualhome.script import parse_script

pytestmark = [pytest.mark.reference, pytest.mark.timeout(600)]

NEVER = "PUTOFF"
"""The only action that upstream can never execute (defect 4)."""
POSTURES = {"SLEEP", "STANDUP", "WAKEUP"}
"""Actions that succeed only for those who sit at the start, and for them always (defect 2)."""


@pytest.fixture
def tied() -> Iterator[None]:
    load()
    with ties_by_id():
        yield


class Pair:
    """Both engines in the same home."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.ours, self.theirs = World(compile_graph(data, "test"), "v2"), Upstream(data)
        self.done: Counter[str] = Counter()
        self.failed: dict[str, set[str]] = {action: set() for action in ARITY}

    def step(self, action: str, objects: tuple[int, ...], character: int, names: list[str] | None = None) -> None:
        ours = self.ours.execute(action, objects, character, names)
        theirs = self.theirs.execute(action, objects, character, names)
        assert ours == theirs, (action, objects, character)
        if ours.executed:
            self.done[action] += 1
        elif action in self.failed:
            self.failed[action].add(ours.crash or "refused")

    def compare(self) -> None:
        """Edges, states and what is remembered of grabbed things; the messages so far, by character."""
        graph, out = self.ours.graph, self.ours.out
        assert {(a, r, b) for r in RELATIONS for a in graph.nodes for b in out(r, a)} == self.theirs.edges()
        assert {n: self.ours.states(n) for n in graph.nodes} == self.theirs.states()
        assert {n: self.ours.origin(n) for n in graph.nodes if self.ours.origin(n)} == self.theirs.origins()


def play(data: dict[str, Any], seed: int, steps: int, director: Director) -> Pair:
    """One directed random plan; with several characters they take turns by chance."""
    pair, rng = Pair(data), random.Random(seed)
    characters = pair.ours.graph.characters
    director.script.clear()
    actor = characters[0]
    for _ in range(steps):
        if not director.script:
            actor = rng.choice(characters)
        action, objects = director.step(pair.ours, actor)
        pair.step(action, objects, actor)
        pair.compare()
    director.done += pair.done
    return pair


@pytest.mark.parametrize("characters", [1, 2])
def test_directed_random_plans_agree_and_every_action_that_can_succeed_does_so_often(
    tied: None, characters: int
) -> None:
    director, failed = Director(7), {action: set[str]() for action in ARITY}
    for seed in range(90):
        pair = play(home(characters=characters), seed, 60, director)
        failed = {action: failed[action] | pair.failed[action] for action in ARITY}
    rare = {action: director.done[action] for action in ARITY if director.done[action] < 20}
    assert rare == dict.fromkeys({NEVER, *POSTURES}, 0)
    assert all(failed.values()), "every action is refused now and then"
    assert {action for action in ARITY if "TypeError" in failed[action]} == {"FIND", NEVER}
    assert {action for action in ARITY if "AttributeError" in failed[action]} == {"FIND", "RUN", "WALK"}


def test_who_sits_at_the_start_agrees_too_and_stands_up_for_ever(tied: None) -> None:
    director = Director(8)
    for seed, posture in enumerate(["SITTING", "LYING", "SITTING CLEAN"]):
        pair = play(home(states={ANNA: posture}), seed, 80, director)
        for _ in range(20):
            for action in sorted(POSTURES):
                pair.step(action, (), ANNA)
                pair.compare()
        assert all(pair.done[action] >= 20 for action in POSTURES), posture


def test_unknown_ids_actions_and_names_fail_alike(tied: None) -> None:
    pair = Pair(home())
    for action, arity in ARITY.items():
        for objects in ((), (NOWHERE,), (CUP,), (CUP, NOWHERE), (NOWHERE, CUP), (CUP, TABLE, BED)):
            pair.step(action, objects, ANNA)
            pair.step(action, objects, ANNA, ["zzz"] * len(objects))
        assert arity == pair.theirs.execution.Action[action].value[1]
    for action in ("DANCE", "LOOKAT_SHORT", "LOOKAT_LONG", ""):
        for objects in ((), (CUP,)):
            pair.step(action, objects, ANNA)
    pair.compare()


def test_things_in_no_room_fail_alike(tied: None) -> None:
    data = home(add=[edge(NOWHERE, "CLOSE", CHAIR)], without=[])
    data["nodes"].append({**data["nodes"][-1], "id": NOWHERE, "properties": ["LOOKABLE", "GRABBABLE"], "states": []})
    pair = Pair(data)
    for action in ("WALK", "RUN", "FIND", "WATCH", "TURNTO", "WATCH", "LOOKAT"):
        pair.step(action, (NOWHERE,), ANNA)
    pair.step("WALK", (CHAIR,), ANNA)
    for action in ("FIND", "GRAB", "WATCH", "DROP", "WATCH"):
        pair.step(action, (NOWHERE,), ANNA)
        pair.compare()
    assert pair.failed["WATCH"] == {"AttributeError"}


def shared(name: str) -> Path:
    chosen = os.environ.get("SPA_BENCH_SHARED")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[4] / "shared"
    file = folder / "data" / "virtualhome" / name
    if not file.is_file():
        pytest.skip(f"no {file}: set SPA_BENCH_SHARED")
    return file


@pytest.mark.official
def test_the_shared_programs_agree_step_for_step(tied: None) -> None:
    whole = steps = 0
    with lzma.open(shared("activity_programs_400.jsonl.xz"), "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            pair = Pair(record["init_graph"])
            (character,) = pair.ours.graph.characters
            program = parse_script(record["program"]).lines
            for line in program:
                pair.step(line.action, line.ids, character, list(line.names))
                pair.compare()
                steps += 1
            whole += pair.done.total() == len(program)
    assert (whole, steps) == (278, 3621)


@pytest.mark.official
@pytest.mark.parametrize("number", range(1, 8))
def test_two_characters_in_a_real_apartment_agree_step_for_step(tied: None, number: int) -> None:
    with tarfile.open(shared("scenes.tar.xz")) as tar:
        member = tar.extractfile(f"example_graphs/TrimmedTestScene{number}_graph.json")
        assert member is not None
        data = json.load(member)
    data = with_character(data, min(n["id"] for n in data["nodes"] if n["category"] == "Rooms"))
    pair, rng = Pair(data), random.Random(number)
    for turn in range(150):
        actor = rng.choice(pair.ours.graph.characters)
        steps = admissible(pair.ours, actor, pair.ours.graph.nodes)
        action = rng.choice(sorted({action for action, _ in steps}))
        objects = rng.choice([objects for name, objects in steps if name == action])
        if rng.random() < 0.2:
            objects = tuple(rng.choice(pair.ours.graph.nodes) for _ in objects)
        pair.step(action, objects, actor)
        if turn % 10 == 0:
            pair.compare()
    pair.compare()
    assert len(pair.done) > 15


# Defects that only upstream itself can show: none of our profiles has them


@pytest.mark.parametrize(("in_place", "room"), [(False, 1), (True, 2)])
def test_defect_16_a_step_in_place_changes_the_state_before_it(in_place: bool, room: int) -> None:
    """The state before the walk says that one is in the bedroom already."""
    upstream = Upstream(home())
    before, inside = upstream.state, upstream.execution.Relation.INSIDE
    line = upstream.line("WALK", (BED,), None)
    upstream.executors[ANNA].execute_one_step(line, before, in_place=in_place)
    assert [x.id for x in before.get_nodes_from(before.get_node(ANNA), inside)] == [room]


def test_defect_17_the_place_of_a_thing_depends_on_the_order_of_edges_in_the_file() -> None:
    origins = set()
    for places in ([20, 28], [28, 20]):  # they collide in a small set
        upstream = Upstream(home(add=[edge(SOAP, "CLOSE", place) for place in places]))
        upstream.execute("WALK", (BED,), ANNA)
        upstream.state = upstream.state.change_state(
            [upstream.execution.AddEdges(*[f(upstream) for f in (_anna, _close, _soap)])]
        )
        assert upstream.execute("GRAB", (SOAP,), ANNA).executed
        origins.add(upstream.origins()[SOAP])
    assert origins == {(20, "CLOSE"), (28, "CLOSE")}


def _anna(upstream: Upstream) -> Any:
    return upstream.execution.CharacterNode(0)


def _close(upstream: Upstream) -> Any:
    return upstream.execution.Relation.CLOSE


def _soap(upstream: Upstream) -> Any:
    return upstream.execution.NodeInstance(upstream.state.get_node(SOAP))
