"""A method's fingerprint: the advantages that the trainer would compute from its rewards; and the most similar method.

Two methods whose rewards differ may train alike: a constant on every step of equally long episodes is lost when
advantages are normalised. So methods are compared by the advantages, with a critic that is 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spa_bench import credit
from spa_bench.contract.fakes import (
    FakeBackbone,
    fake_demonstrator,
    fake_encoder,
    fake_episode,
    fake_hindsight,
    fake_simulator,
)
from spa_bench.core import Floats, Trajectory
from spa_bench.method import RewardMethod

SAME = 0.02
"""Mean |difference| up to which two fingerprints count as the same; advantages have unit variance."""


def examples(seed: int = 5) -> tuple[list[Trajectory], list[Trajectory]]:
    """The episodes of all fingerprints: 32 explored ones of four tasks, and a batch of eleven of three of them."""
    rng = np.random.default_rng(seed)
    return [fake_episode(rng, f"task/{n % 4}") for n in range(32)], [
        fake_episode(rng, f"task/{n % 3}") for n in range(11)
    ]


def fingerprint(method: RewardMethod, explored: Sequence[Trajectory], batch: Sequence[Trajectory]) -> Floats:
    """Normalised advantages of a fresh method, fitted first: one per token of the batch."""
    method.encoder = method.encoder or fake_encoder
    method.backbone = method.backbone or FakeBackbone()
    method.simulator = method.simulator or fake_simulator
    method.hindsight = method.hindsight or fake_hindsight
    method.demonstrator = method.demonstrator or fake_demonstrator
    method.fit(explored, [trajectory for trajectory in explored if trajectory.success])
    method.observe(batch)
    return advantages_of(method, batch)


def advantages_of(method: RewardMethod, batch: Sequence[Trajectory]) -> Floats:
    """Normalised advantages per token of a fitted method, with a critic of zeros, no KL penalty and no discount.

    Every step of the batch must have tokens.
    """
    spread: list[Floats] = [np.zeros(0)] * len(batch)
    for indices in credit.groups(batch):
        group = [batch[i] for i in indices]
        lengths = [[len(step.tokens.reply) for step in t.steps[t.branch :] if step.tokens] for t in group]
        streams = [r[t.branch :] for t, r in zip(group, method.rewards(group), strict=True)]
        if method.level == "token":
            streams = [credit.on_last_token(r, n) for r, n in zip(streams, lengths, strict=True)]
        values = [np.zeros(len(r) + 1) for r in streams]
        judged = method.advantages(group, streams, values, 1.0, 0.95)
        for i, n, (a, _) in zip(indices, lengths, judged, strict=True):
            spread[i] = credit.spread(a, n) if method.level == "turn" else a
    return np.concatenate(credit.normalise(batch, spread, critic=method.uses_critic))


def distance(one: Floats, other: Floats) -> float:
    """Mean |difference| of two fingerprints: 0 for the same, about 1 for unrelated ones."""
    return float(np.abs(one - other).mean())


def nearest(mine: Floats, others: Mapping[str, Floats]) -> tuple[str, float]:
    """The name whose fingerprint is the most similar to `mine`, and how far it is; `others` must not be empty."""
    distances = {name: distance(mine, other) for name, other in sorted(others.items())}
    name = min(distances, key=distances.__getitem__)
    return name, distances[name]
