"""WebShop's named protocols: each defect by a hand-worked example, each label, and the proof of the splits."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from itertools import product as combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import webshop_shop

from spa_bench.commands import official as door
from spa_bench.config import build
from spa_bench.core import TextEnv, UserError
from spa_bench.environments.webshop import data, generate, protocols, reward, verify
from spa_bench.environments.webshop.catalogue import Catalogue
from spa_bench.environments.webshop.env import WebShop
from spa_bench.environments.webshop.goals import Goal
from spa_bench.environments.webshop.protocols import PROTOCOLS, Worded, timeout_credit
from spa_bench.environments.webshop.tasks import divide, instruction
from spa_bench.training import experiment
from spa_bench.training.start import Start

SMALL: dict[str, Any] = {"products": 24, "valid": 12}
DRESS = "B000000001"
ON_DRESS = ("search[dress]", f"click[{DRESS}]")


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Lists of positions in the 120 goals of the small shop, one of them twice and one in both."""
    (tmp_path / protocols.HELD_OUT).write_text("[5, 3, 7]")
    (tmp_path / protocols.TRAIN).write_text("[9, 3, 11, 9]")
    return tmp_path


@pytest.fixture(scope="module")
def shop() -> Path:
    return generate.ensure(products=24) / generate.CATALOGUE


def world(protocol: str, lists: Path | None = None, **options: Any) -> WebShop:
    indices = str(lists) if PROTOCOLS[protocol].lists else None
    return WebShop(protocol=protocol, indices=indices, **SMALL | options)


def played(env: WebShop, *actions: str) -> tuple[list[float], bool, dict[str, Any]]:
    """Rewards of all steps, whether the last one ended the episode for lack of steps, and its info."""
    rewards, truncated, info = [], False, {}
    for action in actions:
        _, reward_, _, truncated, info = env.step(action)
        rewards.append(reward_)
    return rewards, truncated, info


def target(env: WebShop) -> Goal:
    return cast(Goal, env.snapshot().goal)


def page_of_target(env: WebShop) -> list[str]:
    """Ten steps of which the last one leads to the page of the goal's own product, with no option chosen."""
    asin = target(env).asin
    title = env.assortment.shop.product(asin).title
    return [f"search[{title}]", f"click[{asin}]", *["click[Features]", "click[< Prev]"] * 4]


# What is asked for


@pytest.mark.parametrize(
    ("name", "goals", "steps"),
    [
        ("default", "human", 15),
        ("webshop", "human", 100),
        ("eto", "human", 10),
        ("spa-released", "human", 10),
        ("verl-agent", "synthetic", 15),
    ],
)
def test_what_is_not_asked_for_is_the_protocols(name: str, goals: str, steps: int, lists: Path) -> None:
    env = world(name, lists)
    assert env.max_steps == steps
    env.reset(seed=0)
    assert target(env).kind == goals


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("eto", {"goals": "synthetic"}, "eto has goals='human', not 'synthetic': leave goals out"),
        ("eto", {"max_steps": 15}, "eto has max_steps=10, not 15"),
        ("spa-released", {"observation": "text_rich"}, "spa-released has observation='text'"),
        ("verl-agent", {"goals": "human"}, "verl-agent has goals='synthetic'"),
        ("verl-agent", {"indices": "x"}, "verl-agent has no lists"),
        ("default", {"indices": "x"}, "default has no lists"),
        ("webshop", {"observation": "text_rich"}, "webshop has observation='text'"),
        ("webshop-2", {}, "no protocol 'webshop-2': use default, webshop, eto"),
    ],
)
def test_what_contradicts_a_protocol_is_refused(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        WebShop(protocol=name, **options)


def test_what_is_open_may_be_asked_for(lists: Path) -> None:
    assert world("webshop", max_steps=30, goals="synthetic").max_steps == 30
    assert world("eto", lists, max_steps=10, goals="human", observation="text").max_steps == 10
    world("default", max_steps=3, goals="synthetic", observation="text_rich")


# Labels


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("webshop", "webshop: split by goal index"),
        ("eto", "eto: 21 of the 200 published test goals are also trained on; other lists than the published ones"),
        ("spa-released", "an oracle's credit for its last page, without a purchase"),
        ("verl-agent", "verl-agent: validation goals are also trained on"),
    ],
)
def test_a_label_says_the_defect(name: str, says: str, lists: Path) -> None:
    assert says in world(name, lists).protocol


def test_ours_says_nothing_but_its_name() -> None:
    assert WebShop().protocol == "default"


def test_published_lists_are_known_by_their_hash(lists: Path) -> None:
    names = protocols.HELD_OUT, protocols.TRAIN
    known = {name: hashlib.sha256((lists / name).read_bytes()).hexdigest() for name in names}
    rules = replace(PROTOCOLS["eto"], lists=known)
    assert rules.published(lists)
    (lists / protocols.TRAIN).write_text("[1]")
    assert not rules.published(lists)
    assert not rules.published(lists / "none")


