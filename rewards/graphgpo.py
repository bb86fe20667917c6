"""The outcome against the task's, and each step by how near to success the state is that it led to, on a shared graph.

Paper: Cheng et al. 2026, arXiv 2605.26684 (GraphGPO, ICML); code langfengQ/verl-agent recipe/GraphGPO (20bd331).
Equation: A_t = weight * A^S + A^E with A^S = (x - mean x) / (std x + epsilon) over the steps of the task's episodes
  that were taken in the state s_t, x = omega^(d(s_(t+1)) + 1), and A^E the same of the outcomes R over the episodes;
  d(s) is the fewest steps from s to success on the graph of all steps of these episodes, where the last step of a
  success leads to success; a state from which no way is known is one step farther than the farthest that has one.
Defaults: omega 0.1, weight 1, normalise on <- the recipe's README (algorithm.gamma, graphgpo.step_advantage_w,
  graphgpo.mode); epsilon 1e-6 <- core_gigpo.py; key observation <- the recipe, whose anchor is the observation.
Deviations: none of the formula, which was read in the code and in a port of it that quotes the paper's Eq. 4; the
  code's exponent is d(s_(t+1)), without the step's cost of 1, and both have a reward of 10 before it: factors that
  normalising takes out, but for epsilon. With normalise=false they are kept out by taking 1 for the reward. Merging
  texts that are nearly equal (enable_similarity, off by default) is left out. Where no episode succeeded A^S is 0, as
  in the code; so it is for a state met once. Each episode counts once in A^E, where the code counts it once per step. A
  group of one episode gives 0. No penalty for invalid actions (the code: 0.1). std is that of a sample (N - 1), as in
  the code. The trainer scales the advantages of a batch to root mean square 1, as for every method without a critic.
  Where several characters act, each has a graph of its own; episodes that went wrong outside the agent's control are
  left out. No critic is used, and none is trained.
Conserves return: yes.
Needs: several episodes of each task, one of them a success, and states that come back.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._groups import Scaled, acted_in, among_peers, lone, within
from spa_bench.state_keys import StateKey, keyed, needed, not_the_text, place

Node = tuple[Hashable, int | None]
"""Whose state it is (`place`), and the state; None is success."""


class GraphGPO(Scaled):
    """`omega` (ω) is how much less a state is worth for each step that it is farther from success."""

    @declared("reward graphgpo")
    def __init__(
        self,
        *,
        omega: Annotated[float, Field(gt=0, lt=1, description="worth of one step farther; GraphGPO: 0.1")] = 0.1,
        weight: Annotated[float, Field(ge=0, description="of the comparison of steps beside that of episodes")] = 1.0,
        normalise: Annotated[bool, Field(description="divide each by its standard deviation")] = True,
        epsilon: Annotated[float, Field(gt=0, description="added to it; the released code: 1e-6")] = 1e-6,
        key: StateKey = "observation",
    ) -> None:
        self.omega, self.weight, self.normalise, self.epsilon = omega, weight, normalise, epsilon
        self.key, self.records = key, needed(key)
        if (other := not_the_text(key)) and type(self).our_form == GraphGPO.our_form:
            self.our_form = f"{other} (the paper: the observation alone)"

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """Both comparisons, added."""
        if lone(group):
            return [np.zeros(len(steps)) for steps in rewards]
        ways = [self._way(t) for t in group]
        far = distances(ways)
        worth = [np.array([self.omega ** (far[node] + 1.0) for node in way[1:]], dtype=np.float64) for way in ways]
        # An episode with an error has no way, and steps that nothing is said of.
        worth = [w if len(w) else np.zeros(len(r)) for w, r in zip(worth, rewards, strict=True)]
        steps = within(acted_in(group, self.key), worth, self._relative)
        return [e + self.weight * s for e, s in zip(among_peers(group, self._relative), steps, strict=True)]

    def _way(self, trajectory: Trajectory) -> list[Node]:
        """The states from `branch` on, the last one being success where there was one; none with an error."""
        if trajectory.error is not None:
            return []
        met: list[int | None] = [*keyed(trajectory, self.key)]
        if trajectory.success:
            met[-1] = None
        return [(place(trajectory), state) for state in met[trajectory.branch :]]


def distances(ways: Sequence[Sequence[Node]]) -> dict[Node, int]:
    """Node -> fewest steps to success; where no way is known, one more than the most of the same task and character."""
    before: dict[Node, set[Node]] = {node: set() for way in ways for node in way}
    for way in ways:
        for node, after in pairwise(way):
            before[after].add(node)
    known = {node: 0 for node in before if node[1] is None}
    reached, steps = list(known), 0
    while reached:
        steps += 1
        reached = list({node for after in reached for node in before[after]} - known.keys())
        known |= dict.fromkeys(reached, steps)
    most: dict[Hashable, int] = {}
    for (own, _), count in known.items():
        most[own] = max(most.get(own, 0), count)
    return {node: known.get(node, most.get(node[0], 0) + 1) for node in before}
