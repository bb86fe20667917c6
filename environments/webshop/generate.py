"""Built-in shops: products and instructions drawn from a seed, written as official JSON files, so that one build,
loader and engine serve both.

A shop consists of families. A family is one product that somebody is sent out for, and decoys with the same words in
their title, each of which is wrong in one way: too dear (seen on the results page), without the wanted option (seen on
its own page), or without an attribute that only the features page tells. The same parameters give the same bytes on
every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

from spa_bench.core import UserError
from spa_bench.environments.dice import Dice, unchanged
from spa_bench.environments.webshop.build import build
from spa_bench.environments.webshop.stock import BRANDS, DEPARTMENTS, OPTIONS, QUALITIES
from spa_bench.files import cache_entry, cache_root

VERSION = 1
"""Raised with every change of what is generated."""

FROZEN = {
    1000: "fde1dd52d5f1d6a744e4236eecd9ecb12420474a8f88ccca8936a28c77772b8f",
    1300: "26de46544513814ce10c51447f5d289b8f74dac7c78bc535563db1eb921c094a",
}
"""SHA-256 of the instructions of default shops by the number of products: the same on every machine."""

ITEMS, ATTRIBUTES, HUMAN = "items_shuffle.json", "items_ins_v2.json", "items_human_ins.json"
CATALOGUE = "catalogue"

VARIANTS = 5
"""Instructions that send somebody to one product: other options, other words."""

Fault = Literal["dear", "option", "hidden"]
"""What is wrong with a decoy."""

SURCHARGE = (45, 120)
"""What a dear decoy costs more, in dollars. A price limit is at most 40 dollars above the price (`goals`)."""


@dataclass(frozen=True)
class Difficulty:
    """What makes the way of the searching expert longer."""

    options: tuple[int, int]
    """Fewest and most options that products have."""
    values: tuple[int, int]
    """Fewest and most values of each."""
    decoys: tuple[int, ...]
    """Numbers of decoys, each as likely as the others."""
    faults: tuple[Fault, ...]
    """What is wrong with them, each as likely as the others."""
    hidden: float
    """Chance of an instruction to ask for the attribute on the features page without need."""


DIFFICULTIES = {
    "default": Difficulty((0, 2), (2, 3), (0, 0, 1, 2), get_args(Fault), 0.1),
    "hard": Difficulty((1, 3), (3, 5), (1, 2, 3, 5, 8), get_args(Fault), 0.5),
}


@dataclass(frozen=True)
class Item:
    """One product."""

    asin: str
    brand: str
    good: str
    department: str
    visible: tuple[str, ...]
    """Attributes in the title."""
    hidden: str
    """The attribute that only the features page tells."""
    options: tuple[tuple[str, tuple[str, ...]], ...]
    cents: int

    @property
    def title(self) -> str:
        """As shown in the results."""
        return " ".join([self.brand, *self.visible, self.good])


@dataclass(frozen=True)
class Wish:
    """One instruction, without the price limit."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...]


def ensure(seed: int = 0, products: int = 1000, difficulty: str = "default") -> Path:
    """The folder of a shop, generated the first time (some seconds) and kept in the user's cache.

    `products` counts those that somebody is sent out for; each gets five instructions, and decoys around it.
    `difficulty`:

    - `default`: up to two options and two decoys. The searching expert needs 3 to 12 steps.
    - `hard`: one to three options of more values, and 1 to 8 decoys, many of which have to be opened.

    The folder holds the three official files and the built `catalogue`. Two processes may call it at once. Raises
    UserError for parameters that it does not know.
    """
    if difficulty not in DIFFICULTIES:
        raise UserError(f"no difficulty {difficulty!r}: use one of {', '.join(DIFFICULTIES)}")
    if products < 1:
        raise UserError(f"products={products}: a shop needs at least one")
    name = f"{difficulty}-seed{seed}-{products}-v{VERSION}-{_fingerprint()}"
    with cache_entry(cache_root(), "webshop", name, durable=False) as entry:
        if not entry.ready:
            scratch = entry.build
            write(scratch, seed, products, difficulty)
            human = scratch / HUMAN
            unchanged(human, FROZEN.get(products) if (seed, difficulty) == (0, "default") else None)
            build(scratch / ITEMS, scratch / ATTRIBUTES, scratch / CATALOGUE, human=human, tagger="approximate")
    return entry.path


def write(folder: Path, seed: int, products: int, difficulty: str) -> None:
    """The three files of a shop, in the official format."""
    families = draw(seed, products, difficulty)
    items = [item for members, _ in families for item in members]
    listed = Dice("webshop", VERSION, difficulty, seed, "shelf").shuffled(items)
    wishes = {members[0].asin: wishes for members, wishes in families}
    _dump(folder / ITEMS, [_product(item) for item in listed])
    _dump(folder / ATTRIBUTES, {item.asin: _attributes(item) for item in listed})
    _dump(folder / HUMAN, {asin: [_instruction(asin, wish) for wish in found] for asin, found in wishes.items()})


def draw(seed: int, products: int, difficulty: str) -> list[tuple[list[Item], list[Wish]]]:
    """Families: the wanted product followed by its decoys, and what is asked for."""
    places = [(name, good) for name, department in DEPARTMENTS.items() for good in department.goods]
    shelves = {good: _titles(seed, good) for _, good in places}
    families = []
    for number in range(products):
        name, good = places[number % len(places)]
        dice = Dice("webshop", VERSION, difficulty, seed, number)
        if not shelves[good]:
            raise UserError(f"products={products} is more than built-in shops have words for: ask for fewer")
        families.append(_family(dice, name, good, shelves[good].pop(), DIFFICULTIES[difficulty]))
    return families


