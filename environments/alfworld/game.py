"""A compiled game: what never changes while it is played.

Separate from the engine so that the oracle, the expert and the generator can read a household without running it.
All ids are the file's, lower-cased; lists are ordered by id, as upstream prints them, and not by displayed name.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spa_bench.environments.alfworld.pddl import Facts, GameError, Goal, read

TextVersion = Literal["auto", "2.1.1", "2.1.2"]
"""`2.1.1`: `put X in/on Y`; `2.1.2` (all later releases): `move X to Y` and `help`; `auto`: as the file says."""

REFETCH = "fetch it again with `spa-bench data get alfworld`"
REMOVE = "remove it from the folder: upstream does not play such games either"

_MARKS = {
    "2.1.1": ('template :: "put {o} in/on {r}"', "You arrive at {lend.name}."),
    "2.1.2": ('template :: "move {o} to {r}"', "You arrive at {r.name}."),
}
_TASK = re.compile(r'"rhs":\s*("Your task is to: (?:[^"\\]|\\.)*")')
_ID = re.compile(r"[a-z0-9_.+|-]+")


@dataclass(frozen=True)
class Game:
    """One household with one task. Immutable; any number of engines may share it, and a copy is the game itself."""

    task: str
    """The sentence `Your task is to: ...`."""
    text_version: str
    """`2.1.1` or `2.1.2`: the wording in force."""
    goal: Goal
    start: str
    """Location of the agent before its first move; no receptacle is there, and nothing leads back."""
    names: dict[str, str]
    """Id of a receptacle, object or location -> displayed name, such as `cabinet 4`."""
    receptacles: tuple[str, ...]
    """Ids, sorted: the order of every list, and of `State.contents`."""
    location_of: dict[str, str]
    receptacles_at: dict[str, tuple[str, ...]]
    """Location -> its receptacles, sorted; up to five share one location."""
    receptacle_type: dict[str, str]
    object_type: dict[str, str]
    can_contain: frozenset[tuple[str, str]]
    """(receptacle type, object type): what may be put where. There is no limit on the number."""
    openable: frozenset[str]
    pickupable: frozenset[str]
    cleanable: frozenset[str]
    heatable: frozenset[str]
    coolable: frozenset[str]
    sliceable: frozenset[str]
    toggleable: frozenset[str]
    vessels: frozenset[str]
    """Objects that are looked into when examined: bowls, pots, boxes."""
    inside: dict[str, tuple[str, ...]]
    """Vessel -> the objects it shows; it never changes."""
    initial: Mapping[str, frozenset[Any]]
    """The changeable facts at the start, by predicate: `inreceptacle`, `objectatlocation`, `opened`, `iscool`, ..."""

    def __hash__(self) -> int:
        return hash((self.task, self.receptacles))

    def __deepcopy__(self, memo: object) -> Game:
        return self

    @classmethod
    def load(cls, path: str | Path, text: TextVersion = "auto") -> Game:
        """Read a `game.tw-pddl`. Raises GameError naming the file and the fix."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise GameError(f"cannot read game {path}: {error.strerror or error}; {REFETCH}") from None
        return cls.decode(data, str(path), text)

    @classmethod
    def decode(cls, data: bytes, source: str, text: TextVersion = "auto") -> Game:
        """Compile the bytes of a `game.tw-pddl`; `source` names them in errors."""
        try:
            raw = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            raise GameError(f"cannot read game {source}: it is not JSON in UTF-8; {REFETCH}") from None
        try:
            return cls.parse(raw, text)
        except GameError as error:
            raise GameError(f"cannot read game {source}: {error}") from None

    @classmethod
    def parse(cls, raw: Mapping[str, Any], text: TextVersion = "auto") -> Game:
        """Compile the JSON of a `game.tw-pddl`; `text` forces the wording of a version.

        Raises GameError for games that upstream does not play and for everything this engine would have to guess.
        """
        if text not in ("auto", *_MARKS):
            raise GameError(f"unknown text version {text!r}: use auto, 2.1.1 or 2.1.2")
        if not isinstance(raw, Mapping):
            raise GameError(f"it is not a JSON object; {REFETCH}")
        for key in ("grammar", "pddl_problem"):
            if not isinstance(raw.get(key), str):
                raise GameError(f"it has no text {key!r}; {REFETCH}")
        if raw.get("solvable") is not True:
            raise GameError(f"it is not marked as solvable; {REMOVE}")
        version = _version(raw["grammar"])
        try:
            facts, goal = read(raw["pddl_problem"])
            _check(facts)
        except GameError as error:
            raise GameError(f"{error}; {REMOVE if 'not support' in str(error) else REFETCH}") from None
        return _compile(facts, goal, _task(raw["grammar"]), version if text == "auto" else text)


def _version(grammar: str) -> str:
    found = [version for version, marks in _MARKS.items() if all(mark in grammar for mark in marks)]
    if len(found) != 1:
        raise GameError(f"its grammar has the wording of no known version ({', '.join(_MARKS)}); {REFETCH}")
    return found[0]


