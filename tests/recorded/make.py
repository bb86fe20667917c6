"""Records the runs and the audit that tests/report/test_recorded.py reports: real ones, without what no table needs.

    python tests/recorded/make.py WORK_FOLDER

takes some ten minutes on two cores. Kept are `run.json`, `metrics.jsonl`, the episodes of the held-out panels without
observations, replies and tokens (actions stay), and the audit's numbers, episodes and prices. After it, write what the
tests expect anew, and look at what changed: `python tests/report/test_recorded.py`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "results"
SMALL = ["--set", "ppo.iterations=3", "--set", "eval.tasks=20"]
AUDIT = ["--groups", "8", "--samples", "2", "--points", "12", "--probes", "3"]
COMMANDS = (
    ["compare", "--env", "alfworld", "--reward", "sparse,ppo,spa,spa:alpha=0", "--seeds", "2", *SMALL],
    ["compare", "--env", "webshop", "--reward", "ppo,spa", "--seeds", "2", *SMALL],
    ["audit", "--env", "alfworld", "--reward", "ppo,spa,potential,shuffled,time-only", *AUDIT],
)


def main(work: Path) -> None:
    for command in COMMANDS:
        subprocess.run([sys.executable, "-m", "spa_bench", *command, "--results", str(work)], check=True)
    shutil.rmtree(HERE, ignore_errors=True)
    for file in sorted(work.rglob("*.json*")):
        if file.name in ("run.json", "metrics.jsonl", "audit.json", "episodes.jsonl") or "audits" in file.parts:
            kept = HERE / file.relative_to(work)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(stripped(file), encoding="utf-8", newline="\n")


def stripped(file: Path) -> str:
    """The file's text; of episodes only those of the panels, without long texts."""
    text = file.read_text(encoding="utf-8")
    if file.name != "episodes.jsonl":
        return text
    rows = [json.loads(line) for line in text.splitlines()]
    kept = [bare(row) for row in rows if row["stage"] in ("warm_start", "eval", "audit")]
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in kept)


def bare(row: dict[str, Any]) -> dict[str, Any]:
    steps = [step | {"observation": "", "reply": "", "tokens": None} for step in row["steps"]]
    return row | {"steps": steps, "final_observation": ""}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
