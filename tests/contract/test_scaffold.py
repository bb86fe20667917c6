"""`spa-bench new reward` writes files that pass as written, and the commands of docs/rewards.md print what it shows."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import spa_bench
from spa_bench import registry
from spa_bench.commands.cli import app
from spa_bench.contract import scaffold
from spa_bench.contract.check import examine
from spa_bench.core import UserError
from spa_bench.rewards.__main__ import card

ROOT = Path(__file__).resolve().parents[2]
WALK = ROOT / "docs" / "rewards.md"
OTHERS: tuple[registry.Room, ...] = ("environments", "agents")
NAMES = ("q", "on-what-worked", "zz_9", "ReturnToGo", "a" * scaffold.LONGEST)


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["new", "reward", *words])


def python(*words: str, folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=folder, env=os.environ | extra)


# The files


@pytest.mark.parametrize("name", ["-x", "--version", "it's mine", "$HOME"])
def test_the_next_commands_work_in_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    found = invoke("return-to-go", f"--folder={name}")
    assert found.exit_code == 0, found.output
    _, test, *commands = found.stdout.splitlines()
    check, run_test, _ = map(shlex.split, commands)
    collected = python(*run_test[1:], "-q", "-p", "no:cacheprovider", "--collect-only", folder=tmp_path)
    assert (collected.returncode, "test_return_to_go.py" in collected.stdout) == (0, True), collected.stdout
    assert Path(test).samefile(run_test[-1])
    assert registry.find("rewards", check[-1]).__name__ == "ReturnToGo"


def test_the_files_pass_their_test_and_the_check_as_written(tmp_path: Path):
    """In a folder with a space, and with no configuration of ours around."""
    folder = tmp_path / "my methods"
    folder.mkdir()
    found = invoke("return-to-go", "--folder", str(folder))
    assert found.exit_code == 0, found.output
    file, test, *commands = found.stdout.splitlines()
    assert (Path(file), Path(test)) == (folder / "return_to_go.py", folder / "test_return_to_go.py")
    check, run_test, run = map(shlex.split, commands)
    assert check == ["spa-bench", "check", "--reward", f"{file}:ReturnToGo"]
    assert run_test == ["python", "-m", "pytest", test]
    assert run == ["spa-bench", "run", "--env", registry.names("environments")[0], "--reward", f"{file}:ReturnToGo"]
    tested = python(*run_test[1:], "-q", "-p", "no:cacheprovider", folder=folder)
    assert (tested.returncode, "6 passed" in tested.stdout) == (0, True), tested.stdout
    report = examine(check[-1], {})
    assert (report.problem, {verdict.state for verdict in report.tests}) == (None, {"ok"})


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_short_and_the_card_is_complete(name: str, tmp_path: Path):
    file, test, address = scaffold.write("rewards", name, tmp_path)
    for written in (file, test):
        assert len(written.read_text(encoding="utf-8").splitlines()) < 60
        assert not re.search(r"CLASS|MODULE|NAME", written.read_text(encoding="utf-8"))
    assert card(file)["Conserves return"] == "yes."
    assert registry.build("rewards", address, refused=0.5).conserves_return
    with pytest.raises(UserError, match=r"^reward .*: refused=0: use a number above 0, up to 1$"):
        registry.build("rewards", address, refused=0)
    assert sorted(set(os.listdir(tmp_path)) - {"__pycache__"}) == sorted([file.name, test.name])


def test_the_files_import_what_the_package_itself_hands_out(tmp_path: Path):
    for written in scaffold.write("rewards", "mine", tmp_path)[:2]:
        lines = re.findall(r"^from spa_bench.*$", written.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(lines) == 1 and lines[0].startswith("from spa_bench import ")
        names = set(lines[0].removeprefix("from spa_bench import ").split(", "))
        assert names - {"registry"} <= set(spa_bench.__all__)


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed: pip install ruff")
def test_the_files_are_as_tidy_as_the_package(tmp_path: Path):
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    rules = configured["lint"]
    for name in NAMES:
        scaffold.write("rewards", name, tmp_path)
        for room in OTHERS:
            (tmp_path / room).mkdir(exist_ok=True)
            scaffold.write(room, name, tmp_path / room)
    lint = ["check", "--select", ",".join(rules["select"]), "--ignore", ",".join(rules["ignore"])]
    tests = ["--per-file-ignores", "test_*:D"]
    for words in ([*lint, *tests], ["format", "--check"]):
        done = python("-m", "ruff", *words, "--isolated", "--line-length", "120", ".", folder=tmp_path)
        assert done.returncode == 0, done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: pip install mypy")
def test_the_files_pass_mypy_strict(tmp_path: Path):
    """Strictly, against the package's own types; libraries that the files do not name are not read, torch above all."""
    file, *_ = scaffold.write("rewards", "on-what-worked", tmp_path)
    for room in OTHERS:
        scaffold.write(room, f"my-{room}", tmp_path)
    names = sorted(path.name for path in tmp_path.glob("*.py"))
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nfollow_imports = skip\n"
        "[mypy-spa_bench.*,numpy.*,pytest.*,_pytest.*]\nfollow_imports = silent\n"
    )
    words = ["--config-file", "mypy.ini", "--cache-dir", "cache"]

    def check() -> tuple[int, str]:
        done = python("-m", "mypy", *words, *names, folder=tmp_path, MYPYPATH=str(ROOT))
        return done.returncode, done.stdout

    assert check() == (0, "Success: no issues found in 6 source files\n")
    right = file.read_text(encoding="utf-8")
    file.write_text(right.replace("-> list[Floats]:", "-> list[str]:"), encoding="utf-8")
    status, said = check()
    assert status == 1 and 'incompatible with return type "list[ndarray[' in said, "the package's types are not seen"


