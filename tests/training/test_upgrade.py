"""Run folders of earlier states of the code: they are opened and gone on with, or refused in one line with the reason.

`kept/` holds a run that stopped after the first of two iterations, written with schema 1. Where it is refused after a
change of the code, and for a right reason, that is added here, and a second folder is kept beside it:

    python tests/training/test_upgrade.py

`tests/recorded/results` holds finished runs of a still earlier state, whose settings have other names.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from spa_bench import load_results
from spa_bench.config import build
from spa_bench.core import UserError
from spa_bench.report.table import tables
from spa_bench.runs.folder import PINNED, SCHEMA, RunFolder, config_hash, read_run, run_path
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, start

HERE = Path(__file__).resolve().parent
KEPT = sorted((HERE / "kept").glob("*"))
EARLIER = HERE.parent / "recorded" / "results"
REASONS = ("began from another warm start", *(f"was made with {what}" for what in PINNED.values()))
"""Why a folder may be refused: torch on this machine rounds otherwise, or what decides results is another one now."""


def placed(kept: Path, results: Path) -> Path:
    """A copy where the run of its settings is looked for."""
    path = run_path(results, build(read_run(kept)["config"]))
    shutil.copytree(kept, path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.json*")}


@pytest.fixture(params=KEPT, ids=lambda kept: kept.name)
def kept(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


def test_there_is_a_folder_of_this_schema() -> None:
    assert SCHEMA in {read_run(kept)["schema"] for kept in KEPT}


def test_t18_a_run_of_before_there_was_a_choice_has_what_it_had_and_the_identity_that_it_had() -> None:
    config = build(read_run(HERE / "kept" / "schema-1")["config"])
    assert (config.model.tokens, config.ppo.value_scale, config_hash(config)) == ("words", "none", "0faad274")


def test_t18_a_folder_of_an_earlier_state_is_reported(kept: Path, tmp_path: Path) -> None:
    path = placed(kept, tmp_path)
    (row,) = load_results(path).query("stage == 'warm_start'").to_dict("records")
    assert (row["label"], row["finished"], row["left_out"], row["episodes"]) == ("spa", False, "unfinished", 6)
    (table,) = tables([path])
    assert any("unfinished" in note for note in table.notes)


def test_t18_a_folder_of_an_earlier_state_is_opened_with_its_checkpoint(kept: Path, tmp_path: Path) -> None:
    path, stored = placed(kept, tmp_path), read_run(kept)
    config = build(stored["config"])
    with RunFolder.open(path, config, stored["facts"]) as folder:
        latest = folder.latest_checkpoint()
        assert latest is not None and latest[0] == 1
        assert folder.metrics.read()[1] == folder.episodes.read()[1] == folder.prices.read()[1] == 0
    policy = start.load_policy(start.begin(config), experiment.last_policy(path))
    assert sum(weight.numel() for weight in policy.model.parameters()) > 1000


def test_t18_a_run_of_an_earlier_state_goes_on_or_is_refused_with_the_reason(kept: Path, tmp_path: Path) -> None:
    path = placed(kept, tmp_path)
    before = contents(path)
    try:
        experiment.run(build(read_run(kept)["config"]), tmp_path, Progress.quiet())
    except UserError as refused:
        assert any(reason in str(refused) for reason in REASONS), refused
        assert "\n" not in str(refused) and contents(path) == before
    else:
        after = contents(path)
        for name in ("run.json", "episodes.jsonl", "metrics.jsonl", "prices.jsonl"):
            assert after[name].startswith(before[name]), f"{name}: what was on record has changed"
        assert json.loads(after["metrics.jsonl"].splitlines()[-1])["kind"] == "done"


def test_t18_runs_whose_settings_had_other_names_are_reported_and_not_gone_on_with(tmp_path: Path) -> None:
    frame = load_results(EARLIER)
    assert frame["finished"].all() and frame["left_out"].isna().all() and len(frame) == 24
    earlier = min(EARLIER.rglob("run.json")).parent
    shutil.copytree(earlier, tmp_path / "run")
    with pytest.raises(
        UserError, match=r"written by another version of spa-bench: setting model\.precision is now model\.dtype"
    ):
        RunFolder.open(tmp_path / "run", build({"env": "alfworld", "reward": "sparse"}), {})


FUTURE = re.compile(rf"run\.json has schema {SCHEMA + 1}; this spa-bench reads {SCHEMA}: upgrade spa-bench")


def future(kept: Path, results: Path) -> Path:
    path = placed(kept, results)
    content = read_run(path)
    (path / "run.json").write_text(json.dumps(content | {"schema": SCHEMA + 1}))
    return path


def test_t18_a_folder_of_a_later_schema_is_refused_by_run_and_eval_and_left_as_it_is(tmp_path: Path) -> None:
    path = future(KEPT[-1], tmp_path)
    config = build(read_run(KEPT[-1])["config"])
    before = contents(path)
    with pytest.raises(UserError, match=FUTURE):
        experiment.run(config, tmp_path, Progress.quiet())
    with pytest.raises(UserError, match=FUTURE):
        experiment.evaluate(config, "policy", path, tmp_path, Progress.quiet())
    assert contents(path) == before


def test_t18_a_folder_of_a_later_schema_is_named_by_report_and_view(tmp_path: Path) -> None:
    from spa_bench.report.contents import gather
    from spa_bench.report.serve import Live

    path = future(KEPT[-1], tmp_path)
    reports: list[Any] = [gather([path], None, None).as_json(), Live(tmp_path).now()[1]]
    for said in reports:
        assert len(FUTURE.findall(json.dumps(said))) >= 1


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    from test_experiment import Late
    from tiny import SETTINGS, config

    small = config(
        reward="spa",
        model=SETTINGS["model"] | {"hidden": 16},
        ppo=SETTINGS["ppo"] | {"env_steps": 24, "microbatch_episodes": 2},
    )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            experiment.run(small, Path(scratch), Progress.quiet(), None, Late(4))
        except experiment.DeadlineReached as reached:
            print(reached)
        made = run_path(Path(scratch), small)
        (made / "lock").unlink()
        shutil.copytree(made, HERE / "kept" / f"schema-{SCHEMA}")
