"""The page without a browser: what it holds, what may not escape from it, and that it is the same every time."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from edited import run_json
from typer.testing import CliRunner
from viewer_runs import (
    DONE,
    HOSTILE,
    HOSTILE_METHOD,
    iteration,
    place,
    played,
    step,
    write_all_kinds,
    write_audit,
    write_many,
    write_run,
)

from spa_bench.audit import saved
from spa_bench.commands.cli import app
from spa_bench.core import UserError
from spa_bench.report.html import page, policy
from spa_bench.report.page import gather
from spa_bench.report.page_episodes import LONGEST_TEXT, Episode, Shelf, episode
from spa_bench.report.serve import Live, Server, server, show, write
from spa_bench.runs.episodes import to_row
from spa_bench.runs.journal import Journal


class Blocks(HTMLParser):
    """The page as a browser's parser sees it: elements, and what is in each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "style":
            self.styles.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        if self.inside == "style":
            self.styles[-1] += data

    def data(self) -> dict[str, Any]:
        return {str(a["id"]): json.loads(text) for a, text in self.scripts if a.get("type") == "application/json"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("all kinds")
    write_all_kinds(found)
    return found


def run_named(found: dict[str, Any], start: str) -> dict[str, Any]:
    return next(run for run in found["report"]["runs"] if run["name"].startswith(start))


def episodes_of(found: dict[str, Any], start: str, stage: str, number: int) -> list[dict[str, Any]]:
    """Episodes of one run with their fields by name."""
    place = found["report"]["runs"].index(run_named(found, start))
    groups = {(group[0], group[1]): group[2] for group in found["episodes"][place]}
    return [dict(zip(found["report"]["fields"], raw, strict=True)) for raw in groups[stage, number]]


def texts_of(found: dict[str, Any], raw: dict[str, Any]) -> list[tuple[str, list[str], float]]:
    """Observation, move and progress of each step, numbers resolved."""
    texts, moves = found["book"]["texts"], found["book"]["moves"]
    flat = raw["steps"]
    return [(texts[flat[at]], [texts[n] for n in moves[flat[at + 1]]], flat[at + 2]) for at in range(0, len(flat), 3)]


# What it holds


def test_every_kind_of_run_is_said_and_the_rest_is_shown(results: Path):
    found = gather([results])
    states = [run["state"] for run in found["report"]["runs"]]
    assert sorted(states) == ["failed", *["finished"] * 4, "unfinished", "unreadable", "unreadable"]
    assert run_named(found, "alfworld/ppo/0")["reason"].startswith("1 of ")
    assert run_named(found, "alfworld/ppo/1")["reason"] == "the loss is NaN"
    assert "lacks config or facts" in next(run["reason"] for run in found["report"]["runs"] if "job" in run["name"])
    assert "cannot read run.json" in run_named(found, "alfworld/damaged")["reason"]
    (table,) = found["report"]["tables"]
    assert {"warm start", "spa", "sparse"} == {row[0] for row in table["grids"][0]["rows"]}


def test_t23_the_page_shows_no_path_of_this_machine(results: Path, tmp_path: Path):
    write_run(tmp_path, world={"data": str(tmp_path / "games"), "tasks": "official"})
    assert str(tmp_path) not in page(gather([tmp_path]))
    assert str(results) not in page(gather([results]))


def test_an_episode_comes_back_as_it_was_played(results: Path):
    found = gather([results])
    raw = episodes_of(found, "alfworld/spa/0", "train", 1)[0]
    texts = found["book"]["texts"]
    assert texts[raw["goal"]] == "find the <b>safe</b>"
    assert texts[raw["final"]] == "It is over."
    assert found["book"]["tasks"][raw["task"]] == ("alfworld", "k1", "valid_unseen", "heat", 3)
    assert (raw["success"], raw["over"], raw["outcome"], raw["start"]) == (0, 1, 0, 0.1)
    assert raw["rewards"] == [-0.5, 0.0, 1.0]
    assert texts_of(found, raw) == [
        ("You see desk 1.", [HOSTILE, HOSTILE, "inadmissible", ""], 0.1),
        ("You see desk 2.", ["no command", "", "format", ""], 0.2),
        ("You see desk 3.", ["Action: open safe 7", "open safe 7", "", ""], 0.3),
    ]


def test_a_branch_keeps_its_own_steps_and_names_its_parent(results: Path):
    found = gather([results])
    raw = episodes_of(found, "alfworld/spa/0", "train", 1)[2]
    assert (raw["branch"], raw["parent"], len(raw["steps"]) // 3, raw["rewards"]) == (2, 1, 2, [0.75, -0.75])


def test_prices_that_fit_no_episode_and_torn_ones_are_left_out(tmp_path: Path):
    prices = [place("train", 2, 0) | {"rewards": [1.0]}, place("train", 2, 1) | {"rewards": "many"}, {"rewards": []}]
    path = write_run(tmp_path, prices=prices)
    with (path / "prices.jsonl").open("a") as file:
        file.write('{"stage": "train", "iter')
    found = gather([tmp_path])
    assert [raw["rewards"] for raw in episodes_of(found, "alfworld/sparse", "train", 2)] == [[], [], [], []]


def test_t03_damage_in_a_run_is_counted_and_its_other_episodes_are_shown(tmp_path: Path):
    path = write_run(tmp_path)
    wrong = to_row(played("k1", True)) | place("train", 2, 9) | {"steps": [{"observation": 3}]}
    again = to_row(played("k1", False)) | place("eval", 0, 0)
    Journal(path / "episodes.jsonl").extend([wrong, again, {"no": "episode"}])
    with (path / "episodes.jsonl").open("ab") as file:
        file.write(b'\xff{"stage": "eval", "iter')
    found = gather([tmp_path])
    run = run_named(found, "alfworld/sparse")
    assert (run["episodes"], run["unreadable"], run["repeated"], run["state"]) == (12, 3, 1, "finished")
    assert episodes_of(found, "alfworld/sparse", "eval", 0)[0]["success"] == 1  # the first counts


def test_a_run_that_no_table_can_hold_is_named_and_the_others_have_one(tmp_path: Path):
    write_run(tmp_path, "spa")
    path = write_run(tmp_path, "sparse")
    rows, _ = Journal(path / "episodes.jsonl").read()
    bad = [row | {"outcome": "much"} if row["stage"] == "eval" else row for row in rows]
    (path / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bad))
    content = run_json(path)
    del content["config"]["world"]["tasks"]
    (path / "run.json").write_text(json.dumps(content))
    found = gather([tmp_path])
    (table,) = found["report"]["tables"]
    assert [row[0] for row in table["grids"][0]["rows"]] == ["warm start", "spa"]
    assert run_named(found, "alfworld/sparse")["shown"] == 8


def test_curves_hold_what_is_on_record_and_nothing_else(tmp_path: Path):
    rows = [iteration(1), iteration(2, kl=None), iteration(2, success=0.75, kl=None), DONE]
    write_run(tmp_path, metrics=rows)
    curves = run_named(gather([tmp_path]), "alfworld/sparse")["curves"]
    assert curves["success"] == [[1, 0.1], [2, 0.75]]
    assert curves["kl"] == [[1, 0.01]]


def test_copies_of_a_run_have_addresses_of_their_own(tmp_path: Path):
    write_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, second = (run["name"] for run in gather([tmp_path])["report"]["runs"])
    assert second == f"{first}~2"


# Audits


def test_an_audit_stands_beside_the_runs_with_what_every_method_paid(tmp_path: Path):
    write_run(tmp_path)
    path = write_audit(tmp_path, ("spa", "shuffled", "potential"))
    found = gather([tmp_path])
    audit = run_named(found, "audits/alfworld")
    assert (audit["kind"], audit["state"], audit["env"], audit["label"]) == (
        "audit", "audit", "alfworld", "audit of 3 methods"
    )  # fmt: skip
    assert audit["methods"] == [
        {"name": name, "placebo": name == "shuffled"} for name in ("potential", "shuffled", "spa")
    ]
    assert (audit["episodes"], audit["shown"], audit["buckets"]) == (5, 5, [4, 8])
    prices = saved.prices(path)
    for index, raw in enumerate(episodes_of(found, "audits/", "audit", 0)):
        assert (raw["index"], raw["rewards"]) == (index, [])
        for name, paid in zip(("potential", "shuffled", "spa"), raw["paid"], strict=True):
            assert paid == pytest.approx(prices[name][index], rel=1e-4)
    assert all(raw["paid"] == [] for raw in episodes_of(found, "alfworld/sparse", "eval", 0))
    assert len(found["report"]["tables"]) == 1


def test_audits_alone_make_a_page(tmp_path: Path):
    path = write_audit(tmp_path)
    said = write([path], tmp_path / "out.html")
    assert (said["runs"], said["audits"], said["tables"], said["episodes"], said["notes"]) == (0, 1, 0, 5, [])
    out = io.StringIO()
    show(said, out)
    assert "0 runs, 0 tables, 0 figures, 1 audits, 5 episodes" in out.getvalue()


@pytest.mark.parametrize("name", ["audit.json", "episodes.jsonl", "prices.jsonl"])
def test_a_damaged_audit_is_named_and_the_rest_is_shown(tmp_path: Path, name: str):
    write_run(tmp_path)
    write_audit(tmp_path)
    damaged = write_audit(tmp_path, seed=1)
    (damaged / name).write_text((damaged / name).read_text()[:-20])
    found = gather([tmp_path])
    audit = run_named(found, "audits/alfworld/1-")
    assert (audit["kind"], audit["state"]) == ("audit", "unreadable")
    assert name in audit["reason"] and str(tmp_path) not in audit["reason"]
    assert run_named(found, "audits/alfworld/0-")["shown"] == 5
    assert str(tmp_path) not in page(found)


def test_prices_of_other_methods_than_the_audited_are_damage(tmp_path: Path):
    path = write_audit(tmp_path, ("spa", "sparse"))
    rows, _ = Journal(path / "prices.jsonl").read()
    (path / "prices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows if row["method"] == "spa"))
    assert "not the rewards of the audited methods" in run_named(gather([tmp_path]), "audits/")["reason"]


def test_an_audit_of_an_earlier_version_is_listed_without_episodes(tmp_path: Path):
    path = write_audit(tmp_path)
    (path / "episodes.jsonl").unlink()
    (path / "prices.jsonl").unlink()
    audit = run_named(gather([tmp_path]), "audits/")
    assert (audit["state"], audit["shown"]) == ("audit", 0)
    assert audit["reason"] == "written by an earlier version, without episodes"


def test_the_prices_of_an_audit_count_in_the_size_of_a_page(tmp_path: Path):
    write_run(tmp_path)
    path = write_audit(tmp_path, [f"method {n}" for n in range(40)], turns=20)
    (one,) = [run for run in gather([tmp_path])["report"]["runs"] if run["kind"] == "audit"]
    assert one["shown"] == 5
    limit = (path / "prices.jsonl").stat().st_size // 2
    found = gather([tmp_path], limit=limit)
    assert 0 < run_named(found, "audits/")["shown"] < 5
    assert found["report"]["left_out"].startswith("This page shows ")
    assert len(json.dumps(found["episodes"], separators=(",", ":"))) < limit


def test_t07_names_of_methods_are_data(tmp_path: Path):
    write_audit(tmp_path)
    blocks = Blocks(page(gather([tmp_path])))
    assert {"img", "b"}.isdisjoint(tag for tag, _ in blocks.tags)
    assert HOSTILE_METHOD in [method["name"] for method in blocks.data()["report"]["runs"][0]["methods"]]


# Safety


def test_t07_text_of_a_model_is_data_and_never_markup(results: Path):
    text = page(gather([results]))
    blocks = Blocks(text)
    assert [attrs.get("type") for attrs, _ in blocks.scripts][-1] is None
    assert all(attrs.get("type") == "application/json" for attrs, _ in blocks.scripts[:-1])
    assert HOSTILE in blocks.data()["book"]["texts"]
    assert {"img", "b"}.isdisjoint(tag for tag, _ in blocks.tags)
    for attrs, content in blocks.scripts[:-1]:
        assert not re.search(r"[<>&\u2028\u2029]", content), attrs


def test_t07_hostile_names_of_a_run_stay_data(tmp_path: Path):
    write_run(tmp_path, reward_options={"name": HOSTILE.replace("\ud800", "")}, facts=FACTS_WITH_MARKUP)
    blocks = Blocks(page(gather([tmp_path])))
    assert {"img", "b"}.isdisjoint(tag for tag, _ in blocks.tags)
    assert len([attrs for attrs, _ in blocks.scripts if "type" not in attrs]) == 1


FACTS_WITH_MARKUP = {"panel": "<b>x</b>", "buckets": [4, 8], "agent": "</script><b>agent</b>"}


def test_the_policy_admits_the_pages_own_script_and_style_and_nothing_else(results: Path):
    blocks = Blocks(page(gather([results])))
    (policy_text,) = [attrs["content"] for tag, attrs in blocks.tags if "http-equiv" in attrs]
    rules = dict(rule.split(" ", 1) for rule in str(policy_text).split("; "))
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest(blocks.scripts[-1][1])}'"
    assert rules["style-src"] == f"'sha256-{digest(blocks.styles[0])}'"
    assert "connect-src 'self'" in policy(live=True)


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_asks_for_nothing(results: Path):
    blocks = Blocks(page(gather([results])))
    asked = [
        value for _, attrs in blocks.tags for name, value in attrs.items() if name in {"src", "href", "action", "style"}
    ]
    assert all(value is None or value.startswith(("#", "data:,")) for value in asked)
    script, style = blocks.scripts[-1][1], blocks.styles[0]
    assert "innerHTML" not in script
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", script + style)


# The same every time, and small


def test_the_same_folders_give_the_same_bytes_wherever_they_lie(results: Path, tmp_path: Path):
    shutil.copytree(results, tmp_path / "deep" / "copy")
    first = page(gather([results]))
    assert first == page(gather([results, results / "runs"]))
    assert first == page(gather([tmp_path]))


def test_ten_thousand_episodes_fit_in_one_page(tmp_path: Path, record_property: Any):
    write_many(tmp_path / "results")
    began = time.perf_counter()
    said = write([tmp_path / "results"], tmp_path / "out.html")
    took = time.perf_counter() - began
    record_property("seconds", took)
    record_property("megabytes", said["bytes"] / 1e6)
    assert said["episodes"] == 10_000
    assert said["notes"] == []
    assert (tmp_path / "out.html").stat().st_size == said["bytes"] < 30_000_000
    assert took < 120


def test_a_page_that_would_be_too_large_leaves_out_early_training_and_says_so(tmp_path: Path):
    write_many(tmp_path, runs=2, episodes=1012, turns=5, unique=8)
    whole, limited = gather([tmp_path]), gather([tmp_path], limit=900_000)
    text = page(limited)
    assert whole["report"]["left_out"] == ""
    assert len(page(whole)) > 1_000_000 > len(text)
    assert "the evaluation set and the last" in limited["report"]["left_out"]
    for run in ("alfworld/spa", "alfworld/sparse"):
        kept = {
            (group[0], group[1])
            for group in limited["episodes"][limited["report"]["runs"].index(run_named(limited, run))]
        }
        assert {("eval", 0), ("warm_start", 0), ("train", 4)} <= kept
        assert ("train", 1) not in kept
    assert json.dumps(limited["report"]["left_out"])[1:-1] in text


def test_panels_alone_are_cut_evenly_where_even_they_are_too_large(tmp_path: Path):
    for seed in (0, 1):
        write_run(tmp_path, seed=seed)
    found = gather([tmp_path], limit=1200)
    assert found["report"]["left_out"].startswith("This page shows ")
    assert {run["shown"] for run in found["report"]["runs"]} == {2}


def test_the_number_of_episodes_can_be_limited(tmp_path: Path):
    write_run(tmp_path)
    found = gather([tmp_path], most=6)
    (groups,) = found["episodes"]
    assert [(group[0], len(group[2])) for group in groups] == [("eval", 4), ("warm_start", 2)]
    assert found["report"]["left_out"].startswith("This page shows 6 of 12 episodes. Of each run at most 6")


def test_the_size_of_episodes_is_never_underestimated():
    """The limit is on an estimate: for texts with markup and for long episodes the page may only be smaller."""
    rows = [
        to_row(played("k1", True, [step(t, HOSTILE + str(t * n), "inadmissible") for t in range(30)]))
        | place("train", 1, n)
        for n in range(20)
    ]
    shelf = Shelf(limit=10**9)
    shelf.add([episode(row) for row in rows])
    empty = {"runs": [], "tables": [], "left_out": "", "fields": [], "curves": []}
    bare = len(page({"report": empty, "book": {"texts": [], "moves": [], "tasks": []}, "episodes": [], "figures": []}))
    from spa_bench.report.page_episodes import Book

    book = Book()
    groups = book.groups(shelf.kept()[0])
    assert (
        len(page({"report": empty, "book": book.plain(), "episodes": [groups], "figures": []})) - bare
        < shelf._size * 1.2
    )


def test_a_text_without_end_is_cut_and_says_so():
    row = to_row(played("k1", True, [step(1, "x" * (LONGEST_TEXT + 5))])) | place("eval", 0, 0)
    (_, move, _) = episode(row).steps[0]
    assert move[0].endswith("x [... 5 more characters]")


@pytest.mark.parametrize("change", [{"outcome": None}, {"steps": 7}, {"task": {}}, {"index": "x"}, {"goal": 5}])
def test_a_row_of_another_kind_is_no_episode(change: dict[str, Any]):
    row = to_row(played("k1", True)) | place("eval", 0, 0)
    assert isinstance(episode(row), Episode)
    with pytest.raises((KeyError, TypeError, ValueError)):
        episode(row | change)


# Commands


def test_report_writes_the_page_and_says_what_is_wrong(results: Path, tmp_path: Path):
    out = tmp_path / "out.html"
    done = CliRunner().invoke(app, ["report", "--html", str(out), str(results)])
    assert done.exit_code == 0, done.output
    assert "8 runs, 1 tables" in done.output
    for said in ("the loss is NaN", "lacks config or facts", "cannot read run.json", "1 of "):
        assert said in done.output
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    done = CliRunner().invoke(app, ["report", "--html", str(out), "--episodes", "2", "--json", str(results)])
    assert json.loads(done.stdout)["episodes"] == 12


def test_the_baseline_of_the_tables_can_be_chosen(results: Path):
    titles = [grid["title"] for grid in gather([results], baseline="sparse")["report"]["tables"][0]["grids"]]
    assert any("from sparse" in title for title in titles)
    with pytest.raises(UserError, match="no finished run of the baseline nobody"):
        gather([results], baseline="nobody")


@pytest.mark.parametrize("out", ["nowhere/out.html", "."])
def test_a_page_that_cannot_be_written_is_a_user_error(results: Path, tmp_path: Path, out: str):
    with pytest.raises(UserError, match="cannot write"):
        write([results], tmp_path / out)


def test_no_folder_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="no run folder"):
        gather([tmp_path])
    with pytest.raises(UserError, match="no folder"):
        server(tmp_path / "missing")


