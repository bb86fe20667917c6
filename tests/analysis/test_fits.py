"""Notes under tables: a method that is not its paper's, and an estimator that is a clock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from written_runs import FACTS, write_run

from spa_bench.analysis.fits import our_forms
from spa_bench.report.contents import gather
from spa_bench.report.table import tables

FORM = "the bonus is shared; the paper's is spa-published"


def fitted(folder: Path, reward: str, figures: Mapping[str, float], **more: object) -> None:
    write_run(folder, reward=reward, fit=figures, **more)


def notes(folder: Path) -> list[str]:
    (table,) = tables([folder])
    return [note for note in table.notes if "clock" in note or "predicts" in note]


def test_an_estimator_that_a_clock_beats_is_told_with_the_means_of_its_seeds(tmp_path: Path):
    figures = {"held_out_r2": 0.4, "clock_r2": 0.9, "partial_correlation": 0.1}
    fitted(tmp_path, "spa", figures)
    fitted(tmp_path, "spa", {"held_out_r2": 0.6, "clock_r2": 0.8, "partial_correlation": 0.2}, seed=1)
    assert notes(tmp_path) == [
        "spa: its estimator predicts held-out tasks no better than a clock (its R2 0.50, the clock's 0.85; partial "
        "correlation given the clock 0.15)"
    ]


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"held_out_r2": 0.5, "clock_r2": 0.4}, False),
        ({"held_out_r2": 0.5, "clock_r2": 0.5}, True),  # no better
        ({"held_out_r2": 0.0, "clock_r2": -0.1}, True),  # no better than the mean outcome
        ({"held_out_r2": -0.1}, True),
        ({"held_out_r2": 0.1}, False),
        ({"held_out_accuracy": 0.7, "clock_accuracy": 0.5}, False),
        ({"held_out_accuracy": 0.7, "clock_accuracy": 0.8}, True),
        ({"held_out_accuracy": 0.5, "clock_accuracy": 0.4}, True),  # no better than chance
        ({"epoch": 3.0}, False),
    ],
)
def test_when_an_estimator_is_told(tmp_path: Path, figures: Mapping[str, float], told: bool):
    fitted(tmp_path, "rrd", figures)
    assert bool(notes(tmp_path)) == told


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"contribution_mean": 0.05, "contribution_sd": 0.002}, True),
        ({"contribution_mean": -0.05, "contribution_sd": 0.0049}, True),
        ({"contribution_mean": 0.05, "contribution_sd": 0.0051}, False),
        ({"contribution_mean": 0.0, "contribution_sd": 0.0}, False),  # no outcome: nothing to assign
        ({"epoch": 1.0}, False),
    ],
)
def test_contributions_that_hardly_differ_are_told(tmp_path: Path, figures: Mapping[str, float], told: bool):
    fitted(tmp_path, "spa-published", figures)
    (table,) = tables([tmp_path])
    assert any("hardly differ" in note for note in table.notes) == told


def test_the_note_on_contributions_stands_beside_that_on_the_clock(tmp_path: Path):
    figures = {"held_out_r2": -0.5, "clock_r2": 0.9, "contribution_mean": 0.05, "contribution_sd": 0.002}
    fitted(tmp_path, "spa-published", figures)
    fitted(tmp_path, "spa-published", figures | {"contribution_sd": 0.004}, seed=1)
    (table,) = tables([tmp_path])
    assert [note for note in table.notes if note.startswith("spa-published: its ")] == [
        "spa-published: its estimator predicts held-out tasks no better than a clock (its R2 -0.50, the clock's 0.90)",
        "spa-published: its contributions hardly differ (mean 0.05, SD 0.003): it has learned next to nothing",
    ]


def test_methods_of_one_fit_share_a_line(tmp_path: Path):
    figures = {"held_out_r2": -0.5, "clock_r2": 0.9}
    for reward in ("rudder", "spa"):
        fitted(tmp_path, reward, figures)
    assert [note.split(":")[0] for note in notes(tmp_path)] == ["rudder, spa"]


def test_placebos_have_no_estimator_to_speak_of(tmp_path: Path):
    """Their credit is wrong on purpose; a run says what it is."""
    figures = {"held_out_r2": -0.5, "clock_r2": 0.9}
    fitted(tmp_path, "shuffled", figures, facts=FACTS | {"placebo": "chance"})
    assert notes(tmp_path) == []
    fitted(tmp_path / "other", "shuffled", figures)
    assert [note.split(":")[0] for note in notes(tmp_path / "other")] == ["shuffled"]


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"held_out_r2": -0.2, "clock_r2": -0.3}, "no better than the mean outcome (its R2 -0.20, the clock's -0.30)"),
        ({"held_out_r2": -0.2}, "no better than the mean outcome (its R2 -0.20)"),
        (
            {"held_out_accuracy": 0.4, "clock_accuracy": 0.5},
            "no better than a clock (its accuracy 0.40, the clock's 0.50)",
        ),
        ({"held_out_accuracy": 0.4}, "no better than chance (its accuracy 0.40)"),
    ],
)
def test_the_conclusion_that_is_drawn(tmp_path: Path, figures: Mapping[str, float], told: str):
    fitted(tmp_path, "rrd", figures)
    assert notes(tmp_path) == [f"rrd: its estimator predicts held-out tasks {told}"]


def test_a_line_for_each_form_with_all_that_it_is_about():
    assert our_forms({"spa": "a", "ppo": "", "spa (beta=0)": "a", "rrd": "b"}) == [
        "spa, spa (beta=0): our form: a",
        "rrd: our form: b",
    ]


def test_every_table_page_and_figure_that_shows_the_method_says_so(tmp_path: Path):
    facts = FACTS | {"our_form": FORM}
    for env in ("alfworld", "webshop"):
        write_run(tmp_path, env=env, reward="ppo")
        write_run(tmp_path, env=env, reward="spa", facts=facts)
    found = gather([tmp_path])
    line = f"spa: our form: {FORM}"
    assert [line in section.notes for section in found.sections()] == [True] * 3  # side by side, and one for each world
    papers = found.paper("spa")
    assert len(papers) == 4 and all(line in section.notes for section in papers)
    assert not any(line in section.notes for section in found.paper("3spo"))
    from spa_bench.figures.words import sources

    assert all("Our form, not the paper's formula: spa (" in sources(group) for group in found.groups)


@pytest.mark.parametrize("told", ["alfworld", "webshop"])
def test_one_table_that_does_not_say_it_hides_nothing_side_by_side(tmp_path: Path, told: str):
    for env in ("alfworld", "webshop"):
        write_run(tmp_path, env=env, reward="ppo")
        write_run(tmp_path, env=env, reward="spa", facts=FACTS | ({"our_form": FORM} if env == told else {}))
    found = gather([tmp_path])
    line = f"spa: our form: {FORM}"
    assert line in found.sections()[0].notes and line in found.paper("spa")[0].notes


EARLIER = {"panel": "a1b2c3", "buckets": [4, 8]}


def test_runs_of_an_earlier_version_are_told_in_one_line(tmp_path: Path):
    write_run(tmp_path, reward="spa", facts=EARLIER, fit={"valid_r2": 0.8})
    write_run(tmp_path, reward="sparse", facts=EARLIER)
    line = "spa, sparse: of an earlier version: level, form and clock are not on record"
    assert tables([tmp_path])[0].notes == (line,)
    assert line in gather([tmp_path]).sections()[0].notes


@pytest.mark.parametrize(
    ("facts", "level", "told"),
    [
        (EARLIER, "token", "spa: of an earlier version: form is not on record"),
        (EARLIER | {"our_form": None}, None, "spa: of an earlier version: level is not on record"),
        (EARLIER, None, "spa: of an earlier version: level and form are not on record"),
        (FACTS, None, ""),
        (EARLIER | {"agent": "expert"}, None, ""),
    ],
)
def test_what_a_run_of_an_earlier_version_lacks(tmp_path: Path, facts: dict[str, object], level: str | None, told: str):
    write_run(tmp_path, reward="spa", facts=facts, ppo={"level": level})
    write_run(tmp_path, reward="sparse", ppo={"level": level})
    assert tables([tmp_path])[0].notes == ((told,) if told else ())


def test_a_run_that_does_not_say_it_has_no_line(tmp_path: Path):
    write_run(tmp_path, reward="spa")
    assert not [note for note in tables([tmp_path])[0].notes if "our form" in note]
