"""A trajectory as a row of `episodes.jsonl`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from spa_bench.core import Step, Task, Tokens, Trajectory, UserError


def to_row(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as plain values, tokens included; `from_row` gives back an equal one, bit for bit.

    The first `branch` steps are left out: they are in the record of the episode that they belong to. Text may hold lone
    surrogates. Only an adjacent high and low surrogate come back as the one character they encode.
    """
    return vars(trajectory) | {
        "task": dict(vars(trajectory.task)),
        "steps": [
            vars(step) | {"tokens": step.tokens and dict(vars(step.tokens))}
            for step in trajectory.steps[trajectory.branch :]
        ],
    }


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
    return {field.name: row[field.name] for field in fields(kind) if field.name in row}
