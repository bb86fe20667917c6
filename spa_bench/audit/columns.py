"""The columns of an audit's table: header, definition, and the cell of a method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from spa_bench.audit.equivalence import GAMMA
from spa_bench.audit.intervals import CLIP, Measured
from spa_bench.audit.summary import COSTS, FEWEST, OUTCOMES, PROBES, Audit, Margin, MethodAudit
from spa_bench.core import BUCKETS

BROKEN = 1e-6
"""A method that claims to preserve the return and misses it by more is marked; outcomes may have gone through fp32."""
HEADERS = {
    "loop": "loop payoff",
    "busy %": "idle-loop exploit %",
    "cut": "truncation payoff",
    "extra steps": "overhead: env steps",
    "extra tokens": "overhead: tokens",
}
"""Headers of the probes and costs; `audit.json` has them by the shorter names."""


PLURAL = {"success": "successes", "failure": "failures"}


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    header: str
    meaning: str
    """One line of the footer."""
    cell: Callable[[MethodAudit], str]


def columns(audit: Audit) -> list[Column]:
    """All columns but the name: fits, return, probes, agreement, shape, costs."""
    probes = [_stored_column("probes", name, why) for name, why in audit.probes.items()]
    costs = [_stored_column("costs", name, why) for name, why in audit.costs.items()]
    return [_FITS, *_return_columns(), *probes, *_agreement_columns(audit), *_shape_columns(), *costs]


_FITS = Column(
    "fits",
    "how often it was fitted; figures are means over the fits, intervals hold what these change; 0: nothing to fit",
    lambda m: "-" if m.fits is None else str(m.fits),
)


def _stored_column(kind: str, name: str, meaning: str) -> Column:
    """A probe or a cost: by today's words where it is known, else as the audit says."""
    known = name.replace("_", " ")
    return Column(HEADERS.get(known, known), (PROBES | COSTS).get(known, meaning), _named(kind, name))


def _return_columns() -> list[Column]:
    return [
        Column(
            "claims return-preserving",
            "whether the method claims that its rewards add up to the outcome R; !: they do not",
            _claim,
        ),
        Column("return error", "mean |sum r - R|; 0 where the return is preserved", lambda m: _short(m.gap.mean)),
        Column("max return error", "largest |sum r - R|", lambda m: _short(m.gap.largest)),
        Column(
            "return error within task",
            "mean |sum r - R| after each task's mean is subtracted: a constant of the task changes no policy's rank",
            lambda m: _short(m.gap.mean_beyond_task),
        ),
        Column(
            "return error per step",
            "slope of sum r - R on the number of steps, within task; above 0, long episodes get more for being long",
            lambda m: _short(m.gap.slope),
        ),
        Column(
            "misordered pairs %",
            "pairs of episodes of one task with different R where the worse one gets the larger sum of rewards",
            lambda m: percent(m.gap.inversions),
        ),
        Column("tied pairs %", "the same pairs where both get the same sum", lambda m: percent(m.gap.ties)),
        Column(
            "timeout bias",
            "sum r - R of episodes that the step limit ended, minus that of the others, within task",
            lambda m: _short(m.gap.timeout),
        ),
        Column(
            "discounted return error",
            f"mean |sum gamma^t r_t - gamma^(T-1) R|, t from 0, gamma {GAMMA}; an early reward is discounted less",
            lambda m: _short(m.gap.discounted),
        ),
    ]


def _agreement_columns(audit: Audit) -> list[Column]:
    return [
        *_oracle_columns(audit),
        *_margin_columns(),
        *([_EFFECT] if audit.has_effects else []),
        *([_EFFECT_MARGIN] if audit.has_effect_margins else []),
    ]


def _oracle_columns(audit: Audit) -> list[Column]:
    steps = dict(zip(BUCKETS, ranges(audit.limits), strict=True))
    found = counts(audit)
    return [
        Column(
            "Spearman",
            f"of r with the oracle's progress, within trajectory, mean of Fisher's z ({CLIP} at most); 95 % CI",
            lambda m: with_interval(m.agreement.spearman),
        ),
        *(
            Column(
                f"Spearman, {PLURAL[outcome]}",
                f"the same on {PLURAL[outcome]} alone, with the number of trajectories where it is defined",
                _spearman_on(outcome),
            )
            for outcome in OUTCOMES
        ),
        *(
            Column(
                length,
                f"Spearman where the expert takes {steps[length]} steps: {found[length]} trajectories",
                _spearman_of(length),
            )
            for length in BUCKETS
        ),
        Column(
            "n",
            "trajectories where Spearman is defined: at least three steps, and neither r nor progress is constant",
            lambda m: str(m.agreement.spearman.used),
        ),
        Column("Kendall", "tau-b of the same", lambda m: number(m.agreement.kendall.value)),
        Column(
            "sign agreement %",
            "steps that change progress and have a sign, with the right one; r counts from its mean over steps that "
            "change nothing",
            lambda m: percent(m.agreement.sign.value),
        ),
        Column(
            "AUPRC",
            "average precision for steps that raise progress (in brackets: expected of a random order)",
            precision,
        ),
        Column(
            "partial rank correlation",
            "of r with progress given the turn, its square, whether it is the last, and the action's log-probability; "
            "95 % CI",
            lambda m: with_interval(m.agreement.partial),
        ),
    ]


