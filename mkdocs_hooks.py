"""README, the bench card and others are part of the site: they lie outside of docs/."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "bench-card.md",
    "spa_bench/analysis/as-published/README.md": "published.md",
    "rewards/README.md": "rewards-folder.md",
    "examples/blocks/README.md": "example.md",
    "results/studies/2026-12-credit/README.md": "study.md",
    "results/studies/2026-12-credit/report/figures/credit-and-success-alfworld.png": "credit-and-success.png",
}
"""File -> page, or picture."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is kept elsewhere."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn paths between files of the repository into paths between pages."""
    homes = {home: Path(source).parent for source, home in PAGES.items()}
    here = homes.get(page.file.src_uri, Path("docs"))

    def there(link: re.Match[str]) -> str:
        path, anchor = link["path"], link["anchor"] or ""
        target = (ROOT / here / path).resolve()  # results/published is a link
        home = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
        name = PAGES.get(home) or (target.name if target.parent == ROOT / "docs" else None)
        return f"]({name}{anchor})" if name else link[0]

    return re.sub(r"\]\((?P<path>[^)#:\s]+\.(?:md|png))(?P<anchor>#[^)\s]*)?\)", there, markdown)
