"""Titles and captions that figures of runs share."""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.analysis.fits import told_form
from spa_bench.analysis.groups import EVAL, Group
from spa_bench.analysis.runs import about
from spa_bench.analysis.settings import settings_text


def title(group: Group) -> str:
    """World, split, and the settings in which the group differs from others of these."""
    told = about(group.runs[0], 0, ())
    return ", ".join(
        [str(told["world"]), str(told["split"]), *([settings_text(group.settings)] if group.settings else [])]
    )


def forms(ours: Sequence[str]) -> str:
    """Which of the methods are not their paper's; empty where there are none."""
    return f"Our form, not the paper's formula: {', '.join(ours)} (the table says where)." if ours else ""


def sources(group: Group) -> str:
    """World, split, number of tasks, seeds, model and evaluation set, as in the footer of the table; our forms."""
    tasks = {episode.task for run in group.good for episode in run.panels[EVAL]}
    told = about(group.runs[0], len(tasks), sorted({run.seed for run in group.good}))
    seeds = ", ".join(map(str, told["seeds"])) or "none"
    ours = [label for label, runs in group.methods.items() if told_form(runs[0])]
    told_forms = f" {forms(ours)}" if ours else ""
    settings = f" Settings that differ: {settings_text(group.settings)}." if group.settings else ""
    return (
        f"{told['world']}, split {told['split']}, n={told['n']} tasks, seeds {seeds}, model {told['model']}, "
        f"evaluation set {told['evaluation_set'] or 'unknown'}, {told['checkpoint']} checkpoint.{settings}{told_forms}"
    )
