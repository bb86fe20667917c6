"""A server of OpenAI's chat completions on loopback: a tiny model, played through transformers, behind real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from tiny import language_model

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


class Served:
    """What the server has seen, and how it answers: `answer` may be replaced by a test."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        """Path, headers and body of each."""
        self.agent = language_model()
        self.busy = self.most = 0
        self.lock = threading.Lock()
        self.answer: Callable[[str, Any], Answer] = self.completion

    def completion(self, path: str, body: Any) -> Answer:
        """The reply of the model, greedy, and what it took."""
        if path != "/v1/chat/completions":
            return 404, {}, b"{}"
        chat = self.agent.chat
        prompt = chat.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        ids = chat.encode(prompt)
        with self.lock, torch.no_grad():
            said = self.agent.model.generate(
                torch.tensor([ids]), max_new_tokens=body["max_tokens"], do_sample=False, eos_token_id=sorted(chat.ends)
            )[0, len(ids) :].tolist()
        message = {"role": "assistant", "content": chat.text(said)}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(said), "total_tokens": len(ids) + len(said)}
        content = {"model": "tiny-1", "choices": [{"index": 0, "message": message}], "usage": usage}
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


@contextmanager
def serving() -> Iterator[Served]:
    """A server that is up within the context."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with served.lock:
                served.requests.append((self.path, dict(self.headers), body))
                served.busy += 1
                served.most = max(served.most, served.busy)
            try:
                status, headers, content = served.answer(self.path, body)
            finally:
                with served.lock:
                    served.busy -= 1
            try:
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client has gone
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
