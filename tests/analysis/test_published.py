"""Published numbers: every one has a source, is as printed, and nothing is there that nobody has read.

What stands beside it in `results/` is checked too: the bench card against the code, and the citation file.
"""

from __future__ import annotations

import csv
import io
import os
import re
import tomllib
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import HOSTILE

from spa_bench import registry
from spa_bench.analysis.prints import PAPERS
from spa_bench.analysis.published import CONFIDENCE, FOLDER, HEADER, METRICS, Published, Sources, load, parse
from spa_bench.commands.options import method_options
from spa_bench.config import WorldConfig
from spa_bench.core import TextEnv, UserError
from spa_bench.environments.alfworld import generate as alfworld
from spa_bench.environments.virtualhome import generate as virtualhome
from spa_bench.environments.webshop import generate as webshop
from spa_bench.report.table import comparisons
from spa_bench.runs.names import reward_label
from spa_bench.stats import minimum_detectable
from spa_bench.version import __version__

ROOT = Path(__file__).resolve().parents[2]
SPA, GIGPO, ISTAR, THREE, HCAPO = "2505.20732", "2505.10978", "2509.19199", "2606.09961", "2603.08754"
SEEDS_UNKNOWN = ("2606.22995", "2606.25556", HCAPO)
"""G2PO, BiPACE and HCAPO: a number after a ±, and no text that says of how many seeds."""
SMALL, LARGE = "Qwen2.5-1.5B-Instruct", "Qwen2.5-7B-Instruct"
A_ROW = dict(zip(HEADER, [SPA, "SPA", "spa", "alfworld", "valid_unseen", "success", "79.1"], strict=False))
A_ROW |= {"n": "134", "source": "Table 1", "confidence": "secondary"}


def of(paper: str, **wanted: object) -> list[Published]:
    return [r for r in load() if r.paper == paper and all(getattr(r, key) == value for key, value in wanted.items())]


def numbers(rows: Iterable[Published]) -> dict[str, str]:
    found = [(row.method, row.printed) for row in rows]
    assert len({method for method, _ in found}) == len(found)
    return dict(found)


def text_of(*rows: dict[str, str], header: Iterable[str] = HEADER) -> str:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row.get(column, "") for column in HEADER] for row in rows)
    return written.getvalue()


def cells(row: Published) -> dict[str, str]:
    return {name: "" if (cell := getattr(row, name)) is None else str(cell) for name in HEADER}


def refusal(text: str) -> str:
    with pytest.raises(UserError) as error:
        parse(text, "hand.csv")
    message = str(error.value)
    assert "\n" not in message and message.isprintable()
    return message


# What the papers print, by hand


def test_spas_table_on_alfworld_is_whole_games_of_134():
    by_hand = {
        "PPO": ("73.9", 99),
        "PRM4A": ("73.9", 99),
        "StepAgent": ("75.4", 101),
        "RAGEN": ("75.4", 101),
        "SPA": ("79.1", 106),
        "SPA without stepwise progress": ("77.6", 104),
        "SPA without grounding": ("77.6", 104),
    }
    rows = of(SPA, world="alfworld")
    assert numbers(rows) == {method: printed for method, (printed, _) in by_hand.items()}
    for row in rows:
        assert (row.split, row.metric, row.n, row.seeds, row.confidence) == (
            "valid_unseen", "success", 134, None, "secondary",
        )  # fmt: skip
        games = by_hand[row.method][1]
        share = Decimal(100 * games) / 134
        assert share.quantize(Decimal("0.1"), ROUND_HALF_UP) == row.value
        assert row.remark.startswith(f"{games} of 134 games")


