"""Which code a run and a start depend on: of a method, and of a world of another package."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import SETTINGS, config

import spa_bench
from spa_bench import registry
from spa_bench.method import RewardMethod
from spa_bench.runs.folder import PINNED
from spa_bench.training import experiment, start
from spa_bench.training.code import parts, reward_code

ROOT = Path(spa_bench.__file__).parent.parent
PRINT = "from spa_bench import registry; from spa_bench.training.code import reward_code; " + (
    "print(*(reward_code(registry.build('rewards', n)) for n in ('sparse', 'spa', 'rudder', 'stepagent-inverse')))"
)


def codes(root: Path) -> list[str]:
    """Of `sparse`, `spa`, `rudder` and `stepagent-inverse`, in a process of their own that takes the package there."""
    done = subprocess.run([sys.executable, "-c", PRINT], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package in another folder, as it is installed: without links."""
    shutil.copytree(ROOT / "spa_bench", tmp_path / "copy/spa_bench", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "copy"))
    return tmp_path / "copy"


LEARNED = {"_clock", "_episode_digest", "_learned", "_network"}


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("sparse", {"sparse"}),
        ("spa", {"spa", "_decomposition", "_forms"} | LEARNED),
        ("rudder", {"rudder"} | LEARNED),
        ("stepagent-inverse", {"stepagent_inverse"} | LEARNED),
    ],
)
def test_the_code_of_a_method_is_what_it_reaches_in_the_package_of_methods(name: str, modules: set[str]) -> None:
    found = dict(parts(registry.find("rewards", name), RewardMethod))
    assert found.keys() == {f"spa_bench.rewards.{module}" for module in modules}
    assert {file.stem for file in found.values()} == modules


def test_an_edit_of_the_training_loop_touches_the_methods_that_learn_by_it(copied: Path) -> None:
    before = codes(copied)
    with (copied / "spa_bench/rewards/_network.py").open("a") as edited:
        edited.write("# another idea\n")
    assert [one != other for one, other in zip(before, codes(copied), strict=True)] == [False, True, True, True]


def test_the_same_code_has_the_same_digest_wherever_it_lies_and_whatever_is_set(copied: Path) -> None:
    """Runs of one method share their row in a table: options, folders and what else is loaded do not count."""
    here = [reward_code(registry.build("rewards", n)) for n in ("sparse", "spa", "rudder", "stepagent-inverse")]
    assert codes(copied) == here
    assert reward_code(registry.build("rewards", "spa", backbone="tuned", beta=0.0)) == here[1]


def test_a_method_of_another_package_is_known_by_all_that_it_imports_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_methods"
    (package / "parts").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "method.py": "from spa_bench.rewards.rrd import RRD\nfrom . import helper\n\n\nclass Mine(RRD):\n    pass\n",
        "helper.py": "def late():\n    from some_methods.parts import deep\n",
        "parts/__init__.py": "",
        "parts/deep.py": "",
        "unused.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    mine: Any = importlib.import_module("some_methods.method").Mine()
    seen = [reward_code(mine)]
    for name in ("unused.py", "parts/deep.py", "helper.py", "method.py"):
        (package / name).write_text(files[name] + "# edited\n")
        seen.append(reward_code(mine))
    assert seen[0] == seen[1] and len(set(seen[1:])) == 4
    assert "some_methods.parts.deep" not in sys.modules


WORLD = """
from spa_bench.environments.alfworld.env import ALFWorld
from my_worlds import rules


class Mine(ALFWorld):
    content = {content!r}

    def __init__(self, data=None, **options):
        super().__init__(**options)
"""


def identity(data: str | None) -> str:
    world = SETTINGS["world"] | ({"data": data} if data else {})
    common = start.begin(config(world=world))
    return start.digest(start._identity(common))


@pytest.mark.parametrize("content", ["", "abc"])
def test_a_world_of_another_package_is_known_by_its_code_and_its_data(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_worlds"
    package.mkdir()
    for name, text in (("__init__", ""), ("env", WORLD.format(content=content)), ("rules", "")):
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_worlds"]:
        monkeypatch.delitem(sys.modules, name)
    kind = importlib.import_module("my_worlds.env").Mine
    monkeypatch.setattr(start, "world", lambda settings: lambda: kind(**settings.world.arguments()))
    first = identity("/data/one")
    assert (first == identity("/data/two")) == bool(content), "data count by content, else by place"
    common = start.begin(config())
    before = experiment.facts(common, {})["world_code"]
    (package / "rules.py").write_text("# edited")
    assert identity("/data/one") != first
    assert experiment.facts(start.begin(config()), {})["world_code"] != before
    assert "world_code" in PINNED


def test_the_starts_of_built_in_worlds_have_the_keys_that_they_had() -> None:
    for env in ("alfworld", "webshop", "virtualhome"):
        options = {"products": 60, "valid": 4} if env == "webshop" else {"train": 24, "valid": 6}
        common = start.begin(config(env=env, world={"max_steps": 6, "options": options}))
        settings = common.config.world.model_dump() | {"data": None}
        keys = [task.key for task in common.train]
        assert start._identity(common)[:2] == [env, [settings, common.content, keys]]
        assert "world_code" not in experiment.facts(common, {})
