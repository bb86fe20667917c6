"""What goes wrong in a plug-in becomes one line with its name, the call, the place and the line of its file.

A method may be anyone's code and may raise anything. What is raised inside `method_call` becomes a `MethodError`, which
the command line prints before it exits with 2; the original error is its `__cause__`, with its traceback:

    with method_call("mine.py:Mine", "rewards", f"iteration {n}, task {task.key}", code=type(method)):
        rewards = method.rewards(group)

Only the method's call belongs inside: an error of other code in the same block would be blamed on the method. While
time limits are heeded (`watch.watching`), a call that does not return in time is such an error, too.
"""

from __future__ import annotations

import os
import traceback

from spa_bench.core import UserError
from spa_bench.watch import Timed, TimeUp

LONGEST = 300
"""Characters of an error's own text that are quoted; some print whole arrays."""


class MethodError(UserError):
    """A method raised an error, returned something invalid or did not return. The message names the method."""


class plug_in_call(Timed):
    """A context that turns what is raised in it into one line: `WHAT: CALL raised ... at FILE:LINE (PLACE)`.

    `what` is the plug-in as users know it, `call` its function that is called, `place` the stage of the experiment,
    `code` the plug-in's class: the line named is the last one of its own module, else of a class that it inherits from,
    else where the error was raised. A UserError passes unchanged, for its line is written for users; so does an
    interruption. `sys.exit` does not: a plug-in cannot end an experiment as if it were done.
    """

    raised: type[UserError] = UserError

    def __init__(self, what: str, call: str, place: object = "", *, code: type | None = None) -> None:
        self.what, self.call, self.place, self.code = what, call, place, code

    def name(self) -> str:
        """Plug-in and function."""
        return f"{self.what}: {self.call}"

    def failed(self, error: BaseException) -> None:
        """Raise the line in place of an error, and of an interruption at the limit."""
        if isinstance(error, UserError) or not isinstance(error, Exception | SystemExit | TimeUp):
            return
        told = str(error) if isinstance(error, TimeUp) else f"raised {_said(error)}"
        place = f" ({self.place})" if self.place else ""
        raise self.raised(f"{self.name()} {told}{_at(error, self.code)}{place}") from error


class method_call(plug_in_call):
    """`plug_in_call` for the reward method `name`, as typed; raises a `MethodError`."""

    raised = MethodError

    def __init__(self, name: str, call: str, place: object = "", *, code: type | None = None) -> None:
        super().__init__(f"reward {name}", call, place, code=code)
        self.kind = "fit" if call == "fit" else "price"


def _said(error: BaseException) -> str:
    """Kind and text of an error on one line; also of one whose `__str__` fails."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _at(error: BaseException, code: type | None) -> str:
    """The last line in the plug-in's own code; empty where the `with` block itself raised."""
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
