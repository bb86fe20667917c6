"""What tables say of a method beside its results: where it is not its paper's, and what its estimator has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spa_bench.analysis.runs import Run


@dataclass(frozen=True)
class Measure:
    """What a fit reached on held-out tasks, by the names in `metrics.jsonl`."""

    own: str
    clock: str
    name: str
    chance: float
    """What is reached without learning."""


MEASURES = (
    Measure("held_out_r2", "clock_r2", "an R2", 0.0),
    Measure("held_out_accuracy", "clock_accuracy", "an accuracy", 0.5),
)


def told_form(run: Run) -> str:
    """Where the run's method is another than its paper's; empty where it is not, or the run does not say it."""
    return str(run.facts.get("our_form") or "")


def our_forms(told: Mapping[str, str]) -> list[str]:
    """A line for every text, with the labels that it is about."""
    return [f"{labels}: our form: {text}" for text, labels in _joined(told).items()]


def estimators(methods: Mapping[str, Sequence[Run]]) -> list[str]:
    """A line for every fit that predicts held-out tasks no better than a clock, or than chance; means over seeds.

    Methods with the same fit share a line.
    """
    told = {label: _warning([run.fit for run in runs]) for label, runs in methods.items()}
    return [f"{labels}: {text}" for text, labels in _joined(told).items()]


def _joined(told: Mapping[str, str]) -> dict[str, str]:
    """Text -> its labels, of those that are not empty."""
    found: dict[str, list[str]] = {}
    for label, text in told.items():
        if text:
            found.setdefault(text, []).append(label)
    return {text: ", ".join(labels) for text, labels in found.items()}


def _warning(fits: Sequence[Mapping[str, object]]) -> str:
    for measure in MEASURES:
        own, clock = _mean(fits, measure.own), _mean(fits, measure.clock)
        if own is None or own > max(measure.chance, measure.chance if clock is None else clock):
            continue
        given = _mean(fits, "partial_correlation")
        return (
            f"its estimator predicts held-out tasks with {measure.name} of {own:.2f}"
            + ("" if clock is None else f", a clock with {clock:.2f}")
            + ("" if given is None else f"; partial correlation given the clock {given:.2f}")
        )
    return ""


def _mean(fits: Sequence[Mapping[str, object]], name: str) -> float | None:
    """Over the seeds that have this figure."""
    values = [value for fit in fits if isinstance(value := fit.get(name), int | float)]
    return sum(values) / len(values) if values else None
