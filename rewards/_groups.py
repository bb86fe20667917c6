"""Advantages from comparing the episodes of one task with each other, for methods without a critic.

What such methods share: which episodes are compared, and how a number per turn becomes one per decision.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import ClassVar

import numpy as np

from spa_bench import credit
from spa_bench.core import Floats, Trajectory
from spa_bench.rewards.sparse import Sparse
from spa_bench.state_keys import keyed, place


class Compared(Sparse):
    """The outcome on the last step as reward, and an advantage per turn from `compare` instead of GAE.

    The tokens of a turn share its advantage, also where decisions are tokens. The critic's targets are its own
    estimates: its loss is 0, so that it is not trained and has no part in the clipping of the gradient.
    """

    uses_critic = False

    @abstractmethod
    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """One advantage per turn, (T,) per trajectory, from the rewards of the turns, (T,) per trajectory.

        T counts from the trajectory's `branch`.
        """

    def advantages(
        self, group: Sequence[Trajectory], rewards: Sequence[Floats], values: Sequence[Floats], gamma: float, lam: float
    ) -> list[tuple[Floats, Floats]]:
        """The numbers of `compare`, one per decision; `gamma` and `lam` are not used."""
        counts = [_decisions(r, trajectory) for r, trajectory in zip(rewards, group, strict=True)]
        starts = [np.cumsum([0, *n[:-1]], dtype=np.intp)[: len(n)] for n in counts]
        judged = self.compare(group, [np.add.reduceat(r, s) for r, s in zip(rewards, starts, strict=True)])
        return [(credit.spread(a, n), v[:-1].copy()) for a, n, v in zip(judged, counts, values, strict=True)]


class Scaled(Compared):
    """Comparisons that may be divided by the standard deviation; `normalise` and `epsilon` are the method's options."""

    normalise: bool
    epsilon: float
    ddof: ClassVar[int] = 1
    """The standard deviation is over N - `ddof` numbers."""

    def _relative(self, numbers: Floats) -> Floats:
        return relative(numbers, normalise=self.normalise, epsilon=self.epsilon, ddof=self.ddof)


def _decisions(rewards: Floats, trajectory: Trajectory) -> list[int]:
    """Decisions of each turn: one, or as many as it has sampled tokens. Raises ValueError where it is neither."""
    tokens = [len(step.tokens.reply) if step.tokens else 0 for step in trajectory.steps[trajectory.branch :]]
    counts = [1] * len(tokens) if len(rewards) == len(tokens) else tokens
    if sum(counts) != len(rewards) or 0 in counts:
        raise ValueError(f"{len(rewards)} decisions for {len(tokens)} turns of {tokens} tokens")
    return counts


def among_peers(group: Sequence[Trajectory], judge: Callable[[Floats], Floats]) -> Floats:
    """One number per episode, (N,): `judge` of the outcomes of the same task and character, in their order.

    An episode with an error outside the agent's control is left out and gets 0.
    """
    outcomes = [np.array([t.outcome]) for t in group]
    return np.concatenate(
        [np.zeros(0), *within([[place(t)] if t.error is None else [] for t in group], outcomes, judge)]
    )


def within(
    keys: Sequence[Sequence[Hashable]], numbers: Sequence[Floats], judge: Callable[[Floats], Floats]
) -> list[Floats]:
    """`judge` of the numbers that have the same key, in their order; 0 where a number has no key.

    One array (T,) per trajectory, and as many keys or fewer: numbers beyond them have none.
    """
    places: dict[Hashable, list[tuple[int, int]]] = {}
    for index, row in enumerate(keys):
        for turn, key in enumerate(row):
            places.setdefault(key, []).append((index, turn))
    judged = [np.zeros(len(row)) for row in numbers]
    for met in places.values():
        for (index, turn), number in zip(met, judge(np.array([numbers[i][t] for i, t in met])), strict=True):
            judged[index][turn] = number
    return judged


def acted_in(group: Sequence[Trajectory], key: str) -> list[list[int]]:
    """The state that each step was taken in, by this key, from `branch` on; none of an episode with an error."""
    return [keyed(t, key)[t.branch : -1] if t.error is None else [] for t in group]


def of_task(group: Sequence[Trajectory]) -> list[list[Hashable]]:
    """`place` of each step from `branch` on, so that all of a task are compared; none of an episode with an error."""
    return [[place(t)] * t.played if t.error is None else [] for t in group]


def lone(group: Sequence[Trajectory]) -> bool:
    """There are no two episodes to compare: nor are the steps of one, where a state came back."""
    return sum(trajectory.error is None for trajectory in group) < 2


def mean(numbers: Floats) -> Floats:
    """The mean for each of them, (N,) to (N,), the same to the bit in whatever order they come."""
    return np.full(len(numbers), math.fsum(numbers) / len(numbers))


def alike(numbers: Floats) -> bool:
    """Whether they differ by no more than the rounding of sums; of none or one, nothing differs."""
    return not len(numbers) or float(np.ptp(numbers)) <= credit.rounding(numbers)


def relative(numbers: Floats, *, normalise: bool, epsilon: float, ddof: int = 1) -> Floats:
    """Distances from the mean, over the standard deviation (of N - `ddof`) if `normalise`; zeros where all agree."""
    if alike(numbers):
        return np.zeros(len(numbers))
    centred: Floats = numbers - numbers.mean()
    return centred / (numbers.std(ddof=ddof) + epsilon) if normalise else centred
