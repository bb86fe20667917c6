"""Built-in tasks: homes drawn from a seed, written as official game files, so that one loader reads both.

Separate from `rooms`, which draws; here is the file format and the cache. `ensure` returns a folder in upstream's
layout, `json_2.1.1/<split>/<task>/<trial>/{game.tw-pddl, traj_data.json}`, with `manifest.csv` beside it. Kinds of
task take turns; `valid_seen` has other tasks in the rooms of `train`, `valid_unseen` has rooms of its own; no game
occurs twice in a panel. The same parameters give the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from spa_bench.core import Task, UserError
from spa_bench.environments.alfworld import expert, rooms
from spa_bench.environments.alfworld.game import Game
from spa_bench.environments.alfworld.household import ROOMS, THINGS
from spa_bench.environments.alfworld.tasks import GAME_FILE, KINDS, LAYOUT, MANIFEST, Entry, write_manifest
from spa_bench.environments.dice import Dice, unchanged
from spa_bench.files import cache_entry, cache_root

VERSION = 1
"""Raised with every change of what is generated."""

PANEL = "30dac35f1130a319a999f18de4c8ebfa39d3747d8e3f0e00082ef2fc104b90c0"
"""SHA-256 of the default panel's `manifest.csv`, which holds the hash of every game: the same on every machine."""

FROZEN = {100: PANEL, 2500: "ea424a5be00c56d0871dde0da8fd4e3290b15abb9109619341945cc3d1f1453e"}
"""The same of default panels by the size of their held-out splits."""

SEEN_ROOMS, UNSEEN_ROOMS = 20, 5
"""Rooms of each of the four sorts, in `train` and in `valid_unseen`."""

_WORDS = {
    "2.1.1": {"ARRIVAL": "lend", "PUT": "put {o} in/on {r}", "STORED": "You put the {o.name} in/on the {r.name}."},
    "2.1.2": {"ARRIVAL": "r", "PUT": "move {o} to {r}", "STORED": "You move the {o.name} to the {r.name}."},
}
_TRAITS = {
    "k": "cleanable",
    "h": "heatable",
    "c": "coolable",
    "s": "sliceable",
    "r": "isReceptacleObject",
    "t": "toggleable",
}
_STORED = (
    "(and (exists (?r - receptacle) (exists (?o - object) (and ({0} ?o) (objectType ?o {o}Type)"
    " (receptacleType ?r {r}Type) ({1} ?o) (inReceptacle ?o ?r)))))"
)
_GOALS = {
    "place": "(and (exists (?r - receptacle) (exists (?o - object) (and (inReceptacle ?o ?r)"
    " (objectType ?o {o}Type) (receptacleType ?r {r}Type)))))",
    "light": "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot {r}Type)"
    " (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))"
    " (exists (?o - object ?a - agent) (and (objectType ?o {o}Type) (holds ?a ?o))))",
    "clean": _STORED.replace("{0}", "cleanable").replace("{1}", "isClean"),
    "heat": _STORED.replace("{0}", "heatable").replace("{1}", "isHot"),
    "cool": _STORED.replace("{0}", "coolable").replace("{1}", "isCool"),
    "two": "(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 {o}Type)"
    " (receptacleType ?r {r}Type) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))"
    " (objectType ?o2 {o}Type) (receptacleType ?r {r}Type) (inReceptacle ?o2 ?r)))))))",
}
_CONSTANTS = {"SinkBasinType", "MicrowaveType", "FridgeType", "KnifeType", "ButterKnifeType"}
"""Types that the domain itself declares."""


