"""An audit on the disk: what is read is what was written, and whatever else lies there is refused in one line."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_audits import LIMITS, RECORDED, SMALL, paid, priced
from strategies import groups, max_examples

from spa_bench.audit import saved
from spa_bench.audit.columns import columns
from spa_bench.audit.show import footer, to_json
from spa_bench.audit.summary import COSTS, PROBES, Agreement, Audit, MethodAudit
from spa_bench.core import BUCKETS, Step, Tokens, Trajectory, UserError
from spa_bench.report.brief import brief
from spa_bench.report.show import show_audit
from spa_bench.runs.episodes import from_row, to_row
from spa_bench.runs.journal import Journal


def told(error: Callable[[], object]) -> str:
    """The message of the UserError that is raised: one line."""
    with pytest.raises(UserError) as caught:
        error()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved.save(priced(RECORDED), tmp_path)


# What is written comes back


def test_an_audit_comes_back_as_it_was(folder: Path):
    found = saved.load(folder)
    assert found == replace(SMALL, methods=tuple(sorted(SMALL.methods, key=lambda method: method.name)))
    assert to_json(found) == to_json(SMALL)
    assert isinstance(found.limits, tuple) and isinstance(found.methods[0].agreement, Agreement)
    assert footer(found)[3:] == footer(SMALL)[3:]


def test_episodes_and_prices_come_back_without_tokens(tmp_path: Path):
    step = Step("o", "r\ud800", "go", True, None, 0.5, 1.0, Tokens((1,), (2,), (-0.5,)), "go")
    sampled = Trajectory(RECORDED[0].task, (step,), 1.0, True, True, False, 0.25, "end", "goal", 1, 0, "broken")
    folder = saved.save(priced([sampled, *RECORDED]), tmp_path)
    assert saved.episodes(folder) == [replace(sampled, steps=(replace(step, tokens=None),)), *RECORDED]
    prices = saved.prices(folder)
    assert list(prices) == sorted(method.name for method in SMALL.methods)
    for scale, method in enumerate(SMALL.methods):
        assert [tuple(one) for one in prices[method.name]] == list(paid([sampled, *RECORDED], scale))
    rows, _ = Journal(folder / "prices.jsonl").read()
    assert rows[1] == {"stage": "audit", "iteration": 0, "index": 1, "method": "clock"} | {
        "rewards": list(paid(RECORDED)[0])
    }


def test_the_name_is_of_the_figures_alone_and_all_files_appear_together(tmp_path: Path):
    folder = saved.save(priced(RECORDED), tmp_path / "a")
    assert folder.name == saved.save(SMALL, tmp_path / "b").name
    assert {file.name for file in folder.iterdir()} == {
        "audit.json", "episodes.jsonl", "prices.jsonl"
    }  # fmt: skip
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert saved.save(priced(RECORDED), tmp_path / "a") == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == first
    broken = replace(priced(RECORDED), prices={"spa": ((math.nan,),)})
    with pytest.raises(ValueError, match="NaN"):
        saved.save(replace(broken, about=SMALL.about | {"seed": 9}), tmp_path / "a")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_audit_of_an_earlier_version_is_read(folder: Path):
    content = json.loads((folder / "audit.json").read_text())
    del content["power"]
    for one in content["methods"]:
        for name in ("by_outcome", "margins_by_outcome", "fits"):
            del one[name]
        if one["effects"]:
            one["effects"]["with_effect"] = 0.01
    (folder / "audit.json").write_text(json.dumps(content))
    found = saved.load(folder)
    assert found.power is None and {one.fits for one in found.methods} == {None}
    new = {one.name: one for one in SMALL.methods}
    assert [one.agreement for one in found.methods] == [new[one.name].agreement for one in found.methods]
    assert any("earlier version" in line for line in footer(found))


def test_an_audit_without_episodes_has_empty_files(tmp_path: Path):
    folder = saved.save(SMALL, tmp_path)
    assert (saved.episodes(folder), saved.prices(folder)) == ([], {})


METHODS = st.builds(MethodAudit, by_length=st.fixed_dictionaries({name: st.builds(Agreement) for name in BUCKETS}))
AUDITS = st.builds(
    Audit,
    about=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5)),
    methods=st.lists(METHODS, max_size=2, unique_by=lambda method: method.name).map(tuple),
    episodes=st.just(()),
    prices=st.just({}),
)


@max_examples(30)
@given(audit=AUDITS)
def test_any_audit_comes_back_with_none_for_what_is_not_finite(tmp_path_factory: pytest.TempPathFactory, audit: Audit):
    folder = tmp_path_factory.mktemp("any")
    text = json.dumps(to_json(audit), allow_nan=False)
    assume(not re.search(r"(?<![\d.])\d{19}", text))  # none of ours: `reading.BEYOND`
    (folder / "audit.json").write_text(text)
    assert to_json(saved.load(folder)) == to_json(audit)


@max_examples(30)
@given(grouped=groups(), numbers=st.randoms(use_true_random=False))
def test_any_episodes_and_prices_come_back(tmp_path_factory: pytest.TempPathFactory, grouped: Any, numbers: Any):
    found = [one for group in grouped for one in group]
    rewards = tuple(tuple(numbers.uniform(-9, 9) for _ in one.steps) for one in found)
    audit = replace(SMALL, episodes=tuple(found), prices={"b": rewards, "a": paid(found)})
    folder = saved.save(audit, tmp_path_factory.mktemp("any"))
    bare = [replace(one, steps=tuple(replace(step, tokens=None) for step in one.steps)) for one in found]
    # JSON joins a high and a low surrogate that happen to stand side by side.
    assert saved.episodes(folder) == [from_row(json.loads(json.dumps(to_row(one)))) for one in bare]
    prices = saved.prices(folder)
    assert {name: tuple(tuple(one) for one in own) for name, own in prices.items()} == dict(audit.prices)


# Where audits are


def test_audits_are_found_below_a_folder_each_once_and_unfinished_ones_are_not(folder: Path, tmp_path: Path):
    unfinished = folder.with_name(".tmp-0-12345678")
    unfinished.mkdir()
    (unfinished / "audit.json").write_text("{")
    assert saved.find([tmp_path, folder, folder.parent]) == [folder.resolve()]
    assert saved.find([tmp_path / "missing"]) == saved.find([]) == []


# What is none of ours


@max_examples(60)
@given(at=st.integers(0, 10**6))
def test_a_torn_audit_is_refused_wherever_it_ends(tmp_path_factory: pytest.TempPathFactory, at: int):
    folder = tmp_path_factory.mktemp("torn")
    text = json.dumps(to_json(SMALL))
    (folder / "audit.json").write_text(text[: at % len(text)])
    assert str(folder) in told(lambda: saved.load(folder))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in below:
        yield (*path, key)
        yield from leaves(one, (*path, key))


PLACES = list(leaves(to_json(SMALL)))
ODD = st.sampled_from([None, "x", -1, 0.5, True, [], {}, [1], {"a": 1}, 10**400, 1e999])


@max_examples(150)
@given(where=st.sampled_from(PLACES), odd=ODD, gone=st.booleans())
def test_a_damaged_audit_is_refused_or_still_one_that_can_be_shown(
    tmp_path_factory: pytest.TempPathFactory, where: tuple[Any, ...], odd: Any, gone: bool
):
    folder, plain = tmp_path_factory.mktemp("damaged"), to_json(SMALL)
    inner = plain
    for key in where[:-1]:
        inner = inner[key]
    if gone:
        del inner[where[-1]]
    else:
        inner[where[-1]] = odd
    (folder / "audit.json").write_text(json.dumps(plain))
    try:
        found = saved.load(folder)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        show_audit(found, folder, io.StringIO(), json_wanted=False, full=False)
        brief([], [found])


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"name": "of another program"}', "\xff", "[" * 100_000, '{"about": NaN}']
)
def test_a_file_of_another_program_is_refused(tmp_path: Path, text: str):
    (tmp_path / "audit.json").write_bytes(text.encode("latin-1"))
    assert "no audit that this version can read" in told(lambda: saved.load(tmp_path))


def test_an_audit_that_cannot_be_opened_is_refused(tmp_path: Path):
    assert "cannot read" in told(lambda: saved.load(tmp_path))
    (tmp_path / "audit.json").mkdir()
    assert "is no regular file" in told(lambda: saved.load(tmp_path))


def test_a_method_that_stands_twice_and_a_length_that_is_missing_are_refused(tmp_path: Path):
    spa = SMALL.methods[0]
    for methods in ((spa, spa), (replace(spa, by_length={}),)):
        text = json.dumps(to_json(replace(SMALL, methods=methods)))
        (tmp_path / "audit.json").write_text(text)
        assert "stands twice, or lacks a length" in told(lambda: saved.load(tmp_path))


def test_an_audit_of_an_earlier_version_keeps_no_episodes_and_can_be_loaded(folder: Path):
    (folder / "episodes.jsonl").unlink()
    assert "has no episodes.jsonl" in told(lambda: saved.episodes(folder))
    assert "audit again" in told(lambda: saved.prices(folder))
    assert saved.load(folder).about == SMALL.about


EPISODE_DAMAGE: list[dict[str, Any]] = [
    {"index": 7}, {"stage": "eval"}, {"iteration": None}, {"steps": 7}, {"steps": [3]}, {"steps": [{}]}, {"task": {}},
    {"task": 5}, {"branch": 1}, {"branch": "x"}, {"outcome": "much"}, {"outcome": 1e101}, {"success": 1},
    {"goal": None}, {"goal": 5}, {"character": 0.5}, {"error": 0}, {"start_progress": None}, {"truncated": "no"},
]  # fmt: skip


@pytest.mark.parametrize("damage", EPISODE_DAMAGE, ids=str)
def test_a_row_that_is_no_episode_is_refused_and_named(folder: Path, damage: dict[str, Any]):
    rewrite(folder / "episodes.jsonl", 3, damage)
    assert "episodes.jsonl, line 4: " in told(lambda: saved.episodes(folder))


@pytest.mark.parametrize(
    "damage",
    [{"progress": "x"}, {"progress": 1e999}, {"grounded": False}, {"reply": None}, {"expert_action": 1}],
    ids=str,
)
def test_a_step_that_is_none_is_refused_and_named(folder: Path, damage: dict[str, Any]):
    rows, _ = Journal(folder / "episodes.jsonl").read()
    rewrite(folder / "episodes.jsonl", 3, {"steps": [rows[3]["steps"][0] | damage]})
    told(lambda: saved.episodes(folder))


@pytest.mark.parametrize(
    "damage",
    [
        {"method": 5}, {"method": "another"}, {"method": ["spa"]}, {"index": 0}, {"stage": "train"}, {"rewards": [1.0]},
        {"rewards": None}, {"rewards": "12345678901"},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_is_no_price_is_refused_and_named(folder: Path, damage: dict[str, Any]):
    rewrite(folder / "prices.jsonl", 3, damage)
    assert "prices.jsonl" in told(lambda: saved.prices(folder))


@pytest.mark.parametrize("odd", ["1", None, True, 10**400, 1e999, [1]], ids=str)
def test_a_price_that_is_no_number_is_refused(folder: Path, odd: Any):
    rows, _ = Journal(folder / "prices.jsonl").read()
    rewrite(folder / "prices.jsonl", 3, {"rewards": [odd] * len(rows[3]["rewards"])})
    assert "prices.jsonl" in told(lambda: saved.prices(folder))


@pytest.mark.parametrize("name", ["episodes.jsonl", "prices.jsonl"])
def test_torn_and_missing_lines_are_refused(folder: Path, name: str):
    text = (folder / name).read_text()
    for damaged in (text[:-9], text + "x\n", "\n".join(text.splitlines()[:-1]) + "\n", text + text.splitlines()[-1]):
        (folder / name).write_text(damaged)
        assert name in told(lambda: saved.prices(folder)) or "prices.jsonl" in told(lambda: saved.prices(folder))
    (folder / name).unlink()
    (folder / name).mkdir()
    assert "is no regular file" in told(lambda: saved.prices(folder))


def rewrite(file: Path, line: int, change: dict[str, Any]) -> None:
    rows, _ = Journal(file).read()
    rows[line] |= change
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_audit_is_read_without_deep_learning_and_without_any_room():
    code = (
        "import sys, spa_bench.audit.saved; print([name for name in sys.modules if name.split('.')[0] in "
        "('torch', 'transformers', 'trl', 'datasets', 'matplotlib') or name.startswith('spa_bench.rewards') "
        "or name.startswith('spa_bench.environments.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prices_are_arrays_of_numbers(folder: Path):
    for own in saved.prices(folder).values():
        assert all(one.dtype == np.float64 and one.shape == (len(r),) for one, r in zip(own, RECORDED, strict=True))
    assert saved.load(folder).limits == LIMITS


def test_the_columns_of_a_saved_audit_stand_as_those_of_a_fresh_one(tmp_path: Path):
    fresh = replace(SMALL, probes=PROBES, costs=COSTS)
    assert list(fresh.probes) != sorted(fresh.probes)
    found = saved.load(saved.save(fresh, tmp_path))
    assert [column.header for column in columns(found)] == [column.header for column in columns(fresh)]
