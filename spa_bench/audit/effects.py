"""Executed counterfactuals: the effect of a step, by continuing the policy from after it and from before it.

After "Credit Without Ground Truth" (arXiv 2608.19760): at a state of a recorded episode the policy's alternatives are
resampled and played to the end. The effect of the step is V(s_(t+1)) - V(s_t), an estimate of its advantage under the
policy. No oracle is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spa_bench.core import Floats, Trajectory, derive_seed
from spa_bench.method import Simulator

Point = tuple[int, int]
"""Position of the trajectory in its list, and the turn (0 to T - 1)."""


@dataclass(frozen=True)
class Effect:
    """Of one step."""

    trajectory: int
    turn: int
    effect: float
    """Mean outcome after the step minus the mean outcome where the policy chooses again, -1 to 1."""
    error: float | None
    """Standard error of `effect`; None where there is a single sample."""
    alternatives: int
    """Distinct actions other than the step's own that the policy chose; with 0 of them the step was no choice, and
    `effect` is noise of the continuations."""


def choose_points(trajectories: Sequence[Trajectory], count: int, seed: int) -> list[Point]:
    """`count` steps of the episodes without errors (all where there are fewer), sorted.

    Spread over tasks, over the episodes of a task, and over relative turns, the last ones included. The choice depends
    on the seed and on the content of the episodes, not on their order.
    """
    order = _by_task_in_turn(trajectories, seed)
    quotas = dict.fromkeys(order, 0)
    left = min(count, sum(len(trajectories[i]) for i in order))
    while left > 0:
        open_to_more = [i for i in order if quotas[i] < len(trajectories[i])][:left]
        for i in open_to_more:
            quotas[i] += 1
        left -= len(open_to_more)
    chosen = [i for i in order if quotas[i]]
    points = []
    for rank, i in enumerate(chosen):
        # Ranks are even over [0, 1), and so are the relative turns of episodes that have one point each.
        phase, step = (rank + 0.5) / len(chosen), len(trajectories[i]) / quotas[i]
        points += [(i, int((n + phase) * step)) for n in range(quotas[i])]
    return sorted(points)


def effects(
    simulator: Simulator, trajectories: Sequence[Trajectory], points: Sequence[Point], samples: int, seed: int
) -> list[Effect]:
    """The effect of each point's step, in the order of the points, from `samples` episodes on either side.

    One call of the simulator; a state that several points share is continued once. After an episode's last step its
    own outcome is the value. Continuations with an error are ignored; a point without any other is left out.
    """
    if samples < 1:
        raise ValueError(f"samples={samples}: an effect needs at least one episode on either side")
    prefixes: dict[object, Trajectory] = {}
    for i, turn in points:
        for t in (turn, turn + 1):
            if t < len(trajectories[i]):
                prefixes.setdefault(_state(trajectories[i], t), trajectories[i].until(t))
    played = simulator(list(prefixes.values()), samples, seed) if prefixes else []
    ends = {
        state: [episode for episode in episodes if episode.error is None]
        for state, episodes in zip(prefixes, played, strict=True)
    }
    found = []
    for i, turn in points:
        trajectory = trajectories[i]
        over = turn + 1 == len(trajectory)
        after = [trajectory] if over else ends[_state(trajectory, turn + 1)]
        again = ends[_state(trajectory, turn)]
        if after and again:
            found.append(_effect((i, turn), trajectory.steps[turn].action, after, again, over))
    return found


def _effect(point: Point, action: str, after: Sequence[Trajectory], again: Sequence[Trajectory], over: bool) -> Effect:
    known, chosen = (np.array([episode.outcome for episode in side]) for side in (after, again))
    instead = {episode.steps[point[1]].action for episode in again} - {action}
    # After the episode's last step the outcome is known, not estimated.
    error = _error([chosen] if over else [known, chosen])
    return Effect(*point, float(known.mean() - chosen.mean()), error, len(instead))


def _error(sides: Sequence[Floats]) -> float | None:
    """Standard error of a difference of means; None where a side has a single outcome."""
    if min(len(outcomes) for outcomes in sides) < 2:
        return None
    return math.sqrt(sum(float(outcomes.var(ddof=1)) / len(outcomes) for outcomes in sides))


def _state(trajectory: Trajectory, turn: int) -> object:
    """All that determines the continuation of an episode from before its step `turn`."""
    before = trajectory.until(turn)
    return before.task, before.character, before.steps, before.final_observation


def _by_task_in_turn(trajectories: Sequence[Trajectory], seed: int) -> list[int]:
    """Positions of the usable episodes: one of each task, then a second one of each, in random order."""
    usable = [i for i, trajectory in enumerate(trajectories) if trajectory.steps and trajectory.error is None]
    drawn = sorted((derive_seed(seed, _said(trajectories[i])), _ids(trajectories[i]), i) for i in usable)
    rounds: list[tuple[int, int, int]] = []
    met: dict[tuple[str, str], int] = {}
    for chance, _, i in drawn:
        task = trajectories[i].task.split, trajectories[i].task.key
        met[task] = met.get(task, 0) + 1
        rounds.append((met[task], chance, i))
    return [i for _, _, i in sorted(rounds)]


def _ids(trajectory: Trajectory) -> list[tuple[int, ...]]:
    """Token ids of the replies: what tells episodes apart that say the same."""
    return [step.tokens.reply if step.tokens else () for step in trajectory.steps]


def _said(trajectory: Trajectory) -> str:
    """The episode's content without tokens: the last bits of their log-probs depend on the batch."""
    return ascii(replace(trajectory, steps=tuple(replace(step, tokens=None) for step in trajectory.steps)))
