"""`spa-bench bench`: the speed of a world, or of training a model, on this machine.

A world's with observation, admissible actions, grounding signal and the oracle's progress: CPU time, not wall time, as
it is the same on a busy machine. Ratios to upstream simulators are measured by the files in tests/benchmarks, where
both run. Training's is measured by `training.trial`, in wall time: a GPU has no other.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, TextIO, TypeVar

import numpy as np

from spa_bench.commands.options import Flags, check
from spa_bench.commands.words import aside
from spa_bench.core import TextEnv, derive_seed
from spa_bench.rollout.worlds import world_call
from spa_bench.runs.progress import Progress
from spa_bench.terminal import printable_line

T = TypeVar("T")

SPLIT = "valid_unseen"
GB = 10**9

DOSE = ("world.max_steps=8", "ppo.iterations=2", "ppo.env_steps=64", "ppo.minibatches=2")
"""What is trained where no `--set` says otherwise: eight games of eight turns, twice, as the first time warms up."""

SHARES = {"in all": "mfu", "in the update": "mfu_update", "in sampling": "mfu_sampling"}


class What(StrEnum):
    """What can be measured."""

    world = "world"
    train = "train"


@dataclass(frozen=True)
class Measurement:
    """How often something was done, and the processor time that it took."""

    what: str
    count: int
    seconds: float

    @property
    def each(self) -> float:
        """Seconds for one."""
        return self.seconds / self.count


def measure(make: Callable[[], TextEnv], seconds: float) -> Iterator[Measurement]:
    """Open the world and use it for some CPU seconds in each way that training does."""
    world = make()

    def timed(function: Callable[..., Measurement], *arguments: Any) -> Measurement:
        with world_call(world.name, "a function of it", code=type(world)):
            return function(*arguments)

    yield timed(_repeat, "load the world and list its held-out tasks", 0.0, [""], lambda _: world.tasks(SPLIT))
    keys = sorted((task.key for task in world.tasks(SPLIT)), key=lambda key: derive_seed("bench", key))
    yield timed(_repeat, "reset", seconds, keys, lambda key: _begin(world, key))
    rng = np.random.default_rng(derive_seed("bench"))

    def chance(admissible: Sequence[str]) -> str:
        return admissible[int(rng.integers(len(admissible)))] if admissible else ""

    yield timed(_steps, "step, uniformly random admissible action", seconds, world, keys, chance)
    yield timed(_steps, "step, the expert's action", seconds, world, keys, lambda _: world.expert_action())
    _begin(world, keys[0])
    yield timed(_repeat, "snapshot and restore", seconds, range(1000), lambda _: world.restore(world.snapshot()))


def show(measured: Iterable[Measurement], stream: TextIO, as_json: bool) -> None:
    """Print what was measured."""
    if as_json:
        print(json.dumps([asdict(one) | {"each": one.each} for one in measured], indent=1), file=stream)
        return
    for one in measured:
        rate = f"{1 / one.each:,.0f}/s, " if one.count > 1 else ""
        print(f"{one.what}: {rate}{1e6 * one.each:,.1f} us each, {one.count:,} times", file=stream, flush=True)


def train(flags: Flags, progress: Progress) -> dict[str, Any]:
    """The figures of training with these settings and `DOSE`, in ALFWorld where no world is named."""
    env = flags.env or flags.values().get("env", "alfworld")
    config = replace(flags, env=env, assignments=[*DOSE, *flags.assignments]).config(reward="sparse")
    check(config)
    with aside():
        from spa_bench.training.trial import measure

        return measure(config, progress)


def show_training(found: Mapping[str, Any], stream: TextIO, as_json: bool) -> None:
    """Print the figures of `training.trial.measure`."""
    if as_json:
        print(json.dumps(found, indent=1), file=stream)
        return
    for line in training_lines(found):
        print(printable_line(line), file=stream)


def training_lines(found: Mapping[str, Any]) -> list[str]:
    """What was measured, rates, time by part, memory, and the share of the device's peak where that is known."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    parts = {name.removeprefix("seconds_"): value for name, value in found.items() if name.startswith("seconds_")}
    split = ", ".join(f"{name} {100 * value / found['seconds']:.0f} %" for name, value in parts.items())
    of = "tensors on the device" if found["device"].startswith("cuda") else "the process, so far"
    lines = [
        f"{found['model']}: {found['weights']:,} weights in {found['dtype']}, {found['trained']:,} of them trained, on "
        f"{found['device']}, {found['threads']} threads; {versions}",
        f"iteration {found['iterations']} in {found['env']}: {found['env_steps_executed']:,} environment steps, "
        f"{found['tokens_sampled']:,} tokens sampled, {found['tokens_trained']:,.0f} trained on",
        f"sampling: {found['tokens_sampled_per_second']:,.1f} tokens/s, what is read in between included",
        f"games: {found['env_steps_per_second']:,.1f} environment steps/s, sampling included",
        f"update: {found['tokens_trained_per_second']:,.1f} tokens/s",
        f"time: {found['seconds']:.3g} s: {split}",
        f"memory: at most {found['peak_memory_bytes'] / GB:.3g} GB of {of}",
    ]
    if "prefill_tokens_per_second" in found:
        lines.insert(2, f"reading first prompts: {found['prefill_tokens_per_second']:,.1f} tokens/s")
    shares = {name: found[key] for name, key in SHARES.items() if key in found}
    if shares:
        lines.append("MFU: " + ", ".join(f"{100 * value:.1f} % {name}" for name, value in shares.items()))
    return lines


def _begin(world: TextEnv, key: str) -> Sequence[str]:
    """Start a task; what can be done first."""
    admissible: Sequence[str] = world.reset(options={"task": key, "split": SPLIT})[1]["admissible"]
    return admissible


def _repeat(what: str, seconds: float, items: Sequence[T], do: Callable[[T], object]) -> Measurement:
    count, started = 0, time.process_time()
    for item in itertools.cycle(items):
        do(item)
        count += 1
        if time.process_time() - started >= seconds:
            break
    return Measurement(what, count, time.process_time() - started)


def _steps(
    what: str, seconds: float, world: TextEnv, keys: Sequence[str], choose: Callable[[Sequence[str]], str]
) -> Measurement:
    """Whole episodes, the time of their resets left out."""
    count, spent = 0, 0.0
    for key in itertools.cycle(keys):
        admissible, over = _begin(world, key), False
        started = time.process_time()
        while not over:
            _, _, terminated, truncated, info = world.step(choose(admissible))
            over, admissible = terminated or truncated, info["admissible"]
            count += 1
        spent += time.process_time() - started
        if spent >= seconds:
            break
    return Measurement(what, count, spent)
