"""`spa-bench report` and `view`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from spa_bench.commands.words import RESULTS, Baseline, Full, Json, command
from spa_bench.core import UserError
from spa_bench.terminal import printable_line

Budget = Annotated[
    int | None,
    typer.Option(min=1, help="Report runs at this training budget, one of their `--budgets`; default: their end."),
]


@command
def report(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders with runs or audits; default: results.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write into; default: `report` in the first of the folders.")
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            help="Print the tables of a paper: spa, 3spo or stepagent; or `baselines`: one baseline in several papers."
        ),
    ] = None,
    intervals: Annotated[
        str | None, typer.Option(help="Longest task of each step interval, such as 5,10,15; default: by world.")
    ] = None,
    budget: Budget = None,
    baseline: Baseline = None,
    html: Annotated[Path | None, typer.Option(help="Write only the page, into this file.")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Maximum number of episodes per run in the page.")] = None,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Print the tables of finished runs, and write them with figures and a web page."""
    wanted = folders or [RESULTS]
    from spa_bench.report import baselines, contents
    from spa_bench.report.show import show_contents, show_sections

    cuts = _cuts(intervals)
    try:
        found = replace(contents.gather(wanted, baseline, cuts, budget), prints=paper == baselines.NAME)
    except UserError:
        if paper == baselines.NAME and not folders:  # it is of no run: there need not be one
            return show_sections([baselines.section()], sys.stdout)
        raise
    if html is not None:
        from spa_bench.report import pictures
        from spa_bench.report import serve as viewer

        drawn = pictures.drawn(found, baseline, cuts)
        viewer.show(viewer.write(wanted, html, episodes, known=found, figures=drawn), sys.stdout, as_json)
        return
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
        return
    if paper is None:
        show_contents(found, sys.stdout, full)
    else:
        show_sections(found.paper(paper), sys.stdout)
    if not found.tables and not found.audits:
        raise UserError(f"no readable run or audit in {', '.join(map(str, wanted))}: see the reasons above")
    from spa_bench.report import folder as report_folder

    place = out or wanted[0] / "report"
    if out is None and place.is_symlink():  # the results may be somebody else's, and lead anywhere
        raise UserError(f"{place} is a link: name the folder to write into with --out")
    written = report_folder.write(found, wanted, place, baseline, cuts, episodes)
    for note in written.notes:
        print(printable_line(f"not drawn: {note}"), file=sys.stderr)
    page = place / report_folder.PAGE
    print(printable_line(f"written to {place}: {len(written.files)} files; open {page} in a browser"), file=sys.stderr)


@command
def view(
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = RESULTS,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0: any free one.")] = 0,
) -> None:
    """Serve the page of a results folder on this machine; it follows runs while they go on."""
    from spa_bench.report.serve import serve

    serve(results, port, sys.stdout)


def _cuts(words: str | None) -> list[int] | None:
    """`5,10,15` as increasing numbers."""
    from spa_bench.analysis.step_intervals import step_intervals

    if words is None:
        return None
    try:
        ends = [int(word) for word in words.split(",")]
    except ValueError:
        raise UserError(f"--intervals {words!r}: use whole numbers with commas, such as 5,10,15") from None
    step_intervals(ends)
    return ends


@command
def summarise(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders with runs; default: results.")] = None,
    to: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("summaries"),
) -> None:
    """Write what tables need of finished runs and audits, without texts and weights; `report` reads it as these."""
    from spa_bench.analysis import summary
    from spa_bench.audit import saved
    from spa_bench.runs.reading import RUN, holding

    wanted = folders or [RESULTS]
    written = saved.summarise(wanted, to)
    if holding(RUN, wanted) or not written:
        written += summary.summarise(wanted, to)
    print(printable_line(f"{len(written)} new {'summary' if len(written) == 1 else 'summaries'} in {to}"))
