"""One page that holds everything: no request leaves it, no text of a model becomes markup, it opens from disk.

The data are JSON in blocks that no browser executes; `page.js` and its neighbours read them and write text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

SCRIPTS = (
    "data.js",
    "draw.js",
    "tables.js",
    "overview.js",
    "curves.js",
    "browse.js",
    "episode.js",
    "audit.js",
    "compare.js",
    "page.js",
)
"""Parts of the page's one script, in order."""


def page(found: Mapping[str, Any], version: str = "") -> str:
    """The page of what `spa_bench.report.page.gather` found; with a `version` it asks its server for a newer one."""
    script, style = _source(*SCRIPTS), _source("page.css")
    # Our own files go in as they are; the policy admits them by their hashes and nothing else.
    own = {"style": Markup(style), "script": Markup(script), "policy": policy(live=bool(version))}
    return _templates().get_template("page.html.j2").render(version=version, **own, **found)


def policy(live: bool) -> str:
    """What a browser may do for the page: run its one script, use its one style; a live one asks its own server."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(_source(*SCRIPTS))}'",
            f"style-src '{_hash(_source('page.css'))}'",
            "img-src data:",
            f"connect-src '{'self' if live else 'none'}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("spa_bench", "report/templates")
    found = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    # `tojson` writes <, >, & and ' as \uXXXX: no text can end the block that it stands in.
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False, "sort_keys": False}
    return found


@cache
def _source(*names: str) -> str:
    loader = _templates().loader
    assert loader is not None
    return "\n".join(loader.get_source(_templates(), name)[0] for name in names)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
