"""The page of promises: each has tests that carry its number, and names all files that hold them."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"


def numbered() -> dict[int, set[str]]:
    """Number of a promise -> files with tests that carry it, below tests/."""
    found: dict[int, set[str]] = defaultdict(set)
    for file in sorted(TESTS.rglob("test_*.py")):
        for number in re.findall(r"^ *def test_t(\d\d)_", file.read_text(encoding="utf-8"), re.MULTILINE):
            found[int(number)].add(file.relative_to(TESTS).as_posix())
    return found


def promised() -> dict[int, set[str]]:
    """The same as the page has it."""
    rows = re.findall(r"^\| T(\d+) \|[^|]+\|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {int(number): set(re.findall(r"`([^`]+)`", files)) for number, files in rows}


def test_every_promise_is_listed_once_in_order() -> None:
    assert list(promised()) == list(range(1, 24))


@pytest.mark.parametrize("number", range(1, 24))
def test_a_promise_names_the_files_that_hold_it(number: int) -> None:
    assert promised()[number] == numbered()[number]
    assert numbered()[number]