def test_the_rest_of_spa():
    assert numbers(of(SPA, world="webshop")) == {"SPA": "64.1", "RAGEN": "63.0"}
    assert {(row.metric, row.confidence) for row in of(SPA, world="webshop")} == {("average reward", "inference")}
    shares = {(Decimal(100 * games) / 200).quantize(Decimal("0.1"), ROUND_HALF_UP) for games in range(201)}
    assert Decimal("64.1") not in shares  # the inference: no success rate of 200 tasks
    assert [(row.printed, row.n) for row in of(SPA, world="virtualhome")] == [("53.4", None)]
    assert [(row.metric, row.printed) for row in of(SPA, world="several")] == [
        ("gain in grounding accuracy", "+1.9"),
        ("gain in success", "+2.5"),
    ]


def test_gigpos_table():
    by_hand = {
        (SMALL, "PPO"): ("54.4 ± 3.1", "51.5 ± 2.9"),
        (SMALL, "RLOO"): ("69.7 ± 2.5", "52.1 ± 6.7"),
        (SMALL, "GRPO"): ("72.8 ± 3.6", "56.8 ± 3.8"),
        (SMALL, "GiGPO with std"): ("86.7 ± 1.7", "65.0 ± 3.2"),
        (SMALL, "GiGPO without std"): ("86.1 ± 4.7", "67.4 ± 4.5"),
        (LARGE, "PPO"): ("80.4 ± 2.7", "68.7 ± 5.1"),
        (LARGE, "RLOO"): ("75.5 ± 4.6", "65.7 ± 4.0"),
        (LARGE, "GRPO"): ("77.6 ± 5.2", "66.1 ± 3.7"),
        (LARGE, "GiGPO with std"): ("90.8 ± 1.3", "72.8 ± 3.2"),
        (LARGE, "GiGPO without std"): ("90.2 ± 2.3", "75.2 ± 3.8"),
    }
    for place, world in enumerate(("alfworld", "webshop")):
        rows = of(GIGPO, world=world, metric="success", seeds=3)
        assert {(row.model, row.method): row.printed for row in rows} == {k: v[place] for k, v in by_hand.items()}
    scores = {
        SMALL: ("73.8 ± 3.0", "73.9 ± 5.6", "75.8 ± 3.5", "83.1 ± 1.6", "83.5 ± 1.8"),
        LARGE: ("81.4 ± 3.1", "80.3 ± 3.2", "79.3 ± 2.8", "84.4 ± 2.9", "86.2 ± 2.6"),
    }
    methods = ("PPO", "RLOO", "GRPO", "GiGPO with std", "GiGPO without std")
    for model, printed in scores.items():
        rows = of(GIGPO, world="webshop", metric="average reward", seeds=3, model=model)
        assert numbers(rows) == dict(zip(methods, printed, strict=True))


def test_istars_tables_success_and_score():
    main = {
        "PPO": ("78.2 ± 4.5", "86.6 ± 1.1"),
        "GRPO": ("80.1 ± 1.7", "89.3 ± 2.8"),
        "RLOO": ("77.4 ± 1.1", "87.6 ± 4.7"),
        "REINFORCE++": ("77.0 ± 3.9", "85.8 ± 0.1"),
        "PRIME": ("81.5 ± 1.8", "91.3 ± 0.6"),
        "GiGPO": ("84.1 ± 3.9", "91.2 ± 1.5"),
        "iStar": ("86.5 ± 2.8", "93.6 ± 1.0"),
    }
    ablation = {
        "RLOO": ("76.6", "84.2"),
        "iStar, rewards added to the outcome": ("81.3", "90.7"),
        "iStar, token-level rewards": ("82.0", "90.0"),
        "iStar": ("89.1", "94.7"),
    }
    for place, metric in enumerate(("success", "average reward")):
        for seeds, table in ((3, main), (1, ablation)):
            found = numbers(of(ISTAR, metric=metric, seeds=seeds))
            assert found == {method: pair[place] for method, pair in table.items()}
    assert len(of(ISTAR, seeds=None)) == 2  # the untrained model


