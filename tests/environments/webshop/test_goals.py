"""Goals and prices: upstream's draws in upstream's order, recomputed here by the plain recipe."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from webshop_shop import Counter, products

from spa_bench.core import UserError
from spa_bench.environments.webshop import goals as module
from spa_bench.environments.webshop.goals import NO_LIMIT, Goal, goals, price, prices
from spa_bench.environments.webshop.products import Instruction, Product

BASE = {product.asin: product for product in products()}
DRESS, SHIRT, LAMP = BASE["B000000001"], BASE["B000000002"], BASE["b00lower03"]


def wished(product: Product, *wishes: Instruction) -> Product:
    return replace(product, human=wishes, synthetic=None)


def by_key(found: tuple[Goal, ...]) -> dict[str, Goal]:
    return {goal.key: goal for goal in found}


def test_prices_are_drawn_for_ranges_alone_in_the_catalogues_order():
    other = replace(DRESS, asin="A000000000", prices=(1.0, 3.0))
    drawn = prices(Counter([SHIRT, DRESS, other]), random.Random(5))
    rng = random.Random(5)
    assert drawn == {DRESS.asin: rng.uniform(19.99, 29.99), other.asin: rng.uniform(1.0, 3.0)}
    assert list(drawn) == [DRESS.asin, other.asin]
    assert price(DRESS, drawn) == drawn[DRESS.asin]
    assert price(SHIRT, drawn) == 15.0


def test_synthetic_goals_are_all_combinations_with_one_limit_per_product():
    drawn, found = goals(Counter([SHIRT, DRESS]), "synthetic", 5)
    rng = random.Random(5)
    cost = rng.uniform(19.99, 29.99)
    upper = max(rng.sample([10.0 * i for i in range(1, 100) if 10.0 * i > cost][:4], 2))
    assert drawn == {DRESS.asin: cost}
    assert {goal.price_upper for goal in found} == {upper}
    first = by_key(found)["synthetic-B000000001-0"]
    assert first.text == (
        f"Find me a machine wash dress with color: red, and size: x-large, and price lower than {upper:.2f} dollars"
    )
    assert first.options == (("color", "red"), ("size", "x-large"))
    assert first.attributes == ("machine wash", "cotton")
    assert (first.query, first.nouns) == ("women's dresses", DRESS.nouns)
    assert sorted(goal.number for goal in found) == list(range(6))
    assert {goal.weight for goal in found} == {1 / 6}


def test_weights_are_means_of_one_over_the_goals_with_an_attribute():
    lamp = replace(LAMP, synthetic=Instruction("Find me a lamp", ("cotton",)))
    weights = {key: goal.weight for key, goal in by_key(goals(Counter([DRESS, lamp]), "synthetic", 0)[1]).items()}
    assert weights["synthetic-b00lower03-0"] == 1 / 7
    assert weights["synthetic-B000000001-3"] == pytest.approx((1 / 6 + 1 / 7) / 2, abs=1e-15)


def test_a_product_without_options_makes_one_goal_and_one_with_an_empty_option_none():
    bare = replace(DRESS, options={})
    (goal,) = goals(Counter([bare]), "synthetic", 0)[1]
    assert goal.options == ()
    assert goal.text.startswith("Find me a machine wash dress, and price lower than ")
    assert goals(Counter([replace(DRESS, options={"size": ()})]), "synthetic", 0)[1] == ()


def test_human_goals_skip_instructions_without_attributes_and_draw_nothing_for_them():
    skipped, kept = Instruction("nothing.", (), ("red",)), Instruction("i want a dress...", ("cotton",), ("red",))
    with_both = goals(Counter([wished(DRESS, skipped, kept)]), "human", 3)
    assert with_both == goals(Counter([wished(DRESS, kept)]), "human", 3)
    (goal,) = with_both[1]
    assert goal.text == f"i want a dress, and price lower than {goal.price_upper:.2f} dollars"
    assert (goal.key, goal.options, goal.weight) == ("human-B000000001-0", ("red",), 1.0)


@pytest.mark.parametrize(("cost", "limited"), [(969.0, True), (979.99, True), (980.0, False), (5000.0, False)])
def test_there_is_a_limit_where_two_lie_above_the_price(cost, limited):
    dear = wished(replace(LAMP, prices=(cost,)), Instruction("a lamp", ("cotton",)))
    (goal,) = goals(Counter([dear]), "human", 0)[1]
    assert (goal.price_upper == NO_LIMIT) == (not limited)
    assert (goal.text == "a lamp") == (not limited)
    assert goal.price_upper >= cost


def test_the_order_is_one_shuffle_of_the_catalogues_order():
    plain = goals(Counter([DRESS]), "synthetic", 5, order_seed=0)[1]
    default = goals(Counter([DRESS]), "synthetic", 5)[1]
    expected = sorted(default, key=lambda goal: goal.number)
    assert sorted(plain, key=lambda goal: goal.number) == expected
    random.Random(233).shuffle(expected)
    assert list(default) == expected


def test_the_price_seed_changes_limits_and_no_key():
    first, second = (goals(Counter([DRESS]), "synthetic", seed)[1] for seed in (1, 3))
    assert [goal.key for goal in first] == [goal.key for goal in second]
    assert first != second


def test_nothing_depends_on_or_disturbs_the_global_generator():
    random.seed(1)
    first = goals(Counter([DRESS]), "synthetic", 5)
    state = random.getstate()
    random.seed(2)
    assert goals(Counter([DRESS]), "synthetic", 5) == first
    random.seed(1)
    assert random.getstate() == state


def test_too_many_synthetic_goals_are_refused_before_any_is_built(monkeypatch):
    monkeypatch.setattr(module, "_goal", lambda *_: pytest.fail("built a goal"))
    huge = replace(DRESS, options={str(i): tuple("abcdefghij") for i in range(9)})
    with pytest.raises(UserError, match="500,000 synthetic goals"):
        goals(Counter([huge]), "synthetic", 0)


def test_an_instruction_without_attributes_is_refused():
    broken = replace(DRESS, synthetic=Instruction("Find me a dress", ()))
    with pytest.raises(UserError, match="B000000001 has an instruction without attributes"):
        goals(Counter([broken]), "synthetic", 0)
