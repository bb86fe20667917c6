"""The figures of one method, from recorded episodes and arrays: no environment is run and no method is called.

What a method assigned is given for each of its fits, one list for a method that is not fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa_bench.audit import equivalence, measures
from spa_bench.audit.effects import Effect
from spa_bench.audit.equivalence import ReturnGap
from spa_bench.audit.intervals import CORRELATION, DECIMALS, SHARE, Resamples, mean_of
from spa_bench.audit.summary import OUTCOMES, Agreement, EffectAgreement, Margin, MethodAudit, PowerCheck
from spa_bench.core import BUCKETS, Floats, Trajectory, bucket, derive_seed
from spa_bench.stats.ranks import spearman

Paid = Sequence[Floats]
"""One array (T,) per trajectory."""


def audit_method(
    name: str,
    trajectories: Sequence[Trajectory],
    rewards: Sequence[Paid],
    advantages: Sequence[Paid],
    *,
    limits: tuple[int, int],
    seed: int,
    fitted: bool = False,
    reference: Paid = (),
    placebos: Mapping[str, Sequence[Paid]] | None = None,
    effects: Sequence[Effect] = (),
    conserves: bool = False,
    placebo: bool = False,
    probes: Mapping[str, float | None] | None = None,
    costs: Mapping[str, float | None] | None = None,
) -> MethodAudit:
    """Measure one method; `rewards` and `advantages` hold what each fit gives, in any unit.

    `reference` are the advantages that `cosine` compares with, and `placebos` the rewards of each placebo on the same
    trajectories: of as many fits, or of one that is compared with each; `effects` name trajectories by position.
    Trajectories that are not `usable` are left out. All methods with the same `seed` share their resamples. Raises
    ValueError for numbers that are missing or not finite.
    """
    others = {other: paid for other, paid in sorted((placebos or {}).items()) if other != name}
    given = {"rewards": rewards, "advantages": advantages, "reference": [reference] if reference else [], **others}
    for what, fits in given.items():
        for arrays in fits:
            _check(f"{name}, {what}", trajectories, arrays)
    record = _Recording.of(trajectories, limits, seed)
    paid = [record.graded(one) for one in rewards]
    placed = {other: [record.graded(one) for one in fits] for other, fits in others.items()}
    everything = np.ones(len(record.kept), dtype=bool)
    ended = {outcome: record.success == (outcome == "success") for outcome in OUTCOMES}
    change, judged = np.concatenate([*record.changes, _NONE]), [record.joined(one) for one in advantages]
    known = record.joined(reference) if reference else None
    return MethodAudit(
        name=name,
        conserves=conserves,
        placebo=placebo,
        gap=_gap([equivalence.return_gap(record.episodes, [one[i] for i in record.kept]) for one in rewards]),
        agreement=_agreement(record, paid, everything),
        by_length={length: _agreement(record, paid, record.lengths == length) for length in BUCKETS},
        by_outcome={outcome: _agreement(record, paid, own) for outcome, own in ended.items()},
        effects=_effects(record, rewards, effects, others) if effects else None,
        margins=_margins(record, paid, placed, everything),
        margins_by_outcome={outcome: _margins(record, paid, placed, own) for outcome, own in ended.items()},
        last_turn_share=record.resamples.mean(*(_each(measures.last_turn_share, one) for one in paid), span=SHARE),
        gini=record.resamples.mean(*(_each(measures.gini, one) for one in paid), span=SHARE),
        signal_to_noise=mean_of([measures.signal_to_noise(one, change) for one in judged]),
        cosine=None if known is None else mean_of([measures.cosine(one, known) for one in judged]),
        probes=dict(probes or {}),
        costs=dict(costs or {}),
        fits=len(rewards) if fitted else 0,
    )


def power_check(
    trajectories: Sequence[Trajectory],
    effects: Sequence[Effect],
    seed: int,
    placebos: Mapping[str, Sequence[Paid]] | None = None,
) -> PowerCheck:
    """What the oracle's progress scores as a reward on the executed effects, alone and beyond the placebos."""
    record = _Recording.of(trajectories, (0, 0), seed)
    made = [measures.progress_made(one) for one in trajectories]
    found = _effects(record, [made], effects, dict(sorted((placebos or {}).items())))
    return PowerCheck(found.spearman, found.best_placebo, found.points, found.without_alternative)


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
    success: NDArray[np.bool_]
    """(N,)."""
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
            np.array([one.success for one in episodes], dtype=bool),
            Resamples.draw([*map(measures.task_name, episodes)], np.random.default_rng(derive_seed(seed, "audit"))),
        )

    def graded(self, rewards: Paid) -> list[Floats]:
        return [measures.graded(rewards[i]) for i in self.kept]

    def joined(self, arrays: Paid) -> Floats:
        """All steps (S,)."""
        return np.concatenate([*(arrays[i] for i in self.kept), _NONE])


