"""A reward method as the trainer calls it: an exception or a wrong value ends the run with its name and the place.

A method may be third-party code. All calls go through here, so that its errors are distinguished from ours, and a wrong
number never reaches an update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spa_bench.core import Floats, Trajectory
from spa_bench.method import MOST_REPLIES, RewardMethod
from spa_bench.method_errors import MethodError, method_call


class _Call(method_call):
    """A call after which torch records gradients as before: one that is interrupted may leave that turned off."""

    def __enter__(self) -> None:
        self.recorded = torch.is_grad_enabled()
        super().__enter__()

    def failed(self, error: BaseException) -> None:
        torch.set_grad_enabled(self.recorded)
        super().failed(error)


class CheckedMethod:
    """The method's calls, checked. Raises MethodError for exceptions and wrong values."""

    def __init__(self, name: str, method: RewardMethod) -> None:
        self.name, self.method = name, method
        self.place = ""
        """Where the experiment stands, such as `iteration 3`; part of every message."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """The figures of `fit` that are finite numbers."""
        with self._call("fit", self.place):
            figures = {
                str(name): float(value) for name, value in (self.method.fit(trajectories, experts) or {}).items()
            }
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Show it fresh episodes."""
        with self._call("observe", self.place):
            self.method.observe(trajectories)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """One finite number for each step of each episode of one task."""
        place = self._at(group[0])
        with self._call("rewards", place):
            rewards = list(self.method.rewards(group))
            lengths = [np.shape(steps) for steps in rewards]
        self._refuse(
            lengths != [(len(trajectory),) for trajectory in group],
            f"rewards gave {_said(lengths)} for episodes of {_said([len(t) for t in group])} steps{place}",
        )
        with self._call("rewards", place):
            found = [_real(steps) for steps in rewards]
        for steps, trajectory in zip(found, group, strict=True):
            if (bad := np.flatnonzero(~np.isfinite(steps))).size:
                self._refuse(True, f"rewards gave {steps[bad[0]]} for step {bad[0] + 1}{self._at(trajectory)}")
        return found

    def advantages(
        self, group: Sequence[Trajectory], rewards: Sequence[Floats], values: Sequence[Floats], gamma: float, lam: float
    ) -> list[tuple[Floats, Floats]]:
        """Finite advantages and returns, one of each for each decision."""
        place = self._at(group[0])
        with self._call("advantages", place):
            pairs = [
                (_real(advantages), _real(returns))
                for advantages, returns in self.method.advantages(group, rewards, values, gamma, lam)
            ]
        shapes = [[array.shape for array in pair] for pair in pairs]
        self._refuse(
            shapes != [[r.shape, r.shape] for r in rewards],
            f"advantages gave {_said(shapes)} for {_said([len(r) for r in rewards])} decisions{place}",
        )
        finite = all(np.isfinite(array).all() for pair in pairs for array in pair)
        self._refuse(not finite, f"advantages gave NaN or infinity{place}")
        return pairs

    def branch(self, state: Trajectory) -> int:
        """How many replies are tried here, 0 to 64."""
        place = f"{self._at(state)}, step {len(state) + 1}"
        with self._call("branch", place):
            count = self.method.branch(state)
        whole = isinstance(count, int | np.integer) and 0 <= count <= MOST_REPLIES
        self._refuse(not whole, f"branch gave {count!r}, not a whole number from 0 to {MOST_REPLIES}{place}")
        return int(count)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What it has learned."""
        with self._call("state_dict", self.place):
            state = dict(self.method.state_dict())
        wrong = [name for name, array in state.items() if not isinstance(array, np.ndarray)]
        self._refuse(bool(wrong), f"state_dict gave no NumPy array for {', '.join(map(str, wrong))}")
        wrong = [name for name, array in state.items() if array.dtype.kind not in "biuf" or not isinstance(name, str)]
        self._refuse(bool(wrong), f"state_dict gave no numbers, or no text as their name, for {_said(wrong)}")
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Give it back."""
        with self._call("load_state_dict", self.place):
            self.method.load_state_dict(state)

    def _at(self, trajectory: Trajectory) -> str:
        return f" (task {trajectory.task.key}{f', {self.place}' if self.place else ''})"

    def _call(self, call: str, place: str) -> _Call:
        return _Call(self.name, call, place.strip(" ()"), code=type(self.method))

    def _refuse(self, wrong: bool, what: str) -> None:
        if wrong:
            raise MethodError(f"reward {self.name}: {what}")


def extra_information(method: RewardMethod) -> str | None:
    """Information that the method has and others have not, as tables print it."""
    told = {
        "expert episodes": method.uses_experts,
        "the oracle's progress": method.uses_oracle,
    }
    return " and ".join(what for what, used in told.items() if used) or None


def _real(numbers: Any) -> Floats:
    """As an array; ValueError for complex numbers, of which NumPy would keep a half."""
    if np.iscomplexobj(numbers):
        raise ValueError("complex numbers are given")
    return np.asarray(numbers, dtype=np.float64)


def _said(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
