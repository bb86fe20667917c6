"""WebShop's catalogue: upstream's loading rules, whole or not at all, and damage that is always told."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from strategies import HOSTILE, max_examples

from spa_bench.commands import data as command
from spa_bench.commands import official as door
from spa_bench.core import UserError
from spa_bench.environments.webshop import blocks, data, nouns, sources
from spa_bench.environments.webshop import build as builder
from spa_bench.environments.webshop.build import build
from spa_bench.environments.webshop.catalogue import (
    FORMAT,
    LATER,
    SUMMARY,
    Catalogue,
    Summary,
    decode,
    encode,
    in_blocks,
)
from spa_bench.environments.webshop.products import Instruction, Product, indexed
from spa_bench.locks import Lock
from spa_bench.runs.progress import Progress

Item = dict[str, Any]


def item(asin: str = "B00TABLE01", **changes: Any) -> Item:
    """An entry of the items file."""
    plain = {
        "asin": asin,
        "name": "Oak Table for the Garden",
        "full_description": "A table.",
        "small_description": ["Made of oak", "Stands"],
        "pricing": "$12.50",
        "images": ["x"],
        "customization_options": {"Color": [{"value": " Red/Blue ", "image": None}, {"value": "TAN"}], "Size": None},
        "category": "garden",
        "query": " Console Tables ",
        "product_category": "Home \u203a Tables",
    }
    return plain | changes


ATTRIBUTES = {
    "B00TABLE01": {"attributes": ["oak"], "instruction": "Find me oak", "instruction_attributes": ["oak"]},
    "B00CHAIR02": {"attributes": []},
}
HUMAN = {
    "B00CHAIR02": [
        {"instruction": "a chair.", "instruction_attributes": ["soft"], "instruction_options": ["red"]},
        {"instruction": "no goal", "instruction_attributes": [], "instruction_options": []},
    ]
}
ITEMS = [
    item(),
    item("B00CHAIR02", name="Soft chair", pricing="$1 - $2"),
    item("B00LAMP003", name="Lampe f\u00fcr \u6771\u4eac"),
]


class Shop:
    """Source files in a folder, and what is built of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "made" / "shop"
        self.items = self.write("items.json", ITEMS)
        self.attributes = self.write("attributes.json", ATTRIBUTES)
        self.human: Path | None = self.write("human.json", HUMAN)

    def write(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def build(self, **changes: Any) -> Catalogue:
        options: dict[str, Any] = {"human": self.human, "tagger": "approximate"}
        return build(self.items, self.attributes, self.target, **options | changes)

    def of(self, *items: Any, **changes: Any) -> Catalogue:
        """A catalogue of these entries, replacing what was built before."""
        self.write("items.json", list(items))
        self.target = self.target.with_name(f"{self.target.name}+")
        return self.build(**changes)

    def left(self) -> list[str]:
        """What lies where the catalogue goes, without the lock."""
        made = self.folder / "made"
        return sorted(path.name for path in made.iterdir() if path.suffix != ".lock") if made.exists() else []

    def refused(self, *words: str, **changes: Any) -> None:
        with pytest.raises(UserError) as error:
            self.build(**changes)
        assert "\n" not in str(error.value)
        for word in words:
            assert word in str(error.value)
        assert self.left() == []


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What upstream makes of its files


def test_a_product_is_what_upstream_loads(shop: Shop):
    assert shop.build().product("B00TABLE01") == Product(
        asin="B00TABLE01",
        title="Oak Table for the Garden",
        description="A table.",
        bullets=("Made of oak", "Stands"),
        prices=(12.5,),
        price_tag="$12.5",
        options={"color": ("red | blue", "tan")},
        attributes=("oak",),
        category="garden",
        query="console tables",
        product_category="Home \u203a Tables",
        synthetic=Instruction("Find me oak", ("oak",)),
        nouns=("oak", "table", "garden"),
    )


@pytest.mark.parametrize(
    ("pricing", "prices", "tag"),
    [
        ("", (100.0,), "$100.0"),
        (None, (100.0,), "$100.0"),
        ("$877.80", (877.8,), "$877.8"),
        ("$1,234.50", (1234.5,), "$1234.5"),
        ("$5.99 - $19.00", (5.99, 19.0), "$5.99 to $19.0"),
        ("$9 $3 $4", (9.0, 3.0), "$9.0 to $3.0"),
        ("about $7 each", (7.0,), "$7.0"),
    ],
)
def test_prices(shop: Shop, pricing: str | None, prices: tuple[float, ...], tag: str):
    found = shop.of(item(pricing=pricing)).product("B00TABLE01")
    assert (found.prices, found.price_tag) == (prices, tag)


def test_a_product_without_options_price_attributes_and_instructions(shop: Shop):
    plain = item("B00LAMP003", customization_options="", small_description="one text")
    del plain["pricing"]
    found = shop.of(plain).product("B00LAMP003")
    assert (found.options, found.bullets, found.prices) == ({}, ("one text",), (100.0,))
    assert (found.attributes, found.human, found.synthetic) == (("DUMMY_ATTR",), (), None)


def test_entries_that_upstream_does_not_sell_are_counted_and_left_out(shop: Shop):
    skipped = [item("nan"), item("B00TOOLONG1"), {"asin": None}, item(name="another table"), item("nan")]
    made = shop.of(item(), *skipped, item("B00CHAIR02"))
    assert made.summary.skipped == {"id missing or nan": 3, "id too long": 1, "id seen before": 1}
    assert made.summary.odd_prices == {}
    assert (len(made), made.product("B00TABLE01").title) == (2, "Oak Table for the Garden")
    assert not made.has("nan")


def test_instructions_and_price_ranges_come_in_upstreams_order(shop: Shop):
    made = shop.of(
        item("B2", pricing="$3 $4"), item("B00TABLE01"), item("B00CHAIR02"), item("B1", pricing="$9 $7")
    )  # fmt: skip
    assert list(made.ranged()) == [("B2", 3.0, 4.0), ("B1", 9.0, 7.0)]
    assert [product.asin for product in made.instructed("synthetic")] == ["B00TABLE01"]
    (chair,) = made.instructed("human")
    assert chair.human == (Instruction("a chair.", ("soft",), ("red",)), Instruction("no goal", ()))
    assert (made.summary.human, made.summary.synthetic, made.summary.ranged) == (1, 1, 2)


def test_without_human_instructions_there_are_none(shop: Shop):
    shop.human = None
    made = shop.build()
    assert list(made.instructed("human")) == []
    assert set(made.summary.sources) == {"items", "attributes"}


def test_ids_are_found_and_others_are_not(shop: Shop):
    made = shop.of(*(item(asin) for asin in ("B3", "", "B10", "b3", "\u00fc", "0000000000")))
    for asin in ("B3", "", "B10", "b3", "\u00fc", "0000000000"):
        assert made.has(asin)
        assert made.product(asin).asin == asin
    for asin in ("B", "B3\0", "B30", "~", "00000000000", "\ud800", "u", "\u00fc" * 30):
        assert not made.has(asin)
        with pytest.raises(UserError, match="has no product"):
            made.product(asin)


def test_search_finds_ids(shop: Shop):
    made = shop.build()
    assert made.search("soft") == ("B00CHAIR02",)
    assert set(made.search("tan")) == {"B00TABLE01", "B00CHAIR02", "B00LAMP003"}
    assert made.search("nothing") == ()
    assert made.search("soft") is made.search("soft")


texts = st.lists(HOSTILE, max_size=3).map(tuple)
wishes = st.builds(Instruction, HOSTILE, texts, texts)
products = st.builds(
    Product,
    asin=HOSTILE,
    title=HOSTILE,
    description=HOSTILE,
    bullets=texts,
    prices=st.lists(st.floats(0), min_size=1, max_size=2).map(tuple),
    price_tag=HOSTILE,
    options=st.dictionaries(HOSTILE, texts, max_size=3),
    attributes=texts,
    category=HOSTILE,
    query=HOSTILE,
    product_category=HOSTILE,
    human=st.lists(wishes, max_size=2).map(tuple),
    synthetic=st.none() | wishes,
    nouns=texts,
)


@given(products)
def test_any_product_comes_back_as_it_is(product: Product):
    again = decode(encode(product))
    assert again == product
    assert list(again.options) == list(product.options)


asins = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10).filter("nan".__ne__)
plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
items = st.builds(
    lambda asin, name, description, bullets, options: item(
        asin, name=name, full_description=description, small_description=bullets, customization_options=options
    ),
    asins, plain_text, plain_text, st.lists(plain_text, min_size=1, max_size=3),
    st.dictionaries(plain_text, st.lists(st.fixed_dictionaries({"value": plain_text}), max_size=3), max_size=3),
)  # fmt: skip


