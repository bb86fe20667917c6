"""Names to classes: listing imports nothing, finding imports one module, every mistake gets one line that helps."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from spa_bench import registry
from spa_bench.agents.prompts import PROMPTS
from spa_bench.commands.evaluate import methods_to_audit
from spa_bench.contract.check import fingerprints
from spa_bench.core import Agent, TextEnv, UserError
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.rewards.shuffled import Shuffled
from spa_bench.rewards.spa import SPA
from spa_bench.rewards.sparse import Sparse

KNOWN = ", ".join(registry.names("rewards"))

METHOD = """
from dataclasses import dataclass
import numpy as np
from spa_bench import RewardMethod

@dataclass(frozen=True)
class Weights:
    last: float = 1.0

class Mine(RewardMethod):
    conserves_return = True
    def __init__(self, *, last: float = 1.0):
        self.weights = Weights(last)
    def rewards(self, group):
        return [np.append(np.zeros(len(t) - 1), t.outcome * self.weights.last) for t in group]

class Unfinished(RewardMethod):
    pass

class Unrelated:
    pass

not_a_class = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(METHOD, encoding="utf-8")
    return path


def offer(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    """Pretend that installed packages have these entry points."""
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in points if p.group == group])


def point(name: str, value: str, room: str = "rewards") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=f"spa_bench.{room}")


# The packages of plug-ins


def test_every_package_lists_its_plug_ins_sorted_and_nothing_else():
    assert set(registry.names("rewards")) >= {"ppo", "shuffled", "spa", "sparse"}
    assert set(registry.names("agents")) >= {"causal-lm", "expert", "random"}
    assert "alfworld" in registry.names("environments")
    for room in registry.KINDS:
        names = registry.names(room)
        assert names == sorted(set(names))
        assert not any("_" in name or name in registry.PARTS[room] for name in names)


@pytest.mark.parametrize("name", registry.names("rewards"))
def test_a_method_is_called_what_its_file_is_called(name):
    found = registry.find("rewards", name)
    assert issubclass(found, RewardMethod)
    assert found.__name__.lower() == name.replace("-", "").replace("3", "three")


@pytest.mark.parametrize("name", registry.names("agents"))
def test_every_listed_agent_is_an_agent(name):
    found = registry.find("agents", name)
    assert issubclass(found, Agent)
    assert found.__name__.lower() == name.replace("-", "").replace("3", "three")


@pytest.mark.parametrize("name", registry.names("environments"))
def test_every_listed_environment_is_one_and_knows_its_name(name):
    found = registry.find("environments", name)
    assert issubclass(found, TextEnv)
    assert found.name == name


def test_a_class_that_a_file_only_imports_is_not_its_method():
    assert registry.find("rewards", "shuffled") is Shuffled
    assert registry.find("rewards", "spa") is SPA


def test_listing_imports_no_plug_in_and_no_torch():
    code = (
        "import sys; from spa_bench import registry\n"
        "for room in registry.KINDS: registry.names(room)\n"
        "registry.find('rewards', 'sparse'), registry.find('agents', 'expert'), registry.prompt('action')\n"
        "print(sorted(m for m in sys.modules if m in ('torch', 'transformers', 'spa_bench.rewards.spa')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("room", "name", "message"),
    [
        ("rewards", "spaa", f"no reward 'spaa': did you mean spa? (there are: {KNOWN})"),
        ("rewards", "SPARSE", f"no reward 'SPARSE': did you mean sparse? (there are: {KNOWN})"),
        ("rewards", "", f"no reward '' (there are: {KNOWN})"),
        ("rewards", "\ud800", f"no reward '\\ud800' (there are: {KNOWN})"),
        ("rewards", "../spa", f"no reward '../spa': did you mean spa? (there are: {KNOWN})"),
        ("rewards", "__main__", f"no reward '__main__' (there are: {KNOWN})"),
        ("rewards", "-decomposition", f"no reward '-decomposition' (there are: {KNOWN})"),
    ],
)
def test_an_unknown_name_gets_one_line_with_the_nearest_and_all(room, name, message):
    with pytest.raises(UserError) as caught:
        registry.find(room, name)
    assert str(caught.value) == message


def test_an_underscore_for_a_dash_is_nearly_right():
    with pytest.raises(UserError, match=r"no agent 'causal_lm': did you mean causal-lm\?"):
        registry.find("agents", "causal_lm")


@pytest.mark.parametrize("name", ["prompts", "chat", "-prompts"])
def test_parts_of_agents_are_no_agents(name):
    with pytest.raises(UserError, match="no agent"):
        registry.find("agents", name)


