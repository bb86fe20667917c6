"""From which figures on a policy has collapsed."""

from __future__ import annotations

from typing import Any

import pytest

from spa_bench.runs.collapse import said


def row(repeated: float | None, information: float | None = 1.0) -> dict[str, Any]:
    return {"kind": "iteration", "repeated": repeated, "mutual_information": information}


FORGOTTEN = "replies hardly depend on the prompt: 0.11 nats of mutual information (1.2 at first)"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], None),
        ([row(0.9)], None),  # nothing to compare with
        ([row(0.1), row(0.49)], None),
        ([row(0.1), row(0.5)], "50 % of replies repeat the one before (10 % at first)"),
        ([row(0.1), row(0.9), row(0.2)], None),  # it has recovered
        ([row(0.25), row(0.9)], None),  # the warm start repeats itself as well
        ([row(0.1, 1.2), row(0.1, 0.12)], None),
        ([row(0.1, 1.2), row(0.1, 0.11)], FORGOTTEN),
        ([row(0.1, None), row(0.1, 0.0)], None),
        ([row(0.1), row(0.1, None)], None),
        ([{"kind": "iteration"}, row(0.6)], None),  # a row of an earlier version says nothing
        ([row(0.1), {"kind": "iteration"}], None),
    ],
)  # fmt: skip
def test_a_policy_has_collapsed_from_these_figures_on(rows: list[dict[str, Any]], expected: str | None) -> None:
    assert said(rows) == expected