@max_examples(25, HealthCheck.function_scoped_fixture)
@given(st.lists(items, min_size=1, max_size=6, unique_by=lambda one: one["asin"]))
def test_any_shop_survives_the_way_to_the_disk(shop: Shop, plain: list[Item]):
    made = shop.of(*plain)
    assert len(made) == len(plain)
    for one in plain:
        found = made.product(one["asin"])
        assert (found.title, found.description) == (one["name"], one["full_description"])
        assert found.bullets == tuple(one["small_description"])
        assert sorted(found.options) == sorted({name.lower() for name in one["customization_options"]})


# Building


def test_the_same_files_give_the_same_bytes(shop: Shop):
    shop.build()
    first, shop.target = shop.target, shop.target.with_name("second")
    made = shop.build()
    assert content(first) == content(shop.target)
    assert made.digest == Catalogue.open(first).digest


def test_packed_files_give_the_same_shop(shop: Shop):
    first = shop.build()
    shop.items = shop.folder / "items.json.gz"
    shop.items.write_bytes(gzip.compress((shop.folder / "items.json").read_bytes()))
    shop.target = shop.target.with_name("second")
    assert content(shop.build().folder) == content(first.folder)


def test_what_is_there_already_is_left_alone(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    first = content(shop.build().folder)
    monkeypatch.setattr(builder, "_write", None)
    assert content(shop.build().folder) == first


def test_a_target_of_other_files_is_refused_and_kept(shop: Shop):
    shop.build()
    before = content(shop.target)
    shop.write("items.json", ITEMS[:1])
    with pytest.raises(UserError, match="was made of other files"):
        shop.build()
    with pytest.raises(UserError, match="was made of other files"):
        shop.build(human=None)
    assert content(shop.target) == before


def test_a_target_with_nouns_of_another_tagger_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    shop.build()
    monkeypatch.setattr(nouns.Approximate, "name", "other")
    with pytest.raises(UserError, match="has nouns by approximate, not other"):
        shop.build(tagger="other")


@pytest.mark.parametrize("make", [Path.touch, lambda path: (path.mkdir(), (path / "mine.txt").write_text("x"))])
def test_a_target_that_is_something_else_is_refused_and_kept(shop: Shop, make: Callable[[Path], Any]):
    shop.target.parent.mkdir()
    make(shop.target)
    with pytest.raises(UserError, match="is there already"):
        shop.build()
    assert shop.left() == ["shop"]


def test_an_empty_folder_is_filled(shop: Shop):
    shop.target.mkdir(parents=True)
    assert len(shop.build()) == 3


def test_two_builds_at_once(shop: Shop):
    shop.target.parent.mkdir()
    lock = Lock(shop.target.with_name(".shop.lock"))
    assert lock.acquire(wait=False)
    try:
        shop.refused("is being made by process")
    finally:
        lock.release()


@pytest.mark.parametrize("where", ["add", "finish"])
def test_an_interrupted_build_leaves_nothing_and_can_be_repeated(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, where: str
):
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(builder.IndexWriter, where, interrupt)
        with pytest.raises(KeyboardInterrupt):
            shop.build()
    assert shop.left() == []
    assert len(shop.build()) == 3


def test_what_a_killed_build_left_is_removed_by_the_next(shop: Shop):
    stale = shop.target.with_name(f".tmp-{shop.target.name}")
    stale.mkdir(parents=True)
    (stale / "products.bin").write_bytes(b"half")
    shop.build()
    assert shop.left() == ["shop"]


def test_a_full_disk_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(builder.IndexWriter, "finish", full)
    shop.refused("No space left on device", str(shop.target))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["not an array"]),
        ("{}", ["not an array"]),
        ("null", ["not an array"]),
        ("[]", ["holds no product"]),
        ('[{"asin": "nan"}]', ["holds no product"]),
        ("[1]", ["entry 1", "no product"]),
        ("[[]]", ["entry 1", "no product"]),
        (json.dumps(ITEMS)[:-1], ["behind entry 3"]),
        (json.dumps(ITEMS)[:-30], ["behind entry 2"]),
        (json.dumps(ITEMS) + "x", ["behind entry"]),
        (json.dumps(ITEMS).replace("}, {", "} {", 1), ["behind entry"]),
        ('[{"asin": "\\udc00"}]', ["behind entry 0"]),
        (json.dumps([item(), item("B2", name=None)]), ["entry 2", "product B2", "None is no text"]),
        (json.dumps([item(pricing="free")]), ["no product", "left out 1", "('free')"]),
        (json.dumps([item(pricing="$1.2.3")]), ["left out 1", "1.2.3"]),
        (json.dumps([item(pricing=7)]), ["left out 1", "B00TABLE01 (7)"]),
        (json.dumps([item(customization_options=["red"])]), ["entry 1", "malformed"]),
        (json.dumps([item(customization_options={"a": ["red"]})]), ["entry 1", "malformed"]),
        (json.dumps([item("a\0")]), ["id that is no text"]),
        (json.dumps([{k: v for k, v in item().items() if k != "query"}]), ["entry 1", "no field 'query'"]),
    ],
)
def test_a_bad_items_file_is_named_with_the_place_and_leaves_nothing(shop: Shop, text: str, words: list[str]):
    shop.write("items.json", text)
    shop.refused(*words, "" if "a\\u0000" in text else "items.json")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("attributes.json", "[]", ["not an object"]),
        ("attributes.json", '{"a": 1', ["behind entry"]),
        ("attributes.json", '{"B00TABLE01": 7}', ["B00TABLE01"]),
        ("attributes.json", '{"B00TABLE01": {"attributes": "oak"}}', ["is no list"]),
        ("attributes.json", '{"B00TABLE01": {"instruction": "x"}}', ["no field 'instruction_attributes'"]),
        ("human.json", "[]", ["not an object"]),
        ("human.json", '{"B00TABLE01": {}}', ["B00TABLE01", "no list of instructions"]),
        ("human.json", '{"B00TABLE01": [{}]}', ["no field 'instruction'"]),
        ("human.json", '{"B00TABLE01": [7]}', ["malformed"]),
    ],
)
def test_a_bad_file_beside_it_is_told(shop: Shop, name: str, text: str, words: list[str]):
    shop.write(name, text)
    shop.refused(*words)


