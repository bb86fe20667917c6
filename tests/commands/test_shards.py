"""Parts of a comparison, as the jobs of an array do them: each run in one of them, and the same table at the end."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
from invoked import invoke
from outcome import outcome
from test_docs import ROOT, blocks

from spa_bench.commands.comparison import shard
from spa_bench.commands.options import to_toml
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.training import experiment

STUB = """#!/bin/bash
printf '%s\\0' "$@" > "$SAID/$(basename "$0")-$SLURM_ARRAY_TASK_ID"
exit "$CODE"
"""


def named(configs: Sequence[RunConfig]) -> list[tuple[str, dict[str, Any], int]]:
    return [(one.reward, one.reward_options, one.seed) for one in configs]


def test_each_run_is_in_one_part_whatever_the_order_in_which_they_are_typed() -> None:
    options: list[dict[str, Any]] = [{}, {"alpha": 0.5}, {"alpha": 2.0}]
    configs = [tiny.config(reward="spa", reward_options=o, seed=s) for s in (10, 2, 1) for o in options]
    for parts in (1, 2, 3, 4, 9, 12):
        dealt = [named(shard(configs, f"{part}/{parts}")) for part in range(1, parts + 1)]
        again = [named(shard(configs[::-1], f"{part}/{parts}")) for part in range(1, parts + 1)]
        assert dealt == again
        assert sorted(map(str, itertools.chain(*dealt))) == sorted(map(str, named(configs)))
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    by_seed = [{one.seed for one in shard(configs, f"{part}/3")} for part in (1, 2, 3)]
    assert by_seed == [{1}, {2}, {10}], "as many parts as seeds: one seed each"


@pytest.mark.parametrize("words", ["0/3", "4/3", "3", "1/", "-1/3", "1/0", "a/b", "1/3/5", " 1/3"])
def test_what_is_no_part_is_one_line(words: str) -> None:
    with pytest.raises(UserError, match=r"^--shard .*: give the part and their number, from 1/8 to 8/8 "):
        shard([tiny.config()], words)


def test_parts_one_after_another_make_what_one_comparison_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    (file := tmp_path / "tiny.toml").write_text(to_toml(tiny.SETTINGS), encoding="utf-8")
    words = ["compare", "--env", "alfworld", "--reward", "sparse,uniform", "--seeds", "2", "--config", str(file)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert invoke(*words, "--results", str(whole)).exit_code == 0
    done = []
    for part in ("2/3", "1/3", "3/3", "2/3"):
        said = invoke(*words, "--results", str(parts), "--shard", part, "--json")
        assert said.exit_code == 0, said.output
        assert json.loads(said.stdout)["shard"] == part
        done.append(json.loads(said.stdout)["runs"])
    assert [len(runs) for runs in done] == [1, 2, 1, 1] and done[0] == done[3]
    assert outcome(parts) == outcome(whole)
    said = invoke(*words, "--results", str(parts), "--shard", "9/9")
    assert (said.exit_code, said.stdout) == (0, ""), "no run is left for the ninth of nine parts"
    assert "shard 9/9: 0 runs are finished" in said.stderr


@pytest.mark.skipif(os.name != "posix", reason="bash")
def test_the_job_array_of_the_docs_does_every_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its script is run by bash for every number of the array; what it calls is then called here."""
    (script,) = [block for block in blocks(ROOT / "docs" / "cluster.md", "bash") if "--array" in block]
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", script).groups())  # type: ignore[union-attr]
    for name in ("spa-bench", "scontrol"):
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    asked: list[tuple[str, dict[str, Any], int]] = []

    def compare(configs: Sequence[RunConfig], *_: Any) -> list[Path]:
        asked.extend(named(configs))
        return []

    monkeypatch.setattr(experiment, "compare", compare)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for number in range(first, last + 1):
        code = 3 if number == first else 0
        mine = {"SAID": str(tmp_path), "CODE": str(code), "SLURM_JOB_ID": "77", "HOME": str(tmp_path)}
        subprocess.run(["bash", "-c", script], env=os.environ | mine | {"SLURM_ARRAY_TASK_ID": str(number)})
        words = (tmp_path / f"spa-bench-{number}").read_text().split("\0")[:-1]
        assert invoke(*words).exit_code == 0, words
        again = tmp_path / f"scontrol-{number}"
        assert again.exists() == (code == 3), "begun again where the deadline came first, and only there"
        assert not again.exists() or again.read_text() == "requeue\0" + "77\0"
    assert len(asked) == last - first + 1
    assert sorted(map(str, asked)) == sorted(
        str((method, {}, seed)) for method in ("sparse", "ppo", "spa", "gigpo", "3spo") for seed in range(3)
    )
