"""Episodes of random ids, as a tiny policy would have sampled them, and their pricing."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from strategies import task

from spa_bench.config import PPOConfig
from spa_bench.core import Step, Tokens, Trajectory
from spa_bench.method import RewardMethod
from spa_bench.training import pricing
from spa_bench.training.batches import Limit, pack_trajectory
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.policy import Policy


def spoken(rng: np.random.Generator, turns: int, key: str = "a", outcome: float = 0.0) -> Trajectory:
    """An episode of random ids, replies of one to four tokens."""
    steps = []
    for turn in range(turns):
        reply = tuple(int(i) for i in rng.integers(5, 60, size=rng.integers(1, 5)))
        context = tuple(int(i) for i in rng.integers(5, 60, size=rng.integers(1, 7)))
        tokens = Tokens(context, reply, (-1.0,) * len(reply), restart=turn == 0)
        steps.append(Step("o", "r", "a", True, None, 0.0, 0.0, tokens))
    return Trajectory(task(key), tuple(steps), outcome, outcome == 1.0, outcome == 1.0, outcome != 1.0)


def sampled(policy: Policy, trajectories: list[Trajectory]) -> list[Trajectory]:
    """The same episodes with the log-probs that this policy gives them."""
    out = []
    scored = pricing.score(policy, [pack_trajectory(t) for t in trajectories], most(4))
    for trajectory, scores in zip(trajectories, scored, strict=True):
        left = iter(scores.logprobs.tolist())
        steps = [
            replace(s, tokens=replace(s.tokens, logprobs=tuple(next(left) for _ in s.tokens.reply)))  # type: ignore[union-attr, type-var]
            for s in trajectory.steps
        ]
        out.append(replace(trajectory, steps=tuple(steps)))
    return out


def most(episodes: int) -> Limit:
    """So many episodes in one pass, of any length."""
    return Limit(10**6, episodes)


class Fixed(RewardMethod):
    """Pays 1, 2, 3, ... so that a misplaced reward shows."""

    def rewards(self, group):  # type: ignore[no-untyped-def]
        return [np.arange(1.0, len(t) + 1) for t in group]


def price(
    policy: Policy, method: RewardMethod, trajectories: list[Trajectory], start: Policy | None = None, **changes: object
) -> pricing.Priced:
    """`start` is the reference; as the policy itself where none is given."""
    reference = pricing.Reference(copy.deepcopy(start or policy), most(4))
    settings = PPOConfig(**({"gamma": 1.0, "lam": 1.0, "kl_coef": 0.5} | changes))  # type: ignore[arg-type]
    return pricing.price(
        CheckedMethod("fixed", method), policy, reference, trajectories, settings, sampler_tolerance=1e-3
    )


def batch(policy: Policy) -> list[Trajectory]:
    rng = np.random.default_rng(5)
    return sampled(policy, [spoken(rng, n, key) for n, key in ((2, "a"), (4, "b"), (3, "a"))])
