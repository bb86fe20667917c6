"""Figures: the numbers in them, that their words stand apart, that they repeat to the byte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from figure_runs import STEPS, group, run
from made_audits import MANY, an_audit
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text

from spa_bench import registry
from spa_bench.analysis.groups import Group
from spa_bench.analysis.runs import COSTS
from spa_bench.audit.agreement import Agreement, Point
from spa_bench.audit.intervals import Measured
from spa_bench.audit.summary import Audit
from spa_bench.core import UserError
from spa_bench.figures import (
    agreement,
    calibration,
    costs,
    credit,
    curves,
    forest,
    heat,
    lengths,
    profiles,
    scatter,
    step_intervals,
)
from spa_bench.figures.files import figures
from spa_bench.figures.style import INK, KNOWN, OVERLAID, OWN, drawing, looks, shortened, wrapped
from spa_bench.report.table import tables_of
from spa_bench.stats import over_seeds
from spa_bench.stats.ranks import RankCorrelation

pytestmark = pytest.mark.filterwarnings("error")

RECORDED = Path(__file__).with_name("figures-recorded.json")
HOSTILE = "$x^{$ \x1b[31m\n<script> 名 " + "very long " * 30


def small() -> Group:
    """Two methods, two seeds; what each solves is easy to count."""
    return group(
        run("ppo", "1010100100", 0, start="1000000000"),
        run("ppo", "1000100100", 1, start="1000000000"),
        run("spa", "1110110001", 0, start="1000000000"),
        run("spa", "1111110001", 1, start="1000000000"),
    )


def crowd(count: int, seeds: int = 2, graded: bool = False) -> Group:
    """Many methods; a name is as long as a real one."""
    rng = np.random.default_rng(0)
    names = ["ppo", *(f"stepagent-invers{chr(97 + place)}" for place in range(count - 1))]
    results = rng.random((count, seeds, len(STEPS)))
    results = results.round(2) if graded else results.round(0)
    return group(
        *(run(name, list(results[place, seed]), seed) for place, name in enumerate(names) for seed in range(seeds))
    )


def spending(count: int) -> Group:
    """A crowd whose costs are near each other."""
    every = crowd(count).runs
    return group(*(replace(one, costs=dict.fromkeys(COSTS, 300.0 + place)) for place, one in enumerate(every)))


def audited(*extra: str) -> Audit:
    """With a rank correlation for all but one method, and inversions for all."""
    audit = an_audit(*extra)
    methods = []
    for place, one in enumerate(audit.methods):
        value = None if one.name == "even" else 0.1 * (place % 5) - 0.1
        found = Measured(
            value, None if value is None else value - 0.05, None if value is None else value + 0.08, 20, 24, 8
        )
        gap = replace(one.gap, inversions=(0.0, 0.0, 0.2, 0.0, 0.01)[place % 5])
        methods.append(replace(one, agreement=replace(one.agreement, spearman=found), gap=gap))
    return replace(audit, methods=tuple(methods), floor=("clock",))


def trained(count: int) -> agreement.CreditAndSuccess:
    """Methods of a crowd that were audited too: one measure in per cent, one of sums, six more."""
    rng = np.random.default_rng(count)
    names = [f"stepagent-invers{place}" for place in range(count)]
    success = {name: over_seeds(list(0.3 + 0.2 * rng.random(3)), limits=(0.0, 1.0)) for name in names}
    measures = []
    for place in range(8):
        size = (100.0, 1.0)[place % 2]
        points = tuple(Point(name, size * float(rng.normal()), success[name]) for name in names)
        found = RankCorrelation(-0.5, -0.8, 0.1, 0.04, count)
        measures.append(Agreement(("misordered pairs %", "return error")[place % 2], "-", points, found, 0.32))
    return agreement.data("does it?", measures)


def prices(turns: int, methods: int = 2) -> credit.CreditMap:
    rng = np.random.default_rng(turns)
    paid = {f"method {place}": rng.normal(size=turns).tolist() for place in range(methods)}
    return credit.data(paid, np.linspace(0.1, 1, turns), [f"go to shelf {turn}" for turn in range(turns)], title="k1")


def drawn(draw: Callable[[Any], Figure], data: Any) -> Figure:
    with drawing():
        figure = draw(data)
        FigureCanvasAgg(figure).draw()
    return figure


# What is drawn


def plain(found: Any) -> Any:
    """As JSON, with numbers to nine digits: further ones are the machine's."""
    return json.loads(json.dumps(asdict(found)), parse_float=lambda text: float(f"{float(text):.9g}"))


@cache
def everything() -> dict[str, Any]:
    graded = group(run("ppo", [0.0, 0.25, 0.5, 1.0]), run("spa", [0.5, 0.5, 1.0, 1.0]))
    paid = {"sparse": [0.0, 0.0, 1.0], "spa": [0.25, -0.5, 1.25]}
    return {
        "step intervals": plain(step_intervals.data(small(), "ppo", (5, 10, 15))),
        "lengths": plain(lengths.data(small())),
        "curves": plain(curves.data([small()])),
        "profiles": plain(profiles.data(graded)),
        "credit": plain(credit.data(paid, [0.5, 0.5, 1.0], ["look", "open", "take"], title="k1", caption="of spa")),
        "audit": plain(scatter.data(audited())),
    }


