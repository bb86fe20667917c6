"""`spa-bench data`: official data, and a small chat model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from spa_bench.commands.words import Json, command, progress
from spa_bench.core import UserError

app = typer.Typer(no_args_is_help=True, help="Official data, and a small chat model: download, build, verify.")


@app.command(name="get")
@command
def get(
    env: Annotated[str, typer.Argument(help="World, such as alfworld; or `smollm2`, a chat model.")],
    data: Annotated[Path | None, typer.Option(help="Target folder; default: in the cache.")] = None,
    source: Annotated[
        list[Path] | None, typer.Option("--from", help="Local folder or archive, instead of a download; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Download official tasks or a model, check every file, and store them where `--tasks` or `--model` looks."""
    from spa_bench.commands import official

    official.show(official.get(env, data, source or [], progress(as_json)), sys.stdout, as_json)


@app.command(name="build")
@command
def build(
    env: Annotated[str, typer.Argument(help="World whose data are built from local files, such as webshop.")],
    items: Annotated[Path, typer.Option(help="File of the products; may end in .gz.")],
    attributes: Annotated[Path, typer.Option(help="File of their attributes.")],
    human: Annotated[Path | None, typer.Option(help="File of human instructions.")] = None,
    data: Annotated[Path | None, typer.Option(help="Target folder; default: in the cache.")] = None,
    tagger: Annotated[str, typer.Option(help="Noun tagger: `auto`, `approximate` or a spaCy model.")] = "auto",
    as_json: Json = False,
) -> None:
    """Build a world's data from upstream's files; data that are there already are kept."""
    from spa_bench.commands import official

    files = {"items": items, "attributes": attributes} | ({} if human is None else {"human": human})
    official.show_built(official.build(env, data, files, tagger, progress(as_json)), sys.stdout, as_json)


@app.command(name="verify")
@command
def verify(
    env: Annotated[str, typer.Argument(help="World, such as alfworld; or `smollm2`.")],
    data: Annotated[Path | None, typer.Option(help="Folder to check; default: in the cache.")] = None,
    as_json: Json = False,
) -> None:
    """Verify that official tasks or a model are complete and unchanged, and that splits do not overlap."""
    from spa_bench.commands import official

    found = official.verify(env, data)
    official.show(found, sys.stdout, as_json)
    if found.problem is not None:
        raise UserError(found.problem)
