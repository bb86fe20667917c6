"""The command line: parses arguments, calls one function, prints the result.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done; 1 a defect, with traceback;
2 an error that the user can fix, in one line; 3 the deadline came first, the same command goes on; 130 and 143
interrupted by ctrl-C and by SIGTERM.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from spa_bench import machine
from spa_bench.commands import compare, data, listing, new, report
from spa_bench.commands import settings as settings_page
from spa_bench.commands.bench import What
from spa_bench.commands.check import check as check_command
from spa_bench.commands.dry_run import dry_run as show_dry_run
from spa_bench.commands.failures import ended
from spa_bench.commands.options import Flags, check, listed, only
from spa_bench.commands.words import (
    RESULTS,
    Assign,
    Data,
    DryRun,
    Env,
    EvaluationSet,
    File,
    Full,
    Json,
    Model,
    Optimiser,
    Results,
    Reward,
    Split,
    Tasks,
    Track,
    Until,
    aside,
    command,
    print_tables,
    progress,
    resumable,
    say_what_is_next,
)
from spa_bench.core import UserError
from spa_bench.runs.deadline import Deadline
from spa_bench.terminal import printable_line
from spa_bench.version import __version__

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(data.app, name="data")
app.add_typer(new.app, name="new")


def main() -> None:
    """Entry point of `spa-bench`."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end a run
    # Threads that wait by spinning make two of them slower than one as soon as anything else runs on the machine:
    # 17,600 against 30,100 tokens/s with one of two cores busy. Read when torch is loaded, so it is set here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with ended():
        try:
            app()
        finally:
            print(end="", flush=True)  # a full disk shows here at the latest