@pytest.mark.parametrize("kind", ["step intervals", "lengths", "curves", "profiles", "credit", "audit"])
def test_the_data_of_a_figure_are_as_recorded(kind: str):
    """The numbers were checked by hand, by the tests below and by those of the statistics."""
    assert everything()[kind] == json.loads(RECORDED.read_text(encoding="utf-8"))[kind]


def test_lengths_are_means_over_seeds_with_students_interval_and_of_one_seed_wilsons():
    rows = lengths.data(small()).rows
    assert list(rows) == ["warm start", "ppo", "spa"]
    ppo = rows["ppo"]["short"]  # 2 and 1 of 3 tasks
    assert ppo is not None and ppo.mean == pytest.approx(0.5) and ppo.n == 2
    assert (ppo.low, ppo.high) == (0.0, 1.0)  # 12.7 times 1/6 reaches beyond
    alone = lengths.data(group(run("ppo", "1010100100")))
    short = alone.rows["ppo"]["short"]
    assert short is not None and (short.mean, short.n) == (2 / 3, 3)
    assert (short.low, short.high) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert "Wilson" in alone.caption and "Student" not in alone.caption
    assert "Student" in lengths.data(small()).caption


def test_an_episode_with_an_error_is_no_failure():
    found = lengths.data(group(run("ppo", "1010100100", errors=[1])))
    short = found.rows["ppo"]["short"]
    assert short is not None and (short.mean, short.n) == (1.0, 2)


def test_a_curve_adds_up_steps_and_has_a_band_for_several_seeds_only():
    rows = [{"success": 0.5, "env_steps": 100, "episodes": 3}, {"success": 1.0, "env_steps": 140, "episodes": 3}]
    found = curves.data([group(run("ppo", "1", 0), run("ppo", "1", 1, iterations=rows), run("spa", "1", 0))])
    (panel,) = found.training
    ppo, spa = panel.lines
    assert (ppo.x, ppo.y) == ((100, 230), (37.5, 75.0))
    assert (ppo.low, ppo.high) == ((25.0, 50.0), (50.0, 100.0))
    assert (spa.x, spa.y, spa.low, spa.high) == ((100, 220), (25.0, 50.0), (None, None), (None, None))


def test_an_iteration_that_not_every_seed_has_episodes_of_is_no_point():
    rows = [{"success": 0.0, "env_steps": 100, "episodes": 0}, {"success": 1.0, "env_steps": 100, "episodes": 2}]
    more = [*rows, {"success": 1.0, "env_steps": 100, "episodes": 2}]
    (panel,) = curves.data([group(run("ppo", "1", 0, iterations=rows), run("ppo", "1", 1, iterations=more))]).training
    assert (panel.lines[0].x, panel.lines[0].y) == ((200,), (100.0,))
    odd = [{"success": None, "env_steps": None}, {"success": 0.5, "env_steps": 10}]
    (panel,) = curves.data([group(run("ppo", "1", iterations=odd))]).training
    assert (panel.lines[0].x, panel.lines[0].y) == ((10,), (50.0,))


def looked(*shares: float | None) -> dict[str, Any]:
    """Two iterations more than there are evaluations, and these after the first ones."""
    rows = [{"iteration": turn, "episodes": 4, "success": 0.0, "env_steps": 100} for turn in range(1, len(shares) + 2)]
    looks = [{"iteration": turn, "episodes": 4, "success": won} for turn, won in enumerate(shares, 1)]
    return {"iterations": rows, "evaluations": [row for row in looks if row["success"] is not None]}


def test_held_out_success_begins_at_the_warm_start_and_ends_at_the_last_evaluation():
    one = run("ppo", "1110", 0, start="1000", **looked(0.5, 0.75))
    other = run("ppo", "1111", 1, start="1000", **looked(None, 0.25, 1.0))
    (panel,) = curves.data([group(one, other)]).panels
    (line,) = panel.lines
    assert (line.x, line.y) == ((0, 200, 350), (25.0, 50.0, 87.5)), "the second after 300 and 400 steps"
    assert (line.low, line.high) == ((25.0, 25.0, 75.0), (25.0, 75.0, 100.0))
    (line,) = curves.data([group(run("ppo", "1110", start="1000", **looked(0.5)))]).panels[0].lines
    assert (line.x, line.y) == ((0, 100, 200), (25.0, 50.0, 75.0))
    assert (line.low[1], line.high[1]) == pytest.approx((15.0, 85.0), abs=0.1), "Wilson's of 2 of 4"


