"""Executed counterfactuals: the effect of a step, by continuing the policy from after it and from before it.

After "Credit Without Ground Truth" (arXiv 2608.19760): at a state of a recorded episode the policy's alternatives are
resampled and played to the end. The effect of the step is Q(s_t, a_t) - V(s_t), its advantage under the policy. No
oracle is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spa_bench.core import Trajectory, derive_seed
from spa_bench.method import Simulator

Point = tuple[int, int]
"""Position of the trajectory in its list, and the turn (0 to T - 1)."""


@dataclass(frozen=True)
class Effect:
    """Of one step."""

    trajectory: int
    turn: int
    effect: float
    """Outcome after the step minus the outcome where the policy chooses again, -1 to 1; 0 where it chooses the same."""
    alternatives: int
    """Distinct actions other than the step's own that the policy chose."""
    again: tuple[float, ...] = field(default=(), compare=False)
    """Outcomes of the episodes in which it went on from before the step."""


def choose_points(trajectories: Sequence[Trajectory], count: int, seed: int) -> list[Point]:
    """`count` steps of the episodes without errors (all where there are fewer), sorted.

    They are all steps of some episodes, so that a state between two of them serves both; of the last episode, its last
    steps. Tasks whose episodes ended differently come first: elsewhere the policy reaches the same whatever it chooses,
    and no step has an effect. Of each task one episode is taken before any gives two, in turn with a better and a worse
    outcome. The choice depends on the seed and on the content of the episodes, not on their order.
    """
    points: list[Point] = []
    for i in _in_turn(trajectories, seed):
        length = len(trajectories[i])
        points += [(i, turn) for turn in range(max(0, length - (count - len(points))), length)]
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
            found.append(_effect((i, turn), trajectory.steps[turn].action, after, again))
    return found


def _effect(point: Point, action: str, after: Sequence[Trajectory], again: Sequence[Trajectory]) -> Effect:
    """Q(s, a) - V(s) as share of tries with another action * (mean outcome with a - mean outcome of these).

    V(s) is the mean over both kinds of tries, so this has the same expectation as the mean outcome after `a` minus that
    of all tries. But tries that choose `a` again are then in the state of those after it: they count with them, and
    their chance does not enter twice.
    """
    outcomes = tuple(episode.outcome for episode in again)
    own = [episode.outcome for episode in again if episode.steps[point[1]].action == action]
    others = [episode for episode in again if episode.steps[point[1]].action != action]
    if not others:
        return Effect(*point, 0.0, 0, outcomes)
    with_it = float(np.mean([*own, *(episode.outcome for episode in after)]))
    without = float(np.mean([episode.outcome for episode in others]))
    distinct = {episode.steps[point[1]].action for episode in others}
    return Effect(*point, len(others) / len(again) * (with_it - without), len(distinct), outcomes)


def _state(trajectory: Trajectory, turn: int) -> object:
    """All that determines the continuation of an episode from before its step `turn`."""
    before = trajectory.until(turn)
    return before.task, before.character, before.steps, before.final_observation


def _in_turn(trajectories: Sequence[Trajectory], seed: int) -> list[int]:
    """Positions of the usable episodes: those of tasks with different outcomes first, one of each task, then a second.

    Tasks stand in random order, and so do a task's episodes among those with an outcome in the upper half of its
    outcomes, and among the others.
    """
    usable = [i for i, trajectory in enumerate(trajectories) if trajectory.steps and trajectory.error is None]
    drawn = sorted((derive_seed(seed, _said(trajectories[i])), _ids(trajectories[i]), i) for i in usable)
    tasks: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for chance, _, i in drawn:
        task = trajectories[i].task
        tasks.setdefault((task.split, task.key), []).append((chance, i))
    rounds: list[tuple[bool, int, int, int]] = []
    for own in tasks.values():
        outcomes = [trajectories[i].outcome for _, i in own]
        middle = (min(outcomes) + max(outcomes)) / 2
        better = [one for one in own if trajectories[one[1]].outcome > middle]
        worse = [one for one in own if trajectories[one[1]].outcome <= middle]
        sides = (better, worse) if own[0] in better else (worse, better)
        mixed = [one for pair in itertools.zip_longest(*sides) for one in pair if one]
        rounds += [(not better, place, *one) for place, one in enumerate(mixed)]
    return [i for *_, i in sorted(rounds)]


def _ids(trajectory: Trajectory) -> list[tuple[int, ...]]:
    """Token ids of the replies: what tells episodes apart that say the same."""
    return [step.tokens.reply if step.tokens else () for step in trajectory.steps]


def _said(trajectory: Trajectory) -> str:
    """The episode's content without tokens: the last bits of their log-probs depend on the batch."""
    return ascii(replace(trajectory, steps=tuple(replace(step, tokens=None) for step in trajectory.steps)))
