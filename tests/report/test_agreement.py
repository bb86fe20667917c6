"""What audits measure beside what training came to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spa_bench.audit.summary import Audit
from spa_bench.figures.files import figures
from spa_bench.report.agreement import NOTES, matched, sections
from spa_bench.report.contents import gather
from spa_bench.report.table import Table

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "results"
SUCCESS = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5, "f": 0.6, "g": 0.7, "h": 0.8}


@pytest.fixture(scope="module")
def recorded() -> tuple[Table, Audit]:
    found = gather([RECORDED])
    return next(table for table in found.tables if table.about["world"] == "alfworld"), found.audits[0][1]


def made(recorded: tuple[Table, Audit], misordered: list[float], **about: Any) -> tuple[Table, Audit]:
    """Methods a to h, whose share of misordered pairs is given; all else is that of one recorded method."""
    table, audit = recorded
    row, method = table.rows[1], audit.methods[0]
    rows = [replace(row, label=name, success=replace(row.success, mean=mean)) for name, mean in SUCCESS.items()]
    methods = [
        replace(method, name=name, gap=replace(method.gap, inversions=share))
        for name, share in zip(SUCCESS, misordered, strict=False)
    ]
    return replace(table, rows=(table.rows[0], *rows)), replace(
        audit, methods=tuple(methods), about=audit.about | about
    )


def test_a_measure_that_falls_as_success_rises_says_that_right_credit_trains_better(recorded) -> None:
    table, audit = made(recorded, [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    (section,) = sections([table], [audit])
    (grid,) = section.grids
    assert grid.title == "does credit that is right train better? (alfworld, valid_unseen, 8 methods, 2 seeds)"
    (row,) = grid.rows  # all other measures are the same for all methods
    assert row[:4] == ["misordered pairs %", "-", "8", "-1.00"] and row[-1] == "right credit trains better"
    assert float(row[-2]) < 0.01


def test_the_reverse_and_chance_are_told(recorded) -> None:
    table, audit = made(recorded, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    (section,) = sections([table], [audit])
    assert section.grids[0].rows[0][-1] == "wrong credit trains better"
    table, audit = made(recorded, [0.3, 0.1, 0.4, 0.15, 0.9, 0.2, 0.6, 0.5])
    (section,) = sections([table], [audit])
    assert section.grids[0].rows[0][-1] == "no significant correlation"


def test_there_is_none_for_another_world_or_few_methods_or_one_number_for_all(recorded) -> None:
    shares = [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert sections(*([one] for one in made(recorded, shares, world="webshop"))) == []
    assert sections(*([one] for one in made(recorded, shares, model="smollm2"))) == []
    assert sections(*([one] for one in made(recorded, shares[:4]))) == []
    assert sections(*([one] for one in made(recorded, [0.5] * 8))) == []


def test_methods_with_the_same_step_rewards_are_named(recorded) -> None:
    """Theirs is another credit all the same, where a method has advantages of its own: a reader must know."""
    table, audit = made(recorded, [0.8, 0.7, 0.7, 0.5, 0.4, 0.3, 0.2, 0.2])
    (section,) = sections([table], [audit])
    assert [note.split(":")[0] for note in section.notes[len(NOTES) :]] == ["b, c", "g, h"]
    apart = replace(audit.methods[2], gini=replace(audit.methods[2].gini, value=0.123))
    methods = (*audit.methods[:2], apart, *audit.methods[3:])
    (section,) = sections([table], [replace(audit, methods=methods)])
    assert [note.split(":")[0] for note in section.notes[len(NOTES) :]] == ["g, h"]


def test_a_figure_has_the_numbers_of_the_table(recorded, tmp_path: Path) -> None:
    table, audit = made(recorded, [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    (one,) = matched([table], [audit])
    drawn = figures({}, {}, {}, tmp_path, agreements={one.name: (one.title, one.measures)})
    assert [path.name for path in drawn.paths] == [
        f"credit-and-success-alfworld.{end}" for end in ("svg", "png", "json")
    ]
    told = json.loads((tmp_path / "credit-and-success-alfworld.json").read_text())
    (measure,) = told["measures"]
    assert measure["measure"] == "misordered pairs %" and measure["found"]["value"] == -1.0
    points = {point["method"]: (point["measured"], point["success"]["mean"]) for point in measure["points"]}
    assert points["a"] == (80.0, 0.1) and points["h"] == (10.0, 0.8)
