"""A trajectory as a row of `episodes.jsonl`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeGuard

from spa_bench.core import Step, Task, Tokens, Trajectory, UserError

LARGEST = 1e100
"""A number beyond it, or NaN, is none that a world or a method gives. Squares and sums of others are finite."""

BUDGET = "budget"
"""Stage of the evaluation set as it is played when a training budget of `eval.budgets` is reached."""

DIGESTS = frozenset({"state", "menu", "final_state", "final_menu"})
"""Fields of steps and trajectories that are recorded where a method asks for them."""


def to_row(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as plain values, tokens included; `from_row` gives back an equal one, bit for bit.

    The first `branch` steps are left out: they are in the record of the episode that they belong to. Text may hold lone
    surrogates. Only an adjacent high and low surrogate come back as the one character they encode.
    """
    return _told(trajectory) | {
        "task": dict(vars(trajectory.task)),
        "steps": [
            _told(step) | {"tokens": step.tokens and dict(vars(step.tokens))}
            for step in trajectory.steps[trajectory.branch :]
        ],
    }


def _told(one: Step | Trajectory) -> dict[str, Any]:
    """Its fields, without what is never in a record, and without digests that nobody asked for."""
    return {name: value for name, value in vars(one).items() if name != "admissible" and (value or name not in DIGESTS)}


def from_row(row: Mapping[str, Any], parent: Trajectory | None = None) -> Trajectory:
    """The trajectory of a row; keys that it does not know are ignored. A branch needs its `parent`."""
    past = parent.steps[: row.get("branch", 0)] if parent is not None else ()
    if len(past) != row.get("branch", 0):
        raise UserError("an episode's row is a branch of another: its first steps are in that one's row")
    try:
        steps = past + tuple(
            Step(**_known(Step, step) | {"tokens": _tokens(step.get("tokens"))}) for step in row["steps"]
        )
        return Trajectory(**_known(Trajectory, row) | {"task": Task(**_known(Task, row["task"])), "steps": steps})
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"an episode's row does not fit this version of spa-bench: {error}") from None


def _tokens(row: Mapping[str, Any] | None) -> Tokens | None:
    if row is None:
        return None
    lists = {key: tuple(row[key]) for key in ("context", "reply", "logprobs")}
    return Tokens(**lists, restart=row.get("restart", False))


def _known(kind: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _fields(kind) if name in row}


@cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def mistyped(one: Trajectory) -> list[object]:
    """Values of another type, or range, than a trajectory has there: JSON is not typed, and a file may be anyone's."""
    steps, task = one.steps, one.task
    numbers = [one.outcome, one.start_progress, *(n for step in steps for n in (step.env_reward, step.progress))]
    texts = [
        task.env,
        task.key,
        task.split,
        task.kind,
        one.goal,
        one.final_observation,
        one.final_state,
        one.final_menu,
    ]
    texts += [text for step in steps for text in (step.observation, step.reply, step.action, step.state, step.menu)]
    may_lack = [one.error, *(text for step in steps for text in (step.fault, step.expert_action))]
    signs = [one.success, one.terminated, one.truncated, *(step.grounded for step in steps)]
    return [
        *(value for value in numbers if not is_number(value)),
        *(value for value in (task.expert_steps, one.character) if not is_whole(value)),
        *(value for value in texts if not isinstance(value, str)),
        *(value for value in may_lack if not isinstance(value, str | None)),
        *(value for value in signs if not isinstance(value, bool)),
    ]


def is_number(value: object) -> TypeGuard[float]:
    """A finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_whole(value: object) -> TypeGuard[int]:
    """A whole number from 0 that 64 bits can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
