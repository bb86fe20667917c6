"""Chance for the generators of built-in tasks: the same numbers on every machine and under every version of Python."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from spa_bench.core import UserError, derive_seed

_T = TypeVar("_T")


class Dice:
    """Chance from a seed. Only `Random.random` is used: its sequence is the one that Python promises to keep."""

    def __init__(self, *parts: object) -> None:
        self._random = random.Random(derive_seed(*parts))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random.random() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self._random.random() * (high - low + 1))

    def among(self, items: Sequence[_T]) -> _T:
        """One of the items."""
        return items[self.between(0, len(items) - 1)]

    def shuffled(self, items: Sequence[_T]) -> list[_T]:
        """The items in another order."""
        rest = list(items)
        return [rest.pop(self.between(0, len(rest) - 1)) for _ in items]


def unchanged(file: Path, expected: str | None) -> None:
    """Raise UserError where a generated file is another than the one on record, by its sha256; None: none is."""
    got = hashlib.sha256(file.read_bytes()).hexdigest()
    if expected is not None and got != expected:
        raise UserError(
            f"{file.name} of the built-in tasks has sha256 {got[:16]} here, and {expected[:16]} on record: "
            "report it with what `spa-bench doctor` prints"
        )
