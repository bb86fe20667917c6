"""Damaged files are noticed or refused, and never change a result in silence."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import cases
import flips as flipping
import pytest
from kills import Case, at_call, calm
from outcome import Outcome

pytestmark = pytest.mark.timeout(3600)  # a command that hangs is ended by forked.LIMIT


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Outcome, list[flipping.Target]]:
    """A run, its outcome, and the states in which it is damaged."""
    case = cases.case("webshop", ("spa",), 1, tmp_path_factory.mktemp("flips"))
    wanted, _, _ = calm(case)
    half = case.life("half")
    assert at_call(half, "replace checkpoints/0002", "before")
    return case, wanted, flipping.targets(case, case.life("calm"), half)


def test_a_damaged_file_never_changes_a_result_in_silence(prepared: Any, flips: int, record_property: Any) -> None:
    case, wanted, targets = prepared
    found = []
    for number in range(flips):
        rng = random.Random(f"flip {number}")
        found.append(flipping.flip(targets[number % len(targets)], wanted, case.folder / "flipped", rng))
        print(found[-1])
    counts = Counter((one.target, one.verdict) for one in found)
    print(*(f"{target}: {count} {verdict}" for (target, verdict), count in sorted(counts.items())), sep="\n")
    record_property("verdicts", sorted(counts.items()))
    assert [str(one) for one in found if one.verdict in flipping.FAULTS] == []


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
