"""What the shop sells: one product as upstream leaves it after loading, from the official JSON files.

The rules are upstream's, quirks included (`web_agent_site/engine/engine.py`, `load_products`): what an agent reads and
is paid for depends on each of them. Separate from the catalogue, which keeps products on disk and knows no JSON format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spa_bench.core import UserError

NO_PRICE = 100.0
"""What a product without a price costs."""
LONGEST_ASIN = 10
"""Upstream drops products with longer ids."""
NO_ATTRIBUTES = ("DUMMY_ATTR",)
"""Attributes of a product that the attribute file does not know."""


class OddPrice(UserError):
    """A price that is no text of dollars, such as `12,99 EUR` or `Free`: the product cannot be sold."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One wish that a product fulfils, without the price limit, which depends on a seed."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] = ()
    """Wanted option values; empty for a synthetic instruction, which gets one goal per combination of options."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product."""

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    prices: tuple[float, ...]
    """One price, or the lowest and the highest, in dollars."""
    price_tag: str
    """The price as pages show it."""
    options: Mapping[str, tuple[str, ...]]
    """Name -> values, lower case, in page order."""
    attributes: tuple[str, ...]
    category: str
    query: str
    """The search that upstream's authors found it by; lower case."""
    product_category: str
    """Path in the shop's tree, its parts separated by U+203A."""
    human: tuple[Instruction, ...] = ()
    synthetic: Instruction | None = None
    nouns: tuple[str, ...] = ()
    """Nouns of the title, lower case, repetitions kept; from the catalogue's tagger."""


def indexed(product: Product) -> str:
    """The text that the search engine sees: title, description, the first bullet and the options."""
    options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product.options.items())
    first = product.bullets[0] if product.bullets else ""
    return " ".join([product.title, product.description, first, options]).lower()


def sold(item: Mapping[str, Any]) -> bool:
    """Upstream sells the item: it has an id of at most ten characters."""
    asin = item.get("asin")
    return isinstance(asin, str) and asin != "nan" and len(asin) <= LONGEST_ASIN


def parse(
    item: Mapping[str, Any], attributes: Mapping[str, Any] | None, human: tuple[Mapping[str, Any], ...] = ()
) -> Product:
    """A product from its entries in `items_shuffle`, `items_ins_v2` and `items_human_ins`.

    Raises UserError naming the product and the field where a field is missing or of another type, OddPrice where it is
    the price.
    """
    asin = str(item.get("asin"))
    try:
        prices, tag = _prices(item.get("pricing"))
    except (TypeError, ValueError):
        raise OddPrice(
            f"product {asin} has the price {item.get('pricing')!r:.40}: write it in dollars, as $12.99"
        ) from None
    try:
        bullets = item["small_description"]
        return Product(
            asin=asin,
            title=_text(item["name"]),
            description=_text(item["full_description"]),
            bullets=_texts(bullets if isinstance(bullets, list) else [bullets]),
            prices=prices,
            price_tag=tag,
            options=_options(item.get("customization_options")),
            attributes=_texts((attributes or {}).get("attributes", list(NO_ATTRIBUTES))),
            category=_text(item["category"]),
            query=_text(item["query"]).lower().strip(),
            product_category=_text(item["product_category"]),
            human=tuple(map(_human, human)),
            synthetic=_synthetic(attributes or {}),
        )
    except KeyError as error:
        raise UserError(f"product {asin} has no field {error}: fetch its files again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"product {asin} is malformed ({error}): fetch its files again") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):  # a text would pass as its letters
        raise TypeError(f"{values!r:.40} is no list")
    return tuple(map(_text, values))


def _prices(pricing: Any) -> tuple[tuple[float, ...], str]:
    """`$a`, or `$a to $b`; anything beyond two prices is dropped."""
    if not pricing:
        return (NO_PRICE,), f"${NO_PRICE}"
    found = [float(re.sub(r"[^\d.]", "", part)) for part in _text(pricing).split("$")[1:]]
    if not found:
        raise ValueError(f"no price in {pricing!r:.40}")
    if len(found) == 1:
        return (found[0],), f"${found[0]}"
    return (found[0], found[1]), f"${found[0]} to ${found[1]}"


def _options(customization: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, contents in (customization or {}).items():
        if contents is not None:
            found[name.lower()] = tuple(_text(c["value"]).strip().replace("/", " | ").lower() for c in contents)
    return found


def _human(entry: Mapping[str, Any]) -> Instruction:
    return Instruction(
        _text(entry["instruction"]),
        _texts(entry["instruction_attributes"]),
        _texts(entry["instruction_options"]),
    )


def _synthetic(entry: Mapping[str, Any]) -> Instruction | None:
    if entry.get("instruction") is None:
        return None
    return Instruction(_text(entry["instruction"]), _texts(entry["instruction_attributes"]))
