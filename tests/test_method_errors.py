"""An error in a method's code ends as one line that names the method, the call, the place and the line to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spa_bench import registry
from spa_bench.core import UserError
from spa_bench.method_errors import LONGEST, MethodError, method_call

METHOD = """
import numpy as np
from spa_bench import RewardMethod

class Parent(RewardMethod):
    def rewards(self, group):
        return [self.price(t) for t in group]

class Mine(Parent):
    def price(self, trajectory):
        return np.linalg.inv(np.zeros((2, 2)))
"""


class Unsaid(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def fail(error: BaseException) -> None:
    raise error


def said(error: BaseException, *where: str) -> str:
    with pytest.raises(MethodError) as caught, method_call("theirs", "rewards", *where):
        fail(error)
    assert caught.value.__cause__ is error
    return str(caught.value)


def test_a_quiet_call_is_left_alone():
    with method_call("theirs", "rewards"):
        value = 3
    assert value == 3


def test_the_line_names_method_call_error_file_and_place():
    line = fail.__code__.co_firstlineno + 1
    here = Path(fail.__code__.co_filename)
    found = said(ZeroDivisionError("division by zero"), "iteration 3, task heat/egg/1")
    assert found.startswith("reward theirs: rewards raised ZeroDivisionError: division by zero at ")
    assert found.endswith(f"{here.name}:{line} (iteration 3, task heat/egg/1)")


def test_a_file_below_the_working_folder_is_named_from_there(monkeypatch: pytest.MonkeyPatch):
    here = Path(fail.__code__.co_filename).resolve()
    monkeypatch.chdir(here.parent)
    assert f" at {here.name}:" in said(KeyError("x"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("missing"), "KeyError: 'missing'"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (AssertionError(), "AssertionError at "),
        (Unsaid(), "str() failed"),
        (SystemExit(0), "SystemExit: 0"),
        (MemoryError(), "MemoryError"),
        (StopIteration(), "StopIteration"),
    ],
)
def test_every_ordinary_error_becomes_one_line(error: BaseException, text: str):
    found = said(error)
    assert text in found
    assert "\n" not in found


def test_a_long_text_is_cut():
    assert len(said(ValueError("x" * 10_000))) < LONGEST + 200


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), UserError("mend it")])
def test_interruptions_and_lines_for_the_user_pass(error: BaseException):
    with pytest.raises(type(error)) as caught, method_call("theirs", "rewards"):
        fail(error)
    assert caught.value is error


def test_the_innermost_name_counts():
    with (
        pytest.raises(MethodError, match="reward inner: fit raised"),
        method_call("outer", "x"),
        method_call("inner", "fit"),
    ):
        fail(ValueError())


@pytest.mark.parametrize(("name", "line"), [("Mine", 11), ("Parent", 7)])
def test_the_line_is_the_last_one_of_the_methods_own_module(tmp_path: Path, name: str, line: int):
    """Not the line in NumPy that found the matrix singular, nor one of a parent class in this package."""
    file = tmp_path / "theirs.py"
    file.write_text(METHOD, encoding="utf-8")
    method = registry.build("rewards", f"{file}:{name}")
    with pytest.raises(MethodError) as caught, method_call("theirs", "rewards", code=type(method)):
        method.rewards([None])  # type: ignore[list-item]
    assert f" at {file.resolve()}:{line}" in str(caught.value)


def test_a_class_that_only_inherits_names_its_parents_line(tmp_path: Path):
    file = tmp_path / "theirs.py"
    file.write_text(METHOD, encoding="utf-8")
    heir = type("Heir", (registry.find("rewards", f"{file}:Mine"),), {"__module__": __name__})
    with pytest.raises(MethodError, match=r"theirs\.py:11"), method_call("heir", "rewards", code=heir):
        heir().rewards([None])


def test_the_traceback_is_kept_for_who_wants_it():
    with pytest.raises(MethodError) as caught, method_call("theirs", "rewards"):
        np.linalg.inv(np.zeros((2, 2)))
    assert isinstance(caught.value.__cause__, np.linalg.LinAlgError)
    assert caught.value.__cause__.__traceback__ is not None
