"""The package in examples/: its world passes the check, world and agent are used by their paths and by their names."""

from __future__ import annotations

import shutil
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from tiny import SETTINGS

from spa_bench import registry
from spa_bench.agents.prompts import PROMPTS
from spa_bench.commands.evaluate import settings_for
from spa_bench.commands.options import Flags
from spa_bench.config import RunConfig, build
from spa_bench.contract.check import examine_world
from spa_bench.core import UserError
from spa_bench.report.table import tables
from spa_bench.runs.folder import read_run
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment

PACKAGE = Path(__file__).resolve().parents[1] / "examples" / "blocks"
LONGEST = {"blocks.py": 50, "one_way.py": 30}
"""Lines; a world of one's own should be little more than its rules."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A copy of the files, with nothing else of the package."""
    for name in LONGEST:
        shutil.copy(PACKAGE / "spa_bench_blocks" / name, tmp_path / name)
    return tmp_path


def settings(files: Path, **changes: Any) -> RunConfig:
    world = {"max_steps": 6, "options": {"train": 24, "valid": 4}}
    ppo = SETTINGS["ppo"] | {"iterations": 1, "env_steps": 40}
    own = {"env": f"{files / 'blocks.py'}:Blocks", "reward": "sparse", "world": world, "ppo": ppo}
    return build(SETTINGS | own | changes)


def test_the_files_are_short():
    found = {name: len((PACKAGE / "spa_bench_blocks" / name).read_text("utf-8").splitlines()) for name in LONGEST}
    assert found.keys() == LONGEST.keys() and all(found[name] <= LONGEST[name] for name in found), found


def test_the_world_passes_the_check():
    report = examine_world(f"{PACKAGE / 'spa_bench_blocks' / 'blocks.py'}:Blocks", {"train": 30, "valid": 6})
    assert (report.problem, {verdict.state for verdict in report.tests}) == (None, {"ok"})


def test_installed_the_package_gives_names_to_its_plug_ins(monkeypatch: pytest.MonkeyPatch):
    groups = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    points = [EntryPoint(name, value, group) for group, named in groups.items() for name, value in named.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in points if point.group == group])
    monkeypatch.syspath_prepend(PACKAGE)
    world = registry.build("environments", "blocks", train=12, valid=4)
    assert world.name == "blocks" and len(world.tasks("train")) == 12
    agent = registry.build("agents", "one-way", prompt=PROMPTS["action"], patience=2)
    assert type(agent).__name__ == "OneWay"
    with pytest.raises(UserError, match=r"agent one-way: patience=0: use a whole number, 1 or above"):
        registry.build("agents", "one-way", prompt=PROMPTS["action"], patience=0)
    with pytest.raises(UserError, match=r"environment blocks has no option 'trian': did you mean train\?"):
        registry.build("environments", "blocks", trian=3)


def test_a_policy_is_trained_in_a_world_from_a_file_and_no_run_goes_on_in_an_edited_one(files: Path, tmp_path: Path):
    config = settings(files)
    folder = experiment.run(config, tmp_path, Progress.quiet())
    assert folder.relative_to(tmp_path).parts[:3] == ("runs", "blocks.Blocks", "sparse")
    (table,) = tables([folder])
    assert table.about["world"] == "blocks.Blocks"
    assert experiment.run(config, tmp_path, Progress.quiet()) == folder
    world = files / "blocks.py"
    world.write_text(world.read_text("utf-8") + "# edited\n", encoding="utf-8")
    with pytest.raises(UserError, match="was made with another version of the world's code; move the folder away"):
        experiment.run(config, tmp_path, Progress.quiet())


def evaluate(files: Path, tmp_path: Path, agent: str) -> Path:
    flags = Flags(env=f"{files / 'blocks.py'}:Blocks", assignments=["world.options.train=24", "world.options.valid=4"])
    config, name = settings_for(flags, agent, None, None)
    return experiment.evaluate(config, name, None, tmp_path, Progress.quiet())


def test_an_agent_from_a_file_is_evaluated_under_its_name_and_not_resumed_when_edited(files: Path, tmp_path: Path):
    agent = f"{files / 'one_way.py'}:OneWay"
    folder = evaluate(files, tmp_path, f"{agent}:patience=2")
    assert folder.relative_to(tmp_path).parts[:3] == ("evals", "blocks.Blocks", "one_way.OneWay")
    assert read_run(folder)["facts"]["agent"] == "one_way.OneWay (patience=2)"
    assert evaluate(files, tmp_path, f"{agent}:patience=2") == folder != evaluate(files, tmp_path, agent)
    text = (files / "one_way.py").read_text("utf-8")
    (files / "one_way.py").write_text(text + "# edited\n", encoding="utf-8")
    with pytest.raises(UserError, match="was made with another version of the agent's code"):
        evaluate(files, tmp_path, agent)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ('{}["room"]', r"raised KeyError: 'room' at .*one_way\.py:21$"),
        ("[]", r"raised ValueError: 0 replies to 4 conversations$"),
        ('["look"] * len(conversations)', r"raised TypeError: a list of Reply is wanted$"),
        ("[Reply(None)] * len(conversations)", r"raised TypeError: the text of a reply is NoneType$"),
    ],
)
def test_what_is_wrong_in_an_agent_is_one_line(new: str, said: str, files: Path, tmp_path: Path):
    file = files / "one_way.py"
    old = "[Reply(self.prompt.render(self._next(conversation))) for conversation in conversations]"
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=rf"^agent one_way\.py:OneWay: act {said}") as caught:
        evaluate(files, tmp_path, f"{file}:OneWay")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return state.tower in state.piles", "return state.rower in state.piles", "tasks raised AttributeError"),
        (
            'instructions = "',
            'instructions = property(lambda self: {}[1])\n    other = "',
            "instructions raised KeyError",
        ),
    ],
)
def test_what_is_wrong_in_a_world_is_one_line(old: str, new: str, said: str, files: Path, tmp_path: Path):
    file = files / "blocks.py"
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=rf"^environment blocks: {said}: .* at .*blocks\.py:\d+$") as caught:
        evaluate(files, tmp_path, "expert")
    assert "\n" not in str(caught.value)
