"""A report that is ended at any moment is completed by the same command, and touches nothing that is not its own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from invoked import invoke
from written_runs import write_run

from spa_bench.core import UserError
from spa_bench.locks import Lock
from spa_bench.report.contents import gather
from spa_bench.report.folder import BUILD, LOCK, MANIFEST, write

WRITTEN = ("os.rename", "os.remove", "os.mkdir", "os.truncate")
"""Events of Python that change a folder, beside files that are opened to be written."""


def forked(work: Callable[[], object]) -> int:
    """What a child process that does the work ends with: its exit code (0 done, 3 UserError, 4 other), or -signal."""
    child = os.fork()
    if child == 0:
        code = 4
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by whom a shell runs in the background
        try:
            work()
            code = 0
        except UserError as error:
            print(error, file=sys.stderr)
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_each_change(folder: Path, struck: Callable[[int], object]) -> None:
    """Call `struck` with the number of every change of the folder, before it is made. In a child: for ever."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in WRITTEN and not (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if str(arguments[0]).startswith(str(folder)):
            count += 1
            struck(count)

    sys.addaudithook(hook)


def report(results: Path, out: Path) -> None:
    write(gather([results]), [results], out)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


class Case:
    """Results that have changed since they were reported, and what the report of them should be."""

    def __init__(self, folder: Path) -> None:
        self.results, self.old, self.new = folder / "results", folder / "old", folder / "new"
        first = write_run(self.results, "ppo")
        write_run(self.results, "spa", wins="1110")
        report(self.results, self.old)
        (self.old / "tables/mine.csv").write_text("mine")
        shutil.rmtree(first)
        report(self.results, self.new)
        (self.new / "tables/mine.csv").write_text("mine")
        self.changes = {}
        counted, out = folder / "count", folder / "counted"

        def work() -> None:
            at_each_change(out, lambda count: counted.write_text(str(count)))
            report(self.results, out)

        for start in (None, self.old):
            self.copy(start, out)
            assert forked(work) == 0
            self.changes[start] = int(counted.read_text())
            shutil.rmtree(out)

    def copy(self, start: Path | None, out: Path) -> None:
        if start is not None:
            shutil.copytree(start, out)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("case"))


STRIKES = [
    *((signal.SIGKILL, share, again) for share in (0.02, 0.5, 0.8, 0.95, 1.0) for again in (False, True)),
    *(
        (signal.SIGTERM, 0.4, False),
        (signal.SIGTERM, 0.9, True),
        (signal.SIGINT, 0.9, False),
        (signal.SIGINT, 0.4, True),
    ),
]
"""Signal, share of the changes that are made before it, and whether there is an older report."""


@pytest.mark.parametrize(("sign", "share", "again"), STRIKES)
def test_t01_a_report_ended_by_a_signal_is_completed_by_the_next(
    case: Case, tmp_path: Path, sign: signal.Signals, share: float, again: bool
):
    out, start = tmp_path / "out", case.old if again else None
    case.copy(start, out)
    place = max(1, round(share * case.changes[start]))

    def work() -> None:
        at_each_change(out, lambda count: os.kill(os.getpid(), sign) if count == place else None)
        report(case.results, out)

    assert forked(work) == (4 if sign == signal.SIGINT else -sign)  # 4: KeyboardInterrupt
    left = {name for name in files(out) if not Path(name).parts[0].startswith(".")}
    listed = json.loads((out / MANIFEST).read_text())["files"] if left else []
    assert left <= {*listed, MANIFEST, "tables/mine.csv"}
    report(case.results, out)
    wanted = files(case.new)
    assert files(out) == (wanted if again else {name: wanted[name] for name in wanted if name != "tables/mine.csv"})


def test_t10_a_full_disk_leaves_the_older_report_as_it_was(case: Case, tmp_path: Path, capfd: Any):
    out = tmp_path / "out"
    case.copy(case.old, out)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        report(case.results, out)

    assert forked(work) == 3
    assert capfd.readouterr().err == f"cannot write {out}: File too large; choose another folder with --out\n"
    assert files(out) == files(case.old)
    report(case.results, out)
    assert files(out) == files(case.new)


