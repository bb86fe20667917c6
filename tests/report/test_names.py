"""Names of tables, figures and audits: short, stable, safe as file names, and no two alike."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edited import run_json
from hypothesis import given
from hypothesis import strategies as st
from made_audits import RECORDED, an_audit, priced
from strategies import HOSTILE
from written_runs import FACTS, write_run

from spa_bench.analysis.settings import differing, settings_text
from spa_bench.audit import saved
from spa_bench.config import PPOConfig
from spa_bench.defaults import OPTIMISERS
from spa_bench.figures import audit, files
from spa_bench.report import page
from spa_bench.report.contents import Contents, gather
from spa_bench.report.folder import write
from spa_bench.report.names import file_names, headings, section_names
from spa_bench.report.render import as_markdown

SAFE = re.compile(r"[A-Za-z0-9_.=-]+")


def names(contents: Contents) -> list[str]:
    return sorted(section_names(contents.tables))


def edited(path: Path, **config: Any) -> None:
    """Store another configuration in a run folder, whatever it is."""
    content = run_json(path)
    for key, value in config.items():
        if isinstance(value, dict):
            content["config"][key] |= value
        else:
            content["config"][key] = value
    (path / "run.json").write_text(json.dumps(content))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are empty files: names alone are asked for."""
    for module in (audit, files):
        monkeypatch.setattr(module, "save", lambda draw, *paths: [path.touch() for path in paths])


# Tables


def test_one_group_is_called_by_world_and_split(tmp_path: Path):
    write_run(tmp_path, "ppo")
    write_run(tmp_path, "spa", reward_options={"beta": 0}, batch=3)
    contents = gather([tmp_path])
    assert names(contents) == ["alfworld-valid_unseen"]
    (own,) = contents.sections()
    assert own.grids[0].title == "alfworld, valid_unseen, n=4"
    assert "settings that differ" not in as_markdown(own)
    written = write(contents, [tmp_path], tmp_path / "out")
    assert {f"tables/alfworld-valid_unseen-{kind}.tex" for kind in ("results", "differences-ppo", "costs")} <= set(
        written.files
    )
    assert {
        "figures/alfworld-valid_unseen-lengths.png",
        "tables/alfworld-valid_unseen-differences-warm-start.csv",
    } <= set(written.files)
    text = (tmp_path / "out/tables/alfworld-valid_unseen-results.tex").read_text()
    assert r"\label{tab:alfworld-valid_unseen-results}" in text


def test_two_groups_are_told_apart_by_the_setting_in_which_they_differ(tmp_path: Path):
    for level in ("turn", "token"):
        for reward in ("ppo", "spa"):
            write_run(tmp_path, reward, ppo={"level": level})
    write_run(tmp_path, "ppo", env="webshop")
    contents = gather([tmp_path])
    assert names(contents) == [
        "alfworld-valid_unseen-ppo.level=token", "alfworld-valid_unseen-ppo.level=turn", "webshop-valid_unseen"
    ]  # fmt: skip
    own = next(one for one in contents.sections() if one.name == "alfworld-valid_unseen-ppo.level=token")
    assert own.grids[0].title == "alfworld, valid_unseen, n=4, ppo.level=token"
    assert own.notes[0].endswith("; settings that differ: ppo.level=token")
    side_by_side = contents.sections()[0].grids[0]
    assert {"alfworld, ppo.level=token: success %", "webshop: success %"} <= set(side_by_side.header)
    written = write(contents, [tmp_path], tmp_path / "out")
    name = "alfworld-valid_unseen-ppo.level=token"
    assert {f"tables/{name}-results.tex", f"figures/{name}-lengths.png", f"figures/{name}-lengths.json"} <= set(
        written.files
    )
    for table in (f"{name}-results", f"{name}-costs"):
        text = (tmp_path / "out/tables" / f"{table}.tex").read_text()
        assert rf"\label{{tab:{table}}}" in text and "settings that differ: ppo.level=token" in text
    drawn = json.loads((tmp_path / f"out/figures/{name}-lengths.json").read_text())
    assert drawn["title"].endswith("alfworld, valid_unseen, ppo.level=token")
    assert "Settings that differ: ppo.level=token." in drawn["caption"]
    assert "settings that differ" in (tmp_path / "out/index.html").read_text()
    assert contents.as_json()["tables"][0]["settings"].keys() == {"ppo.level"}
    (note,) = [one for one in contents.paper("spa")[0].notes if one.startswith("alfworld valid_unseen success")]
    assert "settings that differ: ppo.level=t" in note


