"""How much memory games under way take in one process, in each world.

`pytest tests/benchmarks/test_live_games.py --benchmark-enable -s` prints the curve up to 10,000 games, which must be
under 1 GB; else there are two points near its beginning, for what one game more takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MOST, FIRST = 100_000, 150_000
"""Bytes of a game on average: ten thousand are under 1 GB. Of the first ones: they fill VirtualHome's caches, too."""


def curve(world: str, counts: list[int]) -> list[dict[str, Any]]:
    """What `live_games.py` prints of each number of games, in a process of its own."""
    script = Path(__file__).with_name("live_games.py")
    command = [sys.executable, str(script), world, *map(str, counts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("world", ["alfworld", "webshop", "virtualhome"])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_live_games_stay_under_a_gigabyte(benchmark: Any, world: str) -> None:
    counts = [256, 1024, 4096, 10_000] if benchmark.enabled else [64, 320]
    points = benchmark.pedantic(curve, (world, counts), rounds=1)
    benchmark.extra_info["curve"] = points
    for point in points:
        print(f"{world}: {point['games']} games, {point['bytes'] / 1e6:.0f} MB, {point['seconds']:.1f} s")
    first, last = points[0], points[-1]
    assert (last["bytes"] - first["bytes"]) / (last["games"] - first["games"]) < (MOST if benchmark.enabled else FIRST)