@pytest.mark.parametrize("name", ["figures", "tables", MANIFEST, LOCK, BUILD])
def test_a_link_below_the_folder_is_not_followed(case: Case, tmp_path: Path, name: str):
    """As in a results folder from somebody else, whose list names what lies behind the link."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    case.copy(case.old, out)
    shutil.copytree(case.old, elsewhere)
    (elsewhere / "spa.png").write_text("mine")
    content = json.loads((out / MANIFEST).read_text())
    (out / MANIFEST).write_text(json.dumps({"files": [*content["files"], "figures/spa.png", "tables/spa.png"]}))
    shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)
    (out / name).symlink_to(elsewhere / MANIFEST if name == MANIFEST else elsewhere)
    before, here = files(elsewhere), files(out)
    with pytest.raises(UserError, match=r"is a link, and a report follows none: remove it, or choose another --out$"):
        report(case.results, out)
    assert (files(elsewhere), files(out)) == (before, here)


def test_a_link_in_the_place_of_a_file_is_replaced_and_what_it_leads_to_stays(case: Case, tmp_path: Path):
    out, victim = tmp_path / "out", tmp_path / "victim"
    case.copy(case.old, out)
    victim.write_text("mine")
    for name in ("tables.md", "index.html", "figures/learning-curves.json", "tables/stale.csv"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(victim)
    report(case.results, out)
    assert victim.read_text() == "mine"
    assert not (out / "tables.md").is_symlink() and not (out / "index.html").is_symlink()
    assert (out / "tables/stale.csv").is_symlink()  # in no list


def test_nothing_is_removed_that_no_report_can_have_written(case: Case, tmp_path: Path):
    out = tmp_path / "out"
    case.copy(case.old, out)
    kept = ("thesis.tex", "tables/notes.txt", "figures/.hidden.png", "tables/deep/a.csv", "report.log")
    for name in kept:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    (out / "tables/gone.csv").write_text("ours")
    (out / MANIFEST).write_text(json.dumps({"files": [*kept, "tables", ".", "", "\0", "tables/gone.csv"]}))
    report(case.results, out)
    assert {name: (out / name).read_text() for name in kept} == dict.fromkeys(kept, "mine")
    assert not (out / "tables/gone.csv").exists()


@pytest.mark.parametrize("listed", ['{"files": [3]}', '{"files": {"a": 1}}', "[" * 200_000, "1e999"])
def test_a_list_that_is_none_ends_in_one_line(case: Case, tmp_path: Path, listed: str):
    (tmp_path / "file").write_text("mine")
    (tmp_path / MANIFEST).write_text(listed)
    before = files(tmp_path)
    if listed.startswith('{"files": {'):
        report(case.results, tmp_path)  # a list without one of our files
    else:
        with pytest.raises(UserError, match="no report has written: choose another folder with --out"):
            report(case.results, tmp_path)
        assert files(tmp_path) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    out = tmp_path / "out"
    out.mkdir()
    lock = Lock(out / LOCK)
    assert lock.acquire(wait=False)
    yield out
    lock.release()


def test_t19_two_reports_at_once_are_one_and_a_line(case: Case, held: Path):
    with pytest.raises(UserError, match=f"is being written by process {os.getpid()}: wait for it"):
        report(case.results, held)
    assert list(files(held)) == [LOCK]


def test_the_default_folder_may_be_no_link_to_elsewhere(case: Case, tmp_path: Path):
    results = Path(shutil.copytree(case.results, tmp_path / "results"))
    (tmp_path / "elsewhere").mkdir()
    (results / "report").symlink_to(tmp_path / "elsewhere")
    done = invoke("report", str(results))
    assert done.exit_code == 2
    assert done.stderr == f"error: {results / 'report'} is a link: name the folder to write into with --out\n"
    assert files(tmp_path / "elsewhere") == {}
    assert invoke("report", str(results), "--out", str(results / "report")).exit_code == 0
