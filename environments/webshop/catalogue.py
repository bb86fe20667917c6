"""All products of a shop, on disk: opened in a tenth of a second, mapped into memory, read one by one.

A catalogue is a folder that `build` writes:

- `catalogue.json`: what it was made of, and size and sha256 of every other file (`Summary`);
- `blocks.npy`: checks of all files but these and the records, block by block (`blocks`). They are compared at opening,
  those of posting lists, which are most, when a query reads them;
- `products.bin`: one JSON record for each product, in upstream's order, back to back; a row is a place in that order;
- `offsets.npy` (int64, rows + 1), `checks.npy` (uint32, rows): where a record lies in it, and its CRC-32;
- `asins.npy`, `sorted.npy` (bytes, rows), `order.npy` (int32, rows): ids by row, ids in order of their UTF-8 bytes, and
  the rows in that order;
- `human.npy`, `synthetic.npy` (int32): rows of products with such instructions;
- `ranged.npy` (int32), `ranges.npy` (float64, two columns): rows of products with two prices, and these in dollars;
- `index/`: the search engine's.

Workers that open the same folder share its memory. Separate from the build, which alone knows upstream's files.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from spa_bench.core import UserError
from spa_bench.environments.webshop import blocks
from spa_bench.environments.webshop.products import Instruction, Product
from spa_bench.environments.webshop.search import Index
from spa_bench.environments.webshop.sources import Fingerprint

FORMAT = 2
"""Of the folder; grows with every change of its files."""
CONTENT = 1
"""Of what is in them; grows where the same sources would give other products, goals or results of a search."""

SUMMARY = "catalogue.json"
RECORDS = "products.bin"
INDEX = "index"
LATER = (f"{INDEX}/documents.npy", f"{INDEX}/codes.npy")
"""The posting lists: most of the index, of which a query reads a part."""
ARRAYS: Mapping[str, str] = {
    "offsets": "<i8",
    "checks": "<u4",
    "asins": "S",
    "sorted": "S",
    "order": "<i4",
    "human": "<i4",
    "synthetic": "<i4",
    "ranged": "<i4",
    "ranges": "<f8",
}
"""Name of an array -> its type; `S` is bytes of any width."""

GET = "spa-bench data get webshop --from FOLDER"
BUILD = "spa-bench data build webshop --items FILE --attributes FILE"
AGAIN = f"build it again with `{BUILD}`"

RESULTS = 50
"""Products that a search finds at most, as upstream's `SEARCH_RETURN_N`."""
KEPT_PRODUCTS = 1024
KEPT_SEARCHES = 1024
"""How many of the last ones stay in memory: together less than 30 MB."""

Kind = Literal["human", "synthetic"]


