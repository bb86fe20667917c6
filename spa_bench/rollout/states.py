"""The true state of a world as a digest, recorded while an episode is played or filled in afterwards by a replay.

Texts cannot tell it: one observation may belong to many states, and a state may be described in many ways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from spa_bench.core import TextEnv, Trajectory, UserError
from spa_bench.rollout.worlds import world_call


def digest(value: object) -> str:
    """16 hexadecimal digits, the same for equal values on every machine, whatever the order of sets and mappings.

    Of texts, numbers, None, tuples, lists, sets, mappings, dataclasses and members of enumerations; TypeError for
    anything else.
    """
    return hashlib.sha256(_spelled(value).encode()).hexdigest()[:16]


def _spelled(value: Any) -> str:
    """One text for each value; numbers that are equal are spelled alike, as Python compares them."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        return str(value)
    if value is None or isinstance(value, str):
        return ascii(value)
    if isinstance(value, int | float):
        return repr(int(value) if isinstance(value, int) or value.is_integer() else value)
    if isinstance(value, tuple | list):
        return f"({','.join(map(_spelled, value))})"
    if isinstance(value, set | frozenset):
        return f"{{{','.join(sorted(map(_spelled, value)))}}}"
    if isinstance(value, Mapping):
        return f"[{','.join(sorted(f'{_spelled(key)}:{_spelled(one)}' for key, one in value.items()))}]"
    if is_dataclass(value) and not isinstance(value, type):
        parts = (getattr(value, field.name) for field in fields(value) if field.compare)
        return f"{type(value).__name__}({','.join(map(_spelled, parts))})"
    raise TypeError(f"a state holds {type(value).__name__}: give texts, numbers, tuples, sets, mappings or dataclasses")


def says_state(env: TextEnv) -> bool:
    """The world defines `true_state`."""
    return type(env).true_state is not TextEnv.true_state


def filled_in(env: TextEnv, trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    """The same episodes with `state` and `menu` of every step, by replaying the actions in this world.

    UserError where the world does not repeat an episode, or does not say what its state is. Episodes that have them
    already, and those with an error of the environment, are returned as they are. `env` may have any step limit.
    """
    return [one if one.error is not None or _has_them(one) else _replayed(env, one) for one in trajectories]


def _has_them(trajectory: Trajectory) -> bool:
    noted = [(step.state, step.menu) for step in trajectory.steps]
    return all(state and menu for state, menu in [*noted, (trajectory.final_state, trajectory.final_menu)])


def _replayed(env: TextEnv, trajectory: Trajectory) -> Trajectory:
    task = trajectory.task
    if env.characters > 1:
        raise UserError("an episode with several characters cannot be replayed: set world.options.characters=1")
    limit, env.max_steps = env.max_steps, len(trajectory) + 1
    try:
        with world_call(env.name, "reset", task, code=type(env)):
            observation, info = env.reset(seed=0, options={"task": task.key, "split": task.split})
            seen, noted = [observation], [_now(env, info)]
        for step in trajectory.steps:
            with world_call(env.name, "step", task, code=type(env)):
                observation, _, _, _, info = env.step(step.action)
                seen.append(observation)
                noted.append(_now(env, info))
    finally:
        env.max_steps = limit
    if seen != [*(step.observation for step in trajectory.steps), trajectory.final_observation]:
        raise UserError(f"task {task.key}: the recorded actions lead to another state in this world")
    steps = [replace(s, state=state, menu=menu) for s, (state, menu) in zip(trajectory.steps, noted, strict=False)]
    return replace(trajectory, steps=tuple(steps), final_state=noted[-1][0], final_menu=noted[-1][1])


def _now(env: TextEnv, info: Mapping[str, Any]) -> tuple[str, str]:
    admissible: Sequence[str] = info["admissible"]
    return digest(env.true_state()), digest(tuple(admissible))