def test_files_that_are_not_there_or_cut_off_are_told(shop: Shop):
    shop.items = shop.folder / "none.json"
    shop.refused("cannot read", "none.json")
    shop.items = shop.folder / "cut.json.gz"
    shop.items.write_bytes(gzip.compress(json.dumps(ITEMS).encode())[:-20])
    shop.refused("cut.json.gz", "fetch it again")
    shop.items.write_bytes(b"no gzip")
    shop.refused("cut.json.gz", "fetch it again")


def test_progress_counts_products_and_bytes(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(builder, "BATCH", 1)
    said: list[tuple[int, int, int]] = []
    shop.build(advance=lambda *figures: said.append(figures))
    size = shop.items.stat().st_size
    assert [done for done, _, _ in said] == [1, 2, 3, 3]
    assert said[-1] == (3, size, size)


# Reading


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return content(Shop(tmp_path_factory.mktemp("shop")).build().folder)


FILES = [
    "products.bin", "offsets.npy", "checks.npy", "asins.npy", "sorted.npy", "order.npy", "human.npy", "synthetic.npy",
    "ranged.npy", "ranges.npy",
]  # fmt: skip


def unpack(folder: Path, files: dict[str, bytes]) -> Path:
    for name, packed in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(packed)
    return folder


def read_all(folder: Path) -> list[Any]:
    """Everything that a run may read."""
    made = Catalogue.open(folder)
    asins = [one["asin"] for one in ITEMS]
    found = [made.product(asin) for asin in asins if made.has(asin)]
    return [found, made.search("oak"), *made.instructed("human"), *made.instructed("synthetic"), *made.ranged()]


def test_a_catalogue_is_no_more_than_its_files(made: dict[str, bytes], tmp_path: Path):
    assert set(FILES) < set(made)
    assert len(read_all(unpack(tmp_path, made))[0]) == 3


@pytest.mark.parametrize("name", [*FILES, "index", SUMMARY])
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "longer"])
def test_a_file_that_is_missing_or_of_another_size_is_told(made: dict[str, bytes], tmp_path: Path, name: str, how: str):
    for one in [one for one in made if one == name or one.startswith(f"{name}/")]:
        folder = unpack(tmp_path / one.replace("/", "-"), made)
        if how == "missing":
            (folder / one).unlink()
        else:
            (folder / one).write_bytes({"empty": b"", "cut": made[one][:-1], "longer": made[one] + b"x"}[how])
        if one == SUMMARY and how == "cut":
            continue  # the last byte is the end of a line
        with pytest.raises(UserError, match=r"spa-bench data build webshop"):
            Catalogue.open(folder)


