"""The figure of an audit: that it fits, that it repeats to the byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from made_audits import LIMITS, MANY, SMALL, an_audit
from matplotlib.backends.backend_agg import FigureCanvasAgg

from spa_bench.audit.summary import Audit
from spa_bench.core import UserError
from spa_bench.figures import scatter
from spa_bench.figures.audit import draw, plot
from spa_bench.figures.style import STYLE

pytestmark = pytest.mark.filterwarnings("error")


def test_no_words_of_the_figure_overlap_with_many_methods():
    with matplotlib.rc_context(STYLE):
        figure = draw(an_audit(*MANY))
        FigureCanvasAgg(figure).draw()
    left, _, _ = figure.axes
    words = [*left.get_yticklabels(), figure._suptitle]
    words += [word for axes in figure.axes for word in (axes.title, axes.xaxis.label)]
    words += [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [word.get_window_extent() for word in words if word.get_text()]
    assert len(boxes) >= 22 + 7 + 8
    for place, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, words[place]
        assert not any(box.overlaps(other) for other in boxes[:place]), words[place]


def test_the_figure_says_which_methods_are_not_their_papers():
    names = [f"method-{number:02}" for number in range(20)]
    notes = ("spa, rrd: our form: the bonus is shared", *(f"{name}: our form: {name}" for name in names), "a: b")
    with matplotlib.rc_context(STYLE):
        figure = draw(replace(SMALL, notes=notes))
        FigureCanvasAgg(figure).draw()
        title = figure._suptitle.get_window_extent()
    told = figure._suptitle.get_text().replace("\n", " ")
    assert f"Our form, not the paper's formula: spa, rrd, {', '.join(names)} (the table" in told
    assert figure.bbox.x0 <= title.x0 and title.x1 <= figure.bbox.x1
    assert title.y0 >= max(axes.title.get_window_extent().y1 for axes in figure.axes)
    assert draw(SMALL)._suptitle.get_text().count("\n") == 0
    found = scatter.data(replace(SMALL, notes=notes)).caption
    assert f"Our form, not the paper's formula: spa, rrd, {', '.join(names)}" in found
    assert "form" not in scatter.data(SMALL).caption


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_figure_repeats_to_the_byte_and_leaves_settings_alone(ending: str, tmp_path: Path):
    with matplotlib.rc_context({"font.size": 31, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        plot(SMALL, tmp_path / f"a.{ending}")
        assert dict(matplotlib.rcParams) == before
    plot(SMALL, tmp_path / f"b.{ending}")
    first = (tmp_path / f"a.{ending}").read_bytes()
    assert len(first) > 5000 and first == (tmp_path / f"b.{ending}").read_bytes()


def test_a_figure_of_nothing_is_drawn_and_another_ending_refused(tmp_path: Path):
    plot(Audit({"world": "a$b$c"}, (), LIMITS), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0
    with pytest.raises(UserError, match=r"a\.bmp: a figure is saved as"):
        plot(SMALL, tmp_path / "a.bmp")


def test_names_in_the_figure_are_no_mathematics(tmp_path: Path):
    plot(
        replace(SMALL, methods=(replace(SMALL.methods[0], name=r"$\frac{$"),), floor=(r"$\frac{$",)), tmp_path / "a.svg"
    )
