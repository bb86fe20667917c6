"""What several commands have in common: their words, how they end, how they print."""

from __future__ import annotations

import contextlib
import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, ParamSpec, TextIO

import typer

from spa_bench.core import UserError
from spa_bench.runs.progress import Progress
from spa_bench.terminal import printable_line

P = ParamSpec("P")

Env = Annotated[str | None, typer.Option(help="World, such as alfworld.")]
Reward = Annotated[str | None, typer.Option(help="Reward method, or path.py:Class; with options NAME:OPTION=VALUE.")]
Model = Annotated[str | None, typer.Option(help="`embedded`, a folder, or a Hub id.")]
Tasks = Annotated[str | None, typer.Option(help="`builtin` or `official`.")]
Data = Annotated[str | None, typer.Option(help="Folder of official games; implies --tasks official.")]
Split = Annotated[str | None, typer.Option(help="`valid_seen` or `valid_unseen`.")]
Assign = Annotated[list[str] | None, typer.Option("--set", help="Any setting, as section.key=value; repeatable.")]
File = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
Results = Annotated[Path, typer.Option(help="Folder of results.")]
Baseline = Annotated[
    str | None,
    typer.Option(
        help="Row that the methods are compared with; default: `ppo` where it was run, else the first by name."
    ),
]
Track = Annotated[
    str | None, typer.Option(help="Show the metrics in `tensorboard`, `trackio` or `wandb` too; offline.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print the resolved configuration and stop; of several, each under a comment that names it."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

RESULTS = Path("results")


def aside() -> contextlib.redirect_stdout[TextIO]:
    """A context in which whatever a method or a world prints goes to standard error: it is no part of the results."""
    return contextlib.redirect_stdout(sys.stderr)


def command(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose foreseeable ends are one line and an exit code; everything else keeps its traceback."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except UserError as error:
            print(f"error: {printable_line(str(error))}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("interrupted; run the same command to resume", file=sys.stderr)
            raise typer.Exit(130) from None

    return guarded


def progress(as_json: bool) -> Progress:
    """Where a command says how far it is: nowhere, when its output is for a program."""
    return Progress.quiet() if as_json else Progress()


def print_tables(folders: Sequence[Path], as_json: bool, baseline: str | None = None) -> None:
    """The tables of run folders, on standard output."""
    from spa_bench.report.render import show
    from spa_bench.report.table import tables

    show(tables(folders, baseline), sys.stdout, as_json)


def say_what_is_next(results: Path, as_json: bool) -> None:
    """How to get more out of finished runs; on standard error, for a person."""
    if not as_json:
        where = "" if results == RESULTS else f" {shlex.quote(str(results))}"
        print(printable_line(f"figures, LaTeX and a page to open: spa-bench report{where}"), file=sys.stderr)