def test_groups_that_differ_in_the_evaluation_set_alone_are_told_apart_by_its_hash(tmp_path: Path):
    for panel in ("57d93cd79d02", "e95c0e0418be"):
        write_run(tmp_path / panel, facts=FACTS | {"panel": panel})
    contents = gather([tmp_path])
    assert names(contents) == [
        "alfworld-valid_unseen-evaluation_set=57d93c", "alfworld-valid_unseen-evaluation_set=e95c0e"
    ]  # fmt: skip
    assert headings(contents.tables) == ["alfworld, evaluation_set=57d93c", "alfworld, evaluation_set=e95c0e"]


@pytest.mark.parametrize(
    ("fact", "called", "contents"),
    [
        ("content", "tasks_data", ("aaaaaa1", "bbbbbb1")),
        ("content", "tasks_data", ("aaaaaa1", "aaaaaa2")),
        ("content", "tasks_data", ("aaaaaa1", None)),
        ("model", "model_content", ({"weights": "a", "files": "b"}, {"weights": "b", "files": "b"})),
        ("model", "model_content", ({"revision": "a"}, None)),
        ("world_code", "world_code", ("aaaaaa", "bbbbbb")),
    ],
)
def test_models_catalogues_or_worlds_of_one_name_are_never_averaged(
    fact: str, called: str, contents: tuple[Any, Any], tmp_path: Path
):
    for seed, content in enumerate(contents):
        write_run(tmp_path / str(seed), seed=seed, facts=FACTS | ({fact: content} if content else {}))
    found = gather([tmp_path])
    assert len(found.tables) == 2 and all(f"{called}=" in heading for heading in headings(found.tables))
    assert sorted(table.about["seeds"] for table in found.tables) == [[0], [1]]
    assert len({run["setting"] for run in page.gather([tmp_path])["report"]["runs"]}) == 2


def test_runs_of_one_model_and_one_catalogue_stand_in_one_table(tmp_path: Path):
    held = {"content": "aaaaaa", "model": {"weights": "a", "files": "b"}}
    for seed in (0, 1):
        write_run(tmp_path, seed=seed, facts=FACTS | held)
    (table,) = gather([tmp_path]).tables
    assert table.about["seeds"] == [0, 1]
    assert len({run["setting"] for run in page.gather([tmp_path])["report"]["runs"]}) == 1


@pytest.mark.parametrize("panels", [("57d93c1", "57d93c2"), (None, "unknown"), (1, "1")])
def test_evaluation_sets_that_begin_alike_are_written_out(panels: tuple[Any, Any], tmp_path: Path):
    for number, panel in enumerate(panels):
        write_run(tmp_path / str(number), facts=FACTS | {"panel": panel})
    assert len({name.casefold() for name in names(gather([tmp_path]))}) == 2


def test_where_some_differ_in_settings_and_some_in_the_evaluation_set_both_are_named(tmp_path: Path):
    write_run(tmp_path / "a", facts=FACTS | {"panel": "aaaaaaaa"})
    write_run(tmp_path / "b", facts=FACTS | {"panel": "bbbbbbbb"})
    write_run(tmp_path / "c", facts=FACTS | {"panel": "cccccccc"}, eval={"tasks": 3})
    assert names(gather([tmp_path])) == [
        f"alfworld-valid_unseen-eval.tasks={tasks}-evaluation_set={panel}"
        for tasks, panel in ((3, "cccccc"), ("default", "aaaaaa"), ("default", "bbbbbb"))
    ]


def test_three_groups_are_told_apart_by_two_settings(tmp_path: Path):
    for level, clip in (("turn", 0.2), ("token", 0.2), ("turn", 0.05)):
        write_run(tmp_path, ppo={"level": level, "clip": clip})
    contents = gather([tmp_path])
    assert names(contents) == [
        f"alfworld-valid_unseen-ppo.clip={clip}-ppo.level={level}"
        for clip, level in (("0.05", "turn"), ("0.2", "token"), ("0.2", "turn"))
    ]
    titles = [one.grids[0].title for one in contents.table_sections()]
    assert "alfworld, valid_unseen, n=4, ppo.clip=0.05, ppo.level=turn" in titles