@pytest.mark.parametrize("name", ["default", "webshop"])
def test_official_products_without_a_noun_tagger_are_said_to_be_approximate(name: str, shop: Path) -> None:
    env = WebShop(tasks="official", data=str(shop), protocol=name)
    assert not env.assortment.catalogue.exact_nouns
    assert env.protocol == f"{PROTOCOLS[name].label}; r_type approximate: built without a noun tagger"


def test_a_run_records_the_label() -> None:
    common: Any = SimpleNamespace(
        config=build({"env": "webshop", "reward": "sparse"}),
        make_env=lambda: world("verl-agent"),
        prompt_hash="",
        content="",
        panel_hash="",
        panel=(),
        train=(),
        world_code="",
        device=SimpleNamespace(type="cpu"),
        dtype="fp32",
        engine=None,
    )
    assert experiment.facts(cast(Start, common), {})["protocol"] == PROTOCOLS["verl-agent"].label
    assert isinstance(TextEnv.protocol, property)


# Splits


def test_the_lists_are_the_splits_without_repetitions(lists: Path) -> None:
    env = world("eto", lists)
    order = list(env.assortment.goals)
    assert env.assortment.keys("valid_unseen") == tuple(order[place] for place in (5, 3, 7))
    assert env.assortment.keys("train") == tuple(order[place] for place in (9, 3, 11))
    assert [task.key for task in env.tasks("train")] == sorted(order[place] for place in (9, 3, 11))


@pytest.mark.parametrize("name", ["eto", "verl-agent"])
def test_there_is_no_development_split_where_there_was_none(name: str, lists: Path) -> None:
    with pytest.raises(UserError, match="valid_seen has no tasks, this protocol has none: use valid_unseen"):
        world(name, lists).tasks("valid_seen")


@pytest.mark.parametrize("content", ["", "{}", "[1, true]", "[-1]", "[1.0]", "[" * 100_000])
def test_what_is_no_list_of_positions_is_told(content: str, lists: Path) -> None:
    (lists / protocols.TRAIN).write_text(content)
    with pytest.raises(UserError, match=r"train_indices\.json is no JSON list of positions.*fetch it again"):
        world("eto", lists).tasks("train")


def test_missing_lists_are_told_with_where_they_come_from(tmp_path: Path) -> None:
    for env in (WebShop(protocol="eto", indices=str(tmp_path), **SMALL), WebShop(protocol="spa-released", **SMALL)):
        with pytest.raises(UserError, match=r"needs .*test_indices\.json: get .* from eval_agent/data/webshop"):
            env.tasks("train")


def test_a_position_beyond_the_goals_is_told(lists: Path) -> None:
    (lists / protocols.HELD_OUT).write_text("[120]")
    with pytest.raises(UserError, match="name 120, but this catalogue has 120 goals: they number the human goals"):
        world("eto", lists).tasks("train")


def test_splits_by_position_share_products_and_ours_share_nothing(shop: Path) -> None:
    found = verify.overlaps(Catalogue.open(shop), (12, 24))
    assert found["webshop, human goals, valid_unseen"]["goals"] == 12
    assert found["webshop, human goals, train"]["goals"] == 120 - 24
    assert found["webshop, human goals, valid_unseen and train"]["goals"] == 0
    assert found["webshop, human goals, valid_unseen and train"]["products"] > 0
    assert found["verl-agent, synthetic goals, valid_unseen and train"]["goals"] > 0
    ours = {name: counts for name, counts in found.items() if name.startswith("default") and " and " in name}
    assert len(ours) == 6
    assert not any(number for counts in ours.values() for number in counts.values())
    assert verify.problem(found) is None
    needs = "needs test_indices.json and train_indices.json in indices/eto"
    assert found[f"eto, human goals, not counted: {needs}"] == {}


def test_an_overlap_of_ours_is_a_problem() -> None:
    found = {"default, human goals, train": {"goals": 3}, "default, human goals, valid_seen and train": {"goals": 1}}
    assert verify.problem(found) == "splits overlap: default, human goals, valid_seen and train: report this"
    assert verify.problem({"webshop, human goals, valid_seen and train": {"goals": 1}}) is None


def test_verl_agents_orders_differ_between_training_and_validation() -> None:
    env = world("verl-agent")
    train, held_out = env.assortment.keys("train"), env.assortment.keys("valid_unseen")
    assert len(held_out) == 12
    assert len(train) == len(env.assortment.goals) - 12
    both = set(train) & set(held_out)
    assert both
    key = min(both)
    assert {env.assortment.find(key, split).split for split in ("train", "valid_unseen")} == {"train", "valid_unseen"}


