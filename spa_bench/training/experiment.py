"""One run, a comparison of several, an evaluation.

Everything is a function of the configuration. The stages of a run are in `stages`, what all methods share in
`training.start`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from spa_bench import registry
from spa_bench.config import CHAT_API, RunConfig
from spa_bench.core import UserError, derive_seed
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.runs import provenance, trackers
from spa_bench.runs.folder import RunFolder, config_hash, read_run, run_path
from spa_bench.runs.names import reward_label, reward_name
from spa_bench.runs.progress import Progress, about, seconds_left
from spa_bench.training import adapter, ppo, start
from spa_bench.training.budget import least_steps
from spa_bench.training.checked_method import extra_information
from spa_bench.training.code import reward_code
from spa_bench.training.evaluation import Evaluation
from spa_bench.training.memory import enough_memory
from spa_bench.training.stages import Run, weights_hash


def run(config: RunConfig, results: Path, progress: Progress, track: str | None = None) -> Path:
    """One method, one world, one seed, from tasks to an evaluated policy; returns the run folder.

    Finished runs return at once. `track` names a tracker that shows the metrics too; it is no part of the
    configuration, for it changes no result. Raises UserError for anything the user can fix, TrainingError where going
    on would train on wrong numbers.
    """
    trackers.check(track)
    start.needs_tokens(config)
    method = make_method(config)
    if method.kl_in_reward and not method.uses_critic:
        raise UserError(
            f"reward {reward_name(config.reward)}: kl_in_reward needs uses_critic = True, or the KL is lost"
        )
    common = start.begin(config)
    check_iteration(config, common.env.max_steps, common.characters)
    path = run_path(results, config)
    own = {
        "reward_code": reward_code(method),
        "extra_information": extra_information(method),
        "placebo": method.placebo or None,
        "our_form": method.our_form or None,
        "level": config.ppo.level or method.level,
    }
    with (
        RunFolder.open(path, config, facts(common, common.model) | own) as folder,
        trackers.tracked(track, path, progress),  # of a finished run, too: a kill may have come before its last points
    ):
        if not is_finished(folder):
            try:
                with enough_memory("outside of an update", "lower model.cache_bytes or batch, or set model.dtype=bf16"):
                    Run(config, common, method, folder, progress).finish()
            except (ppo.TrainingError, MethodError) as error:
                folder.metrics.append({"kind": "failed", "reason": str(error)})
                raise
    return path


def check_iteration(config: RunConfig, max_steps: int, characters: int) -> None:
    """Refuse iterations that may end fewer episodes than they have minibatches: methods would take unequal updates."""
    least = least_steps(config.ppo.minibatches, max_steps, characters)
    if config.ppo.env_steps < least:
        raise UserError(
            f"ppo.env_steps must be at least {least}: each of the {config.ppo.minibatches} ppo.minibatches needs one "
            f"whole episode, of up to {max_steps} steps; raise ppo.env_steps or lower ppo.minibatches"
        )


def compare(
    configs: Sequence[RunConfig], results: Path, jobs: int, progress: Progress, track: str | None = None
) -> list[Path]:
    """Several runs, `jobs` at a time in processes of their own; returns their folders in order.

    Runs of one seed share their start through the cache: the first makes it, the others wait for it. A failed run
    does not stop the others; the first failure is raised at the end. `track` as for one run.
    """
    trackers.check(track)
    refuse_namesakes(configs)
    paths = [run_path(results, config) for config in configs]
    todo = [not is_finished(RunFolder(path)) for path in paths]
    took: list[float] = []
    failure: BaseException | None = None
    if jobs == 1:
        for index, config in enumerate(configs):
            left = time_left(took, sum(todo[index:]), jobs)
            place = f"run {index + 1} of {len(configs)}" + (f", {left} left" if left else "")
            progress.note(f"{place}: {config.reward}, seed {config.seed}")
            try:
                seconds = _timed(config, results, progress, track)
                took += [seconds] if todo[index] else []
            except UserError as refused:
                failure = failure or refused
                progress.note(f"{config.reward}, seed {config.seed}: {refused}")
        if failure is not None:
            raise failure
        return paths
    context = multiprocessing.get_context("spawn")
    inner = Progress("quiet" if progress.mode == "quiet" else "notes")
    with ProcessPoolExecutor(jobs, context) as pool, progress.stage("runs", total=len(configs)) as stage:
        futures = {pool.submit(_timed, config, results, inner, track): index for index, config in enumerate(configs)}
        for future in as_completed(futures):
            index = futures[future]
            config = configs[index]
            if error := future.exception():
                failure = failure or error
                progress.note(f"{config.reward}, seed {config.seed}: {error}")
            elif todo[index]:
                took.append(future.result())
            todo[index] = False
            left = time_left(took, sum(todo), jobs)
            stage.given(1, last=f"{config.reward}/{config.seed}", **({"left": left} if left else {}))
    if failure is not None:
        raise failure
    return paths


def refuse_namesakes(configs: Iterable[RunConfig]) -> None:
    """UserError where two methods would share a row in a table: their files and classes have the same names."""
    found: dict[str, str] = {}
    for config in configs:
        label = reward_label(config.reward, config.reward_options)
        if found.setdefault(label, config.reward) != config.reward:
            raise UserError(
                f"{found[label]} and {config.reward} would both be {label} in tables: rename one file or class"
            )


def _timed(config: RunConfig, results: Path, progress: Progress, track: str | None) -> float:
    """Seconds that a run takes, without the time that it waited in a pool."""
    started = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):  # a process of a pool has a standard output of its own to keep clean
        run(config, results, progress, track)
    return time.monotonic() - started


def time_left(took: Sequence[float], rest: int, jobs: int) -> str:
    """Estimated time of `rest` runs, `jobs` in parallel, from the seconds of finished ones; empty without any."""
    seconds = seconds_left(len(took), len(took) + rest, sum(took) / jobs)
    return about(seconds) if seconds else ""


def evaluate(config: RunConfig, agent: str, checkpoint: Path | None, results: Path, progress: Progress) -> Path:
    """Play the evaluation set once; returns a folder that the table reads like a run's.

    `agent` is a scripted one, or anything else for the language model: the last checkpoint of the run folder
    `checkpoint`, or the configured model as it is (for `embedded`: the warm start, as untrained weights say nothing).
    """
    common = start.begin(config)
    policy = None if checkpoint is None else last_policy(checkpoint)
    if policy is not None:
        player: Any = start.load_policy(common, policy)
    elif agent in registry.names("agents"):
        player = registry.build("agents", agent, prompt=common.prompt)
    elif config.model.engine == CHAT_API:
        player = start.behind_interface(common)
    else:
        embedded = config.model.name == "embedded"
        player = start.load_policy(common, start.warm_start(common, progress) if embedded else None)
    origin = "" if policy is None else f"-{weights_hash(policy)[:8]}"
    path = results / "evals" / config.env / agent / f"{config.seed}-{config_hash(config)}{origin}"
    label = agent if checkpoint is None else f"{reward_name(config.reward)} (checkpoint)"
    model = common.model if checkpoint is None else read_run(checkpoint)["facts"].get("model", {})
    with RunFolder.open(path, config, facts(common, model) | {"agent": label}) as folder:
        if not is_finished(folder):
            Evaluation(common, folder, progress).play(player)
            folder.metrics.append({"kind": "done"})
    return path


def last_policy(run_folder: Path) -> Path:
    """The newest good checkpoint's policy; UserError where the run has none."""
    folder = RunFolder(run_folder)
    latest = folder.latest_checkpoint()
    if latest is None and is_finished(folder):
        raise UserError(
            f"{run_folder} has no checkpoint, as it was not trained (ppo.iterations=0): use `eval --model` or `audit` "
            "without --from for its warm start"
        )
    if latest is None:
        raise UserError(f"{run_folder} has no checkpoint: finish the run first")
    return latest[1] / "policy"


