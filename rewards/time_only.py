"""Placebo: the average reward of `spa` at each turn, whatever happens there.

Paper: none; the floor of a correlation with progress, because a clock that knows when progress is usual reaches it.
Equation: r_t = m_t for t < T and r_T = R + b - sum_(t < T) m_t, with s the rewards of `spa` on the explored episodes,
  m_t the mean of s_t over those that went on after turn t (0 where none did) and b the mean of (sum_t s_t - R).
Defaults: those of `spa`.
Deviations: none. The turn is counted from the start and the remainder is on the last step, as in `spa`, so that no
  turn's reward depends on how many follow; with turns counted as a share of the episode, delay would be rewarded.
Conserves return: no; the sum is R + b, with b the mean of `spa`'s sum minus the outcome.
Needs: what `spa` needs, at fit alone, where each explored episode is read twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa_bench.core import Floats, Trajectory
from spa_bench.rewards._episode_digest import episode_digest
from spa_bench.rewards.spa import SPA


class TimeOnly(SPA):
    """A step's reward is a function of its turn, on the last step also of the outcome; all else is averaged out."""

    placebo = "floor"
    our_form = ""
    _profile: Floats | None = None
    """m_t; None before `fit`."""
    _surplus: float = 0.0
    """b."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Fit `spa`, average its rewards on the explored episodes by turn; figures are those of `spa`."""
        figures = super().fit(trajectories, experts)
        usable = sorted((t for t in trajectories if t.steps and t.error is None), key=episode_digest)
        paid = super().rewards(usable)
        longest = max((len(t) for t in usable), default=1)
        self._profile = np.array([np.mean([p[t] for p in paid if len(p) > t + 1]) for t in range(longest - 1)])
        beyond = [p.sum() - t.outcome for p, t in zip(paid, usable, strict=True)]
        self._surplus = float(np.mean(beyond)) if beyond else 0.0
        return figures

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The means and, on the last step, the remainder; raises RuntimeError before `fit`."""
        if self._profile is None:
            raise RuntimeError("time-only has no rewards before fit: call fit, or load_state_dict with a fitted state")
        priced = [np.zeros(len(trajectory)) for trajectory in group]
        for steps, trajectory in zip(priced, group, strict=True):
            known = self._profile[: max(len(steps) - 1, 0)]
            steps[: len(known)] = known
            steps[-1:] = trajectory.outcome + self._surplus - known.sum()
        return priced

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The means, without the network that they came from; empty before `fit`."""
        if self._profile is None:
            return {}
        return {"profile": self._profile.copy(), "surplus": np.array([self._surplus])}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave."""
        self._profile = np.array(state["profile"]) if state else None
        self._surplus = float(state["surplus"][0]) if state else 0.0
