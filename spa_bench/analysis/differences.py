"""Which differences between the rows of a table are significant, and which could have been detected at all.

Success only. Each pair of policies is compared on the tasks and seeds that both have; the verdicts hold for all pairs
of a table together: those with the warm start, with the baseline, and of ablations.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spa_bench.analysis.played import Played
from spa_bench.core import Floats
from spa_bench.stats import (
    Comparison,
    Estimate,
    Pair,
    Spread,
    Training,
    compared,
    mean_over_both,
    minimum_detectable,
    paired,
    sentence,
    spread,
    training,
    verdict,
)
from spa_bench.stats.pairs import DRAWS

ASSUMED = 0.2
"""Share of tasks that only one of two methods solves, where no pair of the table shows it."""

FULL = 0.9
"""Share of the tasks of the longest run that a run must have to say something of the training variance."""

Scores = Mapping[int, Mapping[str, float]]
"""Success, or another value of an episode, by seed and task."""


@dataclass(frozen=True)
class Difference:
    """One method against another row."""

    method: str
    reference: str
    found: Comparison
    """Method minus reference."""
    verdict: str
    words: str


@dataclass(frozen=True)
class Resolution:
    """The minimum detectable effect of the table's verdicts, with 80 % power."""

    smallest: float | None
    """True difference from the reference that gets a verdict; None where none up to 1 does."""
    reference: str | None
    """None where the table has no comparison: then it is that of one comparison with another method."""
    tasks: int
    seeds: int
    """Those of the comparisons that have the most seeds, and of these the most tasks: the effect is theirs."""
    fewer: int
    """Comparisons with the reference that have fewer seeds or tasks."""
    comparisons: int
    """Of the whole table; 1 where there is none."""
    pooled: bool | None
    """Whether the variance by training is put together over the rows; None where training seeds were not sampled."""
    assumed: bool
    """Whether the methods were taken to differ on the share `ASSUMED` of tasks: no pair differs, or there is none."""

    @property
    def trained(self) -> bool:
        """Whether training seeds were sampled."""
        return self.pooled is not None


@dataclass(frozen=True)
class Variation:
    """Variability of a method's success over seeds and tasks."""

    method: str
    everywhere: Estimate
    """Success with its CI over seeds, and over tasks within task types."""
    spread: Spread


@dataclass(frozen=True)
class Board:
    """Scores of all rows of a table."""

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    values: Floats
    """(rows, seeds, tasks); NaN where a row has no score."""

    @cached_property
    def means(self) -> Floats:
        """(rows, seeds) means of runs; NaN where a row has no score with a seed."""
        there = ~np.isnan(self.values)
        counts = there.sum(2)
        sums = np.where(there, self.values, 0.0).sum(2)
        means: Floats = np.divide(sums, counts, where=counts > 0, out=np.full(sums.shape, np.nan))
        return means

    @cached_property
    def training(self) -> Training | None:
        """What the rows say of the variance between runs; None where no two rows share two seeds.

        Runs that have fewer than `FULL` of the tasks are left out: means over other tasks differ by these.
        """
        counts = (~np.isnan(self.values)).sum(2)
        full = np.where(counts >= FULL * counts.max(initial=0), self.means, np.nan)
        scored = self.values[~np.isnan(self.values)]
        successes = bool(np.isin(scored, (0.0, 1.0)).all())  # other scores have means that are no multiples
        grain = 1 / max(1, len(self.tasks)) if successes else 0.0
        return training(full, grain) or training(self.means, grain)

    def shared(self, *labels: str) -> tuple[Floats, list[str]]:
        """(labels, seeds, tasks) of what these rows share, and these tasks; empty where there is nothing."""
        found = self.values[[self.labels.index(label) for label in labels]]
        there = ~np.isnan(found)
        seeds = there.any(2).all(0)
        tasks = np.asarray(there[:, seeds].all((0, 1))) if seeds.any() else np.zeros(len(self.tasks), dtype=np.bool_)
        return found[:, seeds][:, :, tasks], [task for task, kept in zip(self.tasks, tasks, strict=True) if kept]


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