def test_3spos_table_and_hcapo():
    by_hand = {"HGPO": ["95.44", "92.05", "88.96", "78.51"], "3SPO": ["96.81", "95.93", "90.28", "80.45"]}
    for method, printed in by_hand.items():
        rows = of(THREE, method=method, model=LARGE)
        columns = {(row.world, row.split, row.metric): row.printed for row in rows}
        assert list(columns.values()) == [columns[key] for key in sorted(columns)]
        assert [
            columns["alfworld", "valid_seen", "success"],
            columns["alfworld", "valid_unseen", "success"],
            columns["webshop", "", "average reward"],
            columns["webshop", "", "success"],
        ] == printed
    gains = {(row.method.removeprefix("3SPO").strip(), row.world): row.printed for row in of(THREE, metric="gain")}
    assert gains == {
        ("", "alfworld"): "+22.6",
        ("", "webshop"): "+15.6",
        ("without the difference of state scores", "alfworld"): "-8.1",
        ("without the difference of state scores", "webshop"): "-9.0",
        ("without adaptive rollout", "alfworld"): "+0.5",
        ("without adaptive rollout", "webshop"): "+0.2",
    }
    assert numbers(of(HCAPO, world="alfworld", metric="success")) == {"HCAPO": "91.4", "HCAPO with smoothing": "96.9"}
    assert numbers(of(HCAPO, world="webshop", metric="success")) == {"HCAPO": "73.8 ± 2.8"}


def test_gains_of_abstracts_are_the_differences_of_what_is_printed():
    """Numbers from texts that quote a paper agree with the paper's own abstract."""
    stated = {row.world: row.value for row in of(HCAPO, metric="gain in success")}
    assert stated == {"alfworld": Decimal("13.8"), "webshop": Decimal("7.7")}
    for world, gain in stated.items():
        (grpo,) = of(GIGPO, world=world, metric="success", model=LARGE, method="GRPO")
        (hcapo,) = of(HCAPO, world=world, metric="success", method="HCAPO")
        assert hcapo.value - grpo.value == gain
    g2po = of("2606.22995", world="alfworld", model=SMALL)
    assert [row.value - Decimal("72.8") for row in g2po] == [Decimal("22.2")]  # "up to 22.2 % over GRPO"


def test_hiper_is_what_its_authors_readme_says():
    rows = {(row.world, row.model): row.printed for row in of("2602.16165")}
    assert rows == {
        ("alfworld", SMALL): "95.3",
        ("alfworld", LARGE): "97.4",
        ("webshop", SMALL): "71.4",
        ("webshop", LARGE): "83.3",
    }


def test_what_was_not_found_has_no_row():
    assert {row.paper for row in load()} == set(PAPERS)  # StepAgent's own: not found
    assert "2411.03817" not in PAPERS
    assert not {row.method for row in of(SPA)} & {"SFT", "RFT", "ArCHer", "GRPO"}
    assert not of(SPA, split="valid_seen")
    assert not [row for row in load() if row.metric == "grounding accuracy"]


def test_every_row_says_where_it_was_read_and_how_sure_we_are():
    for row in load():
        assert row.source and row.confidence in CONFIDENCE and row.metric in METRICS
        assert row.spread is None or row.seeds or row.paper in SEEDS_UNKNOWN, "a spread without the number of seeds"
        assert row.confidence != "inference" or "inference" in row.source
        assert not row.metric.startswith("gain") or "over " in row.remark


def test_ours_is_what_our_tables_call_a_row():
    for label in {row.ours for row in load() if row.ours}:
        name, _, said = label.partition(" ")
        typed = ":".join([name, *said.strip("()").replace("True", "true").replace("False", "false").split(", ")])
        reward, options = method_options(typed.removesuffix(":"))
        registry.build("rewards", reward, **options)
        assert reward_label(reward, options) == label


# Reading


