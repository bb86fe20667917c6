"""`spa-bench check`: the contract tests of a reward method, a world or an agent."""

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
    agent: Annotated[
        str | None, typer.Option(help="Agent: `expert`, `random`, or path.py:Class; with options NAME:OPTION=VALUE.")
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", help="reward_options.NAME=VALUE or world.options.NAME=VALUE; repeatable."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="CPU seconds for the check of a method.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Run the contract tests of a reward method, of a world or of an agent, one line each."""
    if sum(choice is not None for choice in (reward, env, agent)) != 1:
        raise UserError("check needs one of --reward, --env and --agent: a name, or your own file as path.py:Class")
    if agent is not None and assign:
        raise UserError(f"--set {assign[0]}: options of an agent follow its name, as {agent}:OPTION=VALUE")
    from spa_bench.contract.check import examine, examine_agent, examine_world, options, show, world_options

    with aside():
        if env is not None:
            report = examine_world(env, world_options(assign or ()))
        elif agent is not None:
            report = examine_agent(*method_options(agent))
        else:
            name, own_options = method_options(str(reward))
            report = examine(name, {**options(assign or ()), **own_options}, seconds)
    show(report, sys.stdout, as_json)
    if report.problem is not None:
        raise UserError(report.problem)
