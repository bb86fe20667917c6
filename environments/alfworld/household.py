"""What the built-in homes are made of: receptacles, objects, and where things are kept.

Separate from the generator because it is data: the vocabulary is that of household robots' benchmarks, the tables of
what belongs where are ours. Changing a table changes the generated tasks: raise `generate.VERSION` with it.
"""

from __future__ import annotations

from dataclasses import dataclass

OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"})
"""Receptacles that start closed and have to be opened."""


COMMON = frozenset({"Cabinet", "Drawer", "Shelf", "GarbageCan", "DiningTable", "ArmChair", "CoffeeTable", "TVStand"})
"""The receptacles that rooms of difficulty `default` may have beside the fixed ones."""


@dataclass(frozen=True)
class Thing:
    """One type of object."""

    places: tuple[str, ...]
    """Receptacles it may be put into; it also starts in one of them."""
    traits: str = ""
    """Letters: k can be cleaned, h heated, c cooled, s sliced, r holds other things, t can be switched on."""
    hard: bool = False
    """Only occurs at difficulty `hard`."""


@dataclass(frozen=True)
class Room:
    """One kind of room."""

    first_scene: int
    """Scene numbers count from here."""
    fixed: tuple[str, ...]
    """Receptacles that every such room has."""
    extra: tuple[tuple[str, int], ...]
    """Receptacles that come on top, with the largest number of each."""
    things: tuple[str, ...]
    """Objects that lie about in it."""


def _places(names: str) -> tuple[str, ...]:
    return tuple(names.split())


_FOOD = _places("CounterTop DiningTable Fridge Microwave SinkBasin GarbageCan")
_DISH = _places("CounterTop DiningTable Cabinet Shelf SinkBasin Fridge Microwave")
_CUTLERY = _places("CounterTop DiningTable Drawer SinkBasin")
_PAPER = _places("Bed Desk Dresser Drawer Shelf SideTable Sofa CoffeeTable ArmChair DiningTable TVStand")
_SMALL = _places("Bed Desk Dresser Drawer Shelf SideTable Sofa CoffeeTable ArmChair Safe DiningTable TVStand Cabinet")
_WASH = _places("CounterTop Cabinet Drawer SinkBasin BathtubBasin Toilet Shelf GarbageCan Cart")

THINGS: dict[str, Thing] = {
    "Apple": Thing(_FOOD, "khcs"),
    "Potato": Thing(_FOOD, "khcs"),
    "Tomato": Thing(_FOOD, "khcs", hard=True),
    "Egg": Thing(_FOOD, "khc", hard=True),
    "Bread": Thing(_FOOD, "hcs", hard=True),
    "Lettuce": Thing(_places("CounterTop DiningTable Fridge SinkBasin GarbageCan"), "kcs", hard=True),
    "Mug": Thing((*_DISH, "CoffeeMachine"), "khcr"),
    "Cup": Thing(_DISH, "khcr", hard=True),
    "Plate": Thing(_DISH, "khcr"),
    "Bowl": Thing(_DISH, "khcr", hard=True),
    "Pan": Thing(_places("CounterTop DiningTable StoveBurner Cabinet SinkBasin Fridge"), "kcr", hard=True),
    "Pot": Thing(_places("CounterTop DiningTable StoveBurner Cabinet SinkBasin Fridge Shelf"), "kcr", hard=True),
    "Kettle": Thing(_places("CounterTop DiningTable StoveBurner Cabinet Shelf SinkBasin"), "k", hard=True),
    "Spoon": Thing(_CUTLERY, "k", hard=True),
    "Fork": Thing(_CUTLERY, "k", hard=True),
    "Knife": Thing(_CUTLERY, "k", hard=True),
    "ButterKnife": Thing(_CUTLERY, "k", hard=True),
    "Ladle": Thing((*_CUTLERY, "Cabinet"), "k", hard=True),
    "Spatula": Thing(_CUTLERY, "k", hard=True),
    "DishSponge": Thing(_places("CounterTop DiningTable Cabinet Drawer SinkBasin GarbageCan Cart"), "k", hard=True),
    "SaltShaker": Thing(_places("CounterTop DiningTable Cabinet Drawer Shelf SideTable"), hard=True),
    "PepperShaker": Thing(_places("CounterTop DiningTable Cabinet Drawer Shelf SideTable"), hard=True),
    "WineBottle": Thing(_places("CounterTop DiningTable Cabinet Fridge Shelf GarbageCan"), "c", hard=True),
    "Book": Thing((*_PAPER, "Cabinet")),
    "Newspaper": Thing((*_PAPER, "GarbageCan"), hard=True),
    "Laptop": Thing(_places("Bed Desk Dresser Sofa CoffeeTable ArmChair DiningTable SideTable TVStand")),
    "Pillow": Thing(_places("Bed Sofa ArmChair")),
    "KeyChain": Thing(_SMALL),
    "CreditCard": Thing(_SMALL, hard=True),
    "CellPhone": Thing(_SMALL, hard=True),
    "RemoteControl": Thing(_SMALL, hard=True),
    "Watch": Thing(_SMALL, hard=True),
    "Pen": Thing((*_PAPER, "GarbageCan"), hard=True),
    "Pencil": Thing((*_PAPER, "GarbageCan"), hard=True),
    "CD": Thing((*_SMALL, "GarbageCan"), hard=True),
    "AlarmClock": Thing(_places("Bed Desk Dresser Shelf SideTable TVStand"), hard=True),
    "Box": Thing(_places("Bed Desk Dresser Sofa CoffeeTable ArmChair DiningTable SideTable TVStand"), "r", hard=True),
    "Vase": Thing(_places("Desk Dresser Shelf SideTable CoffeeTable DiningTable TVStand Safe Cabinet"), hard=True),
    "Statue": Thing(_places("Desk Dresser Shelf SideTable CoffeeTable DiningTable TVStand Safe"), hard=True),
    "TissueBox": Thing((*_PAPER, "Toilet", "CounterTop", "Cart"), hard=True),
    "SoapBar": Thing(_WASH, "k", hard=True),
    "SoapBottle": Thing((*_WASH, "DiningTable"), hard=True),
    "Cloth": Thing(_WASH, "k", hard=True),
    "SprayBottle": Thing(_WASH, hard=True),
    "ToiletPaper": Thing((*_WASH, "ToiletPaperHanger"), hard=True),
    "Candle": Thing((*_WASH, "Desk", "Dresser", "SideTable", "CoffeeTable"), hard=True),
    "DeskLamp": Thing(_places("Desk Dresser SideTable Shelf CoffeeTable TVStand"), "t"),
}

