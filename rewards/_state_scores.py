"""The state score of 3SPO and its reward, for `3spo` and `3spo-lite`; their cards have the equations and sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.method import RewardMethod
from spa_bench.rewards._forms import listed
from spa_bench.rewards._visits import Visits
from spa_bench.state_keys import KeyName, keyed, needed, not_the_text, states

Steepness = Annotated[float, Field(ge=0, description="how sharply the score falls with success; 3SPO's scripts: 50")]
Prior = Annotated[float, Field(ge=0, description="failures after which a state is hopeless; 3SPO's scripts: 10")]
Smoothing = Annotated[float, Field(ge=0, description="rate of success up to which it is; 3SPO's scripts: 0.1")]
Novelty = Annotated[float, Field(ge=0, description="how fast novelty loses weight with visits; 3SPO's scripts: 0.1")]
Key = Annotated[
    Literal["task", "history", "released"] | KeyName,
    Field(description="a state: a text in one task (ours), with all before it, in any task (the code), or as in gigpo"),
]
NoveltyForm = Annotated[
    Literal["paper", "released"], Field(description="new is a text not met in the episode, or another text (the code)")
]
ExploredToo = Annotated[bool, Field(description="explored episodes count too; ours, the paper's start from nothing")]


def changed(key: str = "task", novelty: str = "paper", explored: bool = True) -> list[str]:
    """Where statistics with these options are not those of the paper."""
    other = "a state holds all that came before it" if key == "history" else not_the_text(key)
    counted = "states are counted for each task apart (the paper: shared by all)"
    if other:
        counted = f"{other} (the paper: the text alone, shared by all tasks)"
    return [
        "" if key == "released" else counted,
        "a step to another text is novel (the paper: to one not met in the episode)" if novelty == "released" else "",
        "explored episodes count too" if explored else "",
    ]


class StateScores(RewardMethod):
    """Statistics of whole episodes; success is the environment's own test, a partial outcome is no success.

    `alpha` (α) sharpens the score; a state is hopeless after `xi` (ξ) failures at a rate of success up to `zeta` (ζ);
    `k` lowers the weight of novelty with each visit; `key` defines a state, `novelty` what is new.
    """

    @declared("reward 3spo-lite")
    def __init__(
        self,
        *,
        alpha: Steepness = 50.0,
        xi: Prior = 10.0,
        zeta: Smoothing = 0.1,
        k: Novelty = 0.1,
        key: Key = "task",
        novelty: NoveltyForm = "paper",
        explored: ExploredToo = True,
    ) -> None:
        self.alpha, self.xi, self.zeta, self.k = alpha, xi, zeta, k
        self.key, self.novelty, self.explored, self.records = key, novelty, explored, needed(key)
        if type(self).our_form == self.form(changed()):
            self.our_form = self.form(changed(key, novelty, explored))
        self._known = Visits()
        """Counts of earlier batches, which rewards are computed from."""
        self._latest = Visits()
        """Counts of the current batch; added to `_known` when the next one comes."""

    @staticmethod
    def form(changed: Sequence[str]) -> str:
        """`our_form`, from what `changed` says of the options."""
        return listed(changed)

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Count the explored episodes, if `explored`."""
        if self.explored:
            self._known.merge(self._count(trajectories))
        return {"episodes": float(self._known.episodes), "states": float(len(self._known))}

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Add the counts of the last batch, and keep those of this one for the next call."""
        self._known.merge(self._latest)
        self._latest = self._count(trajectories)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Novelty, difference of scores and success, weighted."""
        return [self._priced(trajectory) for trajectory in group]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All counts."""
        return self._known.arrays("known") | self._latest.arrays("latest")

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave."""
        self._known, self._latest = Visits.of_arrays("known", state), Visits.of_arrays("latest", state)

    def score(self, state: Trajectory) -> float:
        """S of the current state of an episode under way, by all finished episodes."""
        return self._score(self._states(state)[-1], self._latest)

    def _count(self, trajectories: Sequence[Trajectory]) -> Visits:
        visits = Visits()
        for trajectory in trajectories:
            if trajectory.error is None:
                visits.add(self._states(trajectory), trajectory.success)
        return visits

    def _priced(self, trajectory: Trajectory) -> Floats:
        met = self._states(trajectory)
        scores = np.array([self._score(state) for state in met])
        weight = 0.5 * np.exp([-self.k * self._known.met(s) for s in met[:-1]])
        priced: Floats = weight * self._new(trajectory) + (0.5 - weight) * (scores[:-1] - scores[1:])
        priced[-1:] += 0.5 * trajectory.success
        return priced

    def _score(self, state: int, *others: Visits) -> float:
        return self._known.score(state, *others, alpha=self.alpha, xi=self.xi, zeta=self.zeta)

    def _new(self, trajectory: Trajectory) -> Floats:
        """1 for each step that led to something new, else 0; new is an observation, with any `key`."""
        seen = states(trajectory, shared=True)
        before = [seen[t : t + 1] if self.novelty == "released" else seen[: t + 1] for t in range(len(trajectory))]
        return np.array([now not in earlier for now, earlier in zip(seen[1:], before, strict=True)], dtype=np.float64)

    def _states(self, trajectory: Trajectory) -> list[int]:
        if self.key in ("task", "history", "released"):
            history = len(trajectory) if self.key == "history" else 0
            return states(trajectory, history=history, shared=self.key == "released")
        return keyed(trajectory, self.key)