def _task(grammar: str) -> str:
    found = _TASK.search(grammar)
    try:
        return str(json.loads(found[1])) if found else ""
    except ValueError:
        raise GameError(f"its task sentence is not readable; {REFETCH}") from None


def _check(facts: Facts) -> None:
    """Everything the engine later looks up without asking."""
    if len(facts["atlocation"]) != 1:
        raise GameError(f"it places the agent {len(facts['atlocation'])} times instead of once")
    receptacles = {r for name in ("receptacletype", "receptacleatlocation") for r, _ in facts[name]}
    objects = {o for o, _ in facts["objecttype"]}
    if not receptacles:
        raise GameError("it has no receptacle")
    _once("receptacletype", facts, receptacles)
    _once("receptacleatlocation", facts, receptacles)
    _once("objecttype", facts, objects)
    _known("object", objects, (fact[0] for name in _OF_OBJECTS for fact in facts[name]))
    _known("object", objects, (vessel for _, vessel in facts["inreceptacleobject"]))
    _known("receptacle", receptacles, (r for _, r in facts["inreceptacle"]))
    _known("receptacle", receptacles, (fact[0] for name in ("openable", "opened") for fact in facts[name]))
    both = receptacles & objects
    if both:
        raise GameError(f"it says that {min(both)} is both object and receptacle")
    places = {place for _, place in facts["receptacleatlocation"]}
    start = facts["atlocation"][0][1]
    if start in places:
        raise GameError(f"its agent starts at a receptacle ({start}), which upstream's games never do")
    for word in sorted(receptacles | objects | places | {start}):
        if "_bar_" not in word or not _ID.fullmatch(word):
            raise GameError(f"its id {word!r} cannot be turned into a name")


_OF_OBJECTS = ("inreceptacle", "objectatlocation", "inreceptacleobject", "toggleable", "sliceable")


def _once(name: str, facts: Facts, wanted: set[str]) -> None:
    found = Counter(fact[0] for fact in facts[name])
    odd = min((subject for subject in wanted if found[subject] != 1), default=None)
    if odd is not None:
        raise GameError(f"its {odd} has {found[odd]} {name!r} facts instead of one")


def _known(what: str, known: set[str], used: Iterable[str]) -> None:
    odd = min(set(used) - known, default=None)
    if odd is not None:
        raise GameError(f"its {what} {odd} has no type")


def _compile(facts: Facts, goal: Goal, task: str, version: str) -> Game:
    def subjects(name: str) -> frozenset[str]:
        return frozenset(fact[0] for fact in facts[name])

    location_of = {r: place for r, place in facts["receptacleatlocation"]}
    receptacles = tuple(sorted(location_of))
    receptacles_at: dict[str, tuple[str, ...]] = {}
    for r in receptacles:
        receptacles_at[location_of[r]] = (*receptacles_at.get(location_of[r], ()), r)
    inside: dict[str, tuple[str, ...]] = {}
    for o, vessel in sorted(facts["inreceptacleobject"]):
        inside[vessel] = (*inside.get(vessel, ()), o)
    changeable = ("opened", "isclean", "ishot", "iscool", "issliced", "istoggled")
    initial: dict[str, frozenset[Any]] = {name: subjects(name) for name in changeable}
    initial |= {name: frozenset(facts[name]) for name in ("inreceptacle", "objectatlocation")}
    return Game(
        task=task,
        text_version=version,
        goal=goal,
        start=facts["atlocation"][0][1],
        names=_names({word for name in facts for fact in facts[name] for word in fact}),
        receptacles=receptacles,
        location_of=location_of,
        receptacles_at=receptacles_at,
        receptacle_type={r: t for r, t in facts["receptacletype"]},
        object_type={o: t for o, t in facts["objecttype"]},
        can_contain=frozenset((r, o) for r, o in facts["cancontain"]),
        openable=subjects("openable"),
        pickupable=subjects("pickupable"),
        cleanable=subjects("cleanable"),
        heatable=subjects("heatable"),
        coolable=subjects("coolable"),
        sliceable=subjects("sliceable"),
        toggleable=subjects("toggleable"),
        vessels=subjects("isreceptacleobject"),
        inside=inside,
        initial=initial,
    )


def _names(constants: Iterable[str]) -> dict[str, str]:
    """Displayed names. Numbers fall along the sorted ids: the last id of a kind is number 1."""
    counts: dict[str, int] = {}
    names: dict[str, str] = {}
    for word in sorted(constants, reverse=True):
        if "_bar_" in word:
            # sink_bar_..._bar_sinkbasin is shown as `sinkbasin`; bathtubbasins likewise
            kind = word.split("_bar_", 1)[0] + ("basin" if "basin" in word else "")
            counts[kind] = counts.get(kind, 0) + 1
            names[word] = f"{kind} {counts[kind]}"
    return names