def test_held_out_and_training_success_stand_beside_each_other_and_say_which_they_are():
    data = curves.data([small()])
    figure = drawn(curves.draw, data)
    assert [axes.get_title().split(": ")[1] for axes in figure.axes] == [curves.HELD_OUT, curves.TRAINING]
    assert [len(axes.lines[0].get_xdata()) for axes in figure.axes] == [2, 2]
    assert figure.axes[0].lines[0].get_xdata()[0] == 0 and figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert figure.axes[0].get_ylim()[1] < 85, "the axes fit the data"


@pytest.mark.parametrize("row", [{"success": 5.0, "episodes": 4}, {"success": 0.5, "episodes": -1}, {"success": "x"}])
def test_an_evaluation_that_can_be_none_is_no_point(row: dict[str, Any]):
    odd = looked(0.5) | {"evaluations": [{"iteration": 1} | row]}
    assert curves.data([group(run("ppo", "1110", start="1000", **odd))]).panels[0].lines[0].x == (0, 200)


def judged(some: Group) -> forest.Forest:
    return forest.data(some, tables_of([some])[0].differences)


def test_differences_are_those_of_the_table_with_its_verdicts():
    some = group(*(run(name, won * 4, seed, steps=[3] * 40) for name, won in WON.items() for seed in (0, 1, 2)))
    found = judged(some)
    (table,) = tables_of([some])
    assert [(one.method, one.verdict) for one in found.rows] == [(d.method, d.verdict) for d in table.differences]
    assert {one.method: (one.verdict, round(one.difference)) for one in found.rows} == {
        "spa": ("better", 60), "rrd": ("no significant difference", 0),
    }  # fmt: skip
    (axes,) = drawn(forest.draw, found).axes
    assert "better\np = " in "".join(text.get_text() for text in axes.texts)
    ends = [
        part[:, 0].tolist()
        for one in axes.collections
        if isinstance(one, LineCollection)
        for part in one.get_segments()
    ]
    assert all([one.low, one.high] in ends for one in found.rows if one.low is not None)
    low, high = axes.get_xlim()
    assert all(low < one.low and one.high < high for one in found.rows if one.low is not None)


WON = {"ppo": "1000100000", "spa": "1111110011", "rrd": "1000100000"}


def test_a_heat_map_has_success_by_type_and_the_tasks_of_each():
    found = heat.by_type(small())
    assert found.sizes == {"cool_then_place": 5, "heat": 5}
    cool, warm = found.rows["spa"]
    assert cool is not None and warm is not None  # k1 k3 k5 k7 k9: 3 and 4 of 5; k0 k2 k4 k6 k8: 3 and 3
    assert (cool.mean, warm.mean) == (pytest.approx(0.7), pytest.approx(0.6))
    axes, bar = drawn(heat.draw, found).axes
    assert {"70\n(0 to 100)", "60"} <= {text.get_text() for text in axes.texts}
    assert bar.get_ylabel() == "success %"
    with pytest.raises(UserError, match="no two task types"):
        heat.by_type(group(run("ppo", "1")))


def test_a_heat_map_of_worlds_says_what_was_not_run():
    other = group(run("ppo", "10", world="webshop"))
    found = heat.by_world([small(), other])
    assert list(found.rows) == ["ppo", "spa"] or list(found.rows) == ["warm start", "ppo", "spa"]
    assert found.rows["spa"][1] is None and list(found.sizes.values()) == [10, 2]
    assert "not run" in {text.get_text() for text in drawn(heat.draw, found).axes[0].texts}
    with pytest.raises(UserError, match="no two worlds"):
        heat.by_world([small()])


