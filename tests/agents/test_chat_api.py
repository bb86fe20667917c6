"""The agent behind a chat API, against a real server on loopback; hostile and dead servers included."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import Served, serving
from strategies import max_examples
from tiny import TEXTS, config, language_model

from spa_bench import registry
from spa_bench.agents.engines.chat_api import ChatAPI, kept
from spa_bench.agents.engines.http import LARGEST, Client
from spa_bench.core import Conversation, Message, UserError
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment

KEY = "sk-0123456789abcdef"
PROMPT = registry.prompt("action")


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def server(running: Served) -> Served:
    running.answer, running.most = running.completion, 0
    running.requests.clear()
    return running


def agent(server: Served, **options: Any) -> ChatAPI:
    """One that does not wait between tries."""
    one = ChatAPI(PROMPT, model="tiny", max_new_tokens=8, url=server.url, **options)
    one.client._sleep = lambda seconds: None
    return one


def talks(count: int = 3) -> list[Conversation]:
    return [Conversation(n, 100 + n, [Message("user", TEXTS[n % len(TEXTS)])]) for n in range(count)]


def answered(content: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(content).encode()


def test_replies_are_those_of_the_model_and_tokens_and_cost_are_counted(server: Served) -> None:
    one, local = agent(server, price_in=2.0, price_out=10.0), language_model()
    local.temperature = 0.0
    there, here = talks(), talks()
    for _ in range(3):
        replies = one.act(there)
        assert [reply.text for reply in replies] == [reply.text for reply in local.act(here)]
        assert all(reply.tokens is None and reply.error is None for reply in replies)
        for conversation, reply in zip(there + here, replies * 2, strict=True):
            conversation.messages += [Message("assistant", reply.text), Message("user", TEXTS[2])]
    spent = one.spent()
    read = sum(len(local.chat.encode(local.chat.prompt(_messages(body)))) for _, _, body in server.requests)
    assert (spent["requests"], spent["prompt_tokens"], spent["served"]) == (9, read, ["tiny-1"])
    assert 0 < spent["completion_tokens"] <= 9 * 8
    assert spent["cost"] == pytest.approx(read * 2e-6 + spent["completion_tokens"] * 1e-5)
    assert one.spent()["requests"] == 0


def _messages(body: Any) -> list[Message]:
    return [Message(**message) for message in body["messages"]]


def test_a_request_says_what_is_set_and_its_seed_is_that_of_the_turn(server: Served) -> None:
    one = agent(server, extra={"reasoning_effort": "low", "max_tokens": 5})
    one.temperature = 0.7
    (talk,) = talks(1)
    one.act([talk])
    talk.messages += [Message("assistant", "x"), Message("user", "lone \ud800 surrogate")]
    one.act([talk])
    (path, headers, first), (_, _, second) = server.requests
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    assert first | {"seed": 0} == {
        "model": "tiny", "messages": [{"role": "user", "content": TEXTS[0]}], "max_tokens": 5,
        "temperature": 0.7, "seed": 0, "reasoning_effort": "low",
    }  # fmt: skip
    assert 0 <= first["seed"] < 2**31 and first["seed"] != second["seed"]
    assert second["messages"][-1]["content"] == "lone ? surrogate"


def test_the_key_is_sent_and_is_in_no_error(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    one = agent(server, key_variable="MY_KEY", retries=1)
    assert one.act(talks(1))[0].error is None
    assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    server.answer = lambda path, body: (400, {}, f'{{"error": "bad key {KEY}"}}'.encode())
    (reply,) = one.act(talks(1))
    assert reply.error is not None and "bad key [key]" in reply.error and KEY not in reply.error
    server.answer = lambda path, body: (401, {}, f"Incorrect API key provided: {KEY[:6]}***".encode())
    with pytest.raises(UserError, match="refuses requests") as refused:
        one.act(talks(2))
    assert KEY[:6] not in str(refused.value)


@pytest.mark.parametrize("wrong", ["sk-two\nlines", "sk-\u00e9", "sk with space"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", wrong)
    with pytest.raises(UserError, match="MY_KEY") as refused:
        Client("http://localhost", key_variable="MY_KEY")
    assert "sk" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://x/v1", f"http://me:{KEY}@x/v1", f"http://x/v1?key={KEY}", "http://[", "http://x:0"]
)  # fmt: skip
def test_an_address_that_is_none_or_holds_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UserError, match=r"model\.engine_options\.url") as refused:
        Client(url, key_variable="SPA_BENCH_API_KEY")
    assert KEY not in str(refused.value)


def test_the_key_itself_as_a_name_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError, match="name of an environment variable") as refused:
        Client("http://localhost", key_variable=KEY)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("failure", [(429, {"Retry-After": "7"}, b""), (500, {}, b"<html>"), (200, {}, b'{"cho')])
def test_what_may_pass_is_tried_again_with_growing_pauses(server: Served, failure: Any) -> None:
    pauses: list[float] = []
    one = agent(server, retries=3)
    one.client._sleep = pauses.append
    left = iter([failure] * 3)
    server.answer = lambda path, body: next(left, None) or server.completion(path, body)
    assert one.act(talks(1))[0].error is None and len(server.requests) == 4
    assert pauses == ([7.0] * 3 if failure[0] == 429 else [0.5, 1.0, 2.0])


def test_half_a_body_is_tried_again(server: Served) -> None:
    left = iter([(200, {"Content-Length": "1000"}, b'{"choices": []}')])
    server.answer = lambda path, body: next(left, None) or server.completion(path, body)
    assert agent(server).act(talks(1))[0].error is None and len(server.requests) == 2


def test_a_server_that_sends_a_byte_at_a_time_is_cut_off_at_the_deadline() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    one = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", key_variable="SPA_BENCH_API_KEY", deadline=0.6)
    began = time.monotonic()
    (error,) = one.post_all("/x", [{}])
    assert "did not answer in time" in str(error) and time.monotonic() - began < 5
    listener.close()
    thread.join(5)


def test_a_body_that_is_too_large_is_not_read(server: Served) -> None:
    server.answer = lambda path, body: (200, {}, b" " * (LARGEST + 2))
    (reply,) = agent(server).act(talks(1))
    assert reply.error == "the server sent more than 16 MiB" and len(server.requests) == 1


def test_a_redirect_is_not_followed(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPA_BENCH_API_KEY", KEY)
    server.answer = lambda path, body: (302, {"Location": server.url + "/elsewhere"}, b"")
    (reply,) = agent(server).act(talks(1))
    assert reply.error is not None and "status 302" in reply.error and len(server.requests) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "usage", "prompt_tokens", "model"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@max_examples(60)
@given(json_values)
def test_any_answer_is_a_reply_or_an_error_of_the_episode(content: Any) -> None:
    one = ChatAPI(PROMPT, model="tiny", max_new_tokens=8, url="http://localhost")
    reply = one._reply(content)
    assert isinstance(reply.text, str) and (reply.error is None or reply.text == "")
    spent = one.spent()
    assert spent["prompt_tokens"] >= 0 and spent["requests"] == 1
    json.dumps(spent)


def test_wrong_types_are_errors_and_no_content_is_an_empty_reply(server: Served) -> None:
    said = {None: "", "": "", "Action: look": "Action: look"}
    for content, text in said.items():
        server.answer = lambda path, body, c=content: answered({"choices": [{"message": {"content": c}}]})
        assert agent(server).act(talks(1))[0].text == text
    for content in (
        [],
        {},
        {"choices": []},
        {"choices": [{"message": {"content": 3}}]},
        {"choices": [{"message": "x"}]},
    ):
        server.answer = lambda path, body, c=content: answered(c)
        assert agent(server).act(talks(1))[0].error


def test_few_requests_are_in_flight(server: Served) -> None:
    inner = server.completion

    def slow(path: str, body: Any) -> Any:
        time.sleep(0.02)
        return inner(path, body)

    server.answer = slow
    assert all(reply.error is None for reply in agent(server, in_flight=3).act(talks(12)))
    assert 1 < server.most <= 3


ASKING = """
import sys
from spa_bench.agents.engines.http import Client
Client(sys.argv[1], key_variable="NO_KEY").post_all("/x", [{}] * 3)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_t19_an_interruption_does_not_wait_for_a_server() -> None:
    """One that takes requests and answers none: for 300 s, and then there are five retries."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        child = subprocess.Popen(
            [sys.executable, "-c", ASKING, url],
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        taken = [listener.accept()[0] for _ in range(3)]
        child.send_signal(signal.SIGINT)
        assert child.wait(120) == -signal.SIGINT
        for connection in taken:
            connection.close()


def test_a_conversation_that_is_too_long_is_sent_with_half_of_its_turns(server: Served) -> None:
    def short(path: str, body: Any) -> Any:
        if len(body["messages"]) > 3:
            return 400, {}, b'{"error": {"code": "context_length_exceeded"}}'
        return server.completion(path, body)

    server.answer = short
    one, (talk,) = agent(server), talks(1)
    for turn in range(4):
        talk.messages += [Message("assistant", f"a{turn}"), Message("user", f"u{turn}")]
    assert one.act([talk])[0].error is None
    assert [len(body["messages"]) for *_, body in server.requests] == [9, 5, 3]
    assert [m["content"] for m in server.requests[-1][2]["messages"]] == [TEXTS[0], "a3", "u3"]
    server.answer = lambda path, body: (400, {}, b"maximum context length")
    reply = one.act([talk])[0]
    assert reply.error is not None and "maximum context" in reply.error
    assert server.requests[-1][2]["messages"] == [{"role": "user", "content": f"{TEXTS[0]}\n\nu3"}]


def test_what_is_kept_of_a_conversation_by_hand() -> None:
    chat = [Message("user", "0"), *(Message(r, f"{r[0]}{n}") for n in (1, 2) for r in ("assistant", "user"))]  # type: ignore[arg-type]
    assert [m.content for m in kept(chat, 0, 1)] == ["0", "a1", "u1", "a2", "u2"]
    assert [m.content for m in kept(chat, 1, 1)] == ["0", "a2", "u2"]
    assert [m.content for m in kept(chat, 2, 1)] == ["0\n\nu2"]
    assert [m.content for m in kept(chat, 1, 3)] == ["0", "a1", "u1\n\nu2"], "the first three are examples and page"


def test_a_prompt_with_a_memory_is_shown_as_it_is_and_shorter_where_that_is_too_long(server: Served) -> None:
    one = agent(server)
    one.prompt, (talk,) = replace(registry.prompt("verl-agent"), memory=2), talks(1)  # type: ignore[type-var]
    talk.goal, talk.admissible = "put a mug in shelf", ["look"]
    for turn in range(3):
        talk.messages += [Message("assistant", f"a{turn}"), Message("user", f"u{turn}")]
    views = list(one.prompt.views(talk.messages, talk.goal, talk.admissible, one.head))
    assert len(views) > 1
    server.answer = lambda path, body: (400, {}, b"maximum context length")
    assert one.act([talk])[0].error
    shown = [[Message(**message) for message in body["messages"]] for *_, body in server.requests]
    assert shown == [list(view) for view in views]


def dead() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def test_a_dead_server_is_an_error_of_the_episode_and_the_others_do_not_wait() -> None:
    pauses: list[float] = []
    one = ChatAPI(PROMPT, model="tiny", max_new_tokens=8, url=dead(), in_flight=1)
    one.client._sleep = pauses.append
    make = lambda: registry.build("environments", "alfworld", train=24, valid=6, max_steps=3)  # noqa: E731
    tasks = make().tasks("valid_seen")
    requests = [Request(i, task, seed=i) for i, task in enumerate(tasks)]
    played = [trajectory for _, trajectory, _ in Player(make, 4).play(requests, one)]
    assert len(played) == 6 and all(t.error and "no answer from 127.0.0.1" in t.error for t in played)
    assert all(t.truncated and not t.steps and not t.success for t in played)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0] * 2, "one request of each batch is tried again"


def test_a_server_that_comes_back_is_asked_again(server: Served) -> None:
    one = agent(server, retries=0, in_flight=1)
    server.answer = lambda path, body: (503, {}, b"")
    assert all(reply.error for reply in one.act(talks())) and len(server.requests) == 1
    server.answer = server.completion
    assert not any(reply.error for reply in one.act(talks()))


def test_evaluation_records_tokens_and_cost_and_no_key(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPA_BENCH_API_KEY", KEY)
    model = {"name": "tiny", "prompt": "action", "engine": "chat-api", "max_new_tokens": 8, "threads": 1}
    own = config(reward="policy", model=model | {"engine_options": {"url": server.url, "price_in": 1.0}})
    folder = experiment.evaluate(own, "policy", None, tmp_path, Progress("quiet"))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    spent = [row for row in rows if row["kind"] == "spent"]
    assert sum(row["requests"] for row in spent) == len(server.requests)
    assert len(spent) == 6 and spent[0]["prompt_tokens"] > 0
    for row in spent:
        assert row["cost"] == pytest.approx(row["prompt_tokens"] / 1e6) and row["served"] == ["tiny-1"]
    episodes = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    assert len(episodes) == 6 and all(episode["error"] is None for episode in episodes)
    assert json.loads((folder / "run.json").read_text())["config"]["model"]["engine"] == "chat-api"
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY in file.read_text(errors="replace")]
    asked = len(server.requests)
    again = experiment.evaluate(own, "policy", None, tmp_path, Progress("quiet"))
    assert again == folder and len(server.requests) == asked, "a finished evaluation asks nothing"


def test_training_with_text_alone_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    own = config(model={"name": "tiny", "engine": "chat-api", "engine_options": {"url": "http://localhost"}})
    with pytest.raises(UserError, match="for `eval --model` only") as refused:
        experiment.run(own, tmp_path, Progress("quiet"))
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


def test_options_that_are_wrong_are_refused_in_one_line() -> None:
    for options, said in (
        ({"ulr": "http://x"}, "did you mean url"),
        ({"model": "x"}, "the run's own"),
        ({"url": 3}, "use a text"),
        ({"url": "http://x", "price_in": -1.0}, "price_in"),
        ({"url": "http://x", "in_flight": 0}, "in_flight=0"),
        ({"url": "http://x", "deadline": 0.0}, "deadline=0"),
    ):
        with pytest.raises(UserError, match=said):
            registry.engine("chat-api", options, prompt=PROMPT, model="tiny", max_new_tokens=8)
