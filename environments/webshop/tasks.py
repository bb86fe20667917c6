"""The goals of a catalogue as tasks: which there are, in which split, and how long they are.

A task's key says product and instruction, and neither seed. Its length is what the searching expert needs, played once
for each catalogue and kept in the user's cache.

Upstream splits by position in its shuffled goals: 0-499 test, 500-1499 development, the rest for training; goals of one
product fall on all sides. Here the test split is upstream's, and no other split has a goal of a product that an
earlier one has, or with the same instruction: `valid_unseen` is test, `valid_seen` development, and both are of
products that training never sends anybody out for. What others did is in `protocols`.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from spa_bench.core import Task, UserError
from spa_bench.environments.webshop.catalogue import Catalogue
from spa_bench.environments.webshop.engine import Engine, PricedShop
from spa_bench.environments.webshop.expert import Expert
from spa_bench.environments.webshop.goals import ORDER_SEED, Goal, Kind, goals
from spa_bench.files import cache_entry, cache_root

SPLITS = ("valid_unseen", "valid_seen", "train")
"""In upstream's order: test, development, training."""
LONGEST = 50
"""Steps after which the expert gives up; an instruction that it cannot follow counts as this long."""
PRICE_WORDS = ", and price lower than "
_TABLE = "tasks.csv"
_COLUMNS = ("key", "kind", "expert_steps")


@dataclass(frozen=True)
class Wanted:
    """Which goals of a catalogue, and how they are divided."""

    goals: Kind = "human"
    price_seed: int = 0
    order_seed: int = ORDER_SEED
    limits: tuple[int, int] = (500, 1500)
    """Positions at which the development and the training split begin."""
    by_product: bool = True
    """No product and no instruction in two splits; off: upstream's split, which leaks."""
    validation_seed: int | None = None
    """Seed of a second order, whose goals before the first limit are `valid_unseen`; `train` is the rest of the first
    order, which leaks, and `valid_seen` is empty."""
    lists: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """Positions of the goals of `valid_unseen` and of `train`, in place of limits; `valid_seen` is empty."""
    built_in: bool = False
    """The instructions have the grammar of the built-in shops."""
    together: bool = field(default=False, repr=False)
    """The goals of a product follow each other, in the order of the first of them."""


class Assortment:
    """The goals of one catalogue, ready to be played."""

    def __init__(self, catalogue: Catalogue, wanted: Wanted) -> None:
        self.catalogue, self.wanted = catalogue, wanted
        prices, found = goals(catalogue, wanted.goals, wanted.price_seed, wanted.order_seed)
        self.shop = PricedShop(catalogue, prices)
        self.goals = {goal.key: goal for goal in found}
        self._splits = self._divide(found)
        self._listed: dict[str, dict[str, Task]] = {}

    @property
    def digest(self) -> str:
        """16 hex digits over the catalogue's sources and what is wanted of it."""
        order = ["together"] if self.wanted.together else []  # what was listed before there was a choice is as it was
        return hashlib.sha256(repr((self.catalogue.digest, self.wanted, *order)).encode()).hexdigest()[:16]

    def keys(self, split: str) -> tuple[str, ...]:
        """Keys of a split, in upstream's order. Raises UserError for an unknown split."""
        if split not in self._splits:
            raise UserError(f"unknown split {split!r}: use {', '.join(reversed(SPLITS))}")
        return tuple(goal.key for goal in self._splits[split])

    def tasks(self, split: str, advance: Callable[[int, int], None] = lambda done, total: None) -> tuple[Task, ...]:
        """All tasks of a split, sorted by key; UserError for an unknown split or an empty one.

        The first call plays the expert on every goal, some milliseconds each, and keeps the lengths.
        """
        if split not in self._listed:
            keys = self.keys(split)
            if not keys:
                raise UserError(f"split {split} has no tasks, {self._why_empty(split)}")
            known = self._lengths(advance)
            self._listed[split] = {key: Task("webshop", key, split, *known[key]) for key in sorted(keys)}
        return tuple(self._listed[split].values())

    def find(self, key: str, split: str | None = None) -> Task:
        """The task of a key, in `split` or in whichever split has it."""
        for name in SPLITS if split is None else (split,):
            if name not in self._listed and self.keys(name):
                self.tasks(name)
            if task := self._listed.get(name, {}).get(key):
                return task
        raise UserError(f"no task {key!r} in {split or 'any split'}: write it as <kind>-<asin>-<number>")

    def _divide(self, found: tuple[Goal, ...]) -> Mapping[str, tuple[Goal, ...]]:
        wanted = self.wanted
        if wanted.lists is not None:
            held_out, train = ([_at(found, position) for position in positions] for positions in wanted.lists)
        elif wanted.validation_seed is not None:
            other = goals(self.catalogue, wanted.goals, wanted.price_seed, wanted.validation_seed)[1]
            held_out = [self.goals[goal.key] for goal in other[: wanted.limits[0]]]
            train = list(found[wanted.limits[0] :])
        else:
            ordered = together(found) if wanted.together else found
            return divide(ordered, wanted.limits, by_product=wanted.by_product)
        return {"valid_unseen": _once(held_out), "valid_seen": (), "train": _once(train)}

    def _why_empty(self, split: str) -> str:
        wanted = self.wanted
        if split == "valid_seen" and (wanted.lists is not None or wanted.validation_seed is not None):
            return "this protocol has none: use valid_unseen"
        other = "human" if wanted.goals == "synthetic" else "synthetic"
        return f"as this catalogue has {len(self.goals)} {wanted.goals} goals: try goals={other}"

    def _lengths(self, advance: Callable[[int, int], None]) -> Mapping[str, tuple[str, int]]:
        """Key -> (kind, the expert's steps) of all goals."""
        wanted = self.wanted  # how goals are divided does not matter
        played = wanted.goals, wanted.price_seed, wanted.built_in
        content = repr((self.catalogue.digest, played, len(self.goals), _fingerprint()))
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        with cache_entry(cache_root(), "webshop-tasks", digest) as entry:
            if not entry.ready:
                rows = []
                for goal in self.goals.values():
                    kind = self.catalogue.product(goal.asin).category
                    rows.append((goal.key, kind, len(solve(self.shop, goal, built_in=self.wanted.built_in))))
                    advance(len(rows), len(self.goals))
                _write(entry.build / _TABLE, rows)
        return _read(entry.path / _TABLE, self.goals)


