"""Downloads: no more than expected, not too slowly, checked, and whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from spa_bench.core import UserError
from spa_bench.environments.data import CHUNK, check, digest, with_command
from spa_bench.files import temporary_name, writing

TIMEOUT = 60
"""Seconds without a byte after which a download is given up."""
SLOWEST = 2_000
"""Bytes a second, on average: a download that is slower after `TIMEOUT` is given up."""


def fetch(
    url: str, sha256: str | None, target: Path, *, size: int | None = None, most: int | None = None, again: str = ""
) -> None:
    """Download to `target` unless it is there already with that hash; `again` is the command that repeats this.

    No more than `size` bytes are taken, or `most` where the size is not known. Raises UserError where the server cannot
    be reached, is too slow or does not send what was expected; nothing is left then.
    """
    if sha256 is not None and target.is_file() and digest(target) == sha256:
        return
    limit = size if size is not None else most
    partial = temporary_name(target)
    with writing(target, partial):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as out:
                for block in _blocks(url, limit, again):
                    out.write(block)
            check(partial, sha256, size=size, name=url, again=again)
            if limit is not None and partial.stat().st_size > limit:
                raise UserError(f"{url} has more than {limit} bytes, far too many for what it should be; use --from")
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def _blocks(url: str, limit: int | None, again: str) -> Iterator[bytes]:
    """What a server sends, as it comes in, until it is more than `limit`. UserError where that fails or is too slow."""
    import requests
    import urllib3

    begun, got = time.monotonic(), 0
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as answer:
            answer.raise_for_status()
            while block := answer.raw.read1(CHUNK, decode_content=False):
                yield block
                got += len(block)
                if limit is not None and got > limit:
                    return
                seconds = time.monotonic() - begun
                if seconds > TIMEOUT and got < SLOWEST * seconds:
                    raise ValueError(f"it sends {got / seconds:.0f} bytes/s, too few")
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:  # those of `requests` are one of the first two
        reason = " ".join(str(error).split())
        raise UserError(f"cannot fetch {url}: {reason}; try again{with_command(again)}, or use --from") from None
