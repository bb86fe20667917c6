"""Power before anything is run: the minimum detectable effect of a table that does not exist yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from spa_bench.stats.pairs import DRAWS, Pair, compared
from spa_bench.stats.seeds import Training

SEED = 20_240
"""Of the draws, so that a number is the same everywhere."""


def minimum_detectable(
    tasks: int,
    seeds: int,
    rows: Sequence[tuple[int, int]],
    *,
    discordance: float = 0.2,
    deviation: float = 0.0,
    level: float = 0.95,
    power: float = 0.8,
    draws: int = DRAWS,
) -> float | None:
    """True difference of two success rates that a table calls with `power`; None where none up to 1 is.

    `rows` are the comparisons of the table, each by the places of its two rows; `discordance` is the share of tasks on
    which one run of each differs where the methods are equal; `deviation` the standard deviation of success over
    training seeds, beside the chance in episodes. With one seed training seeds are not sampled, and `deviation` plays
    no part. Raises ValueError for fewer than two tasks, no seed, no comparison, and a discordance outside (0, 1].
    """
    if tasks < 2 or seeds < 1 or not rows or not 0 < discordance <= 1 or deviation < 0:
        raise ValueError(f"{tasks} tasks, {seeds} seeds, {len(rows)} comparisons, discordance {discordance}")
    chance = discordance / (seeds * tasks)
    differing = math.ceil(tasks * discordance)
    pair = Pair(seeds, tasks, 0.0, chance, chance if seeds > 1 else 0.0, differing, discordance)
    count = 1 + max(max(two) for two in rows)
    spread = None
    if seeds > 1:
        variance = np.full(count, deviation**2 + discordance / 2 / tasks)
        own, beside = (np.full(count, float(free)) for free in (count * (seeds - 1), (count - 1) * (seeds - 1)))
        spread = Training(True, variance, own, variance, beside)
    found = compared(
        [pair] * len(rows), rows, spread, np.random.default_rng(SEED), level=level, power=power, draws=draws, known=True
    )
    effects = [one.detectable for one in found if one.detectable is not None]
    return math.fsum(effects) / len(effects) if effects else None
