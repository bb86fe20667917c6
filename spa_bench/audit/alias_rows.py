"""The table of state aliasing of an audit: a row for each state key, and what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping

from spa_bench.audit.aliasing import ALL, KEYS, Aliasing, Spread
from spa_bench.audit.intervals import Measured
from spa_bench.audit.summary import Audit
from spa_bench.core import BUCKETS

HEADER = (
    "state key", "singletons %", "in mixed groups %", *BUCKETS, "mixed pairs %",
    "variance of the oracle: mixed / pure", "variance of outcomes: mixed / pure",
)  # fmt: skip
NOTES = (
    "state key: what counts as one state of a task (reward_options.key; state is the world's own); a group is the "
    "steps of a task's episodes in one such state",
    "singletons %: steps alone in their group, which a comparison within states cannot judge; 95 % CI",
    "in mixed groups %: other steps, in groups of several true states; 95 % CI; beside it by the expert's steps",
    "mixed pairs %: pairs of steps of one group that are in two true states; 95 % CI",
    "variance of the oracle: of its progress before a step, within groups of several true states and those of one",
    "variance of outcomes: of the mean outcome of the policy's continuations from before a step (0 to 1), without "
    "their sampling noise, within such groups; in brackets the numbers of groups",
)


def rows(audit: Audit) -> tuple[list[str], list[list[str]]]:
    """Header and rows, in the order of `KEYS`."""
    known = [key for key in dict.fromkeys([*KEYS, *audit.aliasing]) if key in audit.aliasing]
    return list(HEADER), [[key, *_cells(audit.aliasing[key])] for key in known]


def notes(audit: Audit) -> list[str]:
    """One line for each column; none where aliasing was not measured."""
    return list(NOTES) if audit.aliasing else []


def _cells(by_length: Mapping[str, Aliasing]) -> list[str]:
    whole = by_length[ALL]
    return [
        _share(whole.singletons),
        _share(whole.mixed),
        *(_number(by_length[length].mixed.value, 100, 1) for length in BUCKETS),
        _share(whole.pairs),
        _both(whole.oracle),
        f"{_both(whole.outcomes)} ({whole.outcomes.mixed_groups}, {whole.outcomes.pure_groups})",
    ]


def _share(found: Measured) -> str:
    if found.low is None or found.high is None:
        return _number(found.value, 100, 1)
    return f"{_number(found.value, 100, 1)} [{_number(found.low, 100, 0)}, {_number(found.high, 100, 0)}]"


def _both(spread: Spread) -> str:
    return f"{_number(spread.mixed, 1, 4)} / {_number(spread.pure, 1, 4)}"


def _number(value: float | None, scale: int, decimals: int) -> str:
    return "-" if value is None else f"{round(scale * value, decimals) + 0.0:.{decimals}f}"
