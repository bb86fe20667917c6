"""What a state key mixes, worked out by hand, and how it is printed and saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_audits import SMALL

from spa_bench.audit import alias_rows, saved
from spa_bench.audit.aliasing import ALL, KEYS, Aliasing, aliasing
from spa_bench.audit.effects import Effect
from spa_bench.audit.show import footer
from spa_bench.core import BUCKETS, Step, Task, Trajectory, UserError
from spa_bench.report.contents import Contents

LIMITS = (5, 10)


def walk(seen: str, states: str, potential: Sequence[float], key: str = "t", expert: int = 3) -> Trajectory:
    """An episode that sees these letters in these states, with the oracle's potential at each; the last ones end it."""
    steps = tuple(
        Step(s, f"Action: {t}", str(t), True, None, 0.0, p, state=state, menu=s)
        for t, (s, state, p) in enumerate(zip(seen[:-1], states, potential[1:], strict=False))
    )
    task = Task("w", key, "train", "k", expert)
    return Trajectory(
        task, steps, 0.0, False, False, True, potential[0], seen[-1], final_state=states[-1], final_menu=seen[-1]
    )


TWO = [walk("ABAE", "1213", [0.2, 0.4, 0.6, 0.6]), walk("ABCE", "1453", [0.2, 0.8, 0.5, 0.5])]
"""Steps in A1 B2 A1 and A1 B4 C5: A is one state three times, B is two states, C is alone."""
OTHER = walk("ADE", "678", [0.0, 0.1, 0.1], "other", expert=12)
"""Another task, with an A of its own; both steps are alone."""


def shares(one: Aliasing) -> tuple[float | None, ...]:
    return one.singletons.value, one.mixed.value, one.pairs.value


def test_shares_by_hand():
    """By text: of 8 steps C, D and the other task's A are alone. Of the other 5 those at B are in a mixed group; of the
    3 + 1 pairs that at B is of two states. By state B is two singletons as well.
    """
    found = aliasing([*TWO, OTHER], [], LIMITS, 0)
    assert tuple(found) == KEYS
    assert all(tuple(own) == (ALL, *BUCKETS) for own in found.values())
    text, true = found["observation"], found["state"]
    assert shares(text[ALL]) == (pytest.approx(3 / 8), pytest.approx(2 / 5), pytest.approx(1 / 4))
    assert shares(text["short"]) == (pytest.approx(1 / 6), pytest.approx(2 / 5), pytest.approx(1 / 4))
    assert shares(text["medium"]) == (None, None, None)
    assert shares(text["long"]) == (1.0, None, None)
    assert shares(true[ALL]) == (pytest.approx(5 / 8), 0.0, 0.0)
    assert [own[ALL].steps for own in found.values()] == [8] * len(KEYS)
    # With one turn of the past the third A is alone: C after B 1, A after B 1 and B after A 0 twice are what is left.
    assert shares(found["history-1"][ALL]) == (pytest.approx(4 / 8), pytest.approx(2 / 4), pytest.approx(1 / 2))


def test_pairs_weigh_a_group_by_its_size():
    """Four at A in states 1 1 1 2: three of six pairs differ."""
    found = aliasing([walk("AX", f"{state}9", [0.0, 0.0]) for state in "1112"], [], LIMITS, 0)
    assert shares(found["observation"][ALL]) == (0.0, 1.0, 0.5)


def test_variance_of_the_oracle_by_hand():
    """At B the potentials are .4 and .8: squares .04 + .04 over one degree of freedom. At A they are .2 and .2 before
    the first step and .6 before the third: mean 1/3, squares 8/75, over two.
    """
    spread = aliasing(TWO, [], LIMITS, 0)["observation"][ALL].oracle
    assert spread.mixed == pytest.approx(0.08)
    assert spread.pure == pytest.approx(4 / 75)
    assert (spread.mixed_groups, spread.pure_groups) == (1, 1)
    true = aliasing(TWO, [], LIMITS, 0)["state"][ALL].oracle
    assert (true.mixed, true.mixed_groups, true.pure_groups) == (None, 0, 1)


