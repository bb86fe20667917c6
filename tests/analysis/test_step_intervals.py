"""Relative improvement by step interval: numbers by hand, and what must not change them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from figure_runs import STEPS, group, run
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples
from written_runs import write_run

from spa_bench.analysis.groups import collect
from spa_bench.analysis.step_intervals import Improvement, improvements, step_intervals
from spa_bench.core import UserError

#      steps 2345 68 10 11 14 20
PPO, SPA = "1010100100", "1110110001"


def only(*runs, cuts=None, baseline="ppo") -> dict[str, Improvement]:
    return {row.interval: row for row in improvements(group(*runs), baseline, cuts).rows}


def test_the_numbers_of_a_small_case():
    found = only(run("ppo", PPO), run("spa", SPA), cuts=(5, 10, 15))
    assert list(found) == ["1-5", "6-10", "11-15", ">15"]
    assert [row.tasks for row in found.values()] == [4, 3, 2, 1]
    assert [row.success for row in found.values()] == [3 / 4, 2 / 3, 0.0, 1.0]
    assert [row.baseline for row in found.values()] == [2 / 4, 1 / 3, 1 / 2, 0.0]
    assert [row.difference_pp for row in found.values()] == pytest.approx([25.0, 100 / 3, -50.0, 100.0])
    assert [row.percent for row in found.values()][:3] == pytest.approx([50.0, 100.0, -100.0])
    assert {row.seeds for row in found.values()} == {1}


def test_where_the_baseline_solves_nothing_there_is_no_ratio_but_a_difference():
    last = only(run("ppo", PPO), run("spa", SPA), cuts=(15,))[">15"]
    assert (last.percent, last.low, last.high) == (None, None, None)
    assert (last.difference_pp, last.tasks) == (100.0, 1)


def test_an_interval_without_tasks_has_nothing_but_its_name():
    found = only(run("ppo", PPO), run("spa", SPA), cuts=(20, 30))["21-30"]
    assert found == Improvement("spa", "21-30", 1, 0, None, None, None, None, None, None)


def test_the_cuts_of_the_groups_own_table_are_the_default():
    found = improvements(group(run("ppo", PPO), run("spa", SPA)))
    assert [one.name for one in found.intervals] == ["1-4", "5-8", ">8"]
    assert [row.tasks for row in found.rows] == [3, 3, 4]


def test_seeds_are_averaged_and_only_shared_ones_count():
    runs = [run("ppo", "1000000000", 0), run("ppo", "1100000000", 1), run("ppo", "1111111111", 2)]
    found = only(*runs, run("spa", "1110000000", 0), run("spa", "1111000000", 1), cuts=(5,))["1-5"]
    assert found.seeds == 2
    assert (found.success, found.baseline) == ((3 / 4 + 1) / 2, (1 / 4 + 2 / 4) / 2)
    assert found.percent == pytest.approx(100 * (7 / 8 - 3 / 8) / (3 / 8))


def test_a_task_that_one_of_them_lacks_counts_for_neither():
    """Episodes with errors are no results; task k1 is solved by both, and k0 only by ppo."""
    found = only(run("ppo", "1100000000"), run("spa", "0100000000", errors=[0]), cuts=(5,))["1-5"]
    assert (found.tasks, found.success, found.baseline, found.percent) == (3, 1 / 3, 1 / 3, 0.0)


def test_methods_that_share_no_seed_have_no_tasks_in_common():
    found = only(run("ppo", PPO, 0), run("spa", SPA, 1), cuts=(5,))["1-5"]
    assert (found.seeds, found.tasks, found.percent) == (0, 0, None)


def test_the_interval_is_over_tasks_and_holds_the_value():
    steps = [3] * 40
    one = only(run("ppo", "1" * 16 + "0" * 24, steps=steps), run("spa", "1" * 24 + "0" * 16, steps=steps), cuts=(5,))
    found = one["1-5"]
    assert found.percent == pytest.approx(50.0)
    assert found.low is not None and found.high is not None
    # Delta method: log ratio log(1.5), variance (1/p_spa - 1 + 1/p_ppo - 1 - 2 (p_both / (p_spa p_ppo) - 1)) / n.
    spread = ((1 / 0.6 - 1) + (1 / 0.4 - 1) - 2 * (0.4 / 0.24 - 1)) / 40
    low, high = (100 * (1.5 * 2.718281828 ** (side * 2.05 * spread**0.5) - 1) for side in (-1, 1))
    assert (found.low, found.high) == pytest.approx((low, high), abs=20)


def test_a_row_does_not_depend_on_who_else_is_there_or_on_other_intervals():
    runs = [run("ppo", PPO), run("spa", SPA), run("rrd", "1111111111")]
    alone = only(*runs[:2], cuts=(5, 10))
    together = {row.interval: row for row in improvements(group(*runs), "ppo", (5, 10)).rows if row.method == "spa"}
    assert together == alone
    assert only(*runs[:2], cuts=(5, 10, 15))["6-10"] == alone["6-10"]


def test_rows_stand_by_method_and_interval_and_the_baseline_is_none():
    found = improvements(group(run("spa", SPA), run("rrd", SPA), run("ppo", PPO)), "spa", (5,))
    assert [(row.method, row.interval) for row in found.rows] == [
        ("ppo", "1-5"), ("ppo", ">5"), ("rrd", "1-5"), ("rrd", ">5"),
    ]  # fmt: skip
    assert found.baseline == "spa"


wins = st.lists(st.integers(0, 1), min_size=len(STEPS), max_size=len(STEPS)).map(lambda row: "".join(map(str, row)))


@max_examples(15)
@given(st.lists(st.tuples(wins, wins), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_runs_and_episodes_does_not_matter(pairs, random):
    runs = [
        run(name, won, seed) for seed, pair in enumerate(pairs) for name, won in zip(("ppo", "spa"), pair, strict=True)
    ]
    turned = [
        replace(one, panels={name: random.sample(list(shown), len(shown)) for name, shown in one.panels.items()})
        for one in random.sample(runs, len(runs))
    ]
    assert improvements(group(*turned)).rows == improvements(group(*runs)).rows


@max_examples(15)
@given(wins)
def test_a_method_that_does_the_same_improves_by_nothing(won):
    for row in improvements(group(run("ppo", won), run("spa", won)), cuts=(5, 10)).rows:
        assert row.difference_pp == 0
        assert row.percent == (0 if row.baseline else None)
        assert (row.low, row.high) == (None, None)


@max_examples(15)
@given(wins, wins, st.lists(st.integers(1, 25), min_size=1, max_size=4, unique=True).map(sorted))
def test_every_task_is_in_one_interval(ppo, spa, cuts):
    rows = improvements(group(run("ppo", ppo), run("spa", spa)), cuts=cuts).rows
    assert sum(row.tasks for row in rows) == len(STEPS)
    assert sum(row.tasks * (row.success or 0) for row in rows) == pytest.approx(spa.count("1"))


def test_intervals_meet_without_gap_or_overlap_and_the_first_takes_a_task_without_steps():
    found = step_intervals((1, 5, 6))
    assert [one.name for one in found] == ["1", "2-5", "6", ">6"]
    for steps in range(30):
        assert sum(one.holds(steps) for one in found) == 1
    assert found[0].holds(0)


@pytest.mark.parametrize("cuts", [(), (0, 5), (5, 5), (10, 5), (-1,)])
def test_ends_that_do_not_rise_are_refused(cuts):
    with pytest.raises(UserError, match="use increasing ends from 1 on"):
        step_intervals(cuts)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(UserError, match="no finished run of the baseline ppo; there are: spa"):
        improvements(group(run("spa", SPA)), "ppo")
    with pytest.raises(UserError, match="no method but the baseline ppo"):
        improvements(group(run("ppo", PPO)))
    with pytest.raises(UserError, match="give the ends"):
        improvements(group(run("ppo", PPO, limits=None), run("spa", SPA, limits=None)))
    assert len(improvements(group(run("ppo", PPO, limits=None), run("spa", SPA, limits=None)), cuts=(5,)).rows) == 2


def test_it_reads_run_folders(tmp_path: Path):
    write_run(tmp_path, reward="ppo", wins="1000")
    write_run(tmp_path, reward="spa", wins="1100")
    ((found,), problems) = collect([tmp_path])
    rows = improvements(found).rows
    assert [(row.interval, row.tasks, row.percent) for row in rows] == [
        ("1-4", 2, pytest.approx(100.0)), ("5-8", 1, None), (">8", 1, None),
    ]  # fmt: skip
    assert problems == []
