"""The page in a real browser: headless Chromium opens it from disk and does what a reader does."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from viewer_runs import (
    DONE,
    HOSTILE,
    HOSTILE_METHOD,
    METHODS,
    PROGRESS,
    iteration,
    place,
    played,
    write_all_kinds,
    write_audit,
    write_many,
    write_run,
)

from spa_bench.report.serve import server, write
from spa_bench.runs.episodes import to_row
from spa_bench.runs.journal import Journal

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
WAIT = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install spa-bench[test]")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as control:
        found = control.chromium.launch(executable_path=program, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_all_kinds(folder / "results")
    write_audit(folder / "results", turns=20)
    write([folder / "results"], folder / "out.html", figures=FIGURES)
    return folder / "out.html"


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 100" width="300pt" height="100pt">'
    "<script>window.hacked = 1; parent.hacked = 1</script><style>* { display: none }</style>"
    '<image href="https://example.org/x.png" width="9" height="9"/><rect id="main" width="300" height="100"/></svg>'
)
FIGURES = [
    {"name": "learning-curves", "section": "", "title": HOSTILE, "caption": "", "svg": SVG},
    {"name": "alfworld-valid_unseen-x", "section": "alfworld-valid_unseen", "title": "Success", "caption": "By length.",
     "svg": SVG, "pdf": "JVBERi0="},
]  # fmt: skip
"""What no figure of ours is: one that runs a script, restyles and asks for something."""


class Reader:
    """A browser tab that keeps what it was told: requests, console messages, errors."""

    def __init__(self, browser: Any, size: dict[str, int] = DESKTOP, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport=size, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, file: Path, place: str = "#/") -> Any:
        self.page.goto("about:blank")
        self.page.goto(f"{file.as_uri()}{place}")
        return self.page

    def heading(self, text: str | re.Pattern[str]) -> None:
        self.page.get_by_role("heading", name=text).first.wait_for()

    def hash(self) -> str:
        return str(self.page.evaluate("location.hash"))

    def until(self, condition: str) -> None:
        """`wait_for_function` evaluates inside of the page, which the page's own policy forbids."""
        end = time.monotonic() + WAIT / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            self.page.wait_for_timeout(20)


@pytest.fixture
def reader(browser: Any) -> Iterator[Reader]:
    found = Reader(browser)
    yield found
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("file:///") or "out.html" not in url] == []
    found.context.close()


EPISODE = "#/run/alfworld/spa/0-"


def address(reader: Reader, reward: str, rest: str = "", seed: int = 0) -> str:
    """The address of a run, as the overview links it."""
    links = reader.page.evaluate("[...document.querySelectorAll('#runs a')].map((a) => a.getAttribute('href'))")
    return next(link for link in links if link.startswith(f"#/run/alfworld/{reward}/{seed}-")) + rest


def test_the_report_opens_from_disk_with_tables_runs_and_what_went_wrong(reader: Reader, report: Path):
    page = reader.open(report)
    reader.heading("Overview")
    text = page.inner_text("main")
    for said in (
        "8 runs",
        "the loss is NaN",
        "lacks config or facts",
        "cannot read run.json",
        "1 of ",
        "no significant difference",
        "minimum detectable effect (80 % power)",
    ):
        assert said in text
    assert page.locator(".whisker").count() > 3
    assert 1 in page.evaluate(WHISKERS)  # the CI of a difference
    assert page.evaluate(MISPLACED) == 0
    assert page.title() == "Overview · spa-bench report"


def test_the_answer_stands_first_with_what_it_rests_on(reader: Reader, report: Path):
    page = reader.open(report)
    (card,) = page.locator(".card").all_inner_texts()
    assert "No method differs significantly from sparse (25.0 % success)." in card
    assert "Largest difference: spa 62.5 % (+37.5 pp, simultaneous 95 % CI " in card
    assert "How it is known: 4 held-out tasks, seeds 0, 1; one test over tasks and training seeds" in card
    tops = page.evaluate("[...document.querySelectorAll('.card, .table')].map((n) => n.getBoundingClientRect().top)")
    assert tops == sorted(tops) and len(tops) == 2


