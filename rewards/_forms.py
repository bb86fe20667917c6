"""How a method says in one line where it is not its paper's, with the options that it was given."""

from __future__ import annotations

from collections.abc import Sequence


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b, and c`; empty parts are left out."""
    *first, last = [part for part in parts if part] or [""]
    if len(first) < 2:
        return " and ".join([*first, last])
    return f"{', '.join(first)}, and {last}"
