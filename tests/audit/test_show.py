"""The table, the JSON and the figure of an audit: what they hold, that they fit, that they repeat to the byte."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_audits import LIMITS, SMALL

from spa_bench.audit.columns import columns
from spa_bench.audit.intervals import Measured
from spa_bench.audit.show import by_name, footer, label, to_json
from spa_bench.audit.summary import Audit, Margin
from spa_bench.figures import scatter
from spa_bench.figures.audit import draw

pytestmark = pytest.mark.filterwarnings("error")


def cells(audit: Audit, name: str) -> dict[str, str]:
    (found,) = (one for one in audit.methods if one.name == name)
    return {column.header: column.cell(found) for column in columns(audit)}


# The table


def test_a_row_shows_the_figures_of_its_method():
    spa = SMALL.methods[0]
    known = replace(
        spa,
        conserves=True,
        gap=replace(spa.gap, mean=0.123456, largest=0.5, mean_beyond_task=1e-15, slope=-0.0333, inversions=0.126),
        agreement=replace(
            spa.agreement,
            spearman=Measured(0.514, 0.4, 0.6, 20, 24, 8),
            kendall=Measured(-0.001, None, None, 20, 24, 8),
            auprc=Measured(0.75, 0.7, 0.8, 20, 24, 8),
            chance=0.25,
        ),
        margins=(
            Margin("weak", Measured(0.5, 0.4, 0.6, 20, 24, 8)),
            Margin("strong", Measured(-0.1, -0.2, 0.01, 20, 24, 8)),
            Margin("undefined", Measured(None, None, None, 0, 24, 0)),
        ),
        last_turn_share=Measured(0.333, None, None, 20, 24, 8),
        signal_to_noise=None,
    )
    shown = cells(replace(SMALL, methods=(known,)), "spa")
    for header, text in {
        "claims return-preserving": "yes!",
        "return error": "0.123",
        "return error within task": "0",
        "return error per step": "-0.0333",
        "misordered pairs %": "13",
        "loop payoff": "0.25",
        "Spearman": "0.51 [0.40, 0.60]",
        "n": "20",
        "Kendall": "0.00",
        "AUPRC": "0.75 (0.25)",
        "margin over best placebo": "-0.10 [-0.20, 0.01] strong, 20",
        "share on last step %": "33",
        "SNR": "-",
        "overhead: tokens": "123,456",
    }.items():
        assert shown[header] == text, header
    assert known.best_placebo.placebo == "strong"
    for length in ("short", "medium", "long"):
        value = spa.by_length[length].spearman.value
        assert shown[length] == ("-" if value is None else f"{value:.2f}")
    effect = spa.effects.spearman
    assert shown["effect correlation"] == f"{effect.value:.2f} [{effect.low:.2f}, {effect.high:.2f}]"


def test_what_is_undefined_is_a_dash():
    shown = cells(SMALL, "even")
    rest = ("partial rank correlation", "effect correlation", "margin over best placebo", "short")
    assert {shown[name] for name in ("Spearman", "Kendall", *rest)} == {"-"}
    assert (shown["n"], shown["Gini"], shown["claims return-preserving"]) == ("0", "0.00", "yes!")


@pytest.mark.parametrize(
    ("conserves", "largest", "text"), [(True, 1e-9, "yes"), (True, 0.1, "yes!"), (False, 0.1, "no")]
)
def test_a_claim_that_does_not_hold_is_marked(conserves: bool, largest: float, text: str):
    one = SMALL.methods[0]
    one = replace(one, conserves=conserves, gap=replace(one.gap, largest=largest))
    assert cells(replace(SMALL, methods=(one,)), "spa")["claims return-preserving"] == text


def test_rows_stand_in_the_order_of_names_and_placebos_are_marked():
    assert [label(method) for method in by_name(SMALL)] == ["clock *", "even", "last *", "spa"]
    assert label(replace(SMALL.methods[0], name="[red]a\x1b[2J")) == "[red]a\\x1b[2J"


def test_the_footer_names_the_floor_what_was_usable_and_each_column():
    lines = footer(SMALL)
    clock = next(one for one in SMALL.methods if one.name == "clock")
    (floor,) = (line for line in lines if line.startswith("floor: clock"))
    assert f"Spearman {clock.agreement.spearman.value:.2f} [" in floor
    assert any(line.startswith("floor: last") for line in lines)
    assert not any("not audited" in line for line in lines)
    assert "trajectories: 24 usable, 2 left out" in "\n".join(lines)
    assert "world alfworld, policy warm start, seed 0" in lines
    assert "short of tasks" in lines
    for column in columns(SMALL):
        assert sum(line.startswith(f"{column.header}: ") for line in lines) == 1, column.header


def test_successes_and_failures_have_columns_of_their_own():
    spa, shown = SMALL.methods[0], cells(SMALL, "spa")
    for name, outcome in (("successes", "success"), ("failures", "failure")):
        found = spa.by_outcome[outcome].spearman
        assert shown[f"Spearman, {name}"] == f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}], {found.used}"
        best = spa.best_placebo_on(outcome)
        assert shown[f"margin, {name}"].endswith(f"] shuffled, {best.spearman.used}")
        assert best.spearman.used == found.used <= 12
    assert cells(SMALL, "even")["Spearman, successes"] == cells(SMALL, "even")["margin, failures"] == "-"


def test_a_placebo_that_cannot_be_compared_is_named_with_the_methods():
    spa = SMALL.methods[0]
    used = spa.agreement.spearman.used
    part = Margin("part", Measured(None, None, None, 3, 24, 3))
    lines = footer(replace(SMALL, methods=(replace(spa, margins=(*spa.margins, part)), *SMALL.methods[1:])))
    (told,) = (line for line in lines if "not over" in line)
    assert told.startswith("margin over best placebo") and "part" in told and told.endswith(f"spa (3 of {used})")
    assert not any("not over" in line for line in footer(SMALL))


def test_placebos_of_every_margin_are_told_and_many_methods_counted():
    part = Margin("part", Measured(None, None, None, 3, 24, 3))
    spa = SMALL.methods[0]
    kinds = {"failure": (part,)}
    one = replace(spa, margins_by_outcome=kinds, effects=replace(spa.effects, margins=(part,)))
    told = [line for line in footer(replace(SMALL, methods=(one,))) if "not over" in line]
    of = spa.by_outcome["failure"].spearman.used
    assert [line.split(": ")[0] for line in told] == ["effect margin over best placebo", "margin, failures"]
    assert "some of the steps" in told[0] and told[1].endswith(f"trajectories of spa (3 of {of})")
    many = tuple(replace(spa, name=f"m{n}", margins=(part,)) for n in range(4))
    (line,) = [line for line in footer(replace(SMALL, methods=many)) if "not over" in line]
    assert line.endswith("of 4 methods")


def test_intervals_are_over_fits_only_where_there_are_several():
    assert SMALL.sampled == "tasks"
    more = replace(SMALL, methods=(replace(SMALL.methods[0], fits=3), *SMALL.methods[1:]))
    assert more.sampled == "tasks and fits"
    assert "95 % CI over tasks and fits" in scatter.data(more).caption
    assert "95 % CI over tasks. " in scatter.data(SMALL).caption


def test_the_power_check_decides_whether_the_effects_are_shown():
    assert SMALL.power.passed and SMALL.power.points == 24
    (told,) = (line for line in footer(SMALL) if line.startswith("power check"))
    oracle = SMALL.power.oracle
    assert "24 steps" in told and (oracle.low is None or f"[{oracle.low:.2f}, " in told)
    weak = replace(SMALL.power, margin=None, oracle=Measured(-0.06, -0.19, 0.04, 100, 100, 50))
    failed = replace(SMALL, power=weak)
    check, withheld = footer(failed)[2:4]
    assert "effect correlation -0.06 [-0.19, 0.04] on 24 steps" in check and withheld.startswith("withheld: ")
    assert not any(column.header.startswith("effect") for column in columns(failed))
    few = replace(failed, power=replace(weak, oracle=Measured(0.4, 0.2, 0.6, 40, 40, 4)))
    assert footer(few)[3].startswith("withheld: the effect columns, as these steps are of fewer than 5 tasks")
    none = replace(failed, power=replace(weak, oracle=Measured(None, None, None, 0, 40, 0)))
    assert footer(none)[3] == withheld
    sure = replace(SMALL.power, margin=Margin("shuffled", Measured(0.1, 0.01, 0.2, 24, 24, 8)))
    both = replace(SMALL, power=sure)
    assert sum(column.header.startswith("effect") for column in columns(both)) == 2
    assert not any(line.startswith("withheld") for line in footer(both))
    assert f"over {SMALL.power.margin.placebo} on 24 steps" in told
    alone = replace(SMALL, power=replace(SMALL.power, margin=None))
    assert not any(line.startswith("withheld") for line in footer(alone)), "there is no placebo"
    near = replace(SMALL.power, margin=Margin("shuffled", Measured(0.1, -0.01, 0.2, 24, 24, 8)))
    only = replace(SMALL, power=near)
    assert [one.header for one in columns(only) if one.header.startswith("effect")] == ["effect correlation"]
    assert footer(only)[3].startswith("withheld: the effect margin")


def test_an_audit_of_an_earlier_version_says_what_it_lacks():
    methods = [replace(one, by_outcome={}, margins_by_outcome={}, fits=None) for one in SMALL.methods]
    old = replace(SMALL, methods=tuple(methods), power=None)
    (told,) = (line for line in footer(old) if line.startswith("not in this audit"))
    assert all(word in told for word in ("by outcome", "fits", "power check"))
    assert not any(line.startswith("not in this audit") for line in footer(SMALL))
    assert not any(column.header.startswith("effect") for column in columns(old))
    shown = cells(old, "spa")
    assert {shown[name] for name in ("fits", "Spearman, successes", "margin, failures")} == {"-"}
    assert cells(SMALL, "spa")["fits"] == "0"


def test_an_audit_of_nothing_has_columns_too():
    nothing = Audit({}, (), LIMITS)
    assert "Spearman" in [column.header for column in columns(nothing)] and footer(nothing)
    assert to_json(nothing)["methods"] == []


# JSON


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_json_is_the_audit_in_plain_values():
    found = strict(json.dumps(to_json(SMALL)))
    assert [one["name"] for one in found["methods"]] == ["clock", "even", "last", "spa"]
    spa, told = SMALL.methods[0], found["methods"][3]
    assert told["agreement"]["spearman"]["low"] == spa.agreement.spearman.low
    assert told["by_length"]["short"]["kendall"]["value"] == spa.by_length["short"].kendall.value
    assert told["effects"]["points"] == 24 and told["margins"][0]["placebo"] == "shuffled"
    assert told["gap"]["pairs"] == spa.gap.pairs and told["costs"] == {"extra_tokens": 123456.0}
    assert found["limits"] == [5, 10] and found["floor"] == ["clock", "last", "not audited"]


def test_the_json_is_sorted_and_holds_only_finite_numbers():
    odd = {"z": math.nan, "a": np.float32(0.5), "m": np.array([1, 2]), "path": Path("x"), "n": float("-inf"), "b": True}
    spa = replace(SMALL.methods[0], probes={"loop": math.inf, "cut": np.float64("nan")})
    found = strict(json.dumps(to_json(replace(SMALL, about=odd, methods=(spa,))), sort_keys=True))
    assert found["about"] == {"a": 0.5, "b": True, "m": [1, 2], "n": None, "path": "x", "z": None}
    assert found["methods"][0]["probes"] == {"cut": None, "loop": None}
    assert list(found) == sorted(found) and list(found["about"]) == sorted(found["about"])
    assert cells(replace(SMALL, methods=(spa,)), "spa")["loop payoff"] == "-"


def test_the_order_of_methods_changes_no_byte():
    turned = replace(SMALL, methods=SMALL.methods[::-1])
    assert (by_name(turned), footer(turned)) == (by_name(SMALL), footer(SMALL))
    assert to_json(turned) == to_json(SMALL)


# The figure


def test_the_figure_shows_each_method_its_interval_and_the_floors():
    left, middle, right = draw(SMALL).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert set(names) == {"spa", "clock", "last", "even"} and names[0] == "even"  # the undefined one is lowest
    dots = {float(line.get_xdata()[0]): float(line.get_ydata()[0]) for line in left.lines if len(line.get_xdata()) == 1}
    bars = [segment for bar in left.collections for segment in bar.get_segments()]
    for one in SMALL.methods:
        found = one.agreement.spearman
        if found.value is not None:
            row = names.index(one.name)
            assert dots[found.value] == row
            assert any(np.allclose(bar, [[found.low, row], [found.high, row]]) for bar in bars)
    values = [one.agreement.spearman.value for one in SMALL.floors()]
    lines = [line.get_xdata()[0] for line in left.lines if str(line.get_label()).startswith("floor: ")]
    assert lines == values
    assert [text.get_text().strip() for text in left.texts] == ["undefined: no episode\ncan be ranked"]
    seen = {float(line.get_xdata()[0]) for line in right.lines if len(line.get_xdata()) == 1}
    lengths = [part.spearman.value for one in SMALL.methods for part in one.by_length.values()]
    assert seen == {value for value in lengths if value is not None}
    seen = {float(line.get_xdata()[0]) for line in middle.lines if len(line.get_xdata()) == 1}
    ends = [part.spearman.value for one in SMALL.methods for part in one.by_outcome.values()]
    assert seen == {value for value in ends if value is not None} and len(ends) == 8
    seen = {float(line.get_xdata()[0]) for line in middle.lines if len(line.get_xdata()) == 1}
    ends = [part.spearman.value for one in SMALL.methods for part in one.by_outcome.values()]
    assert seen == {value for value in ends if value is not None} and len(ends) == 8


def test_a_table_loads_no_deep_learning_no_room_and_no_plotting():
    code = (
        "import sys, spa_bench.audit.show; print([name for name in sys.modules if name.split('.')[0] in "
        "('torch', 'transformers', 'trl', 'datasets', 'matplotlib') or name.startswith('spa_bench.rewards')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
