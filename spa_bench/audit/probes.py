"""Probe episodes, played in the environment: loops walked more or less often, a long failure beside a success.

Made from environment snapshots, without a language model: steps have no tokens, which the audit adds. `laws` turns the
rewards of these episodes into figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from spa_bench.core import Step, Task, TextEnv, Trajectory, UserError

Render = Callable[[str], str]
"""A reply that says this action: `ReplyFormat.render`."""

TURNS = 6
"""States of an episode at which a loop is searched."""
TRIES = 12
"""Actions that are tried in one state."""
ROADS = 30
"""Candidate loops that are walked to the end of the episode before the search ends."""


def loops(
    env: TextEnv,
    trajectory: Trajectory,
    rng: np.random.Generator,
    render: Render,
    times: Sequence[int] = (0, 1, 2, 3),
) -> list[Trajectory] | None:
    """The episode with a loop walked each number of `times` at one of its states; None where no loop was found.

    A loop is an action and one that undoes it; where there is none, an action that changes nothing. That it leads back
    is verified by replaying the rest of the episode, which must give the same as before. Each of the episodes ends as
    the original does, by the same last action or by the step limit. `env` is the environment in which the episode was
    recorded: UserError where it does not repeat the episode.
    """
    if env.characters > 1 or not trajectory.steps:
        return None
    with _own_limit(env):
        stage = _Stage(env, render)
        moments = stage.replayed(trajectory)
        for turn, actions in islice(_roads_back(stage, moments[:-1], rng), ROADS):
            if found := _walked(stage, moments, turn, actions, times):
                return found
    return None


def ordered_pair(
    env: TextEnv, task: Task, limit: int, rng: np.random.Generator, render: Render
) -> tuple[Trajectory, Trajectory] | None:
    """A success of the searching expert, and a failure of exactly `limit` steps, all executed; both in `limit` steps.

    Each step of the failure leads to an observation not yet seen, where there is one: the worst case for a reward that
    favours valid actions or novelty. None where the expert does not succeed, or where the failure has as high an
    outcome (in environments with partial outcomes).
    """
    if env.characters > 1:
        return None
    with _own_limit(env):
        stage = _Stage(env, render)
        success = _by_the_expert(stage, task, limit)
        failure = _astray(stage, task, limit, rng) if success else None
    if success is None or failure is None or failure.outcome >= success.outcome:
        return None
    return success, failure


def cut(trajectory: Trajectory, turn: int) -> Trajectory:
    """The episode as if the step limit had come before its step `turn`, with the outcome reached so far."""
    return replace(trajectory.until(turn), truncated=True)


@dataclass(frozen=True, eq=False)
class _Moment:
    """An episode under way with a snapshot of its environment, from which it can be continued any number of times."""

    played: Trajectory
    """The episode so far."""
    saved: Any
    admissible: Sequence[str]
    progress: float

    @property
    def over(self) -> bool:
        return self.played.terminated or self.played.truncated

    def alike(self, other: _Moment) -> bool:
        """The two states of the environment cannot be told apart, except by the last observation."""
        return (
            not self.over
            and not other.over
            and self.progress == other.progress
            and self.played.success == other.played.success
            and tuple(self.admissible) == tuple(other.admissible)
        )


class _Stage:
    """An environment for probes: every step leads from one moment to another; the caller sets the step limit."""

    def __init__(self, env: TextEnv, render: Render) -> None:
        self.env, self.render = env, render
        self._at: _Moment | None = None

    def begin(self, task: Task) -> _Moment:
        """The task before its first step."""
        # Any seed: with one character, task and actions determine everything.
        observation, info = self.env.reset(seed=0, options={"task": task.key, "split": task.split})
        start = Trajectory(
            task=task,
            steps=(),
            outcome=0.0,
            success=bool(info["success"]),
            terminated=bool(info["success"]),  # a task that is done before it begins has no first step
            truncated=False,
            start_progress=float(info["progress"]),
            final_observation=observation,
            goal=info["goal"],
        )
        return self._arrived(start, info)

    def step(self, moment: _Moment, action: str, reply: str | None = None, *, last: bool = False) -> _Moment:
        """The moment after an action; the step limit ends the episode there if it is the `last`."""
        self._go_to(moment)
        before = moment.played
        self.env.max_steps = len(before) + (1 if last else 2)
        observation, reward, terminated, truncated, info = self.env.step(action)
        step = Step(
            observation=before.final_observation,
            reply=self.render(action) if reply is None else reply,
            action=action,
            grounded=info["grounded"],
            fault=info["fault"],
            env_reward=float(reward),
            progress=float(info["progress"]),
        )
        after = replace(
            before,
            steps=(*before.steps, step),
            outcome=before.outcome + float(reward),
            success=bool(info["success"]),
            terminated=terminated,
            truncated=truncated or (last and not terminated),  # a world may have a limit that cannot be moved
            final_observation=observation,
        )
        return self._arrived(after, info)

    def replayed(self, trajectory: Trajectory) -> list[_Moment]:
        """The T + 1 moments of a recorded episode; UserError where this environment does not repeat it."""
        moments = [self.begin(trajectory.task)]
        seen = [*(step.observation for step in trajectory.steps), trajectory.final_observation]
        for step in trajectory.steps:
            if moments[-1].over:
                break
            last = trajectory.truncated and len(moments) == len(trajectory)
            moments.append(self.step(moments[-1], step.action, step.reply, last=last))
        if [moment.played.final_observation for moment in moments] != seen:
            raise UserError(f"task {trajectory.task.key}: the recorded actions lead elsewhere in this world")
        return moments

    def expert_action(self, moment: _Moment) -> str:
        """The searching expert's action."""
        self._go_to(moment)
        return self.env.expert_action()

    def _go_to(self, moment: _Moment) -> None:
        if self._at is not moment:
            self.env.restore(moment.saved)

    def _arrived(self, played: Trajectory, info: dict[str, Any]) -> _Moment:
        self._at = _Moment(played, self.env.snapshot(), info["admissible"], float(info["progress"]))
        return self._at


