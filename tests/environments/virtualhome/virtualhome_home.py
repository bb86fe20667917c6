"""One hand-made home in upstream's JSON, and directed random plans in it, for the tests of the VirtualHome engine."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spa_bench.environments.virtualhome.engine import ARITY, World, admissible
from spa_bench.environments.virtualhome.graph import with_character

KITCHEN, BEDROOM, ANNA = 1, 2, 10
TABLE, FRIDGE, CHAIR, SINK, STOVE, BED, DESK, CLOSET, SOFA, BENCH = range(20, 30)
KNIFE, APPLE, CUP, MILK, WATER, BOOK, SHIRT, SOAP, PLATE, RADIO, TV, BOX, COMPUTER, KEYBOARD, GUEST, PEN = range(30, 46)
WALL, FACE, DOOR, CURTAIN, TWIN, MAT, LOST = range(50, 57)
NOWHERE = 999
"""No node has this id."""

Place = tuple[str, int] | None

THINGS: dict[int, tuple[str, str, Place, int, str, str]] = {
    # id: class, category, (relation, place), room, properties, states
    TABLE: ("table", "Furniture", None, KITCHEN, "SURFACES MOVABLE", "CLEAN"),
    FRIDGE: ("fridge", "Appliances", None, KITCHEN, "CAN_OPEN CONTAINERS HAS_SWITCH HAS_PLUG", "CLOSED OFF PLUGGED_IN"),
    CHAIR: ("chair", "Furniture", None, KITCHEN, "SITTABLE GRABBABLE MOVABLE", "CLEAN"),
    SINK: ("sink", "Furniture", None, KITCHEN, "RECIPIENT CONTAINERS", "DIRTY"),
    STOVE: ("stove", "Appliances", None, KITCHEN, "HAS_SWITCH HAS_PLUG", "OFF PLUGGED_OUT"),
    BED: ("bed", "Furniture", None, BEDROOM, "LIEABLE SITTABLE SURFACES", "CLEAN"),
    DESK: ("desk", "Furniture", None, BEDROOM, "SURFACES", "CLOSED"),
    CLOSET: ("closet", "Furniture", None, BEDROOM, "CAN_OPEN CONTAINERS", "OPEN"),
    SOFA: ("sofa", "Furniture", None, BEDROOM, "SITTABLE LIEABLE", "CLEAN"),
    BENCH: ("bench", "Furniture", None, BEDROOM, "SITTABLE LIEABLE", "CLEAN"),
    KNIFE: ("cutlery_knife", "placable_objects", ("ON", TABLE), KITCHEN, "GRABBABLE MOVABLE", "CLEAN"),
    APPLE: ("food_apple", "placable_objects", ("INSIDE", FRIDGE), KITCHEN, "GRABBABLE EATABLE CUTTABLE MOVABLE", ""),
    CUP: ("cup", "placable_objects", ("ON", PLATE), KITCHEN, "GRABBABLE RECIPIENT POURABLE MOVABLE", "DIRTY"),
    MILK: ("milk", "placable_objects", ("INSIDE", FRIDGE), KITCHEN, "GRABBABLE DRINKABLE POURABLE MOVABLE", ""),
    WATER: ("water", "placable_objects", ("INSIDE", SINK), KITCHEN, "DRINKABLE POURABLE", ""),
    BOOK: ("book", "placable_objects", ("ON", DESK), BEDROOM, "GRABBABLE READABLE MOVABLE", "CLOSED"),
    SHIRT: ("clothes_shirt", "placable_objects", ("INSIDE", CLOSET), BEDROOM, "GRABBABLE CLOTHES MOVABLE", "DIRTY"),
    SOAP: ("soap", "placable_objects", None, KITCHEN, "GRABBABLE MOVABLE CREAM", ""),
    PLATE: ("plate", "placable_objects", ("ON", TABLE), KITCHEN, "GRABBABLE SURFACES MOVABLE", "CLEAN"),
    RADIO: ("radio", "Electronics", ("INSIDE", CLOSET), BEDROOM, "HAS_SWITCH LOOKABLE GRABBABLE", "OFF"),
    TV: ("television", "Electronics", None, BEDROOM, "HAS_SWITCH HAS_PLUG LOOKABLE", "ON PLUGGED_IN"),
    BOX: ("box", "placable_objects", ("ON", BED), BEDROOM, "GRABBABLE CONTAINERS CAN_OPEN MOVABLE", "CLOSED"),
    COMPUTER: ("computer", "Electronics", ("ON", DESK), BEDROOM, "HAS_SWITCH LOOKABLE", "OFF"),
    KEYBOARD: ("keyboard", "Electronics", ("ON", DESK), BEDROOM, "GRABBABLE MOVABLE", ""),
    GUEST: ("woman", "placable_objects", None, BEDROOM, "PERSON", ""),
    PEN: ("pencil", "placable_objects", ("INSIDE", BOX), BEDROOM, "GRABBABLE MOVABLE", ""),
    WALL: ("wall", "Walls", None, KITCHEN, "", "CLEAN"),
    FACE: ("face", "placable_objects", None, KITCHEN, "BODY_PART", "DIRTY"),
    DOOR: ("door", "Doors", None, KITCHEN, "CAN_OPEN", "OPEN"),
    CURTAIN: ("curtain", "Decor", None, BEDROOM, "CAN_OPEN COVER_OBJECT", "CLOSED"),
    TWIN: ("curtain", "Decor", None, BEDROOM, "CAN_OPEN COVER_OBJECT", "CLOSED"),
    MAT: ("mat", "Decor", None, BEDROOM, "GRABBABLE SITTABLE", "CLEAN"),
}

FACING = ((SOFA, TV), (CHAIR, WALL), (TV, SOFA), (COMPUTER, CHAIR), (RADIO, BED))

Json = dict[str, Any]
Step = tuple[str, tuple[int, ...]]


def node(i: int, kind: str, category: str, properties: str = "", states: str = "") -> Json:
    return {
        "id": i,
        "class_name": kind,
        "category": category,
        "properties": properties.split(),
        "states": states.split(),
        "prefab_name": None,
        "bounding_box": None,
    }


def edge(a: int, relation: str, b: int) -> Json:
    return {"from_id": a, "relation_type": relation, "to_id": b}


def edges(a: int, relation: str, b: int, *more: Any) -> list[Json]:
    """edges(1, "ON", 2, 3, "INSIDE", 4) is two edges."""
    return [edge(a, relation, b), *(edges(*more) if more else [])]


def home(
    *, characters: int = 1, states: dict[int, str] | None = None, add: Sequence[Json] = (), without: Iterable[int] = ()
) -> Json:
    """The home; `states` replaces those of some nodes, `add` has further nodes and edges, `without` leaves nodes out.

    The character stands in the kitchen, close to nothing. Things in the same place are close to it, as in real graphs.
    """
    nodes = [node(KITCHEN, "kitchen", "Rooms"), node(BEDROOM, "bedroom", "Rooms")]
    links = edges(ANNA, "INSIDE", KITCHEN, DOOR, "BETWEEN", KITCHEN, DOOR, "BETWEEN", BEDROOM)
    nodes.append(node(ANNA, "character", "Characters"))
    for i, (kind, category, place, room, properties, having) in THINGS.items():
        nodes.append(node(i, kind, category, properties, having))
        links.append(edge(i, "INSIDE", room))
        if place is not None:
            links += edges(i, *place, i, "CLOSE", place[1], place[1], "CLOSE", i)
    links += [edge(a, "FACING", b) for a, b in FACING]
    links += edges(CURTAIN, "INSIDE", TWIN, TWIN, "INSIDE", CURTAIN)
    gone = set(without)
    data: Json = {
        "nodes": [item for item in nodes if item["id"] not in gone] + [{**item} for item in add if "id" in item],
        "edges": [item for item in links if not {item["from_id"], item["to_id"]} & gone]
        + [item for item in add if "id" not in item],
    }
    for item in data["nodes"]:
        if states is not None and item["id"] in states:
            item["states"] = states[item["id"]].split()
    for number in range(1, characters):
        data = with_character(data, KITCHEN, ANNA + number)
    return data


RECIPES: dict[str, Sequence[Sequence[Step]]] = {
    "CLOSE": [[("WALK", (CLOSET,)), ("OPEN", (CLOSET,)), ("CLOSE", (CLOSET,))]],
    "CUT": [
        [("WALK", (KNIFE,)), ("GRAB", (KNIFE,)), ("WALK", (FRIDGE,)), ("OPEN", (FRIDGE,)), ("CUT", (APPLE,))],
    ],
    "DRINK": [
        [("WALK", (FRIDGE,)), ("OPEN", (FRIDGE,)), ("GRAB", (MILK,)), ("DRINK", (MILK,))],
        [("WALK", (CUP,)), ("GRAB", (CUP,)), ("DRINK", (CUP,))],
    ],
    "DROP": [[("WALK", (SOAP,)), ("GRAB", (SOAP,)), ("WALK", (BEDROOM,)), ("DROP", (SOAP,))]],
    "EAT": [[("WALK", (FRIDGE,)), ("EAT", (APPLE,))]],
    "FIND": [[("WALK", (TABLE,)), ("FIND", (KNIFE,))]],
    "GRAB": [[("WALK", (PLATE,)), ("GRAB", (PLATE,)), ("WALK", (BED,)), ("PUTBACK", (PLATE, BED))]],
    "GREET": [[("WALK", (GUEST,)), ("GREET", (GUEST,))]],
    "LIE": [[("WALK", (BED,)), ("LIE", (BED,))]],
    "LOOKAT": [[("TURNTO", (TV,)), ("LOOKAT", (TV,))]],
    "MOVE": [[("WALK", (CHAIR,)), ("MOVE", (CHAIR,))]],
    "OPEN": [[("WALK", (FRIDGE,)), ("CLOSE", (FRIDGE,)), ("OPEN", (FRIDGE,))]],
    "PLUGIN": [[("WALK", (TV,)), ("SWITCHOFF", (TV,)), ("PLUGOUT", (TV,)), ("PLUGIN", (TV,))]],
    "PLUGOUT": [[("WALK", (STOVE,)), ("PLUGIN", (STOVE,)), ("PLUGOUT", (STOVE,))]],
    "POINTAT": [[("TURNTO", (BOOK,)), ("POINTAT", (BOOK,))]],
    "POUR": [
        [("WALK", (SINK,)), ("GRAB", (WATER,)), ("WALK", (CUP,)), ("POUR", (WATER, CUP))],
        [("WALK", (CUP,)), ("GRAB", (CUP,)), ("WALK", (SINK,)), ("POUR", (CUP, SINK))],
    ],
    "PULL": [[("WALK", (CURTAIN,)), ("PULL", (CURTAIN,))]],
    "PUSH": [[("WALK", (TABLE,)), ("PUSH", (TABLE,))]],
    "PUTBACK": [[("WALK", (KNIFE,)), ("GRAB", (KNIFE,)), ("WALK", (DESK,)), ("PUTBACK", (KNIFE, DESK))]],
    "PUTIN": [[("WALK", (BOOK,)), ("GRAB", (BOOK,)), ("WALK", (BOX,)), ("OPEN", (BOX,)), ("PUTIN", (BOOK, BOX))]],
    "PUTOBJBACK": [[("WALK", (BOOK,)), ("GRAB", (BOOK,)), ("READ", (BOOK,)), ("PUTOBJBACK", (BOOK,))]],
    "PUTOFF": [
        [("WALK", (CLOSET,)), ("OPEN", (CLOSET,)), ("GRAB", (SHIRT,)), ("PUTON", (SHIRT,)), ("PUTOFF", (SHIRT,))],
    ],
    "PUTON": [
        [("WALK", (CLOSET,)), ("OPEN", (CLOSET,)), ("GRAB", (SHIRT,)), ("PUTON", (SHIRT,)), ("WALK", (KITCHEN,))],
        [("WALK", (SHIRT,)), ("GRAB", (SHIRT,)), ("PUTON", (SHIRT,))],
    ],
    "READ": [[("WALK", (BOOK,)), ("GRAB", (BOOK,)), ("READ", (BOOK,))]],
    "RELEASE": [[("WALK", (KEYBOARD,)), ("GRAB", (KEYBOARD,)), ("WALK", (SINK,)), ("RELEASE", (KEYBOARD,))]],
    "RINSE": [[("WALK", (CUP,)), ("RINSE", (CUP,))]],
    "RUN": [[("RUN", (BEDROOM,))], [("RUN", (TABLE,))]],
    "SCRUB": [[("WALK", (SINK,)), ("SCRUB", (SINK,))]],
    "SIT": [[("WALK", (SOFA,)), ("SIT", (SOFA,))], [("WALK", (BED,)), ("LIE", (BED,)), ("SIT", (BED,))]],
    "SLEEP": [[("WALK", (BED,)), ("LIE", (BED,)), ("SLEEP", ())]],
    "SQUEEZE": [[("WALK", (SOAP,)), ("GRAB", (SOAP,)), ("SQUEEZE", (SOAP,))]],
    "STANDUP": [[("WALK", (CHAIR,)), ("SIT", (CHAIR,)), ("STANDUP", ())]],
    "SWITCHOFF": [[("WALK", (TV,)), ("SWITCHON", (TV,)), ("SWITCHOFF", (TV,))]],
    "SWITCHON": [[("WALK", (COMPUTER,)), ("SWITCHON", (COMPUTER,)), ("SWITCHOFF", (COMPUTER,))]],
    "TOUCH": [[("WALK", (CLOSET,)), ("TOUCH", (RADIO,))]],
    "TYPE": [[("WALK", (KEYBOARD,)), ("TYPE", (KEYBOARD,))]],
    "WAKEUP": [[("WALK", (SOFA,)), ("LIE", (SOFA,)), ("WAKEUP", ())]],
    "WASH": [[("WALK", (FACE,)), ("WASH", (FACE,))]],
    "WATCH": [
        [("WALK", (SOFA,)), ("SIT", (SOFA,)), ("WATCH", (TV,))],
        [("WALK", (CLOSET,)), ("CLOSE", (CLOSET,)), ("TURNTO", (RADIO,)), ("WATCH", (RADIO,))],
    ],
    "WIPE": [[("WALK", (SOAP,)), ("GRAB", (SOAP,)), ("WALK", (TABLE,)), ("WIPE", (TABLE,))]],
}
"""For actions that rarely succeed by chance: what leads to them."""


class Director:
    """Chooses the next action so that all of them succeed often: the rarest so far by recipe, or any by chance."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.done: Counter[str] = Counter()
        """How often each action was executed; whoever executes them counts."""
        self.tried: Counter[str] = Counter()
        """How often the recipe of each action was begun; some never succeed."""
        self.script: list[Step] = []

    def step(self, world: World, character: int) -> Step:
        """What to try now: half of the time a recipe, else something admissible, else anything."""
        if not self.script:
            self.script = (
                [*self._recipe(world, character)] if self.rng.random() < 0.3 else [self._any(world, character)]
            )
        return self.script.pop(0)

    def _recipe(self, world: World, character: int) -> Iterator[Step]:
        if world.states(character) & {"SITTING", "LYING"}:
            yield "STANDUP", ()
        for held in world.held(character):
            yield "DROP", (held,)
        rarest = min(RECIPES, key=lambda action: (self.done[action] + self.tried[action], action))
        self.tried[rarest] += 1
        yield from self.rng.choice(RECIPES[rarest])

    def _any(self, world: World, character: int) -> Step:
        nodes = world.graph.nodes
        if self.rng.random() < 0.7:
            steps = admissible(world, character, nodes)
            action = self.rng.choice(sorted({action for action, _ in steps}))
            return self.rng.choice([step for step in steps if step[0] == action])
        action = self.rng.choice(list(ARITY))
        return action, tuple(self.rng.choice([self.rng.choice(nodes)] * 4 + [NOWHERE]) for _ in range(ARITY[action]))
