"""The evaluation set: each episode on record when it ends, and once, however often the evaluation is interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import preloaded
import pytest
from evaluated import evaluate, rows

from spa_bench.report.table import as_json, tables


def table(folder: Path) -> Any:
    (found,) = tables([folder])
    return as_json(found, seconds=False)


def test_an_episode_and_what_it_has_cost_are_on_record_when_it_ends(tmp_path: Path) -> None:
    agent = evaluate(tmp_path, apart=True)
    assert agent.asked == [6] * 5 + [5] + [4] * 2 + [3] * 3 + [2] * 2
    assert agent.on_record == [6 - asked for asked in agent.asked]
    costs = [row["turns"] for row in rows(tmp_path, "metrics.jsonl") if row["kind"] == "spent"]
    assert costs == [5, 6, 8, 11, 13, 13]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("apart", [True, False])
def test_t01_an_evaluation_killed_again_and_again_has_each_episode_once(apart: bool, tmp_path: Path) -> None:
    """Where the agent's replies depend on nothing else, only what is missing is played again."""
    evaluate(calm := tmp_path / "calm", apart)
    rough = tmp_path / "rough"
    for kept, turns in ((1, 5), (2, 6), (3, 8)):
        process = preloaded.start(evaluate, rough, apart, turns)
        process.join()
        assert (process.exitcode, len(rows(rough))) == (-signal.SIGKILL, kept)
    agent = evaluate(rough, apart)
    assert agent.asked[0] == (3 if apart else 6)
    assert sorted(row["index"] for row in rows(rough)) == list(range(6))
    assert {row["index"]: row for row in rows(rough)} == {row["index"]: row for row in rows(calm)}
    assert table(rough) == table(calm)