# Options


def test_build_passes_options_on():
    method = registry.build("rewards", "spa", alpha=2.0)
    assert isinstance(method, SPA)
    assert (method.alpha, method.beta) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("room", "name", "options", "message"),
    [
        (
            "rewards",
            "spa",
            {"alhpa": 1},
            r"reward spa has no option 'alhpa': did you mean alpha\? \(there are: alpha, ",
        ),
        ("rewards", "sparse", {"alpha": 1}, r"reward sparse has no option 'alpha' \(there are: none\)"),
        ("rewards", "spa", {"exact": "False"}, r"reward spa: exact='False': use true or false"),
        ("rewards", "spa", {"alpha": True}, r"reward spa: alpha=True: use a number"),
        ("rewards", "gigpo", {"history": True}, r"reward gigpo: history=True: use a whole number"),
        ("rewards", "monte-carlo", {"samples": 2.0}, r"reward monte-carlo: samples=2\.0: use a whole number"),
        ("rewards", "3spo", {"key": "text"}, r"reward 3spo: key='text': use task or history or released"),
        ("environments", "alfworld", {"train": "many"}, r"environment alfworld: train='many': use a whole number"),
        ("agents", "random", {}, "agent random needs prompt"),
        ("agents", "expert", {"prompt": PROMPTS["action"], "name": 1}, "agent expert has no option 'name'"),
    ],
)
def test_wrong_options_are_named(room, name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        registry.build(room, name, **options)
    assert "\n" not in str(caught.value)


# Entry points of other packages


def test_an_entry_point_adds_a_name(monkeypatch):
    offer(monkeypatch, point("theirs", "spa_bench.rewards.sparse:Sparse"), point("ours", "x:Y", "agents"))
    assert "theirs" in registry.names("rewards")
    assert "ours" not in registry.names("rewards")
    assert registry.find("rewards", "theirs") is Sparse


def test_an_entry_point_does_not_override_a_built_in_name(monkeypatch):
    offer(monkeypatch, point("spa", "spa_bench.rewards.sparse:Sparse"))
    assert registry.find("rewards", "spa") is SPA
    assert registry.names("rewards").count("spa") == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package:X", "cannot be loaded: ModuleNotFoundError"),
        ("spa_bench.rewards.sparse:Spars", "cannot be loaded: AttributeError"),
        ("spa_bench.core:Task", "is no RewardMethod: subclass spa_bench.method.RewardMethod"),
        ("spa_bench.method:RewardMethod", "does not define rewards"),
    ],
)
def test_a_broken_entry_point_says_whose_it_is_and_why(monkeypatch, value, message):
    offer(monkeypatch, point("theirs", value))
    with pytest.raises(UserError, match=message) as caught:
        registry.find("rewards", "theirs")
    assert f"theirs = {value}" in str(caught.value)


