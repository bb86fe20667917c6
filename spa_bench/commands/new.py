"""`spa-bench new`: template files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from spa_bench.commands.words import command

app = typer.Typer(no_args_is_help=True, help="Create working template files.")


@app.callback()
def new() -> None:
    """Create working template files."""


Folder = Annotated[Path, typer.Option(help="Target folder.")]


@app.command(name="reward")
@command
def reward(
    name: Annotated[str, typer.Argument(help="Name of the method, such as my-method.")], folder: Folder = Path(".")
) -> None:
    """Create a small working reward method and its test."""
    _write("rewards", name, folder)


@app.command(name="world")
@command
def world(
    name: Annotated[str, typer.Argument(help="Name of the world, such as my-world.")], folder: Folder = Path(".")
) -> None:
    """Create a small working world and its test."""
    _write("environments", name, folder)


@app.command(name="agent")
@command
def agent(
    name: Annotated[str, typer.Argument(help="Name of the agent, such as my-agent.")], folder: Folder = Path(".")
) -> None:
    """Create a small working agent and its test."""
    _write("agents", name, folder)


def _write(room: Literal["rewards", "environments", "agents"], name: str, folder: Path) -> None:
    from spa_bench.contract import scaffold

    file, test, address = scaffold.write(room, name, folder)
    print("\n".join([f"{file}", f"{test}", *scaffold.next_commands(room, test, address)]))
