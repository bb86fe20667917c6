"""All figures of an audit, from recorded episodes and arrays: no environment is run and no method is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa_bench.audit import equivalence, measures
from spa_bench.audit.effects import Effect
from spa_bench.audit.equivalence import ReturnGap
from spa_bench.audit.measures import Measured, Resamples
from spa_bench.core import BUCKETS, Floats, Trajectory, bucket, derive_seed

PROBES = {
    "loop": "sum of rewards for one more walk around a reversible loop, in the task where it is farthest from 0; "
    "0 for a potential",
    "busy %": "tasks where a failure that goes on executing actions until the step limit gets at least as much reward "
    "as the expert's success",
    "cut": "change of sum r - R when the step limit cuts an episode that had ended by itself; the one farthest from 0",
}
COSTS = {
    "extra steps": "environment steps played for this method alone, in fit and rewards",
    "extra tokens": "tokens encoded or sampled for this method alone",
}
"""What is probed and counted in every audit, in the order of its columns: name in `audit.json` and meaning."""


@dataclass(frozen=True)
class Agreement:
    """Of r_t with the oracle's d_t, within trajectory, averaged over trajectories."""

    spearman: Measured
    kendall: Measured
    sign: Measured
    """Share of signs that agree (`measures.sign_counts`)."""
    signed: float | None
    """Share of the steps with d_t != 0 whose reward has a sign."""
    auprc: Measured
    """Average precision of r_t for the steps that raise Phi."""
    chance: float | None
    """The average precision that a random order is expected to reach on the same trajectories."""
    partial: Measured
    """Rank correlation given the turn's place and the action's log-probability (`measures.rank_moments`)."""
    with_logprobs: int
    """Trajectories where the log-probability of each action is known; elsewhere only the turn's place is held fixed."""


@dataclass(frozen=True)
class EffectAgreement:
    """Of r_t with the executed effect of the step, over points (steps with an executed effect) of all trajectories."""

    spearman: Measured
    sign: Measured
    """Share of signs that agree, the reward's sign being that of r_t minus its mean over points without effect."""
    signed: float | None
    """Share of the points with an effect whose reward has a sign."""
    points: int
    with_effect: float | None
    """Share of points whose effect is more than two standard errors from 0."""
    without_alternative: float | None
    """Share of points where the policy chose nothing else: their effect is 0."""
    margins: tuple[Margin, ...]
    """Over each placebo except the method itself, sorted by name, on the same points."""

    @property
    def best_placebo(self) -> Margin | None:
        """The smallest margin."""
        return _smallest(self.margins)


@dataclass(frozen=True)
class Margin:
    """Rank correlation minus that of a placebo, where both are defined."""

    placebo: str
    spearman: Measured


FEWEST = 5
"""Tasks that a margin needs to be shown: with fewer, a bootstrap over tasks covers too little."""


def _smallest(margins: Sequence[Margin]) -> Margin | None:
    """The margin over the best placebo, which is the smallest one; None where none rests on `FEWEST` tasks."""
    known = [
        (one.spearman.value, one) for one in margins if one.spearman.value is not None and one.spearman.tasks >= FEWEST
    ]
    return min(known, key=lambda pair: pair[0])[1] if known else None


@dataclass(frozen=True)
class MethodAudit:
    """All figures of one method."""

    name: str
    conserves: bool
    """The method claims that its rewards add up to the outcome (`RewardMethod.conserves_return`)."""
    placebo: bool
    gap: ReturnGap
    agreement: Agreement
    by_length: Mapping[str, Agreement]
    """By steps of the expert: `short`, `medium`, `long`."""
    effects: EffectAgreement | None
    """None where no alternatives were played."""
    margins: tuple[Margin, ...]
    """Over each placebo except the method itself, sorted by name."""
    last_turn_share: Measured
    """Mean of |r_T| / sum_t |r_t|."""
    gini: Measured
    """Mean Gini coefficient of |r_t|."""
    signal_to_noise: float | None
    """Of the advantages, by whether the step lowered, kept or raised Phi."""
    cosine: float | None
    """Between the advantages and those of the reference."""
    probes: Mapping[str, float | None] = field(default_factory=dict)
    """Measured by the caller on probe episodes, by name."""
    costs: Mapping[str, float | None] = field(default_factory=dict)
    """Counted by the caller, by name."""

    @property
    def best_placebo(self) -> Margin | None:
        """The smallest margin."""
        return _smallest(self.margins)


