"""When a run stops to be gone on with, with a clock that is moved by hand."""

from __future__ import annotations

import pytest

from spa_bench.core import UserError
from spa_bench.runs.deadline import NEVER, Deadline, DeadlineReached


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("5400", 5400), ("5400s", 5400), ("1h1m1s", 3661)],
)
def test_what_words_say_is_counted_from_now(words: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr("spa_bench.runs.deadline.time.monotonic", lambda: now[0])
    deadline = Deadline.of(words)
    now[0] += seconds - 0.5
    deadline.check("so far")
    now[0] += 0.5
    with pytest.raises(DeadlineReached, match="so far"):
        deadline.check("so far")


@pytest.mark.parametrize("words", ["", "two hours", "2d", "1h5", "1m1h", "-1", "1e3", "\u0662h", "0h0m", "inf", "nan"])
def test_anything_else_is_refused_in_one_line(words: str) -> None:
    with pytest.raises(UserError, match="such as 2h, 90m, 1h30m or 5400") as caught:
        Deadline.of(words)
    assert "\n" not in str(caught.value)


def test_no_deadline_never_comes() -> None:
    kind, left = NEVER.__reduce__()
    for deadline in (NEVER, Deadline.of(None), kind(*left)):
        deadline.check("so far")


def test_in_another_process_as_much_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose clock may begin elsewhere."""
    now = [50.0]
    monkeypatch.setattr("spa_bench.runs.deadline.time.monotonic", lambda: now[0])
    deadline = Deadline(100)
    now[0] += 60
    kind, left = deadline.__reduce__()
    now[0] = 7.0
    there = kind(*left)
    now[0] += 39
    there.check("so far")
    now[0] += 1
    with pytest.raises(DeadlineReached):
        there.check("so far")