def test_figures_audits_and_papers_are_in_the_page_and_fold(reader: Reader, report: Path):
    page = reader.open(report)
    folds = page.locator(".fold")
    names = [text.split("\n")[0] for text in folds.all_inner_texts()]
    assert [name.split(" ")[0] for name in names] == ["alfworld", "Figures", "Audit:", "Tables"]
    assert page.locator(".picture img").count() == 1  # only what is open is there
    for number in range(1, 4):
        folds.nth(number).locator("summary").first.click()
    page.locator(".picture img").nth(1).wait_for()
    said = page.inner_text("main")
    for one in ("credit of 6 methods, alfworld", "SPA, main comparison (arXiv 2505.20732)", "79.1"):
        assert one in said
    assert page.locator(".picture img").first.get_attribute("alt") == "Success. By length."
    reader.until("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    assert page.evaluate("window.hacked === undefined")
    page.click("nav a:nth-child(2)")
    reader.heading("Learning curves")
    page.keyboard.press("o")
    assert page.locator(".fold[open]").count() == 4  # what was open stays open


def test_every_table_and_figure_can_be_saved_as_the_report_writes_it(reader: Reader, report: Path):
    page = reader.open(report)
    for what, name, begins in (
        ("CSV: alfworld, valid_unseen", "alfworld-valid_unseen-results.csv", "method,level,seeds,success %"),
        ("LaTeX: alfworld, valid_unseen", "alfworld-valid_unseen-results.tex", "\\begin{table}"),
        ("SVG: Success", "alfworld-valid_unseen-x.svg", SVG),
        ("PDF: Success", "alfworld-valid_unseen-x.pdf", "%PDF-"),
    ):
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"Save {what}").first.click()
        assert saved.value.suggested_filename == name
        assert Path(saved.value.path()).read_text().startswith(begins)
    reader.requests = [url for url in reader.requests if not url.startswith("blob:")]


WHISKERS = "[...document.querySelectorAll('tbody tr')].map((row) => row.querySelectorAll('.whisker .dot').length)"
MISPLACED = """[...document.querySelectorAll(".whisker")].filter((one) => {
  const [line, dot] = [one.querySelector(".reach"), one.querySelector(".dot")];
  const [low, at, high] = [line.getAttribute("x1"), dot && dot.getAttribute("cx"), line.getAttribute("x2")].map(Number);
  return dot && (at < low || at > high);
}).length"""
"""CIs that do not hold the mean that is drawn with them."""


def test_runs_are_filtered_and_sorted(reader: Reader, report: Path):
    page = reader.open(report)
    assert page.locator("#runs tbody tr").count() == 6
    page.fill("#run-filter", "/spa/ seed 1")
    reader.until("document.querySelectorAll('#runs tbody tr').length === 1")
    page.fill("#run-filter", "no such run")
    page.get_by_text("No run matches").wait_for()
    page.fill("#run-filter", "")
    reader.until("document.querySelectorAll('#runs tbody tr').length === 6")
    page.click("#sort-runs-after")
    assert page.locator("#runs th[aria-sort=descending]").count() == 1
    assert "75.0" in page.locator("#runs tbody tr").first.inner_text()
    page.click("#sort-runs-after")
    assert page.locator("#runs th[aria-sort=ascending]").count() == 1
    assert "25.0" in page.locator("#runs tbody tr").first.inner_text()
    page.click("#sort-0-0-0")
    assert page.locator(".table tbody tr").first.inner_text().startswith("warm start")


def test_curves_are_drawn_for_every_method(reader: Reader, report: Path):
    page = reader.open(report, "#/curves")
    reader.heading("Learning curves")
    assert page.locator(".charts svg[role=img]").count() == 4
    assert page.locator(".charts .chart").first.locator("polyline").count() == 3
    assert page.locator(".charts .chart").first.locator("polygon").count() == 2  # ppo has one seed that got so far
    page.locator(".charts svg").first.hover()
    assert re.search(r"iteration [12]: .*spa \d", page.locator(".reading").first.inner_text())
    page.get_by_role("button", name="sparse").click()
    assert page.locator(".charts .chart").first.locator("polyline").count() == 2
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "false"
    page.locator(".chart summary").first.click()
    assert "20.0 (20.0 to 20.0)" in page.locator(".chart table").first.inner_text()


