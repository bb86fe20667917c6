"""Killed at any moment, as often as one likes, a command ends as if nobody had: T1, T2."""

from __future__ import annotations

import json
import random
from typing import Any

import cases
import kills as killing
import pytest
from outcome import Outcome

pytestmark = pytest.mark.timeout(3600)  # a command that hangs is ended by forked.LIMIT

RENAMES = ("replace checkpoints/0001", "replace checkpoints/0002")
"""Where a checkpoint that is written, and on the disk, takes its name."""


@pytest.fixture(scope="module")
def calm(struck: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[killing.Case, Outcome, float, list[str]]:
    """The case when nobody kills it, with seconds and calls."""
    case = cases.case(*struck, tmp_path_factory.mktemp("kills"))
    wanted, seconds, labels = killing.calm(case)
    for rows in json.loads(wanted.metrics).values():
        moved = [row["largest_log_ratio_to_start"] for row in rows if row["kind"] == "iteration"]
        assert moved[-1] > 1e-4, f"nothing is learned that a kill could take away: {moved}"
    return case, wanted, seconds, labels


def test_t01_a_run_killed_at_random_moments_ends_as_one_that_was_not(
    calm: Any, struck: Any, kills: int, record_property: Any
) -> None:
    case, wanted, seconds, _ = calm
    told = killing.random_kills(case, wanted, seconds, kills, random.Random(f"moments {struck}"))
    assert len(told) == kills
    print("struck in", *told, sep="\n  ")
    record_property("struck", told)


def test_t02_a_checkpoint_under_way_when_the_run_was_killed_is_none_and_the_last_good_one_is_used(
    calm: Any, struck: Any
) -> None:
    """Killed before and after its rename, with all of it on the disk."""
    case, wanted, _, labels = calm
    assert set(RENAMES) <= set(labels), f"no checkpoints among the calls: {labels}"
    points = [(label, when) for label in RENAMES for when in ("before", "after")]
    told, last = killing.named_kills(case, wanted, points, "renames")
    print("struck in", *told, sep="\n  ")
    assert len(told) == len(points)
    if struck[2] == 1:  # of runs side by side, those that were not at the call themselves are killed before theirs
        assert not set(RENAMES) & set(last), "the last good checkpoint was not used"


def test_t01_a_run_killed_at_any_call_that_reaches_the_disk_ends_as_one_that_was_not(
    calm: Any, struck: Any, kills: int, record_property: Any
) -> None:
    """Writes, syncs, renames and removals of a run and its cache, by lot."""
    case, wanted, _, labels = calm
    lots = killing.some_calls(labels, kills // 2 + 1, random.Random(f"calls {struck}"))
    points = sorted(lots, key=lambda point: labels.index(point[0]))
    told, _ = killing.named_kills(case, wanted, points, "calls")
    print("struck in", *told, sep="\n  ")
    record_property("struck", told)
    assert len(told) > kills / 4
