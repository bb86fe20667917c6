"""Each contract test of worlds catches the world that breaks it, and no other one; the built-in worlds pass all."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from invoked import invoke

from spa_bench import World, check_world
from spa_bench.contract import check
from spa_bench.contract.check import examine_world
from spa_bench.contract.laws import ContractError
from spa_bench.contract.tried_worlds import WorldTrial
from spa_bench.contract.world_laws import WORLD_TESTS
from spa_bench.core import UserError
from spa_bench.environments.text import AnyText
from spa_bench.rollout.worlds import WorldError

NAMES = [test.name for test in WORLD_TESTS]


class Row(World[tuple[int, int]]):
    """A walk to the flag in a row of ten places: (place, flag)."""

    name = "row"
    instructions = "Go left or right."
    commands = "go (left|right)"
    sizes = (12, 4)
    buckets = (3, 6)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        return int(rng.integers(10)), int(rng.integers(10))

    def goal(self, state: tuple[int, int]) -> str:
        return f"stand at {state[1]}."

    def page(self, state: tuple[int, int]) -> str:
        return f"You stand at {state[0]} of 0 to 9."

    def moves(self, state: tuple[int, int]) -> dict[str, tuple[int, int]]:
        ways = {"go left": state[0] - 1, "go right": state[0] + 1}
        return {command: (place, state[1]) for command, place in ways.items() if 0 <= place < 10}

    def won(self, state: tuple[int, int]) -> bool:
        return state[0] == state[1]


class ShortTexts(Row):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.observation_space = AnyText(3, ["go left"])


class SaysNothing(Row):
    instructions = ""


class Unsorted(Row):
    def tasks(self, split: str) -> Any:
        return super().tasks(split)[::-1]


class IgnoresOptions(Row):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed, options={k: v for k, v in (options or {}).items() if k in ("task", "split")})


class Backwards(Row):
    def _info(self) -> dict[str, Any]:
        info = super()._info()
        return info | {"admissible": info["admissible"][::-1]}


class KnowsEveryCommand(Row):
    commands = "(?s).*"


class Punishes(Row):
    """What is refused costs progress."""

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        return info | {"progress": info["progress"] / (1 + (not info["grounded"]))}


class ReadsUtf8(Row):
    def step(self, action: str) -> Any:
        action.encode()
        return super().step(action)


class Overshoots(Row):
    def _info(self) -> dict[str, Any]:
        info = super()._info()
        return info | {"progress": 2 * info["progress"]}


class PaysTwice(Row):
    def score(self, state: tuple[int, int]) -> float:
        return 2.0 * self.won(state)


class Endless(Row):
    def step(self, action: str) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        if self._now and not terminated:
            self._now = replace(self._now, over=False)
        return observation, reward, terminated, False, info


class DoneIsSuccess(Row):
    def _info(self) -> dict[str, Any]:
        return super()._info() | {"success": self._running().over}


class Lost(Row):
    def expert_action(self) -> str:
        return "go left"


class NeverBack(Row):
    """A return to an earlier step is a no."""

    def restore(self, state: Any) -> Any:
        behind = self._now is not None and len(state.past) < len(self._now.past)
        return super().restore(self._running() if behind else state)


class Bound(Row):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.when_done = lambda: None


class OneForAll(Row):
    """Where it stands is a variable of the class."""

    place: ClassVar[dict[str, Any]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        del self._now

    @property
    def _now(self) -> Any:
        return self.place.get("now")

    @_now.setter
    def _now(self, now: Any) -> None:
        self.place["now"] = now

    @_now.deleter
    def _now(self) -> None:
        self.place.clear()


class Dices(Row):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        np.random.random()  # noqa: NPY002 - its mistake
        return super().reset(seed=seed, options=options)


BROKEN: list[type[Row]] = [
    ShortTexts, SaysNothing, Unsorted, IgnoresOptions, Backwards, KnowsEveryCommand, Punishes, ReadsUtf8, Overshoots,
    PaysTwice, Endless, DoneIsSuccess, Lost, NeverBack, Bound, OneForAll, Dices,
]  # fmt: skip
"""In the order of `WORLD_TESTS`: each breaks the test at its place."""


def failures(factory: Callable[[], Any]) -> dict[str, str]:
    found, trial = {}, WorldTrial(factory)
    for test in WORLD_TESTS:
        try:
            test.run(trial)
        except (ContractError, UserError) as error:
            found[test.name] = str(error)
    return found


def test_every_contract_test_has_a_world_that_breaks_it():
    assert len(BROKEN) == len(set(BROKEN)) == len(WORLD_TESTS)


@pytest.mark.parametrize(("kind", "name"), [*zip(BROKEN, NAMES, strict=True)], ids=[kind.__name__ for kind in BROKEN])
def test_a_broken_world_fails_the_test_of_what_it_breaks_and_no_other(kind: type[Row], name: str):
    assert list(failures(kind)) == [name]
    with pytest.raises((ContractError, WorldError)):
        check_world(kind)


@pytest.mark.parametrize("options", [{"seed": 1}, {"seed": 2, "max_steps": 2}])
def test_a_sound_world_passes_whatever_its_tasks_and_its_limit(options: dict[str, int]):
    """Also where episodes end at once."""
    assert failures(lambda: Row(**options)) == {}


class HintsWrong(Row):
    """Lists what is not possible."""

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"admissible": ("go left", "go right")}


class Untold(Row):
    def _info(self) -> dict[str, Any]:
        info = super()._info()
        del info["goal"]
        return info


class WrongGrammar(Row):
    """`go right` is no command by its own grammar; only the way to the flag is open."""

    commands = "go left"

    def moves(self, state: tuple[int, int]) -> dict[str, tuple[int, int]]:
        open_ = "go left" if state[1] < state[0] else "go right"
        return {command: there for command, there in super().moves(state).items() if command == open_}


class NoTaskIsNew(Row):
    """Every start is the same."""

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        return 0, 3


class Raises(Row):
    def page(self, state: tuple[int, int]) -> str:
        return {place: f"place {place}" for place in range(5)}[state[0]]


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (HintsWrong, "grounded and fault say what happened", "a command of admissible is executed: 'go "),
        (WrongGrammar, "grounded and fault say what happened", "'go right' has grounded=False, fault='format'"),
        (Untold, "progress is in [0, 1]", "reset of task row-0-000011 raised ValueError: info lacks goal"),
        (NoTaskIsNew, "each split has tasks, which no other has", "environment row: 1 of 4 valid_unseen tasks in 200"),
        (Raises, "any text can be sent", r"environment row: "),
    ],
)
def test_what_is_wrong_is_said(kind: type[Row], name: str, said: str):
    assert said in failures(kind)[name]


def test_what_a_world_raises_is_one_line_with_its_name_the_call_and_the_place():
    (line,) = {text for text in failures(Raises).values() if "tasks raised" in text}
    assert "environment row: tasks raised KeyError: " in line and "test_worlds.py:" in line and "\n" not in line


class Hangs(Row):
    def expert_action(self) -> str:
        time.sleep(1000)
        return ""


def test_t16_a_world_that_hangs_ends_its_check(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check, "WORLD_LIMITS", {"step": 2.0, "reset": 2.0})
    monkeypatch.setattr(check, "make", lambda env: Hangs())
    report = examine_world("hangs", {})
    states = [one.state for one in report.tests]
    assert states == ["ok"] * 8 + ["failed"] + ["not run"] * 8
    assert re.match(r"environment row: expert_action of task .* did not return within 2 s", report.tests[8].detail)


# The command


SMALL = {
    "alfworld": {"train": 12, "valid": 4},
    "webshop": {"products": 60, "valid": 4},
    "virtualhome": {"train": 8, "valid": 4},
}
ALFWORLD = ["--set", "world.options.train=12", "--set", "world.options.valid=4"]


@pytest.mark.parametrize("env", SMALL)
def test_the_built_in_worlds_pass(env: str):
    report = examine_world(env, SMALL[env])
    assert [(one.test, one.state, one.detail) for one in report.tests] == [(name, "ok", "") for name in NAMES]
    assert (report.name, report.problem) == (env, None)


FILE = r"""
from spa_bench.environments.alfworld.env import ALFWorld