def test_an_episode_is_found_by_filter_and_read_turn_by_turn(reader: Reader, report: Path):
    page = reader.open(report)
    page.click(f"#runs a[href='{address(reader, 'spa')}']")
    reader.heading(re.compile("spa"))
    assert page.locator(".episodes li").count() == 4
    page.select_option("#success", "false")
    assert page.locator(".episodes li").count() == 1
    page.select_option("#success", "")
    page.select_option("#kind", "cool")
    assert page.locator(".episodes li").count() == 2
    page.select_option("#kind", "")
    page.select_option("#length", "long")
    assert page.locator(".episodes li").count() == 1
    page.select_option("#length", "")
    page.select_option("#group", "train/1")
    page.fill("#episode-filter", "OPEN safe 7")
    reader.until("document.querySelectorAll('.episodes li').length === 1")
    page.click(".episodes a")
    page.locator("#episode-title", has_text="find the <b>safe</b>").wait_for()
    text = page.inner_text("#episode")
    for said in ("invalid action: inadmissible", "invalid action: no command", "no action parsed", "−0.500", "+1"):
        assert said in text
    assert page.locator(".reward-bar").count() == 3
    assert reader.hash().endswith("/episode/train/1/0")


def test_t07_what_a_model_wrote_stays_text(reader: Reader, report: Path):
    page = reader.open(report)
    reader.open(report, address(reader, "spa", "/episode/train/1/0"))
    said = page.locator("#turn-1 .reply bdi").inner_text()
    assert said.startswith("</script><script>window.hacked = 1</script><img src=x")
    for shown in ("{{ 7 * 7 }}", r"\u{202e}reversed", r"\u{1b}[31m", r"\u{0}", r"\u{d800}", r"\u{2028}"):
        assert shown in said
    assert len(HOSTILE) <= len(said)
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("main img, main script, main b").count() == 0


def test_a_branch_is_shown_whole(reader: Reader, report: Path):
    page = reader.open(report)
    reader.open(report, address(reader, "spa", "/episode/train/1/2"))
    assert page.locator("ol.turns > li:not(.end)").count() == 4
    assert page.locator("#turn-1").inner_text().count("shared with #1") == 1
    assert "shared" not in page.locator("#turn-3").inner_text()
    rewards = page.locator(".meters").all_inner_texts()
    assert [re.search(r"reward\s+(\S+)", text)[1] for text in rewards] == ["+0.125", "+0.250", "+0.750", "−0.750"]  # type: ignore[index]
    page.get_by_role("link", name="episode #1").click()
    reader.until("location.hash.endsWith('/episode/train/1/1')")


def test_a_held_out_episode_shows_its_rewards_and_before_training_those_of_every_method(reader: Reader, report: Path):
    page = reader.open(report)
    start = address(reader, "sparse")
    after = address(reader, "spa", "/episode/eval/0/1")
    reader.open(report, f"{start}/episode/warm_start/0/1")
    assert page.locator("#turn-3 .paid dt").all_inner_texts() == ["oracle's progress", "spa", "sparse"]
    assert page.locator("#turn-3 .paid .number").all_inner_texts()[1:] == ["−0.250", "+1"]
    assert page.locator(".heat .heat-row").count() == 3
    assert page.locator("#method-A").count() == 0
    reader.open(report, after)
    assert page.locator("#turn-2 .meters").inner_text().split()[-1] == "+0.500"
    assert page.locator(".paid").count() == 0


