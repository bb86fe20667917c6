"""The figures of an audit, as they are printed and saved. `assess` works them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spa_bench.audit.aliasing import Aliasing
from spa_bench.audit.equivalence import ReturnGap
from spa_bench.audit.intervals import Measured
from spa_bench.core import Trajectory

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
OUTCOMES = ("success", "failure")
"""Kinds of episodes that agreement is measured on apart."""


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
    without_alternative: float | None
    """Share of points where the policy chose nothing else: their effect is 0."""
    margins: tuple[Margin, ...]
    """Over each placebo except the method itself, sorted by name, on the same points."""

    @property
    def best_placebo(self) -> Margin | None:
        """The smallest margin."""
        return _smallest(self.margins, self.spearman)


@dataclass(frozen=True)
class PowerCheck:
    """Of the executed effects: what the oracle's progress scores as a reward. Where it is not above 0, nothing can."""

    oracle: Measured
    """Its Spearman with the effects."""
    margin: Margin | None
    """Over the best placebo; None where no placebo was audited."""
    points: int
    without_alternative: float | None

    @property
    def passed(self) -> bool:
        """The effects tell the oracle from chance."""
        return _above_zero(self.oracle)

    @property
    def margin_passed(self) -> bool:
        """The effects tell the oracle from the best placebo."""
        return self.margin is not None and _above_zero(self.margin.spearman)


def _above_zero(found: Measured) -> bool:
    """The interval is above 0, and rests on `FEWEST` tasks."""
    least = found.value if found.low is None else found.low
    return found.tasks >= FEWEST and least is not None and least > 0


@dataclass(frozen=True)
class Margin:
    """Rank correlation minus that of a placebo, on the trajectories or points of the method's own correlation."""

    placebo: str
    spearman: Measured
    """Undefined where the placebo's is undefined in one of these; `used` is then where both are defined."""


FEWEST = 5
"""Tasks that a margin needs to be shown: with fewer, a bootstrap over tasks covers too little."""


def _smallest(margins: Sequence[Margin], beside: Measured) -> Margin | None:
    """The margin over the best placebo, which is the smallest one; None where none rests on `FEWEST` tasks.

    Only of those on the trajectories of the correlation `beside`: audits of earlier versions hold others too.
    """
    known = [
        (one.spearman.value, one)
        for one in margins
        if one.spearman.value is not None and one.spearman.tasks >= FEWEST and one.spearman.used == beside.used
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
    """None where no alternatives were played, or where the effects fail the power check."""
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
    by_outcome: Mapping[str, Agreement] = field(default_factory=dict)
    """On the trajectories of each of `OUTCOMES`; empty in an audit of an earlier version."""
    margins_by_outcome: Mapping[str, tuple[Margin, ...]] = field(default_factory=dict)
    """As `margins`, on the trajectories of each."""
    fits: int | None = None
    """How often it was fitted, 0 for a method without `fit`; None in an audit of an earlier version, whose intervals
    are those of one fit. Figures are means over the fits; the largest and the farthest from 0 are of all fits."""

    @property
    def best_placebo(self) -> Margin | None:
        """The smallest margin."""
        return _smallest(self.margins, self.agreement.spearman)

    def best_placebo_on(self, outcome: str) -> Margin | None:
        """The smallest margin on the trajectories of one of `OUTCOMES`."""
        if outcome not in self.by_outcome:
            return None
        return _smallest(self.margins_by_outcome.get(outcome, ()), self.by_outcome[outcome].spearman)


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
    power: PowerCheck | None = None
    """None where no effects were executed, and in an audit of an earlier version."""
    aliasing: Mapping[str, Mapping[str, Aliasing]] = field(default_factory=dict)
    """State key -> length of task, or `all` -> what the key mixes; empty in an audit of an earlier version, and where
    the world does not say what its state is."""
    episodes: tuple[Trajectory, ...] = field(default=(), compare=False, repr=False)
    """The audited episodes, in the order of `prices`; audits are compared by the figures above alone."""
    prices: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict, compare=False, repr=False)
    """The reward that each method assigned to each step of each episode, by the method's name."""

    @property
    def has_effects(self) -> bool:
        """The effect correlation stands: effects were executed, and they pass the power check."""
        return self.power is not None and self.power.passed

    @property
    def has_effect_margins(self) -> bool:
        """So does its margin over placebos."""
        return self.power is not None and self.power.passed and self.power.margin_passed

    @property
    def world(self) -> str:
        """The environment, or `recorded` where `about` does not say it."""
        return str(self.about.get("world", "recorded"))

    @property
    def ours(self) -> tuple[str, ...]:
        """The methods that its notes say to be in our form."""
        return tuple(note.split(": our form: ")[0] for note in self.notes if ": our form: " in note)

    @property
    def sampled(self) -> str:
        """What its intervals are over."""
        return "tasks and fits" if any((method.fits or 0) > 1 for method in self.methods) else "tasks"

    def floors(self) -> tuple[MethodAudit, ...]:
        """The methods of the floor that were audited, in the order of `floor`."""
        return tuple(method for name in self.floor for method in self.methods if method.name == name)
