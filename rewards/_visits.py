"""How often each state was met, and what came of it, by the numbers of `spa_bench.state_keys`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Visits:
    """How many finished episodes met each state, and how many of those succeeded; an episode counts a state once."""

    def __init__(self) -> None:
        self.episodes = 0
        self._counts: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, met: Iterable[int], success: bool) -> None:
        """One more finished episode."""
        self.episodes += 1
        for state in set(met):
            self._raise(state, 1, int(success))

    def merge(self, other: Visits) -> None:
        """Everything that `other` has counted."""
        self.episodes += other.episodes
        for state, (met, won) in other._counts.items():
            self._raise(state, met, won)

    def met(self, state: int) -> int:
        """N_total: episodes that met the state."""
        return self._counts.get(state, (0, 0))[0]

    def score(self, state: int, *others: Visits, alpha: float, xi: float, zeta: float) -> float:
        """3SPO's S(s): 1 where much is left to learn (unseen, never solved), 0 where it is solved or hopeless.

        From these visits and the `others` together.
        """
        counts = [visits._counts.get(state, (0, 0)) for visits in (self, *others)]
        met, won = sum(met for met, _ in counts), sum(won for _, won in counts)
        episodes = self.episodes + sum(visits.episodes for visits in others)
        rate = won / (met + 1e-6)  # core_3spo.py's epsilon
        if met and met - won >= xi and rate <= zeta:
            return 0.0
        # Bounded, because 0 means hopeless and a solved state is not.
        return math.exp(max(-700.0, -alpha * (math.log(episodes + 1) * rate)))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Everything, as arrays whose keys begin with `name`."""
        known = sorted(self._counts)
        counts = np.array([self._counts[state] for state in known], dtype=np.int64).reshape(-1, 2)
        return {
            f"{name}.episodes": np.array([self.episodes], dtype=np.int64),
            f"{name}.states": np.array(known, dtype=np.uint64),
            f"{name}.met": counts[:, 0].copy(),
            f"{name}.won": counts[:, 1].copy(),
        }

    @classmethod
    def of_arrays(cls, name: str, arrays: Mapping[str, NDArray[Any]]) -> Visits:
        """What `arrays` gave."""
        visits = cls()
        visits.episodes = int(arrays[f"{name}.episodes"][0])
        states, met, won = (arrays[f"{name}.{part}"].tolist() for part in ("states", "met", "won"))
        visits._counts = dict(zip(states, zip(met, won, strict=True), strict=True))
        return visits

    def _raise(self, state: int, met: int, won: int) -> None:
        had = self._counts.get(state, (0, 0))
        self._counts[state] = (had[0] + met, had[1] + won)
