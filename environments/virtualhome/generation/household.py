"""What the generator knows about homes: rooms and their furniture, small things and where they belong.

Tables only. Class names, categories and properties are VirtualHome's own, so that generated homes and official ones
speak of the same things; what may lie where, and what is done with it, is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CLASSES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("kitchen", "bathroom", "bedroom", "living_room", "home_office"), ("Rooms", "")),
    "character": ("Characters", ""),
    "door": ("Doors", "CAN_OPEN"),
    "floor": ("Floor", "SURFACES"),
    "light": ("Electronics", "HAS_SWITCH HAS_PLUG"),
    # furniture and devices
    "bathroom_cabinet": ("Furniture", "SURFACES CAN_OPEN CONTAINERS"),
    "bathroom_counter": ("Furniture", "SURFACES"),
    "bathtub": ("Furniture", "SITTABLE LIEABLE"),
    "bed": ("Furniture", "SURFACES SITTABLE LIEABLE"),
    "bookshelf": ("Furniture", "SURFACES CAN_OPEN CONTAINERS"),
    "chair": ("Furniture", "SURFACES GRABBABLE SITTABLE MOVABLE"),
    "closet": ("Furniture", "CAN_OPEN CONTAINERS"),
    "coffe_maker": ("Appliances", "RECIPIENT CAN_OPEN HAS_SWITCH CONTAINERS HAS_PLUG MOVABLE"),
    "coffee_table": ("Furniture", "SURFACES MOVABLE"),
    "computer": ("Electronics", "HAS_SWITCH LOOKABLE"),
    "couch": ("Furniture", "SURFACES SITTABLE LIEABLE MOVABLE"),
    "desk": ("Furniture", "SURFACES CAN_OPEN MOVABLE"),
    "dishwasher": ("Appliances", "CAN_OPEN HAS_SWITCH CONTAINERS"),
    "dresser": ("Furniture", "CAN_OPEN CONTAINERS"),
    "faucet": ("Furniture", "HAS_SWITCH"),
    "filing_cabinet": ("Furniture", "SURFACES CAN_OPEN CONTAINERS"),
    "floor_lamp": ("Lamps", "HAS_SWITCH MOVABLE"),
    "fridge": ("Appliances", "CAN_OPEN HAS_SWITCH CONTAINERS HAS_PLUG"),
    "garbage_can": ("Furniture", "CAN_OPEN CONTAINERS MOVABLE"),
    "kitchen_cabinet": ("Furniture", "SURFACES CAN_OPEN CONTAINERS"),
    "kitchen_counter": ("Furniture", "SURFACES"),
    "lamp": ("Lamps", "HAS_SWITCH HAS_PLUG"),
    "microwave": ("Appliances", "CAN_OPEN HAS_SWITCH CONTAINERS HAS_PLUG"),
    "nightstand": ("Furniture", "SURFACES CAN_OPEN CONTAINERS"),
    "oven": ("Appliances", "CAN_OPEN HAS_SWITCH CONTAINERS HAS_PLUG"),
    "printer": ("Electronics", "CAN_OPEN HAS_SWITCH CONTAINERS HAS_PLUG"),
    "radio": ("Electronics", "GRABBABLE HAS_SWITCH HAS_PLUG MOVABLE"),
    "sink": ("Furniture", "RECIPIENT CONTAINERS"),
    "sofa": ("Furniture", "SURFACES SITTABLE LIEABLE MOVABLE"),
    "stove": ("Appliances", "SURFACES CAN_OPEN HAS_SWITCH"),
    "table": ("Furniture", "SURFACES MOVABLE"),
    "television": ("Electronics", "HAS_SWITCH LOOKABLE HAS_PLUG"),
    "toaster": ("Appliances", "HAS_SWITCH CONTAINERS HAS_PLUG MOVABLE"),
    "toilet": ("Furniture", "SITTABLE CAN_OPEN CONTAINERS"),
    "towel_rack": ("Furniture", "SURFACES GRABBABLE MOVABLE"),
    "tvstand": ("Furniture", "SURFACES"),
    "washing_machine": ("Appliances", "RECIPIENT CAN_OPEN HAS_SWITCH CONTAINERS HAS_PLUG"),
    # small things; upstream spells the category so
    "book": ("placable_objects", "GRABBABLE CUTTABLE CAN_OPEN READABLE HAS_PAPER MOVABLE"),
    "bowl": ("placable_objects", "GRABBABLE RECIPIENT MOVABLE"),
    "clothes_pants": ("placable_objects", "GRABBABLE HANGABLE CLOTHES MOVABLE"),
    "clothes_shirt": ("placable_objects", "GRABBABLE HANGABLE CLOTHES MOVABLE"),
    "clothes_socks": ("placable_objects", "GRABBABLE HANGABLE CLOTHES MOVABLE"),
    "cup": ("placable_objects", "GRABBABLE RECIPIENT POURABLE MOVABLE"),
    "food_apple": ("placable_objects", "GRABBABLE EATABLE CUTTABLE MOVABLE"),
    "food_bread": ("placable_objects", "GRABBABLE EATABLE CUTTABLE MOVABLE"),
    "food_carrot": ("placable_objects", "GRABBABLE EATABLE CUTTABLE MOVABLE"),
    "food_chicken": ("placable_objects", "GRABBABLE EATABLE CUTTABLE MOVABLE"),
    "food_egg": ("placable_objects", "GRABBABLE EATABLE CUTTABLE MOVABLE"),
    "food_pizza": ("placable_objects", "GRABBABLE EATABLE CUTTABLE MOVABLE"),
    "fork": ("placable_objects", "GRABBABLE MOVABLE"),
    "fryingpan": ("placable_objects", "GRABBABLE RECIPIENT MOVABLE"),
    "glass": ("placable_objects", "GRABBABLE RECIPIENT POURABLE MOVABLE"),
    "juice": ("placable_objects", "GRABBABLE DRINKABLE POURABLE MOVABLE"),
    "magazine": ("placable_objects", "GRABBABLE CAN_OPEN READABLE HAS_PAPER MOVABLE"),
    "milk": ("placable_objects", "GRABBABLE DRINKABLE POURABLE CAN_OPEN MOVABLE"),
    "newspaper": ("placable_objects", "GRABBABLE CAN_OPEN READABLE COVER_OBJECT HAS_PAPER MOVABLE"),
    "notebook": ("placable_objects", "GRABBABLE CUTTABLE CAN_OPEN READABLE HAS_PAPER MOVABLE"),
    "pajamas": ("placable_objects", "GRABBABLE CLOTHES MOVABLE"),
    "pen": ("placable_objects", "GRABBABLE MOVABLE"),
    "phone": ("placable_objects", "GRABBABLE HAS_SWITCH HAS_PLUG MOVABLE"),
    "pillow": ("placable_objects", "GRABBABLE MOVABLE"),
    "plate": ("placable_objects", "SURFACES GRABBABLE RECIPIENT MOVABLE"),
    "pot": ("placable_objects", "GRABBABLE RECIPIENT CAN_OPEN MOVABLE"),
    "remote_control": ("placable_objects", "GRABBABLE HAS_SWITCH MOVABLE"),
    "soap": ("placable_objects", "GRABBABLE MOVABLE CREAM"),
    "tooth_paste": ("placable_objects", "GRABBABLE POURABLE CAN_OPEN MOVABLE CREAM"),
    "toothbrush": ("placable_objects", "GRABBABLE RECIPIENT MOVABLE"),
    "towel": ("placable_objects", "GRABBABLE COVER_OBJECT MOVABLE"),
    "toy": ("placable_objects", "GRABBABLE MOVABLE"),
}
"""Class -> (category, properties)."""

SURFACES = frozenset(
    {
        *("bathroom_counter", "bed", "bookshelf", "coffee_table", "couch", "desk", "kitchen_counter", "nightstand"),
        *("sofa", "stove", "table", "towel_rack", "tvstand"),
    }
)
"""Places that things lie on; in all other places they lie inside."""

STANDS_ON: Mapping[str, tuple[str, ...]] = {
    "faucet": ("kitchen_counter", "bathroom_counter"),
    "microwave": ("kitchen_counter",),
    "toaster": ("kitchen_counter",),
    "coffe_maker": ("kitchen_counter",),
    "television": ("tvstand",),
    "computer": ("desk",),
    "lamp": ("nightstand",),
    "radio": ("bookshelf", "coffee_table"),
}
"""Devices that stand on a piece of furniture of their room, where it has one."""

UNSWITCHED = frozenset({"fridge", "phone", "remote_control"})
"""Have a switch, and neither ON nor OFF, as many fridges of the real scenes: nothing is asked of their switch."""

DOORED = frozenset({"microwave", "oven", "dishwasher", "washing_machine"})
"""Devices that are to be closed before they are switched on."""

SEATS: Mapping[str, int] = {"sofa": 4, "couch": 4, "bed": 4, "chair": 1}
"""Where one sits -> how many things and people may be on it."""
LYING_PLACES = 3
"""How many may be on a bed on which one lies."""


@dataclass(frozen=True)
class Room:
    """A sort of room. Layouts of `unseen` are those of `valid_unseen` alone."""

    fixed: tuple[str, ...]
    """Furniture that every room of the sort has."""
    seen: tuple[tuple[str, ...], ...]
    unseen: tuple[tuple[str, ...], ...]
    things: tuple[str, ...]
    """Small things that are found in such a room."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _layouts(*texts: str) -> tuple[tuple[str, ...], ...]:
    return tuple(_words(text) for text in texts)


