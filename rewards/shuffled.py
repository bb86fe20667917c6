"""Placebo: the step rewards of `spa`, permuted within each episode.

Paper: none; a method whose permuted rewards train as well has shown that density helps, not that its credit is right.
Equation: r_t = s_p(t), with s the rewards of `spa` and p a permutation drawn from (seed, task, content of the episode).
Defaults: those of `spa`.
Deviations: none.
Conserves return: no; each episode's sum is that of `spa`.
Needs: what `spa` needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa_bench.core import Floats, Trajectory, derive_seed
from spa_bench.rewards._episode_digest import episode_digest
from spa_bench.rewards.spa import SPA


class Shuffled(SPA):
    """An episode's permutation depends on that episode alone: not on its group, nor on the worker process."""

    placebo = "chance"
    our_form = ""

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The same numbers as `spa`, at other steps."""
        return [
            np.random.default_rng(derive_seed(self.seed, "shuffled", t.task.key, episode_digest(t))).permutation(priced)
            for t, priced in zip(group, super().rewards(group), strict=True)
        ]
