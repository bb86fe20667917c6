"""`spa-bench bench`: the speed of a world on this machine: observation, admissible actions, grounding signal and the
oracle's progress included.

CPU time, not wall time: it is the same on a busy machine. Ratios to upstream simulators are measured by the files in
tests/benchmarks, where both run.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO, TypeVar

import numpy as np

from spa_bench.core import TextEnv, derive_seed

T = TypeVar("T")

SPLIT = "valid_unseen"


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
    yield _repeat("load the world and list its held-out tasks", 0.0, [""], lambda _: world.tasks(SPLIT))
    keys = sorted((task.key for task in world.tasks(SPLIT)), key=lambda key: derive_seed("bench", key))
    yield _repeat("reset", seconds, keys, lambda key: _begin(world, key))
    rng = np.random.default_rng(derive_seed("bench"))

    def chance(admissible: Sequence[str]) -> str:
        return admissible[int(rng.integers(len(admissible)))] if admissible else ""

    yield _steps("step, uniformly random admissible action", seconds, world, keys, chance)
    yield _steps("step, the expert's action", seconds, world, keys, lambda _: world.expert_action())
    _begin(world, keys[0])
    yield _repeat("snapshot and restore", seconds, range(1000), lambda _: world.restore(world.snapshot()))


def show(measured: Iterable[Measurement], stream: TextIO, as_json: bool) -> None:
    """Print what was measured."""
    if as_json:
        print(json.dumps([asdict(one) | {"each": one.each} for one in measured], indent=1), file=stream)
        return
    for one in measured:
        rate = f"{1 / one.each:,.0f}/s, " if one.count > 1 else ""
        print(f"{one.what}: {rate}{1e6 * one.each:,.1f} us each, {one.count:,} times", file=stream, flush=True)


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