@contextmanager
def _own_limit(env: TextEnv) -> Iterator[None]:
    """Probes change the step limit; afterwards it is restored."""
    before = env.max_steps
    try:
        yield
    finally:
        env.max_steps = before


def _roads_back(
    stage: _Stage, moments: Sequence[_Moment], rng: np.random.Generator
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(turn, actions) after which the environment seems unchanged: pairs first, then single actions."""
    idle = []
    for turn in rng.permutation(len(moments))[:TURNS].tolist():
        for there in _drawn(moments[turn], rng):
            away = stage.step(moments[turn], there)
            if not away.played.steps[-1].grounded or away.over:
                continue
            if away.alike(moments[turn]):
                idle.append((turn, (there,)))
                continue
            for back in _drawn(away, rng):
                home = stage.step(away, back)
                if home.played.steps[-1].grounded and home.alike(moments[turn]):
                    yield turn, (there, back)
    yield from idle


def _walked(
    stage: _Stage, moments: Sequence[_Moment], turn: int, actions: Sequence[str], times: Sequence[int]
) -> list[Trajectory] | None:
    """The episode with the actions repeated before its step `turn`; None where they change what comes later."""
    whole = moments[-1].played
    now, found = moments[turn], {}
    for count in range(max(times) + 1):
        for action in actions if count else ():
            now = stage.step(now, action)
            if now.over or not now.played.steps[-1].grounded:
                return None
        end = _to_the_end(stage, now, whole, turn)
        if _afterwards(end, len(now.played)) != _afterwards(whole, turn):
            return None
        found[count] = end
    return [found[count] for count in times]


def _to_the_end(stage: _Stage, now: _Moment, whole: Trajectory, turn: int) -> Trajectory:
    """Repeat from here what the whole episode did from its step `turn` on, until the episode is over."""
    for left, step in zip(range(len(whole) - turn, 0, -1), whole.steps[turn:], strict=True):
        if now.over:
            break
        now = stage.step(now, step.action, step.reply, last=whole.truncated and left == 1)
    return now.played


def _afterwards(trajectory: Trajectory, turn: int) -> tuple[object, ...]:
    """All that happened from step `turn` on, except the observation before it, and how the episode ended."""
    steps = list(trajectory.steps[turn:])
    steps[:1] = [replace(step, observation="") for step in steps[:1]]
    end = trajectory.final_observation, trajectory.success, trajectory.terminated, trajectory.truncated
    return steps, end, trajectory.outcome


def _by_the_expert(stage: _Stage, task: Task, limit: int) -> Trajectory | None:
    now = stage.begin(task)
    while not now.over and len(now.played) < limit:
        now = stage.step(now, stage.expert_action(now), last=len(now.played) + 1 == limit)
    return now.played if now.played.success else None


def _astray(stage: _Stage, task: Task, limit: int, rng: np.random.Generator) -> Trajectory | None:
    """Executed actions up to the step limit, none of which ends the episode; None where there is no such action."""
    now = stage.begin(task)
    seen = {now.played.final_observation}
    while len(now.played) < limit:
        usable: _Moment | None = None
        for action in _drawn(now, rng):
            after = stage.step(now, action, last=len(now.played) + 1 == limit)
            if after.played.steps[-1].grounded and not (after.played.terminated or after.played.success):
                usable = after
                if after.played.final_observation not in seen:
                    break
        if usable is None:
            return None
        now = usable
        seen.add(now.played.final_observation)
    return now.played


def _drawn(moment: _Moment, rng: np.random.Generator) -> list[str]:
    """Up to `TRIES` admissible actions, in random order."""
    return [moment.admissible[i] for i in rng.permutation(len(moment.admissible))[:TRIES].tolist()]
