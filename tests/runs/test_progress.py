"""Rates and what is left, with a clock that is moved by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import config

from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.runs.progress import INTERVAL, Figures, Progress, Stage, about, bursts, seconds_left
from spa_bench.training import experiment
from spa_bench.training.budget import Budget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stage(clock: Callable[[], float], total: int | None, unit: str = "", name: str = "s") -> Stage:
    return Stage(name, total, unit, clock, lambda stage: None)


@pytest.mark.parametrize(
    ("done", "total", "seconds", "left"),
    [
        (450, 900, 37.5, 37.5),
        (1, 5, 60.0, 240.0),
        (2, 9, 120.0, 420.0),
        (9, 9, 50.0, 0.0),
        (12, 9, 50.0, 0.0),  # more than was asked for
        (0, 9, 50.0, None),
        (0, 0, 50.0, None),
        (3, 9, 0.0, None),  # the clock stands still
        (3, 9, -1.0, None),
    ],
)
def test_what_is_left_is_the_rest_at_the_rate_so_far(done: int, total: int, seconds: float, left: float | None) -> None:
    assert seconds_left(done, total, seconds) == left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 0 s"),
        (37.5, "about 38 s"),
        (59.4, "about 59 s"),
        (59.6, "about 1 min"),
        (420, "about 7 min"),
        (3569, "about 59 min"),
        (3571, "about 1 h 0 min"),
        (7500, "about 2 h 5 min"),
    ],
)
def test_durations_are_told_in_the_unit_that_one_would_use(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_a_stage_tells_its_rate_and_what_is_left() -> None:
    clock = Clock()
    played = stage(clock, 900, "steps")
    assert played.pace() == ""
    clock.now += 37.5
    played.advance(450)
    assert played.pace() == "12 steps/s, about 38 s left"
    clock.now += 30
    assert played.pace() == "12 steps/s, about 8 s left", "it runs down while nothing is heard"
    clock.now += 30
    assert played.pace() == "12 steps/s", "it was too little: say nothing"
    clock.now += 15
    played.advance(450)
    assert played.pace() == "8 steps/s"


def test_slow_rates_are_told_by_the_minute_and_without_a_total_nothing_is_left() -> None:
    clock = Clock()
    slow, endless = stage(clock, 6), stage(clock, None, "steps")
    clock.now += 240
    slow.advance(1)
    endless.advance(48_000)
    assert slow.pace() == "0.25/min, about 20 min left"
    assert endless.pace() == "200 steps/s"


def test_what_was_given_says_nothing_about_the_rate() -> None:
    """Of 18,000 steps a killed run did 9,000: 3,000 in 60 s leave 6,000 for 120 s, not for 30."""
    clock = Clock()
    training = stage(clock, 18_000, "steps")
    training.given(9_000)
    assert (training.count(), training.pace()) == ("9000/18000", "")
    clock.now += 60
    training.advance(3_000)
    assert (training.count(), training.pace()) == ("12000/18000", "50 steps/s, about 2 min left")


def test_what_is_done_before_the_first_unit_says_nothing_about_the_rate() -> None:
    """A minute of loading, then 3 of 12 steps in 30 s: 90 s are left, not six minutes. The end says what all took."""
    clock = Clock()
    cloning = stage(clock, None, "steps")
    clock.now += 60
    cloning.begin(12)
    assert (cloning.count(), cloning.pace()) == ("0/12", "")
    clock.now += 30
    cloning.advance(3)
    assert cloning.pace() == "6 steps/min, about 2 min left"
    clock.now += 90
    cloning.advance(9)
    assert cloning.end("done").endswith(": done 12/12 in 180.0 s")


@pytest.mark.parametrize("mode", ["bars", "lines", "notes", "quiet"])
@pytest.mark.parametrize("total", [0, 5, None])
def test_nothing_to_do_and_a_clock_that_stands_still_are_no_error(mode: Any, total: int | None) -> None:
    progress = Progress(mode, io.StringIO(), clock=lambda: 7.0)
    with progress.stage("outer", total=total) as outer, progress.stage("inner", total=total, unit="steps") as inner:
        inner.advance(0)
        inner.advance(3, success=0.5)
        outer.given(2)
        assert inner.pace() == outer.pace() == ""


def test_lines_tell_rate_and_rest() -> None:
    clock, out = Clock(), io.StringIO()
    with Progress("lines", out, clock).stage("iteration 2/5", total=900, unit="steps") as played:
        clock.now += 37.5
        played.advance(450, success=0.25)
        clock.now += 37.5
        played.advance(450, success=0.5)
    assert out.getvalue().splitlines() == [
        "iteration 2/5: started, 900 to do",
        "iteration 2/5: 450/900 12 steps/s, about 38 s left success=0.25",
        "iteration 2/5: 900/900 12 steps/s success=0.5",
        "iteration 2/5: done 900/900 in 75.0 s success=0.5",
    ]


def test_a_bar_tells_rate_and_rest_when_it_is_drawn() -> None:
    clock, out = Clock(), Terminal()
    progress = Progress("bars", out, clock)
    with progress.stage("training", total=10, unit="steps") as outer:
        with progress.stage("[red]inner", total=4) as inner:
            clock.now += 2
            inner.advance(2, success=0.5)
            progress._bars.refresh()
            assert "1/s, about 2 s left success=0.5" in out.getvalue()
        outer.advance(2)
        assert "[red]inner: done 2/4 in 2.0 s success=0.5\n" in out.getvalue()
        assert [task.description for task in progress._bars.tasks] == ["training"], "only what is under way has a bar"
        (task,) = progress._bars.tasks
        clock.now += 1
        assert Figures().render(task).plain == "1 steps/s, about 7 s left", "as it is now, not as it was then"


def test_a_bar_learns_its_total_when_it_begins() -> None:
    clock, out = Clock(), Terminal()
    progress = Progress("bars", out, clock)
    with progress.stage("warm start", unit="steps") as cloning:
        cloning.begin(400)
        cloning.advance(0)
        progress._bars.refresh()
        assert "0/400" in out.getvalue() and "?" not in out.getvalue().splitlines()[-1]


def test_only_notes_are_shown_from_a_process_of_several() -> None:
    out = io.StringIO()
    progress = Progress("notes", out)
    with progress.stage("training", total=3) as training:
        training.advance(3)
    progress.note("wandb does not show all of this run")
    assert out.getvalue() == "wandb does not show all of this run\n"


def test_bursts_are_whole_and_nothing_is_fetched_ahead() -> None:
    """The next chunk is only played when this one has been counted."""
    fetched: list[int] = []

    def source() -> Any:
        for number in range(7):
            fetched.append(number)
            yield number

    found = bursts(source(), 3)
    assert next(found) == [0, 1, 2] and fetched == [0, 1, 2]
    assert list(found) == [[3, 4, 5], [6]]


def test_the_rest_of_a_comparison_is_shared_by_its_jobs() -> None:
    assert experiment.time_left([], 9, 1) == ""
    assert experiment.time_left([60.0, 60.0], 7, 1) == "about 7 min"
    assert experiment.time_left([60.0], 8, 4) == "about 2 min"
    assert experiment.time_left([60.0, 120.0], 0, 2) == ""


@pytest.fixture
def fake_runs(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Runs that take 100 s each on a clock of their own; finished ones none."""
    clock = Clock()

    def run(settings: Any, results: Path, progress: Progress, *_: Any) -> Path:
        path = run_path(results, settings)
        with RunFolder.open(path, settings, {}) as folder:
            if not experiment.is_finished(folder):
                clock.now += 100
                folder.metrics.append({"kind": "done"})
        return path

    monkeypatch.setattr(experiment, "run", run)
    monkeypatch.setattr(experiment, "time", type("Time", (), {"monotonic": clock}))
    return clock