@dataclass(frozen=True)
class Summary:
    """What `catalogue.json` says."""

    products: int
    human: int
    """Human instructions that make a goal: those with attributes."""
    synthetic: int
    """Products with a synthetic instruction."""
    ranged: int
    """Products with two prices."""
    tagger: str
    exact_nouns: bool
    skipped: Mapping[str, int]
    """Why -> how many entries of the items file were left out."""
    sources: Mapping[str, Fingerprint]
    """`items`, `attributes` and, where it was given, `human`."""
    files: Mapping[str, tuple[int, str]]
    """Path in the folder -> (bytes, sha256); every file but this one."""
    odd_prices: Mapping[str, str] = field(default_factory=dict)
    """Id -> price of the products that were left out because it is not in dollars."""

    @property
    def digest(self) -> str:
        """16 hex digits of what decides the content: sources, tagger and its format."""
        made_of = [CONTENT, self.tagger, sorted((role, source.sha256) for role, source in self.sources.items())]
        return hashlib.sha256(json.dumps(made_of).encode("ascii")).hexdigest()[:16]

    def write(self) -> str:
        """The text of `catalogue.json`; equal summaries give equal texts."""
        plain = {"format": FORMAT, "digest": self.digest} | asdict(self)
        plain["sources"] = {role: asdict(s) | {"official": s.official} for role, s in self.sources.items()}
        return json.dumps(plain | {"check": _check(plain)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Summary:
        """The summary of a folder. Raises UserError where there is none, or one of another format."""
        try:
            plain = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"no catalogue in {folder}: make one with `{GET}`, or of any files with `{BUILD}`"
            ) from None
        except OSError as error:
            raise UserError(f"cannot read {folder / SUMMARY}: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            raise damaged(folder, f"{SUMMARY}: {error}") from None
        if isinstance(plain, dict) and plain.get("format") != FORMAT:
            raise UserError(f"catalogue {folder} has format {plain.get('format')!r:.20}, not {FORMAT}: {AGAIN}")
        try:
            summary = _summary(plain)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(folder, f"{SUMMARY}: {error!r}") from None
        if plain.get("digest") != summary.digest or plain.pop("check", None) != _check(plain):
            raise damaged(folder, f"{SUMMARY} contradicts itself")
        return summary


def in_blocks(names: Iterable[str]) -> list[str]:
    """Which of a catalogue's files have checks of their blocks: every record has one of its own."""
    return sorted(name for name in names if name not in (RECORDS, SUMMARY, blocks.FILE))


def damaged(folder: Path, what: str) -> UserError:
    """The error over a folder whose content is not what `build` wrote."""
    return UserError(f"catalogue {folder} is damaged ({' '.join(what.split())}): {AGAIN}")


def encode(product: Product) -> bytes:
    """The record of a product."""
    fields = [
        product.asin,
        product.title,
        product.description,
        product.bullets,
        product.prices,
        product.price_tag,
        dict(product.options),
        product.attributes,
        product.category,
        product.query,
        product.product_category,
        [_plain(wish) for wish in product.human],
        None if product.synthetic is None else _plain(product.synthetic),
        product.nouns,
    ]
    # ASCII, so that lone surrogates, which JSON may hold and UTF-8 may not, come back as they are.
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def decode(record: bytes) -> Product:
    """The product of a record. Raises ValueError or TypeError over anything else."""
    (
        asin, title, description, bullets, prices, tag, options, attributes, category, query, path, human, wish, nouns
    ) = json.loads(record.decode("ascii"))  # fmt: skip
    return Product(
        asin=asin,
        title=title,
        description=description,
        bullets=tuple(bullets),
        prices=tuple(prices),
        price_tag=tag,
        options={name: tuple(values) for name, values in options.items()},
        attributes=tuple(attributes),
        category=category,
        query=query,
        product_category=path,
        human=tuple(_wish(*plain) for plain in human),
        synthetic=None if wish is None else _wish(*wish),
        nouns=tuple(nouns),
    )


class Catalogue:
    """The products of one folder. Immutable, and safe to open in many processes."""

    def __init__(self, folder: Path, summary: Summary) -> None:
        """Use `Catalogue.open`."""
        self.folder = folder
        self.summary = summary
        for name, (size, _) in summary.files.items():
            file = folder / name
            if not file.is_file() or file.stat().st_size != size:
                raise damaged(folder, f"{name} is missing or of another size")
        sizes = {name: summary.files[name][0] for name in in_blocks(summary.files)}
        self._blocks = blocks.Blocks(folder, sizes, summary.files[blocks.FILE][1])
        for name in sizes:
            self._compare(name, 0, 1 if name in LATER else None)
        self._arrays = {name: _load(folder, name) for name in ARRAYS}
        self._check_shapes()
        with (folder / RECORDS).open("rb") as records:
            self._records = mmap.mmap(records.fileno(), 0, access=mmap.ACCESS_READ)
        self._index = Index.open(folder / INDEX, lambda name, start, end: self._compare(f"{INDEX}/{name}", start, end))
        self._product = lru_cache(KEPT_PRODUCTS)(self._find)
        self._search = lru_cache(KEPT_SEARCHES)(self._find_all)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a catalogue without reading its records and posting lists.

        Raises UserError where it is missing, damaged or of another format.
        """
        path = Path(folder)
        summary = Summary.read(path)
        try:
            return cls(path, summary)
        except (OSError, ValueError, KeyError) as error:
            raise damaged(path, str(error)) from None

    def __len__(self) -> int:
        """Number of products."""
        return self.summary.products

    @property
    def digest(self) -> str:
        """Identity of the content, 16 hex digits: equal for equal sources, tagger and format."""
        return self.summary.digest

    @property
    def tagger(self) -> str:
        """What found the nouns of the titles."""
        return self.summary.tagger

    @property
    def exact_nouns(self) -> bool:
        """The nouns are a published model's, as upstream's, and not an approximation."""
        return self.summary.exact_nouns

    def has(self, asin: str) -> bool:
        """There is such a product."""
        return self._row(asin) is not None

    def product(self, asin: str) -> Product:
        """The product of that id. Raises UserError where there is none."""
        return self._product(asin)

    def search(self, query: str) -> tuple[str, ...]:
        """Ids of the best 50 products for a query, best first; fewer where fewer share a word with it."""
        return self._search(query)

    def instructed(self, kind: Kind) -> Iterator[Product]:
        """Products with instructions of that kind, in upstream's order."""
        for row in self._arrays[kind]:
            yield self._read(int(row))

    def ranged(self) -> Iterator[tuple[str, float, float]]:
        """Id, lowest and highest price in dollars of the products with two prices, in upstream's order."""
        for row, (low, high) in zip(self._arrays["ranged"], self._arrays["ranges"], strict=True):
            yield self._asin(int(row)), float(low), float(high)

    def _find(self, asin: str) -> Product:
        row = self._row(asin)
        if row is None:
            raise UserError(f"catalogue {self.folder} has no product {asin!r:.40}")
        return self._read(row)

    def _find_all(self, query: str) -> tuple[str, ...]:
        return tuple(self._asin(row) for row in self._index.top(query, RESULTS))

    def _row(self, asin: str) -> int | None:
        ids = self._arrays["sorted"]
        try:
            key = asin.encode("utf-8")
        except UnicodeEncodeError:
            return None
        # A longer key would make NumPy copy all ids to its width, and one that ends in NUL would equal another.
        if len(key) > ids.dtype.itemsize or b"\0" in key:
            return None
        place = int(np.searchsorted(ids, np.array(key, ids.dtype)))
        return int(self._arrays["order"][place]) if place < len(ids) and ids[place] == key else None

    def _asin(self, row: int) -> str:
        try:
            return str(self._arrays["asins"][self._checked(row)].decode("utf-8"))
        except UnicodeDecodeError:
            raise damaged(self.folder, f"id of product {row}") from None

    def _read(self, row: int) -> Product:
        start, end = (int(offset) for offset in self._arrays["offsets"][self._checked(row) : row + 2])
        record = self._records[start:end] if 0 <= start < end <= len(self._records) else b""
        if zlib.crc32(record) != self._arrays["checks"][row]:
            raise damaged(self.folder, f"record of product {row}")
        try:
            product = decode(record)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise damaged(self.folder, f"record of product {row}") from None
        if product.asin != self._asin(row):
            raise damaged(self.folder, f"record of product {row} is another product's")
        return product

    def _compare(self, name: str, start: int, end: int | None) -> None:
        """Raise UserError unless these bytes of a file are what was written."""
        try:
            self._blocks.check(name, start, end)
        except (OSError, ValueError) as error:
            raise damaged(self.folder, str(error)) from None

    def _checked(self, row: int) -> int:
        if not 0 <= row < len(self):
            raise damaged(self.folder, f"there is no product {row}")
        return row

    def _check_shapes(self) -> None:
        rows, ranged = len(self), self.summary.ranged
        expected = {
            "offsets": (rows + 1,), "checks": (rows,), "asins": (rows,), "sorted": (rows,), "order": (rows,),
            "ranged": (ranged,), "ranges": (ranged, 2),
        }  # fmt: skip
        for name, array in self._arrays.items():
            right = array.ndim == 1 if name not in expected else array.shape == expected[name]
            if not right or (array.dtype.kind if ARRAYS[name] == "S" else array.dtype.str) != ARRAYS[name]:
                raise damaged(self.folder, f"{name}.npy has another shape")


def _load(folder: Path, name: str) -> NDArray[Any]:
    """A read-only array that is mapped, and read only where it is used."""
    try:
        mapped = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError, TokenError) as error:
        raise damaged(folder, f"{name}.npy: {error}") from None
    return np.asarray(mapped)  # without the subclass, whose every element access costs microseconds


def _check(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode("ascii")).hexdigest()[:16]


def _plain(wish: Instruction) -> list[Any]:
    return [wish.text, wish.attributes, wish.options]


def _wish(text: str, attributes: list[str], options: list[str]) -> Instruction:
    return Instruction(text, tuple(attributes), tuple(options))


def _summary(plain: Mapping[str, Any]) -> Summary:
    return Summary(
        products=int(plain["products"]),
        human=int(plain["human"]),
        synthetic=int(plain["synthetic"]),
        ranged=int(plain["ranged"]),
        tagger=str(plain["tagger"]),
        exact_nouns=bool(plain["exact_nouns"]),
        skipped={str(why): int(count) for why, count in plain["skipped"].items()},
        sources={role: Fingerprint(s["name"], s["size"], s["sha256"]) for role, s in plain["sources"].items()},
        files={str(name): (int(size), str(sha256)) for name, (size, sha256) in plain["files"].items()},
        odd_prices={str(asin): str(price) for asin, price in plain["odd_prices"].items()},
    )
