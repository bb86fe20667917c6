"""A person at the terminal: the world's texts, the faults, the commands, and nothing that steers the screen."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spa_bench.commands.play import Game, find_task
from spa_bench.core import Task, TextEnv, UserError
from spa_bench.terminal import printable, printable_line

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \r overwritten \u202eeltit\ud800\0 [red]"


class Corridor(TextEnv):
    """Three doors in a row; `go` three times. Says what it is told to say."""

    name: ClassVar[str] = "corridor"
    buckets: ClassVar[tuple[int, int]] = (2, 4)
    instructions = "Write `go`."
    max_steps = 5

    def __init__(self, says: str = "door") -> None:
        self.says, self.state = says, (0, 0)

    def tasks(self, split: str) -> tuple[Task, ...]:
        return tuple(Task("corridor", key, split, "walk", 3) for key in ("a", "b")) if split != "train" else ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.state = (0, 0)
        return self._result()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        place, turns = self.state
        good = action.strip() == "go"
        self.state = (place + good, turns + 1)
        observation, info = self._result(None if good else "format")
        won = self.state[0] == 3
        return observation, float(won), won, not won and turns + 1 == self.max_steps, info

    def _result(self, fault: str | None = None) -> tuple[str, dict[str, Any]]:
        place = self.state[0]
        info = {"grounded": fault is None, "fault": fault, "success": place == 3, "progress": place / 3}
        return f"{self.says} {place}", info | {"admissible": ("go",), "task": None}

    def snapshot(self) -> Any:
        return self.state

    def restore(self, state: Any) -> tuple[str, dict[str, Any]]:
        self.state = state
        return self._result()

    def expert_action(self) -> str:
        return f"go {HOSTILE}" if self.says == HOSTILE else "go"

    def text_sources(self) -> Sequence[str]:
        return ()


def play(typed: str, says: str = "door", oracle: bool = False) -> str:
    world, out = Corridor(says), io.StringIO()
    Game(world, find_task(world, "valid_seen", None), oracle=oracle).loop(io.StringIO(typed), out)
    return out.getvalue()


def test_a_solved_task_says_so_and_compares_with_the_expert():
    said = play("go\nwait\ngo\ngo\n:quit\ngo\n")
    assert said.count("[grounded]") == 3
    assert said.count("[not grounded: format]") == 1
    assert "solved in 4 turns (the expert needs 3)" in said
    assert "not solved" not in said


def test_the_turn_limit_is_no_success():
    said = play("wait\n" * 6)
    assert "not solved: no turns left" in said
    assert said.count("[not grounded") == 5
    assert "the episode is over" in said


def test_progress_is_hidden_unless_it_is_asked_for():
    assert "progress" not in play("go\n")
    assert "[progress 0.33]" in play("go\n", oracle=True)


def test_undo_takes_back_one_step_even_the_last_one():
    said = play(":undo\ngo\ngo\ngo\n:undo\ngo\n")
    assert "nothing to undo" in said
    assert said.count("solved in 3 turns") == 2


def test_hint_admissible_and_help_cost_no_turn():
    said = play(":help\n:hint\n:admissible\n:nonsense\n\ngo\ngo\ngo\n")
    assert ":undo" in said and "Write `go`." in said
    assert "unknown command :nonsense" in said
    assert "solved in 3 turns" in said


@pytest.mark.parametrize("typed", ["", "go", "go\n", ":quit"])
def test_the_end_of_the_lines_is_the_end_of_the_game(typed: str):
    assert play(typed).endswith(("\n", "> :quit"))


def test_what_world_expert_and_typist_say_cannot_steer_the_terminal():
    said = play(f"{HOSTILE.splitlines()[0]}\n:hint\n:{HOSTILE}\n", says=HOSTILE)
    assert_harmless(said)
    assert "\\x1b[2J" in said
    assert "[red]" in said


@given(text=st.text(st.characters(exclude_categories=())))
@example(HOSTILE)
@example("\x9b31m")
def test_printable_text_has_no_control_characters(text: str):
    assert_harmless(printable(text))
    assert "\n" not in printable_line(text)
    assert printable(printable(text)) == printable(text)
    printable(text).encode("utf-8")


def assert_harmless(text: str) -> None:
    assert all(char == "\n" or unicodedata.category(char)[0] != "C" for char in text), ascii(text)


def test_plain_text_stays_as_it_is():
    assert printable("You see a mug 1.\nÜber 水 😀") == "You see a mug 1.\nÜber 水 😀"


def test_long_text_is_cut_and_counted():
    assert printable("a" * 12, 10) == "a" * 10 + " [... 2 more characters]"


def test_an_unknown_task_names_one_that_exists():
    with pytest.raises(UserError, match=r"no task 'z' among the 2 of valid_seen, such as 'a'"):
        find_task(Corridor(), "valid_seen", "z")
    assert find_task(Corridor(), "valid_seen", "b").key == "b"


def test_a_split_without_tasks_is_a_user_error():
    with pytest.raises(UserError, match="no tasks"):
        find_task(Corridor(), "train", None)