def ensure(
    seed: int = 0, train: int = 4000, valid: int = 100, difficulty: str = "default", text: str = "2.1.2"
) -> Path:
    """The folder with these tasks, generated the first time (a few seconds) and kept in the user's cache.

    `valid` is the size of each of the two validation splits. `difficulty`:

    - `default`: kitchens and living rooms of 3 to 8 receptacles, no two of one type, with 0.4 to 0.8 objects for each,
      of 9 types. The searching expert needs 3 to 18 steps, median 9; a fifth of the train tasks take it at most 7
      steps, a third 8 to 10, half more. Small on purpose: the embedded default model has to learn it in minutes.
    - `hard`: rooms of 8 to 40 receptacles with one to two objects each, of all types; shared locations, cabinets that
      do not open, objects that lie in two receptacles at once: the sizes of the official games. 3 to 70 steps.

    Two processes may call it at once. Raises UserError for parameters that it does not know.
    """
    if difficulty not in rooms.DIFFICULTIES:
        raise UserError(f"no difficulty {difficulty!r}: use one of {', '.join(rooms.DIFFICULTIES)}")
    if text not in _WORDS:
        raise UserError(f"no text version {text!r}: use one of {', '.join(_WORDS)}")
    if train < 1 or valid < 1:
        raise UserError(f"a split needs at least one task (train={train}, valid={valid})")
    name = f"{difficulty}-{text}-seed{seed}-{train}-{valid}-v{VERSION}-{_fingerprint()}"
    with cache_entry(cache_root(), "alfworld", name, durable=False) as entry:
        if not entry.ready:
            _write(entry.build, seed, {"train": train, "valid_seen": valid, "valid_unseen": valid}, difficulty, text)
            default = (seed, train, difficulty, text) == (0, 4000, "default", "2.1.2")
            unchanged(entry.build / MANIFEST, FROZEN.get(valid) if default else None)
    return entry.path


def games(
    seed: int, sizes: dict[str, int], difficulty: str, text: str = "2.1.2"
) -> Iterator[tuple[str, rooms.Draft, str]]:
    """(split, draft, text of game.tw-pddl) of every task, in order. Nothing is written."""
    level = rooms.DIFFICULTIES[difficulty]
    homes = _homes(seed, difficulty)
    known: set[tuple[object, ...]] = set()
    for split, size in sizes.items():
        own = homes[SEEN_ROOMS:] if split == "valid_unseen" else homes[:SEEN_ROOMS]
        scenes = [scene for rank in own for scene in rank]
        for index in range(size):
            dice = Dice("alfworld", VERSION, difficulty, seed, split, index)
            draft = _new(dice, list(KINDS)[index % len(KINDS)], scenes, level, known)
            known.add(draft.content)
            yield split, draft, _game(draft, text)


def _new(
    dice: Dice, kind: str, scenes: list[rooms.Scene], level: rooms.Difficulty, known: set[tuple[object, ...]]
) -> rooms.Draft:
    """A task that no split has yet."""
    for _ in range(1000):
        draft = rooms.draft(dice, kind, scenes, level)
        if draft.content not in known:
            return draft
    raise UserError(f"these rooms have no more new tasks of kind {kind!r} after {len(known)}: ask for fewer")


@cache
def _fingerprint() -> str:
    """Of everything that decides what is generated: an edited table never meets the tasks of the old one."""
    here = resources.files("spa_bench.environments.alfworld")
    names = ("generate.py", "rooms.py", "household.py", "expert.py", "domain.pddl", "grammar.txt", "../dice.py")
    return hashlib.sha256(b"".join(here.joinpath(name).read_bytes() for name in names)).hexdigest()[:8]


def _homes(seed: int, difficulty: str) -> list[list[rooms.Scene]]:
    """One room of each sort at a time: first those of `train`, then those of `valid_unseen`, all of different layout.

    Both sets go from the smallest size to the largest.
    """
    level = rooms.DIFFICULTIES[difficulty]
    low, high = level.receptacles
    shares = [n / (count - 1) for count in (SEEN_ROOMS, UNSEEN_ROOMS) for n in range(count)]
    known: set[tuple[str, ...]] = set()
    homes = []
    for n, share in enumerate(shares):
        rank = []
        for room, layout in [(room, ROOMS[room]) for room in level.rooms]:
            dice = Dice("alfworld", VERSION, difficulty, seed, room, n)
            size = low + share * (high - low)
            for attempt in range(1000):
                # a size has few layouts: look at its neighbours too, above and below in turns
                around = attempt // 20 * (1 if attempt % 2 else -1)
                scene = rooms.scene(dice, room, layout.first_scene + n, size + around, level)
                if scene.layout not in known:
                    break
            known.add(scene.layout)
            rank.append(scene)
        homes.append(rank)
    return homes