def test_an_entry_point_that_raises_stops_nobody_else(monkeypatch, tmp_path):
    (tmp_path / "their_broken_package.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    offer(monkeypatch, point("theirs", "their_broken_package:X"))
    with pytest.raises(UserError, match=r"reward theirs: importing it raised RuntimeError: no licence at .*:1$"):
        registry.find("rewards", "theirs")
    audited = methods_to_audit([])
    assert "sparse" in audited and "theirs" not in audited
    assert methods_to_audit(["theirs", "spa", "spa"]) == [
        "theirs", "spa", "all-on-last", "random-split", "shuffled", "time-only"
    ]  # fmt: skip
    others, failed = fingerprints(but="spa")
    assert "sparse" in others and [line.split(":")[0] for line in failed] == ["theirs"]


def test_a_name_that_two_packages_offer_is_refused(monkeypatch):
    offer(monkeypatch, point("theirs", "a:B"), point("theirs", "c:D"))
    with pytest.raises(UserError, match=r"offered twice .*a:B.*c:D.*uninstall one"):
        registry.find("rewards", "theirs")


# A file of one's own


def test_a_class_in_a_file_is_found_and_built(file):
    method = registry.build("rewards", f"{file}:Mine", last=0.5)
    assert type(method).__name__ == "Mine"
    assert method.conserves_return


def test_two_files_of_one_name_are_two_modules(file, tmp_path):
    twin = tmp_path / "twin" / "mine.py"
    twin.parent.mkdir()
    twin.write_text(METHOD.replace("Mine", "Yours"), encoding="utf-8")
    assert registry.find("rewards", f"{twin}:Yours").__module__ != registry.find("rewards", f"{file}:Mine").__module__


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("", "name the class too, as path.py:Class"),
        (":", "name the class too, as path.py:Class"),
        (":Mien", r"no class 'Mien': did you mean Mine\?"),
        (":Unrelated", "is no RewardMethod: subclass spa_bench.method.RewardMethod"),
        (":not_a_class", "is no RewardMethod"),
        (":Unfinished", "does not define rewards"),
    ],
)
def test_a_wrong_class_in_a_file_is_explained(file, suffix, message):
    with pytest.raises(UserError, match=message) as caught:
        registry.find("rewards", f"{file}{suffix}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.py:Mine': there is no such file"):
        registry.find("rewards", f"{tmp_path / 'nowhere.py'}:Mine")
    with pytest.raises(UserError, match="there is no such file"):
        (tmp_path / "folder.py").mkdir()
        registry.find("rewards", f"{tmp_path / 'folder.py'}:Mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("class Mine(:", "cannot be imported: SyntaxError"),
        ("x = '\x00'", "cannot be imported: SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why_and_leaves_no_trace(file, text, message):
    file.write_text(text, encoding="utf-8")
    before = set(sys.modules)
    with pytest.raises(UserError, match=message) as caught:
        registry.find("rewards", f"{file}:Mine")
    assert "\n" not in str(caught.value)
    assert not {name for name in set(sys.modules) - before if name.startswith("spa_bench_file_")}


def test_what_a_file_raises_itself_is_told_in_one_line(file):
    file.write_text("x = 3\n1 / 0\n", encoding="utf-8")
    with pytest.raises(
        MethodError, match=rf"{file.name}:Mine: importing it raised ZeroDivisionError.* at .*:2$"
    ) as said:
        registry.find("rewards", f"{file}:Mine")
    assert isinstance(said.value.__cause__, ZeroDivisionError)


def test_what_a_constructor_raises_is_told_in_one_line(file):
    file.write_text(
        "from spa_bench.rewards.sparse import Sparse\n\n\nclass Mine(Sparse):\n"
        "    def __init__(self, *, size: int = 1):\n        self.size = {}['size']\n"
    )
    with pytest.raises(MethodError, match=r"Mine: its constructor raised KeyError: 'size' at .*:6$"):
        registry.build("rewards", f"{file}:Mine", size=3)


def test_a_level_that_there_is_not_is_refused(file):
    file.write_text("from spa_bench.rewards.sparse import Sparse\n\n\nclass Mine(Sparse):\n    level = 'episode'\n")
    with pytest.raises(UserError, match="level = 'episode': use turn or token"):
        registry.find("rewards", f"{file}:Mine")


WORLD = """
from spa_bench.agents.random import Random
from spa_bench.environments.alfworld.env import ALFWorld

class Mine(ALFWorld):
    name = "mine"

class Nameless(ALFWorld):
    name = None

class Player(Random):
    def __init__(self, prompt, *, size: int = 1):
        super().__init__(prompt)
        self.size = {1: "one"}[size]
"""


def test_worlds_and_agents_come_from_files(tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text(WORLD)
    assert registry.build("environments", f"{path}:Mine", train=3).name == "mine"
    assert registry.build("agents", f"{path}:Player", prompt=PROMPTS["action"]).size == "one"
    assert registry.find("environments", f"{path}:Mine") is registry.find("environments", f"{path}:Mine")
    with pytest.raises(UserError, match=r"^environment '.*:Nameless' has no name: write name = '...' into its class$"):
        registry.find("environments", f"{path}:Nameless")
    with pytest.raises(UserError, match=r"^agent '.*:Plaer': no class 'Plaer': did you mean Player\?"):
        registry.find("agents", f"{path}:Plaer")
    with pytest.raises(UserError, match=r"^agent .*:Player: its constructor raised KeyError: 2 at .*theirs\.py:14$"):
        registry.build("agents", f"{path}:Player", prompt=PROMPTS["action"], size=2)
    before = registry.find("environments", f"{path}:Mine")
    path.write_text(WORLD.replace('"mine"', '"changed"'))
    assert registry.find("environments", f"{path}:Mine") is not before


@pytest.mark.parametrize(("room", "kind"), [("agents", "Agent"), ("environments", "TextEnv")])
def test_a_file_holds_what_is_asked_for(file, room, kind):
    with pytest.raises(UserError, match=rf"is no {kind}: subclass spa_bench.core.{kind}"):
        registry.find(room, f"{file}:Mine")


def test_an_error_in_the_file_of_a_world_names_the_world(file):
    file.write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"^environment .*mine\.py:Mine: importing it raised ZeroDivisionError.*:1$"):
        registry.find("environments", f"{file}:Mine")
