"""The WebShop engine against a recording of the real one on the thousand products: every page, goal and price."""

import gzip
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from spa_bench.environments.webshop import words
from spa_bench.environments.webshop.catalogue import Catalogue
from spa_bench.environments.webshop.engine import Engine, PricedShop
from spa_bench.environments.webshop.goals import Goal, Prices, goals, price
from spa_bench.environments.webshop.reward import Score, score

pytestmark = pytest.mark.official

PRICE_SEED = 5
"""What upstream's generator was seeded with before it loaded."""


@pytest.fixture(scope="module")
def synthetic(webshop_catalogue: Catalogue) -> tuple[Prices, tuple[Goal, ...]]:
    return goals(webshop_catalogue, "synthetic", PRICE_SEED)


def episodes(folder: Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(goal, steps): a new goal is a new episode, and so is what comes after a purchase."""
    with gzip.open(folder / "golden_text_synthetic.jsonl.gz", "rt", encoding="utf-8") as file:
        recorded = [json.loads(line) for line in file]
    for number, steps in groupby(recorded, key=lambda step: step["g"]):
        yield number, list(steps)


def as_recorded(shown: str, score: Score, reward: float) -> str:
    """The page after a purchase with the recorded reward, which must be ours but for the kind of product.

    The recorder had a stand-in for the tagger of nouns, so that its `r_type` is another one of the four.
    """
    parts = score.attributes + score.options + score.price_ok
    share = parts / (score.attributes_wanted + score.options_wanted + 1)
    assert score.total == share * score.r_type
    assert reward in [share * r_type for r_type in (0.0, 0.1, 0.5, 1.0)]
    return shown.replace(f"[SEP] {score.total} [SEP]", f"[SEP] {reward} [SEP]")


def test_there_are_upstreams_goals(
    webshop_catalogue: Catalogue, synthetic: tuple[Prices, tuple[Goal, ...]], webshop_data: Path
) -> None:
    drawn, found = synthetic
    assert (len(drawn), len(found), len({goal.asin for goal in found})) == (93, 6910, 415)
    assert len({goal.key for goal in found}) == 6910
    human = goals(webshop_catalogue, "human", PRICE_SEED)
    assert (human[0], len(human[1])) == (drawn, 13)
    with gzip.open(webshop_data / "human_goals_12087.json.gz", "rt", encoding="utf-8") as file:
        published = set(json.load(file))
    texts = {goal.text.partition(", and price lower than ")[0] for goal in human[1]}
    assert len({text.replace("'", "") for text in texts} & published) == 13


def test_t21_recorded_episodes_of_the_real_engine_replay_without_a_difference(
    webshop_catalogue: Catalogue, synthetic: tuple[Prices, tuple[Goal, ...]], webshop_data: Path
) -> None:
    drawn, found = synthetic
    shop = PricedShop(webshop_catalogue, drawn)
    played = bought = 0
    for number, steps in episodes(webshop_data):
        engine = Engine(shop, found[number])
        before = engine.reset()
        for step in steps:
            if engine.done:
                before = engine.reset()
            seen = engine.step(step["a"])
            assert engine.executed or (seen == before and step["r"] == 0)
            if engine.score is not None:
                seen = as_recorded(seen, engine.score, step["r"])
                bought += 1
            else:
                assert words.goal(seen) == found[number].text.strip()
            assert (seen, engine.done) == (step["o"], step["d"]), (number, step["a"])
            before = seen
            played += 1
    assert (played, bought) == (2867, 56)


def test_a_snapshot_taken_anywhere_leads_on_to_the_recorded_pages(
    webshop_catalogue: Catalogue, synthetic: tuple[Prices, tuple[Goal, ...]], webshop_data: Path
) -> None:
    """Every step is taken by a new engine that knows the state alone."""
    drawn, found = synthetic
    shop = PricedShop(webshop_catalogue, drawn)
    for number, steps in list(episodes(webshop_data))[:40]:
        state = Engine(shop, found[number]).state
        for step in steps:
            engine = Engine(shop, found[number])
            engine.restore(state)
            seen = engine.step(step["a"])
            if not engine.done:
                assert seen == step["o"], (number, step["a"])
                state = engine.state


def test_a_synthetic_goal_in_fifteen_is_not_fulfilled_by_its_own_product_and_options(
    webshop_catalogue: Catalogue, synthetic: tuple[Prices, tuple[Goal, ...]]
) -> None:
    """Upstream reduces the bought "r.brown2070" to "brown", and compares it with the pair that it leaves as it is."""
    drawn, found = synthetic
    fulfilled = 0
    for goal in found:
        product = webshop_catalogue.product(goal.asin)
        bought = score(product, goal, price(product, drawn), dict(goal.options))
        assert bought.query_match
        assert bought.price_ok
        assert bought.attributes == bought.attributes_wanted
        fulfilled += bought.options == bought.options_wanted
    assert (fulfilled, len(found) - fulfilled) == (6452, 458)