def make_method(config: RunConfig) -> RewardMethod:
    """The reward method with its options and seed; UserError for a wrong name or option."""
    method = registry.build("rewards", config.reward, **config.reward_options)
    method.seed = derive_seed(config.seed, "method")
    return method


def facts(common: start.Start, model: Mapping[str, str]) -> dict[str, Any]:
    """What `run.json` says beside the configuration; `model` is what the model holds, empty where settings tell all."""
    env, known = common.make_env(), provenance.facts()
    known["versions"] |= adapter.versions(common.config.model)
    return known | {
        "panel": common.panel_hash,
        "content": common.content,
        **({"model": dict(model)} if model else {}),
        **({"engine": common.engine.facts()} if common.engine is not None else {}),
        **({"world_code": common.world_code} if common.world_code else {}),
        "panel_tasks": len(common.panel),
        "train_tasks": len(common.train),
        "buckets": list(env.buckets),
        "max_steps": env.max_steps,
        "protocol": env.protocol,
        "outcome": env.outcome,
        "prompt": common.prompt_hash,
        "device": common.device.type,
        "dtype": common.dtype,
    }


def is_finished(folder: RunFolder) -> bool:
    """The run has been evaluated."""
    rows, _ = folder.metrics.read()
    return any(row.get("kind") == "done" for row in rows)