def test_costs_add_up_what_a_method_needs_and_stand_where_the_numbers_say():
    spent = {"env_steps": 100, "extra_env_steps": 50, "tokens_sampled": 1, "tokens_trained": 2, "extra_tokens": 4}
    found = costs.data(group(run("ppo", "1010", costs=spent | {"seconds": 120}), run("spa", "1111")))
    assert found.rows[0].costs == (150, 7, 120)
    steps, tokens, minutes = drawn(costs.draw, found).axes
    points = [{(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
              for axes in (steps, tokens, minutes)]  # fmt: skip
    assert (150, 50.0) in points[0] and (7, 50.0) in points[1] and (2, 50.0) in points[2]
    with pytest.raises(UserError, match="cost on record"):
        costs.data(group(run("ppo", "1", costs={"env_steps": float("nan")})))


def fitted(*parts: tuple[float, float, float]) -> dict[str, float]:
    names = ("predicted", "outcome", "episodes")
    numbered = [(n, *pair) for n, part in enumerate(parts, 1) for pair in zip(names, part, strict=True)]
    return {f"calibration_{n}_{name}": value for n, name, value in numbered}


def test_costs_that_are_all_equal_have_an_axis_from_0_on():
    """Of one run, and where a kind of cost is nothing for every method: an axis of no length would be a warning."""
    one = group(run("ppo", "10", costs=dict.fromkeys(COSTS, 0.0) | {"env_steps": 100.0}))
    with drawing():
        steps, *others = costs.draw(costs.data(one)).axes
    assert steps.get_xlim() == pytest.approx((0.0, 130.0))
    assert [axes.get_xlim() for axes in others] == [(0.0, 1.0)] * 2


def test_a_report_of_one_task_and_one_interval_is_drawn():
    """No axis has no length, and nothing is divided by nothing."""
    one: dict[str, Any] = {"iterations": [{"episodes": 1, "success": 0.0, "env_steps": 10}]}
    several = group(*(run(name, "0", start="0", **one) for name in ("ppo", "spa")))
    drawn(step_intervals.draw, step_intervals.data(several, "ppo", (5,)))
    drawn(forest.draw, forest.data(several, tables_of([several])[0].differences))


def test_calibration_is_put_together_over_seeds_by_rank_and_weighed_by_episodes():
    one, other = fitted((0.0, 0.0, 4), (0.5, 0.25, 4)), fitted((0.25, 0.5, 12), (1.0, 1.0, 12))
    found = calibration.data(group(run("spa", "10", 0, fit=one), run("spa", "10", 1, fit=other), run("ppo", "10")))
    (line,) = found.panel.lines
    assert (line.method, line.x, line.y) == ("spa", (18.75, 87.5), (37.5, 81.25))
    assert found.episodes == {"spa": 32} and "Episodes: spa 32." in found.caption
    assert (line.low[0], line.high[0]) == pytest.approx((18.5, 61.4), abs=0.1), "Wilson's of 6 of 16"
    (axes,) = drawn(calibration.draw, found).axes
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["spa"]


@pytest.mark.parametrize("bad", [{}, fitted((0.5, 1.5, 4)), fitted((0.5, 0.5, 0)), fitted((float("nan"), 0.5, 4))])
def test_a_fit_without_a_calibration_that_can_be_one_has_none(bad: dict[str, float]):
    with pytest.raises(UserError, match="no method whose fit"):
        calibration.data(group(run("spa", "10", fit=bad)))


def test_the_band_lies_where_the_interval_says():
    rows = [[{"success": won + 0.1 * turn, "env_steps": 100, "episodes": 9} for turn in (0, 1)] for won in (0.4, 0.42)]
    data = curves.data([group(*(run("ppo", "1", seed, iterations=row) for seed, row in enumerate(rows)))])
    (band,) = [one for one in drawn(curves.draw, data).axes[1].collections if isinstance(one, PolyCollection)]
    corners = {(round(x), round(y, 6)) for x, y in band.get_paths()[0].vertices}
    line = data.training[0].lines[0]
    assert {(100, round(line.low[0], 6)), (200, round(line.high[1], 6))} <= corners
    assert (line.low[0], line.high[0]) == (pytest.approx(40), pytest.approx(42))


def test_a_profile_is_the_share_above_each_outcome():
    (ppo, spa, *_) = profiles.data(
        group(run("ppo", [0.0, 0.25, 0.5, 1.0]), run("spa", [0.5, 0.5, 1.0, 1.0]))
    ).panel.lines
    assert ppo.x == spa.x == (0.0, 0.25, 0.5, 1.0)
    assert (ppo.y, spa.y) == ((75.0, 50.0, 25.0, 0.0), (100.0, 100.0, 50.0, 0.0))


def test_outcomes_of_0_and_1_have_no_profile_but_a_reason():
    with pytest.raises(UserError, match="all outcomes are 0 or 1"):
        profiles.data(small())


def test_a_credit_map_has_the_changes_of_progress_on_top_and_scales_each_row_by_its_largest():
    rows = credit.data(
        {"z": [0.0, 0.0], "a": [-4.0, 1.0]}, [0.5, 0.25], ["x", "y"], title="t", start_progress=0.25
    ).rows
    assert [(row.label, row.values, row.largest) for row in rows] == [
        (credit.ORACLE, (0.25, -0.25), 0.25), ("a", (-4.0, 1.0), 4.0), ("z", (0.0, 0.0), 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("paid", "progress", "actions"),
    [([1.0], [0.1, 0.2], ["x", "y"]), ([1.0, 2.0], [0.1], ["x", "y"]), ([], [], []), ([float("nan")], [0.1], ["x"])],
)
def test_a_credit_map_of_unequal_or_endless_numbers_is_an_error(paid: Any, progress: Any, actions: Any):
    with pytest.raises(ValueError, match="numbers for"):
        credit.data({"spa": paid}, progress, actions, title="t")


def test_a_scatter_has_roles_and_names_what_it_cannot_draw():
    found = scatter.data(audited())
    assert {point.method: point.role for point in found.points} == {
        "spa": "method",
        "clock": "floor",
        "last": "placebo",
    }
    assert found.points[-1].inversions == 0.0 and found.points[1].inversions == 20.0
    assert "Not drawn, undefined: even." in found.caption
    with pytest.raises(UserError, match="no method of the audit"):
        scatter.data(Audit({}, (), (4, 8)))


def test_captions_say_what_a_figure_rests_on():
    for caption in (
        step_intervals.data(small()).caption,
        lengths.data(small()).caption,
        curves.data([small()]).caption,
    ):
        for said in ("alfworld", "split valid_unseen", "n=10 tasks", "seeds 0, 1", "evaluation set a1b2c3"):
            assert said in caption


# How it is drawn


def test_bars_are_as_high_as_the_improvement_and_whiskers_as_long_as_the_interval():
    steps = [3] * 40
    runs = [
        run(name, "1" * won + "0" * (40 - won), steps=steps) for name, won in (("ppo", 20), ("spa", 30), ("rrd", 10))
    ]
    data = step_intervals.data(group(*runs), cuts=(5,))
    (axes,) = drawn(step_intervals.draw, data).axes
    rows = {row.method: row for row in data.found.rows if row.interval == "1-5"}
    heights = [bars[0].get_height() for bars in axes.containers]
    assert heights == [rows["rrd"].percent, rows["spa"].percent] == pytest.approx([-50.0, 50.0])
    segments = [part for one in axes.collections if isinstance(one, LineCollection) for part in one.get_segments()]
    for row in rows.values():
        assert any(np.allclose(part[:, 1], [row.low, row.high]) for part in segments), row
    assert [text.get_text().strip() for text in axes.texts] == ["no task", "no task"]  # none of more than 5 steps


def test_methods_differ_in_more_than_colour():
    """Bars by their hatch, lines by marker and line: in a grey copy the colours may be one."""
    some = group(*(run(name, "1010") for name in KNOWN[:OVERLAID]))
    bars = drawn(step_intervals.draw, step_intervals.data(some, cuts=(3,))).axes[0].containers
    assert len({part[0].get_hatch() for part in bars}) == len(bars) == OVERLAID - 1
    lines = drawn(curves.draw, curves.data([some])).axes[0].lines
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(lines) == OVERLAID


def test_points_stand_where_the_numbers_say_and_placebos_are_hollow():
    data = scatter.data(audited())
    axes = drawn(scatter.draw, data).axes[0]
    found = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])): (line.get_marker(), line.get_markerfacecolor())
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    for point in data.points:
        marker, fill = found[point.spearman, point.inversions]
        assert marker == scatter.SHAPES[point.role] and (fill == "white") == (point.role != "method")
    assert {text.get_text() for text in axes.texts} == {point.method for point in data.points}
    ends = [one.get_segments()[0][:, 0].tolist() for one in axes.collections if isinstance(one, LineCollection)]
    assert ends == [[point.low, point.high] for point in data.points]


