"""Puts known mistakes into a copy of the code, one at a time, and says which of them the tests notice.

    python tests/mutants/run.py          # all of `mistakes.toml`: some seconds of processor time for each
    python tests/mutants/run.py '*kl*'   # those whose names fit a pattern

The list says of each mistake in which file it is, the right text, the wrong text, and which tests should notice. The
copy lies in a temporary folder; the working tree is only read. Ends with 1 where a mistake survives, and with 2 where
the list does not fit the code: a text is not there exactly once, or the tests fail without any mistake.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIST = Path(__file__).with_name("mistakes.toml")
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
RESULTS = ("runs", "evals", "audits", "report", "trackio")
"""Folders of `results/`, which may be large and which no test reads."""
LIMIT = 600
"""Seconds after which tests that do not end have noticed the mistake."""
PASSED, FAILED = 0, 1
"""What pytest ends with; anything else is no verdict of a test."""


class Wrong(Exception):
    """The list does not fit the code."""


@dataclass(frozen=True)
class Mistake:
    """One change to one file; `tests` are pytest's names of the tests that should notice, seen from `tests/`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def mistakes(path: Path, patterns: Sequence[str]) -> list[Mistake]:
    """Those of the list whose names fit a pattern, in its order; all of them without a pattern."""
    known = tomllib.loads(path.read_text(encoding="utf-8"))
    listed = [Mistake(name, **{**entry, "tests": tuple(entry["tests"])}) for name, entry in known.items()]
    chosen = [one for one in listed if not patterns or any(fnmatch.fnmatch(one.name, p) for p in patterns)]
    if not chosen:
        raise Wrong(f"no mistake is called {' or '.join(patterns)}; there are: {', '.join(known)}")
    return chosen


def mistaken(text: str, mistake: Mistake) -> str:
    """A file's text with the mistake in it."""
    if (found := text.count(mistake.old)) != 1:
        raise Wrong(f"{mistake.name}: this stands {found} times in {mistake.file}, not once: {mistake.old.strip()!r}")
    return text.replace(mistake.old, mistake.new)


def test(copy: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests of the copy up to the first failure; pytest's code, and what it said."""
    options = ["-c", "../pyproject.toml", "--rootdir", "..", "-x", "-q", "--tb=line", "-p", "no:cacheprovider"]
    try:
        done = python(copy, "-m", "pytest", *options, *dict.fromkeys(tests))
    except subprocess.TimeoutExpired:
        return FAILED, "did not end"
    return done.returncode, done.stdout[-2000:]


def python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the copy's `tests/`, with the copy's code."""
    # A compiled file is taken for that of a source of the same size and second: none may be left behind.
    own = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command, env = [sys.executable, *arguments], os.environ | own
    return subprocess.run(command, cwd=copy / "tests", env=env, capture_output=True, text=True, timeout=LIMIT)


def tried(copy: Path, chosen: Sequence[Mistake]) -> Iterator[tuple[Mistake, bool, float]]:
    """Each mistake, whether it was noticed, and the seconds that this took."""
    for mistake in chosen:
        file = copy / mistake.file
        right, started = file.read_text(encoding="utf-8"), time.monotonic()
        file.write_text(mistaken(right, mistake), encoding="utf-8")
        code, said = test(copy, mistake.tests)
        file.write_text(right, encoding="utf-8")
        if code not in (PASSED, FAILED):
            raise Wrong(f"{mistake.name}: the tests did not run (pytest ended with {code}):\n{said}")
        yield mistake, code == FAILED, time.monotonic() - started


def left_out(folder: str, names: list[str]) -> set[str]:
    """What of a folder is not copied."""
    return LEFT_OUT(folder, names) | (set(RESULTS) if Path(folder) == ROOT / "results" else set())


def report(copy: Path, chosen: Sequence[Mistake]) -> int:
    """Print a Markdown table, a row as soon as it is known; returns how many survived."""
    for mistake in chosen:
        mistaken((copy / mistake.file).read_text(encoding="utf-8"), mistake)
    if not python(copy, "-c", "import spa_bench; print(spa_bench.__file__)").stdout.startswith(str(copy)):
        raise Wrong("an installed spa_bench comes before PYTHONPATH, so the copy would not be tested: uninstall it")
    code, said = test(copy, (name for mistake in chosen for name in mistake.tests))
    if code != PASSED:
        raise Wrong(f"the tests do not pass without a mistake (pytest ended with {code}):\n{said}")
    print("| mistake | file | tests | seconds |\n|---|---|---|---|", flush=True)
    survived = 0
    for mistake, noticed, seconds in tried(copy, chosen):
        survived += not noticed
        result = "noticed" if noticed else "**survived**"
        print(f"| {mistake.name} | {mistake.file} | {result} | {seconds:.0f} |", flush=True)
    print(f"\n{len(chosen) - survived} of {len(chosen)} noticed")
    return survived


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="patterns such as 'ppo-*'; default: all of the list")
    try:
        chosen = mistakes(LIST, parser.parse_args().names)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder).resolve() / "copy"
            shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)
            return int(report(copy, chosen) > 0)
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