@dataclass(frozen=True)
class Audit:
    """All methods on the same trajectories."""

    about: Mapping[str, Any]
    """Environment, policy, seed and the rest of the footer's first line, in printing order."""
    methods: tuple[MethodAudit, ...]
    limits: tuple[int, int]
    """Expert steps up to the first number are `short`, up to the second `medium`."""
    floor: tuple[str, ...] = ()
    """Names of the placebos whose figures are the floor: those with `RewardMethod.placebo` = "floor"."""
    probes: Mapping[str, str] = field(default_factory=dict)
    """Probes to show, in this order, each with its meaning in one line."""
    costs: Mapping[str, str] = field(default_factory=dict)
    """Costs to show, likewise."""
    excluded: int = 0
    """Trajectories without steps, or with an error outside the agent's control."""
    notes: tuple[str, ...] = ()
    """Caveats, a line each."""
    episodes: tuple[Trajectory, ...] = field(default=(), compare=False, repr=False)
    """The audited episodes, in the order of `prices`; audits are compared by the figures above alone."""
    prices: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict, compare=False, repr=False)
    """The reward that each method assigned to each step of each episode, by the method's name."""

    @property
    def world(self) -> str:
        """The environment, or `recorded` where `about` does not say it."""
        return str(self.about.get("world", "recorded"))

    def floors(self) -> tuple[MethodAudit, ...]:
        """The methods of the floor that were audited, in the order of `floor`."""
        return tuple(method for name in self.floor for method in self.methods if method.name == name)


def audit_method(
    name: str,
    trajectories: Sequence[Trajectory],
    rewards: Sequence[Floats],
    advantages: Sequence[Floats],
    *,
    limits: tuple[int, int],
    seed: int,
    reference: Sequence[Floats] = (),
    placebos: Mapping[str, Sequence[Floats]] | None = None,
    effects: Sequence[Effect] = (),
    conserves: bool = False,
    placebo: bool = False,
    probes: Mapping[str, float | None] | None = None,
    costs: Mapping[str, float | None] | None = None,
) -> MethodAudit:
    """Measure one method; `rewards` and `advantages` hold one array (T,) per trajectory, in any unit.

    `reference` are the advantages that `cosine` compares with, and `placebos` the rewards of each placebo on the same
    trajectories; `effects` name trajectories by position. Trajectories that are not `usable` are left out. All methods
    with the same `seed` share their resamples. Raises ValueError for numbers that are missing or not finite.
    """
    given = {"rewards": rewards, "advantages": advantages, "reference": reference, **(placebos or {})}
    for what, arrays in given.items():
        if arrays or what != "reference":
            _check(f"{name}, {what}", trajectories, arrays)
    record = _Recording.of(trajectories, limits, seed)
    paid = record.graded(rewards)
    rank = record.correlations(paid)
    change, advantage = np.concatenate([*record.changes, _NONE]), record.joined(advantages)
    return MethodAudit(
        name=name,
        conserves=conserves,
        placebo=placebo,
        gap=equivalence.return_gap(record.episodes, [rewards[i] for i in record.kept]),
        agreement=_agreement(record, paid, np.ones(len(paid), dtype=bool)),
        by_length={length: _agreement(record, paid, record.lengths == length) for length in BUCKETS},
        effects=_effects(record, name, rewards, effects, placebos or {}) if effects else None,
        margins=tuple(
            Margin(other, measures.margin(rank, record.correlations(record.graded(paid_by_it)), record.resamples))
            for other, paid_by_it in sorted((placebos or {}).items())
            if other != name
        ),
        last_turn_share=record.resamples.mean(_each(measures.last_turn_share, paid)),
        gini=record.resamples.mean(_each(measures.gini, paid)),
        signal_to_noise=measures.signal_to_noise(advantage, change),
        cosine=measures.cosine(advantage, record.joined(reference)) if reference else None,
        probes=dict(probes or {}),
        costs=dict(costs or {}),
    )


def usable(trajectories: Sequence[Trajectory]) -> list[int]:
    """Positions of the trajectories with steps and without an error."""
    return [i for i, one in enumerate(trajectories) if one.steps and one.error is None]


_NONE: Floats = np.zeros(0)


@dataclass(frozen=True)
class _Recording:
    """The usable trajectories, and what is the same for all methods."""

    kept: list[int]
    episodes: list[Trajectory]
    changes: list[Floats]
    """d_t, (T,) each."""
    lengths: NDArray[np.str_]
    """Name of the bucket (N,)."""
    resamples: Resamples

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory], limits: tuple[int, int], seed: int) -> _Recording:
        kept = usable(trajectories)
        episodes = [trajectories[i] for i in kept]
        return cls(
            kept,
            episodes,
            [measures.progress_made(one) for one in episodes],
            np.array([bucket(one.task.expert_steps, limits) for one in episodes], dtype=np.str_),
            Resamples.draw([*map(measures.task_name, episodes)], np.random.default_rng(derive_seed(seed, "audit"))),
        )

    def graded(self, rewards: Sequence[Floats]) -> list[Floats]:
        return [measures.graded(rewards[i]) for i in self.kept]

    def correlations(self, paid: Sequence[Floats]) -> Floats:
        """Spearman of each trajectory (N,), NaN where undefined."""
        return _each(measures.spearman, paid, self.changes)

    def joined(self, arrays: Sequence[Floats]) -> Floats:
        """All steps (S,)."""
        return np.concatenate([*(arrays[i] for i in self.kept), _NONE])