@lru_cache(8)
def assortment(folder: str | Path, wanted: Wanted) -> Assortment:
    """The goals of the catalogue in a folder. Shared."""
    return Assortment(Catalogue.open(folder), wanted)


def divide(found: Sequence[Goal], limits: tuple[int, int], *, by_product: bool) -> dict[str, tuple[Goal, ...]]:
    """The goals of each split, in their order.

    `by_product` leaves out of a split what an earlier one has the product or the instruction of.
    """
    parts = (found[: limits[0]], found[limits[0] : limits[1]], found[limits[1] :])
    products: set[str] = set()
    instructions: set[str] = set()
    splits = {}
    for name, part in zip(SPLITS, parts, strict=True):
        if by_product:
            part = tuple(g for g in part if g.asin not in products and instruction(g) not in instructions)
        splits[name] = tuple(part)
        products |= {goal.asin for goal in part}
        instructions |= {instruction(goal) for goal in part}
    return splits


def together(found: Sequence[Goal]) -> tuple[Goal, ...]:
    """The goals of one product after each other, products in order of first appearance."""
    of_product: dict[str, list[Goal]] = {}
    for goal in found:
        of_product.setdefault(goal.asin, []).append(goal)
    return tuple(goal for goals in of_product.values() for goal in goals)


def instruction(goal: Goal) -> str:
    """What is asked for, without the price limit: the words that two goals may share, whatever the price seed."""
    return " ".join(goal.text.partition(PRICE_WORDS)[0].lower().split())


def _at(found: Sequence[Goal], position: int) -> Goal:
    if position >= len(found):
        raise UserError(
            f"the lists of positions name {position}, but this catalogue has {len(found)} goals: they number the human "
            "goals of all 1,181,430 products"
        )
    return found[position]


def _once(found: Sequence[Goal]) -> tuple[Goal, ...]:
    """Without repetitions: a published list has one."""
    return tuple({goal.key: goal for goal in found}.values())


def solve(shop: PricedShop, goal: Goal, *, built_in: bool, max_steps: int = LONGEST) -> list[str]:
    """The expert's actions on a goal, until it buys or `max_steps`."""
    engine = Engine(shop, goal)
    engine.reset()
    expert = Expert(goal.text, built_in=built_in)
    actions: list[str] = []
    while not engine.done and len(actions) < max_steps:
        actions.append(expert.act())
        engine.step(actions[-1])
        expert.observe(actions[-1], engine.executed, engine.plain, engine.clickables)
    return actions


def _write(path: Path, rows: Sequence[tuple[str, str, int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((_COLUMNS, *rows))


def _read(path: Path, known: Mapping[str, Goal]) -> dict[str, tuple[str, int]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["key"]: (row["kind"], int(row["expert_steps"])) for row in csv.DictReader(file)}
    if rows.keys() != known.keys():
        raise UserError(f"{path} does not list the goals of its catalogue: remove {path.parent}")
    return rows


@lru_cache(1)
def _fingerprint() -> str:
    """Of this world's code: an edit never meets the lengths of the old one."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