def test_variance_of_outcomes_by_hand():
    """At B the means of two continuations are 1 and 1/2: squares 1/8 over 1; their variances 0 and 1/2, of a mean half
    of that, 1/8 on average: nothing is left. With means 1 and 0 and no noise 1/2 is.
    """

    def mixed(*again: tuple[float, ...]) -> float | None:
        effects = [Effect(i, 1, 0.0, 0, own) for i, own in enumerate(again)]
        spread = aliasing(TWO, effects, LIMITS, 0)["observation"][ALL].outcomes
        assert spread.pure is None
        return spread.mixed

    assert mixed((1.0, 1.0), (1.0, 0.0)) == pytest.approx(0.0)
    assert mixed((1.0, 1.0), (0.0, 0.0)) == pytest.approx(0.5)
    assert mixed((1.0, 0.0), (1.0, 0.0)) == pytest.approx(-0.25)
    assert mixed((1.0,), (0.0,)) is None  # noise cannot be told from one continuation
    assert mixed((1.0, 1.0)) is None  # nobody to compare with


def test_continuations_that_two_steps_share_count_once():
    """Before their first steps both episodes have the same past, so they were continued together."""
    effects = [Effect(i, 0, 0.0, 0, (1.0, 0.0)) for i in (0, 1)]
    assert aliasing(TWO, effects, LIMITS, 0)["observation"][ALL].outcomes.pure_groups == 0
    apart = [Effect(0, 0, 0.0, 0, (1.0, 1.0)), Effect(0, 2, 0.0, 0, (0.0, 0.0))]
    assert aliasing(TWO, apart, LIMITS, 0)["observation"][ALL].outcomes.pure == pytest.approx(0.5)


def test_what_another_episode_played_and_what_broke_is_left_out():
    branch = replace(TWO[1], branch=2)
    assert aliasing([TWO[0], branch], [], LIMITS, 0)["observation"][ALL].steps == 4
    assert aliasing([TWO[0], replace(TWO[1], error="it broke")], [], LIMITS, 0)["observation"][ALL].steps == 3
    with pytest.raises(UserError, match="no record of the world's menu"):
        aliasing([replace(TWO[0], final_menu="")], [], LIMITS, 0)


def test_intervals_are_over_tasks():
    """Eight tasks that are all mixed or all pure: the interval of the share holds 1/2; of one task there is none."""
    tasks = [walk("AX", f"{1 + n % 2 * m}9", [0.0, 0.0], f"t{n}") for n in range(8) for m in range(2)]
    found = aliasing(tasks, [], LIMITS, 0)["observation"][ALL].mixed
    assert found.value == 0.5 and found.low is not None and 0 <= found.low < 0.3 and found.tasks == 8
    assert aliasing(TWO, [], LIMITS, 0)["observation"][ALL].mixed.low is None
    assert aliasing(tasks[::-1], [], LIMITS, 0)["observation"][ALL].mixed == found


# Printed and saved

MEASURED = replace(SMALL, aliasing=aliasing([*TWO, OTHER], [], LIMITS, 0))


def test_the_table_has_a_row_for_each_key_and_a_line_for_each_column():
    header, rows = alias_rows.rows(MEASURED)
    assert [row[0] for row in rows] == list(KEYS)
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][1:] == ["37.5 [17, 100]", "40.0", "40.0", "-", "-", "25.0", "0.0800 / 0.0533", "- / - (0, 0)"]
    assert [line for line in footer(MEASURED) if line.startswith(("singletons %", "mixed pairs %"))]
    assert not [line for line in footer(SMALL) if "singletons" in line]
    (section,) = Contents([], [], [], [(Path("an audit"), MEASURED)], []).audit_sections()
    assert [grid.name for grid in section.grids] == ["credit", "aliasing"]
    (plain,) = Contents([], [], [], [(Path("an audit"), SMALL)], []).audit_sections()
    assert [grid.name for grid in plain.grids] == ["credit"]


def test_it_is_saved_and_read_again(tmp_path: Path):
    path = saved.save(MEASURED, tmp_path)
    again = saved.load(path)
    assert again.aliasing == MEASURED.aliasing
    assert alias_rows.rows(again) == alias_rows.rows(MEASURED)
    file = path / saved.AUDIT
    content = json.loads(file.read_text())
    del content["aliasing"]["anchor"]["short"]
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="a state key lacks a length"):
        saved.load(path)
    del content["aliasing"]  # as earlier versions wrote it
    file.write_text(json.dumps(content))
    assert saved.load(path).aliasing == {}