def test_names_depend_neither_on_the_order_nor_on_the_place_of_folders(tmp_path: Path, undrawn: None):
    for reward, more in (("ppo", {}), ("spa", {"ppo": {"clip": 0.1}}), ("sparse", {"model": {"hidden": 64}})):
        write_run(tmp_path / "one", reward, **more)
    saved.save(an_audit(), tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "z/deep/er")
    folders = [path.parent for path in (tmp_path / "z").rglob("*.json")]
    found = [gather(paths) for paths in ([tmp_path / "one"], sorted(folders), sorted(folders, reverse=True))]
    for contents in found:
        assert [one.name for one in contents.sections()] == [one.name for one in found[0].sections()]
    written = [write(one, [tmp_path / "one"], tmp_path / f"out{place}").files for place, one in enumerate(found)]
    assert written[0] == written[1] == written[2]


def test_values_are_written_as_in_toml_without_quotes():
    values = [1, 0.1, 1e-05, 1.0, True, None, "text", [1, "a"], "/some/where/model"]
    texts = [settings_text(one) for one in differing([{"a": {"b": value}} for value in values])]
    assert texts == [f"a.b={text}" for text in ["1", "0.1", "1e-5", "1.0", "true", "default", "text"]] + [
        "a.b=[1, a]",
        "a.b=model",
    ]


def test_text_is_in_quotes_where_another_value_reads_the_same():
    found = differing([{"a": 1}, {"a": "1"}, {"a": None}, {"a": "default"}, {}, {"a": "unset"}])
    assert [one["a"] for one in found] == ["1", '"1"', "default", '"default"', "unset", '"unset"']


def test_equal_configurations_are_not_told_apart_and_others_always_are():
    assert differing([{"a": 1}, {"a": 1}]) == [{}, {}]
    hard = [{"a.b": 1}, {"a": {"b": 1}}, {"a": {"b": 1}, "c": {}}, {"data": "/x/d"}, {"data": "/y/d"}, {"data": "/y/d"}]
    texts = [settings_text(one) for one in differing(hard)]
    assert texts[-1] == texts[-2] and len(set(texts)) == 5
    assert not any("/" in text for text in texts)


def hostile_values() -> list[Any]:
    long = "x" * 300
    return ["a/b", "a b", "A/b", "..", ".", "../../etc", "é", "\u202e", "\ud800", "", long, long + "y", "A", "a", "CON"]


def test_hostile_values_give_safe_names_that_overwrite_nothing(tmp_path: Path, undrawn: None):
    values = hostile_values()
    for number, value in enumerate(values):
        for reward in ("ppo", "spa"):
            edited(write_run(tmp_path / f"results/{number}", reward), model={"name": value})
    contents = gather([tmp_path / "results"])
    found = section_names(contents.tables)
    assert len({name.casefold() for name in found}) == len(values)
    assert all(SAFE.fullmatch(name) and len(name) < 110 and not name.endswith(".") for name in found)
    whole = next(one for one in contents.table_sections() if "xxxy" in one.notes[0])
    assert f"model.name={'x' * 300}y" in whole.grids[0].title and len(whole.name) < 110
    written = write(contents, [tmp_path / "results"], tmp_path / "out")
    assert len({name.casefold() for name in written.files}) == len(set(written.files)) == len(written.files)
    assert sum(name.endswith("-results.tex") for name in written.files) == len(values)
    assert {path.name for path in tmp_path.iterdir()} == {"results", "out"}
    assert all((tmp_path / "out" / name).resolve().is_relative_to(tmp_path / "out") for name in written.files)


def test_methods_whose_names_differ_in_case_overwrite_no_table(tmp_path: Path, undrawn: None):
    for method in ("mine.Spa", "mine.SPA"):
        for options in ({}, {"beta": 1}):
            place = tmp_path / "results" / f"{method}{len(options)}"
            edited(write_run(place, "spa", reward_options=options), reward=method)
    contents = gather([tmp_path / "results"])
    written = write(contents, [tmp_path / "results"], tmp_path / "out")
    ablations = [name for name in written.files if "-ablation-" in name and name.endswith(".csv")]
    assert len({name.casefold() for name in ablations}) == 2
    firsts = {(tmp_path / "out" / name).read_text().splitlines()[1].split(",")[0] for name in ablations}
    assert firsts == {"mine.Spa", "mine.SPA"}