@cache
def _fingerprint() -> str:
    """Of everything that decides what is generated: an edited table never meets the shop of the old one."""
    here = resources.files("spa_bench.environments.webshop")
    names = (
        "generate.py",
        "stock.py",
        "products.py",
        "build.py",
        "search.py",
        "blocks.py",
        "catalogue.py",
        "analyzer.py",
        "porter.py",
        "../dice.py",
    )
    return hashlib.sha256(b"".join(here.joinpath(name).read_bytes() for name in names)).hexdigest()[:8]


def _titles(seed: int, good: str) -> list[tuple[str, ...]]:
    """All pairs of attributes, in an order of their own for each good: no two families share their words."""
    return Dice("webshop", VERSION, seed, "titles", good).shuffled(list(combinations(QUALITIES, 2)))


def _ids(dice: Dice, good: str, visible: tuple[str, ...], size: int) -> list[str]:
    """Ids for the members of a family: a stock number made of the words of the title, and a last digit, from 1 on.

    Ids as random as the real shop's a small model would have to copy, which takes it longer to learn than all the rest:
    after 600 steps of cloning it had nearly every token of its searches right, and 2 % of the ids.
    """
    stem = "0".join([good[:3], *(word[:2] for word in visible)]).upper()
    return [f"{stem}{digit}" for digit in dice.shuffled(range(1, size + 1))]


def _family(
    dice: Dice, name: str, good: str, visible: tuple[str, ...], level: Difficulty
) -> tuple[list[Item], list[Wish]]:
    rest = [word for word in QUALITIES if word not in visible]
    offered = OPTIONS[: dice.between(*level.options)]
    options = tuple((title, _values(dice, values, level, first=not n)) for n, (title, values) in enumerate(offered))
    low, high = DEPARTMENTS[name].prices
    known = [fault for fault in level.faults if options or fault != "option"]
    faults = [dice.among(known) for _ in range(dice.among(level.decoys))]
    asins = _ids(dice, good, visible, 1 + len(faults))
    wanted = Item(
        asin=asins.pop(),
        brand=dice.among(BRANDS),
        good=good,
        department=name,
        visible=visible,
        hidden=dice.among(rest),
        options=options,
        cents=dice.between(low, high) * 100 + 99,
    )
    decoys = [_decoy(dice, wanted, fault, rest, level, asins.pop()) for fault in faults]
    return [wanted, *decoys], [_wish(dice, wanted, faults, level) for _ in range(VARIANTS)]


def _values(dice: Dice, values: Sequence[str], level: Difficulty, *, first: bool) -> tuple[str, ...]:
    """Some of the values; half of the first option's at most, so that a decoy can have others."""
    most = len(values) // 2 if first else len(values)
    return tuple(dice.shuffled(values)[: min(dice.between(*level.values), most)])


def _decoy(dice: Dice, wanted: Item, fault: Fault, rest: Sequence[str], level: Difficulty, asin: str) -> Item:
    brand = dice.among([brand for brand in BRANDS if brand != wanted.brand])
    decoy = replace(wanted, asin=asin, brand=brand, cents=wanted.cents - 100 * dice.between(0, 3))
    if fault == "dear":
        return replace(decoy, cents=wanted.cents + 100 * dice.between(*SURCHARGE))
    if fault == "hidden":
        return replace(decoy, hidden=dice.among([word for word in rest if word != wanted.hidden]))
    name, has = wanted.options[0]
    others = [value for value in dict(OPTIONS)[name] if value not in has]
    return replace(decoy, options=((name, tuple(others[: len(has)])), *wanted.options[1:]))


def _wish(dice: Dice, wanted: Item, faults: Sequence[Fault], level: Difficulty) -> Wish:
    """What tells the wanted product from its decoys is always asked for."""
    asked = [
        (name, dice.among(values))
        for place, (name, values) in enumerate(wanted.options)
        if (place == 0 and "option" in faults) or dice.chance(0.75)
    ]
    hidden = [wanted.hidden] if "hidden" in faults or dice.chance(level.hidden) else []
    lead = dice.among(("i am looking for", "i need", "find me", "please buy"))
    text = f"{lead} {' '.join([*wanted.visible, wanted.good])}"
    text += "".join(f" that is {word}" for word in hidden)
    text += "".join(
        f", and {name} {value}" if place else f" with {name} {value}" for place, (name, value) in enumerate(asked)
    )
    return Wish(text, (*wanted.visible, *hidden), tuple(value for _, value in asked))


def _product(item: Item) -> dict[str, Any]:
    return {
        "asin": item.asin,
        "name": item.title,
        "full_description": f"{item.good} by {item.brand}",
        "small_description": ["ships within two days", f"it is {item.hidden}"],
        "pricing": f"${item.cents / 100:.2f}",
        "images": [""],
        "product_category": f"{DEPARTMENTS[item.department].path} › {item.good.title()}",
        "average_rating": "",
        "customization_options": {name: [{"value": value} for value in values] for name, values in item.options},
        "category": item.department,
        "query": item.good,
        "page": "1",
    }


def _attributes(item: Item) -> dict[str, Any]:
    has = [*item.visible, item.hidden]
    return {
        "attributes": has,
        "instruction": f"Find me {item.good} that is {' and '.join(has)}",
        "instruction_attributes": has,
    }


def _instruction(asin: str, wish: Wish) -> dict[str, Any]:
    return {
        "asin": asin,
        "instruction": wish.text,
        "attributes": list(wish.attributes),
        "options": list(wish.options),
        "instruction_attributes": list(wish.attributes),
        "instruction_options": list(wish.options),
    }


def _dump(path: Path, content: Any) -> None:
    path.write_bytes(json.dumps(content, ensure_ascii=False, indent=0).encode())