ROOMS: Mapping[str, Room] = {
    "kitchen": Room(
        fixed=("kitchen_counter", "sink", "faucet", "fridge"),
        seen=_layouts(
            "microwave kitchen_cabinet dishwasher table chair",
            "stove kitchen_cabinet toaster table",
            "microwave stove kitchen_cabinet coffe_maker",
            "oven kitchen_cabinet dishwasher garbage_can",
        ),
        unseen=_layouts("stove microwave dishwasher table", "oven toaster kitchen_cabinet kitchen_cabinet chair"),
        things=_words(
            "plate bowl cup glass fork fryingpan pot milk juice food_apple food_bread food_carrot food_chicken "
            "food_egg food_pizza newspaper"
        ),
    ),
    "bathroom": Room(
        fixed=("toilet", "sink", "faucet"),
        seen=_layouts(
            "bathroom_counter bathroom_cabinet towel_rack",
            "bathroom_counter bathroom_cabinet washing_machine",
            "bathtub bathroom_counter towel_rack washing_machine",
        ),
        unseen=_layouts("bathroom_cabinet towel_rack washing_machine", "bathtub bathroom_counter bathroom_cabinet"),
        things=("towel", "soap", "toothbrush", "tooth_paste", "clothes_socks"),
    ),
    "bedroom": Room(
        fixed=("bed",),
        seen=_layouts(
            "nightstand dresser lamp",
            "closet desk chair computer",
            "nightstand closet bookshelf lamp",
            "dresser desk chair",
        ),
        unseen=_layouts("nightstand nightstand closet lamp", "dresser bookshelf desk chair"),
        things=_words("pillow book magazine phone clothes_shirt clothes_pants clothes_socks pajamas toy cup"),
    ),
    "living_room": Room(
        fixed=("sofa", "tvstand", "television"),
        seen=_layouts("coffee_table bookshelf", "coffee_table floor_lamp radio", "bookshelf table chair"),
        unseen=_layouts("coffee_table couch radio bookshelf", "table floor_lamp"),
        things=_words("remote_control book magazine newspaper pillow toy glass cup plate phone"),
    ),
    "home_office": Room(
        fixed=("desk", "computer", "chair"),
        seen=_layouts("filing_cabinet bookshelf", "couch bookshelf printer", "filing_cabinet printer"),
        unseen=_layouts("couch filing_cabinet", "bookshelf bookshelf printer"),
        things=_words("book notebook pen phone magazine glass"),
    ),
}


