"""Whether a policy has collapsed: says the same whatever it is asked, or the same again and again.

Success tells it late, and not why. The figures are those of the rows of `metrics.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MOST_REPEATED = 0.5
"""Share of repeated replies from which a policy has collapsed, where it was below half of this at first; ours."""

LEAST_INFORMATION = 0.1
"""Share of the first iteration's mutual information below which it has collapsed; ours."""


def said(iterations: Iterable[Mapping[str, Any]]) -> str | None:
    """How the last of these rows of metrics differs from the first like that of a collapsed policy; None: it does not.

    Rows of earlier versions, which lack the figures, say nothing.
    """
    rows = [row for row in iterations if row.get("repeated") is not None]
    if len(rows) < 2:
        return None
    first, last = rows[0], rows[-1]
    if last["repeated"] >= MOST_REPEATED and first["repeated"] < MOST_REPEATED / 2:
        shares = f"{100 * last['repeated']:.0f} % of replies repeat the one before ({100 * first['repeated']:.0f} %"
        return f"{shares} at first)"
    before, now = first.get("mutual_information"), last.get("mutual_information")
    if before and now is not None and now < LEAST_INFORMATION * before:
        return f"replies hardly depend on the prompt: {now:.2g} nats of mutual information ({before:.2g} at first)"
    return None
