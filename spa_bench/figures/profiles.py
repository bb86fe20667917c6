"""Performance profiles of graded outcomes: the share of episodes above tau (Agarwal et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa_bench.analysis.groups import Group, valid
from spa_bench.core import UserError
from spa_bench.figures import words
from spa_bench.figures.lines import Line, Panel, draw_lines
from spa_bench.stats import performance_profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Profiles:
    """What is drawn."""

    title: str
    caption: str
    panel: Panel
    """x is tau, y the per cent of episodes with a larger outcome; exact, as it steps where any outcome lies."""


def data(group: Group) -> Profiles:
    """The profile of each row of the table, over the episodes of all its seeds.

    UserError where no run is finished, and where all outcomes are 0 or 1: there a profile is a flat line at success.
    """
    found = {
        label: [episode.outcome for run in runs for episode in valid(run, panel)]
        for label, (runs, panel) in group.rows.items()
    }
    values = {value for outcomes in found.values() for value in outcomes}
    if not values:
        raise UserError("no finished run")
    if values <= {0.0, 1.0}:
        raise UserError("no performance profile: all outcomes are 0 or 1, so it would only show success")
    places = sorted(values | {0.0, 1.0})
    lines = [
        Line(label, tuple(places), tuple(100 * float(share) for share in performance_profile(outcomes, places)))
        for label, outcomes in found.items()
    ]
    return Profiles(
        title="Performance profiles of outcomes",
        caption=f"{words.sources(group)}\nShare of the episodes of all seeds with an outcome above tau; higher is "
        "better.",
        panel=Panel(words.title(group), tuple(lines)),
    )


def draw(found: Profiles) -> Figure:
    """Steps that fall from left to right."""
    labels = ("outcome tau", "episodes with outcome > tau, %")
    return draw_lines([found.panel], title=found.title, labels=labels, caption=found.caption, steps=True)