@dataclass(frozen=True)
class Thing:
    """A sort of small thing."""

    places: tuple[str, ...]
    """Classes of places where it may lie, and be put."""
    uses: str = ""
    """`s` washed in the sink, `d` in the dishwasher, `l` in the washing machine; `c` cooked in microwave and oven,
    `t` in the toaster, `v` in a vessel on the stove, `p` is such a vessel; `k` drunk, `r` read."""
    sink: str = "kitchen"
    """The room whose sink is meant."""


def _thing(places: str, uses: str = "", sink: str = "kitchen") -> Thing:
    return Thing(_words(places), uses, sink)


THINGS: Mapping[str, Thing] = {
    "book": _thing("bookshelf desk nightstand coffee_table table bed", "r"),
    "bowl": _thing("kitchen_counter kitchen_cabinet table sink", "sd"),
    "clothes_pants": _thing("dresser closet bed", "l"),
    "clothes_shirt": _thing("dresser closet bed", "l"),
    "clothes_socks": _thing("dresser closet bed bathroom_counter", "l"),
    "cup": _thing("kitchen_counter kitchen_cabinet table sink desk nightstand coffee_table", "sdk"),
    "food_apple": _thing("fridge kitchen_counter table"),
    "food_bread": _thing("kitchen_cabinet kitchen_counter table", "t"),
    "food_carrot": _thing("fridge kitchen_counter sink", "cv"),
    "food_chicken": _thing("fridge kitchen_counter", "cv"),
    "food_egg": _thing("fridge kitchen_counter", "v"),
    "food_pizza": _thing("fridge kitchen_counter table", "c"),
    "fork": _thing("kitchen_counter table sink", "sd"),
    "fryingpan": _thing("stove kitchen_cabinet kitchen_counter sink", "sp"),
    "glass": _thing("kitchen_counter kitchen_cabinet table sink desk coffee_table", "sdk"),
    "juice": _thing("fridge kitchen_counter table", "k"),
    "magazine": _thing("bookshelf nightstand coffee_table sofa couch desk", "r"),
    "milk": _thing("fridge kitchen_counter table", "k"),
    "newspaper": _thing("table coffee_table sofa kitchen_counter garbage_can", "r"),
    "notebook": _thing("desk bookshelf filing_cabinet", "r"),
    "pajamas": _thing("bed closet dresser", "l"),
    "pen": _thing("desk filing_cabinet nightstand"),
    "phone": _thing("desk nightstand coffee_table"),
    "pillow": _thing("bed sofa couch closet"),
    "plate": _thing("kitchen_counter kitchen_cabinet table sink coffee_table", "sd"),
    "pot": _thing("stove kitchen_cabinet kitchen_counter sink", "sp"),
    "remote_control": _thing("coffee_table tvstand sofa couch"),
    "soap": _thing("bathroom_counter bathroom_cabinet sink", sink="bathroom"),
    "tooth_paste": _thing("bathroom_counter bathroom_cabinet"),
    "toothbrush": _thing("bathroom_counter bathroom_cabinet"),
    "towel": _thing("towel_rack bathroom_cabinet bathtub closet", "l"),
    "toy": _thing("bed closet bookshelf sofa"),
}