def _write(folder: Path, seed: int, sizes: dict[str, int], difficulty: str, text: str) -> None:
    entries = []
    for split, draft, game in games(seed, sizes, difficulty, text):
        data = game.encode()
        digest = hashlib.sha256(data).hexdigest()
        trial = f"trial_{digest[:12]}"
        key = f"{_task_folder(draft)}/{trial}"
        path = folder / LAYOUT / split / key
        path.mkdir(parents=True)
        (path / GAME_FILE).write_bytes(data)
        (path / "traj_data.json").write_bytes(json.dumps(_traj_data(draft, trial)).encode())
        steps = len(expert.solve(Game.decode(data, key)))
        entries.append(Entry(Task("alfworld", key, split, KINDS[draft.kind], steps), (digest,)))
    (folder / MANIFEST).write_bytes(write_manifest(entries).encode())


def _task_folder(draft: rooms.Draft) -> str:
    return f"{KINDS[draft.kind]}-{draft.thing}-None-{draft.target}-{draft.scene.number}"


def _traj_data(draft: rooms.Draft, trial: str) -> dict[str, Any]:
    lamp = draft.kind == "light"
    return {
        "task_id": trial,
        "task_type": KINDS[draft.kind],
        "pddl_params": {
            "mrecep_target": "",
            "object_sliced": False,
            "object_target": draft.thing,
            "parent_target": "" if lamp else draft.target,
            "toggle_target": draft.target if lamp else "",
        },
        "turk_annotations": {"anns": []},
        "scene": {"floor_plan": f"FloorPlan{draft.scene.number}", "scene_num": draft.scene.number},
    }


def _game(draft: rooms.Draft, text: str) -> str:
    domain, grammar = _frame(text)
    raw = {
        "pddl_domain": domain,
        "grammar": grammar.replace("@TASK@", draft.sentence),
        "pddl_problem": _problem(draft),
        "solvable": True,
    }
    return json.dumps(raw)


@cache
def _frame(text: str) -> tuple[str, str]:
    """Domain and grammar in the wording of a version."""
    here = resources.files("spa_bench.environments.alfworld")
    domain, grammar = (here.joinpath(name).read_text(encoding="utf-8") for name in ("domain.pddl", "grammar.txt"))
    if text == "2.1.1":  # `help` came later
        domain = domain.partition(" (:action help")[0] + ")\n"
        grammar = grammar.partition("action help")[0]
    for mark, words in _WORDS[text].items():
        grammar = grammar.replace(f"@{mark}@", words)
    return domain, grammar


def _problem(draft: rooms.Draft) -> str:
    """The home and the goal as PDDL, one fact a line."""
    places, items = draft.scene.places, draft.items
    kinds, sorts = sorted({p.kind for p in places}), sorted({i.kind for i in items})
    locations = list(dict.fromkeys([draft.scene.start, *(p.location for p in places)]))
    declared = {"agent": ["agent1"], "location": locations}
    declared |= {"receptacle": [p.id for p in places], "object": [i.id for i in items]}
    declared |= {"rtype": [f"{k}Type" for k in kinds], "otype": [f"{s}Type" for s in sorts]}
    objects = [f"{n} - {t}" for t, names in declared.items() for n in names if n not in _CONSTANTS]
    facts = [f"atLocation agent1 {draft.scene.start}"]
    for p in places:
        facts += [f"receptacleType {p.id} {p.kind}Type", f"receptacleAtLocation {p.id} {p.location}"]
        facts += [f"openable {p.id}"] * p.openable
    for i in items:
        facts += _facts(i)
    facts += [f"canContain {k}Type {s}Type" for s in sorts for k in kinds if k in THINGS[s].places]
    goal = _GOALS[draft.kind].replace("{o}", draft.thing).replace("{r}", draft.target)
    listed = "\n".join(objects), "\n".join(f"({fact})" for fact in facts)
    return "(define (problem home)\n(:domain household)\n(:objects\n{}\n)\n(:init\n{}\n)\n(:goal {})\n)\n".format(
        *listed, goal
    )


def _facts(item: rooms.Item) -> list[str]:
    """What an object is and where; it counts as being at the first of its receptacles, and food there is cool."""
    thing = THINGS[item.kind]
    facts = [f"objectType {item.id} {item.kind}Type", f"objectAtLocation {item.id} {item.places[0].location}"]
    facts += [f"inReceptacle {item.id} {place.id}" for place in item.places]
    facts += [f"{_TRAITS[trait]} {item.id}" for trait in thing.traits]
    facts += [f"pickupable {item.id}"] * ("t" not in thing.traits)
    cool = "c" in thing.traits and any(place.kind == "Fridge" for place in item.places)
    return facts + [f"isCool {item.id}"] * cool
