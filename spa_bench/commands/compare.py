"""`spa-bench compare`: several runs from the same warm start, here or, as a part of them, in a job of a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spa_bench.commands import comparison
from spa_bench.commands.dry_run import dry_run as show_dry_run
from spa_bench.commands.options import Flags
from spa_bench.commands.words import (
    METHODS,
    RESULTS,
    WORLDS,
    Assign,
    Baseline,
    Data,
    DryRun,
    EvaluationSet,
    File,
    Full,
    Json,
    Match,
    Model,
    Optimiser,
    Results,
    Tasks,
    Track,
    Until,
    aside,
    print_tables,
    progress,
    resumable,
    say_what_is_next,
)
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.runs.deadline import Deadline, DeadlineReached
from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.runs.names import reward_label
from spa_bench.terminal import argument, printable_line

if TYPE_CHECKING:
    from spa_bench.training.experiment import Attempts


class Engine(StrEnum):
    """What does the runs of a comparison."""

    local = "local"
    ray = "ray"


Envs = Annotated[str | None, typer.Option(help=f"Worlds, separated by commas: {WORLDS}.")]
Rewards = Annotated[
    str, typer.Option(help=f"Reward methods, separated by commas; with options NAME:OPTION=VALUE. {METHODS}")
]
Seeds = Annotated[
    str | None,
    typer.Option(help="Number of seeds for each method, or the seeds themselves, such as 0,1,2; default 3."),
]
Address = Annotated[
    str | None, typer.Option(help="Of the Ray cluster; default: RAY_ADDRESS, else one of this machine alone.")
]
CpusPerRun = Annotated[float | None, typer.Option(min=0, help="CPUs that Ray keeps for each run; default 1.")]
GpusPerRun = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="GPUs that Ray keeps for each run, such as 0.5; default 1 where it has any."),
]
Budgets = Annotated[
    str | None,
    typer.Option(
        help="Evaluate when so many environment steps are collected, such as 3000,6000,18000; the last ends training."
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(help="Do one part of the runs, such as 2/8, the second of eight; `report` prints the table."),
]


@resumable
def compare(
    env: Envs = None,
    reward: Rewards = "",
    seeds: Seeds = None,
    seed: Annotated[int | None, typer.Option(min=0, help="First seed, where --seeds is a number; default 0.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Number of parallel runs; default 1, on Ray as many as there is room for.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="What does the runs: this machine, or a Ray cluster.")] = Engine.local,
    address: Address = None,
    cpus_per_run: CpusPerRun = None,
    gpus_per_run: GpusPerRun = None,
    shard: Shard = None,
    match: Match = None,
    budgets: Budgets = None,
    baseline: Baseline = None,
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
    """Train with several reward methods from the same warm start, in one world or several, and print the table."""
    attempts = _attempts(engine, address, cpus_per_run, gpus_per_run, jobs)
    until = Deadline.of(deadline)
    matched = [] if match is None else [f"ppo.match={match}"]
    flags = Flags(
        env=env, model=model, tasks=tasks, data=data, file=config, assignments=[*(assign or ()), *matched],
        optimiser=optimiser, evaluation=evaluation, budgets=comparison.budgets_of(budgets),
    )  # fmt: skip
    with aside():
        configs = comparison.configs(flags, reward, seeds, seed)
    if baseline is not None and baseline not in (rows := _rows(configs)):
        raise UserError(f"no row {baseline!r} in this comparison: --baseline is one of {', '.join(rows)}")
    wanted = configs if shard is None else comparison.shard(configs, shard)
    if dry_run:
        show_dry_run(wanted, flags, results, track, as_json)
        return
    from spa_bench.training import experiment

    try:
        with aside():
            folders = experiment.compare(wanted, results, jobs or 1, progress(as_json), track, until, attempts)
    except (UserError, DeadlineReached):
        if shard is None:
            _print_finished(configs, results, as_json, full, baseline)
        raise
    if shard is not None:
        _print_shard(folders, shard, results, as_json)
        return
    print_tables(folders, as_json, full, baseline)
    say_what_is_next(results, as_json)


def _attempts(
    engine: Engine, address: str | None, cpus: float | None, gpus: float | None, most: int | None
) -> Attempts | None:
    """How the runs are done on a Ray cluster, None on this machine; UserError without Ray, and for options of it."""
    if engine is Engine.local:
        for name, value in (("address", address), ("cpus-per-run", cpus), ("gpus-per-run", gpus)):
            if value is not None:
                raise UserError(f"--{name} is for --engine ray")
        return None
    from spa_bench.training import on_ray

    on_ray.required()
    return partial(on_ray.runs, on_ray.Request(address, 1.0 if cpus is None else cpus, gpus, most))


def _rows(configs: Sequence[RunConfig]) -> list[str]:
    """Labels of the rows in the table of these runs."""
    from spa_bench.analysis.groups import START

    return list(dict.fromkeys([START, *(reward_label(config.reward, config.reward_options) for config in configs)]))


def _print_finished(
    configs: Sequence[RunConfig], results: Path, as_json: bool, full: bool, baseline: str | None
) -> None:
    """Print the table of a comparison in which not every run is finished; nothing where none is."""
    from spa_bench.training.experiment import is_finished

    folders = {path: config for config in configs if (path := run_path(results, config)).is_dir()}
    done = [config for path, config in folders.items() if is_finished(RunFolder(path))]
    if done:
        print_tables(list(folders), as_json, full, baseline if baseline in _rows(done) else None)
        say_what_is_next(results, as_json)


def _print_shard(folders: Sequence[Path], shard: str, results: Path, as_json: bool) -> None:
    """Print the run folders of a part; the table of a part would be none of the comparison."""
    if as_json:
        print(json.dumps({"shard": shard, "runs": [str(folder) for folder in folders]}, indent=1))
        return
    for folder in folders:
        print(printable_line(str(folder)))
    line = f"shard {shard}: {len(folders)} runs are finished; when all shards are: spa-bench report {argument(results)}"
    print(printable_line(line), file=sys.stderr)