def _check(what: str, trajectories: Sequence[Trajectory], arrays: Paid) -> None:
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


def _gap(fits: Sequence[ReturnGap]) -> ReturnGap:
    """Means over the fits, and the largest of all."""
    told = {field.name: [getattr(one, field.name) for one in fits] for field in fields(ReturnGap)}
    largest = {name: max((v for v in told[name] if v is not None), default=None) for name in told if "largest" in name}
    means = {name: mean_of(values) for name, values in told.items()}
    return ReturnGap(**(means | largest | {"pairs": fits[0].pairs}))


def _agreement(record: _Recording, fits: Sequence[Paid], own: NDArray[np.bool_]) -> Agreement:
    """Over the trajectories `own` (N,); all parts share the resamples of tasks, so that they are paired."""
    places = np.flatnonzero(own).tolist()
    changes = [record.changes[i] for i in places]
    logprobs = [_logprobs(record.episodes[i]) for i in places]
    raised = [change > 0 for change in changes]
    resamples = record.resamples.only(own)
    paid = [[one[i] for i in places] for one in fits]
    moments = [[measures.rank_moments(*row) for row in zip(one, changes, logprobs, strict=True)] for one in paid]
    counts = [[measures.sign_counts(*row).sum(0) for row in zip(one, changes, strict=True)] for one in paid]
    sign, signed = measures.sign_agreement(resamples, *(np.array(one).reshape(-1, 3) for one in counts))
    chances = _each(measures.chance_precision, raised)
    return Agreement(
        spearman=resamples.fisher_mean(*(_each(spearman, one, changes) for one in paid)),
        kendall=resamples.mean(*(_each(measures.kendall, one, changes) for one in paid), span=CORRELATION),
        sign=sign,
        signed=signed,
        auprc=resamples.mean(*(_each(measures.average_precision, one, raised) for one in paid), span=SHARE),
        chance=mean_of(chances[np.isfinite(chances)].tolist()),
        partial=resamples.estimate(
            measures.partial_correlation,
            *(np.array(one).reshape(-1, 37) for one in moments),
            span=CORRELATION,
        ),
        with_logprobs=sum(one is not None for one in logprobs),
    )


def _margins(
    record: _Recording, fits: Sequence[Paid], placebos: Mapping[str, Sequence[Paid]], own: NDArray[np.bool_]
) -> tuple[Margin, ...]:
    """Over each placebo, on the trajectories `own` (N,)."""
    resamples = record.resamples.only(own)

    def ranks(paid: Paid) -> Floats:
        return _each(spearman, paid, record.changes)[own]

    rank = [ranks(one) for one in fits]
    return tuple(
        Margin(other, measures.margin(resamples, *_paired(rank, [ranks(one) for one in paid])))
        for other, paid in placebos.items()
    )


def _paired(fits: Sequence[Floats], placebo: Sequence[Floats]) -> list[tuple[Floats, Floats]]:
    """Each fit of the method with that of the placebo which has seen the same episodes."""
    return [(fits[n % len(fits)], placebo[n % len(placebo)]) for n in range(max(len(fits), len(placebo)))]


def _logprobs(trajectory: Trajectory) -> Floats | None:
    """Log-probability of each action (T,), summed over its tokens; None unless all of them are known."""
    sums = [sum(step.tokens.logprobs) for step in trajectory.steps if step.tokens is not None]
    return np.array(sums, dtype=np.float64) if len(sums) == len(trajectory) else None


def _effects(
    record: _Recording, fits: Sequence[Paid], effects: Sequence[Effect], placebos: Mapping[str, Sequence[Paid]]
) -> EffectAgreement:
    """Rewards and effects of all points, not centred by trajectory: their levels are compared across trajectories."""
    place = {kept: i for i, kept in enumerate(record.kept)}
    points = [one for one in effects if one.trajectory in place]
    resamples = record.resamples.only(np.array([place[one.trajectory] for one in points], dtype=np.intp))

    def paid(by: Paid) -> Floats:
        return measures.graded(np.array([by[one.trajectory][one.turn] for one in points], dtype=np.float64))

    rewards = [paid(one) for one in fits]
    effect: Floats = np.array([round(one.effect, DECIMALS) for one in points], dtype=np.float64)
    sign, signed = measures.sign_agreement(resamples, *(measures.sign_counts(one, effect) for one in rewards))
    return EffectAgreement(
        spearman=measures.pooled_spearman(effect, resamples, *rewards),
        sign=sign,
        signed=signed,
        points=len(points),
        without_alternative=mean_of([float(not one.alternatives) for one in points]),
        margins=tuple(
            Margin(other, measures.pooled_margin(effect, resamples, *_paired(rewards, [paid(one) for one in by_it])))
            for other, by_it in placebos.items()
        ),
    )
