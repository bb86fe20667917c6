"""Which differences between the rows of a table are significant, and which could have been detected at all.

Success only. Each pair of policies is compared on the tasks and seeds that both have.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spa_bench.analysis.runs import Played
from spa_bench.stats import (
    Comparison,
    Estimate,
    Spread,
    bootstrap_mean,
    holm,
    paired,
    sentence,
    smallest_difference,
    spread,
    verdict,
)

ASSUMED = 0.2
"""Share of tasks that only one of two methods solves, where no pair of the table shows it."""

Scores = Mapping[int, Mapping[str, float]]
"""Success, or another value of an episode, by seed and task."""


@dataclass(frozen=True)
class Difference:
    """One method against another row."""

    method: str
    reference: str
    found: Comparison
    """Method minus reference."""
    adjusted: float
    """p by Holm over all methods that are compared with this reference."""
    verdict: str
    words: str


@dataclass(frozen=True)
class Resolution:
    """The minimum detectable effect, with 80 % power at 5 % two-sided, before Holm's correction."""

    smallest: float | None
    """Smallest true difference of success that the paired test detects; None where it detects none."""
    tasks: int
    seeds: int
    """Seeds that a pair of methods shares, the fewest."""
    discordance: float
    """Mean over the pairs of how often one seed of both methods differs on a task."""
    assumed: bool
    """Whether the discordance is `ASSUMED`: there is no pair, or no pair differs anywhere."""


@dataclass(frozen=True)
class Variation:
    """Variability of a method's success over seeds and tasks."""

    method: str
    everywhere: Estimate
    """Success with its CI over seeds, and over tasks within task types."""
    spread: Spread


def success(episode: Played) -> float:
    """1 or 0."""
    return float(episode.success)


def scores(panels: Mapping[int, Sequence[Played]], value: Callable[[Played], float] = success) -> Scores:
    """A value by seed and task; the mean where a task was played more than once. Errors are left out."""
    found: dict[int, dict[str, float]] = {}
    for seed, episodes in panels.items():
        results: dict[str, list[float]] = defaultdict(list)
        for episode in episodes:
            if not episode.error:
                results[episode.task].append(value(episode))
        found[seed] = {task: sum(results[task]) / len(results[task]) for task in sorted(results)}
    return found


def differences(
    methods: Mapping[str, Scores], reference: str, against: Scores, kinds: Mapping[str, str], identity: str
) -> list[Difference]:
    """Each method against the reference; without those that share no seed or no task with it.

    `identity` says what the table is about. With the two names it seeds all draws, so a row does not change when other
    methods join the table, except by Holm's correction.
    """
    found: dict[str, Comparison] = {}
    for method, own in methods.items():
        seeds = sorted(own.keys() & against.keys())
        tasks = shared_tasks([side[seed] for seed in seeds for side in (own, against)])
        if method != reference and tasks:
            one, other = (_matrix(side, seeds, tasks) for side in (own, against))
            rng = generator(identity, method, reference)
            found[method] = paired(one, other, [kinds[task] for task in tasks], rng)
    adjusted = holm([comparison.p for comparison in found.values()])
    return [
        Difference(method, reference, pair, p, verdict(pair, p), sentence(method, reference, pair, p))
        for (method, pair), p in zip(found.items(), adjusted, strict=True)
    ]


def resolution(found: Iterable[Difference], tasks: int) -> Resolution:
    """The minimum detectable effect, at the discordance of the pairs."""
    pairs = [difference.found for difference in found]
    discordance = sum(pair.discordance for pair in pairs) / max(1, len(pairs))
    if not discordance:
        return Resolution(smallest_difference(tasks, ASSUMED), tasks, 1, ASSUMED, assumed=True)
    seeds, tasks = min(pair.seeds for pair in pairs), min(pair.tasks for pair in pairs)
    alike = sum(pair.alike * pair.discordance for pair in pairs) / (discordance * len(pairs))
    smallest = smallest_difference(tasks, discordance, seeds, min(1.0, alike))
    return Resolution(smallest, tasks, seeds, discordance, assumed=False)


def variation(method: str, own: Scores, kinds: Mapping[str, str], identity: str) -> Variation | None:
    """Variability of one method's success; None where its seeds share no task."""
    tasks = shared_tasks(list(own.values()))
    if not tasks:
        return None
    table, rng = _matrix(own, sorted(own), tasks), generator(identity, method)
    everywhere = bootstrap_mean(table, [kinds[task] for task in tasks], rng, limits=(0.0, 1.0))
    return Variation(method, everywhere, spread(table))


def shared_tasks(played: Sequence[Mapping[str, float]]) -> list[str]:
    """The tasks that all of these have a result of, sorted."""
    return sorted(set.intersection(*map(set, played))) if played else []


def generator(*names: str) -> np.random.Generator:
    """A random generator seeded by these names: its draws do not depend on what else is drawn."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _matrix(own: Scores, seeds: Sequence[int], tasks: Sequence[str]) -> list[list[float]]:
    return [[own[seed][task] for task in tasks] for seed in seeds]