@pytest.mark.parametrize("name", [*FILES, "index", SUMMARY, blocks.FILE])
def test_no_changed_byte_ends_in_anything_but_the_right_answer_or_one_line(
    made: dict[str, bytes], tmp_path: Path, name: str
):
    """A byte may be changed in silence only where it is read by nobody, such as a posting list that no query meets."""
    folder, right = unpack(tmp_path, made), answers(tmp_path)
    rng = random.Random(0)
    for one in [one for one in made if one == name or one.startswith(f"{name}/")]:
        told, places = 0, rng.sample(range(len(made[one])), min(len(made[one]), 24))
        for place in places:
            changed = bytearray(made[one])
            changed[place] ^= 1 << rng.randrange(8)
            (folder / one).write_bytes(changed)
            try:
                assert answers(folder) == right, (one, place)
            except UserError as error:
                assert "is damaged" in str(error) or "has format" in str(error)
                assert "\n" not in str(error)
                told += 1
        assert told == len(places), one
        (folder / one).write_bytes(made[one])


def answers(folder: Path) -> list[Any]:
    """As `read_all`, with queries that meet every posting list."""
    made = Catalogue.open(folder)
    words = " ".join(indexed(product) for product in read_all(folder)[0])
    return [*read_all(folder), made.search(words), [made.has(asin) for asin in ("B00TABLE01", "none")]]


