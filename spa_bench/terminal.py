"""Text on a terminal: what a model or a downloaded file says must not steer the screen of whoever reads it."""

from __future__ import annotations

import shlex
import unicodedata
from pathlib import Path

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are shown as escapes: control, format (also right-to-left overrides), surrogates, unknown."""


def printable(text: str, limit: int | None = None) -> str:
    """`text` with everything but newlines and visible characters written as an escape, cut after `limit` characters."""
    if limit is not None and len(text) > limit:
        return f"{printable(text[:limit])} [... {len(text) - limit} more characters]"
    return "".join(char if char == "\n" or unicodedata.category(char) not in UNSAFE else _escape(char) for char in text)


def printable_line(text: str, limit: int | None = None) -> str:
    r"""As `printable`, on one line: newlines become `\n`."""
    return printable(text, limit).replace("\n", "\\n")


def argument(path: Path | str) -> str:
    """A path as one word of a shell's command, whatever it holds; `./` keeps `-x` from being read as an option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
