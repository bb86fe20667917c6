"""The page of a results folder: in a file, or served on 127.0.0.1 while runs go on."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO

from spa_bench.audit.saved import find
from spa_bench.core import UserError
from spa_bench.files import write_whole
from spa_bench.report.contents import Contents
from spa_bench.report.html import page, policy
from spa_bench.report.page import Folder, compose, gather, read, tabulate
from spa_bench.report.pictures import Picture, drawn
from spa_bench.runs.reading import RUN, holding
from spa_bench.terminal import printable_line

FILES = ("run.json", "audit.json", "metrics.jsonl", "episodes.jsonl", "prices.jsonl")
"""Files whose change means that the page has changed."""

WHOLE = ("finished", "audit")
"""States of folders that tables and figures are made of."""

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of a folder's files."""


def write(
    folders: Iterable[Path],
    file: Path,
    most: int | None = None,
    baseline: str | None = None,
    known: Contents | None = None,
    figures: Sequence[Picture] = (),
) -> dict[str, Any]:
    """Write the page of all runs and audits at or below `folders`; returns a summary of it.

    `known` and `figures` as for `report.page.gather`.
    """
    found = gather(folders, most, baseline, known=known, figures=figures)
    text = page(found)
    try:
        write_whole(file, text)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; choose another file with --html") from None
    runs, left = found["report"]["runs"], found["report"]["left_out"]
    notes = [
        f"{run['name']}: {run.get('problem') or run['reason']}"
        for run in runs
        if "problem" in run or run["state"] in ("unreadable", "failed", "unfinished")
    ]
    return {
        "file": str(file),
        "bytes": len(text.encode()),
        "runs": sum(run["kind"] == "run" for run in runs),
        "audits": sum(run["kind"] == "audit" for run in runs),
        "tables": len(found["report"]["tables"]),
        "figures": len(found["figures"]),
        "episodes": sum(run["shown"] for run in runs),
        "notes": [*notes, left] if left else notes,
    }


def show(written: dict[str, Any], stream: TextIO, as_json: bool = False) -> None:
    """Print the summary of what was written, with its notes."""
    if as_json:
        print(json.dumps(written, indent=1), file=stream)
        return
    size = written["bytes"] / 1e6
    audits = f"{written['audits']} audits, " if written["audits"] else ""
    said = (
        f"{written['file']}: {written['runs']} runs, {written['tables']} tables, {written['figures']} figures, {audits}"
        f"{written['episodes']:,} episodes, {size:.1f} MB; open it in a browser"
    )
    print(printable_line(said), file=stream)
    for note in written["notes"]:
        print(printable_line(f"- {note}"), file=stream)


class Live:
    """The newest page of a folder; unchanged folders are not read again."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._lock = threading.Lock()
        self._folders: dict[Path, tuple[Stamp, Folder]] = {}
        self._tables: tuple[Any, Contents | None] = (None, None)
        self._drawn: tuple[Contents | None, list[Picture]] = (None, [])
        self._drawing = threading.Lock()
        self._made: tuple[str, dict[str, Any]] = ("", {})

    def version(self) -> str:
        """Changes whenever a file that the page is made of does."""
        stamps = [(str(path), self._stamp(path)) for path in self._paths()]
        return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]

    def now(self) -> tuple[str, dict[str, Any]]:
        """The version, and what its page shows."""
        with self._lock:
            version = self.version()
            if version != self._made[0]:
                self._made = version, compose(self._paths(), self._read, self._tabulate)
            return self._made

    def figures(self) -> list[Picture]:
        """Those of the tables that `now` shows; drawn when they are asked for, as it takes seconds."""
        with self._lock:
            found = self._tables[1]
        with self._drawing:
            if found is not None and self._drawn[0] is not found:
                self._drawn = found, drawn(found)
            return self._drawn[1]

    def _paths(self) -> list[Path]:
        return sorted({*holding(RUN, [self.results], closed=True), *find([self.results])})

    def _stamp(self, path: Path) -> Stamp:
        found = []
        for name in FILES:
            try:
                status = (path / name).stat()
            except OSError:
                continue
            found.append((name, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def _read(self, path: Path) -> Folder:
        stamp = self._stamp(path)
        known = self._folders.get(path)
        if known is None or known[0] != stamp:
            known = self._folders[path] = stamp, read(path)
        return known[1]

    def _tabulate(self, folders: Sequence[Folder]) -> Contents:
        """Tables average finished runs only: they are kept while other runs go on."""
        key = [
            (folder.path, folder.run["state"], self._stamp(folder.path) if folder.run["state"] in WHOLE else None)
            for folder in folders
        ]
        known = self._tables[1]
        if known is None or key != self._tables[0]:
            known = tabulate(folders)
            self._tables = key, known
        return known


class Handler(BaseHTTPRequestHandler):
    """Answers for four addresses, to requests for 127.0.0.1 or localhost only."""

    server_version, sys_version = "spa-bench", ""
    timeout = 30

    def __init__(self, live: Live, *arguments: Any) -> None:
        self.live = live
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """The page, its data, or the version of both."""
        if self.headers.get("Host") not in self._hosts():
            # DNS rebinding: another site that points its name here would read the folder through the user's browser.
            self._answer(403, "text/plain", b"this address answers to 127.0.0.1 and localhost only\n")
        elif self.path == "/":
            version, found = self.live.now()
            self._answer(200, "text/html", page(found, version).encode(), policy(live=True))
        elif self.path == "/data.json":
            version, found = self.live.now()
            self._answer(200, "application/json", json.dumps({"version": version} | found, allow_nan=False).encode())
        elif self.path == "/figures.json":
            self._answer(200, "application/json", json.dumps(self.live.figures(), allow_nan=False).encode())
        elif self.path == "/version":
            self._answer(200, "application/json", json.dumps({"version": self.live.version()}).encode())
        else:
            self._answer(404, "text/plain", b"there is only /\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the page polls."""

    def _hosts(self) -> set[str]:
        port = self.connection.getsockname()[1]
        return {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    def _answer(self, code: int, kind: str, body: bytes, rules: str = "default-src 'none'") -> None:
        self.send_response(code)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", f"{rules}; frame-ancestors 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """On loopback; a browser that closes its connection is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a broken connection; anything else has the usual traceback."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def server(results: Path, port: int = 0) -> Server:
    """A server of one results folder, bound and not yet running; port 0: any free one."""
    if not results.is_dir():
        raise UserError(f"no folder {results}: give the folder of --results")
    try:
        return Server(("127.0.0.1", port), partial(Handler, Live(results)))
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on port {port} ({error}): choose another --port, or 0 for any") from None


def serve(results: Path, port: int, stream: TextIO) -> None:
    """Serve until Ctrl-C."""
    with server(results, port) as found:
        said = f"http://127.0.0.1:{found.server_address[1]}/ shows {results}; Ctrl-C ends it"
        print(printable_line(said), file=stream, flush=True)
        found.serve_forever()
