"""One hand-made home as an official game file, for the tests of the ALFWorld engine."""

from typing import Any

TASK = "Your task is to: put some apple on desk."

PLACES = {
    "Desk_bar_1": ("DeskType", "loc_bar_desk"),
    "Cabinet_bar_1": ("CabinetType", "loc_bar_cabinets"),
    "Cabinet_bar_2": ("CabinetType", "loc_bar_cabinets"),
    "Fridge_bar_1": ("FridgeType", "loc_bar_fridge"),
    "Microwave_bar_1": ("MicrowaveType", "loc_bar_microwave"),
    "Sink_bar_1_bar_SinkBasin": ("SinkBasinType", "loc_bar_sink"),
    "CounterTop_bar_1": ("CounterTopType", "loc_bar_sink"),
    "Bathtub_bar_1_bar_BathtubBasin": ("BathtubBasinType", "loc_bar_bath"),
}
"""By id: `cabinet 2`, `cabinet 1` share a location, so do `countertop 1` and `sinkbasin 1`."""

OPENABLE = ("Cabinet_bar_1", "Cabinet_bar_2", "Fridge_bar_1", "Microwave_bar_1")

THINGS = {
    "Apple_bar_1": ("AppleType", "Fridge_bar_1", "pickupable cleanable heatable coolable sliceable isCool"),
    "Apple_bar_2": ("AppleType", "CounterTop_bar_1", "pickupable cleanable heatable coolable sliceable"),
    "Knife_bar_1": ("KnifeType", "CounterTop_bar_1", "pickupable cleanable"),
    "Mug_bar_1": ("MugType", "Desk_bar_1", "pickupable cleanable heatable coolable isReceptacleObject"),
    "Pen_bar_1": ("PenType", "Desk_bar_1", "pickupable"),
    "DeskLamp_bar_1": ("DeskLampType", "Cabinet_bar_1", "toggleable"),
    "Statue_bar_1": ("StatueType", "Desk_bar_1", ""),
}
"""`apple 2` is in the fridge, `apple 1` on the countertop; the lamp is in `cabinet 2`."""

STORED = "(and {0}(objectType ?o {1}Type) (receptacleType ?r {2}Type) {3}(inReceptacle ?o ?r))"
GOALS = {
    "place": "(and (inReceptacle ?o ?r) (objectType ?o AppleType) (receptacleType ?r DeskType))",
    "clean": STORED.format("(cleanable ?o) ", "Apple", "Desk", "(isClean ?o) "),
    "heat": STORED.format("(heatable ?o) ", "Apple", "Desk", "(isHot ?o) "),
    "cool": STORED.format("(coolable ?o) ", "Apple", "Desk", "(isCool ?o) "),
}
LIGHT = """(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot DeskLampType)
    (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
    (exists (?o - object ?a - agent) (and (objectType ?o AppleType) (holds ?a ?o))))"""
TWO = """(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 AppleType)
    (receptacleType ?r DeskType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))
    (objectType ?o2 AppleType) (receptacleType ?r DeskType) (inReceptacle ?o2 ?r)))))))"""
PUT = {
    "2.1.1": ("put {o} in/on {r}", "lend"),
    "2.1.2": ("move {o} to {r}", "r"),
}


def goal(kind: str) -> str:
    """The goal of a kind, as upstream's files write it."""
    if kind in GOALS:
        return f"(and (exists (?r - receptacle) (exists (?o - object) {GOALS[kind]})))"
    return {"light": LIGHT, "two": TWO}[kind]


def home(kind: str = "place", version: str = "2.1.1", facts: str = "", without: str = "", **raw: Any) -> dict[str, Any]:
    """The JSON of a game file: the home above with more `facts`, without those that contain `without`."""
    lines = ["(atLocation agent1 loc_bar_middle)"]
    for r, (type_, place) in PLACES.items():
        lines += [f"(receptacleType {r} {type_})", f"(receptacleAtLocation {r} {place})"]
        lines += [f"(openable {r})"] * (r in OPENABLE)
    for o, (type_, r, traits) in THINGS.items():
        lines += [f"(objectType {o} {type_})", f"(inReceptacle {o} {r})", f"(objectAtLocation {o} {PLACES[r][1]})"]
        lines += [f"({trait} {o})" for trait in traits.split()]
    types = {type_ for type_, _ in PLACES.values()} - {"BathtubBasinType"}
    lines += [f"(canContain {r} {o})" for r in sorted(types) for o in ("AppleType", "KnifeType", "MugType")]
    kept = [line for line in lines if not without or without not in line]
    put, arrival = PUT[version]
    grammar = f'"rhs": "{TASK}"\n"rhs": "You arrive at {{{arrival}.name}}. #x#" template :: "{put}";'
    init = "\n".join(kept) + facts
    problem = f"(define (problem p) (:domain alfred) (:objects a - b) (:init {init}) (:goal {goal(kind)}))"
    return {"grammar": grammar, "pddl_problem": problem, "solvable": True, **raw}
