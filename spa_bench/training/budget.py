"""The training budget: how much a run may spend, and what one more iteration may cost.

By default every method collects the same number of environment steps; its overhead (continuations from environment
snapshots, passes of an encoder) is not counted, but reported. A matched budget counts the environment steps, or the
sampled tokens, of the overhead too: a method with more of them then learns from fewer steps. Tokens that are only read,
by the policy or by an encoder, are never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spa_bench.config import PPOConfig
from spa_bench.runs.iterations import given


@dataclass
class Budget:
    """The budget of one run in its unit, and what is left of it. Amounts are known after each iteration only."""

    settings: PPOConfig
    least: int
    """Environment steps that an iteration must have, from `least_steps`."""
    tokens_a_step: float
    """Tokens sampled per step when the warm start explored: the rate that `tokens` is counted with."""
    iterations: int = 0
    collected: int = 0
    """Environment steps of the iterations so far."""
    spent: float = 0.0
    """Of the budget, by the iterations so far."""
    fitted: float = 0.0
    """Of the budget, by the method's fit."""

    @property
    def total(self) -> float:
        """Environment steps or tokens: what the iterations of the configuration collect, nothing else counted."""
        steps = self.settings.iterations * self.settings.env_steps
        return steps * (self.tokens_a_step if self.settings.match == "tokens" else 1.0)

    @property
    def used(self) -> int:
        """The part that is spent, in its unit."""
        return int(self.collected if self.settings.match == "collected" else self.fitted + self.spent)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count an iteration, or the fit, from its row of metrics."""
        cost = self._cost(row)
        if row["kind"] == "iteration":
            self.iterations += 1
            self.collected += int(given(row) or 0)
            self.spent += cost
        else:
            self.fitted += cost

    def next(self) -> int:
        """Environment steps that the next iteration collects; 0 when the run is over.

        In a matched budget, and under dynamic sampling, an iteration is as long as the rest of the budget allows, at
        the cost of a step so far.
        """
        if self.settings.match == "collected" and not self.settings.dynamic_sampling:
            return self.settings.env_steps if self.iterations < self.settings.iterations else 0
        steps = min(self.settings.env_steps, self.left)
        return steps if steps >= self.least else 0

    @property
    def left(self) -> int:
        """Environment steps that the rest of the budget allows, at the cost of a step so far."""
        first = self.tokens_a_step if self.settings.match == "tokens" else 1.0
        cost = self.spent / self.collected if self.collected else first
        return int((self.total - self.spent - self.fitted) / cost) if cost > 0 else 0

    def _cost(self, row: Mapping[str, Any]) -> float:
        if self.settings.match == "tokens":
            return float(row.get("tokens_sampled") or 0) + float(row.get("extra_tokens_sampled") or 0)
        extra = row.get("extra_env_steps") if self.settings.match == "env-steps" else 0
        return float(given(row) or 0) + float(extra or 0)


def least_steps(minibatches: int, max_steps: int, characters: int) -> int:
    """Environment steps that surely hold a whole episode for each minibatch, so that no method takes fewer updates.

    A game of up to `max_steps` turns has an episode for each of its `characters`.
    """
    return -(-minibatches // characters) * max_steps * characters


def so_far(budget: Budget, rows: Iterable[Mapping[str, Any]]) -> Budget:
    """The budget with all logged rows counted; of a repeated iteration the last row counts."""
    spent: dict[Any, Mapping[str, Any]] = {}
    for row in rows:
        if row.get("kind") == "iteration" or row.get("stage") == "fit reward":
            spent[row.get("iteration")] = row
    for row in spent.values():
        budget.add(row)
    return budget
