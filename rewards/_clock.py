"""How well a clock does what a network has learned: an estimator that is no better has learned when, and not what.

A clock knows the length of an episode and whether the step limit ended it. Where every failure ends at the limit, that
alone tells the outcome.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa_bench.core import Floats
from spa_bench.rewards._network import Parts

LEAST = 20
"""Rows for a partial correlation: four of them are the clock's, and of the 16 that are left the standard error of a
correlation is about 1 / 4. Of 5 rows it would be 1 or -1 whatever was learned."""

BINS, FULL = 5, 4
"""Parts of the held-out episodes that calibration is shown of, and the fewest episodes of one."""


def hands(lengths: Floats, timeouts: Floats) -> Floats:
    """What the clock is linear in, (N, 4): 1, length, length squared, and whether the step limit ended the episode."""
    unit = lengths / max(float(np.abs(lengths).max(initial=0.0)), 1.0)
    return np.stack([np.ones(len(unit)), unit, unit**2, timeouts], axis=1)


def clock(features: Floats, targets: Floats, train: NDArray[np.int64]) -> Floats:
    """Its prediction for every row: least squares on the rows `train`; of several that fit, the smallest weights."""
    weights, *_ = np.linalg.lstsq(features[train], targets[train], rcond=None)
    predicted: Floats = features @ weights
    return predicted


def r2(predicted: Floats, targets: Floats, mean: float) -> float | None:
    """1 - squared error / squared error of the number `mean`; None where that is 0."""
    naive = float(((targets - mean) ** 2).sum())
    return 1.0 - float(((predicted - targets) ** 2).sum()) / naive if naive > 0 else None


def partial(predicted: Floats, targets: Floats, features: Floats) -> float | None:
    """Correlation of what the clock's features leave of both, by least squares.

    None of fewer than `LEAST` rows, and where the clock leaves nothing.
    """
    if len(targets) < LEAST:
        return None
    left: list[Floats] = []
    for values in (predicted, targets):
        rest: Floats = values - clock(features, values, np.arange(len(values), dtype=np.int64))
        if float((rest**2).sum()) <= 1e-9 * max(float((values**2).sum()), 1e-9):
            return None
        left.append(rest)
    one, other = left
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def calibration(predicted: Floats, outcomes: Floats) -> dict[str, float]:
    """Mean prediction, mean outcome and number of episodes of up to `BINS` equal parts, by rising prediction.

    A part has at least `FULL` episodes; empty where there are fewer.
    """
    count = min(BINS, len(predicted) // FULL)
    parts = np.array_split(np.argsort(predicted, kind="stable"), count) if count else []
    found: dict[str, float] = {}
    for number, part in enumerate(parts, 1):
        found[f"calibration_{number}_predicted"] = float(predicted[part].mean())
        found[f"calibration_{number}_outcome"] = float(outcomes[part].mean())
        found[f"calibration_{number}_episodes"] = float(len(part))
    return found


def compared(predicted: Floats, outcomes: Floats, lengths: Floats, timeouts: Floats, parts: Parts) -> dict[str, float]:
    """How well outcomes are predicted on held-out tasks, and how well by a clock that was fitted on the same part.

    All arrays are (N,), over episodes. `held_out_r2` and `clock_r2` compare with the mean outcome of the training part;
    `partial_correlation` is that of prediction and outcome given the clock; the rest is `calibration`'s. A figure that
    is not defined is absent.
    """
    train, report = parts.train.numpy(), parts.report.numpy()
    figures: dict[str, float | None] = {"train_mse": float(((predicted[train] - outcomes[train]) ** 2).mean())}
    if len(report):
        features, mean = hands(lengths, timeouts), float(outcomes[train].mean())
        figures |= {
            "held_out_episodes": float(len(report)),
            "held_out_mse": float(((predicted[report] - outcomes[report]) ** 2).mean()),
            "held_out_r2": r2(predicted[report], outcomes[report], mean),
            "clock_r2": r2(clock(features, outcomes, train)[report], outcomes[report], mean),
            "partial_correlation": partial(predicted[report], outcomes[report], features[report]),
            **calibration(predicted[report], outcomes[report]),
        }
    return {name: value for name, value in figures.items() if value is not None}


def fitted_evenly(features: Floats, labels: Floats, train: NDArray[np.int64]) -> Floats:
    """The clock's number for every row, positive for label 1: least squares on labels 1 and -1 that count the same."""
    weight = np.where(labels == 1, 1 / (labels[train] == 1).sum(), 1 / (labels[train] == -1).sum()) ** 0.5
    fitted, *_ = np.linalg.lstsq(features[train] * weight[train, None], labels[train] * weight[train], rcond=None)
    numbers: Floats = features @ fitted
    return numbers


def balanced(numbers: Floats, labels: Floats) -> float:
    """Share of numbers with the sign of their label, 1 or -1, each label counting the same; 0 counts half."""
    right = np.where(numbers == 0, 0.5, np.sign(numbers) == labels)
    return float(np.mean([right[labels == side].mean() for side in (1, -1)]))