@given(st.lists(st.lists(HOSTILE, min_size=3, max_size=3), min_size=1, max_size=5, unique_by=tuple))
def test_no_two_file_names_are_alike_in_any_case(parts: list[list[str]]):
    found = file_names(parts)
    assert len({name.casefold() for name in found}) == len(parts)
    assert found == file_names(parts[::-1])[::-1]


# Audits


def audits(tmp_path: Path, *abouts: dict[str, Any]) -> Contents:
    for about in abouts:
        saved.save(replace(priced(RECORDED), about=an_audit().about | about), tmp_path)
    return gather([tmp_path])


def test_one_audit_is_called_by_its_world(tmp_path: Path):
    contents = audits(tmp_path, {"world": "alfworld"}, {"world": "webshop"})
    assert sorted(one.name for one in contents.sections()) == ["audit-alfworld", "audit-webshop"]
    written = write(contents, [tmp_path], tmp_path / "out")
    assert {"tables/audit-alfworld-credit.csv", "figures/audit-alfworld-credit.png"} <= set(written.files)
    assert r"\label{tab:audit-alfworld-credit}" in (tmp_path / "out/tables/audit-alfworld-credit.tex").read_text()


def test_several_audits_of_a_world_are_told_apart_by_what_differs(tmp_path: Path):
    one, other = {"world": "alfworld", "seed": 0, "steps": 3}, {"world": "alfworld", "seed": 1, "steps": 4}
    contents = audits(tmp_path, one, other)
    sections = {found.name: found for found in contents.sections()}
    assert sorted(sections) == ["audit-alfworld-seed=0", "audit-alfworld-seed=1"]
    assert sections["audit-alfworld-seed=1"].grids[0].title.endswith(", alfworld, seed=1")
    assert sections["audit-alfworld-seed=1"].notes[0].endswith("; settings that differ: seed=1")
    written = write(contents, [tmp_path], tmp_path / "out")
    assert {"tables/audit-alfworld-seed=1-credit.tex", "figures/audit-alfworld-seed=0-credit.png"} <= set(written.files)
    drawn = json.loads((tmp_path / "out/figures/audit-alfworld-seed=0-credit.json").read_text())
    assert "settings that differ: seed=0" in drawn["caption"]


def test_audits_that_differ_in_results_alone_are_told_apart_by_these(tmp_path: Path):
    contents = audits(tmp_path, {"world": "alfworld", "success": 0.25}, {"world": "alfworld", "success": 0.5})
    found = sorted(one.name for one in contents.sections())
    assert found == ["audit-alfworld-success=0.25", "audit-alfworld-success=0.5"]


def test_audits_that_say_the_same_of_themselves_have_a_digest_and_a_copy_is_left_out(tmp_path: Path):
    small = replace(priced(RECORDED), about=an_audit().about)
    saved.save(small, tmp_path / "a")
    saved.save(replace(small, notes=("another",)), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    contents = gather([tmp_path])
    assert len(contents.audits) == 2
    assert [one.reason.startswith("the same audit as audits/") for one in contents.problems] == [True, True]
    own = [one for one in contents.sections() if one.grids]
    for one in own:
        told = re.fullmatch(r"audit-\w+-(hash=[0-9a-f]{6})", one.name)
        assert told is not None and one.grids[0].title.endswith(f", {told[1]}")
    assert len({one.name for one in own}) == 2


def test_an_optimiser_tells_tables_apart_by_its_name_and_what_was_set_beside_it(tmp_path: Path):
    for name in ("ppo", "gspo"):
        write_run(tmp_path / "a", ppo=PPOConfig(optimiser=name, **OPTIMISERS[name]).model_dump())  # type: ignore[arg-type, index]
    assert names(gather([tmp_path])) == [f"alfworld-valid_unseen-ppo.optimiser={name}" for name in ("gspo", "ppo")]
    write_run(tmp_path / "b", ppo=PPOConfig(optimiser="gspo", **OPTIMISERS["gspo"] | {"clip": 0.1}).model_dump())
    assert names(gather([tmp_path])) == [
        f"alfworld-valid_unseen-ppo.clip={clip}-ppo.optimiser={name}"
        for clip, name in (("0.0003", "gspo"), ("0.1", "gspo"), ("0.2", "ppo"))
    ]
