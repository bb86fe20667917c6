"""The list of mistakes fits the code; `run.py` tries them, which takes minutes."""

from __future__ import annotations

import re

import pytest
from run import LIST, ROOT, Mistake, Wrong, mistaken, mistakes

LISTED = mistakes(LIST, [])


@pytest.mark.parametrize("mistake", LISTED, ids=[one.name for one in LISTED])
def test_each_mistake_can_be_made_and_its_tests_exist(mistake: Mistake):
    text = (ROOT / mistake.file).read_text(encoding="utf-8")
    assert mistaken(text, mistake) != text
    assert mistake.tests
    for test in mistake.tests:
        file, _, name = test.partition("::")
        code = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {re.escape(name.partition('[')[0])}\(", code, re.M)


def test_a_text_that_is_gone_or_stands_twice_is_refused():
    mistake = Mistake("x", "file.py", "a", "b", ())
    for text in ("", "a a"):
        with pytest.raises(Wrong, match="not once"):
            mistaken(text, mistake)
