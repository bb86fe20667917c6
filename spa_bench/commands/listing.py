"""`spa-bench list`: what there is to choose from, one line each; of one thing its options."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from spa_bench import registry
from spa_bench.commands import recipes
from spa_bench.commands.printing import print_rows
from spa_bench.commands.settings import shown
from spa_bench.commands.words import RESULTS, command
from spa_bench.core import UserError
from spa_bench.declared import REQUIRED, options


class What(StrEnum):
    """What can be listed."""

    rewards = "rewards"
    worlds = "worlds"
    agents = "agents"
    recipes = "recipes"
    runs = "runs"


ROOMS: dict[What, registry.Room] = {
    What.rewards: "rewards",
    What.worlds: "environments",
    What.agents: "agents",
}
HEADS = ("For", "Machine", "Time")
"""Lines of a recipe's head that are shown."""


@command
def listing(
    what: Annotated[What, typer.Argument(help="What is listed.")],
    name: Annotated[
        str | None,
        typer.Argument(help="Of a method, world or agent: its options; of runs: the folder, default results."),
    ] = None,
) -> None:
    """List methods, worlds, agents, recipes or runs, one line each; with NAME the options of one."""
    show(what, name, sys.stdout)


def show(what: What, name: str | None, stream: TextIO) -> None:
    """Print the list, or what there is to say of one; UserError where there is no such thing."""
    if what is What.runs:
        print_rows("runs", ("run", "world", "method", "seed", "state"), _runs(Path(name or RESULTS)), stream)
    elif what is What.recipes:
        known = recipes.names()
        if name is not None and name not in known:
            raise UserError(f"no recipe {name!r}{registry.suggest(name, known)}")
        rows = [_recipe(one) for one in known if name in (None, one)]
        print_rows("recipes", ("--config", *(head.lower() for head in HEADS)), rows, stream)
    elif name is not None:
        _show_options(ROOMS[what], name, stream)
    else:
        room = ROOMS[what]
        rows = [[one, _about(room, one)] for one in registry.names(room)]
        print_rows(what.value, (registry.SINGULAR[room], "what it is"), rows, stream)


def _about(room: registry.Room, name: str) -> str:
    """One that cannot be loaded, of another package, hides no other."""
    try:
        return registry.about(room, name)
    except UserError as error:
        return f"cannot be loaded: {error}"


def _show_options(room: registry.Room, name: str, stream: TextIO) -> None:
    cls = registry.find(room, name)
    ours = cls.__module__.startswith("spa_bench.")  # what these do not describe a run gives them, such as the prompt
    rows = [
        [one.name, "to be given" if one.default is REQUIRED else shown(one.default), one.values, one.description]
        for one in options(cls)
        if one.description or not ours
    ]
    text = registry.about(room, name)
    title = f"{name}: {text}" if text else name
    print_rows(title, ("option", "default", "values", "meaning"), rows or [["no options", "", "", ""]], stream)


def _recipe(name: str) -> list[str]:
    """Its name and what its head says: a comment of lines such as `# For: a laptop`."""
    lines = (recipes.FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    said = dict(line.removeprefix("# ").split(": ", 1) for line in lines if line.startswith("# ") and ": " in line)
    return [f"{recipes.PREFIX}{name}", *(said.get(head, "") for head in HEADS)]


def _runs(folder: Path) -> list[list[str]]:
    """One row for each run folder; one that cannot be read says why."""
    from spa_bench.analysis.runs import find
    from spa_bench.runs.folder import RunFolder, read_run
    from spa_bench.runs.names import reward_label, run_name

    rows = []
    for path in find([folder]):
        try:
            config = read_run(path)["config"]
            label = reward_label(config["reward"], config["reward_options"])
            state = "finished" if RunFolder(path).is_finished() else "unfinished"
            rows.append([run_name(path), str(config["env"]), label, str(config["seed"]), state])
        except (UserError, KeyError, TypeError) as error:
            rows.append([run_name(path), "", "", "", f"unreadable: {error}"])
    return rows