# Live


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, Server]]:
    with server(tmp_path) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield tmp_path, found
        found.shutdown()
        thread.join(10)


def get(found: Server, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(found.server_address[1]), timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_a_live_page_starts_empty_and_sees_runs_and_episodes_as_they_come(running: tuple[Path, Server]):
    results, found = running
    status, headers, body = get(found, "/")
    assert status == 200
    assert b'data-version="' in body
    assert "connect-src 'self'" in str(headers["Content-Security-Policy"])
    path = write_run(results, metrics=[iteration(1)])
    before = json.loads(get(found, "/data.json")[2])
    assert before["version"] == json.loads(get(found, "/version")[2])["version"]
    assert run_named(before, "alfworld/sparse")["state"] == "unfinished"
    Journal(path / "episodes.jsonl").append(to_row(played("k1", True)) | place("train", 3, 0))
    assert json.loads(get(found, "/version")[2])["version"] != before["version"]
    Journal(path / "metrics.jsonl").append(DONE)
    after = json.loads(get(found, "/data.json")[2])
    assert len(episodes_of(after, "alfworld/sparse", "train", 3)) == 1
    assert run_named(after, "alfworld/sparse")["state"] == "finished"
    assert after["report"]["tables"][0]["grids"][0]["rows"][-1][0] == "sparse"


def test_a_live_page_sees_audits_as_they_come_and_go(running: tuple[Path, Server]):
    results, found = running
    path = write_audit(results)
    before = json.loads(get(found, "/data.json")[2])
    assert run_named(before, "audits/")["shown"] == 5
    again = write_audit(results, seed=1)
    after = json.loads(get(found, "/data.json")[2])
    assert after["version"] != before["version"]
    assert [run["name"] for run in after["report"]["runs"]] == [f"audits/alfworld/{one.name}" for one in (path, again)]
    shutil.rmtree(path)
    (again / "prices.jsonl").write_text("")
    last = json.loads(get(found, "/data.json")[2])
    assert [run["state"] for run in last["report"]["runs"]] == ["unreadable"]


def test_only_whoever_asks_this_machine_by_name_is_answered(running: tuple[Path, Server]):
    _, found = running
    port = found.server_address[1]
    assert found.server_address[0] == "127.0.0.1"
    assert get(found, "/version", Host=f"localhost:{port}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{int(port) + 1}", ""):
        assert get(found, "/data.json", Host=host)[0] == 403
    for path in ("/runs", "/../run.json", "/data.json?x", "/index.html"):
        assert get(found, path)[0] == 404


def test_a_run_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path, "spa")
    path = write_run(tmp_path, "sparse", metrics=[iteration(1)])
    reads: list[str] = []
    made: list[int] = []
    from spa_bench.report import serve

    monkeypatch.setattr(serve, "read", lambda path, read=serve.read: reads.append(path.parent.name) or read(path))
    monkeypatch.setattr(serve, "tabulate", lambda found, make=serve.tabulate: made.append(1) or make(found))
    live = Live(tmp_path)
    live.now()
    live.now()
    assert sorted(reads) == ["spa", "sparse"]
    Journal(path / "metrics.jsonl").append(iteration(2))
    live.now()
    assert sorted(reads) == ["spa", "sparse", "sparse"]
    assert len(made) == 1  # an unfinished run is in no table
    Journal(path / "metrics.jsonl").append(DONE)
    live.now()
    assert len(made) == 2


def test_a_port_in_use_is_a_user_error(running: tuple[Path, Server]):
    with pytest.raises(UserError, match="choose another --port"):
        server(running[0], int(running[1].server_address[1]))


@pytest.mark.parametrize(("number", "ends"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_t19_view_says_where_it_is_and_when_it_is_ended_that_alone(number: str, ends: int, tmp_path: Path):
    """There is nothing to be resumed."""
    import signal
    import subprocess
    import sys

    code = "from spa_bench.commands.cli import main; main()"
    command = [sys.executable, "-c", code, "view", str(tmp_path), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell starts background jobs with interrupts ignored, and children inherit it.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, text=True, env=os.environ, preexec_fn=heed, **pipes) as going:
        assert going.stdout is not None
        line = going.stdout.readline()
        assert re.match(r"http://127\.0\.0\.1:\d+/ shows ", line)
        going.send_signal(signal.Signals[number])
        _, error = going.communicate(timeout=60)
    assert (going.returncode, error) == (ends, "interrupted\n")
