"""How fast the WebShop engine is, by kind of step, in a shop of a thousand products that is generated here.

`pytest tests/benchmarks/test_webshop_speed.py --benchmark-enable --benchmark-json=out.json` writes one entry for each
kind; `extra_info["steps"]` is what one round did. The catalogue remembers queries, so that what is measured is the
engine and not the search engine. Nothing here asserts a time.
"""

from typing import Any

import pytest

from spa_bench.environments.webshop import generate
from spa_bench.environments.webshop.catalogue import Catalogue
from spa_bench.environments.webshop.engine import Engine, PricedShop, State
from spa_bench.environments.webshop.goals import goals

GOALS = 50
KINDS = ("search", "next", "item", "option", "sub", "back", "buy", "invalid")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> list[Engine]:
    """Engines of different goals, with products that have options."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        catalogue = Catalogue.open(generate.ensure(products=300, difficulty="hard") / generate.CATALOGUE)
    drawn, found = goals(catalogue, "human", 0)
    shop = PricedShop(catalogue, drawn)
    return [Engine(shop, goal) for goal in found[:GOALS]]


def position(engine: Engine, kind: str) -> tuple[State, str]:
    """A state of the engine, and the action to measure there."""
    engine.reset()
    item = State("item", engine.goal.text.lower(), asin=engine.goal.asin)
    options = engine.shop.product(engine.goal.asin).options
    actions = {
        "search": (engine.state, f"search[{engine.goal.text}]"),
        "next": (State("results", engine.goal.text.lower()), "click[next >]"),
        "option": (item, f"click[{next(iter(options.values()))[0]}]"),
        "sub": (item, "click[features]"),
        "back": (item._replace(page="sub", sub="Features"), "click[< prev]"),
        "buy": (item, "click[buy now]"),
        "invalid": (item, "click[something else]"),
    }
    if kind == "item":
        asin = engine.shop.search(engine.goal.text.lower())[0]
        return State("results", engine.goal.text.lower()), f"click[{asin}]"
    return actions[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_engine_steps(benchmark: Any, engines: list[Engine], kind: str) -> None:
    """Restoring the state, the step and reading what can be clicked after it."""
    positions = [(engine, *position(engine, kind)) for engine in engines]

    def step_all() -> None:
        for engine, state, action in positions:
            engine.restore(state)
            engine.step(action)
            assert engine.clickables or engine.done

    step_all()
    assert all(engine.executed == (kind != "invalid") for engine in engines)
    benchmark.extra_info["steps"] = len(positions)
    benchmark.pedantic(step_all, rounds=20, warmup_rounds=2)


def test_engine_reset(benchmark: Any, engines: list[Engine]) -> None:
    """New engines, as an environment makes one for each episode."""

    def reset_all() -> None:
        for engine in engines:
            Engine(engine.shop, engine.goal).reset()

    benchmark.extra_info["resets"] = len(engines)
    benchmark.pedantic(reset_all, rounds=20, warmup_rounds=2)


def test_engine_snapshot_and_restore(benchmark: Any, engines: list[Engine]) -> None:
    engine = engines[0]
    engine.reset()
    engine.step(f"search[{engine.goal.text}]")
    benchmark(lambda: engine.restore(engine.state))