NEVER_FIRST = frozenset({"garbage_can", "bathtub"})
"""Places where things are put, and never lie at the start."""


@dataclass(frozen=True)
class Difficulty:
    """How large homes and tasks are; each pair is the smallest and the largest number."""

    rooms: tuple[int, int]
    """The kitchen among them."""
    things: tuple[int, int]
    """Small things for each room."""
    open: float
    """Chance that a container is open at the start."""
    closing: float
    """Chance that a container is to be closed after something was put inside."""
    chores: Mapping[str, tuple[int, int]]
    """Kind of task -> number of its chores, where that is not always one. Nobody can fetch more than two things."""


DIFFICULTIES: Mapping[str, Difficulty] = {
    "default": Difficulty(rooms=(2, 2), things=(2, 4), open=0.6, closing=0.2, chores={"tidy": (2, 2)}),
    "hard": Difficulty(
        rooms=(3, 4),
        things=(4, 6),
        open=0.15,
        closing=0.5,
        chores={"fetch": (1, 2), "switch": (2, 4), "wash": (1, 3), "cook": (1, 2), "tidy": (3, 6)},
    ),
}

HELD_OUT: Mapping[str, frozenset[tuple[str, str]]] = {
    "switch": frozenset({("light", "ON"), ("television", "OFF"), ("computer", "ON"), ("microwave", "ON")}),
    "wash": frozenset(
        {
            *(("cup", "sink"), ("fork", "sink"), ("bowl", "dishwasher"), ("plate", "dishwasher")),
            *(("clothes_shirt", "washing_machine"), ("pajamas", "washing_machine")),
        }
    ),
    "cook": frozenset({("food_chicken", "microwave"), ("food_egg", "fryingpan"), ("food_carrot", "pot")})
    | {("food_pizza", "oven")},
    "relax": frozenset({("book", "sofa"), ("magazine", "bed"), ("notebook", "chair"), ("newspaper", "chair")})
    | {("cup", "chair"), ("glass", "sofa"), ("juice", "bed"), ("milk", "sofa")},
}
"""Kind -> (thing, place) that only `valid_unseen` has, for kinds with few of them: each verb stays in `train`."""
HELD_OUT_SHARE = 5
"""Of the combinations of other kinds one in so many, drawn by hash, is held out."""