def test_two_methods_stand_side_by_side_on_the_same_task(reader: Reader, report: Path):
    page = reader.open(report)
    start = address(reader, "spa", "/episode/eval/0/1")
    reader.open(report, start)
    page.click("#compare-button")
    reader.heading("Side by side")
    name = "(s) => [...s.options].map((o) => o.value)"
    runs = {run.split("-")[0]: run for run in page.eval_on_selector("#with-run", name)}
    page.select_option("#with-run", runs["alfworld/sparse/0"])
    page.get_by_text("B · sparse").first.wait_for()
    text = page.inner_text("main")
    assert "A · spa" in text
    assert "The actions are the same in every turn." in text
    sides = [page.locator("#turn-1 .side").nth(side).bounding_box() for side in (0, 1)]
    assert sides[0]["y"] == sides[1]["y"] and sides[0]["x"] + sides[0]["width"] < sides[1]["x"]
    assert page.locator("#turn-3 .letter").all_inner_texts() == ["A · spa", "B · sparse"]
    page.select_option("#with-run", runs["alfworld/spa/1"])
    page.get_by_text("seed 1").first.wait_for()
    link = reader.hash()
    assert re.fullmatch(r"#/compare/alfworld/spa/0-\w+/eval/0/1/with/alfworld/spa/1-\w+/eval/0/1", link)
    page.keyboard.press("n")
    reader.until("location.hash.includes('/eval/0/2/with/')")
    assert page.inner_text("main").count("put k3 on the desk") >= 2
    before = page.inner_text("main")
    reader.open(report, reader.hash())
    assert page.inner_text("main") == before


def test_two_episodes_of_one_run_stand_side_by_side_and_their_difference_is_marked(reader: Reader, report: Path):
    page = reader.open(report)
    run = address(reader, "spa").removeprefix("#/run/")
    reader.open(report, f"#/compare/{run}/train/1/1/with/{run}/train/1/2")
    assert "The actions differ from turn 3 on." in page.inner_text("main")
    assert page.locator(".pair").nth(2).locator(".differs").count() == 1


# Audits


def audit_address(reader: Reader) -> str:
    return str(reader.page.evaluate("document.querySelector('#audits a').getAttribute('href')"))


def test_an_audit_is_listed_found_by_its_methods_and_opened(reader: Reader, report: Path):
    page = reader.open(report)
    reader.heading("Audits")
    row = page.locator("#audits tbody tr")
    assert row.count() == 1
    for said in ("audits/alfworld/0-", "alfworld", "audit of 6 methods"):
        assert said in row.inner_text()
    assert "1 audit" in page.inner_text(".lead") and "8 runs" in page.inner_text(".lead")
    page.fill("#run-filter", "shuffled audit")
    page.get_by_text("No run matches").wait_for()
    assert row.count() == 1
    page.fill("#run-filter", "unfinished")
    page.get_by_text("No audit matches").wait_for()
    page.fill("#run-filter", "")
    row.locator("a").click()
    reader.heading(re.compile("audit of 6 methods"))
    assert page.locator(".methods li").count() == 6
    assert page.locator(".methods .placebo").count() == 1
    assert page.locator(".episodes li").count() == 5
    page.select_option("#success", "true")
    assert page.locator(".episodes li").count() == 2
    page.click(".episodes a")
    page.locator("#turn-20").wait_for()


def test_every_turn_shows_what_every_method_paid_the_oracle_first(reader: Reader, report: Path):
    page = reader.open(report)
    reader.open(report, audit_address(reader) + "/episode/audit/0/1")
    turn = page.locator("#turn-2 .paid > div")
    names = [text.split("\n")[0] for text in turn.locator("dt").all_inner_texts()]
    order = sorted(METHODS)
    assert names[0] == "oracle's progress"
    assert names[1].startswith("</script><script>") and names[1].endswith("\\u{202e}")
    assert names[2:4] == ["potential", "shuffled placebo"]
    assert len(names) == 7 and order[0] == HOSTILE_METHOD
    numbers = turn.locator(".number").all_inner_texts()
    assert numbers[0] == numbers[2] == "+0.200" and numbers[order.index("sparse") + 1] == "0"
    assert page.locator("#turn-20 .paid > div").nth(order.index("sparse") + 1).inner_text().endswith("+1")
    assert turn.locator(".reward-bar").count() == 7
    assert turn.nth(0).locator("rect.gain").count() == 1
    assert page.locator("#turn-3 .paid > div").nth(0).locator("rect.loss").count() == 1
    assert "reward" not in page.locator("#turn-2 .meters").inner_text()