# What is refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "cannot name a reward: use letters, digits and '-'"),
        ("3po", "beginning with a letter"),
        ("_mine", "beginning with a letter"),
        ("my method", "cannot name a reward"),
        ("lambda", "no keyword of Python"),
        ("mine.py", "cannot name a reward"),
        ("../mine", "cannot name a reward"),
        ("/tmp/mine", "cannot name a reward"),
        ("a/b", "cannot name a reward"),
        ("mine\n", "cannot name a reward"),
        ("größe", "cannot name a reward"),
        ("a" * (scaffold.LONGEST + 1), f"up to {scaffold.LONGEST} characters"),
        ("sparse", "there is a reward sparse already: choose another name"),
        ("all-on-last", "there is a reward all-on-last already"),
        ("all_on_last", "there is a reward all-on-last already"),
        ("Sparse", "there is a reward sparse already"),
        ("numpy", "would hide a module or class of that name"),
        ("json", "would hide a module or class of that name"),
        ("trajectory", "would hide a module or class of that name"),
        ("user-error", "would hide a module or class of that name"),
        ("floats", "would hide a module or class of that name"),
    ],
)
def test_a_bad_name_is_one_line_and_nothing_is_written(name: str, message: str, tmp_path: Path):
    found = invoke("--folder", str(tmp_path), "--", name)
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.output
    assert found.stderr.startswith("error: ") and message in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", ["mine.py", "test_mine.py"])
def test_a_file_that_exists_is_kept(existing: str, tmp_path: Path):
    (tmp_path / existing).write_text("precious")
    found = invoke("mine", "--folder", str(tmp_path))
    assert found.exit_code == 2
    assert found.stderr == f"error: {tmp_path / existing} is there already: choose another name, or another --folder\n"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {existing: "precious"}


def test_a_missing_folder_is_named(tmp_path: Path):
    found = invoke("mine", "--folder", str(tmp_path / "absent"))
    assert (found.exit_code, "there is no folder" in found.stderr) == (2, True)