def board(played: Mapping[str, Scores]) -> Board:
    """The scores of rows by label as one array; labels, seeds and tasks are sorted."""
    labels = tuple(sorted(played))
    seeds = tuple(sorted({seed for own in played.values() for seed in own}))
    tasks = tuple(sorted({task for own in played.values() for one in own.values() for task in one}))
    nothing: Mapping[str, float] = {}
    values = [
        [
            [results.get(task, np.nan) for task in tasks]
            for results in (played[label].get(seed, nothing) for seed in seeds)
        ]
        for label in labels
    ]
    return Board(labels, seeds, tasks, np.array(values, dtype=np.float64).reshape(len(labels), len(seeds), len(tasks)))


def differences(found: Board, wanted: Iterable[tuple[str, str]], identity: str, draws: int = DRAWS) -> list[Difference]:
    """The wanted pairs of method and reference, each once, judged together.

    Without pairs that share no seed or no task. `identity` says what the table is about and seeds the draws.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    for method, reference in dict.fromkeys(wanted):
        both, _ = found.shared(method, reference)
        if method != reference and both.size:
            pairs[method, reference] = paired(both[0], both[1])
    rows = [(found.labels.index(method), found.labels.index(reference)) for method, reference in pairs]
    judged = compared(list(pairs.values()), rows, found.training, generator(identity), draws=draws)
    return [
        Difference(method, reference, one, verdict(one), sentence(method, reference, one))
        for (method, reference), one in zip(pairs, judged, strict=True)
    ]


def resolution(judged: Sequence[Difference], reference: str | None, found: Board) -> Resolution:
    """The minimum detectable effect of the comparisons with one reference, beside all others of the table."""
    own = [one.found for one in judged if one.reference == reference]
    seeds, tasks = max(((one.seeds, one.tasks) for one in own), default=(len(found.seeds), len(found.tasks)))
    full = [one for one in own if (one.seeds, one.tasks) == (seeds, tasks)]
    known = [one.detectable for one in full if one.differing]
    places = {label: place for place, label in enumerate(found.labels)}
    rows = [(places[one.method], places[one.reference]) for one in judged] or [(0, 1)]
    pooled = None if found.training is None else found.training.pooled
    if not judged and seeds > 1:
        pooled = True
    if any(effect is not None for effect in known):
        smallest: float | None = sum(1.0 if effect is None else effect for effect in known) / len(known)
    elif known or tasks < 2:
        smallest = None
    else:
        sampled, deviation = (1, 0.0) if pooled is None else (seeds, _deviation(found, tasks))
        smallest = minimum_detectable(tasks, sampled, rows, discordance=ASSUMED, deviation=deviation)
    named = reference if own else None
    return Resolution(smallest, named, tasks, seeds, len(own) - len(full), len(rows), pooled, assumed=not known)


def _deviation(found: Board, tasks: int) -> float:
    """Standard deviation of success over training seeds, beside the chance of episodes that `ASSUMED` holds."""
    seen = found.training
    variance = float(found.means.var(1, ddof=1).mean() if seen is None else seen.beside.mean())
    return math.sqrt(max(0.0, variance - ASSUMED / 2 / tasks))


def variation(label: str, found: Board, kinds: Mapping[str, str]) -> Variation | None:
    """Variability of one method's success; None where its seeds share no task."""
    everywhere = over_both(label, found, kinds)
    return None if everywhere is None else Variation(label, everywhere, spread(found.shared(label)[0][0]))


def over_both(label: str, found: Board, kinds: Mapping[str, str]) -> Estimate | None:
    """Mean of a row with its CI over seeds, and over tasks within task types; None where its seeds share no task."""
    (own,), tasks = found.shared(label)
    if not own.size:
        return None
    place, seen = found.labels.index(label), found.training
    trained = None if seen is None else (float(seen.own[place]), float(seen.own_freedom[place]))
    return mean_over_both(own, [kinds[task] for task in tasks], trained, limits=(0.0, 1.0))


def shared_tasks(played: Sequence[Mapping[str, float]]) -> list[str]:
    """The tasks that all of these have a result of, sorted."""
    return sorted(set.intersection(*map(set, played))) if played else []


def generator(*names: str) -> np.random.Generator:
    """A random generator seeded by these names: its draws do not depend on what else is drawn."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