def test_the_heat_map_has_a_row_for_each_method_and_a_column_for_each_turn(reader: Reader, report: Path):
    page = reader.open(report)
    reader.open(report, audit_address(reader) + "/episode/audit/0/1")
    rows = page.locator(".heat .heat-row")
    assert rows.count() == 7
    assert page.locator(".heat .label").all_inner_texts()[:2] == ["progress, valid action", "oracle's progress"]
    assert [rows.nth(n).locator(".hit").count() for n in range(7)] == [20] * 7
    titles = rows.nth(0).locator("title").all_text_contents()
    assert [title.removeprefix("turn ") for title in titles[:3]] == [
        f"{turn}, oracle's progress: {made}" for turn, made in ((1, "0"), (2, "+0.200"), (3, "−0.100"))
    ]
    changes = [after - before for before, after in zip((0.1, *PROGRESS), PROGRESS, strict=False)]
    assert rows.nth(0).locator(".gain").count() == sum(change > 0 for change in changes)
    assert rows.nth(0).locator(".loss").count() == sum(change < 0 for change in changes)
    above, below = (rows.nth(0).locator(kind).first.get_attribute("y") for kind in (".gain", ".loss"))
    assert (above, below) == ("1", "7")  # the sign is told by the place too, not by colour alone
    strongest = max(float(cell.get_attribute("fill-opacity")) for cell in rows.nth(3).locator(".gain, .loss").all())
    assert strongest == 1
    rows.nth(0).locator(".hit").nth(7).click()
    assert page.evaluate("document.activeElement.id") == "turn-8"


def test_two_methods_stand_side_by_side_on_one_episode_and_the_link_keeps_them(reader: Reader, report: Path):
    page = reader.open(report)
    start = audit_address(reader) + "/episode/audit/0/1"
    reader.open(report, start)
    page.keyboard.press("m")
    assert page.evaluate("document.activeElement.id") == "method-A"
    page.select_option("#method-A", "spa (beta=0.1)")
    reader.until("location.hash.endsWith('/methods/spa%20(beta%3D0.1)/')")
    assert page.evaluate("document.activeElement.id") == "method-A"
    page.select_option("#method-B", "potential")
    reader.until("location.hash.endsWith('/methods/spa%20(beta%3D0.1)/potential')")
    assert re.search(r"Sum of rewards: A \S+, B \+0\.900; outcome 1\.", page.inner_text("#episode"))
    who = page.locator("#turn-2 .duel .who").all_inner_texts()
    assert who == ["A · spa (beta=0.1)", "B · potential"]
    assert page.locator("#turn-2 .duel .number").nth(1).inner_text() == "+0.200"
    assert page.locator("#turn-2 details .paid > div").count() == 6
    assert page.locator(".heat .picked").all_inner_texts() == ["B · potential", "A · spa (beta=0.1)"]
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    reader.until("location.hash.endsWith('/potential/turn/2')")
    before, link = page.inner_text("main"), reader.hash()
    reader.open(report, link)
    assert page.inner_text("main") == before and page.evaluate("document.activeElement.id") == "turn-2"
    page.keyboard.press("n")
    reader.until("location.hash.endsWith('/episode/audit/0/2/methods/spa%20(beta%3D0.1)/potential')")
    page.click(".episodes li:nth-child(4) a")
    reader.until("location.hash.endsWith('/episode/audit/0/3/methods/spa%20(beta%3D0.1)/potential')")
    for wrong in ("/methods/nobody/potential", "/methods/%E0%A4%A/"):
        reader.open(report, start + wrong)
        reader.heading("Not in this page")


def test_t07_a_hostile_method_can_be_picked_and_stays_text(reader: Reader, report: Path):
    page = reader.open(report)
    reader.open(report, audit_address(reader) + "/episode/audit/0/0")
    page.select_option("#method-A", HOSTILE_METHOD)
    page.locator("#turn-1 .duel").wait_for()
    assert "A · </script><script>" in page.locator("#turn-1 .duel").inner_text()
    assert page.locator("#turn-1 .reply bdi").inner_text().startswith("</script><script>")
    link = reader.hash()
    reader.open(report, link)
    assert "A · </script><script>" in page.locator("#turn-1 .duel").inner_text()
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("main img, main script, main b").count() == 0


