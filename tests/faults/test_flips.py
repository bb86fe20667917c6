"""Damaged files: what the tool does to them."""

from __future__ import annotations

import random
from pathlib import Path

import flips as flipping


def test_every_kind_of_damage_is_one(tmp_path: Path) -> None:
    """What the tool does to a file of some bytes, whatever the lot."""
    seen = set()
    for number in range(200):
        rng = random.Random(number)
        (tmp_path / "file").write_bytes(bytes(range(1, 251)))
        told = flipping.damage(tmp_path / "file", rng)
        assert (tmp_path / "file").read_bytes() != bytes(range(1, 251)), told
        seen.add(told.split()[0])
    assert seen == set(flipping.KINDS)
