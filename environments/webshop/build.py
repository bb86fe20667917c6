"""Makes a catalogue from upstream's JSON files, in one pass and in bounded memory.

The items file has 5.5 GB: only its ids, the instructions and the index writer's block are held, not the products.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from spa_bench.core import UserError
from spa_bench.environments.webshop import blocks
from spa_bench.environments.webshop.catalogue import (
    ARRAYS,
    INDEX,
    RECORDS,
    SUMMARY,
    Catalogue,
    Summary,
    encode,
    in_blocks,
)
from spa_bench.environments.webshop.nouns import Tagger, find_tagger
from spa_bench.environments.webshop.products import OddPrice, Product, indexed, parse, sold
from spa_bench.environments.webshop.search import IndexWriter
from spa_bench.environments.webshop.sources import CHUNK, Fingerprint, Source, elements, fingerprint, members
from spa_bench.files import TEMPORARY, folder_whole, sole_maker

BATCH = 1000
"""Products between two reports of progress, and titles tagged at once."""

NAMED = 5
"""Products that are named, of those left out because of their price."""

Advance = Callable[[int, int, int], None]
"""Called with the products that are done, and the bytes of the items file that are read and those it has."""


def build(
    items: Path,
    attributes: Path,
    target: Path,
    *,
    human: Path | None = None,
    tagger: str = "auto",
    note: Callable[[str], None] = lambda line: None,
    advance: Advance = lambda done, read, total: None,
) -> Catalogue:
    """Make the catalogue `target` from upstream's `items_shuffle`, `items_ins_v2` and `items_human_ins`.

    Files that end in `.gz` are unpacked on the way. A `target` that was made of the same files is left alone. Raises
    UserError where a file is not what it should be or `target` holds anything else, and then leaves nothing behind.
    """
    files = {"items": items, "attributes": attributes} | ({} if human is None else {"human": human})
    chosen = find_tagger(tagger)
    target = target.absolute()
    try:
        with sole_maker(target):
            if target.exists() and not (target.is_dir() and not any(target.iterdir())):
                return _existing(target, files, chosen, note)
            with folder_whole(target) as folder:
                _write(folder, files, chosen, note, advance)
            return Catalogue.open(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}; name another folder") from None


def _existing(target: Path, files: Mapping[str, Path], tagger: Tagger, note: Callable[[str], None]) -> Catalogue:
    try:
        there = Catalogue.open(target)
    except UserError as error:
        raise UserError(f"{target} is there already: move it away or name another folder ({error})") from None
    note(f"comparing {target} with the files")
    made_of = {role: source.sha256 for role, source in there.summary.sources.items()}
    if made_of != {role: fingerprint(path).sha256 for role, path in files.items()}:
        raise UserError(f"{target} was made of other files: move it away or name another folder")
    if there.tagger != tagger.name:
        raise UserError(f"{target} has nouns by {there.tagger}, not {tagger.name}: move it away or name another folder")
    return there


def _write(
    folder: Path, files: Mapping[str, Path], tagger: Tagger, note: Callable[[str], None], advance: Advance
) -> None:
    with ExitStack() as opened:
        sources = {role: opened.enter_context(Source(path)) for role, path in files.items()}
        note(f"reading {sources['attributes'].path}")
        known = {asin: _compact(entry) for asin, entry in members(sources["attributes"])}
        wishes = _human(sources["human"]) if "human" in sources else {}
        note(f"reading {sources['items'].path}")
        reader = _Reader(sources["items"], known, wishes)
        store = opened.enter_context(_Store(folder))
        for product in _tagged(reader.products(), tagger):
            store.add(product)
            if store.count % BATCH == 0:
                advance(store.count, sources["items"].position, sources["items"].total)
        prints = {role: source.fingerprint() for role, source in sources.items()}
        advance(store.count, sources["items"].total, sources["items"].total)
        if store.count == 0:
            why = f" ({_left_out(reader.odd_prices)})" if reader.odd_prices else ""
            raise UserError(f"{sources['items'].path} holds no product{why}: name the items file")
        if reader.odd_prices:
            note(_left_out(reader.odd_prices))
        note("writing the index")
        store.finish()
    blocks.write(folder, in_blocks(_names(folder)))
    summary = _summary(folder, store, tagger, reader, prints)
    (folder / SUMMARY).write_text(summary.write(), encoding="utf-8", newline="\n")


def _compact(entry: Any) -> bytes:
    """A small stand-in for an entry: as objects the attribute file would take gigabytes."""
    return json.dumps(entry, separators=(",", ":")).encode("ascii")


def _human(source: Source) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for asin, entries in members(source):
        if not isinstance(entries, list):
            raise UserError(f"{source.path}, product {asin}: no list of instructions; fetch it again")
        found[asin] = tuple(entries)
    return found


def _left_out(odd_prices: Mapping[str, str]) -> str:
    shown = [f"{asin} ({price})" for asin, price in islice(odd_prices.items(), NAMED)]
    more = f" and {len(odd_prices) - NAMED} more, all in {SUMMARY}" if len(odd_prices) > NAMED else ""
    return f"left out {len(odd_prices)} products whose price is not in dollars: {', '.join(shown)}{more}"


class _Reader:
    """The products that upstream would sell, in its order."""

    def __init__(self, source: Source, known: Mapping[str, bytes], wishes: Mapping[str, tuple[Any, ...]]) -> None:
        self.skipped = Counter({"id missing or nan": 0, "id too long": 0, "id seen before": 0})
        self.odd_prices: dict[str, str] = {}
        """Id -> price of the products that are left out because of it."""
        self._source = source
        self._known = known
        self._wishes = wishes
        self._seen: set[str] = set()

    def products(self) -> Iterator[Product]:
        for number, item in enumerate(elements(self._source), 1):
            if not isinstance(item, dict):
                raise UserError(f"{self._source.path}, entry {number}: no product; name the items file")
            if reason := self._unsold(item):
                self.skipped[reason] += 1
                continue
            asin = item["asin"]
            self._seen.add(asin)
            known = self._known.get(asin)
            try:
                yield parse(item, None if known is None else json.loads(known), self._wishes.get(asin, ()))
            except OddPrice:
                self.skipped["price not in dollars"] += 1
                self.odd_prices[asin] = f"{item.get('pricing')!r:.40}"
            except UserError as error:
                raise UserError(f"{self._source.path}, entry {number}: {error}") from None

    def _unsold(self, item: Mapping[str, Any]) -> str | None:
        asin = item.get("asin")
        if not sold(item):
            return "id too long" if isinstance(asin, str) and asin != "nan" else "id missing or nan"
        return "id seen before" if asin in self._seen else None


def _tagged(products: Iterator[Product], tagger: Tagger) -> Iterator[Product]:
    while batch := list(islice(products, BATCH)):
        nouns = tagger.nouns(product.title for product in batch)
        for product, found in zip(batch, nouns, strict=True):
            yield replace(product, nouns=found)


class _Store:
    """Writes the files of a catalogue but its summary. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.human = 0
        self.synthetic = 0
        self._folder = folder
        self._offsets = array("q", [0])
        self._checks = array("L")
        self._asins: list[str] = []
        self._rows = {name: array("i") for name in ("human", "synthetic", "ranged")}
        self._ranges = array("d")
        self._index = IndexWriter(folder / INDEX)

    def __enter__(self) -> _Store:
        self._records = (self._folder / RECORDS).open("wb")
        return self

    def __exit__(self, *reason: object) -> None:
        self._records.close()

    @property
    def count(self) -> int:
        """Products so far."""
        return len(self._asins)

    def add(self, product: Product) -> None:
        """Append a product. Raises UserError where its id cannot be kept."""
        if "\0" in product.asin or any("\ud800" <= char <= "\udfff" for char in product.asin):
            raise UserError(f"product {product.asin!r} has an id that is no text: fetch the items file again")
        row, record = self.count, encode(product)
        self._records.write(record)
        self._offsets.append(self._offsets[-1] + len(record))
        self._checks.append(zlib.crc32(record))
        self._asins.append(product.asin)
        self._index.add(indexed(product))
        if product.human:
            self._rows["human"].append(row)
            self.human += sum(bool(wish.attributes) for wish in product.human)
        if product.synthetic is not None:
            self._rows["synthetic"].append(row)
            self.synthetic += 1
        if len(product.prices) == 2:
            self._rows["ranged"].append(row)
            self._ranges.extend(product.prices)

    @property
    def ranged(self) -> int:
        """Products with two prices so far."""
        return len(self._rows["ranged"])

    def finish(self) -> None:
        """Write everything that is still in memory."""
        self._records.close()
        asins = np.array([asin.encode("utf-8") for asin in self._asins])
        order = np.argsort(asins, kind="stable")
        found: dict[str, Any] = {
            "offsets": self._offsets,
            "checks": self._checks,
            "asins": asins,
            "sorted": asins[order],
            "order": order,
            "ranges": np.array(self._ranges).reshape(-1, 2),
            **self._rows,
        }
        for name, kind in ARRAYS.items():
            values = np.asarray(found[name])
            np.save(self._folder / f"{name}.npy", values if kind == "S" else values.astype(kind), allow_pickle=False)
        self._index.finish(self._asins)


def _summary(
    folder: Path, store: _Store, tagger: Tagger, reader: _Reader, prints: Mapping[str, Fingerprint]
) -> Summary:
    return Summary(
        products=store.count,
        human=store.human,
        synthetic=store.synthetic,
        ranged=store.ranged,
        tagger=tagger.name,
        exact_nouns=tagger.exact,
        skipped=dict(reader.skipped),
        odd_prices=reader.odd_prices,
        sources=prints,
        files={name: hashed(folder / name) for name in _names(folder)},
    )


def _names(folder: Path) -> Iterable[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(TEMPORARY)
    )


def hashed(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            sha256.update(data)
            size += len(data)
    return size, sha256.hexdigest()
