"""Disks that are full, read-only or somebody else's: one line that names the folder, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from apart import Ended, command, content, settings, without_powers
from invoked import invoke
from small_disk import disk, fill, remount

from spa_bench import files
from spa_bench.commands import failures
from spa_bench.core import UserError
from spa_bench.locks import machine_name

SIZE = ("--groups", "2", "--samples", "2", "--points", "0", "--probes", "0", "--fits", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and a results folder that holds a finished run and an audit."""
    folder = tmp_path_factory.mktemp("made")
    run(folder, folder / "results").done()
    audit(folder, folder / "results").done()
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    with disk(tmp_path / "small", 4 << 20) as folder:
        yield folder


def run(made: Path, results: Path, *words: str, folder: Path | None = None, **more: str) -> Ended:
    """Train with the tiny settings; the same command resumes."""
    told = ("run", "--config", settings(made), "--reward", "sparse", "--results", results, *words)
    return command(*told, folder=folder or made, **more)


def audit(made: Path, results: Path) -> Ended:
    return command("audit", "--config", settings(made), "--reward", "sparse", "--results", results, *SIZE, folder=made)


def table(ended: Ended) -> str:
    """What was printed, without the seconds that it took."""
    return ended.out.partition("**cost of one run**")[0]


def test_t10_a_run_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(made: Path, tmp_path: Path):
    """Wherever the disk is full: at its journal, at the tokenizer or the weights of a checkpoint, in an evaluation."""
    wanted = table(run(made, made / "results").done())
    weights = content(made / "results" / "runs")
    with disk(tmp_path / "small", 4096) as small:
        for size in (8, 64, 150, 200, 300, 450):
            remount(small, f"size={size << 10}")
            before = content(small)
            run(made, small / "results").refused(str(small))
            after = content(small)
            assert all(after[name].startswith(text) for name, text in before.items() if name.endswith(".jsonl"))
            assert not [name for name in after if ".tmp-" in name]
        remount(small, "size=8m")
        assert table(run(made, small / "results").done()) == wanted
        for name, text in content(small / "results" / "runs").items():
            assert not name.endswith(".safetensors") or text == weights[name]


def test_t10_a_cache_on_a_full_disk_ends_in_one_line_and_is_made_when_there_is_room(made: Path, tmp_path: Path):
    """The world's tasks, the tokenizer and the weights of a warm start, explored episodes: whatever does not fit."""
    with disk(tmp_path / "small", 4096) as small:
        for size in (8, 400, 950, 1010):
            remount(small, f"size={size << 10}")
            run(made, tmp_path / "results", SPA_BENCH_CACHE=str(small / "cache")).refused(str(small))
            assert not [name for name in content(small) if ".tmp-" in name]
        remount(small, "size=16m")
        again = run(made, tmp_path / "results", SPA_BENCH_CACHE=str(small / "cache")).done()
    assert table(again) == table(run(made, made / "results"))


@pytest.mark.parametrize("free", [0, 20_000])
def test_t10_what_is_written_beside_runs_ends_in_one_line_and_earlier_files_stay(made: Path, small: Path, free: int):
    shutil.copytree(made / "results", small / "results")
    report = ("report", made / "results", "--out", small / "report")
    command(*report, folder=made).done()
    expert = ("eval", "--config", settings(made), "--agent", "expert", "--results", small / "results")
    fill(small, free)
    before = content(small / "results")
    audit(made, small / "results").refused(str(small))
    assert content(small / "results") == before
    command(*report, "--html", small / "page.html", folder=made).refused(str(small))
    command(*report, folder=made).refused(str(small))
    command(*expert, folder=made).refused(str(small))
    if not free:
        command("new", "reward", "my-method", "--folder", small, folder=made).refused(str(small))
        assert not (small / "my_method.py").exists() and not (small / "page.html").exists()
    assert {name: content(small / "results")[name] for name in before} == before
    if not free:
        return
    (small / "filler").unlink()
    remount(small, "size=16m")
    audit(made, small / "results").done()
    for words in (report, expert, ("new", "reward", "my-method", "--folder", small)):
        command(*words, folder=made).done()


