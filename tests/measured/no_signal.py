"""How far decisions are pushed that were compared with nothing: `python tests/measured/no_signal.py RUN_FOLDER...`

Gives each iteration's training episodes (of runs of any method) the advantages of `rloo` and `grpo`, once whitened,
which centres them, and once as the trainer normalises them. A decision without a signal is one whose task's episodes
all have the same outcome. Prints its share, and its mean advantage in standard deviations.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spa_bench import credit, registry
from spa_bench.core import Floats, Trajectory
from spa_bench.runs.episodes import from_row
from spa_bench.runs.folder import RunFolder


def batches(folder: Path) -> list[list[Trajectory]]:
    """The training episodes of each iteration."""
    found: dict[int, list[Trajectory]] = {}
    for row in RunFolder(folder).episodes.scan():
        if row is not None and row.get("stage") == "train":
            found.setdefault(row["iteration"], []).append(from_row(row))
    return [found[iteration] for iteration in sorted(found)]


def advantages(name: str, batch: Sequence[Trajectory]) -> tuple[list[Floats], list[bool]]:
    """Per turn, one array for each episode; and whether its task's outcomes differ."""
    method = registry.build("rewards", name)
    judged: list[Floats] = [np.zeros(0)] * len(batch)
    heard = [False] * len(batch)
    for indices in credit.groups(batch):
        group = [batch[i] for i in indices]
        rewards = method.rewards(group)
        found = method.advantages(group, rewards, [np.zeros(len(r) + 1) for r in rewards], 1.0, 0.95)
        for i, (a, _) in zip(indices, found, strict=True):
            judged[i], heard[i] = a, len({t.outcome for t in group}) > 1
    return judged, heard


def main(folders: Sequence[str]) -> None:
    """Print the table."""
    print("| method | batches | decisions without a signal | their advantage, whitened | as normalised | largest |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in ("rloo", "grpo"):
        whitened, normalised, silent, count = [], [], [], 0
        for batch in (batch for folder in folders for batch in batches(Path(folder))):
            raw, heard = advantages(name, batch)
            count += 1
            silent += [not h for a, h in zip(raw, heard, strict=True) for _ in a]
            whitened += np.concatenate(credit.whiten(raw)).tolist()
            normalised += np.concatenate(credit.normalise(batch, raw, critic=False)).tolist()
        mute = np.array(silent)
        before, now = np.array(whitened)[mute], np.array(normalised)[mute]
        print(
            f"| {name} | {count} | {100 * mute.mean():.0f} % | {before.mean():+.3f} | {now.mean():+.3f} "
            f"| {np.abs(now).max(initial=0.0):.3g} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
