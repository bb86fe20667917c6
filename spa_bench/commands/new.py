"""`spa-bench new`: template files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spa_bench.commands.words import command

app = typer.Typer(no_args_is_help=True, help="Create working template files.")


@app.callback()
def new() -> None:
    """Create working template files."""


@app.command(name="reward")
@command
def reward(
    name: Annotated[str, typer.Argument(help="Name of the method, such as my-method.")],
    folder: Annotated[Path, typer.Option(help="Target folder.")] = Path("."),
) -> None:
    """Create a small working reward method and its test."""
    from spa_bench.contract import scaffold

    file, test, address = scaffold.reward(name, folder)
    print("\n".join([f"{file}", f"{test}", *scaffold.next_commands(test, address)]))