def _version(wanted: bool) -> None:
    if wanted:
        print(f"spa-bench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Benchmark for step-level rewards of language-model agents."""


@app.command()
@resumable
def run(
    env: Env = None,
    reward: Reward = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; default 0.")] = None,
    optimiser: Optimiser = None,
    evaluation: EvaluationSet = None,
    model: Model = None,
    tasks: Tasks = None,
    data: Data = None,
    assign: Assign = None,
    config: File = None,
    results: Results = RESULTS,
    track: Track = None,
    deadline: Until = None,
    dry_run: DryRun = False,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Train with one reward method and evaluate; the same command resumes an unfinished run."""
    until = Deadline.of(deadline)
    flags = Flags(
        env=only(env, "env"),
        model=model,
        tasks=tasks,
        data=data,
        file=config,
        assignments=assign or (),
        optimiser=only(optimiser, "optimiser"),
        evaluation=evaluation,
    )
    with aside():
        settings = flags.config(reward=only(reward, "reward"), seed=seed)
        check(settings)
    if dry_run:
        show_dry_run([settings], flags, results, track, as_json)
        return
    from spa_bench.training import experiment

    with aside():
        folder = experiment.run(settings, results, progress(as_json), track, until)
    print_tables([folder], as_json, full)
    say_what_is_next(results, as_json)


app.command()(compare.compare)


@app.command(name="eval")
@resumable
def evaluate(
    env: Env = None,
    agent: Annotated[
        str | None,
        typer.Option(
            help="`expert`, `random`, path.py:Class; with options NAME:OPTION=VALUE. `causal-lm`: the configured model."
        ),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Run folder whose last checkpoint is evaluated.")] = None,
    model: Model = None,
    split: Split = None,
    evaluation: EvaluationSet = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of the agent; default 0.")] = None,
    tasks: Tasks = None,
    data: Data = None,
    assign: Assign = None,
    config: File = None,
    results: Results = RESULTS,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Evaluate an agent: play every task of a held-out split once, and print the table."""
    if sum(choice is not None for choice in (agent, checkpoint, model)) != 1:
        raise UserError("eval needs exactly one of --agent, --checkpoint and --model")
    flags = Flags(
        env=env,
        model=model,
        tasks=tasks,
        data=data,
        split=split,
        file=config,
        assignments=assign or (),
        evaluation=evaluation,
    )
    from spa_bench.commands.evaluate import settings_for

    with aside():
        settings, name = settings_for(flags, agent, checkpoint, seed)
        from spa_bench.training import experiment

        folder = experiment.evaluate(settings, name, checkpoint, results, progress(as_json))
    print_tables([folder], as_json, full)


@app.command()
@command
def play(
    env: Env = None,
    task: Annotated[str | None, typer.Option(help="Task key; default: the first of the split.")] = None,
    split: Annotated[str, typer.Option(help="`train`, `valid_seen` or `valid_unseen`.")] = "valid_unseen",
    tasks: Tasks = None,
    data: Data = None,
    assign: Assign = None,
    oracle: Annotated[bool, typer.Option("--oracle", help="Show the oracle's progress after each step.")] = False,
) -> None:
    """Play a task yourself; `:help` lists the commands."""
    from spa_bench.commands.play import Game, build_world, find_task

    world = build_world(Flags(env=env, tasks=tasks, data=data, assignments=assign or ()).config(reward="none"))
    Game(world, find_task(world, split, task), oracle=oracle).loop(sys.stdin, sys.stdout)


@app.command()
@command
def bench(
    what: Annotated[What, typer.Argument(help="What is measured: a world, or the training of a model.")] = What.world,
    env: Env = None,
    model: Model = None,
    tasks: Tasks = None,
    data: Data = None,
    assign: Assign = None,
    config: File = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="CPU seconds for each measurement of a world.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Measure the speed of a world on this machine, or of training a model: games, scoring and update."""
    from spa_bench.commands import bench
    from spa_bench.commands.play import build_world

    if machine.launched():  # a world is measured without torch
        from spa_bench.training import ranks

        ranks.refuse("bench")
    flags = Flags(env=env, model=model, tasks=tasks, data=data, file=config, assignments=assign or ())
    if what is What.train:
        bench.show_training(bench.train(flags, progress(as_json)), sys.stdout, as_json)
        return
    if model is not None:
        raise UserError("--model is for `bench train`: a world is measured without a model")
    settings = flags.config(reward="none")
    bench.show(bench.measure(lambda: build_world(settings), seconds), sys.stdout, as_json)


@app.command()
@command
def audit(
    env: Env = None,
    reward: Annotated[
        str, typer.Option(help="Reward methods, separated by commas; default: all; with options NAME:OPTION=VALUE.")
    ] = "",
    recorded: Annotated[
        Path | None, typer.Option("--from", help="Run folder whose last episodes are used, instead of new ones.")
    ] = None,
    groups: Annotated[int, typer.Option(min=1, help="Number of tasks.")] = 50,
    samples: Annotated[int, typer.Option(min=1, help="Episodes per task.")] = 4,
    points: Annotated[int, typer.Option(min=0, help="Steps whose counterfactual effect is measured.")] = 400,
    alternatives: Annotated[
        int, typer.Option(min=1, help="Continuations sampled before and after each of these steps.")
    ] = 2,
    probes: Annotated[int, typer.Option(min=0, help="Tasks for the probes (loops, idle episodes, step limit).")] = 12,
    fits: Annotated[int, typer.Option(min=1, help="How often a method that learns is fitted.")] = 3,
    seed: Annotated[int | None, typer.Option(help="Random seed; default 0.")] = None,
    model: Model = None,
    tasks: Tasks = None,
    data: Data = None,
    assign: Assign = None,
    config: File = None,
    results: Results = RESULTS,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Audit credit assignment: every method rewards the same episodes; no policy is trained."""
    from spa_bench.commands.evaluate import methods_to_audit, settings_to_audit

    flags = Flags(env=env, model=model, tasks=tasks, data=data, file=config, assignments=assign or ())
    with aside():
        names = methods_to_audit(listed(reward))
        configs = [settings_to_audit(flags, recorded, name, seed) for name in names]
        for settings in configs:
            check(settings)
    from spa_bench.audit import run as auditing
    from spa_bench.audit.saved import save
    from spa_bench.audit.stage import Size
    from spa_bench.figures.audit import plot
    from spa_bench.report.show import show_audit

    size = Size(groups, samples, points, alternatives, probes, fits)
    with aside():
        found = auditing.audit(configs, recorded, size, progress(as_json))
    folder = save(found, results)
    plot(found, folder / "audit.png", folder / "audit.pdf")
    show_audit(found, folder, sys.stdout, as_json, full)
    print(printable_line(f"written to {folder}"), file=sys.stderr)


app.command()(report.report)
app.command()(report.view)
app.command()(report.summarise)
app.command()(settings_page.settings)
app.command(name="list")(listing.listing)


@app.command()
@command
def doctor(results: Results = RESULTS, model: Model = None, assign: Assign = None, as_json: Json = False) -> None:
    """Check this machine: versions, device, memory, disk, data; with --model what training that model takes."""
    from spa_bench.commands.doctor import examine, examine_model, show

    checks = examine(results)
    if model is not None:
        checks += examine_model(Flags(env="alfworld", model=model, assignments=assign or ()).config(reward="none"))
    show(checks, sys.stdout, as_json)
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(1)


app.command()(check_command)
