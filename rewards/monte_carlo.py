"""The change of value from the state before a step to the one after it, by continuations of the current policy.

Paper: Kazemnejad et al. 2024, arXiv 2410.01679 (VinePPO: these differences are the advantages); values by continuations
  before it in Wang et al. 2023, arXiv 2312.08935 (Math-Shepherd), and of agents in Xiong et al. 2024, arXiv 2406.11176
  (IPR).
Equation: r_t = V(s_t) - V(s_(t-1)) with s_t the state after step t, V(s_t) for 0 < t < T the mean outcome of `samples`
  continuations of the policy from s_t, V(s_0) the mean outcome of the batch's episodes of the task, V(s_T) = R; the
  advantage of every decision of a turn is its reward.
Defaults: samples 2, states 1 <- ours, for the cost: at most two more episodes for each one played. VinePPO's code has
  samples 9 (polIter_rho1bSft2_vineppo_MATH.jsonnet) and measures the state before every step.
Deviations: one state inside an episode is measured, and the change of value is shared by the steps between (the paper:
  the state before every step; that is states=0). Of the states inside an episode, `states` are drawn and measured, and
  the change of V from one to the next is shared equally by the steps between them; states=0 measures all, as the paper
  does. V(s_0) costs nothing, because the episodes of the batch are continuations from the start; the episode's own
  outcome is one of them, so that the sums of a task's episodes add up to 0 in a batch, and a lone episode's steps do. A
  step is a turn of an agent in a world. A state is all that the policy has read and written so far: episodes that share
  it share its value, and it is continued once. Continuations with an error outside the agent's control are left out,
  and a state without any other counts as not measured; the rewards of an episode with such an error are 0. Values are
  forgotten with the next batch, because the policy has changed. The trainer scales the advantages of a batch to root
  mean square 1, as for every method without a critic. No critic is used, and none is trained.
Conserves return: no; the sum is R - V(s_0), the outcome less a number that all episodes of the task share in a batch.
Needs: the simulator (continuations of the policy from recorded states, counted as overhead), so one character at a
  time, and several episodes of each task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spa_bench.core import Floats, Trajectory, derive_seed
from spa_bench.declared import declared
from spa_bench.rewards._episode_digest import episode_digest
from spa_bench.rewards._groups import Compared, among_peers, mean


def form(states: int) -> str:
    """Where `monte-carlo` with this many states inside an episode is not the paper's."""
    if not states:
        return ""
    measured = "one state inside an episode is" if states == 1 else f"{states} states inside an episode are"
    return (
        f"{measured} measured, and the change of value is shared by the steps between (the paper: the state before "
        "every step; that is states=0)"
    )


class MonteCarlo(Compared):
    """A batch is measured by `observe` in one call of the simulator; episodes not observed before, by `rewards`.

    `samples` is how many continuations a state is measured by, `states` how many states of an episode are measured
    besides the first and the last (0: all).
    """

    our_form = form(states=1)
    conserves_return = False

    @declared("reward monte-carlo")
    def __init__(
        self,
        *,
        samples: Annotated[int, Field(ge=1, description="continuations from each state; ours")] = 2,
        states: Annotated[int, Field(ge=0, description="measured states per episode, 0 for all of them; ours")] = 1,
    ) -> None:
        self.samples, self.states = samples, states
        if type(self).our_form == MonteCarlo.our_form:
            self.our_form = form(states)
        self._batches = 0
        """Batches observed: each is measured with its own random seed."""
        self._values: dict[int, float] = {}
        """V of each state that this batch's policy has been measured in; NaN where every continuation went wrong."""

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Forget the last batch and measure this one."""
        self._batches += 1
        means = among_peers(trajectories, mean)
        self._values = {_start(t): float(v) for t, v in zip(trajectories, means, strict=True) if t.error is None}
        self._measure(trajectories)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Differences of values; a task that was not observed has the mean outcome of `group` for V(s_0)."""
        self._measure(group)
        means = among_peers(group, mean)
        return [self._priced(t, self._values.get(_start(t), float(v))) for t, v in zip(group, means, strict=True)]

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """The rewards themselves: a difference of values is an advantage."""
        return list(rewards)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The values of this batch: they cannot be measured again, because the policy changes."""
        known = sorted(self._values)
        return {
            "batches": np.array([self._batches], dtype=np.int64),
            "states": np.array(known, dtype=np.uint64),
            "values": np.array([self._values[state] for state in known], dtype=np.float64),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave."""
        self._batches = int(state["batches"][0])
        self._values = dict(zip(state["states"].tolist(), state["values"].tolist(), strict=True))

    def _measure(self, trajectories: Sequence[Trajectory]) -> None:
        """Continue from the drawn states that have no value yet, all at once."""
        met: dict[int, list[Trajectory]] = {}
        for trajectory in trajectories:
            for prefix in self._drawn(trajectory).values():
                if (state := _state(prefix)) not in self._values:
                    met.setdefault(state, []).append(prefix)
        if not met:
            return
        if self.simulator is None:
            raise RuntimeError("monte-carlo continues episodes: set `simulator` before observe and rewards")
        states = sorted(met)
        # Any of them would do, for they have the same text; the smallest does not depend on their order.
        prefixes = [min(met[state], key=ascii) for state in states]
        seed = derive_seed(self.seed, "monte-carlo", self._batches)
        for state, played in zip(states, self.simulator(prefixes, self.samples, seed), strict=True):
            outcomes = [episode.outcome for episode in played if episode.error is None]
            self._values[state] = math.fsum(outcomes) / len(outcomes) if outcomes else math.nan

    def _drawn(self, trajectory: Trajectory) -> dict[int, Trajectory]:
        """The states of an episode that are measured: the turns before them, in order, and what happened so far."""
        inner = len(trajectory) - 1
        turns = np.arange(1, inner + 1)
        if trajectory.error is not None:
            turns = turns[:0]
        elif 0 < self.states < inner:
            rng = np.random.default_rng(derive_seed(self.seed, "monte-carlo", episode_digest(trajectory)))
            turns = np.sort(rng.choice(turns, self.states, replace=False))
        return {turn: trajectory.until(turn) for turn in turns.tolist()}

    def _priced(self, trajectory: Trajectory, start: float) -> Floats:
        if trajectory.error is not None or not trajectory.steps:
            return np.zeros(len(trajectory))
        inner = {turn: self._values[_state(prefix)] for turn, prefix in self._drawn(trajectory).items()}
        measured = {turn: value for turn, value in inner.items() if not math.isnan(value)}
        values = {0: start, **measured, len(trajectory): trajectory.outcome}
        lengths = np.diff(list(values))
        return np.repeat(np.diff(list(values.values())) / lengths, lengths)


def _start(trajectory: Trajectory) -> int:
    """The state that every episode of a task and character begins in, as a number."""
    return derive_seed(ascii((trajectory.task.env, trajectory.task.key, trajectory.character)))


def _state(prefix: Trajectory) -> int:
    """The state at the end of `prefix`, as a number.

    Replies are part of it, because the policy reads its own replies.
    """
    return derive_seed(prefix.character, episode_digest(prefix))