def test_the_order_does_not_depend_on_files(tmp_path):
    lines = [line for file in FOLDER.glob("*.csv") for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    header = ",".join(HEADER)
    (tmp_path / "b.csv").write_text("\n".join([header, *lines[::-2]]) + "\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("\r\n".join([header, *lines[-2::-2]]) + "\r\n", encoding="utf-8", newline="")
    assert load(tmp_path) == load() and len(load()) == len(lines)


def test_what_is_not_known_stays_empty():
    (row,) = parse(text_of({**A_ROW, "n": "", "split": "", "ours": ""}), "hand.csv")
    assert (row.n, row.seeds, row.spread, row.split, row.ours, row.remark) == (None, None, None, "", "", "")


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("paper", "SPA", "arXiv id"),
        ("method", "", "a name"),
        ("method", " SPA", "white space"),
        ("method", "\x1b[2J", "invisible text"),
        ("method", "\u202eSPA", "invisible text"),
        ("method", "S\u2028PA", "invisible text"),
        ("world", "ALFWorld", "a world"),
        ("metric", "Success", "one of success, "),
        ("metric", "success|gain", "one of success, "),
        ("value", "", "a number as printed"),
        ("value", "nan", "a number as printed"),
        ("value", "79,1", "a number as printed"),
        ("value", "~79", "a number as printed"),
        ("value", "7e1", "a number as printed"),
        ("value", "٧٩", "a number as printed"),
        ("value", "79.1" * 99, "more characters"),
        ("value", "100.1", "not a percentage"),
        ("value", "-0.5", "not a percentage"),
        ("spread", "-1", "after the paper's ±"),
        ("n", "0", "a number of tasks"),
        ("n", "134.0", "a number of tasks"),
        ("seeds", "three", "a number of seeds"),
        ("source", "", "where the number was read"),
        ("confidence", "sure", "one of primary, secondary, inference"),
        ("confidence", "", "one of primary, secondary, inference"),
        ("metric", "gain", "what it is a gain over"),
    ],
)
def test_a_hostile_cell_is_refused_with_file_and_line(column, cell, said):
    message = refusal(text_of(A_ROW, A_ROW | {"method": "other"}, A_ROW | {column: cell}))
    assert message.startswith("reported numbers: hand.csv:4: ") and said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "hand.csv:1 must be the header"),
        ("\n", "hand.csv:1 must be the header"),
        ("\ufeff" + text_of(A_ROW), "hand.csv:1 must be the header"),
        (text_of(A_ROW, header=HEADER[::-1]), "hand.csv:1 must be the header"),
        (text_of(A_ROW).replace(",", ";"), "hand.csv:1 must be the header"),
        (text_of(A_ROW) + "\n", "hand.csv:3 has 0 cells instead of 15"),
        (text_of(A_ROW) + "a,b\n", "hand.csv:3 has 2 cells instead of 15"),
        (text_of(A_ROW).rstrip("\n") + ",more\n", "hand.csv:2 has 16 cells instead of 15"),
        (text_of(A_ROW) + '"open\nquote"\n', "hand.csv:3 is no CSV"),
        (text_of(A_ROW) + '"a"b,c\n', "hand.csv:3 is no CSV"),
        (text_of(A_ROW) + "x" * 200_000 + "\n", "hand.csv:3 is no CSV"),
    ],
)
def test_a_hostile_file_is_refused_with_file_and_line(text, said):
    assert said in refusal(text)


