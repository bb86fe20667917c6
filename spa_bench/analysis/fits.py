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
    without: str
    """What reaches it."""


MEASURES = (
    Measure("held_out_r2", "clock_r2", "R2", 0.0, "the mean outcome"),
    Measure("held_out_accuracy", "clock_accuracy", "accuracy", 0.5, "chance"),
)

ALIKE = 0.1
"""Standard deviation of contributions, as a share of their mean, below which they hardly differ: training starts from
equal ones."""


OLD_R2 = "valid_r2"
"""What earlier versions measured: an R2 on the episodes that chose the epoch, of tasks that were learned from."""


def told_form(run: Run) -> str:
    """Where the run's method is another than its paper's; empty where it is not, or the run does not say it."""
    return str(run.facts.get("our_form") or "")


def our_forms(told: Mapping[str, str]) -> list[str]:
    """A line for every text, with the labels that it is about."""
    return [f"{labels}: our form: {text}" for text, labels in _joined(told).items()]


def unrecorded(methods: Mapping[str, Sequence[Run]]) -> list[str]:
    """A line where runs of an earlier version do not say what the other lines are made of."""
    lacking = {
        "level": [one for one, runs in methods.items() if any(_lacks(run, "level") for run in runs)],
        "form": [one for one, runs in methods.items() if any(_lacks(run, "our_form") for run in runs)],
        "clock": [one for one, runs in methods.items() if any(OLD_R2 in run.fit for run in runs)],
    }
    old = [label for label in methods if any(label in labels for labels in lacking.values())]
    if not old:
        return []
    *first, last = [what for what, labels in lacking.items() if labels]
    what = " and ".join([", ".join(first), last] if first else [last])
    verb = "are" if first else "is"
    return [f"{', '.join(old)}: of an earlier version: {what} {verb} not on record"]


def _lacks(run: Run, fact: str) -> bool:
    """A trained run that does not say it."""
    return fact not in run.facts and not run.facts.get("agent") and not (fact == "level" and run.level)


def estimators(methods: Mapping[str, Sequence[Run]]) -> list[str]:
    """A line for every fit that predicts held-out tasks no better than a clock, or than chance, and for every one whose
    contributions hardly differ; means over seeds.

    Methods with the same fit share a line; placebos, whose credit is wrong on purpose, have none.
    """
    fits = {
        label: [run.fit for run in runs]
        for label, runs in methods.items()
        if not any(run.facts.get("placebo") for run in runs)
    }
    told = [{label: note(found) for label, found in fits.items()} for note in (_warning, _spread)]
    return [f"{labels}: {text}" for notes in told for text, labels in _joined(notes).items()]


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
        no_better = "a clock" if clock is not None and own <= clock else measure.without
        return (
            f"its estimator predicts held-out tasks no better than {no_better} (its {measure.name} {own:.2f}"
            + ("" if clock is None else f", the clock's {clock:.2f}")
            + ("" if given is None else f"; partial correlation given the clock {given:.2f}")
            + ")"
        )
    return ""


def _spread(fits: Sequence[Mapping[str, object]]) -> str:
    mean, deviation = _mean(fits, "contribution_mean"), _mean(fits, "contribution_sd")
    if mean is None or deviation is None or deviation >= ALIKE * abs(mean):
        return ""
    return f"its contributions hardly differ (mean {mean:.2g}, SD {deviation:.1g}): it has learned next to nothing"


def _mean(fits: Sequence[Mapping[str, object]], name: str) -> float | None:
    """Over the seeds that have this figure."""
    values = [value for fit in fits if isinstance(value := fit.get(name), int | float)]
    return sum(values) / len(values) if values else None