def test_success_after_training_stands_above_what_was_measured():
    found = trained(5)
    every = drawn(agreement.draw, found).axes
    for axes, measure in zip(every, found.measures, strict=True):
        stand = {(float(x), float(y)) for line in axes.lines for x, y in zip(*line.get_data(), strict=True)}
        assert {(point.measured, 100 * point.success.mean) for point in measure.points} <= stand
        ends = [one.get_segments()[0][:, 1].tolist() for one in axes.collections if isinstance(one, LineCollection)]
        assert ends == [[100 * point.success.low, 100 * point.success.high] for point in measure.points]
        assert axes.get_title() == "-0.50 (-0.80 to +0.10), p = 0.320"
        assert axes.get_xlabel().endswith("right credit: low")


def test_a_bar_of_height_0_is_a_line_with_a_number():
    data = lengths.data(group(run("ppo", "0000000000"), run("spa", "1111111111")))
    axes = drawn(lengths.draw, data).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0"] * 3
    lines = [one for one in axes.collections if isinstance(one, LineCollection) and one.get_linewidth()[0] == 3.5]
    assert len(lines) == 3 and all(np.ptp(one.get_segments()[0][:, 0]) > 0.1 for one in lines)
    nothing = drawn(lengths.draw, lengths.data(group(run("ppo", "0000000000", start="0000000000")))).axes[0]
    assert nothing.get_ylim()[1] > 5 and len(nothing.texts) == 6


def test_where_the_baseline_solves_nothing_the_bar_is_a_word():
    axes = drawn(
        step_intervals.draw, step_intervals.data(group(run("ppo", "0000"), run("spa", "1111")), cuts=(3,))
    ).axes[0]
    assert [text.get_text().strip() for text in axes.texts] == ["baseline 0", "baseline 0"]


def test_an_interval_that_leaves_the_axes_ends_in_an_arrow():
    steps = [3] * 40
    wide = group(run("ppo", "1" * 5 + "0" * 35, steps=steps), run("spa", "0" * 34 + "1" * 6, steps=steps))
    data = step_intervals.data(wide, cuts=(5,))
    (axes,) = drawn(step_intervals.draw, data).axes
    high = data.found.rows[0].high
    assert high is not None and axes.get_ylim()[1] < high
    assert [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1] == ["^"]


