"""State aliasing: how many true states the groups hold that a key makes of the audited steps, and what that costs.

A method that compares the steps of one state compares, where a key mixes states, the states as well as the actions. The
true state is the world's own, from its snapshot. Figures are of the episodes of one task together, as methods see them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from spa_bench.audit.effects import Effect
from spa_bench.audit.intervals import SHARE, Measured, Resamples, finite, ratio
from spa_bench.audit.measures import task_name
from spa_bench.core import BUCKETS, Floats, Trajectory, bucket, derive_seed
from spa_bench.state_keys import KeyName, keyed

ALL = "all"
"""Beside the lengths of tasks."""
KEYS: tuple[str, ...] = get_args(KeyName)


@dataclass(frozen=True)
class Spread:
    """Variance within groups of two members at least, pooled; None where there is no such group."""

    mixed: float | None
    """In groups of several true states."""
    pure: float | None
    """In groups of one true state."""
    mixed_groups: int
    pure_groups: int


@dataclass(frozen=True)
class Aliasing:
    """Of the groups that a key makes of the steps of tasks of one length, or of all."""

    steps: int
    singletons: Measured
    """Share of the steps that are alone in their group."""
    mixed: Measured
    """Share of the other steps whose group holds several true states."""
    pairs: Measured
    """Share of the pairs of steps of one group that are of two true states."""
    oracle: Spread
    """Of the oracle's potential before the step."""
    outcomes: Spread
    """Of the mean outcome of the policy's continuations from before the step, without their sampling noise: what is
    expected of that, within a step's own continuations, is subtracted, so that it can be below 0."""


@dataclass(frozen=True)
class _Member:
    """One step of a group."""

    trajectory: int
    turn: int
    state: str


def aliasing(
    trajectories: Sequence[Trajectory], effects: Sequence[Effect], limits: tuple[int, int], seed: int
) -> dict[str, dict[str, Aliasing]]:
    """Key -> length of task (`all`, `short`, ...) -> figures, from episodes with the record of the world's states.

    `effects` name trajectories by position. UserError where the record is missing (`rollout.states.filled_in`).
    """
    usable = [i for i, one in enumerate(trajectories) if one.steps and one.error is None]
    names = [task_name(trajectories[i]) for i in usable]
    resamples = Resamples.draw(names, np.random.default_rng(derive_seed(seed, "aliasing")))
    lengths = {i: bucket(trajectories[i].task.expert_steps, limits) for i in usable}
    again = _continued(trajectories, effects)
    found: dict[str, dict[str, Aliasing]] = {}
    for key in KEYS:
        groups: dict[int, list[_Member]] = {}
        for i in usable:
            one = trajectories[i]
            for turn, state in enumerate(keyed(one, key)[:-1]):
                if turn >= one.branch:
                    groups.setdefault(state, []).append(_Member(i, turn, one.steps[turn].state))
        found[key] = {
            length: _figures(
                [own for own in groups.values() if length in (ALL, lengths[own[0].trajectory])],
                trajectories, again, resamples, usable,
            )
            for length in (ALL, *BUCKETS)
        }  # fmt: skip
    return found


def _continued(trajectories: Sequence[Trajectory], effects: Sequence[Effect]) -> dict[tuple[int, int], Floats]:
    """Outcomes of the continuations from before each step; of steps that share them, having one past, the first."""
    seen: set[object] = set()
    found = {}
    for effect in effects:
        before = trajectories[effect.trajectory].until(effect.turn)
        past = before.task, before.character, before.steps, before.final_observation
        if past not in seen:
            seen.add(past)
            found[effect.trajectory, effect.turn] = np.array(effect.again, dtype=np.float64)
    return found


def _figures(
    groups: Sequence[Sequence[_Member]],
    trajectories: Sequence[Trajectory],
    again: Mapping[tuple[int, int], Floats],
    resamples: Resamples,
    usable: Sequence[int],
) -> Aliasing:
    place = {i: n for n, i in enumerate(usable)}
    alone, mixed, pairs = (np.zeros((len(usable), 2)) for _ in range(3))
    for group in groups:
        size, of_state = len(group), _counts(group)
        for member in group:
            row = place[member.trajectory]
            alone[row] += size == 1, 1
            if size > 1:
                mixed[row] += len(of_state) > 1, 1
                pairs[row] += size - of_state[member.state], size - 1

    def share(part: Floats) -> Measured:
        return resamples.estimate(lambda sums: ratio(sums[..., 0], sums[..., 1]), part, span=SHARE)

    return Aliasing(
        steps=sum(map(len, groups)),
        singletons=share(alone),
        mixed=share(mixed),
        pairs=share(pairs),
        oracle=_of_oracle(groups, trajectories),
        outcomes=_of_outcomes(groups, again),
    )


def _counts(group: Sequence[_Member]) -> dict[str, int]:
    """How many members are in each true state."""
    states = [member.state for member in group]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def _of_oracle(groups: Sequence[Sequence[_Member]], trajectories: Sequence[Trajectory]) -> Spread:
    potential = {
        i: [trajectories[i].start_progress, *(step.progress for step in trajectories[i].steps)]
        for i in {member.trajectory for group in groups for member in group}
    }
    return _spread([[(m.state, np.array([potential[m.trajectory][m.turn]])) for m in group] for group in groups])


def _of_outcomes(groups: Sequence[Sequence[_Member]], again: Mapping[tuple[int, int], Floats]) -> Spread:
    """Of the members that were continued, twice at least: noise cannot be told from one."""
    known = {at: outcomes for at, outcomes in again.items() if len(outcomes) > 1}
    return _spread(
        [[(m.state, known[m.trajectory, m.turn]) for m in group if (m.trajectory, m.turn) in known] for group in groups]
    )


def _spread(groups: Sequence[Sequence[tuple[str, Floats]]]) -> Spread:
    """Of the means of the members' numbers, each with its true state; with several numbers without their noise."""
    several = [group for group in groups if len(group) > 1]
    mixed = [group for group in several if len({state for state, _ in group}) > 1]
    pure = [group for group in several if len({state for state, _ in group}) == 1]
    return Spread(_pooled(mixed), _pooled(pure), len(mixed), len(pure))


def _pooled(groups: Sequence[Sequence[tuple[str, Floats]]]) -> float | None:
    """Sum of squares about the groups' means over the degrees of freedom, less the mean variance of a member's mean."""
    if not groups:
        return None
    means = [np.array([numbers.mean() for _, numbers in group]) for group in groups]
    noise = [
        numbers.var(ddof=1) / len(numbers) if len(numbers) > 1 else 0.0 for group in groups for _, numbers in group
    ]
    squares = sum(float(((m - m.mean()) ** 2).sum()) for m in means)
    return finite(squares / sum(len(m) - 1 for m in means) - float(np.mean(noise)))
