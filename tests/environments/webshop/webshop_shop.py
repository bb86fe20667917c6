"""A small shop in memory and goals for it: what the tests of WebShop's engine and reward play in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from spa_bench.environments.webshop.engine import PricedShop
from spa_bench.environments.webshop.goals import Goal, Kind
from spa_bench.environments.webshop.products import Product, indexed, parse

DRESS: dict[str, Any] = {
    "asin": "B000000001",
    "name": "Summer Dress for Women",
    "full_description": "Light & airy.",
    "small_description": ["100% Cotton", "Machine wash"],
    "pricing": "$19.99 to $29.99",
    "customization_options": {
        "Color": [{"value": "Red"}, {"value": "Titan"}, {"value": "Black/White"}],
        "Size": [{"value": "X-Large"}, {"value": "Small"}],
    },
    "category": "fashion",
    "query": "Women's Dresses ",
    "product_category": "Clothing › Women › Dresses",
}
SHIRT = DRESS | {
    "asin": "B000000002",
    "name": "Polo Shirt, Vanilla 'n Fudge",
    "full_description": "",
    "small_description": "Long sleeve",
    "pricing": "$15.00",
    "customization_options": {
        "flavor": [{"value": "Vanilla 'n <Fudge>"}, {"value": "café"}, {"value": "a[b"}, {"value": "next >"}],
        "note": [{"value": "search"}, {"value": "buy now"}],
    },
    "query": "shirts",
    "product_category": "Clothing › Men › Shirts",
}
PLAIN = DRESS | {"asin": "b00lower03", "name": "Desk Lamp", "pricing": None, "customization_options": None}
PLAIN |= {"small_description": [" ", "a\nb"], "query": "lamps", "product_category": "Home › Lamps"}
FILLER = [PLAIN | {"asin": f"C{i:09d}", "name": f"Filler thing {i}", "query": f"q{i}"} for i in range(60)]
ATTRIBUTES = {
    "B000000001": {
        "attributes": ["cotton", "machine wash"],
        "instruction": "Find me a machine wash dress",
        "instruction_attributes": ["machine wash", "cotton"],
    },
    "B000000002": {"attributes": ["long sleeve"]},
}


class Counter:
    """A catalogue in memory; searching finds the products that have any of the words, in order of ASIN."""

    def __init__(self, products: list[Product]) -> None:
        self.products = {product.asin: product for product in products}
        self.searches: list[str] = []

    def product(self, asin: str) -> Product:
        return self.products[asin]

    def has(self, asin: str) -> bool:
        return asin in self.products

    def search(self, query: str) -> tuple[str, ...]:
        self.searches.append(query)
        words = set(query.split())
        return tuple(a for a, p in sorted(self.products.items()) if words & set(indexed(p).split()))[:50]

    def instructed(self, kind: Kind) -> Iterator[Product]:
        return (p for p in self.products.values() if (p.human if kind == "human" else p.synthetic))

    def ranged(self) -> Iterator[tuple[str, float, float]]:
        return ((p.asin, *p.prices) for p in self.products.values() if len(p.prices) == 2)


def products() -> list[Product]:
    """All products; every word of a title is one of its nouns."""
    parsed = [parse(item, ATTRIBUTES.get(item["asin"])) for item in (SHIRT, DRESS, PLAIN, *FILLER)]
    return [replace(product, nouns=tuple(product.title.lower().split())) for product in parsed]


def shop() -> PricedShop:
    """The shop; the dress costs 25 dollars today."""
    return PricedShop(Counter(products()), {"B000000001": 25.0})


def goal(product: Product | None = None, **changes: Any) -> Goal:
    """A goal for the product, by default the dress, red and small, below 30 dollars."""
    wanted = product or next(p for p in products() if p.asin == "B000000001")
    made = Goal(
        asin=wanted.asin,
        kind="human",
        number=0,
        text="i want a red dress, and price lower than 30.00 dollars",
        attributes=("machine wash", "cotton"),
        options=("red", "small"),
        price_upper=30.0,
        query=wanted.query,
        product_category=wanted.product_category,
        nouns=wanted.nouns,
        weight=1.0,
    )
    return replace(made, **changes)
