"""The package is typed, strictly, and so is what a user's type checker sees of it: one run of mypy for both."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import spa_bench

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: pip install mypy")
def test_the_package_is_typed_and_a_user_sees_the_types_and_what_is_unknown(tmp_path: Path) -> None:
    lines = [f"from spa_bench import {name}" for name in sorted(spa_bench.__all__)]
    lines += ["from spa_bench import Taks", "reveal_type(Trajectory.until)", "reveal_type(derive_seed)"]
    (tmp_path / "uses.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--package", "spa_bench", "--module", "uses"],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"MYPYPATH": str(tmp_path)},
    )  # fmt: skip
    *found, last = [line for line in done.stdout.splitlines() if ": note: See " not in line]
    assert [line.partition("uses.py:")[2].partition(": ")[2].split("  ")[0] for line in found] == [
        'error: Module "spa_bench" has no attribute "Taks"',
        'note: Revealed type is "def (self: spa_bench.core.Trajectory, turn: int) -> spa_bench.core.Trajectory"',
        'note: Revealed type is "def (*parts: object) -> int"',
    ], done.stdout + done.stderr
    assert last.startswith("Found 1 error in 1 file (checked "), last
