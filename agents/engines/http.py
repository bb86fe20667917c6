"""Requests to a model's server: retries with growing pauses, a deadline, few at a time, and answers that are checked.

Standard library only. Redirects are not followed and no proxy is used, so the key reaches no other host; it is in no
error.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import queue
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from spa_bench.core import UserError

_Asked = TypeVar("_Asked")

LARGEST = 16 * 2**20
"""Bytes of an answer. A reply of 8,192 tokens with log-probs takes about one MiB."""

FIRST_PAUSE = 0.5
"""Seconds before the first retry; doubled before each further one."""

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses that may be others a moment later."""

REFUSED = {
    401: "the key is missing or wrong",
    402: "the account has no credit",
    403: "the key is not allowed to do this",
    404: "there is no such model or path: check model.name and the url",
}
"""Statuses of every request, not of this one: they end the run."""


class ServerError(Exception):
    """Why a request has no answer, in one line. `down`: the server did not answer, however often it was asked."""

    def __init__(self, reason: str, *, down: bool = False, status: int | None = None) -> None:
        super().__init__(reason)
        self.down, self.status = down, status


class _Passing(Exception):
    """A failure that is worth a retry."""

    def __init__(self, reason: str, pause: float = 0.0, status: int | None = None, *, down: bool = True) -> None:
        super().__init__(reason)
        self.pause, self.status, self.down = pause, status, down