def test_where_the_second_file_fails_the_first_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def write(path: Path, text: str) -> None:
        if path.name.startswith("test_"):
            raise OSError(28, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr(scaffold, "write_whole", write)
    with pytest.raises(UserError, match="No space left on device; choose another --folder"):
        scaffold.write("rewards", "mine", tmp_path)
    assert list(tmp_path.iterdir()) == []


# The page


def console(page: Path, after: str = "") -> list[tuple[str, list[str]]]:
    """Commands of a page behind this heading, each with the lines that it is said to print."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text[text.index(after) :], re.MULTILINE | re.DOTALL)
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def shown(expected: str, line: str) -> bool:
    """Whether a line is as the page says, where `...` may be anything."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), line) is not None


def carried_out(words: list[str], folder: Path) -> tuple[int, list[str]]:
    """Exit code, and the lines of both streams. Our own commands need no process of their own: only time."""
    program, *rest = words
    if program == "spa-bench":
        found = CliRunner().invoke(app, rest)
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found.exit_code, [*found.stdout.splitlines(), *found.stderr.splitlines()]
    assert program == "python"
    done = python(*rest, folder=folder)
    return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def test_the_commands_of_the_page_print_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    text = WALK.read_text(encoding="utf-8")
    (settings,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "quick.toml").write_text(settings, encoding="utf-8")
    walk = console(WALK)
    assert [command.split()[:2] for command, _ in walk] == [
        ["spa-bench", "new"],
        ["python", "-m"],
        *[["spa-bench", "check"]] * 3,
        ["spa-bench", "run"],
    ]
    carry_out(walk, tmp_path)


def carry_out(walk: list[tuple[str, list[str]]], folder: Path) -> None:
    for command, expected in walk:
        status, printed = carried_out(shlex.split(command), folder)
        missing = [line for line in expected if not any(shown(line, got) for got in printed)]
        assert (missing, status) == ([], 2 if expected[-1].startswith("error: ") else 0), "\n".join(printed)
        if expected[0].startswith("ok "):
            assert [line.split(": ")[0] for line in expected] == [line.split(": ")[0] for line in printed]


@pytest.mark.parametrize(
    ("page", "after", "commands"),
    [
        ("worlds.md", "## Start", ["new world", "-m pytest", "eval --env", "check --env"]),
        ("agents.md", "## An agent of one's own", ["new agent", "-m pytest", "eval --env", "check --agent"]),
    ],
)
def test_the_commands_of_worlds_and_agents_print_what_is_shown(
    page: str, after: str, commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What `new` has written passes its test, is found and is played in, all of it as shown."""
    monkeypatch.chdir(tmp_path)
    walk = console(WALK.with_name(page), after)
    assert [" ".join(command.split()[1:3]) for command, _ in walk] == commands
    carry_out(walk, tmp_path)


BUGS = {
    "environments": ("return all(state)", "return any(state)"),
    "agents": ("given.count(command) < self.times", "given.count(command) <= self.times"),
}


@pytest.mark.parametrize("room", BUGS)
def test_the_test_that_is_written_fails_when_the_file_is_broken(room: Any, tmp_path: Path):
    file, test, _ = scaffold.write(room, "mine", tmp_path)
    right, (old, new) = file.read_text(encoding="utf-8"), BUGS[room]
    assert right.count(old) == 1
    file.write_text(right.replace(old, new), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("test_mine", test)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises((AssertionError, UserError)):
        for name in [name for name in vars(module) if name.startswith("test_")]:
            vars(module)[name]()


def test_the_files_of_a_world_and_an_agent_are_short_and_import_what_the_package_hands_out(tmp_path: Path):
    limits = {"environments": 50, "agents": 30}
    for room, limit in limits.items():
        name = f"my-{room}"
        for written in scaffold.write(room, name, tmp_path)[:2]:
            text = written.read_text(encoding="utf-8")
            assert not re.search(r"CLASS|MODULE|NAME", text)
            (names,) = re.findall(r"^from spa_bench import (.*)$", text, re.MULTILINE)
            assert "spa_bench." not in text and {*names.split(", ")} - {"registry"} <= set(spa_bench.__all__)
        assert len((tmp_path / f"{name.replace('-', '_')}.py").read_text("utf-8").splitlines()) <= limit


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["world", "alfworld"], "there is a world alfworld already"),
        (["agent", "expert"], "there is an agent expert already"),
        (["world", "world"], "would hide a module or class of that name"),
        (["agent", "agent"], "would hide a module or class of that name"),
        (["world", "3d"], "cannot name a world: use letters"),
    ],
)
def test_a_bad_name_of_a_world_or_an_agent_is_one_line(words: list[str], message: str, tmp_path: Path):
    found = CliRunner().invoke(app, ["new", *words, "--folder", str(tmp_path)])
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.output
    assert message in found.stderr and list(tmp_path.iterdir()) == []


def test_the_page_says_how_a_package_offers_its_method():
    assert '[project.entry-points."spa_bench.rewards"]' in WALK.read_text(encoding="utf-8")
