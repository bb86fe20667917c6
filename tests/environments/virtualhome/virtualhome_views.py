"""What the released engine 2.3.0 lets a character see, recorded, and the homes that it was recorded in.

`python tests/environments/virtualhome/virtualhome_views.py` records `views_2.3.0.json` anew; it needs the released
engine (`virtualhome_upstream`) and the real scenes (`SPA_BENCH_SHARED`).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from virtualhome_home import edge, node
from virtualhome_upstream import Upstream, load

from spa_bench.environments.virtualhome.graph import compile_graph

RECORDED = Path(__file__).with_name("views_2.3.0.json")
HOMES = 300
ME = 10


def home(seed: int) -> dict[str, Any]:
    """A small home whose things are inside several others, rooms among them, in any order; never in a circle."""
    rng = random.Random(seed)
    ids = rng.sample([i for i in range(1, 60) if i != ME], 12)
    rooms, things = ids[:2], ids[2:]
    nodes = [node(i, "room", "Rooms") for i in rooms] + [node(ME, "character", "Characters")]
    edges = [edge(ME, "INSIDE", rooms[0])]
    for place, i in enumerate(things):
        nodes.append(node(i, "box", "Props", "CAN_OPEN GRABBABLE", rng.choice(["OPEN", "CLOSED", ""])))
        around = rng.sample([*rooms, *things[:place]], min(rng.choice([1, 1, 2, 2, 3, 6]), place + 2))
        edges += [edge(i, "INSIDE", x) for x in around]
    edges.append(edge(ME, "HOLDS_RH", rng.choice(things)))
    return {"nodes": nodes, "edges": edges}


def standing_in(data: dict[str, Any], character: int, room: int) -> dict[str, Any]:
    """The home with its character in a room and close to nothing."""
    kept = [e for e in data["edges"] if character not in (e["from_id"], e["to_id"])]
    return {"nodes": data["nodes"], "edges": [*kept, edge(character, "INSIDE", room)]}


def untangled(data: dict[str, Any]) -> dict[str, Any]:
    """Without what is inside each other, at which the released engine never ends (defect 15)."""
    looped = compile_graph(data, "a scene").looped
    kept = [e for e in data["edges"] if e["relation_type"] != "INSIDE" or not {e["from_id"], e["to_id"]} <= looped]
    return {"nodes": data["nodes"], "edges": kept}


def apartments(archive: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Each room of each official apartment, with the character in it: a name, the home, the character."""
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            if not member.name.endswith(".json"):
                continue
            file = tar.extractfile(member)
            assert file is not None
            data = untangled(json.load(file))
            graph = compile_graph(data, member.name)
            (me,) = graph.characters
            for room in sorted(graph.rooms):
                name = f"{Path(member.name).name.removesuffix('_graph.json')}/{room}"
                yield name, standing_in(data, me, room), me


def digest(seen: frozenset[int] | set[int]) -> str:
    return hashlib.sha256(json.dumps(sorted(seen)).encode()).hexdigest()[:16]


def upstream_view(world: Upstream, character: int) -> set[int]:
    """`get_visible_nodes` of the state as it lists itself, as SPA asks for it after every step."""
    _, utils = load()
    return {n["id"] for n in utils.get_visible_nodes(world.state.to_dict(), character)["nodes"]}


def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


def record(archive: Path) -> dict[str, Any]:
    """All views by the released engine."""
    homes = [sorted(upstream_view(Upstream(home(seed)), ME)) for seed in range(HOMES)]
    places = {name: digest(upstream_view(Upstream(data), me)) for name, data, me in apartments(archive)}
    return {"homes": homes, "apartments": places}


if __name__ == "__main__":
    views = record(Path(os.environ["SPA_BENCH_SHARED"]) / "data" / "virtualhome" / "scenes.tar.xz")
    homes = ",\n".join(map(json.dumps, views["homes"]))
    places = json.dumps(views["apartments"], indent=0)
    text = f'{{"homes": [\n{homes}\n],\n"apartments": {places}}}\n'
    RECORDED.write_text(text, encoding="utf-8", newline="\n")