def test_t10_in_a_read_only_folder_a_finished_run_is_printed_and_nothing_else_begins(made: Path, small: Path):
    wanted = run(made, made / "results").done()
    shutil.copytree(made / "results", small / "results")
    remount(small, "ro")
    found = run(made, small / "results").done()
    assert found.out == wanted.out
    assert "Traceback" not in run(made, small / "results", "--track", "tensorboard").err
    run(made, small / "results", "--seed", "5").refused(str(small), "choose another folder with --results")
    audit(made, small / "results").refused(str(small), "Read-only")
    command("report", small / "results", folder=made).refused(str(small), "--out")
    for world in ("alfworld", "virtualhome", "smollm2"):
        command("data", "get", world, "--data", small / "data", "--from", made, folder=made).refused(str(small))


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux, to have two users")
def test_t10_a_folder_of_somebody_else_is_one_line(made: Path, tmp_path: Path):
    theirs = tmp_path / "theirs"
    shutil.copytree(made / "results", theirs / "results")
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, 65534, 65534)
        path.chmod(0o755 if path.is_dir() else 0o644)
    meek = partial(command, folder=made, first=without_powers)
    common = ("--config", settings(made), "--reward", "sparse")
    wanted = run(made, made / "results").done()
    assert meek("run", *common, "--results", theirs / "results").done().out == wanted.out
    meek("run", *common, "--results", theirs / "new").refused(str(theirs), "Permission denied")
    meek("audit", *common, "--results", theirs / "results", *SIZE).refused(str(theirs), "Permission denied")
    meek("report", theirs / "results").refused(str(theirs), "--out")
    meek("new", "reward", "my-method", "--folder", theirs).refused(str(theirs))
    meek("data", "get", "alfworld", "--data", theirs / "data", "--from", made).refused(str(theirs), "Permission denied")
    meek("run", *common, "--results", made / "r", SPA_BENCH_CACHE=str(theirs)).refused(str(theirs), "SPA_BENCH_CACHE")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("report", "results"),
        ("report", "results", "--json"),
        ("run", "--config", "tiny.toml", "--reward", "sparse", "--results", "results"),
        ("compare", "--config", "tiny.toml", "--reward", "sparse", "--dry-run"),
        ("bench", "--config", "tiny.toml", "--seconds", "0.01", "--json"),
        ("doctor", "--json"),
        ("check", "--reward", "sparse"),
    ],
)
def test_t10_output_that_cannot_be_written_is_one_line(made: Path, words: tuple[str, ...]):
    found = command(*words, folder=made, out=Path("/dev/full"))
    assert (found.code, found.err.splitlines()[-1]) == (
        2,
        f"error: cannot write the output: {os.strerror(errno.ENOSPC)}; send it elsewhere",
    )
    assert found.err.count("error: ") == 1 and "Traceback" not in found.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_t10_an_error_stays_the_only_one_where_the_output_cannot_be_written_either(made: Path):
    words = ("check", "--reward", "sparse", "--seconds", "0")
    command(*words, folder=made, out=Path("/dev/full")).refused("allowed are 0")