class Mine(ALFWorld):
    instructions = ""

    def expert_action(self):
        raise KeyError("room\x1b[2J")
"""


def test_the_check_goes_on_after_a_broken_test_and_ends_with_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of a file, with what is hostile in its error made visible."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE.replace(r"\\", "\\"), encoding="utf-8")
    found = invoke("check", "--env", "mine.py:Mine", *ALFWORLD)
    lines = found.stdout.splitlines()
    assert [line.split(": ")[0][11:] for line in lines] == NAMES
    failed = [line for line in lines if line.startswith("failed ")]
    assert failed[0] == "failed     a world says what it is: instructions is a text"
    assert len(failed) == 5 and all(": expert_action of task " in line for line in failed[1:])
    assert all(line.endswith(r"raised KeyError: 'room\x1b[2J' at mine.py:9") for line in failed[1:])
    assert found.exit_code == 2
    assert found.stderr.startswith(
        "error: mine.py:Mine fails 5 contract tests: a world says what it is; progress is in "
    )
    assert found.stderr.count("\n") == 1 and "\x1b" not in found.output


def test_verdicts_are_written_as_json():
    found = invoke("check", "--env", "alfworld", "--json", *ALFWORLD)
    told = json.loads(found.stdout)
    assert (told["name"], told["problem"], [one["test"] for one in told["tests"]]) == ("alfworld", None, NAMES)
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "check needs one of --reward, --env and --agent"),
        (["--env", "alfworld", "--reward", "spa"], "check needs one of --reward, --env and --agent"),
        (["--env", "alfwrld"], "no environment 'alfwrld': did you mean alfworld?"),
        (["--env", "nowhere.py:Mine"], "environment 'nowhere.py:Mine': there is no such file"),
        (["--env", "alfworld", "--set", "ppo.clip=1"], "--set ppo: check takes only the world's options"),
        (["--env", "alfworld", "--set", "world.options.trian=3"], "environment alfworld has no option 'trian'"),
        (["--env", "alfworld", "--set", "world.option=3"], "setting world.option"),
        (["--env", "virtualhome", "--set", "world.options.characters=2"], "a world is checked with one"),
    ],
)
def test_a_wrong_call_is_one_line(words: list[str], said: str):
    found = invoke("check", *words)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1), found.output
    assert found.stderr.startswith("error: ") and said in found.stderr