def test_cells_hold_numbers_where_turns_are_few_and_signs_where_they_are_many():
    few, many = (drawn(credit.draw, prices(turns)).axes[0] for turns in (credit.FEW, credit.FEW + 1))
    assert "+0.1" in {text.get_text() for text in few.texts}
    signs = [text.get_text() for text in many.texts if text.get_text() in ("+", "\N{MINUS SIGN}")]
    assert len(signs) >= 3 * 13 - 3
    paid = prices(credit.FEW + 1).rows
    for text in many.texts:
        (x, y), said = text.get_position(), text.get_text()
        if said in ("+", "\N{MINUS SIGN}"):
            assert (said == "+") == (paid[int(y)].values[int(x)] > 0)
    (mesh,) = [one for one in few.collections if isinstance(one, QuadMesh)]
    shares = np.asarray(mesh.get_array()).reshape(3, -1)
    assert np.abs(shares).max(1).tolist() == [1.0, 1.0, 1.0]


def test_turns_beyond_the_width_go_on_below():
    figure = drawn(credit.draw, prices(credit.ACROSS + 5))
    first, second = figure.axes
    assert (len(first.get_xticks()), len(second.get_xticks())) == (credit.ACROSS, 5)
    assert second.get_xticklabels()[0].get_text() == "41  go to shelf 40"
    assert first.get_xlim() == second.get_xlim()


def test_more_methods_than_can_be_told_apart_have_axes_of_their_own():
    few, many = (drawn(curves.draw, curves.data([crowd(count)])) for count in (OVERLAID, OVERLAID + 1))
    assert len(few.axes) == 2 and len(few.legends[0].get_texts()) == OVERLAID
    used = [axes for axes in many.axes if axes.axison]
    assert [axes.get_title() for axes in used] == sorted(axes.get_title() for axes in used)
    assert len(used) == OVERLAID + 1 and not many.legends
    assert len(drawn(step_intervals.draw, step_intervals.data(crowd(21), cuts=(5, 10))).axes) == 3
    mixed = drawn(curves.draw, curves.data([small(), crowd(9)]))
    titles = [axes.get_title().replace("\n", " ") for axes in mixed.axes if axes.axison]
    assert len(titles) == 2 + 9 and "spa (1. alfworld, valid_unseen: held-out tasks)" in titles
    assert {f"ppo ({number}. alfworld, valid_unseen: held-out tasks)" for number in (1, 2)} <= set(titles)


def test_the_other_methods_stand_behind_one_as_a_broken_pale_line():
    data = curves.data([crowd(9)])
    pale, dotted, own = drawn(curves.draw, data).axes[0].lines
    first, *others = data.panels[0].lines
    assert tuple(own.get_ydata()) == first.y and tuple(dotted.get_ydata()) == data.training[0].lines[0].y
    y = np.asarray(pale.get_ydata(), dtype=float)
    assert np.isnan(y).sum() == len(others)
    assert y[~np.isnan(y)].tolist() == [value for line in others for value in line.y]


FIGURES: dict[str, Callable[[], Figure]] = {
    "bars of two": lambda: drawn(step_intervals.draw, step_intervals.data(small(), cuts=(5, 10, 15))),
    "many bars": lambda: drawn(step_intervals.draw, step_intervals.data(crowd(OVERLAID + 1), cuts=(5, 10, 15))),
    "rows of many": lambda: drawn(step_intervals.draw, step_intervals.data(crowd(21), cuts=(5, 10, 15))),
    "lengths of one": lambda: drawn(lengths.draw, lengths.data(group(run("ppo", "1010100100")))),
    "lengths of many": lambda: drawn(lengths.draw, lengths.data(crowd(21))),
    "lengths of few": lambda: drawn(lengths.draw, lengths.data(small())),
    "long names": lambda: drawn(lengths.draw, lengths.data(group(run(HOSTILE, "1010100100")))),
    "rows of differences": lambda: drawn(forest.draw, judged(crowd(21))),
    "rows of types": lambda: drawn(heat.draw, heat.by_type(crowd(21))),
    "rows of worlds": lambda: drawn(heat.draw, heat.by_world([small(), group(run(HOSTILE, "10", world="webshop"))])),
    "costs of many": lambda: drawn(costs.draw, costs.data(spending(19))),
    "curves": lambda: drawn(curves.draw, curves.data([small(), crowd(OVERLAID)])),
    "curves of many": lambda: drawn(curves.draw, curves.data([crowd(21)])),
    "curves with long names": lambda: drawn(curves.draw, curves.data([group(run(HOSTILE, "1"), run("ppo", "1"))])),
    "profiles": lambda: drawn(profiles.draw, profiles.data(crowd(OVERLAID, graded=True))),
    "profiles of many": lambda: drawn(profiles.draw, profiles.data(crowd(21, graded=True))),
    "credit": lambda: drawn(credit.draw, prices(12, 21)),
    "much credit": lambda: drawn(credit.draw, prices(45, 5)),
    "credit and success": lambda: drawn(agreement.draw, trained(21)),
    "audit": lambda: drawn(scatter.draw, scatter.data(audited())),
    "audit of many": lambda: drawn(scatter.draw, scatter.data(audited(*MANY))),
}