class Client:
    """Sends JSON to one server. After a request that no retry saved, the others fail at once until one is answered."""

    def __init__(
        self,
        url: str,
        *,
        key_variable: str,
        deadline: float = 300.0,
        retries: int = 5,
        in_flight: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`deadline` in seconds is for one answer, retries and pauses included; `in_flight` requests at a time.

        `key_variable` names the environment variable that holds the key; without one no key is sent.
        """
        for name, value, least in (("deadline", deadline, 1e-3), ("retries", retries, 0), ("in_flight", in_flight, 1)):
            if not least <= value < math.inf:
                raise UserError(f"model.engine_options.{name}={value}: use a number from {least:g}")
        self.place = _checked(url)
        self._key = _key(key_variable)
        self.deadline, self.retries, self.in_flight, self._sleep = deadline, retries, in_flight, sleep
        self._down: ServerError | None = None

    def post_all(self, path: str, bodies: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The answer to each body, parsed, or the ServerError; UserError where the server refuses all of them."""
        if not bodies:
            return []
        self._down, was_down = None, self._down
        first: list[Any] = [self._answer(path, bodies[0])] if was_down else []
        later = deque(range(len(first), len(bodies)))
        found = dict(_as_they_come(lambda body: self._answer(path, body), later, lambda n: bodies[n], self.in_flight))
        return first + [found[place] for place in range(len(first), len(bodies))]

    def post_soon(
        self, path: str, asked: deque[_Asked], body: Callable[[_Asked], Mapping[str, Any]]
    ) -> Generator[tuple[_Asked, Any], None, None]:
        """What is asked and the answer to its body, as in `post_all`, each as soon as it is there.

        More may be put into `asked` meanwhile: it is emptied in order, where fewer than `in_flight` are under way.
        """
        self._down = None
        for one, answer in _as_they_come(lambda sent: self._answer(path, sent), asked, body, self.in_flight):
            if not isinstance(answer, ServerError):
                self._down = None
            yield one, answer

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, parsed: bool = True) -> Any:
        """One answer, `parsed` or as bytes. Raises ServerError, or UserError where the server refuses all requests."""
        content = None if body is None else json.dumps(body).encode("ascii")
        until = time.monotonic() + self.deadline
        pause = FIRST_PAUSE
        for left in range(self.retries, -1, -1):
            try:
                answer = self._once(method, path, content, until)
                return self._parsed(answer) if parsed else answer
            except _Passing as error:
                wait = max(pause, error.pause)
                if not left or time.monotonic() + wait >= until:
                    raise ServerError(self._clean(str(error)), down=error.down, status=error.status) from None
            self._sleep(wait)
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if self._down is not None:
            return self._down
        try:
            return self.request("POST", path, body)
        except ServerError as error:
            if error.down:
                self._down = error
            return error

    def _once(self, method: str, path: str, content: bytes | None, until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise _Passing("the server did not answer in time")
        kind = http.client.HTTPSConnection if self.place.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(self.place.hostname), self.place.port, timeout=left)
        cut, timer = threading.Event(), threading.Timer(left, lambda: None)
        try:
            connection.connect()
            # A socket's timeout is for one packet, and a server may send one byte at a time.
            timer = threading.Timer(left, _stop, [connection.sock, cut])
            timer.daemon = True
            timer.start()
            connection.request(method, self.place.path.rstrip("/") + path, content, self._headers())
            response = connection.getresponse()
            content = _body(response)
            if cut.is_set():  # what was read ends there
                raise TimeoutError
            return self._read(response.status, response.headers.get("Retry-After"), content)
        except (OSError, http.client.HTTPException) as error:
            late = cut.is_set() or isinstance(error, TimeoutError)
            said = "it did not answer in time" if late else f"{type(error).__name__}: {error}"
            raise _Passing(f"no answer from {self.place.hostname}: {said}") from None
        finally:
            timer.cancel()
            connection.close()

    def _headers(self) -> dict[str, str]:
        own = {"Content-Type": "application/json", "Accept": "application/json"}
        return own | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    def _read(self, status: int, retry_after: str | None, content: bytes) -> bytes:
        if status in REFUSED:
            raise UserError(f"{self.place.hostname} refuses requests (status {status}): {REFUSED[status]}")
        if status in PASSING:
            raise _Passing(f"status {status} from {self.place.hostname}", _seconds(retry_after), status)
        if not 200 <= status < 300:
            told = self._clean(content.decode("utf-8", "replace"))
            raise ServerError(f"status {status} from {self.place.hostname}: {told}", status=status)
        return content

    def _parsed(self, content: bytes) -> Any:
        if not content:  # of what has nothing to say
            return None
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise _Passing(f"{self.place.hostname} sent what is no JSON", down=False) from None

    def _clean(self, text: str) -> str:
        """One line of at most 300 characters, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:300]


def _as_they_come(
    answer: Callable[[Any], Any], asked: deque[_Asked], body: Callable[[_Asked], Any], most: int
) -> Generator[tuple[_Asked, Any], None, None]:
    """What `answer` makes of the body of each that is asked, `most` at a time; raises the first UserError.

    The threads are daemons, unlike those of the standard library's pool: an interrupted process does not wait for them.
    """
    waiting: queue.SimpleQueue[tuple[_Asked, Any] | None] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[_Asked, Any, Exception | None]] = queue.SimpleQueue()
    threads = under_way = 0

    def work() -> None:
        while (taken := waiting.get()) is not None:
            found: Any = None
            failed: Exception | None = AssertionError("the thread of a request has printed why it ended")
            try:
                found, failed = answer(taken[1]), None
            except UserError as refused:
                failed = refused
            finally:
                ended.put((taken[0], found, failed))

    try:
        while asked or under_way:
            while asked and under_way < most:
                one = asked.popleft()
                waiting.put((one, body(one)))
                under_way += 1
                if under_way > threads:
                    threading.Thread(target=work, daemon=True).start()
                    threads += 1
            try:
                one, found, error = ended.get(timeout=1.0)  # an interruption just before is seen only when that ends
            except queue.Empty:
                continue
            under_way -= 1
            if error is not None:
                raise error
            yield one, found
    finally:
        for _ in range(threads):
            waiting.put(None)


def _checked(url: str) -> SplitResult:
    """The parts of a base URL. UserError, without the URL where it may hold a secret."""
    try:
        place = urlsplit(url)
        known = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:
        known = False
    if not known:
        raise UserError("model.engine_options.url must be a base address such as http://localhost:8000/v1")
    if place.username or place.password or place.query or place.fragment:
        raise UserError("model.engine_options.url holds a user, a password or a query: give the key by its variable")
    return place


def _key(variable: str) -> str | None:
    """The key in the environment. UserError where it cannot be sent; neither it nor what may be one is shown."""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable):
        raise UserError(
            "model.engine_options.key_variable is the name of an environment variable, in capitals, not the key itself"
        )
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise UserError(f"the environment variable {variable} holds characters that no key has: set it again")
    return key or None


def _stop(sock: socket.socket, cut: threading.Event) -> None:
    """End what another thread reads from this socket."""
    cut.set()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _body(response: http.client.HTTPResponse) -> bytes:
    content = response.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ServerError(f"the server sent more than {LARGEST // 2**20} MiB")
    if response.length:  # bytes that were announced and did not come
        raise http.client.IncompleteRead(content, response.length)
    return content


def _seconds(retry_after: str | None) -> float:
    """Seconds that a server asks for; 0 where it names none, or a date."""
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < math.inf else 0.0
