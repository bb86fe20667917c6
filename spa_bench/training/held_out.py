"""The rewards that a run's method would assign on the evaluation set, for readers: nothing learns from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spa_bench import credit
from spa_bench.core import Floats, Trajectory
from spa_bench.method_errors import MethodError
from spa_bench.training.checked_method import CheckedMethod


class PlaysOn(RuntimeError):
    """A method that continues episodes to price them has none of these rewards: they would cost as much as training."""


def assigned(checked: CheckedMethod, episodes: Mapping[int, Trajectory]) -> tuple[list[tuple[int, Floats]], str]:
    """Index and rewards of the episodes that have a step, and why there are none, or not of all of them."""
    moved = [(index, one) for index, one in sorted(episodes.items()) if one.steps]
    found: list[tuple[int, Floats]] = []
    simulator, checked.method.simulator = checked.method.simulator, _refuse
    try:
        for group in credit.groups([one for _, one in moved]):
            rewards = checked.rewards([moved[place][1] for place in group])
            found += [(moved[place][0], own) for place, own in zip(group, rewards, strict=True)]
    except MethodError as error:
        return found, "it plays on to price" if isinstance(error.__cause__, PlaysOn) else str(error)
    finally:
        checked.method.simulator = simulator
    return found, ""


def _refuse(
    prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
) -> list[list[Trajectory]]:
    raise PlaysOn("no episode is played on for rewards that are only shown")