def test_an_instruction_is_in_one_split_whatever_its_price() -> None:
    texts = "I want  a lamp, and price lower than 30.00 dollars", "i want a lamp, and price lower than 40.00 dollars"
    first, second = (
        webshop_shop.goal(asin=f"A{number}", text=text, number=number) for number, text in enumerate(texts)
    )
    other = webshop_shop.goal(asin="A3", text="i want a lamp with a shade")
    assert instruction(first) == instruction(second) == "i want a lamp"
    found = (first, second, other)
    assert divide(found, (1, 2), by_product=True) == {"valid_unseen": (first,), "valid_seen": (), "train": (other,)}
    assert divide(found, (1, 2), by_product=False)["valid_seen"] == (second,)


def test_verify_prints_what_the_splits_share(lists: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    generate.write(tmp_path, 0, 24, "default")
    files = {"items": tmp_path / generate.ITEMS, "attributes": tmp_path / generate.ATTRIBUTES}
    data.build(folder, files | {"human": tmp_path / generate.HUMAN}, tagger="approximate")
    kept = folder / verify.LISTS / "eto"
    kept.mkdir(parents=True)
    for name in (protocols.HELD_OUT, protocols.TRAIN):
        (kept / name).write_text((lists / name).read_text())
    found = data.verify(folder)
    assert found.problem is None
    assert found.counts["eto, human goals, valid_unseen and train"]["goals"] == 1
    out = io.StringIO()
    door.show(found, out, as_json=False)
    assert "  eto, human goals, train: goals 3, products " in out.getvalue()
    assert "in indices/spa-released\n" in out.getvalue()
    (kept / protocols.TRAIN).write_text(json.dumps([500]))
    (told,) = (name for name in data.verify(folder).counts if name.startswith("eto"))
    assert "not counted: the lists of positions name 500" in told


# SPA's credit, by hand. The dress: both attributes fit, and so does the price, of five parts; red or small is one more.


def on(*actions: str, **changes: Any) -> Worded:
    engine = Worded(webshop_shop.shop(), webshop_shop.goal(**changes))
    for action in actions:
        engine.step(action)
    return engine


@pytest.mark.parametrize(
    ("actions", "credit"),
    [
        ((), 0.0),
        (("search[dress]",), (3 + 1 / 3 + 1 / 2) / 5),  # a third of the combinations is red, half of them small
        (("search[dress]", "click[next >]"), 0.0),  # an empty page
        (("search[no such thing]",), 0.0),
        (ON_DRESS, 1.0),
        ((*ON_DRESS, "click[titan]"), 0.8),
        ((*ON_DRESS, "click[titan]", "click[x-large]"), 0.6),
        ((*ON_DRESS, "click[titan]", "click[red]"), 1.0),
        ((*ON_DRESS, "click[description]"), 0.0),
        ((*ON_DRESS, "click[description]", "click[< prev]"), 1.0),
        ((*ON_DRESS, "click[no such thing]"), 0.0),
        ((*ON_DRESS, "go north"), 0.0),
        ((*ON_DRESS, "click[back to search]"), 0.0),
    ],
)
def test_a_page_has_an_oracles_credit(actions: tuple[str, ...], credit: float) -> None:
    assert timeout_credit(on(*actions)) == pytest.approx(credit, abs=1e-12)


def test_a_purchase_without_options_is_worth_less_than_the_page_it_was_on() -> None:
    engine = on(*ON_DRESS)
    credit = timeout_credit(engine)
    engine.step("click[buy now]")
    assert engine.score is not None
    assert (credit, engine.score.total) == (1.0, 0.6)


def test_the_credit_takes_the_lowest_price_and_the_purchase_todays() -> None:
    engine = on(*ON_DRESS, price_upper=20.0)  # 19.99 to 29.99 dollars, 25 today
    assert timeout_credit(engine) == 1.0
    for action in ("click[red]", "click[small]", "click[buy now]"):
        engine.step(action)
    assert engine.score is not None and engine.score.total == 0.8


def test_the_credit_is_that_of_all_combinations_written_out(shop: Path) -> None:
    env = WebShop(tasks="official", data=str(shop))
    checked = 0
    for goal in list(env.assortment.goals.values())[:40]:
        product = env.assortment.shop.product(goal.asin)
        engine = Worded(env.assortment.shop, goal)
        engine.step(f"search[{product.title}]")
        means = []
        for asin in env.assortment.shop.search(product.title)[:10]:
            worth = totals(env, goal, asin)
            means.append(sum(worth) / len(worth))
        assert timeout_credit(engine) == pytest.approx(max(means), abs=1e-12)
        engine.step(f"click[{goal.asin}]")
        if engine.state.page != "item":
            continue
        assert timeout_credit(engine) == max(totals(env, goal, goal.asin))
        for name, values in product.options.items():
            for value in values:
                engine.step(f"click[{value}]")
                assert timeout_credit(engine) == max(totals(env, goal, goal.asin, dict(engine.state.options)))
                checked += name in dict(engine.state.options)
    assert checked > 50


def totals(env: WebShop, goal: Goal, asin: str, chosen: dict[str, str] | None = None) -> list[float]:
    """What each combination is worth that agrees with the choice."""
    product = env.assortment.shop.product(asin)
    every = [dict(zip(product.options, values, strict=True)) for values in combinations(*product.options.values())]
    agreed = [options for options in every if (chosen or {}).items() <= options.items()]
    return [reward.score(product, goal, product.prices[0], options).total for options in agreed]


# Whole episodes


def test_spa_released_pays_for_standing_on_the_right_page(lists: Path) -> None:
    env = world("spa-released", lists)
    env.reset(seed=1)
    rewards, truncated, info = played(env, *page_of_target(env))
    assert rewards == [0.0] * 9 + [1.0]
    assert truncated and not info["success"] and info["score"] is None


def test_it_pays_nothing_for_a_last_action_that_is_none(lists: Path) -> None:
    env = world("spa-released", lists)
    env.reset(seed=1)
    rewards, truncated, _ = played(env, *page_of_target(env)[:9], "buy it")
    assert truncated and rewards == [0.0] * 10


@pytest.mark.parametrize("name", ["default", "webshop", "eto"])
def test_the_others_pay_for_purchases_alone(name: str, lists: Path) -> None:
    env = world(name, lists, max_steps=10)
    env.reset(seed=1)
    rewards, truncated, info = played(env, *page_of_target(env))
    assert truncated and rewards == [0.0] * 10 and not info["success"]


def test_a_purchase_on_the_last_step_is_a_purchase(lists: Path) -> None:
    env = world("spa-released", lists)
    env.reset(seed=1)
    steps = page_of_target(env)
    rewards, truncated, info = played(
        env, steps[0], *["click[Next >]", "click[< Prev]"] * 3, "", steps[1], "click[Buy Now]"
    )
    assert not truncated
    assert rewards == [0.0] * 9 + [info["score"].total]


def test_verl_agent_pays_for_perfect_purchases_alone() -> None:
    wanted = [goal for goal in world("verl-agent").assortment.goals.values() if goal.options]
    for name, pays in (("verl-agent", False), ("default", True)):
        env = world(name, goals="synthetic")
        held = set(env.assortment.keys("train"))
        key = next(goal.key for goal in wanted if goal.key in held)
        env.reset(options={"task": key, "split": "train"})
        rewards, _, info = played(env, *page_of_target(env)[:2], "click[Buy Now]")
        assert 0 < info["score"].total < 1 and not info["success"]
        assert rewards[-1] == (info["score"].total if pays else 0.0)
        env.reset(options={"task": key, "split": "train"})
        chosen = [f"click[{value}]" for _, value in cast("tuple[tuple[str, str], ...]", target(env).options)]
        rewards, _, info = played(env, *page_of_target(env)[:2], *chosen, "click[Buy Now]")
        assert rewards[-1] == 1.0 and info["success"]


# Wording


def test_etos_pages_follow_a_line_of_their_own(lists: Path) -> None:
    env = world("eto", lists)
    first, info = env.reset(seed=0)
    assert first == f"Observation:\nWebShop [SEP] Instruction: [SEP] {info['goal']} [SEP] Search"
    then = env.step("click[search]")[0]
    assert then == first == env.restore(env.snapshot())[0]
    assert any("Observation:\n" in text for text in env.text_sources())


def test_verl_agents_pages_are_quoted_and_followed_by_what_is_possible() -> None:
    env = world("verl-agent")
    first, info = env.reset(seed=0)
    task = f"Task: {info['goal']}\n"
    possible = "Possible actions:\n"
    assert first == f"{task}Page: 'Search'\n{possible}'search[<your query>]',\n'click[search]',"
    page = env.step("search[thing]")[0]
    assert page.startswith(f"{task}Page: 'Back to Search' [SEP] 'Page 1 (Total results: ")
    assert f"{possible}'click[back to search]',\n'click[next >]'," in page
    assert "search[<your query>]" not in page
    env.restore(env.snapshot())
    played(env, *page_of_target(env)[:2])
    bought = env.step("click[Buy Now]")[0]
    assert bought.startswith(f"{task}Page: Thank you for shopping with us! [SEP] ")


def test_every_protocol_can_be_played_by_the_expert(lists: Path) -> None:
    for name in PROTOCOLS:
        env = world(name, lists)
        env.reset(seed=2)
        over = False
        while not over:
            _, _, done, truncated, _ = env.step(env.expert_action())
            over = done or truncated
        assert done
