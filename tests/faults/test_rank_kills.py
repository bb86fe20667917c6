"""T1 for a run of several ranks: whichever is killed, whenever, the run ends as if nobody had been, up to rounding."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cases
import pytest
import rank_kills


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp2"])
def test_t01_a_run_of_which_ranks_are_killed_ends_as_one_of_which_none_was(
    sharded: bool, pytestconfig: Any, tmp_path: Path, record_property: Any
) -> None:
    if not (count := pytestconfig.getoption("faults")):
        pytest.skip("a campaign: give --faults N for N kills")
    words = cases.case("alfworld", ("spa",), 1, tmp_path).words
    case = rank_kills.Case(words, tmp_path, sharded)
    told = rank_kills.kills(case, (count + 1 - sharded) // 2, random.Random(f"ranks {sharded}"))
    print("struck in", *told, sep="\n  ")
    record_property("struck", told)
