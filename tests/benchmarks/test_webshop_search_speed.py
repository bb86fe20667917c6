"""How fast the search engine is on the 1,000 products, where the data lies beside the repository.

`pytest tests/benchmarks/test_webshop_search_speed.py --benchmark-enable --benchmark-json=out.json`; `extra_info` holds
what one round did (`queries`, `products` or `bytes`). Nothing here asserts a time. `webshop_scale.py` is for a million
products.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from spa_bench.environments.webshop.analyzer import terms
from spa_bench.environments.webshop.products import indexed, parse, sold
from spa_bench.environments.webshop.search import Index, IndexWriter


@pytest.fixture(scope="module")
def data() -> Path:
    chosen = os.environ.get("SPA_BENCH_SHARED")
    folder = (Path(chosen) if chosen else Path(__file__).resolve().parents[3] / "shared") / "data" / "webshop"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set SPA_BENCH_SHARED")
    return folder


@pytest.fixture(scope="module")
def documents(data: Path) -> list[tuple[str, str]]:
    """ASIN and searched text."""
    items = json.loads((data / "items_shuffle_1000.json").read_text(encoding="utf-8"))
    return [(item["asin"], indexed(parse(item, None))) for item in items if sold(item)]


def build(folder: Path, documents: list[tuple[str, str]]) -> None:
    writer = IndexWriter(folder)
    for _, text in documents:
        writer.add(text)
    writer.finish([asin for asin, _ in documents])


def test_search(benchmark: Any, data: Path, documents: list[tuple[str, str]], tmp_path: Path) -> None:
    build(tmp_path, documents)
    index = Index.open(tmp_path)
    with gzip.open(data / "lucene_top50.jsonl.gz", "rt", encoding="utf-8") as file:
        queries = [json.loads(line)["q"] for line in file][:100]

    def search_all() -> None:
        for query in queries:
            index.top(query)

    benchmark.extra_info["queries"] = len(queries)
    benchmark.pedantic(search_all, rounds=10, warmup_rounds=1)


def test_build(benchmark: Any, documents: list[tuple[str, str]], tmp_path: Path) -> None:
    benchmark.extra_info["products"] = len(documents)
    benchmark.pedantic(build, (tmp_path, documents), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("unit", ["a1", "ab", "\u00e9", "a1\u00e9", "a\u0301", "\u05d0'"], ids=ascii)
def test_one_word_of_three_million_bytes(benchmark: Any, unit: str) -> None:
    text = unit * (3_000_000 // len(unit.encode()))
    benchmark.extra_info["bytes"] = len(text.encode())
    benchmark.pedantic(terms, (text,), rounds=3)
