"""The run folder and the cache, where a run has several ranks: rank 0 writes, and tells the others what it reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.files import CacheEntry, cache_entry, cache_root
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.journal import SCANNED, Journal
from spa_bench.runs.reading import RUN
from spa_bench.training import ranks


class SharedJournal(Journal):
    """Every rank adds the same rows, of which rank 0's are written, and every rank reads at the same time."""

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows."""
        if ranks.first():
            super().extend(rows)

    def scan(self, most: int = SCANNED) -> Iterator[dict[str, Any] | None]:
        """As `Journal.scan`; all rows are kept in memory where there are several ranks."""
        own = super().scan(most)
        yield from own if ranks.size() == 1 else ranks.on_first(lambda: list(own))


class SharedFolder(RunFolder):
    """The folder of a run, on a disk that all ranks see; held by rank 0."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.episodes, self.metrics, self.prices = (
            SharedJournal(journal.path) for journal in (self.episodes, self.metrics, self.prices)
        )

    @classmethod
    def open(cls, path: Path, config: RunConfig, facts: Mapping[str, Any]) -> Self:
        """As `RunFolder.open`."""
        held: list[Self] = []

        def hold() -> None:
            held.append(super(SharedFolder, cls).open(path, config, facts))

        ranks.on_first(hold)
        if not held and not (path / RUN).exists():
            raise UserError(f"{path} is not seen from here: put --results and the cache on a shared disk")
        return held[0] if held else cls(path)

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """As `RunFolder.latest_checkpoint`."""

        def found() -> tuple[int, str] | None:
            latest = super(SharedFolder, self).latest_checkpoint()
            return None if latest is None else (latest[0], str(latest[1]))

        latest = ranks.on_first(found)
        return None if latest is None else (latest[0], Path(latest[1]))


@contextlib.contextmanager
def shared_entry(kind: str, key: str) -> Iterator[CacheEntry]:
    """As `files.cache_entry`, of the cache of all ranks; what is put in its folder rank 0 puts there."""
    with contextlib.ExitStack() as stack:

        def take() -> tuple[bool, str, str]:
            entry = stack.enter_context(cache_entry(cache_root(), kind, key))
            return entry.ready, str(entry.path), str(entry.build)

        ready, path, build = ranks.on_first(take)
        yield CacheEntry(ready, Path(path), Path(build))
        ranks.on_first(stack.close)
