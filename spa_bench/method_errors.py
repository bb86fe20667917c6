"""Errors raised in a reward method become one line with its name, the call, the place and the line of its file.

A method may be anyone's code and may raise anything. What is raised inside `method_call` becomes a `MethodError`, which
the command line prints before it exits with 2; the original error is its `__cause__`, with its traceback:

    with method_call("mine.py:Mine", "rewards", f"iteration {n}, task {task.key}", code=type(method)):
        rewards = method.rewards(group)

Only the method's call belongs inside: an error of other code in the same block would be blamed on the method.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType

from spa_bench.core import UserError

LONGEST = 300
"""Characters of an error's own text that are quoted; some print whole arrays."""


class MethodError(UserError):
    """A method raised an error or returned something invalid. The message names the method."""


class method_call:
    """A context that turns what is raised in it into a `MethodError`: `reward NAME: CALL raised ... at FILE:LINE`.

    `name` is the method as typed, `call` its function that is called, `place` the stage of the experiment, `code` the
    method's class: the line named is the last one of its own module, else of a class that it inherits from, else where
    the error was raised. A UserError passes unchanged, for its line is written for users; so does an interruption.
    `sys.exit` does not: a method cannot end an experiment as if it were done.
    """

    def __init__(self, name: str, call: str, place: str = "", *, code: type | None = None) -> None:
        self.name, self.call, self.place, self.code = name, call, place, code

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception | SystemExit) and not isinstance(error, UserError):
            place = f" ({self.place})" if self.place else ""
            line = f"reward {self.name}: {self.call} raised {_said(error)}{_at(error, self.code)}{place}"
            raise MethodError(line) from error


def _said(error: BaseException) -> str:
    """Kind and text of an error on one line; also of one whose `__str__` fails."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _at(error: BaseException, code: type | None) -> str:
    """The last line in the method's own code; empty where the `with` block itself raised."""
    walked = list(traceback.walk_tb(error.__traceback__))[1:]
    frames = [(frame.f_globals.get("__name__"), frame.f_code.co_filename, line) for frame, line in walked]
    for module in [*(cls.__module__ for cls in code.__mro__), None] if code else [None]:
        for name, file, line in reversed(frames):
            if module in (None, name):
                return f" at {_short(file)}:{line}"
    return ""


def _short(file: str) -> str:
    """The path relative to the working folder, if it is below it."""
    here = os.path.join(os.getcwd(), "")
    return file.removeprefix(here)
