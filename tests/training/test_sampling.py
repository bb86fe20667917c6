"""Dynamic sampling: which tasks make way, and that a run under it spends no more than another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny
from spoken import spoken

from spa_bench.core import Trajectory
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.sampling import MOST_DRAWS, draws, learnt_from, without_signal


def episodes(*outcomes: tuple[str, float, int]) -> dict[int, Trajectory]:
    """By index: task, outcome and steps of each."""
    rng = np.random.default_rng(0)
    return {i: spoken(rng, steps, key, outcome) for i, (key, outcome, steps) in enumerate(outcomes)}


def test_a_task_without_two_outcomes_has_no_signal() -> None:
    """Both episodes of b fail, that of c is alone."""
    played = episodes(("a", 1.0, 2), ("a", 0.0, 3), ("b", 0.0, 4), ("b", 0.0, 5), ("c", 1.0, 1))
    assert without_signal(played) == {2, 3, 4}
    assert list(learnt_from(played, again=True)) == [0, 1]
    assert list(learnt_from(played, again=False)) == [0, 1, 2, 3, 4]


def test_where_no_task_has_a_signal_all_are_learnt_from() -> None:
    played = episodes(("a", 0.0, 2), ("b", 1.0, 3))
    assert list(learnt_from(played, again=True)) == [0, 1]


def test_collections_follow_each_other_by_hand() -> None:
    """Groups of two. 9 of 14 steps were of task b: as many again from index 4 on; then all tasks have a signal."""
    played: dict[int, Trajectory] = {}
    asked = draws(14, played, 2, most=99)
    assert next(asked) == (0, 14)
    played |= episodes(("a", 1.0, 2), ("a", 0.0, 3), ("b", 0.0, 4), ("b", 0.0, 5))
    assert next(asked) == (4, 9)
    played |= {4: spoken(np.random.default_rng(1), 4, "c", 1.0), 5: spoken(np.random.default_rng(2), 5, "c", 0.0)}
    assert list(asked) == []


def test_a_cut_group_is_not_gone_on_with_and_collections_end() -> None:
    """The second collection holds one episode of a group of two: the third begins at the next group."""
    played: dict[int, Trajectory] = {}
    asked = draws(4, played, 2, most=99)
    next(asked)
    played |= episodes(("a", 0.0, 2), ("a", 0.0, 2))
    assert next(asked) == (2, 4)
    played[2] = spoken(np.random.default_rng(1), 3, "b", 1.0)
    assert next(asked) == (4, 3)
    played[4] = spoken(np.random.default_rng(1), 3, "d", 1.0)
    assert list(asked) == []  # three collections at most
    assert MOST_DRAWS == 3


def test_no_more_is_collected_than_the_budget_has_left() -> None:
    played = episodes(("a", 0.0, 5))
    assert list(draws(7, played, 2, most=7)) == [(0, 7)]
    assert list(draws(7, played, 2, most=9)) == [(0, 7), (2, 2)]


def test_a_run_draws_again_and_spends_no_more_than_its_budget(tmp_path: Path) -> None:
    """The tiny policy fails everywhere: an iteration collects three times, so that a budget of four holds two."""
    settings = tiny.config(ppo=tiny.SETTINGS["ppo"] | {"iterations": 4, "dynamic_sampling": True})
    folder = experiment.run(settings, tmp_path, Progress.quiet())
    rows = [row for row in Journal(folder / "metrics.jsonl").read()[0] if row.get("kind") == "iteration"]
    assert rows[0]["env_steps_budget"] > settings.ppo.env_steps
    assert rows[0]["episodes"] > 80 // settings.world.max_steps  # type: ignore[operator]
    assert len(rows) == 2
    assert sum(row["env_steps_budget"] for row in rows) <= 4 * 80
