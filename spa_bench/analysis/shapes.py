"""What tables and figures read of `run.json` and `metrics.jsonl`, with the types that it has there.

JSON is not typed, and a file may be anyone's. Here a folder that would end a report later is found out when it is read.
More lenient than `config`: settings of other versions are let through, and what no table reads is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spa_bench.core import UserError
from spa_bench.runs.episodes import LARGEST

Whole = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _World(_Shape):
    tasks: str


class _Model(_Shape):
    name: str


class _Eval(_Shape):
    split: str
    temperature: Number


class _PPO(_Shape):
    match: Literal["collected", "env-steps", "tokens"] = "collected"
    iterations: Whole = 0
    env_steps: Whole = 0
    level: str | None = None


class _Config(_Shape):
    env: str
    reward: str
    reward_options: dict[str, Any]
    seed: Whole
    world: _World
    model: _Model
    eval: _Eval
    ppo: _PPO = _PPO()


class _Facts(_Shape):
    agent: str | None = None
    buckets: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None = None
    extra_information: str | None = None
    level: str | None = None
    max_steps: Whole | None = None
    our_form: str | None = None
    panel: str | Whole | None = None
    reward_code: str | None = None


class _Content(_Shape):
    config: _Config
    facts: _Facts


class _Row(_Shape):
    """Of an iteration, or of a stage."""

    iteration: Whole = 0
    stage: str = ""
    reason: str = ""
    weights: str | None = None
    env_steps: Number | None = None
    episodes: Number | None = None
    env_steps_budget: Number | None = None
    env_steps_executed: Number | None = None
    env_steps_learned: Number | None = None
    extra_env_steps: Number | None = None
    extra_tokens: Number | None = None
    seconds: Number | None = None
    skipped: Number | None = None
    success: Number | None = None
    tokens_sampled: Number | None = None
    tokens_trained: Number | None = None
    updates: Number | None = None


def check_run(content: Mapping[str, Any], name: str) -> None:
    """UserError, which calls the file `name`, where `run.json` holds a value of another type than a table reads."""
    _check(_Content, content, name)


def check_row(row: Mapping[str, Any], name: str) -> None:
    """The same for a row of `metrics.jsonl`."""
    _check(_Row, row, name)


def _check(shape: type[_Shape], values: Mapping[str, Any], name: str) -> None:
    try:
        shape.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{name} holds what this version cannot read: {where}: {first['msg'].partition(' or instance of')[0]}"
        ) from None
