"""Options as constructors declare them: what is refused, in which words, and that all our options say what they do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from spa_bench import registry
from spa_bench.core import UserError
from spa_bench.declared import REQUIRED, Option, declared, fits, options, wanted

Share = Annotated[float, Field(gt=0, le=1, description="a share")]


class Declared:
    @declared("thing mine")
    def __init__(
        self,
        *,
        share: Share = 0.5,
        count: Annotated[int, Field(ge=2, lt=9, description="how\nmany")] = 3,
        rate: Annotated[float | None, Field(ge=0)] = None,
        other: Share | None = None,
        kind: Literal["a", "b"] = "a",
        quick: bool = False,
        weights: Sequence[float] = (),
        given: str,
    ) -> None:
        self.made = (share, count, rate, other, kind, quick, weights, given)


@pytest.mark.parametrize(
    ("option", "values", "words"),
    [
        ("share", (0, 0.0, 1.1, math.nan, math.inf, "1", True, None), "a number above 0, up to 1"),
        ("count", (1, 9, 2.0, True), "a whole number, 2 or above, below 9"),
        ("rate", (-1, math.inf, "x", False), "a number, 0 or above"),
        ("other", (0, 2), "a number above 0, up to 1"),
        ("kind", ("c", 1), "a or b"),
        ("quick", (0, "yes"), "true or false"),
        ("given", (3,), "a text"),
    ],
)
def test_what_is_not_of_the_type_and_in_the_range_is_one_line(option: str, values: tuple[Any, ...], words: str):
    for value in values:
        with pytest.raises(UserError) as caught:
            Declared(**{"given": "x", option: value})
        assert str(caught.value) == f"thing mine: {option}={value!r}: use {words}"


def test_what_fits_is_taken_as_it_is():
    made = Declared(share=1, count=8, rate=0, other=0.1, kind="b", quick=True, weights=[1, 2], given="x").made
    assert made == (1, 8, 0, 0.1, "b", True, [1, 2], "x")
    assert Declared(given="x", rate=None, other=None).made[2:4] == (None, None)


def test_the_limits_themselves_are_in_or_out():
    for bound, inside in ((Field(ge=1), True), (Field(gt=1), False), (Field(le=1), True), (Field(lt=1), False)):
        assert fits(1, Annotated[int, bound]) == inside


def test_options_are_listed_with_what_they_can_be():
    found = {option.name: option for option in options(Declared)}
    assert found["share"] == Option("share", "a number above 0, up to 1", 0.5, "a share")
    assert (found["count"].description, found["given"].default) == ("how many", REQUIRED)
    assert (found["weights"].values, found["rate"].values) == ("", "a number, 0 or above")
    assert wanted(Annotated[float, Field(ge=0, le=1)]) == "a number, 0 to 1"


@pytest.mark.parametrize(
    ("room", "name"), [(room, name) for room in ("rewards", "environments") for name in registry.built_in(room)]
)
def test_every_option_of_ours_has_a_description_and_a_number_a_range(room: Any, name: str):
    for option in options(registry.find(room, name)):
        assert option.description, option
        assert option.values not in ("", "a number", "a whole number"), option


def test_a_weight_below_zero_is_refused_by_name_and_by_class():
    for make in (registry.find("rewards", "spa"), lambda **given: registry.build("rewards", "spa", **given)):
        with pytest.raises(UserError, match=r"^reward spa: alpha=-3: use a number, 0 or above$"):
            make(alpha=-3)
    with pytest.raises(UserError, match=r"^reward shuffled: alpha=-3: use a number, 0 or above$"):
        registry.build("rewards", "shuffled", alpha=-3)
