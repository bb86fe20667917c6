"""What several commands share: options, error handling, printing."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, ParamSpec, TextIO

import typer

from spa_bench import registry
from spa_bench.commands import recipes
from spa_bench.commands.failures import ended
from spa_bench.commands.signals import heeded
from spa_bench.defaults import OPTIMISERS
from spa_bench.runs.progress import Progress
from spa_bench.terminal import argument, printable_line

P = ParamSpec("P")

WORLDS = ", ".join(registry.built_in("environments"))
METHODS = f"Methods: {', '.join(registry.built_in('rewards'))}; `spa-bench list rewards` explains them."

Env = Annotated[str | None, typer.Option(help=f"World: {WORLDS}, or path.py:Class.")]
Reward = Annotated[
    str | None, typer.Option(help=f"Reward method, or path.py:Class; with options NAME:OPTION=VALUE. {METHODS}")
]
Model = Annotated[str | None, typer.Option(help="Language model: `embedded`, `smollm2`, a folder, or a Hub id.")]
Tasks = Annotated[str | None, typer.Option(help="Tasks: `builtin` or `official`.")]
Data = Annotated[str | None, typer.Option(help="Folder of official data; implies --tasks official.")]
Optimiser = Annotated[
    str | None,
    typer.Option(
        help=f"What is optimised: {', '.join(OPTIMISERS)}; default ppo. `compare` takes several, a table for each."
    ),
]
Split = Annotated[str | None, typer.Option(help="Held-out split: `valid_seen` or `valid_unseen`.")]
EvaluationSet = Annotated[
    str | None,
    typer.Option(
        "--eval", help="Built-in held-out tasks: `quick` (100, default), `study` (500 of 2,500), `full` (all)."
    ),
]
Match = Annotated[
    str | None,
    typer.Option(help="Equal training budget in `env-steps` or sampled `tokens`, those of the overhead too."),
]
Assign = Annotated[list[str] | None, typer.Option("--set", help="Any setting, as section.key=value; repeatable.")]
File = Annotated[
    Path | None,
    typer.Option("--config", help=f"TOML file of settings, or recipe:NAME, one of {', '.join(recipes.names())}."),
]
Results = Annotated[Path, typer.Option(help="Folder of results.")]
Baseline = Annotated[
    str | None,
    typer.Option(help="Row that the methods are compared with; default: `sparse`, else `ppo`, else the first by name."),
]
Track = Annotated[
    str | None, typer.Option(help="Also log the metrics to `tensorboard`, `trackio` or `wandb`; offline.")
]
Until = Annotated[
    str | None,
    typer.Option("--deadline", help="Stop between iterations after 90m, 2h, 1h30m or so many seconds; exit code 3."),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print what is in force and where it comes from; fail where model, data or folders are missing.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="On a terminal, print all tables and notes, as a pipe gets them.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

RESULTS = Path("results")


def aside() -> contextlib.redirect_stdout[TextIO]:
    """A context in which what a method or a world prints goes to standard error, apart from the results."""
    return contextlib.redirect_stdout(sys.stderr)


def command(function: Callable[P, None], resumes: bool = False) -> Callable[P, None]:
    """A command that ends with one line and an exit code where the user can mend it; defects keep their traceback.

    `resumes`: interrupted, it goes on where it was when it is given again.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        with heeded(), ended(resumes):
            function(*args, **kwargs)

    return guarded


resumable = functools.partial(command, resumes=True)
"""The same for a command that goes on where it was interrupted."""


def progress(as_json: bool) -> Progress:
    """Progress on standard error; none with --json."""
    return Progress.quiet() if as_json else Progress()


def print_tables(folders: Sequence[Path], as_json: bool, full: bool, baseline: str | None = None) -> None:
    """Print the tables of run folders on standard output; of several worlds also the one with all of them."""
    from spa_bench.report.show import show
    from spa_bench.report.table import tables

    show(tables(folders, baseline), sys.stdout, as_json, full)


def say_what_is_next(results: Path, as_json: bool) -> None:
    """Print the next command on standard error; nothing with --json."""
    if not as_json:
        where = "" if results == RESULTS else f" {argument(results)}"
        print(printable_line(f"for figures, LaTeX and a web page: spa-bench report{where}"), file=sys.stderr)
