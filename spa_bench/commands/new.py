"""`spa-bench new`: files to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spa_bench.commands.words import command

app = typer.Typer(no_args_is_help=True, help="Start something of your own: files that work, to be changed.")


@app.callback()
def new() -> None:
    """Start something of your own: files that work, to be changed."""


@app.command(name="reward")
@command
def reward(
    name: Annotated[str, typer.Argument(help="What the method is called, such as my-method.")],
    folder: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("."),
) -> None:
    """Write a small reward method that works, and its test."""
    from spa_bench.contract import scaffold

    file, test, address = scaffold.reward(name, folder)
    print("\n".join([f"{file}", f"{test}", *scaffold.next_commands(test, address)]))