def test_t10_a_reader_that_goes_away_is_one_line(made: Path):
    words = [sys.executable, "-m", "spa_bench", "report", str(made / "results"), "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert (process.returncode, said) == (
        2,
        f"error: cannot write the output: {os.strerror(errno.EPIPE)}; send it elsewhere\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_t10_errors_that_nobody_can_read_still_have_an_exit_code(made: Path):
    assert command("report", "nowhere", folder=made, err=Path("/dev/full")).code == 2
    found = command(
        "run", "--config", "tiny.toml", "--reward", "sparse", "--seed", "1", folder=made, err=Path("/dev/full")
    )
    assert found.code == 2
    run(made, made / "results", "--seed", "1").done()


@pytest.mark.skipif(sys.platform == "win32", reason="locales of POSIX")
def test_t10_without_a_home_and_in_a_plain_locale_all_is_the_same(made: Path, tmp_path: Path):
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SPA_BENCH_CACHE") if name in os.environ}
    results = tmp_path / "r\u00e9sultats \u2603"
    shutil.copytree(made / "results", results)
    for words in (["report", str(results)], ["run", "--config", "tiny.toml", "--reward", "sparse", "--seed", "2"]):
        found = subprocess.run(
            [sys.executable, "-m", "spa_bench", *words], capture_output=True, cwd=made, env=kept | plain
        )
        assert found.returncode == 0, found.stderr.decode()
        assert "Traceback" not in found.stderr.decode()
        found.stdout.decode("ascii")
    ordinary = command("report", made / "results", "--out", tmp_path / "report", folder=made).done()
    assert content(tmp_path / "report").keys() == content(results / "report").keys()
    assert "\u0394" in ordinary.out and "\u0394" in (results / "report" / "tables.md").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_too_little_memory_is_one_line(made: Path):
    limited = f"ulimit -v 700000; exec {sys.executable} -m spa_bench run --config tiny.toml --reward sparse --seed 3"
    found = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, cwd=made)
    Ended(found.returncode, found.stdout, found.stderr).refused("out of memory", "ulimit -v")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 40 bytes."),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
    ],
)
def test_memory_and_threads_that_are_not_there_are_told_alike(error: Exception):
    told = failures.told(error)
    assert told is not None and told.startswith("out of memory or threads") and "\n" not in told


def test_a_defect_is_none_of_these():
    for error in (RuntimeError("no"), OSError(errno.ENOENT, "x", "y"), KeyError("os error 28"), ImportError("torch")):
        assert failures.told(error) is None


class Rust(Exception):
    """As the library in Rust raises them."""


def test_t10_what_libraries_raise_names_the_folder_that_was_written(tmp_path: Path):
    final = tmp_path / "entry"
    for raised, named in (
        (Rust("I/O error: No space left on device (os error 28)"), final),
        (OSError(errno.ENOSPC, "x"), final),
        (OSError(errno.EROFS, "x", str(tmp_path / f".tmp-entry-{machine_name()}" / "weights")), final),
        (OSError(errno.EACCES, "x", str(tmp_path / "elsewhere")), tmp_path / "elsewhere"),
    ):
        with pytest.raises(OSError, match=r".") as caught, files.folder_whole(final):
            raise raised
        assert caught.value.filename == str(named)
        assert not list(tmp_path.iterdir())
    for raised in (Rust("another"), UserError("said"), ValueError("28")):
        with pytest.raises(type(raised)), files.folder_whole(final):
            raise raised


def test_each_folder_has_its_own_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for file, remedy in (
        (tmp_path / "cache" / "x", "SPA_BENCH_CACHE"),
        (tmp_path / "temporary" / "tmp12" / "x", "TMPDIR"),
        (tmp_path / "results", "choose another folder"),
    ):
        told = failures.told(OSError(errno.ENOSPC, "", str(file)))
        assert told is not None and told.startswith(f"cannot use {file}: ") and remedy in told and "free space" in told
        told = failures.told(OSError(errno.EROFS, "", str(file)))
        assert told is not None and remedy in told and "free space" not in told


def test_a_folder_for_temporary_files_that_is_full_is_told(tmp_path: Path):
    told = failures.told(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"))
    assert told is not None and "TMPDIR" in told


def test_a_file_in_place_of_a_folder_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("dear")
    small = ("--set", "world.options.train=2", "--set", "world.options.valid=2", "--set", "ppo.minibatches=1")
    found = invoke("run", "--env", "alfworld", "--reward", "sparse", "--results", str(tmp_path / "file"), *small)
    assert found.exit_code == 2 and found.stderr.count("\n") == 1 and str(tmp_path / "file") in found.stderr
    assert (tmp_path / "file").read_text() == "dear"