_KITCHEN_THINGS = _places(
    "Apple Potato Tomato Egg Bread Lettuce Mug Cup Plate Bowl Pan Pot Kettle Spoon Fork Knife ButterKnife Ladle Spatula"
    " DishSponge SaltShaker PepperShaker WineBottle"
)
_LIVING_THINGS = _places(
    "Book Newspaper Laptop Pillow KeyChain CreditCard CellPhone RemoteControl Watch Pen Box Vase Statue TissueBox"
)
_BED_THINGS = _places("Book Laptop Pillow KeyChain CreditCard CellPhone Pen Pencil CD AlarmClock Box Watch Vase")
_BATH_THINGS = _places("SoapBar SoapBottle Cloth SprayBottle ToiletPaper Candle TissueBox DishSponge")

ROOMS: dict[str, Room] = {
    "kitchen": Room(
        1,
        _places("Fridge Microwave SinkBasin CounterTop"),
        (
            ("Cabinet", 20),
            ("Drawer", 10),
            ("StoveBurner", 4),
            ("Shelf", 4),
            ("CounterTop", 2),
            ("CoffeeMachine", 1),
            ("DiningTable", 1),
            ("GarbageCan", 1),
            ("Toaster", 1),
        ),
        _KITCHEN_THINGS,
    ),
    "living": Room(
        201,
        _places("Sofa SideTable"),
        (
            ("Drawer", 12),
            ("Cabinet", 8),
            ("Shelf", 6),
            ("ArmChair", 2),
            ("CoffeeTable", 1),
            ("DiningTable", 1),
            ("Dresser", 1),
            ("Safe", 1),
            ("SideTable", 2),
            ("TVStand", 1),
        ),
        _LIVING_THINGS,
    ),
    "bedroom": Room(
        301,
        _places("Bed Desk"),
        (
            ("Drawer", 15),
            ("Shelf", 8),
            ("Cabinet", 6),
            ("SideTable", 3),
            ("ArmChair", 2),
            ("Dresser", 1),
            ("GarbageCan", 1),
            ("LaundryHamper", 1),
            ("Safe", 1),
        ),
        _BED_THINGS,
    ),
    "bathroom": Room(
        401,
        _places("SinkBasin Toilet"),
        (
            ("Cabinet", 12),
            ("Drawer", 8),
            ("Shelf", 4),
            ("TowelHolder", 2),
            ("BathtubBasin", 1),
            ("Cart", 1),
            ("CounterTop", 1),
            ("GarbageCan", 1),
            ("ToiletPaperHanger", 1),
        ),
        _BATH_THINGS,
    ),
}
