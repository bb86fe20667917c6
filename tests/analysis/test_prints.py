"""One cell, several prints: which numbers are of one cell, how far they lie apart, and what papers claim over it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner
from written_runs import write_run

from spa_bench.analysis.prints import PAPERS, Cell, cells
from spa_bench.analysis.published import Published, load
from spa_bench.commands.cli import app
from spa_bench.core import UserError
from spa_bench.figures import prints as figure
from spa_bench.report import baselines

GIGPO, GRAPH, TRCA, ISTAR, HCAPO = "2505.10978", "2605.26684", "2608.16156", "2509.19199", "2603.08754"
SMALL, LARGE = "Qwen2.5-1.5B-Instruct", "Qwen2.5-7B-Instruct"


def row(paper: str, method: str, value: str, **other: object) -> Published:
    known = ("webshop", "", "success", Decimal(value), None, None, None, LARGE)
    one = Published(paper, method, "", *known, "", "Table 1", "primary", "")
    return replace(one, **other)  # type: ignore[arg-type]


def only(rows: list[Published]) -> Cell:
    (found,) = cells(rows)
    return found


def told(cell: Cell) -> tuple[list[str], list[str]]:
    prints = [f"{one.value} {' '.join(one.papers)}" for one in cell.prints]
    return prints, [f"{one.method} {one.value}{' stated' if one.stated else ''}" for one in cell.gains]


def test_the_notes_cells_by_hand():
    """The prints as field notes list them, from the papers; 76.4, 66.2 (TAPO) and 64.8 (VETTA) have no arXiv id."""
    found = {(cell.method, cell.model, cell.world, cell.metric): cell for cell in cells(load()) if not cell.split}

    def printed(method: str, model: str, world: str) -> list[str]:
        return [str(one.value) for one in found[method, model, world, "success"].prints]

    assert printed("GRPO", SMALL, "alfworld") == ["72.8", "77.86"]
    assert printed("GRPO", SMALL, "webshop") == ["56.8", "71.35"]
    assert printed("GRPO", LARGE, "webshop") == ["66.1", "75.00", "80.1"]
    assert printed("GiGPO", SMALL, "alfworld") == ["86.1", "86.7", "90.16", "90.88"]
    assert printed("GiGPO", LARGE, "webshop") == ["72.8", "75.2", "77.6", "78.38", "84.1"]
    assert printed("GraphGPO", SMALL, "webshop") == ["75.5", "78.65"]
    assert ("PPO", SMALL, "alfworld", "success") not in found  # one paper alone prints it
    gigpo = found["GiGPO", LARGE, "webshop", "success"]
    assert (gigpo.spread, gigpo.papers, gigpo.within) == (Decimal("11.3"), 4, 3)  # 84.1 - 72.8
    claimed = {(gain.paper, str(gain.value)) for gain in gigpo.gains}  # 78.51 - 77.6, 80.31 - 78.38, 86.5 - 84.1
    assert claimed == {("HGPO", "0.91"), ("GraphGPO", "1.93"), ("iStar", "2.4")}


def test_a_rounded_copy_is_no_second_number_and_a_near_one_is():
    rows = [row(GRAPH, "GRPO", "77.86"), row(TRCA, "GRPO", "77.9"), row(GIGPO, "GRPO", "72.8")]
    assert told(only(rows))[0] == ["72.8 GiGPO", "77.86 GraphGPO TRCA"]
    assert told(only([rows[0], row(TRCA, "GRPO", "77.8")]))[0] == ["77.86 GraphGPO TRCA"]  # cut off
    assert told(only([rows[0], row(TRCA, "GRPO", "77.7")]))[0] == ["77.7 TRCA", "77.86 GraphGPO"]
    assert told(only([row(GIGPO, "GRPO", "77.9"), rows[0]]))[0] == ["77.86 GraphGPO GiGPO"]  # whoever is first
    assert only(rows).spread == Decimal("5.06")


def test_a_gain_is_over_the_same_papers_own_print():
    rows = [
        row(GIGPO, "GRPO", "66.1"), row(GIGPO, "GiGPO with std", "72.8"),
        row(GRAPH, "GRPO", "75.00"), row(GRAPH, "GiGPO", "78.38"), row(GRAPH, "GraphGPO", "80.31"),
    ]  # fmt: skip
    grpo, gigpo = cells(rows)
    assert (gigpo.method, grpo.method) == ("GiGPO", "GRPO")
    # 72.8 - 66.1; 80.31 - 75.00; GiGPO's method over itself is none, and no paper's over another's print
    assert told(grpo)[1] == ["GraphGPO 5.31", "GiGPO with std 6.7"]
    assert told(gigpo)[1] == ["GraphGPO 1.93"]
    assert (grpo.spread, grpo.within, gigpo.spread, gigpo.within) == (Decimal("8.90"), 2, Decimal("5.58"), 1)


@pytest.mark.parametrize(
    "other",
    [{"world": "alfworld"}, {"metric": "average reward"}, {"model": SMALL}, {"split": "valid_unseen"}, {"model": ""}],
)
def test_numbers_of_another_cell_are_not_beside_it(other: dict[str, object]):
    assert cells([row(GIGPO, "GRPO", "66.1"), row(GRAPH, "GRPO", "75.00", **other)]) == []


def test_only_numbers_of_as_many_seeds_and_the_same_memory_are_subtracted():
    rows = [
        row(ISTAR, "RLOO", "77.4", seeds=3), row(ISTAR, "RLOO", "76.6", seeds=1), row(ISTAR, "iStar", "89.1", seeds=1),
        row(GIGPO, "RLOO", "65.7", seeds=3),
    ]  # fmt: skip
    assert told(only(rows))[1] == ["iStar 12.5"]  # 89.1 - 76.6
    hgpo = "2602.22817"
    rows = [row(hgpo, "GiGPO, memory of 2 turns", "66.53"), row(hgpo, "HGPO, memory of 4 turns", "78.12")]
    assert told(only([*rows, row(GRAPH, "GiGPO", "73.83")]))[1] == []


def test_a_stated_gain_counts_for_the_method_that_it_names_as_its_baseline():
    grpo = [row(GIGPO, "GRPO", "66.1"), row(GRAPH, "GRPO", "75.00")]
    gain = row(HCAPO, "HCAPO", "7.7", metric="gain in success", remark="over GRPO, in the abstract")
    assert told(only([*grpo, gain]))[1] == ["HCAPO 7.7 stated"]
    for other in ({"remark": "over GRPO+, in the abstract"}, {"model": ""}, {"metric": "gain"}):
        assert told(only([*grpo, replace(gain, **other)]))[1] == []  # type: ignore[arg-type]


def test_the_order_of_rows_changes_nothing():
    assert cells(load()) == cells(load()[::-1])


def test_every_papers_own_methods_are_among_its_rows():
    for paper, (_, methods) in PAPERS.items():
        assert set(methods) <= {one.method for one in load() if one.paper == paper}


def test_the_table_shows_what_differs_and_counts_the_rest():
    section = baselines.section()
    (grid,) = section.grids
    line = next(line for line in grid.rows if line[0] == "GRPO, Qwen2.5-7B, webshop, success")
    assert line[1] == "66.1 (GiGPO); 75.00 (GraphGPO, TRCA); 80.1 (iStar)"
    assert line[2:7] == ("66.1", "80.1", "14.0", "3", "4")
    assert "HCAPO +7.7 (stated)" in line[7] and line[8] == "6 of 6"
    assert all(len(line) == len(grid.header) for line in grid.rows)
    found = cells(load())
    same = sum(not cell.spread for cell in found)
    assert len(grid.rows) + same == len(found) and f"{same} more cells" in " ".join(section.notes)


def test_the_figure_has_every_print_and_gain_of_the_table():
    found = figure.data(cells(load()))
    assert [one.cell for one in found.rows] == [line[0] for line in baselines.section().grids[0].rows]
    (one,) = (one for one in found.rows if one.cell == "GiGPO, Qwen2.5-7B, webshop, success")
    assert one.prints[-1] == ("iStar", 84.1) and one.spread == 11.3 and len(one.prints) == 5
    assert one.gains == (("HGPO", 0.91), ("GraphGPO", 1.93), ("iStar", 2.4))
    with pytest.raises(UserError, match="no cell"):
        figure.data([])


def test_the_command_needs_no_run_and_writes_the_figure_beside_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    report = CliRunner().invoke
    printed = report(app, ["report", "--paper", "baselines"]).output
    assert "| GiGPO, Qwen2.5-7B, webshop, success | 72.8 (GiGPO); " in printed
    assert report(app, ["report", "--paper", "spa"]).exit_code != 0
    write_run(tmp_path / "results")
    written = tmp_path / "results" / "report"
    for more, there in (([], False), (["--paper", "baselines"], True)):
        assert report(app, ["report", *more]).exit_code == 0
        for name in ("figures/paper-baselines.svg", "tables/paper-baselines-prints.csv"):
            assert (written / name).exists() == there, (more, name)
        assert ("several prints" in (written / "papers.md").read_text(encoding="utf-8")) == there
