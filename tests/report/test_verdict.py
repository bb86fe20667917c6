"""The verdict of a table in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from viewer_runs import write_run

from spa_bench.report.table import tables
from spa_bench.report.verdict import verdict


def test_what_is_better_and_worse_stands_first_and_then_what_it_rests_on(tmp_path: Path):
    for reward in ("sparse", "spa", "ppo", "grpo"):
        for seed in (0, 1):
            write_run(tmp_path, reward, seed, wins={"spa": "1110", "ppo": "0000"}.get(reward, "1000"))
    (table,) = tables([tmp_path])
    said = verdict(table)
    assert said[0] == "No method differs significantly from sparse (25.0 % success)."
    assert said[1].startswith("Largest difference: spa 75.0 % (+50.0 pp, simultaneous 95 % CI ")
    assert said[2] == "No method differs significantly from warm start (25.0 % success)."
    assert said[-1].startswith(
        "How it is known: 4 held-out tasks, seeds 0, 1; one test over tasks and training seeds, adj"
    )
    judged = {"spa": "better", "ppo": "worse", "grpo": "no significant difference", "sparse": "better"}
    told = verdict(replace(table, differences=tuple(replace(o, verdict=judged[o.method]) for o in table.differences)))
    assert told[0].startswith("Better than sparse (25.0 % success): spa 75.0 % (+50.0 pp, ")
    assert told[1].startswith("Worse than sparse (25.0 % success): ppo 0.0 % (-25.0 pp, ")
    assert told[2] == "No significant difference from sparse: grpo."
    assert told[3:6] == [
        "Better than warm start (25.0 % success): spa, sparse.",
        "Worse than warm start (25.0 % success): ppo.",
        "No significant difference from warm start: grpo.",
    ]


def test_one_seed_says_what_it_cannot_know_and_a_row_alone_is_compared_with_nothing(tmp_path: Path):
    write_run(tmp_path, "spa")
    (table,) = tables([tmp_path])
    said = verdict(table)
    assert said[0] == "No method differs significantly from warm start (25.0 % success)."
    assert "one test over tasks; " in said[-1]
    assert said[-1].endswith("Training seeds were not sampled: other seeds may turn each of these around.")
    alone = verdict(replace(table, rows=table.rows[1:], differences=()))
    assert alone[0].startswith("Nothing to compare with. spa: 50.0") and alone[1:] == [
        "Played: 4 held-out tasks, seed 0."
    ]
    assert verdict(replace(table, rows=())) == []
