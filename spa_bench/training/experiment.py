"""One run, a comparison of several, an evaluation.

Everything is a function of the configuration. The stages of a run are in `stages`, what all methods share in
`training.start`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from spa_bench import registry
from spa_bench.config import CHAT_API, VLLM, RunConfig
from spa_bench.core import UserError, derive_seed
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.rollout.agents import CheckedAgent
from spa_bench.rollout.worlds import WorldError, WorldHangs, ask
from spa_bench.runs import provenance, trackers
from spa_bench.runs.deadline import NEVER, Deadline, DeadlineReached
from spa_bench.runs.folder import RunFolder, config_hash, read_run, record_failure, run_path
from spa_bench.runs.names import reward_label, reward_name, reward_typed, world_name
from spa_bench.runs.progress import Progress, about, seconds_left
from spa_bench.training import adapter, devices, ppo, ranks, start, workers
from spa_bench.training.budget import least_steps
from spa_bench.training.checked_method import extra_information
from spa_bench.training.code import agent_code, reward_code
from spa_bench.training.evaluation import Evaluation
from spa_bench.training.memory import enough_memory
from spa_bench.training.record import SharedFolder
from spa_bench.training.stages import Run, weights_hash
from spa_bench.watch import recording, watching


def run(
    config: RunConfig,
    results: Path,
    progress: Progress,
    track: str | None = None,
    deadline: Deadline = NEVER,
) -> Path:
    """One method, one world, one seed, from tasks to an evaluated policy; returns the run folder.

    Finished runs return at once. `track` names a tracker that shows the metrics too; it is no part of the
    configuration, for it changes no result, nor does `deadline`. Raises UserError for anything the user can fix,
    TrainingError where going on would train on wrong numbers, DeadlineReached where it stops to be gone on with.
    """
    with ranks.attended(), watching(config.limits.model_dump(), "limits"):
        _join(config)
        if not ranks.first():
            progress, track = Progress.quiet(), None
        try:
            with ranks.naming_the_dead():
                return _run(config, results, progress, track, deadline)
        except ranks.RankDied as error:  # it may be the one that kept the record
            record_failure(run_path(results, config), str(error))
            raise


def _join(config: RunConfig) -> None:
    """Join the other ranks, where there are any."""
    device = devices.choose_device(config.model.device)
    if ranks.launched() and device.index is not None:
        raise UserError(f"model.device={config.model.device}: accelerate launch gives each rank its GPU: set cuda")
    if ranks.launched() and config.model.engine == VLLM:
        raise UserError(f"model.engine={config.model.engine}: set engine=transformers or server for accelerate launch")
    ranks.begin(cpu=device.type == "cpu")


def _run(config: RunConfig, results: Path, progress: Progress, track: str | None, deadline: Deadline) -> Path:
    trackers.check(track)
    path = run_path(results, config)
    if not is_finished(RunFolder(path)):
        deadline.check("nothing new was begun")
    start.needs_tokens(config)
    method = make_method(config)
    if method.kl_in_reward and not method.uses_critic:
        raise UserError(
            f"reward {reward_name(config.reward)}: kl_in_reward needs uses_critic = True, or the KL is lost"
        )
    common = start.begin(config)
    common.records = method.records
    check_iteration(config, common.env.max_steps, common.characters)
    own = {
        "reward_code": reward_code(method),
        "extra_information": extra_information(method),
        "placebo": method.placebo or None,
        "our_form": method.our_form or None,
        "level": config.ppo.level or method.level,
    }
    with (
        SharedFolder.open(path, config, facts(common, common.model) | own) as folder,
        trackers.tracked(track, path, progress),  # of a finished run, too: a kill may have come before its last points
    ):
        if not is_finished(folder):

            def failed(reason: str) -> None:
                folder.metrics.append({"kind": "failed", "reason": reason})

            try:
                with (
                    recording(failed),
                    enough_memory("outside of an update", "lower model.cache_bytes or batch, or set model.dtype=bf16"),
                ):
                    Run(config, common, method, folder, progress, deadline).finish()
            except (ppo.TrainingError, MethodError, WorldError, WorldHangs) as error:
                failed(str(error))
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


@dataclass(frozen=True)
class Attempt:
    """What came of one run of a comparison."""

    seconds: float
    """Without the time that it waited for others."""
    problem: UserError | DeadlineReached | RuntimeError | None = None
    """Why it is not finished."""


Attempts = Callable[
    [Sequence[RunConfig], Sequence[bool], Progress, tuple[Path, str | None, Deadline]], Iterator[tuple[int, Attempt]]
]
"""Has runs done, of which the second argument says which are still to be done; index and outcome of each, in any order.
The tuple: folder of results, tracker, deadline."""


def compare(
    configs: Sequence[RunConfig],
    results: Path,
    jobs: int,
    progress: Progress,
    track: str | None = None,
    deadline: Deadline = NEVER,
    attempts: Attempts | None = None,
) -> list[Path]:
    """Several runs, `jobs` at a time in processes of their own, or as `attempts` does; returns their folders in order.

    Runs of one seed share their start through the cache: the first makes it, the others wait for it. A failed run
    does not stop the others; the first failure is raised at the end, or DeadlineReached where runs are left to be done.
    `track` and `deadline` as for one run.
    """
    ranks.refuse("compare")
    trackers.check(track)
    refuse_namesakes(configs)
    paths = [run_path(results, config) for config in configs]
    todo = [not is_finished(RunFolder(path)) for path in paths]
    attempts = attempts or (_one_by_one if jobs == 1 else partial(_side_by_side, jobs))
    problems: list[Exception] = []
    for index, attempt in attempts(configs, todo, progress, (results, track, deadline)):
        if attempt.problem is not None:
            problems.append(attempt.problem)
        if isinstance(attempt.problem, UserError):
            progress.note(f"{title(configs[index])}: {attempt.problem}")
    if any(isinstance(problem, DeadlineReached) for problem in problems):
        done = sum(is_finished(RunFolder(path)) for path in paths)
        problems.insert(0, DeadlineReached(f"{done} of {len(paths)} runs are finished"))
    for problem in sorted(problems, key=lambda problem: not isinstance(problem, RuntimeError)):
        raise problem
    return paths


def _one_by_one(
    configs: Sequence[RunConfig], todo: Sequence[bool], progress: Progress, where: tuple[Path, str | None, Deadline]
) -> Iterator[tuple[int, Attempt]]:
    took: list[float] = []
    for index, config in enumerate(configs):
        left = time_left(took, sum(todo[index:]), 1)
        place = f"run {index + 1} of {len(configs)}" + (f", {left} left" if left else "")
        progress.note(f"{place}: {title(config)}")
        attempt = _attempt(config, progress, *where)
        if todo[index] and attempt.problem is None:
            took.append(attempt.seconds)
        yield index, attempt


def _side_by_side(
    jobs: int,
    configs: Sequence[RunConfig],
    todo: Sequence[bool],
    progress: Progress,
    where: tuple[Path, str | None, Deadline],
) -> Iterator[tuple[int, Attempt]]:
    took, rest = list[float](), sum(todo)
    inner = Progress("quiet" if progress.mode == "quiet" else "notes")

    def note(index: int, words: str) -> None:
        progress.note(f"{title(configs[index])}: {words}")

    tasks = [(config, inner, *where) for config in configs]
    own = devices.shared_out([config.model.device for config in configs], jobs, devices.visible())
    with (
        contextlib.closing(workers.results(_attempt, tasks, jobs, note, own)) as ended,
        progress.stage("runs", total=len(configs)) as stage,
    ):
        for index, attempt in ended:
            if isinstance(attempt, workers.Died):
                attempt = _lost(configs[index], where[0], attempt)
            elif todo[index] and attempt.problem is None:
                took.append(attempt.seconds)
            rest -= todo[index]
            left = time_left(took, rest, jobs)
            stage.given(1, last=title(configs[index]), **({"left": left} if left else {}))
            yield index, attempt


def _lost(config: RunConfig, results: Path, died: workers.Died) -> Attempt:
    """A run whose process died, each time that it was begun: it cannot say so itself."""
    if died.defect:
        return Attempt(0.0, RuntimeError(f"{title(config)}: {died}; the traceback of its error is above"))
    reason = f"{died}, {workers.ATTEMPTS} times: lower --jobs if memory ran out; the same command tries it again"
    record_failure(run_path(results, config), reason)
    return Attempt(0.0, UserError(f"{title(config)}: {reason}"))


def title(config: RunConfig) -> str:
    """A run in a line of progress or of an error."""
    return f"{config.env}, {reward_label(config.reward, config.reward_options)}, seed {config.seed}"


def refuse_namesakes(configs: Iterable[RunConfig]) -> None:
    """UserError where two methods would share a row in a table: their files and classes have the same names."""
    found: dict[str, str] = {}
    for config in configs:
        label = reward_label(config.reward, config.reward_options)
        if found.setdefault(label, config.reward) != config.reward:
            raise UserError(
                f"{found[label]} and {config.reward} would both be {label} in tables: rename one file or class"
            )


def _attempt(config: RunConfig, progress: Progress, results: Path, track: str | None, deadline: Deadline) -> Attempt:
    return attempted(lambda: run(config, results, progress, track, deadline))


def attempted(work: Callable[[], object]) -> Attempt:
    """Do a part of a comparison; what the user can mend, and the deadline, are its outcome."""
    started, problem = time.monotonic(), None
    with contextlib.redirect_stdout(sys.stderr):  # a process of its own has a standard output to keep clean, too
        try:
            work()
        except (UserError, DeadlineReached) as error:
            problem = error
    return Attempt(time.monotonic() - started, problem)


def time_left(took: Sequence[float], rest: int, jobs: int) -> str:
    """Estimated time of `rest` runs, `jobs` in parallel, from the seconds of finished ones; empty without any."""
    seconds = seconds_left(len(took), len(took) + rest, sum(took) / jobs)
    return about(seconds) if seconds else ""


def evaluate(config: RunConfig, agent: str, checkpoint: Path | None, results: Path, progress: Progress) -> Path:
    """Play the evaluation set once; returns a folder that the table reads like a run's.

    `agent` is a scripted one, by name or `path.py:Class`, with the options that the configuration has in place of the
    reward's, or anything else for the language model: the last checkpoint of the run folder `checkpoint`, or the
    configured model as it is (for `embedded`: the warm start, as untrained weights say nothing).
    """
    with watching(config.limits.model_dump(), "limits"):
        return _evaluate(config, agent, checkpoint, results, progress)


def _evaluate(config: RunConfig, agent: str, checkpoint: Path | None, results: Path, progress: Progress) -> Path:
    ranks.refuse("eval")
    common = start.begin(config)
    label, code = agent, ""
    policy = None if checkpoint is None else last_policy(checkpoint)
    if policy is not None:
        label = f"{reward_name(config.reward)} (checkpoint)"
        player: Any = start.load_policy(common, policy)
    elif agent in registry.names("agents") or ".py:" in agent:
        label = reward_label(agent, config.reward_options)
        scripted = registry.build("agents", agent, prompt=common.prompt, **config.reward_options)
        player, code = CheckedAgent(reward_typed(agent), scripted), agent_code(scripted)
    elif config.model.engine == CHAT_API:
        player = start.behind_interface(common)
    else:
        embedded = config.model.name == "embedded"
        player = start.load_policy(common, start.warm_start(common, progress) if embedded else None)
    origin = "" if policy is None else f"-{weights_hash(policy)[:8]}"
    place = results / "evals" / world_name(config.env) / reward_name(agent)
    path = place / f"{config.seed}-{config_hash(config)}{origin}"
    model = common.model if checkpoint is None else read_run(checkpoint)["facts"].get("model", {})
    own = {"agent": label} | ({"agent_code": code} if code else {})
    with RunFolder.open(path, config, facts(common, model) | own) as folder:
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
        "buckets": list(ask(env, "buckets")),
        "max_steps": ask(env, "max_steps"),
        "protocol": ask(env, "protocol"),
        "outcome": ask(env, "outcome"),
        "prompt": common.prompt_hash,
        "device": common.device.type,
        "dtype": common.dtype,
    }


def is_finished(folder: RunFolder) -> bool:
    """The run has been evaluated."""
    return folder.is_finished()