def test_a_posting_list_is_compared_when_a_query_reads_it_and_once(made: dict[str, bytes], tmp_path: Path):
    """In blocks of 16 bytes, of four rows each: a word whose list lies elsewhere is still found."""
    folder = unpack(tmp_path, made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SIZE", 16)
        sealed(folder)
        rows = np.load(folder / LATER[0])
        content = bytearray((folder / LATER[0]).read_bytes())
        content[-4 * len(rows)] ^= 1  # the first posting of the list that was met first
        (folder / LATER[0]).write_bytes(content)
        opened = Catalogue.open(folder)
        words = sorted({word for product in read_words(opened) for word in product})
        found = {word: told(opened, word) for word in words}
        assert 0 < sum(found.values()) < len(found)
        assert found == {word: told(opened, word) for word in words}


def read_words(opened: Catalogue) -> list[list[str]]:
    return [indexed(opened.product(one["asin"])).split() for one in ITEMS if opened.has(one["asin"])]


def told(opened: Catalogue, word: str) -> bool:
    try:
        opened.search(word)
    except UserError as error:
        assert "index/documents.npy, from byte" in str(error)
        return True
    return False


def sealed(folder: Path) -> None:
    """List the files of a folder as they are now, as a build would have."""
    summary = Summary.read(folder)
    blocks.write(folder, in_blocks(summary.files))
    files = {name: builder.hashed(folder / name) for name in summary.files}
    (folder / SUMMARY).write_text(replace(summary, files=files).write())


def record_of(folder: Path, record: bytes) -> None:
    """Make the first record this one, with the right check."""
    offsets, checks = np.load(folder / "offsets.npy"), np.load(folder / "checks.npy")
    room = int(offsets[1])
    record = record.ljust(room)
    (folder / "products.bin").write_bytes(record + (folder / "products.bin").read_bytes()[room:])
    checks[0] = zlib.crc32(record)
    np.save(folder / "checks.npy", checks)
    sealed(folder)


@pytest.mark.parametrize(
    "record", [b"{}", b"[]", b"[1]", b"null", b"[", b"\xff", b"[" * 300, b"[" + b"null," * 13 + b"null]"]
)
def test_a_record_that_is_none_is_told(made: dict[str, bytes], tmp_path: Path, record: bytes):
    folder = unpack(tmp_path, made)
    record_of(folder, record)
    with pytest.raises(UserError, match="is damaged"):
        Catalogue.open(folder).product("B00TABLE01")


def test_another_products_record_is_told(made: dict[str, bytes], tmp_path: Path):
    folder = unpack(tmp_path, made)
    record_of(folder, encode(replace(Catalogue.open(folder).product("B00TABLE01"), asin="B00CHAIR02", nouns=())))
    with pytest.raises(UserError, match="another product"):
        Catalogue.open(folder).product("B00TABLE01")


def test_another_format_is_told_with_the_command(made: dict[str, bytes], tmp_path: Path):
    folder = unpack(tmp_path, made)
    said = json.loads(made[SUMMARY]) | {"format": FORMAT + 1}
    (folder / SUMMARY).write_text(json.dumps(said))
    with pytest.raises(UserError, match=rf"format {FORMAT + 1}, not {FORMAT}: .*spa-bench data build webshop"):
        Catalogue.open(folder)


@pytest.mark.parametrize("text", ["[]", "7", "[" * 100_000, "\x00", '{"format": 2}', '{"format": 2, "products": "x"}'])
def test_a_summary_that_is_none_is_told(tmp_path: Path, text: str):
    (tmp_path / SUMMARY).write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        Catalogue.open(tmp_path)


def test_a_summary_of_other_sources_is_told(made: dict[str, bytes], tmp_path: Path):
    folder = unpack(tmp_path, made)
    said = json.loads(made[SUMMARY])
    said["sources"]["items"]["sha256"] = "0" * 64
    (folder / SUMMARY).write_text(json.dumps(said))
    with pytest.raises(UserError, match="contradicts itself"):
        Catalogue.open(folder)


def test_no_catalogue_is_told_with_the_command(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            UserError, match=r"no catalogue in .*spa-bench data build webshop --items FILE --attributes FILE"
        ):
            Catalogue.open(folder)


def test_the_digest_is_that_of_sources_tagger_and_format(made: dict[str, bytes], tmp_path: Path):
    one = Catalogue.open(unpack(tmp_path, made)).summary
    assert len(one.digest) == 16
    assert replace(one, files={}, human=0).digest == one.digest
    changed = replace(one.sources["items"], sha256="0" * 64)
    assert replace(one, sources=one.sources | {"items": changed}).digest != one.digest
    assert replace(one, tagger="other").digest != one.digest


# Nouns


class FakeModel:
    """What the code uses of a spaCy pipeline: a capital letter makes a name, a word of ten letters a noun."""

    def __init__(self) -> None:
        self.meta = {"version": "3.8.0"}

    def pipe(self, titles: Iterator[str], batch_size: int) -> Iterator[list[SimpleNamespace]]:
        for title in titles:
            kinds = {True: "PROPN", False: "ADJ"}
            yield [
                SimpleNamespace(text=w, pos_=kinds[w[0].isupper()] if len(w) < 10 else "NOUN") for w in title.split()
            ]


def fake_spacy(monkeypatch: pytest.MonkeyPatch, *installed: str) -> None:
    module = ModuleType("spacy")
    module.util = SimpleNamespace(is_package=installed.__contains__)  # type: ignore[attr-defined]
    module.load = lambda name, exclude: FakeModel()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spacy", module)


def test_a_spacy_model_tags_titles_as_they_are_written(monkeypatch: pytest.MonkeyPatch):
    fake_spacy(monkeypatch, "en_core_web_lg")
    tagger = nouns.find_tagger()
    assert (tagger.name, tagger.exact) == ("spacy en_core_web_lg 3.8.0", True)
    assert list(tagger.nouns(["Red oak tablecloths Red", ""])) == [("red", "tablecloths", "red"), ()]
    fake_spacy(monkeypatch, *nouns.MODELS)
    assert nouns.find_tagger().name.startswith("spacy en_core_web_sm")
    assert nouns.find_tagger("en_core_web_lg").name.startswith("spacy en_core_web_lg")
    assert nouns.find_tagger("approximate").name == "approximate"


def test_the_tagger_is_recorded(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    fake_spacy(monkeypatch, "en_core_web_sm")
    made = shop.build(tagger="auto")
    assert (made.tagger, made.exact_nouns) == ("spacy en_core_web_sm 3.8.0", True)
    assert made.product("B00TABLE01").nouns == ("oak", "table", "garden")


def test_without_a_model_nouns_are_approximate_and_a_named_model_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    tagger = nouns.find_tagger()
    assert (tagger.name, tagger.exact) == ("approximate", False)
    titles = ["The 2-Pack of Men's T-Shirt for Men", "\u6771\u4eac 100% b_c", ""]
    assert list(tagger.nouns(titles)) == [("pack", "men", "s", "t", "shirt", "men"), ("\u6771\u4eac", "b", "c"), ()]
    with pytest.raises(UserError, match="python -m spacy download en_core_web_sm"):
        nouns.find_tagger("en_core_web_sm")
    fake_spacy(monkeypatch)
    with pytest.raises(UserError, match="python -m spacy download en_core_web_lg"):
        nouns.find_tagger("en_core_web_lg")
    with pytest.raises(UserError, match="no tagger 'other'"):
        nouns.find_tagger("other")


# Official files and the command line


@pytest.fixture
def small(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose files count as the official set of 1,000 products."""
    names = data.SETS["1,000 products"]
    known = {}
    for role, name in names.items():
        path = (shop.folder / f"{role}.json").rename(shop.folder / name)
        packed = path.read_bytes()
        known[name] = sources.Official(len(packed), hashlib.sha256(packed).hexdigest(), "drive-id")
        setattr(shop, role, path)
    for module in (data, sources):
        monkeypatch.setattr(module, "MANIFEST", dict(sources.MANIFEST) | known)
    return shop


def test_without_files_the_way_to_them_is_told(tmp_path: Path):
    notes: list[str] = []
    with pytest.raises(UserError) as error:
        data.get(tmp_path / "shop", [], notes.append)
    assert len(str(error.value)) < 500
    message = "\n".join([*notes, str(error.value)])
    for name, known in sources.MANIFEST.items():
        for part in (name, known.drive, str(known.size), known.sha256):
            assert part in message
    assert "--from" in message and "data build" in message
    assert list(tmp_path.iterdir()) == []


def test_official_files_are_found_by_name_checked_and_built(small: Shop):
    notes: list[str] = []
    found = data.get(small.target, [small.folder], notes.append)
    assert found.problem is None
    assert found.counts["sources"] == {"expected": 3, "official": 3}
    assert found.counts["products"]["in the shop"] == 3
    assert data.verify(small.target) == found == data.get(small.target, [], notes.append)
    files = [small.items, small.attributes, small.human]
    assert data.get(small.target.with_name("two"), [f for f in files if f], notes.append).counts == found.counts
    (small.target / "products.bin").unlink()
    with pytest.raises(UserError, match=r"1 of .* files missing or changed, such as products\.bin"):
        data.get(small.target, [], notes.append)


def test_a_file_that_is_not_the_official_one_is_refused_with_both_hashes(small: Shop):
    before = sources.fingerprint(small.items).sha256
    small.items.write_text(json.dumps(ITEMS[:2]))
    with pytest.raises(UserError, match=rf"{sources.fingerprint(small.items).sha256}.*{before}.*data build") as error:
        data.get(small.target, [small.folder], print)
    assert small.items.name in str(error.value)
    assert small.left() == []


def test_missing_and_ambiguous_files_are_told(small: Shop):
    with pytest.raises(UserError, match="there is no"):
        data.get(small.target, [small.folder / "none"], print)
    for name in ("items_shuffle.json", "items_ins_v2.json"):
        (small.folder / name).write_text("[]")
    with pytest.raises(UserError, match="holds two sets"):
        data.get(small.target, [small.folder], print)
    (small.folder / "items_human_ins.json").unlink()
    with pytest.raises(UserError, match=r"lacks items_human_ins\.json"):
        data.get(small.target, [small.folder], print)
    assert small.left() == []


def test_other_files_are_built_and_said_to_be_unofficial(shop: Shop):
    shop.build()
    found = data.verify(shop.target)
    assert found.problem is None
    assert found.counts["sources"] == {"expected": 3, "official": 0}
    assert not json.loads((shop.target / SUMMARY).read_text())["sources"]["items"]["official"]


def test_the_command_builds_and_says_one_line(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(door, "_module", lambda env: data)
    arguments = ["shop", shop.items, shop.attributes, shop.human, shop.target, "approximate"]
    command.build(*arguments, as_json=False)
    told = capsys.readouterr()
    (line,) = told.out.splitlines()
    assert line.startswith(
        f"{shop.target}: products 3, skipped 0, human instructions 1, synthetic instructions 1, index"
    )
    assert "nouns approximate, seconds" in line
    assert "products: done 3" in told.err and "read=100%" in told.err
    command.build(*arguments, as_json=True)
    told = capsys.readouterr()
    assert json.loads(told.out)["products"] == 3
    assert told.err == ""


def test_a_world_whose_data_are_not_built_says_so():
    with pytest.raises(UserError, match="not built from files"):
        door.build("alfworld", None, {}, "auto", Progress("quiet", io.StringIO()))


ODD = ["12,99 EUR", "Free", "12.99", "£12.99", "$", "$12.99.", "$1.234.567", 12.99]


def test_products_with_odd_prices_are_left_out_counted_and_named(shop):
    odd = [item(f"B00ODD000{number}", pricing=price) for number, price in enumerate(ODD)]
    told: list[str] = []
    made = shop.of(item(), *odd, item("B00CHAIR02"), note=told.append)
    assert len(made) == 2 and made.product("B00CHAIR02").asin == "B00CHAIR02"
    assert made.summary.skipped["price not in dollars"] == len(ODD)
    assert made.summary.odd_prices == {f"B00ODD000{number}": repr(price) for number, price in enumerate(ODD)}
    (line,) = [line for line in told if "left out" in line]
    assert line == (
        "left out 8 products whose price is not in dollars: B00ODD0000 ('12,99 EUR'), B00ODD0001 ('Free'), "
        "B00ODD0002 ('12.99'), B00ODD0003 ('£12.99'), B00ODD0004 ('$') and 3 more, all in catalogue.json"
    )
    assert Catalogue.open(shop.target).summary.odd_prices == made.summary.odd_prices
