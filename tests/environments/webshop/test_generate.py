"""Built-in shops: the same bytes everywhere, and decoys that are wrong whatever they are bought with."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from functools import cache
from itertools import combinations, product
from math import comb
from pathlib import Path

import pytest

from spa_bench.core import UserError
from spa_bench.environments.webshop import generate, reward
from spa_bench.environments.webshop.catalogue import Catalogue
from spa_bench.environments.webshop.generate import Item, Wish
from spa_bench.environments.webshop.goals import Goal, goals
from spa_bench.environments.webshop.products import LONGEST_ASIN, Product, parse
from spa_bench.environments.webshop.stock import BRANDS, DEPARTMENTS, OPTIONS, QUALITIES

FILES = (generate.ITEMS, generate.ATTRIBUTES, generate.HUMAN)
FROZEN = {
    generate.ITEMS: "d5b1edd103f7d578c96f9f832631a796cae305eb1c63f6b6aeaa3d92c14acd68",
    generate.ATTRIBUTES: "a7a9dc243116e39143a136a67329a91c043e56348ccd6dd13d5fbeda3a3d7641",
    generate.HUMAN: "468b3c87e0a8cb3b3312504b3fcf760d5b1b6820d02f572924b064ceb44bb85f",
}
"""Of `write(seed=0, products=40, difficulty="default")`; raise `generate.VERSION` when they have to change."""
GOODS = [good for department in DEPARTMENTS.values() for good in department.goods]
MOST = len(GOODS) * comb(len(QUALITIES), 2)
"""Families that a shop can have: no two share the words of their titles."""
both = pytest.mark.parametrize("difficulty", sorted(generate.DIFFICULTIES))


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    return tmp_path


def written(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if path.is_dir())


@cache
def families(difficulty: str, seed: int = 0, count: int = 200) -> list[tuple[list[Item], list[Wish]]]:
    return generate.draw(seed, count, difficulty)


def loaded(item: Item, wishes: list[Wish]) -> Product:
    """The product as the official loader reads it; nouns are its title's words, as in the catalogue's tagger."""
    human = tuple(generate._instruction(item.asin, wish) for wish in wishes)
    entry = json.loads(json.dumps(generate._product(item)))
    nouns = tuple(item.title.lower().split())
    found = parse(entry, json.loads(json.dumps(generate._attributes(item))), human)
    return Product(**{field: getattr(found, field) for field in Product.__slots__} | {"nouns": nouns})


class Shelf:
    """What `goals` needs of a catalogue."""

    def __init__(self, found: list[Product]) -> None:
        self.found = found

    def instructed(self, kind):
        return iter(self.found if kind == "human" else [])

    def ranged(self):
        return iter(())


def best(bought: Product, goal: Goal) -> float:
    """The best total of buying it, by every choice of options."""
    ways = product(*[("", *values) for values in bought.options.values()])
    return max(
        reward.score(bought, goal, bought.prices[0], {str(i): v for i, v in enumerate(way) if v}).total for way in ways
    )


def test_the_files_of_the_default_shop_are_the_frozen_ones(tmp_path):
    generate.write(tmp_path, 0, 40, "default")
    assert written(tmp_path) == FROZEN


@pytest.mark.parametrize("hash_seed", ["1", "31337"])
def test_the_bytes_do_not_depend_on_the_hash_seed(own, tmp_path, hash_seed):
    here = contents(generate.ensure(4, 20, "hard"))
    code = "from spa_bench.environments.webshop import generate; print(generate.ensure(4, 20, 'hard'))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "SPA_BENCH_CACHE": str(tmp_path / "other")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert contents(Path(run.stdout.strip())) == here
    assert set(FILES) < set(here)


def test_drawing_twice_gives_the_same_and_the_global_generator_has_no_part_in_it(tmp_path):
    state = random.getstate()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        generate.write(tmp_path / name, 3, 20, "hard")
    assert random.getstate() == state
    assert written(tmp_path / "one") == written(tmp_path / "two")


@both
def test_another_seed_gives_another_shop(difficulty):
    drawn = [families(difficulty, seed, 40) for seed in range(4)]
    for one, two in combinations(drawn, 2):
        same = [a[0][0].title == b[0][0].title for a, b in zip(one, two, strict=True)]
        assert sum(same) < 5
        assert [a[0][0].asin for a in one] != [b[0][0].asin for b in two]


@both
def test_a_larger_shop_begins_with_the_smaller_one(difficulty):
    assert families(difficulty)[:40] == families(difficulty, 0, 40)


@both
def test_the_loader_reads_every_product_as_it_was_drawn(difficulty, tmp_path):
    generate.write(tmp_path, 0, 200, difficulty)
    items, attributes, human = (json.loads((tmp_path / name).read_text("utf-8")) for name in FILES)
    entries = {entry["asin"]: entry for entry in items}
    assert len(entries) == len(items) == len(attributes)
    assert human.keys() == {members[0].asin for members, _ in families(difficulty)}
    for members, wishes in families(difficulty):
        for item in members:
            asked = human.get(item.asin, [])
            read = parse(entries[item.asin], attributes[item.asin], tuple(asked))
            assert (read.title, read.prices) == (item.title, (item.cents / 100,))
            assert read.options == dict(item.options)
            assert read.attributes == (*item.visible, item.hidden)
            assert [wish.text for wish in read.human] == ([w.text for w in wishes] if item is members[0] else [])
            assert read.synthetic is not None and item.hidden in read.synthetic.text
            assert not any(item.hidden in text for text in (read.title.lower(), read.description, read.bullets[0]))
            assert item.hidden in read.bullets[1]


def test_the_built_catalogue_holds_the_same_products_with_nouns():
    shop = Catalogue.open(generate.ensure(products=20) / generate.CATALOGUE)
    drawn = [
        (item, wishes if i == 0 else [])
        for members, wishes in families("default", 0, 20)
        for i, item in enumerate(members)
    ]
    assert len({item.asin for item, _ in drawn}) == len(drawn)
    for item, wishes in drawn:
        assert shop.product(item.asin) == loaded(item, wishes)


@both
@pytest.mark.parametrize("price_seed", [0, 1, 2])
def test_only_the_wanted_product_of_a_family_scores_1(difficulty, price_seed):
    decoys = 0
    for members, wishes in families(difficulty):
        wanted, *others = [loaded(item, wishes if item is members[0] else []) for item in members]
        _, found = goals(Shelf([wanted]), "human", price_seed)
        assert len(found) == generate.VARIANTS
        for goal in found:
            chosen = {name: v for name, values in wanted.options.items() for v in values if v in goal.options}
            assert len(chosen) == len(goal.options)
            assert reward.score(wanted, goal, wanted.prices[0], chosen).total == 1.0
            for other in others:
                assert best(other, goal) < 1.0, (goal.text, other.asin)
                decoys += 1
    assert decoys > 500


@both
def test_each_fault_and_only_one_of_them_makes_a_decoy(difficulty):
    seen = set()
    for members, _ in families(difficulty):
        wanted = members[0]
        for decoy in members[1:]:
            faults = {
                "dear": decoy.cents > wanted.cents,
                "option": decoy.options != wanted.options,
                "hidden": decoy.hidden != wanted.hidden,
            }
            assert sum(faults.values()) == 1
            seen |= {name for name, is_so in faults.items() if is_so}
            assert decoy.brand != wanted.brand
            assert (decoy.visible, decoy.good, decoy.department) == (wanted.visible, wanted.good, wanted.department)
            if faults["dear"]:
                assert 4500 <= decoy.cents - wanted.cents <= 12000
            if faults["option"]:
                assert not set(decoy.options[0][1]) & set(wanted.options[0][1])
                assert decoy.options[1:] == wanted.options[1:]
    assert seen == {"dear", "option", "hidden"}


@both
def test_no_two_families_share_the_words_of_a_title(difficulty):
    wanted = [members[0] for members, _ in families(difficulty, 0, MOST)]
    assert len({(frozenset(item.visible), item.good) for item in wanted}) == len(wanted)


@both
def test_ids_are_unique_and_short_enough_to_be_sold(difficulty):
    asins = [item.asin for members, _ in families(difficulty, 0, MOST) for item in members]
    assert len(set(asins)) == len(asins) > MOST
    assert all(len(asin) <= LONGEST_ASIN and re.fullmatch("[A-Z]{3}0[A-Z]{2}0[A-Z]{2}[1-9]", asin) for asin in asins)


def alike(one: str, two: str) -> bool:
    """They could be taken for one another, by the reward."""
    return reward.token_set_ratio(one, two) > reward.ALIKE or reward.meets(one, two) or reward.meets(two, one)


def test_no_words_are_taken_for_one_another():
    for words in (QUALITIES, [value for _, found in OPTIONS for value in found], GOODS):
        for one, two in combinations(words, 2):
            assert not alike(one, two), (one, two)
            assert not alike(str(reward.color(one)), str(reward.color(two))), (one, two)
    assert len({option for option, _ in OPTIONS}) == len(OPTIONS)
    assert len({good[:3] for good in GOODS}) == len(GOODS)
    assert len({word[:2] for word in QUALITIES}) == len(QUALITIES)


def test_no_text_of_a_product_holds_an_attribute_that_it_does_not_have():
    for attribute in QUALITIES:
        others = [word for word in QUALITIES if word != attribute]
        for text in (*others, *GOODS, *BRANDS, "ships within two days", "it is ", " by "):
            assert attribute not in text.lower(), (attribute, text)
    for good, brand in product(GOODS, BRANDS):  # a title's words meet where they are joined
        assert not any(attribute in f"{good} by {brand}".lower() for attribute in QUALITIES)
    for pair in product(QUALITIES, QUALITIES):
        joined = " ".join(pair)
        assert all(a in pair for a in QUALITIES if a in joined), joined


def test_the_default_has_every_number_of_options_and_asks_for_the_hidden_now_and_then():
    drawn = families("default", 0, 400)
    assert {len(members[0].options) for members, _ in drawn} == {0, 1, 2}
    assert {len(members) - 1 for members, _ in drawn} == {0, 1, 2}
    needless = 0
    for members, wishes in drawn:
        hides = any(decoy.hidden != members[0].hidden for decoy in members)
        asked = [members[0].hidden in wish.attributes for wish in wishes]
        assert all(asked) or not hides
        needless += sum(asked) if not hides else 0
        assert all((f" that is {members[0].hidden}" in w.text) == a for w, a in zip(wishes, asked, strict=True))
    assert 50 < needless < 250  # a tenth of the instructions of some 300 families


def test_a_shop_is_made_once_and_kept(own):
    folder = generate.ensure(products=5)
    marker = folder / ".untouched"
    marker.touch()
    assert generate.ensure(products=5) == folder
    assert marker.exists()
    assert folders(folder.parent) == [folder.name]


def test_two_processes_at_once_agree(own):
    code = "from spa_bench.environments.webshop import generate; print(generate.ensure(products=60))"
    pair = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].strip() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert said[0] == said[1]
    assert (
        len(Catalogue.open(Path(said[0]) / generate.CATALOGUE).product(families("default", 0, 60)[0][0][0].asin).human)
        == 5
    )
    assert folders(Path(said[0]).parent) == [Path(said[0]).name]


def test_a_failure_leaves_nothing_behind(own, monkeypatch):
    monkeypatch.setattr(generate, "_attributes", lambda item: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate.ensure(products=5)
    assert folders(own / "webshop") == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"difficulty": "easy"}, "default, hard"), ({"products": 0}, "products=0"), ({"products": -3}, "products=-3")],
)
def test_unknown_parameters_are_named_before_anything_is_written(own, wrong, named):
    with pytest.raises(UserError, match=named):
        generate.ensure(**wrong)
    assert list(own.iterdir()) == []


@both
def test_more_products_than_there_are_words_for_is_an_error(own, difficulty):
    assert len(families(difficulty, 0, MOST)) == MOST
    with pytest.raises(UserError, match="ask for fewer"):
        generate.ensure(products=MOST + 1, difficulty=difficulty)
    assert folders(own / "webshop") == []
