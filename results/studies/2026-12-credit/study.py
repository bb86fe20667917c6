"""Runs the study, or goes on with it: what has a summary in this folder is not run again.

    python results/studies/2026-12-credit/study.py --work FOLDER

needs the installed package alone; two cores take some five hours. It may be stopped at any moment, and goes on from
what is here and in FOLDER. A run that fails is named and tried again by the next call. `--list` prints what is left,
`--report` makes tables, figures and page of what is here.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spa_bench import registry
from spa_bench.analysis.played import OUTCOMES
from spa_bench.commands.options import Flags
from spa_bench.runs.folder import run_path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Part:
    """Methods that are compared in one world, from the same warm starts."""

    world: str
    rewards: tuple[str, ...]
    seeds: tuple[int, ...]
    config: str = str(HERE / "study.toml")
    """File or recipe with the settings."""

    def missing(self, summaries: Path) -> Iterator[tuple[int, list[str]]]:
        """Each seed with the methods that have no summary below `summaries`; none where all have."""
        for seed in self.seeds:
            if left := [reward for reward in self.rewards if not self.summary(summaries, reward, seed).exists()]:
                yield seed, left

    def summary(self, summaries: Path, reward: str, seed: int) -> Path:
        """Where the outcomes of one run lie once it is done."""
        config = Flags(env=self.world, file=Path(self.config)).config(reward=reward, seed=seed)
        return run_path(summaries, config) / OUTCOMES


ALFWORLD = (
    *("sparse", "ppo", "spa", "spa-published", "spa-released", "stepagent-inverse", "3spo", "rloo", "gigpo", "hgpo"),
    *("potential", "shuffled", "time-only"),
    *("spa:bonus=sum", "spa:exact=false", "3spo:key=state", "gigpo:key=state"),  # one change each: why
)
OTHERS = ("sparse", "spa", "spa-published", "gigpo")
SMOLLM2 = "recipe:smollm2-cpu"

PARTS = (
    *(Part(world, rewards, (seed,)) for seed in range(5) for world, rewards in (
        ("alfworld", ALFWORLD), ("webshop", OTHERS), ("virtualhome", OTHERS),
    )),
    *(Part("alfworld", ("sparse", "spa"), (seed,), SMOLLM2) for seed in range(3)),
)  # fmt: skip
"""In the order in which they are run: all worlds with one seed, then the next seed."""

PLACEBO = "shuffled"
"""`spa` with its step rewards permuted within each episode."""
WITH_PLACEBO = "alfworld"
"""The world where it is trained."""
IN_README = "credit-and-success-alfworld"
"""The figure that the project's README shows."""

AUDITED = ("alfworld", "webshop", "virtualhome")


def main(work: Path, jobs: int, only_list: bool, parts: Sequence[Part] = PARTS, summaries: Path = HERE) -> int:
    """Do what is left; returns the number of parts in which a run has failed."""
    failed = 0
    keep(work, summaries)
    for part in parts:
        for seed, rewards in part.missing(summaries):
            what = ["--env", part.world, "--reward", ",".join(rewards), "--seed", str(seed), "--seeds", "1"]
            what += ["--config", part.config]
            print("compare", *what, flush=True)
            if not only_list:
                failed += run("compare", *what, "--jobs", str(jobs), "--results", str(work)) != 0
                keep(work, summaries)
    for world in AUDITED if parts is PARTS else ():
        if not list((summaries / "audits" / world).glob("*")):
            print("audit", world, flush=True)
            if not only_list:
                failed += run("audit", *audit_words(world), "--results", str(work)) != 0
                keep(work, summaries)
    return failed


def audit_words(world: str) -> list[str]:
    """Options of an audit of every method there is, and of those that are trained with other options."""
    trained = (reward for part in PARTS if part.world == world for reward in part.rewards)
    rewards = dict.fromkeys([*registry.names("rewards"), *trained])
    return ["--env", world, "--reward", ",".join(rewards), "--config", str(HERE / "study.toml")]


def run(*words: str) -> int:
    """A command of the installed spa-bench (-P: not of the folder one is in); its exit code."""
    return subprocess.run([sys.executable, "-P", "-m", "spa_bench", *words], stdout=subprocess.DEVNULL).returncode


def publish(summaries: Path, to: Path) -> int:
    """Tables, figures and page of what has a summary: from `sparse`, and the differences from the placebo `shuffled`.

    Figures as SVG, as PNGs would be more bytes than all the rest; that of the README has both.

    Returns the number of reports that failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder)
        failed = int(run("report", str(summaries), "--out", str(to)) != 0)
        failed += run("report", str(summaries / "runs" / WITH_PLACEBO), "--out", folder, "--baseline", PLACEBO) != 0
        for table in beside.glob(f"tables/*-differences-{PLACEBO}.*"):
            shutil.copy(table, to / "tables")
    for picture in to.glob("figures/*.png"):
        if picture.stem != IN_README:
            picture.unlink()
    return failed


def keep(work: Path, summaries: Path) -> None:
    """Write summaries of what is finished, and remove its weights and texts."""
    if not [*work.glob("runs/*/*/*"), *work.glob("audits/*/*")]:
        return
    if run("summarise", str(work), "--to", str(summaries)):
        raise SystemExit(f"the runs in {work} cannot be kept: see above")
    for outcomes in summaries.glob(f"runs/*/*/*/{OUTCOMES}"):
        shutil.rmtree(work / outcomes.parent.relative_to(summaries), ignore_errors=True)
    shutil.rmtree(work / "audits", ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("study"), help="folder for what is under way; a gigabyte")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--list", action="store_true", help="print what is left, and run nothing")
    parser.add_argument("--report", action="store_true", help="make tables, figures and page, and run nothing")
    given = parser.parse_args()
    failed = publish(HERE, HERE / "report") if given.report else main(given.work, given.jobs, given.list)
    sys.exit(min(failed, 1))
