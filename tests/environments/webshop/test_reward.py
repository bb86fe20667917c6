"""The reward by hand-worked numbers, by laws, and thefuzz's ratio against thefuzz itself where it is installed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import HOSTILE
from webshop_shop import goal, products

from spa_bench.environments.webshop.goals import Goal
from spa_bench.environments.webshop.products import Product
from spa_bench.environments.webshop.reward import COLORS, Score, color, complete, fit, score, token_set_ratio

BY_ASIN = {product.asin: product for product in products()}
DRESS, SHIRT, LAMP = BY_ASIN["B000000001"], BY_ASIN["B000000002"], BY_ASIN["b00lower03"]


def test_the_wanted_thing_is_worth_one_and_every_part_is_told():
    assert score(DRESS, goal(), 30.0, {"color": "red", "size": "small"}) == Score(
        total=1.0,
        r_type=1.0,
        query_match=True,
        category_match=True,
        title_score=1.0,
        attributes=2,
        attributes_wanted=2,
        options=2,
        options_wanted=2,
        price_ok=True,
    )


@pytest.mark.parametrize(
    ("chosen", "price", "total"),
    [
        ({}, 30.0, 3 / 5),
        ({"color": "red"}, 30.0, 4 / 5),
        ({"color": "red"}, 30.01, 3 / 5),
        ({"color": "black | white", "size": "x-large"}, 31.0, 2 / 5),
    ],
)
def test_each_attribute_each_option_and_the_price_count_alike(chosen, price, total):
    assert score(DRESS, goal(), price, chosen).total == total


# Kind of product


def r_type(product: Product, **changes: object) -> tuple[float, float]:
    """`r_type` and title score of buying the product where the dress, changed like this, is wanted."""
    found = fit(product, goal(**changes))
    return found.r_type, found.title_score


@pytest.mark.parametrize(
    ("nouns", "query", "expected"),
    [
        (("summer", "dress"), "other", (1.0, 1.0)),
        (("dress", "a", "b", "c"), "other", (1.0, 0.25)),
        (("dress", "a", "b", "c", "d"), "other", (0.5, 0.2)),  # 0.2 is not above 0.2
        (("dress", "a", "b", "c", "d"), "women's dresses", (1.0, 0.2)),
        (("dress", *"abcdefghi"), "other", (0.5, 0.1)),  # 0.1 is not below 0.1
        (("dress", *"abcdefghij"), "other", (0.1, 1 / 11)),
        (("dress", *"abcdefghij"), "women's dresses", (0.1, 1 / 11)),  # overrides the query
        (("a",), "women's dresses", (0.0, 0.0)),  # and so does 0
        ((), "other", (0.5, 0.2)),  # a title without nouns scores 0.2
        (("dress", "dress", "dress", "a"), "other", (1.0, 0.25)),  # repeated nouns count below, not above
    ],
)
def test_the_kind_of_product_goes_by_query_and_nouns(nouns, query, expected):
    assert r_type(DRESS, nouns=nouns, query=query, product_category="Other") == expected


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("Clothing › Women › Dresses", True),
        ("Dresses›Clothing", True),  # order and blanks do not matter
        ("Clothing › Men", False),
        ("Clothing › Clothing", False),  # a part counts once
        ("", False),
    ],
)
def test_two_common_parts_of_the_path_are_the_same_category(path, same):
    found = fit(DRESS, goal(query="other", product_category=path, nouns=("dress", *"abcd")))
    assert (found.category_match, found.r_type) == (same, 1.0 if same else 0.5)


def test_the_product_itself_can_have_a_title_score_below_one():
    twice = replace(DRESS, nouns=("dress", "dress"))
    assert fit(twice, goal(twice)).title_score == 0.5


# Attributes


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("machine wash", 1),  # among the product's own
        ("machine washable", 1),  # alike
        ("cotton blend", 1),  # the words of one among those of the other
        ("women", 1),  # in the title
        ("100% cotton machine", 1),  # bullets are joined by a blank
        ("airy", 1),  # in the description
        ("Airy", 0),  # the wish's case is kept
        ("silk", 0),
    ],
)
def test_an_attribute_is_found_in_the_list_or_in_any_text(wanted, found):
    assert fit(DRESS, goal(attributes=(wanted,))).attributes == found


# Options


@pytest.mark.parametrize(
    ("wanted", "chosen", "found"),
    [
        ("red", "red", 1),
        ("tan", "titan", 1),  # a colour anywhere within
        ("titan", "tan", 1),
        ("redwood", "wine red", 1),  # both are red: the first colour of the table that is within
        ("red", "blue", 0),
        ("x-large", "large", 1),  # a subset of the words
        ("5 wide", "5", 1),
        ("5 wide", "6", 0),
        (("color", "red"), "dark red", 0),  # a pair that holds a colour is that colour, and this is "dark"
        (("color", "red"), "fire red", 1),
        (("color", "light blue"), "light blue", 1),  # else the pair is compared as text; the value is "blue"
        (("color", "light"), "light blue", 0),
        (("size", "small"), "small", 1),
        (("fit type", "men"), "fit", 1),  # the name's words count
        (("red", "x"), "red", 1),  # a name that is a colour, too
    ],
)
def test_options_match_by_colour_and_by_words(wanted, chosen, found):
    assert score(DRESS, goal(options=(wanted,)), 25.0, {"any": chosen}).options == found


def test_one_choice_can_fulfil_several_wishes_and_wrong_ones_cost_nothing():
    several = goal(options=("large", "x-large"))
    assert score(DRESS, several, 25.0, {"size": "large", "color": "blue"}).options == 2


def test_colours_are_found_in_the_order_of_the_table():
    assert len(COLORS) == 102
    assert [color(text) for text in ("titan", "wine red", "ashen aqua", "plain")] == ["tan", "red", "aqua", "plain"]
    assert color(("color", "titan")) == ("color", "titan")
    assert color(("color", "tan")) == "tan"


# Laws


WORDS = st.sampled_from(["red", "titan", "x-large", "large", "small", "5 wide", "5", "cotton", "dress", "zip"])
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
BOUGHT = st.sampled_from([DRESS, SHIRT, LAMP])


@st.composite
def wishes(draw: st.DrawFn) -> Goal:
    wanted = draw(BOUGHT)
    pairs = st.tuples(st.sampled_from(["color", "size"]), PHRASES)
    return goal(
        wanted,
        attributes=tuple(draw(st.lists(PHRASES, min_size=1, max_size=3))),
        options=tuple(draw(st.lists(PHRASES, max_size=3) | st.lists(pairs, max_size=3))),
        price_upper=draw(st.sampled_from([10.0, 30.0, 1e6])),
        nouns=tuple(draw(st.lists(WORDS, max_size=4))),
    )


CHOICES = st.dictionaries(st.sampled_from("abcd"), PHRASES | HOSTILE, max_size=4)


@given(BOUGHT, wishes(), st.floats(0, 2000), CHOICES)
def test_a_reward_is_a_share_of_what_was_wanted(product, wanted, price, chosen):
    found = score(product, wanted, price, chosen)
    parts = found.attributes + found.options + found.price_ok
    assert 0 <= found.total <= found.r_type <= 1
    assert found.total == parts / (found.attributes_wanted + found.options_wanted + 1) * found.r_type
    assert found.attributes <= found.attributes_wanted
    assert found.options <= found.options_wanted
    assert complete(fit(product, wanted), wanted, price, chosen.values()) == found


@given(BOUGHT, wishes(), st.floats(0, 2000), CHOICES, PHRASES)
def test_choosing_more_and_paying_less_never_hurts(product, wanted, price, chosen, another):
    found = score(product, wanted, price, chosen)
    assert score(product, wanted, price, chosen | {"another": another}).total >= found.total
    assert score(product, wanted, price / 2, chosen).total >= found.total


@given(HOSTILE, HOSTILE)
def test_any_two_texts_can_be_compared_and_the_order_does_not_matter(first, second):
    assert 0 <= token_set_ratio(first, second) == token_set_ratio(second, first) <= 100


@given(st.lists(PHRASES | st.text(max_size=12), max_size=3).map(" ".join), PHRASES | st.text(max_size=12))
def test_the_ratio_is_that_of_thefuzz(first, second):
    thefuzz = pytest.importorskip("thefuzz.fuzz", reason="thefuzz is not installed: pip install thefuzz==0.22.1")
    assert token_set_ratio(first, second) == thefuzz.token_set_ratio(first, second)
    assert token_set_ratio(first, str((first, second))) == thefuzz.token_set_ratio(first, (first, second))


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [("large", "x-large", 100), ("café", "caf", 100), ("", "", 0), ("machine wash", "machine washable", 86)],
)
def test_the_ratio_by_examples(first, second, ratio):
    assert token_set_ratio(first, second) == ratio
