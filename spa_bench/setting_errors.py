"""What is said where a setting is refused: one line that names the key, and the closest known one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spa_bench.assignments import meant

RENAMED = {"model.precision": "model.dtype"}
"""Settings of earlier versions that have another name now."""


def refused(errors: Sequence[Mapping[str, Any]], known: Sequence[str]) -> str:
    """The first error of pydantic in the words of settings, with those of the same value; `known` are all settings."""
    error = errors[0]
    path, given = [str(part) for part in error["loc"]][:2], error["input"]  # beyond them are kinds of a union
    dotted = ".".join(path)
    if error["type"] == "extra_forbidden":
        if new := RENAMED.get(dotted):
            return f"setting {dotted} is now {new}"
        path += [str(key) for key in list(given)[:1]] if isinstance(given, dict) else []
        return f"unknown setting {'.'.join(path)}{meant(path, known)}"
    if error["type"] == "model_type":
        return not_a_value(dotted, given, known)
    if isinstance(given, dict) and given and len(path) == 1:
        deeper = [*path, str(next(iter(given)))]
        return f"setting {dotted} is a value, not a section{meant(deeper, known)}"
    same = [one["msg"] for one in errors if [str(part) for part in one["loc"]][:2] == path]
    said = " or ".join(text[:1].lower() + text[1:].partition(", unable to parse")[0] for text in same)
    return f"setting {dotted}: {said.replace(' or input should be ', ' or ')} (got {given!r})"


def not_a_value(section: str, given: object, known: Sequence[str]) -> str:
    """What is said where a section is given a value."""
    said = f"setting {section} is a section, not the value {given!r}"
    keys = [key for key in known if key.startswith(f"{section}.")]
    more = f": set one of its keys, such as {keys[0]}; `spa-bench settings {section}` explains them" if keys else ""
    return said + more
