"""The figures of an iteration, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from strategies import episode

from spa_bench.core import Tokens, Trajectory
from spa_bench.training.metrics import collected


def with_tokens(trajectory: Trajectory) -> Trajectory:
    """Three tokens a reply."""
    said = Tokens((1, 2), (3, 4, 5), (-1.0,) * 3)
    return replace(trajectory, steps=tuple(replace(step, tokens=said) for step in trajectory.steps))


def test_what_was_collected_is_counted_once_and_what_is_under_way_is_no_episode() -> None:
    """A success of three steps; a failure of four, the first two of them another's; two steps of one under way."""
    won = episode(1.0, (True, True, False))
    lost = replace(episode(0.0, (False, False, True, True)), branch=2)
    under_way = replace(episode(0.0, (False, True)), truncated=False)
    found = collected([with_tokens(t) for t in (won, lost, under_way)])
    assert found == {
        "episodes": 2,
        "success": 0.5,
        "grounded": pytest.approx(5 / 7),
        "turns": 3.5,
        "tokens_sampled": 21,
        "reply_tokens": 3.0,
        "repeated": 0.0,
        "restarts": 0,
    }
    assert collected([]) == dict.fromkeys(found, 0)


def test_a_restart_is_a_later_turn_of_ones_own_that_began_a_new_sequence() -> None:
    """Steps that restart: 0, 2 and 3 of five. The first begins an episode; those of a past are another's."""
    marked = with_tokens(episode(0.0, (True,) * 5))
    steps = tuple(
        replace(step, tokens=replace(step.tokens, restart=number in (0, 2, 3)))  # type: ignore[type-var]
        for number, step in enumerate(marked.steps)
    )
    counts = [collected([replace(marked, steps=steps, branch=branch)])["restarts"] for branch in (0, 1, 3, 4)]
    assert counts == [2, 2, 1, 0]
    assert collected([replace(marked, steps=steps)] * 2)["restarts"] == 4
