"""Dynamic sampling (DAPO, Yu et al. 2025, arXiv 2503.14476, section 3.2): tasks whose episodes all end alike make way.

There an iteration draws until enough tasks have episodes of different outcomes. Here it does so up to `MOST_DRAWS`
times, and all that is played counts as training budget, so that a run under it has fewer iterations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spa_bench import credit
from spa_bench.core import Trajectory

MOST_DRAWS = 3
"""Times that one iteration collects."""


def draws(steps: int, played: Mapping[int, Trajectory], size: int, most: int) -> Iterator[tuple[int, int]]:
    """Each collection of one iteration: the index of its first episode, and its environment steps.

    `played` is looked at between them and holds all episodes so far, by index; `size` is how many follow each other for
    one task. What tasks without a signal took is collected once more from the next tasks on, up to `most` steps in all.
    """
    yield 0, steps
    given, seen = steps, set[int]()
    for _ in range(MOST_DRAWS - 1):
        fresh = without_signal(played) - seen if given < most else set()
        if not fresh:
            return
        seen |= fresh
        wanted = min(sum(max(len(played[index]), 1) for index in fresh), most - given)
        yield (max(played) // size + 1) * size, wanted
        given += wanted


def without_signal(played: Mapping[int, Trajectory]) -> set[int]:
    """The episodes, by index, of tasks whose episodes all have the same outcome, or of which there is one alone.

    One with an error outside the agent's control has no outcome.
    """
    indices, trajectories = list(played), list(played.values())
    alike = set()
    for group in credit.groups(trajectories):
        outcomes = {trajectories[i].outcome for i in group if trajectories[i].error is None}
        if len(outcomes) < 2:
            alike |= {indices[i] for i in group}
    return alike


def learnt_from(played: Mapping[int, Trajectory], *, again: bool) -> dict[int, Trajectory]:
    """The episodes of the update: those with a step; with `again` of tasks with a signal, all where no task has one."""
    moved = {index: episode for index, episode in played.items() if episode.steps}
    left_out = without_signal(played) if again else set()
    return {index: episode for index, episode in moved.items() if index not in left_out} or moved