def test_a_comparison_tells_which_run_it_is_and_what_is_left(fake_runs: Clock, tmp_path: Path) -> None:
    """Runs that were finished before take no time, and none is expected of runs like them."""
    configs = [config(reward=reward, seed=seed) for reward in ("sparse", "spa") for seed in (0, 1)]
    experiment.compare(configs[:1], tmp_path, 1, Progress.quiet())
    out = io.StringIO()
    experiment.compare(configs, tmp_path, 1, Progress("lines", out))
    assert out.getvalue().splitlines() == [
        "run 1 of 4: alfworld, sparse, seed 0",
        "run 2 of 4: alfworld, sparse, seed 1",
        "run 3 of 4, about 3 min left: alfworld, spa, seed 0",
        "run 4 of 4, about 2 min left: alfworld, spa, seed 1",
    ]


@pytest.mark.parametrize(("match", "used"), [("collected", 160), ("env-steps", 230)])
def test_how_much_of_a_training_budget_is_gone(match: str, used: int) -> None:
    budget = Budget(config(ppo={"match": match}).ppo, least=6, tokens_a_step=4.0)
    budget.add({"kind": "stage", "stage": "fit reward", "env_steps": 0, "extra_env_steps": 30})
    for _ in range(2):
        budget.add({"kind": "iteration", "env_steps": 80, "extra_env_steps": 20})
    assert budget.used == used


def test_a_run_tells_what_is_left_over_all(tmp_path: Path) -> None:
    """Lines come at once here; the first iteration is a half of the training."""
    clock, out = Clock(), io.StringIO()

    def tick() -> float:
        clock.now += INTERVAL
        return clock.now

    experiment.run(config(), tmp_path, Progress("lines", out, tick))
    lines = [line for line in out.getvalue().splitlines() if line.startswith("training:")]
    assert lines[0] == "training: started, 160 to do"
    first = next(line for line in lines if line.startswith("training: 80/160 "))
    assert "steps/min, about " in first and first.endswith(" left")
    assert lines[-1].startswith("training: done 160/160 in ")