def seen(axes: Any, label: Text) -> bool:
    """A tick beyond the ends of its axis has a label that is not drawn."""
    low, high = sorted(axes.get_ylim())
    return low <= label.get_position()[1] <= high


@pytest.mark.parametrize("name", FIGURES)
def test_no_words_overlap_or_leave_the_figure(name: str):
    figure = FIGURES[name]()
    words = [figure._suptitle, figure._supxlabel, *([figure._supylabel] if figure._supylabel else [])]
    words += [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        if axes.axison:
            words += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
            named = "rows" in name or "lengths" in name or "credit" in name
            words += [label for label in axes.get_yticklabels() if named and seen(axes, label)]
    words = [word for word in words if word.get_text().strip() and word.get_visible()]
    boxes = [Text.get_window_extent(word) for word in words]  # without the line that leads to it
    assert len(boxes) >= 4
    for place, box in enumerate(boxes):
        inside = figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 and figure.bbox.y0 - 1 <= box.y0
        assert inside, words[place]
        assert not any(box.overlaps(other) for other in boxes[:place]), words[place]


# Looks


def test_a_method_looks_the_same_in_any_company():
    alone = {name: looks([name])[name] for name in (*KNOWN, "mine.Mine")}
    in_company = looks(alone)
    assert {name: in_company[name] for name in KNOWN} == {name: alone[name] for name in KNOWN}
    assert looks(["mine.Mine", "uniform"])["mine.Mine"] == alone["mine.Mine"]
    assert set(registry.names("rewards")) <= set(KNOWN), "append the new method to KNOWN"
    assert len(KNOWN) <= OWN


def test_known_methods_are_told_apart_in_colour_and_without_it():
    found = looks(KNOWN).values()
    assert len({(look.colour, look.marker) for look in found}) == len(KNOWN)
    assert len({(look.marker, look.line) for look in found}) == len(KNOWN)
    first = [looks(KNOWN)[name] for name in KNOWN[:8]]
    assert len({look.hatch for look in first}) == len({look.marker for look in first}) == 8


def test_names_that_fall_on_one_look_are_told_apart_and_known_ones_do_not_move():
    names = [f"mine{number}.Mine" for number in range(20)]
    alone = [looks([name])[name] for name in names]
    assert len(set(alone)) < len(names)
    together = looks([*names, *KNOWN])
    assert len(set(together.values())) == len(names) + len(KNOWN)
    assert {name: together[name] for name in KNOWN} == looks(KNOWN)


def test_a_method_with_options_is_told_from_the_method_as_a_bar_and_as_a_line():
    for options in ("alpha=0", "beta=0", "bonus=sum", "alpha=0, beta=1"):
        one, other = looks(["spa", f"spa ({options})"]).values()
        assert (one.colour, one.hatch) != (other.colour, other.hatch)
        assert (one.marker, one.line) != (other.marker, other.line)


def test_more_names_than_there_are_looks_still_have_one():
    names = [f"mine{number}.Mine" for number in range(200)]
    assert set(looks(names)) == set(names)


def test_text_is_one_line_cut_and_visible():
    assert shortened("a\nb\x1b", 20) == "a\\nb\\x1b"
    assert shortened("abcdef", 4) == "abc…"
    assert wrapped("stepagent-inverse (bonus=sum, exact=true)", 28) == "stepagent-inverse\n(bonus=sum, exact=true)"
    assert wrapped("x" * 100, 20).count("\n") == 3 and wrapped("x" * 100, 20).endswith("…")


# Files


def written(folder: Path, *groups: Group, audits: Any = (), credits: Any = ()) -> dict[str, bytes]:
    names = {f"{group.runs[0].config['env'][:3]}-{len(group.methods)}": group for group in groups}
    told = {name: tables_of([one])[0].differences for name, one in names.items()}
    named = ({f"audit-{n}": one for n, one in enumerate(some)} for some in (audits, credits))
    found = figures(names, next(named), next(named), folder, (5, 10), None, told)
    assert sorted(found.paths) == sorted(folder.iterdir())
    return {path.name: path.read_bytes() for path in found.paths}


def test_all_figures_repeat_to_the_byte_and_leave_settings_alone(tmp_path: Path):
    graded = crowd(3, graded=True)
    more: Any = {"audits": [audited()], "credits": [prices(5)]}
    with matplotlib.rc_context({"font.size": 31, "axes.facecolor": "red", "text.parse_math": True}):
        before = dict(matplotlib.rcParams)
        first = written(tmp_path / "a", graded, **more)
        assert dict(matplotlib.rcParams) == before
    turned = Group(graded.identity, graded.runs)
    assert written(tmp_path / "b", turned, **more) == first
    kinds = {name.rsplit("-", 1)[-1] for name in first}
    assert kinds == {
        f"{kind}.{ending}"
        for kind in ("intervals", "lengths", "profiles", "curves", "scatter", "credit", "differences", "type", "costs")
        for ending in ("svg", "png", "json")
    }
    assert all(len(content) > 4000 for name, content in first.items() if not name.endswith("json"))
    assert not any(b"<dc:date>" in content for content in first.values())
    for name, content in first.items():
        if name.endswith("svg"):  # on a page of any colour
            assert b"currentColor" in content and INK.encode() not in content
            assert (
                content.count(b"fill: #ffffff", 0, content.index(b"axes_1")) == 0 and b'style="fill: none"' in content
            )
            assert b"#000000" not in content or "credit" in name, "in its cells"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The figures of one group."""
    return written(tmp_path_factory.mktemp("alone"), small())


def test_a_figure_is_the_same_in_any_company(alone: dict[str, bytes], tmp_path: Path):
    other = group(run("ppo", "10", world="webshop"), run("spa", "11", world="webshop"))
    together = written(tmp_path, other, small())
    own = {name for name in alone if not name.startswith("learning")}
    assert any(name.startswith("worlds") for name in together)
    assert own and {name: together[name] for name in own} == {name: alone[name] for name in own}
    assert {name.split("-")[0].split(".")[0] for name in together} == {"alf", "web", "learning", "worlds"}


def test_the_numbers_behind_a_figure_lie_beside_it(alone: dict[str, bytes]):
    found = json.loads(alone["alf-2-lengths.json"])
    exact = json.loads(json.dumps(asdict(lengths.data(small()))))
    assert found.keys() == exact.keys() and json.dumps(found) != "{}"
    numbers = [(a, b) for a, b in zip(flat(found), flat(exact), strict=True) if isinstance(b, float)]
    assert numbers and all(a == pytest.approx(b, rel=1e-8) for a, b in numbers)
    assert [a for a in flat(found) if isinstance(a, str)] == [b for b in flat(exact) if isinstance(b, str)]


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [one for part in (value.values() if isinstance(value, dict) else value) for one in flat(part)]
    return [value]


def test_what_is_not_drawn_has_a_reason(tmp_path: Path):
    untrained = group(run("spa", "1", limits=None, iterations=(), costs={}))
    found = figures({"x": untrained}, {"y": Audit({"world": "w"}, (), (4, 8))}, {}, tmp_path)
    assert found.paths == ()
    said = "\n".join(found.reasons)
    for reason in ("no method but the baseline spa", "do not say what a short task is", "all outcomes are 0 or 1",
                   "no finished run with an iteration", "no method of the audit"):  # fmt: skip
        assert reason in said
    assert figures({}, {}, {}, tmp_path).reasons == ()


def test_groups_whose_runs_all_failed_are_reasons_and_not_errors(tmp_path: Path):
    failed = group(replace(run("ppo", "1010"), finished=False))
    found = figures({"x": failed}, {}, {}, tmp_path)
    assert found.paths == () and len(found.reasons) == 8


def test_hostile_names_are_drawn_as_text(tmp_path: Path):
    bad = group(run("ppo", "1010100100"), run(HOSTILE, "1010100101"))
    more = {"credits": [credit.data({HOSTILE: [1.0]}, [1.0], [HOSTILE], title=HOSTILE, caption="$\\frac{$")]}
    audit = replace(audited(), about={"world": HOSTILE})
    for name, content in written(tmp_path, bad, audits=[audit], **more).items():
        if name.endswith("svg"):
            assert b"\x1b" not in content and b"<script" not in content


def test_drawing_loads_no_torch_and_no_room_and_leaves_no_trace_in_pyplot(tmp_path: Path):
    """The package itself loads neither seaborn nor pandas."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import spa_bench.figures.files as files\n"
        "assert not {'matplotlib', 'seaborn', 'pandas'} & sys.modules.keys()\n"
        "import matplotlib; chosen = matplotlib.get_backend(auto_select=False)\n"
        "matplotlib.rcParams['font.size'] = 31; now = matplotlib.rcParams\n"
        "before = {name: now[name] for name in now if name != 'backend'}\n"
        "from figure_runs import group, run\n"
        "from pathlib import Path\n"
        "files.figures({'x': group(run('ppo', '1010100100'), run('spa', '1110100100'))}, {}, {}, Path(sys.argv[2]))\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'transformers', 'trl', 'datasets') or "
        "name.startswith(('spa_bench.rewards', 'spa_bench.agents'))])\n"
        "from matplotlib import pyplot; import seaborn\n"
        "assert before == {name: now[name] for name in before} and not pyplot.get_fignums()\n"
        "assert matplotlib.get_backend(auto_select=False) == chosen\n"
        "seaborn.reset_orig(); assert matplotlib.rcParams['font.size'] == 31"
    )
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(list(tmp_path.iterdir())) == 15
