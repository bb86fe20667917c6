"""`spa-bench check`: the contract tests of a reward method or a world."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from spa_bench.commands.options import method_options
from spa_bench.commands.words import Env, Json, Reward, aside, command
from spa_bench.core import UserError


@command
def check(
    reward: Reward = None,
    env: Env = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", help="reward_options.NAME=VALUE or world.options.NAME=VALUE; repeatable."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="CPU seconds for the check of a method.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Run the contract tests of a reward method or of a world, one line each."""
    if (reward is None) == (env is None):
        raise UserError("check needs --reward or --env, not both: a name, or your own file as path.py:Class")
    from spa_bench.contract.check import examine, examine_world, options, show, world_options

    with aside():
        if reward is None:
            report = examine_world(str(env), world_options(assign or ()))
        else:
            name, own_options = method_options(reward)
            report = examine(name, {**options(assign or ()), **own_options}, seconds)
    show(report, sys.stdout, as_json)
    if report.problem is not None:
        raise UserError(report.problem)
