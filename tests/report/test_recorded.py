"""From recorded runs every table comes out the same to the byte, and every figure from the same numbers.

`python tests/report/test_recorded.py` writes what is expected anew; look at what changed before you keep it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from spa_bench.report.contents import gather
from spa_bench.report.folder import PAGE, write

HERE = Path(__file__).resolve().parents[1] / "recorded"
RESULTS, EXPECTED = HERE / "results", HERE / "expected"
CUTS = (5, 8, 11)
TOLERANCE = 12.0
"""Root of the mean square over pixels, of 255: fonts are drawn a little differently by other versions of libraries."""


def regenerate(results: Path, folder: Path) -> Path:
    return write(gather([results], cuts=CUTS), [results], folder, cuts=CUTS).folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Made of a copy elsewhere: nothing may depend on where the runs lie.
    copy = shutil.copytree(RESULTS, tmp_path_factory.mktemp("elsewhere") / "copy")
    return regenerate(copy, tmp_path_factory.mktemp("made"))


def names(folder: Path, *endings: str) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.suffix in endings)


def test_t21_every_table_and_the_numbers_of_every_figure_are_the_same_to_the_byte(made: Path):
    endings = (".md", ".csv", ".tex", ".json")
    assert names(made, *endings) == names(EXPECTED, *endings)
    different = [
        name for name in names(EXPECTED, *endings) if (made / name).read_bytes() != (EXPECTED / name).read_bytes()
    ]
    assert different == []


def test_every_figure_looks_the_same(made: Path):
    pictures = names(EXPECTED, ".png")
    assert names(made, ".png") == pictures and len(pictures) >= 8
    for name in pictures:
        own, recorded = (matplotlib.image.imread(folder / name)[..., :3] * 255 for folder in (made, EXPECTED))
        assert np.abs(np.subtract(own.shape, recorded.shape)).max() <= 6, name
        high, wide = np.minimum(own.shape, recorded.shape)[:2]
        distance = float(np.sqrt(np.mean((own[:high, :wide] - recorded[:high, :wide]) ** 2)))
        assert distance < TOLERANCE, f"{name}: {distance:.1f}"


def test_a_figure_of_something_else_does_not_look_the_same(made: Path):
    """The tolerance is not so wide that anything passes."""
    one, other = (
        matplotlib.image.imread(made / f"figures/{name}-valid_unseen-lengths.png")[..., :3] * 255
        for name in ("alfworld", "webshop")
    )
    high, wide = np.minimum(one.shape, other.shape)[:2]
    assert float(np.sqrt(np.mean((one[:high, :wide] - other[:high, :wide]) ** 2))) > TOLERANCE


def test_each_kind_of_table_and_figure_is_among_them():
    tables = {name.removeprefix("tables/").removesuffix(".csv") for name in names(EXPECTED, ".csv")}
    kinds = (
        "results",
        "differences-sparse",
        "ablation-spa",
        "variability",
        "by-length",
        "by-type",
        "step-intervals",
        "costs",
    )
    assert {f"alfworld-valid_unseen-{kind}" for kind in kinds} | {"worlds-overview", "paper-spa-main"} <= tables
    assert "audit-alfworld-credit" in tables
    figures = " ".join(names(EXPECTED, ".png"))
    for kind in ("step-intervals", "learning-curves", "lengths", "profiles", "credit", "scatter"):
        assert f"{kind}.png" in figures


def test_the_page_is_made_of_the_same_runs(made: Path):
    text = (made / PAGE).read_text(encoding="utf-8")
    assert "alfworld/spa/0-" in text and "audits/alfworld/" in text
    assert len(text) < 5_000_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = regenerate(RESULTS, Path(folder))
        shutil.rmtree(EXPECTED, ignore_errors=True)
        for name in names(made, ".md", ".csv", ".tex", ".json", ".png"):
            (EXPECTED / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / name, EXPECTED / name)
    print(f"{len(names(EXPECTED, '.md', '.csv', '.tex', '.json', '.png'))} files", file=sys.stderr)


if __name__ == "__main__":
    main()
