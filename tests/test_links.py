"""Links of every Markdown page lead to a file and a heading that are there, and so do the paths that it names.

Here pages are read as GitHub shows them: links between files, anchors in GitHub's form. `tox -e docs` checks the site,
which has other paths and anchors, and not all of the pages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("*.md", "docs/*.md", "rewards/*.md", "examples/**/*.md", "results/**/*.md", "spa_bench/**/*.md")
PAGES = [page for place in PLACES for page in sorted(ROOT.glob(place))]
FOLDERS = [ROOT, ROOT / "spa_bench", ROOT / "tests"]
"""What paths in the text start from, beside the folder of the page."""


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def inline(page: Path) -> Iterator[Token]:
    """What stands in paragraphs, tables, lists and headings; nothing of blocks of code."""
    for token in tokens(page):
        yield from token.children or []


def links(page: Path) -> list[str]:
    """Where its links and pictures lead."""
    found = [token.attrs.get("href") or token.attrs.get("src") for token in inline(page)]
    return [str(link) for link in found if link]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Its headings in GitHub's form: lower case, hyphens for spaces, no other signs, a number from the second on."""
    found: dict[str, int] = {}
    for before, token in zip(tokens(page), tokens(page)[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(part.content for part in token.children or [] if part.type in ("text", "code_inline"))
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found[anchor] = taken = found.get(anchor, -1) + 1
            if taken:
                found[f"{anchor}-{taken}"] = 0
    return frozenset(found)


def wrong(link: str, page: Path) -> str:
    """What is wrong with a link of a page; empty for nothing."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        whole = parts.scheme == "https" and "." in parts.netloc and not re.search(r"%20|[.,;:!?)'\"]$", link)
        return "" if whole else "no whole address"
    target = Path(os.path.normpath(page.parent / parts.path)) if parts.path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return "no such file"
    if target.resolve() != target:
        return "goes through a symbolic link, which GitHub does not follow"
    if parts.fragment and parts.fragment not in anchors(target):
        return f"no such heading: {', '.join(sorted(anchors(target)))}"
    return ""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert {link: said for link in links(page) if (said := wrong(link, page))} == {}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_link_is_only_meant(page: Path) -> None:
    """One with a space in its address is shown as it is written."""
    assert [token.content for token in inline(page) if token.type == "text" and "](" in token.content] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_every_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    """Of `tests/x.py`, `training/x.py` and the like; what starts in no folder of ours is a user's. Earlier versions had
    other files, so the changelog may name them."""
    said = [token.content for token in inline(page) if token.type == "code_inline"]
    said += [token.content for token in tokens(page) if token.info in ("bash", "console") or token.type == "code_block"]
    paths = re.compile(r"(?<![\w/.<>*-])[\w.-]+(?:/[\w.-]+)+\.[a-z]+(?![\w/*])")
    named = {path for text in said for path in paths.findall(text)}
    ours = {path for path in named if any((folder / path.split("/")[0]).is_dir() for folder in FOLDERS)}
    made = {path for path in ours if path.startswith(("results/", "tables/"))}
    places = [page.parent, *FOLDERS]
    assert [path for path in sorted(ours - made) if not any((place / path).exists() for place in places)] == []


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("docs/agents.md#an-agent-of-ones-own", ""),
        ("docs/agents.md#an-agent", "no such heading"),
        ("docs/agent.md", "no such file"),
        ("../README.md", "no such file"),
        ("results/published/README.md", "goes through a symbolic link"),
        ("spa_bench/analysis/as-published/README.md", ""),
        ("#what-it-does", ""),
        ("#what-it-did", "no such heading"),
        ("https://arxiv.org/abs/2505.20732", ""),
        ("http://arxiv.org/abs/2505.20732", "no whole address"),
        ("https://arxiv.org/abs/2505.20732,", "no whole address"),
        ("//arxiv.org/abs/2505.20732", "no whole address"),
    ],
)
def test_a_link_that_leads_nowhere_is_seen(link: str, said: str) -> None:
    assert wrong(link, ROOT / "README.md").startswith(said) and bool(wrong(link, ROOT / "README.md")) == bool(said)


def test_headings_have_the_anchors_that_github_gives_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `run_x`, B & c: 1.5\n\n```\n# no heading\n```\n\n## Twice\n\nTwice\n-----\n", encoding="utf-8")
    assert anchors(page) == {"a-run_x-b--c-15", "twice", "twice-1"}


def test_the_readme_leads_to_every_page() -> None:
    """But to a study's, which its tables name."""
    readme = ROOT / "README.md"
    led = {Path(os.path.normpath(ROOT / urlsplit(link).path)) for link in links(readme)}
    assert [name(page) for page in PAGES if page not in {*led, readme} and "studies" not in page.parts] == []


def test_pages_of_every_place_are_read() -> None:
    assert all(any(page.match(place) for page in PAGES) for place in ("docs/*.md", "rewards/*.md", "results/*.md"))
    assert sum(len(links(page)) for page in PAGES) > 50
