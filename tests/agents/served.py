"""A server of OpenAI's chat completions on loopback: a tiny model, played through transformers, behind real HTTP."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from tiny import language_model

from spa_bench.agents.engines import Prompt, Sampling
from spa_bench.agents.engines.transformers import TransformersEngine

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
        self.version, self.longest, self.stale = "0.31.0", 512, False
        """What the token endpoints say of themselves; `stale`: new weights are not taken, without a word."""
        self.adapters: dict[str, Any] = {}
        """Name -> the model with the adapter that was loaded under it."""
        self.last: Any = None

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
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        told = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny-1"}
        return _json({**told, "choices": [choice], "usage": usage})

    def tokens(self, path: str, body: Any) -> Answer:
        """The endpoints of vLLM and SGLang that take and give token ids; replies are sampled with the tiny model."""
        if path in ("/version", "/server_info"):
            return _json({"version": self.version})
        if path == "/v1/models":
            return _json({"data": [{"id": "tiny-1", "max_model_len": self.longest}]})
        if path == "/collective_rpc":
            self._take(body["kwargs"]["weights_path"])
            return _json({"results": [None]})
        if path == "/update_weights_from_disk":
            self._take(body["model_path"])
            return _json({"success": True, "message": ""})
        if path == "/reset_prefix_cache":
            return 200, {}, b""
        if path.endswith("load_lora_adapter"):
            return self._adapter(path, body["lora_name"], body.get("lora_path"))
        own = body["sampling_params"] if path == "/generate" else body
        longest = own["max_new_tokens" if path == "/generate" else "max_tokens"]
        seed = own["sampling_seed" if path == "/generate" else "seed"]
        ids = body["input_ids" if path == "/generate" else "prompt"]
        sampling = Sampling(longest, own["temperature"], frozenset(own["stop_token_ids"]))
        name = body.get("lora_path", "tiny-1") if path == "/generate" else body["model"]
        if name not in ("tiny-1", *self.adapters):
            return (400 if path == "/generate" else 404), {}, b"no such model"
        with self.lock:
            engine = TransformersEngine(self.adapters.get(name, self.agent.model), 512)
            (said,) = engine.generate([Prompt(0, ids, seed)], sampling)
        if path == "/generate":
            triples = [[logprob, token, None] for token, logprob in zip(said.ids, said.logprobs, strict=True)]
            return _json({"text": "", "meta_info": {"output_token_logprobs": triples}})
        choice = {"text": "", "token_ids": said.ids, "logprobs": {"token_logprobs": said.logprobs}}
        return _json({"model": body["model"], "choices": [choice]})

    def _take(self, folder: str) -> None:
        from transformers import AutoModelForCausalLM

        if not self.stale:
            self.agent.model = AutoModelForCausalLM.from_pretrained(folder)

    def _adapter(self, path: str, name: str, folder: str | None) -> Answer:
        """Load or remove one; vLLM answers in plain text, SGLang in JSON. A name is taken once."""
        from peft import PeftModel

        known = name in self.adapters
        if known == (folder is not None):
            return (400 if folder else 404), {}, b"already loaded, or not at all"
        if folder is None:
            self.last = self.adapters.pop(name)
        elif self.stale:
            self.adapters[name] = self.last or self.agent.model
        else:
            base = copy.deepcopy(self.agent.model)
            self.adapters[name] = PeftModel.from_pretrained(base, folder).base_model.model
        done = "Success: as asked."
        return (200, {}, done.encode()) if path.startswith("/v1/") else _json({"success": True, "message": done})


def _json(content: Any) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


@contextmanager
def serving() -> Iterator[Served]:
    """A server that is up within the context."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
            body = json.loads(sent) if sent else None
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

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # with five, a sixth client that connects at once waits for a second

    server = Server(("127.0.0.1", 0), Handler)
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
