"""WebShop's oracle: hand-worked prospects, and search through the engine as the judge of all others."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product as ways

import pytest
import webshop_shop
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench.environments.dice import Dice
from spa_bench.environments.webshop import generate, reward
from spa_bench.environments.webshop.engine import START, Engine, PricedShop, State
from spa_bench.environments.webshop.goals import Goal
from spa_bench.environments.webshop.oracle import Oracle, Prospect
from spa_bench.environments.webshop.products import Product, indexed
from spa_bench.environments.webshop.tasks import Assortment, Wanted, assortment
from spa_bench.environments.webshop.view import BUTTONS

SHOPS = ("default", "hard", "synthetic")
DRESS, SHIRT = "B000000001", "B000000002"


# By hand: the dress, red and small, below 30 dollars; it costs 25 today, and two attributes are wanted.


def led(*actions: str, goal: Goal | None = None) -> tuple[Oracle, Prospect]:
    engine = Engine(webshop_shop.shop(), goal or webshop_shop.goal())
    for action in actions:
        engine.step(action)
        assert engine.executed, action
    oracle = Oracle(engine.shop, engine.goal)
    return oracle, oracle.prospect(engine.state)


OPEN = ("search[dress]", f"click[{DRESS}]")


@pytest.mark.parametrize(
    ("actions", "best", "steps"),
    [
        ((), 1.0, 5),  # search, open, red, small, buy
        (("search[dress]",), 1.0, 4),
        (("search[dress]", "click[Next >]"), 1.0, 5),  # back one page, or a new search
        (("search[dress]", *["click[Next >]"] * 7), 1.0, 5),  # a new search: search, open, red, small, buy
        (("search[lamp]",), 1.0, 5),
        (OPEN, 1.0, 3),
        ((*OPEN, "click[red]"), 1.0, 2),
        ((*OPEN, "click[titan]"), 1.0, 3),
        ((*OPEN, "click[red]", "click[titan]"), 1.0, 3),
        ((*OPEN, "click[red]", "click[small]"), 1.0, 1),
        ((*OPEN, "click[red]", "click[small]", "click[Features]"), 1.0, 2),
        ((*OPEN, "click[red]", "click[small]", "click[< Prev]"), 1.0, 4),  # options are forgotten
        ((*OPEN, "click[red]", "click[small]", "click[Back to Search]"), 1.0, 5),
        ((*OPEN, "click[Features]"), 1.0, 4),
        ((*OPEN, "click[red]", "click[small]", "click[Buy Now]"), 1.0, 0),
        ((*OPEN, "click[small]", "click[Buy Now]"), 0.8, 0),
        (("search[polo dress]", f"click[{SHIRT}]"), 1.0, 5),  # back, open, red, small, buy
        (("search[polo]", f"click[{SHIRT}]", "click[Features]"), 1.0, 5),  # a new search, as it is not found here
        (("search[polo]", f"click[{SHIRT}]", "click[Buy Now]"), 0.0, 0),  # no noun in common
    ],
)
def test_prospects_are_those_worked_out_by_hand(actions, best, steps):
    assert led(*actions)[1] == Prospect(best, steps)


def test_progress_is_worked_out_by_hand():
    for actions, expected in (
        ((), 0.5),
        (("search[dress]",), 0.6),
        (OPEN, 0.7),
        ((*OPEN, "click[Reviews]"), 0.6),
        ((*OPEN, "click[red]", "click[small]"), 0.9),
        ((*OPEN, "click[red]", "click[small]", "click[Buy Now]"), 1.0),
        ((*OPEN, "click[small]", "click[Buy Now]"), 0.8),
    ):
        oracle, now = led(*actions)
        assert oracle.progress(now) == pytest.approx(expected)
    assert oracle.progress(Prospect(0.8, 10)) == oracle.progress(Prospect(0.8, 99)) == 0.0


def test_ways_back_are_weighed_against_a_new_search_that_takes_two_pages():
    wanted = next(p for p in webshop_shop.products() if p.asin == "C000000015")
    goal = webshop_shop.goal(wanted, options=(), attributes=("15",), price_upper=50.0)
    second = ("search[filler]", "click[Next >]")
    for actions, steps in (
        ((), 4),  # search, turn the page, open, buy
        (("search[filler]",), 3),
        (second, 2),
        ((*second, "click[Next >]"), 3),
        ((*second, "click[C000000016]"), 3),
        ((*second, "click[C000000016]", "click[Features]"), 4),
        ((*second, "click[C000000015]", "click[Features]"), 2),
        ((*second, *["click[Next >]"] * 9), 4),
    ):
        assert led(*actions, goal=goal)[1] == Prospect(0.5, steps), actions


def test_the_best_reward_may_be_below_1():
    goal = webshop_shop.goal(options=("red", "green"), price_upper=10.0)
    assert led(*OPEN, goal=goal)[1] == Prospect(0.6, 2)  # 2 attributes and red of 2 + 2 + 1
    assert led(goal=goal)[1] == Prospect(0.6, 4)


def test_another_product_counts_once_it_is_open():
    twin = replace(next(p for p in webshop_shop.products() if p.asin == DRESS), asin="A000000001", prices=(5.0,))
    shop = PricedShop(webshop_shop.Counter([*webshop_shop.products(), twin]), {DRESS: 25.0})
    goal = webshop_shop.goal(price_upper=10.0)
    oracle = Oracle(shop, goal)
    assert oracle.prospect(State("results", "dress")) == Prospect(0.8, 4)
    assert oracle.prospect(State("item", "dress", asin=twin.asin)) == Prospect(1.0, 3)
    assert oracle.prospect(State("sub", "dress", asin=twin.asin, options=(("size", "small"),))) == Prospect(1.0, 3)


def test_a_target_that_no_query_finds_is_taken_for_the_last_of_the_results():
    class Blind(webshop_shop.Counter):
        def search(self, query: str) -> tuple[str, ...]:
            return tuple(asin for asin in super().search(query) if asin != DRESS)

    oracle = Oracle(PricedShop(Blind(webshop_shop.products()), {DRESS: 25.0}), webshop_shop.goal())
    assert oracle.start == Prospect(1.0, 1 + 4 + 1 + 3)  # search, four pages, open, two options and the purchase


def test_options_that_no_click_can_choose_do_not_count():
    def offering(options: dict[str, tuple[str, ...]], *wanted: str) -> tuple[float, int]:
        sold = replace(next(p for p in webshop_shop.products() if p.asin == DRESS), options=options)
        goal = webshop_shop.goal(options=wanted)
        return Oracle(PricedShop(webshop_shop.Counter([sold]), {DRESS: 25.0}), goal).choices(sold, {})

    assert offering({"size": ("small", "red"), "color": ("red",)}, "red", "small") == (1.0, 2)
    # both values belong to the later name, which holds one of them
    assert offering({"size": ("small", "red"), "color": ("red", "small")}, "red", "small") == (0.8, 1)
    assert offering({"a": ("7 wide",), "b": ("wide",), "c": ("7",)}, "7", "wide") == (1.0, 1)
    assert offering({"note": ("buy now", "features")}, "buy now") == (3 / 4, 0)
    assert offering({"note": ("a[b",)}, "a[b") == (3 / 4, 0)
    assert offering({"note": ("buy now", "a[b", "next >")}, "buy now", "a[b", "next >") == (4 / 6, 1)


@cache
def shop_of(shop: str) -> Assortment:
    kind = "hard" if shop == "hard" else "default"
    goals = "synthetic" if shop == "synthetic" else "human"
    folder = generate.ensure(seed=6, products=20, difficulty=kind) / generate.CATALOGUE
    return assortment(folder, Wanted(goals=goals, limits=(5, 10), built_in=goals == "human"))  # type: ignore[arg-type]


def pick(shop: str, number: int) -> tuple[Engine, Oracle]:
    found = list(shop_of(shop).goals.values())
    goal = found[number % len(found)]
    return Engine(shop_of(shop).shop, goal), Oracle(shop_of(shop).shop, goal)


def clicks(engine: Engine) -> list[str]:
    return [action for text in engine.clickables if engine.executes(action := f"click[{text}]")]


def wander(engine: Engine, dice: Dice, steps: int) -> None:
    queries = [engine.goal.text, engine.goal.query, engine.shop.product(engine.goal.asin).title, "organic", "xyzzy"]
    for _ in range(steps):
        possible = [action for action in clicks(engine) if action != "click[Buy Now]"]
        if not possible or dice.chance(0.15):
            engine.step(f"search[{dice.among(queries)}]")
        else:
            engine.step(dice.among(possible))


def successors(engine: Engine, state: State, queries: tuple[str, ...], opened: set[str]) -> Iterator[State]:
    engine.restore(state)
    for action in [*clicks(engine), *(f"search[{query}]" for query in queries)]:
        if state.page == "results" and action[0] == "c" and action[6:-1] not in BUTTONS | opened:
            continue
        engine.restore(state)
        engine.step(action)
        if engine.state.number <= 6:
            yield engine.state._replace(visited=frozenset())


def search(engine: Engine, state: State) -> tuple[float, int]:
    """(Best reward, fewest steps) by buying the target or the product on the page, by breadth-first search."""
    target = engine.shop.product(engine.goal.asin)
    queries = (target.title.lower(), indexed(target))
    opened = {engine.goal.asin, state.asin}
    if state.score is not None:
        return state.score.total, 0
    known, queue = {state: 0}, deque([state])
    best: tuple[float, int] = (-1.0, 0)
    while queue:
        here = queue.popleft()
        if here.score is not None:
            best = max(best, (here.score.total, -known[here]))
            continue
        for there in successors(engine, here, queries, opened):
            if there not in known:
                known[there] = known[here] + 1
                queue.append(there)
    engine.restore(state)
    return best[0], -best[1]


@given(st.sampled_from(SHOPS), st.integers(0, 300), st.integers(0, 2**32))
@max_examples(60)
def test_no_search_finds_better_or_shorter_and_none_only_worse_or_longer(shop, number, seed):
    engine, oracle = pick(shop, number)
    dice = Dice("search", seed)
    wander(engine, dice, dice.between(0, 12))
    if dice.chance(0.1) and "Buy Now" in engine.clickables:
        engine.step("click[Buy Now]")
    state = engine.state
    # a product that was looked at before counts no more
    assert tuple(oracle.prospect(state)) == search(engine, state._replace(visited=frozenset()))


@given(st.sampled_from(SHOPS), st.integers(0, 300), st.integers(0, 2**32))
def test_progress_starts_in_the_middle_ends_with_the_purchase_and_stays_within_bounds(shop, number, seed):
    engine, oracle = pick(shop, number)
    dice = Dice("progress", seed)
    assert oracle.progress(oracle.prospect(START)) == 0.5 * oracle.start.reward == 0.5
    for _ in range(dice.between(1, 15)):
        wander(engine, dice, 1)
        now = oracle.prospect(engine.state)
        assert 0.0 <= oracle.progress(now) < 1.0
        assert now.reward >= oracle.start.reward and now.steps > 0
    if "Buy Now" in engine.clickables:
        engine.step("click[Buy Now]")
        assert engine.score is not None
        assert oracle.prospect(engine.state) == Prospect(engine.score.total, 0)
        assert oracle.progress(oracle.prospect(engine.state)) == engine.score.total


@given(st.sampled_from(SHOPS), st.integers(0, 300), st.integers(0, 2**32))
@max_examples(40)
def test_every_state_has_a_step_that_brings_it_one_nearer_and_progress_higher(shop, number, seed):
    engine, oracle = pick(shop, number)
    dice = Dice("nearer", seed)
    wander(engine, dice, dice.between(0, 15))
    queries = (oracle.target.title, indexed(oracle.target))
    while engine.state.score is None:
        now, state = oracle.prospect(engine.state), engine.state
        opened = {engine.goal.asin, state.asin}
        after = [(s, oracle.prospect(s)) for s in successors(engine, state, queries, opened)]
        assert all(p.steps >= now.steps - 1 for _, p in after if p.reward >= now.reward)
        on = [(s, p) for s, p in after if p.reward >= now.reward and p.steps == now.steps - 1]
        assert on, state
        assert all(oracle.progress(p) >= oracle.progress(now) for _, p in on)
        engine.restore(dice.among(on)[0])
    assert engine.state.score.total == 1.0


VALUES = (
    "red",
    "titan",
    "dark red",
    "small",
    "x small",
    "large",
    "7 wide",
    "wide 7",
    "wide",
    "7",
    "",
    "a[b",
    "next >",
    "buy now",
)
SOLD = [product for product in webshop_shop.products() if product.asin in (DRESS, SHIRT)]
NAMES = ("color", "size", "fit", "red")


def brute(sold: Product, goal: Goal, chosen: dict[str, str], price: float) -> tuple[float, int]:
    """By every combination of options, as the engine lets a click choose them."""
    engine = Engine(PricedShop(webshop_shop.Counter([sold]), {sold.asin: price}), goal)
    start = State("item", "", asin=sold.asin, options=tuple(chosen.items()))
    reached: dict[str, list[str]] = {name: [] for name in sold.options}
    for value in {value for values in sold.options.values() for value in values}:
        engine.restore(start._replace(options=()))
        engine.step(f"click[{value}]")
        for name, now in engine.state.options:
            reached[name].append(now)
    best = (-1.0, 0)
    for way in ways(*[(None, *values) for values in reached.values()]):
        picked = {name: value for name, value in zip(reached, way, strict=True) if value is not None}
        total = reward.score(sold, goal, price, chosen | picked).total
        best = max(best, (total, -sum(chosen.get(name) != value for name, value in picked.items())))
    return best[0], -best[1]


@given(st.data())
@max_examples(300)
def test_choices_are_those_of_all_combinations(data):
    values = st.lists(st.sampled_from(VALUES), max_size=4, unique=True).map(tuple)
    options = data.draw(st.dictionaries(st.sampled_from(NAMES), values, max_size=3))
    sold = replace(data.draw(st.sampled_from(SOLD)), options=options)
    texts = st.sampled_from([value for value in VALUES if value])
    wanted = data.draw(st.lists(texts | st.tuples(st.sampled_from(NAMES), texts), max_size=4).map(tuple))
    goal = replace(webshop_shop.goal(options=wanted), price_upper=data.draw(st.sampled_from([10.0, 40.0])))
    chosen = {n: data.draw(st.sampled_from(v)) for n, v in options.items() if v and data.draw(st.booleans())}
    oracle = Oracle(PricedShop(webshop_shop.Counter([sold]), {sold.asin: 20.0}), goal)
    assert oracle.choices(sold, chosen) == brute(sold, goal, chosen, 20.0)