def _margin_columns() -> list[Column]:
    return [
        Column(
            "margin over best placebo",
            "Spearman minus that of the placebo with the smallest margin on the same trajectories, 95 % CI, its name, "
            f"and the number of trajectories ({FEWEST} tasks at least); - where no placebo is defined on all of them",
            lambda m: _margin(m.best_placebo),
        ),
        *(
            Column(f"margin, {PLURAL[outcome]}", f"the same on {PLURAL[outcome]} alone", _margin_on(outcome))
            for outcome in OUTCOMES
        ),
    ]


_EFFECT = Column(
    "effect correlation",
    "Spearman of r with the executed effect of the step, over steps of all trajectories; 95 % CI",
    lambda m: "-" if m.effects is None else with_interval(m.effects.spearman),
)
_EFFECT_MARGIN = Column(
    "effect margin over best placebo",
    "effect correlation minus that of the placebo with the smallest margin on the same steps; a placebo may know the "
    "outcome",
    lambda m: "-" if m.effects is None else _margin(m.effects.best_placebo),
)


def _shape_columns() -> list[Column]:
    return [
        Column(
            "share on last step %",
            "share of sum |r| that is on the last step",
            lambda m: percent(m.last_turn_share.value),
        ),
        Column("Gini", "of |r| over steps: 0 even, (T - 1)/T all on one", lambda m: number(m.gini.value)),
        Column(
            "SNR",
            "spread of advantages between steps that lower, keep and raise progress, over the spread within these",
            lambda m: number(m.signal_to_noise),
        ),
        Column(
            "cosine with oracle advantages",
            "of the advantages with those that the oracle's progress as reward would have",
            lambda m: number(m.cosine),
        ),
    ]


def _named(kind: str, name: str) -> Callable[[MethodAudit], str]:
    return lambda method: _short(getattr(method, kind).get(name))


def _spearman_on(outcome: str) -> Callable[[MethodAudit], str]:
    def cell(method: MethodAudit) -> str:
        known = method.by_outcome.get(outcome)
        if known is None or known.spearman.value is None:
            return "-"
        return f"{with_interval(known.spearman)}, {known.spearman.used}"

    return cell


def _margin_on(outcome: str) -> Callable[[MethodAudit], str]:
    return lambda method: _margin(method.best_placebo_on(outcome))


def _spearman_of(length: str) -> Callable[[MethodAudit], str]:
    return lambda method: number(method.by_length[length].spearman.value)


def _claim(method: MethodAudit) -> str:
    broken = method.gap.largest is not None and method.gap.largest > BROKEN
    return ("yes!" if broken else "yes") if method.conserves else "no"


def precision(method: MethodAudit) -> str:
    """AUPRC, and in brackets that of a random order."""
    found, chance = method.agreement.auprc.value, method.agreement.chance
    return f"{number(found)} ({number(chance)})" if found is not None else "-"


def _margin(best: Margin | None) -> str:
    """The margin, over which placebo, and what it rests on."""
    return "-" if best is None else f"{with_interval(best.spearman)} {best.placebo}, {best.spearman.used}"


def number(value: float | None) -> str:
    """Two decimals."""
    return "-" if value is None or not math.isfinite(value) else f"{value + 0.0:.2f}".replace("-0.00", "0.00")


def percent(value: float | None) -> str:
    """A share as a whole percentage."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.0f}"


def _short(value: float | None) -> str:
    """Any size in few characters; what is below `BROKEN` is rounding."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) < BROKEN:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def with_interval(found: Measured) -> str:
    """The number and, where it has one, its interval."""
    if found.value is None or found.low is None or found.high is None:
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def ranges(limits: tuple[int, int]) -> tuple[str, str, str]:
    """Steps of the expert, in the order of `BUCKETS`."""
    short, medium = limits
    return f"up to {short}", f"{short + 1} to {medium}", f"more than {medium}"


def counts(audit: Audit) -> dict[str, int]:
    """Trajectories by length; the same for all methods."""
    return {length: max((m.by_length[length].spearman.of for m in audit.methods), default=0) for length in BUCKETS}