def test_two_audited_episodes_stand_side_by_side_with_all_methods(reader: Reader, report: Path):
    page = reader.open(report)
    reader.open(report, audit_address(reader) + "/episode/audit/0/1")
    page.keyboard.press("c")
    reader.heading("Side by side")
    names = page.eval_on_selector("#with-run", "(s) => [...s.options].map((o) => o.value)")
    page.select_option("#with-run", next(name for name in names if name.startswith("audits/")))
    reader.until("document.querySelectorAll('#turn-1 .paid').length === 2")
    assert page.locator(".heat").count() == 2
    page.keyboard.press("u")
    reader.until("location.hash.endsWith('/episode/audit/0/1')")


def test_links_go_deep_and_a_wrong_one_says_so(reader: Reader, report: Path):
    page = reader.open(report)
    deep = address(reader, "spa", "/episode/train/1/0/turn/3")
    reader.open(report, deep)
    assert page.evaluate("document.activeElement.id") == "turn-3"
    for wrong in (
        "#/run/nobody/0",
        deep.replace("/0/turn/3", "/99"),
        "#/run/%E0%A4%A",
        "#/compare/a/eval/0/0/with/b/eval/0/0",
    ):
        reader.open(report, wrong)
        reader.heading("Not in this page")


def test_everything_goes_by_keyboard(reader: Reader, report: Path):
    page = reader.open(report)
    press = page.keyboard.press
    reader.open(report, address(reader, "spa"))
    press("n")
    reader.until("location.hash.endsWith('/episode/eval/0/0')")
    press("j")
    press("j")
    reader.until("document.activeElement.id === 'turn-2'")
    assert reader.hash().endswith("/episode/eval/0/0/turn/2")
    press("k")
    reader.until("document.activeElement.id === 'turn-1'")
    press("ArrowDown")
    reader.until("document.activeElement.id === 'turn-2'")
    press("ArrowRight")
    reader.until("location.hash.endsWith('/episode/eval/0/1')")
    press("p")
    reader.until("location.hash.endsWith('/episode/eval/0/0')")
    press("/")
    page.keyboard.type("k3 on")
    assert page.input_value("#episode-filter") == "k3 on"
    reader.until("document.querySelectorAll('.episodes li').length === 1")
    press("Escape")
    press("n")
    reader.until("location.hash.endsWith('/episode/eval/0/2')")
    assert page.input_value("#episode-filter") == "k3 on"
    press("?")
    page.get_by_role("dialog").wait_for()
    press("Escape")
    press("c")
    reader.heading("Side by side")
    press("u")
    reader.until("location.hash.endsWith('/episode/eval/0/2')")
    press("o")
    reader.heading("Overview")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_desktop_and_phone_in_both_schemes(
    browser: Any, report: Path, tmp_path: Path, size: dict[str, int], scheme: str
):
    reader = Reader(browser, size, scheme)
    page = reader.open(report)
    run, audit = address(reader, "spa"), audit_address(reader)
    side = run.removeprefix("#/run/")
    places = {
        "overview": "#/",
        "curves": "#/curves",
        "run": run,
        "episode": f"{run}/episode/train/1/0",
        "compare": f"#/compare/{side}/train/1/1/with/{side}/train/1/2",
        "audit": audit,
        "audited": f"{audit}/episode/audit/0/0",
        "methods": f"{audit}/episode/audit/0/0/methods/spa/potential/turn/3",
        "audited-compare": f"#/compare/{audit[6:]}/audit/0/1/with/{audit[6:]}/audit/0/0",
    }
    for name, where in places.items():
        reader.open(report, where)
        page.screenshot(path=tmp_path / f"{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
        assert page.evaluate(BLANK) <= 1, name
        assert page.evaluate(UNTOLD) == [], name
        assert page.evaluate(CONTRAST) == [], name
        assert page.evaluate(UNNAMED) == [], name
    assert reader.complaints == []
    reader.context.close()


BLANK = (
    "Math.round(document.documentElement.scrollHeight - "
    "Math.max(innerHeight, document.querySelector('main').getBoundingClientRect().bottom + scrollY))"
)
"""Pixels that the page scrolls beyond its content."""
UNTOLD = """() => new Promise((done) => setTimeout(() =>
  done([...document.querySelectorAll(".scroll")].filter((one) => one.checkVisibility() &&
    (one.scrollWidth > one.clientWidth + 1) !== getComputedStyle(one, "::before").content.includes("scroll sideways"))
    .map((one) => one.getAttribute("aria-label"))), 50))"""
"""What scrolls sideways and does not say so, or says so and does not."""

CONTRAST = """() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (getComputedStyle(at).backgroundColor.startsWith("rgb(") && colour.length === 3) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.matches("script, style, option, :disabled, svg *")) continue;
    const [a, b] = [light(numbers(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${node.className} ${node.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""
"""Texts whose contrast is below 4.5 to 1."""

UNNAMED = """() => [...document.querySelectorAll("button, a, input, select, svg")].filter((node) => {
  if (node.matches("svg")) return !node.hasAttribute("aria-hidden") && !node.hasAttribute("aria-label");
  return !(node.textContent.trim() || node.getAttribute("aria-label") || (node.labels && node.labels.length));
}).map((node) => node.outerHTML)"""
"""What a screen reader could not name."""


def test_ten_thousand_episodes_open_fast_and_stay_usable(browser: Any, tmp_path: Path, record_property: Any):
    write_many(tmp_path / "results")
    write([tmp_path / "results"], tmp_path / "out.html")
    reader = Reader(browser)
    began = time.perf_counter()
    page = reader.open(tmp_path / "out.html")
    reader.heading("Overview")
    opened = time.perf_counter() - began
    began = time.perf_counter()
    reader.open(tmp_path / "out.html", address(reader, "spa", "/episode/train/2/300"))
    page.locator("#turn-15").wait_for()
    deep = time.perf_counter() - began
    assert page.locator(".episodes li").count() == 50
    assert page.evaluate(BLANK) <= 1
    began = time.perf_counter()
    page.fill("#episode-filter", "plate 7,")
    reader.until("/^ *[1-9][0-9]? episodes/.test(document.querySelector('#episodes p').textContent)")
    filtered = time.perf_counter() - began
    for name, seconds in (("opened", opened), ("deep link", deep), ("filtered", filtered)):
        record_property(name, round(seconds, 2))
        print(f"{name}: {seconds:.2f} s")
    assert opened < 20
    assert reader.complaints == []
    reader.context.close()


def test_a_live_page_shows_a_new_episode_and_keeps_the_readers_place(browser: Any, tmp_path: Path):
    path = write_run(tmp_path, "spa", metrics=[iteration(1)])
    with server(tmp_path) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        reader = Reader(browser)
        home = f"http://127.0.0.1:{found.server_address[1]}"
        page = reader.page
        page.goto(f"{home}/#/run/alfworld/spa/{path.name}")
        page.get_by_text("live", exact=True).wait_for()
        page.select_option("#group", "train/2")
        page.fill("#episode-filter", "desk")
        reader.until("document.querySelectorAll('.episodes li').length === 4")
        Journal(path / "episodes.jsonl").append(to_row(played("k4", True)) | place("train", 2, 4))
        Journal(path / "metrics.jsonl").append(DONE)
        reader.until("document.querySelectorAll('.episodes li').length === 5")
        assert page.input_value("#episode-filter") == "desk"
        assert page.evaluate("document.activeElement.id") == "episode-filter"
        assert "finished" in page.inner_text("h1")
        page.evaluate("location.hash = '#/'")
        reader.until("document.querySelector('.card') && document.querySelector('.picture img')")
        assert {url.removeprefix(home).split("#")[0] for url in reader.requests} <= {
            "/", "/version", "/data.json", "/figures.json"
        }  # fmt: skip
        assert reader.complaints == []
        found.shutdown()
        reader.context.close()