def test_a_fact_can_be_said_once_across_all_files(tmp_path):
    (tmp_path / "a.csv").write_text(text_of(A_ROW), encoding="utf-8")
    (tmp_path / "b.csv").write_text(text_of(A_ROW | {"seeds": "3"}, A_ROW | {"value": "80.0"}), encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.csv:3 repeats a\.csv:2: keep one of them"):
        load(tmp_path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="no CSV file in"):
        load(tmp_path / "nowhere")
    (tmp_path / "latin.csv").write_bytes(text_of(A_ROW).encode() + b"caf\xe9\n")
    with pytest.raises(UserError, match=r"latin\.csv:3 is not UTF-8"):
        load(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=r"cannot read folder\.csv"):
        load(tmp_path)


LINES = load()
KNOWN = text_of(*map(cells, LINES))


@given(HOSTILE | st.text(alphabet=',"\r\n019.', max_size=60), st.booleans())
def test_any_text_gives_rows_or_a_user_error(text, after_the_header):
    try:
        rows = parse(",".join(HEADER) + "\n" + text if after_the_header else text, "any\n.csv")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert rows == () and text == ""


@given(st.data())
def test_a_damaged_file_gives_the_same_facts_or_a_user_error(data):
    start = data.draw(st.integers(0, len(KNOWN)))
    end = data.draw(st.integers(start, min(len(KNOWN), start + 40)))
    try:
        rows = parse(KNOWN[:start] + data.draw(HOSTILE) + KNOWN[end:], "damaged.csv")
    except UserError as error:
        assert "\n" not in str(error) and "damaged.csv:" in str(error)
    else:
        assert all(row.source and row.confidence in CONFIDENCE and row.value.is_finite() for row in rows)


@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_what_is_written_is_read_again(rows):
    assert parse(text_of(*map(cells, rows)), "again.csv") == tuple(rows)


# Beside our tables


def test_a_cell_shows_what_papers_print_of_our_row_and_says_where_it_was_read():
    sources = Sources()
    assert sources.cell("alfworld", "valid_unseen", "spa-published (beta=0)") == "77.6 [1]"
    score = "average reward 64.1 [2]; average reward 64.1 [3]"  # of an unknown split; SPA's paper, and HISR's of it
    assert sources.cell("webshop", "valid_unseen", "spa-published") == score
    assert sources.cell("alfworld", "valid_seen", "spa-published (beta=0)") == ""  # never a number of another split
    assert sources.cell("alfworld", "valid_unseen", "no method") == sources.cell("nowhere", None, "spa-published") == ""
    assert sources.cell("alfworld", "valid_unseen", "spa-published", "grounding accuracy") == ""
    first, second, _ = sources.notes()
    assert first.startswith("[1] reported (different protocol): arXiv 2505.20732") and "104 of 134 games" in first
    assert "split valid_unseen, n 134, seeds unknown, model Llama-3.2-3B-Instruct" in first
    assert "(secondary)" in first and "(inference)" in second and "split unknown" in second


def test_each_source_is_numbered_once_and_every_number_has_a_note():
    sources = Sources()
    labels = sorted({row.ours for row in load() if row.ours})
    cells = [sources.cell(world, None, label) for world in ("alfworld", "webshop") for label in labels]
    used = {int(number) for cell in cells for number in re.findall(r"\[(\d+)\]", cell)}
    assert used == set(range(1, len(sources.notes()) + 1))
    assert len(set(sources.notes())) == len(sources.notes())


def test_many_numbers_are_shown_by_how_far_they_reach():
    """Of gigpo on WebShop: 65.0 with 1.5B in its own paper, 84.1 in iStar's; 67.76 of average reward in ARLArena's."""
    sources = Sources()
    rows = [row for row in load() if row.ours == "gigpo" and row.world == "webshop"]
    success, score = (sum(row.metric == one for row in rows) for one in ("success", "average reward"))
    said = sources.cell("webshop", "valid_unseen", "gigpo")
    assert said == f"56.55 to 84.1 ({success} numbers) [1]; average reward 67.76 to 91.2 ({score} numbers) [1]"
    assert "spa-bench report --paper baselines" in sources.notes()[0]
    assert "[" in sources.cell("webshop", None, "gigpo", "success") and "to" not in sources.cell(
        "webshop", None, "gigpo", "success"
    )


def test_a_source_can_be_kept_to_one_paper():
    every, one = (Sources(paper).cell("alfworld", "valid_unseen", "ppo") for paper in (None, SPA))
    assert one == "73.9 [1]"
    assert "73.9" in every and "54.4" in every


# The files around it


def test_results_published_is_the_folder_that_is_installed():
    assert os.readlink(ROOT / "results" / "published") == "../spa_bench/analysis/as-published"
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package_data = setuptools["package-data"]
    patterns = [*package_data["*"], *package_data.get("spa_bench.analysis", [])]
    analysis = ROOT / "spa_bench" / "analysis"
    installed = {file for pattern in patterns for file in analysis.glob(pattern)}
    assert installed >= set((analysis / "as-published").iterdir())
    assert {file.name for file in FOLDER.glob("*.csv")} == {
        file.name for file in (ROOT / "results" / "published").glob("*.csv")
    }


def test_the_readme_of_the_numbers_explains_every_column():
    page = (ROOT / "results" / "published" / "README.md").read_text(encoding="utf-8")
    table = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert re.findall(r"`(\w+)`", " ".join(table)) == list(HEADER)
    assert all(f"`{word}`" in page for word in CONFIDENCE)


def card() -> str:
    return (ROOT / "results" / "README.md").read_text(encoding="utf-8")


def test_the_card_agrees_with_the_worlds():
    rows = {line.split(" | ")[0].strip("| "): line for line in card().splitlines() if line.startswith("| ")}
    for place, world in enumerate(("alfworld", "webshop", "virtualhome"), 1):
        found: type[TextEnv] = registry.find("environments", world)

        def said(row: str, place: int = place) -> list[int]:
            return [int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", rows[row].split("|")[place + 1])]

        assert said("buckets by the expert's steps: short, medium, long") == list(found.buckets)
        limits = [registry.build("environments", world, tasks=t).max_steps for t in ("builtin", "official")]
        assert said("step limit, built-in and official") == list(dict.fromkeys(limits))
        sizes = said("built-in tasks: train, seen, unseen")
        assert sum(said("built-in evaluation set: tasks in each bucket")) == sizes[2] == 100
    frozen = {"alfworld": alfworld.PANEL, "virtualhome": virtualhome.PANEL, "webshop": webshop.FROZEN[1000]}
    assert all(rows[f"`{world}`"].count(sha256) == 1 for world, sha256 in frozen.items())


def test_what_the_panels_hashes_on_the_card_were_made_of_has_not_changed():
    """Else print them again (`spa-bench eval --agent expert --env ...`) and write them into results/README.md."""
    settings = {"tasks": "builtin", "data": None, "max_steps": None, "train_tasks": None, "options": {}}
    assert WorldConfig().model_dump() == settings


def test_the_cards_examples_of_power():
    """Five methods, 100 tasks, a training SD of 2.6 points."""
    labels = ["warm start", "a", "b", "c", "d", "sparse"]
    rows = [(labels.index(method), labels.index(reference)) for method, reference in comparisons(labels)]
    assert len(rows) == 9
    points = [100 * (minimum_detectable(100, seeds, rows, deviation=0.026) or 0) for seeds in (3, 5, 10)]
    said = "{:.1f} pp with 3 seeds, {:.1f} with 5, {:.1f} with 10"
    assert said.format(*points) in " ".join(card().split())
    points = [100 * (minimum_detectable(tasks, 1, rows) or 0) for tasks in (100, 134)]
    assert "{:.1f} pp on 100 tasks, {:.1f} on ALFWorld's 134".format(*points) in " ".join(card().split())


def test_the_card_links_to_what_exists():
    for page in (ROOT / "results" / "README.md", ROOT / "results" / "published" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), target


def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software" and cited["license"] == "MIT"
    assert cited["version"] == __version__
    assert cited["authors"] == [{"name": "The spa-bench authors"}]
    assert not {"doi", "identifiers", "date-released"} & cited.keys()  # none was given out
