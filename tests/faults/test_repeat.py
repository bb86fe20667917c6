"""The same seed gives the same run: with other runs beside it, and wherever a disk lists files in another order: T11.

What holds for parts of a run, such as the size of a batch, is tested beside them.
"""

from __future__ import annotations

from pathlib import Path

import cases
from backwards import list_backwards
from kills import Life, calm
from outcome import outcome

METHODS = ("gigpo", "spa")


def test_t11_runs_side_by_side_come_out_as_one_after_another_in_any_order_of_files(tmp_path: Path) -> None:
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
    wanted, *_ = calm(cases.case("virtualhome", METHODS, 1, tmp_path / "alone"))
    life = Life(cases.case("virtualhome", METHODS, 2, tmp_path / "beside"), tmp_path / "beside/life")
    ended = life.start(list_backwards).wait()
    assert ended.code == 0, ended.err
    assert outcome(life.results) == wanted