def _check(what: str, trajectories: Sequence[Trajectory], arrays: Sequence[Floats]) -> None:
    if len(arrays) != len(trajectories):
        raise ValueError(f"{what}: {len(arrays)} arrays for {len(trajectories)} trajectories")
    for place, (trajectory, array) in enumerate(zip(trajectories, arrays, strict=True)):
        if np.shape(array) != (len(trajectory),):
            raise ValueError(f"{what}: shape {np.shape(array)} for trajectory {place} of {len(trajectory)} steps")
        if not np.isfinite(array).all():
            turn = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"{what}: {array[turn]} at step {turn} of trajectory {place}")


def _each(measure: Callable[..., float], *columns: Sequence[Any]) -> Floats:
    """The measure of each trajectory (N,)."""
    return np.array([measure(*row) for row in zip(*columns, strict=True)], dtype=np.float64)


def _agreement(record: _Recording, paid: Sequence[Floats], own: NDArray[np.bool_]) -> Agreement:
    """Over the trajectories `own` (N,); all parts share the resamples of tasks, so that they are paired."""
    places = np.flatnonzero(own).tolist()
    rewards, changes = [paid[i] for i in places], [record.changes[i] for i in places]
    logprobs = [_logprobs(record.episodes[i]) for i in places]
    resamples = record.resamples.only(own)
    precision = _each(measures.average_precision, rewards, [change > 0 for change in changes])
    defined = np.isfinite(precision)
    moments = [measures.rank_moments(*row) for row in zip(rewards, changes, logprobs, strict=True)]
    counts = [measures.sign_counts(*row).sum(0) for row in zip(rewards, changes, strict=True)]
    sign, signed = measures.sign_agreement(np.array(counts, dtype=np.float64).reshape(-1, 3), resamples)
    chances = [measures.chance_precision(changes[i] > 0) for i in np.flatnonzero(defined)]
    return Agreement(
        spearman=resamples.fisher_mean(_each(measures.spearman, rewards, changes)),
        kendall=resamples.mean(_each(measures.kendall, rewards, changes)),
        sign=sign,
        signed=signed,
        auprc=resamples.mean(precision),
        chance=float(np.mean(chances)) if chances else None,
        partial=resamples.estimate(np.array(moments).reshape(-1, 37), measures.partial_correlation),
        with_logprobs=sum(one is not None for one in logprobs),
    )


def _logprobs(trajectory: Trajectory) -> Floats | None:
    """Log-probability of each action (T,), summed over its tokens; None unless all of them are known."""
    sums = [sum(step.tokens.logprobs) for step in trajectory.steps if step.tokens is not None]
    return np.array(sums, dtype=np.float64) if len(sums) == len(trajectory) else None


def _effects(
    record: _Recording,
    name: str,
    rewards: Sequence[Floats],
    effects: Sequence[Effect],
    placebos: Mapping[str, Sequence[Floats]],
) -> EffectAgreement:
    """Rewards and effects of all points, not centred by trajectory: their levels are compared across trajectories.

    A step for which the policy chose no alternative has the effect 0: it was what the policy would do anyway, and the
    measured difference is noise of the continuations.
    """
    place = {kept: i for i, kept in enumerate(record.kept)}
    points = [one for one in effects if one.trajectory in place]
    resamples = record.resamples.only(np.array([place[one.trajectory] for one in points], dtype=np.intp))

    def paid(by: Sequence[Floats]) -> Floats:
        return measures.graded(np.array([by[one.trajectory][one.turn] for one in points], dtype=np.float64))

    reward = paid(rewards)
    effect: Floats = np.array(
        [round(one.effect, measures.DECIMALS) if one.alternatives else 0.0 for one in points], dtype=np.float64
    )
    doubt = np.array([2 * (one.error or 0.0) for one in points])
    sign, signed = measures.sign_agreement(measures.sign_counts(reward, effect), resamples)
    return EffectAgreement(
        spearman=measures.pooled_spearman(reward, effect, resamples),
        sign=sign,
        signed=signed,
        points=len(points),
        with_effect=float((np.abs(effect) > doubt).mean()) if points else None,
        without_alternative=float(np.mean([not one.alternatives for one in points])) if points else None,
        margins=tuple(
            Margin(other, measures.pooled_margin(reward, paid(by_it), effect, resamples))
            for other, by_it in sorted(placebos.items())
            if other != name
        ),
    )
