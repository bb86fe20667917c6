"""A chat template is tried in a process of its own, with bounded time, memory and output, before it is used.

Templates are programs: one that never ends, or that writes without end, would do so in every run. This file is that
process, too, so it imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SECONDS, WALL = 10, 120
"""Of the processor, and of patience where others use it."""
MEMORY = 1 << 30
LONGEST = 1 << 20
"""Characters that a conversation of three words may become."""

TOO_LONG, TOO_LARGE = 3, 4
REASONS = {
    TOO_LONG: f"writes more than {LONGEST} characters for a short conversation",
    TOO_LARGE: f"takes more than {MEMORY >> 20} MB of memory",
}


def problem(template: str, told: Mapping[str, Any]) -> str | None:
    """Why a template must not be used: it has no end, or takes too much; None where it is harmless.

    `told` is what it is given beside messages. Other errors are found, and said, where it is used.
    """
    return _problem(json.dumps({"template": template, "told": dict(told)}, sort_keys=True, default=str))


@lru_cache(64)
def _problem(task: str) -> str | None:
    try:
        tried = subprocess.run([sys.executable, "-P", __file__], input=task.encode(), capture_output=True, timeout=WALL)
    except subprocess.TimeoutExpired:
        return f"takes more than {SECONDS} s"
    if tried.returncode == 0:
        return None
    if tried.returncode == 1:  # the trial itself
        said = tried.stderr.decode("utf-8", "replace").split("\n")
        return f"cannot be tried: {' '.join(said[-2:])}"
    return REASONS.get(tried.returncode, f"takes more than {SECONDS} s")


def _limit() -> None:
    try:
        import resource
    except ImportError:  # not on Windows, where `WALL` is the only bound
        return
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _environment() -> Any:
    """As transformers makes one."""
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags: set[str] = {"generation"}  # noqa: RUF012 - as the base class has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
    made.filters["tojson"] = lambda value, **settings: json.dumps(value, ensure_ascii=False)
    made.globals["strftime_now"] = lambda format: ""
    made.globals["raise_exception"] = _raise
    return made


def _raise(message: str) -> None:
    raise ValueError(message)


def _try() -> int:
    task = json.load(sys.stdin)
    environment = _environment()
    _limit()
    said = [("user", "a"), ("assistant", "b"), ("user", "c")]
    messages = [{"role": role, "content": content} for role, content in said]
    for end in range(1, len(messages) + 1):
        with contextlib.suppress(Exception):  # found, and said, where it is used
            told = task["told"] | {"messages": messages[:end], "add_generation_prompt": end % 2 == 1}
            if code := _written(environment, task["template"], told):
                return code
    return 0


def _written(environment: Any, template: str, told: Mapping[str, Any]) -> int:
    size = 0
    try:
        for piece in environment.from_string(template).generate(told):
            size += len(piece)
            if size > LONGEST:
                return TOO_LONG
    except MemoryError:
        return TOO_LARGE
    return 0


if __name__ == "__main__":
    sys.exit(_try())
