"""Ablations: one method with several settings of its options, as `spa`, `spa (alpha=0)` and `spa (beta=0)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spa_bench.analysis.differences import Difference
from spa_bench.analysis.groups import Group


@dataclass(frozen=True)
class Ablation:
    """The settings of one method that were run on the same tasks."""

    method: str
    options: tuple[str, ...]
    """Names of all options that any of them sets."""
    settings: Mapping[str, Mapping[str, Any]]
    """Options by label, the method with its defaults first; what is not set has the method's own default."""
    differences: tuple[Difference, ...]
    """Each of the others against the method with its defaults; empty where that was not run."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What `differences` compares: method and reference."""
        whole, *others = self.settings
        return [] if self.settings[whole] else [(label, whole) for label in others]

    def judged(self, found: Sequence[Difference]) -> Ablation:
        """The same with its differences, out of those of the whole table."""
        return replace(self, differences=tuple(one for one in found if (one.method, one.reference) in self.pairs))


def ablations(group: Group) -> tuple[Ablation, ...]:
    """Every method that was run with at least two settings; not yet compared."""
    by_method: dict[str, dict[str, Mapping[str, Any]]] = {}
    for label, runs in group.methods.items():
        if not runs[0].facts.get("agent"):
            by_method.setdefault(runs[0].method, {})[label] = runs[0].config["reward_options"]
    return tuple(_ablation(method, by_method[method]) for method in sorted(by_method) if len(by_method[method]) > 1)


def _ablation(method: str, settings: Mapping[str, Mapping[str, Any]]) -> Ablation:
    labels = sorted(settings, key=lambda label: (bool(settings[label]), label))
    options = sorted({name for options in settings.values() for name in options})
    return Ablation(method, tuple(options), {label: settings[label] for label in labels}, ())
