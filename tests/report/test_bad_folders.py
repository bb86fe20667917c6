"""One bad run folder never ends a report or a page: it is named, and the rest is reported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoked import invoke
from viewer_runs import write_audit
from written_runs import write_run

from spa_bench.report.contents import gather
from spa_bench.report.serve import Live

LONG = "9" * 400
Damage = Callable[[Path], object]


def changed(file: str, old: str, new: str) -> Damage:
    def damage(run: Path) -> None:
        text = (run / file).read_text()
        assert old in text
        (run / file).write_text(text.replace(old, new, 1))

    return damage


def put(value: Any, *keys: str) -> Damage:
    """Another value in `run.json`."""

    def damage(run: Path) -> None:
        content = node = json.loads((run / "run.json").read_text())
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        (run / "run.json").write_text(json.dumps(content))

    return damage


def instead(file: str, make: Damage) -> Damage:
    def damage(run: Path) -> None:
        (run / file).unlink(missing_ok=True)
        make(run / file)

    return damage


ZERO: Damage = lambda file: file.symlink_to("/dev/zero")  # noqa: E731
DAMAGES: dict[str, Damage] = {
    "seed of 400 digits": changed("run.json", '"seed": 0', f'"seed": {LONG}'),
    "seed without end": changed("run.json", '"seed": 0', '"seed": 1e999'),
    "budget of 5000 digits": changed("run.json", '"env_steps": 3000', f'"env_steps": {"9" * 5000}'),
    "temperature without end": changed("run.json", '"temperature": 0.0', '"temperature": 1e999'),
    "deep run.json": lambda run: (run / "run.json").write_text("[" * 200_000),
    "deep inside": changed("run.json", '"facts": {', f'"facts": {{"x": {"[" * 900}{"]" * 900}, '),
    "no file at all": lambda run: (run / "run.json").write_bytes(b"\0" * 4096),
    **{f"ppo {value}": put(value, "config", "ppo") for value in ([], None, "x")},
    **{f"eval {value}": put(value, "config", "eval") for value in ([], None, {})},
    **{f"{key} {value}": put(value, "config", key) for key in ("world", "model") for value in (None, {})},
    **{f"env {value}": put(value, "config", "env") for value in (3, [1], None)},
    **{f"reward {value}": put(value, "config", "reward") for value in (3, [1])},
    **{f"reward_options {value}": put(value, "config", "reward_options") for value in ([1], None)},
    "split {}": put({}, "config", "eval", "split"),
    "match []": put([], "config", "ppo", "match"),
    "match x": put("x", "config", "ppo", "match"),
    **{f"buckets {value}": put(value, "facts", "buckets") for value in ("ab", [1], [1, "x"], [2**63, 2**64])},
    **{f"{key} []": put([1], "facts", key) for key in ("agent", "level", "our_form", "panel", "max_steps")},
    "outcome of 400 digits": changed("episodes.jsonl", '"outcome":1.0', f'"outcome":{LONG}'),
    "outcome without end": changed("episodes.jsonl", '"outcome":1.0', '"outcome":-1e999'),
    "outcome nan": changed("episodes.jsonl", '"outcome":1.0', '"outcome":"nan"'),
    "outcome beyond all": changed("episodes.jsonl", '"outcome":1.0', '"outcome":1e99'),
    "expert_steps of 400 digits": changed("episodes.jsonl", '"expert_steps":3', f'"expert_steps":{LONG}'),
    "expert_steps []": changed("episodes.jsonl", '"expert_steps":3', '"expert_steps":[]'),
    "grounded of 400 digits": changed("episodes.jsonl", '"grounded":true', f'"grounded":{LONG}'),
    "grounded []": changed("episodes.jsonl", '"grounded":true', '"grounded":[]'),
    "steps {}": changed("episodes.jsonl", '"steps":[', '"steps":{},"x":['),
    "deep episodes": lambda run: (run / "episodes.jsonl").write_text("[" * 200_000),
    "cost of 400 digits": changed("metrics.jsonl", '"env_steps":100', f'"env_steps":{LONG}'),
    "cost without end": changed("metrics.jsonl", '"env_steps":100', '"env_steps":1e999'),
    "cost x": changed("metrics.jsonl", '"env_steps":100', '"env_steps":"x"'),
    "cost beyond all": changed("metrics.jsonl", '"seconds":2.5', '"seconds":1.5e308'),
    "skipped x": changed("metrics.jsonl", '"updates":4', '"skipped":"x"'),
    "iteration []": changed("metrics.jsonl", '"iteration":1', '"iteration":[]'),
    "iteration without end": changed("metrics.jsonl", '"iteration":1', '"iteration":1e999'),
    "success of 400 digits": changed("metrics.jsonl", '"updates":4', f'"success":{LONG}'),
    "deep metrics": lambda run: (run / "metrics.jsonl").write_text("[" * 200_000),
    **{f"folder {name}": instead(name, Path.mkdir) for name in ("run.json", "episodes.jsonl", "metrics.jsonl")},
    **{f"pipe {name}": instead(name, os.mkfifo) for name in ("run.json", "episodes.jsonl", "metrics.jsonl")},
    **{f"zero {name}": instead(name, ZERO) for name in ("run.json", "episodes.jsonl", "metrics.jsonl")},
    **{
        f"large {name}": lambda run, name=name: os.truncate(run / name, 1 << 40)  # type: ignore[misc]
        for name in ("run.json", "episodes.jsonl", "metrics.jsonl")
    },
    "link to itself": instead("episodes.jsonl", lambda file: file.symlink_to(file)),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_t03_a_bad_run_is_named_and_the_rest_is_reported(kind: str, tmp_path: Path):
    write_run(tmp_path, "spa")
    write_run(tmp_path, "sparse")
    bad = write_run(tmp_path, "grpo")
    DAMAGES[kind](bad)
    found = gather([tmp_path])
    notes = [line for section in found.sections() for line in section.notes]
    assert any("/".join(bad.parts[-3:]) in line for line in notes)
    assert {row.label for table in found.tables for row in table.rows} >= {"spa", "sparse", "warm start"}
    json.dumps(found.as_json(), allow_nan=False)
    shown = Live(tmp_path).now()[1]
    json.dumps(shown, allow_nan=False)
    states = [run["state"] for run in shown["report"]["runs"] if run["name"] != "/".join(bad.parts[-3:])]
    assert states == ["finished", "finished"]


PRICES: dict[str, Damage] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "device": ZERO,
    "too large": lambda file: (file.touch(), os.truncate(file, 1 << 40)),
}


@pytest.mark.parametrize("kind", PRICES)
def test_rewards_that_cannot_be_read_are_named_by_the_report_and_in_the_page(kind: str, tmp_path: Path):
    write_run(tmp_path, "spa")
    bad = write_run(tmp_path, "sparse")
    instead("prices.jsonl", PRICES[kind])(bad)
    done = invoke("report", str(tmp_path), "--html", str(tmp_path / "page.html"))
    assert done.exit_code == 0
    (line,) = [line for line in done.stdout.splitlines() if "prices.jsonl" in line]
    assert line.startswith(f"- {'/'.join(bad.parts[-3:])}: ")


def test_a_report_names_the_run_whose_rewards_cannot_be_read(tmp_path: Path):
    bad = write_run(tmp_path, "sparse")
    instead("prices.jsonl", os.mkfifo)(bad)
    done = invoke("report", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    name = "/".join(bad.parts[-3:])
    assert f"not drawn: {name}: {name}/prices.jsonl is no regular file: move it away\n" in done.stderr
    assert "| sparse | " in done.stdout


AUDITS: dict[str, Damage] = {
    "a number of 400 digits": changed("audit.json", '"excluded": 0', f'"excluded": {LONG}'),
    "a number without end": changed("audit.json", '"chance": ', '"chance": 1e999, "x": '),
    "deep": lambda audit: (audit / "audit.json").write_text("[" * 200_000),
    "pipe": instead("audit.json", os.mkfifo),
    "folder": instead("audit.json", Path.mkdir),
    "device": instead("audit.json", ZERO),
    "too large": lambda audit: os.truncate(audit / "audit.json", 1 << 40),
}


@pytest.mark.parametrize("kind", AUDITS)
def test_a_bad_audit_is_named_and_the_rest_is_reported(kind: str, tmp_path: Path):
    write_run(tmp_path, "spa")
    write_audit(tmp_path, methods=("spa", "sparse"), seed=1)
    bad = write_audit(tmp_path, methods=("spa", "shuffled"), seed=2)
    AUDITS[kind](bad)
    found = gather([tmp_path])
    assert [problem.name for problem in found.problems] == ["/".join(bad.parts[-3:])]
    assert (len(found.audits), len(found.tables)) == (1, 1)
    shown = Live(tmp_path).now()[1]
    states = {run["name"]: run["state"] for run in shown["report"]["runs"]}
    assert states.pop("/".join(bad.parts[-3:])) == "unreadable"
    assert sorted(states.values()) == ["audit", "finished"]
