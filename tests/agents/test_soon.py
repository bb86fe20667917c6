"""Asynchronous collection (`collect.async`) with a server on loopback: same episodes, and a straggler holds nobody."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from served import Served, serving
from tiny import config, language_model

from spa_bench import registry
from spa_bench.agents.engines.chat_api import ChatAPI
from spa_bench.agents.engines.server import ServerEngine
from spa_bench.core import Agent, Conversation, Message, Trajectory, UserError
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment

WORLD = {"train": 24, "valid": 6, "max_steps": 5}


def served_agent(server: Served, **options: Any) -> Any:
    return language_model(engine=ServerEngine(context=512, url=server.url, retries=0, **options))


def play(agent: Agent, *, soon: bool, games: int = 8, budget: int | None = None) -> list[Trajectory]:
    player = Player(lambda: registry.build("environments", "alfworld", **WORLD), games, soon)
    requests = [Request(n, task, 70 + n) for n, task in enumerate(player.worlds(1)[0].tasks("train")[:games])]
    return [trajectory for _, trajectory, _ in player.play(requests, agent, budget=budget)]


def scattered(server: Served) -> None:
    """Replies take times that have nothing to do with the order of their requests."""
    inner, rng = server.answer, np.random.default_rng(0)

    def answer(path: str, body: Any) -> Any:
        with server.lock:
            wait = float(rng.uniform(0, 0.02))
        threading.Event().wait(wait)
        return inner(path, body)

    server.answer = answer


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_episodes_are_those_of_lock_step_to_the_bit(server: Served, kind: Any) -> None:
    scattered(server)
    agents = [served_agent(server, kind=kind, in_flight=3) for _ in range(2)]
    steps, soon = (play(agent, soon=bool(n)) for n, agent in enumerate(agents))
    assert soon == steps and all(step.tokens for trajectory in soon for step in trajectory.steps)
    assert not agents[1]._live, "nothing is kept of games that are over"
    assert server.most <= 3
    assert agents[1].engine.holds is agents[1], "its first replies were scored"
    assert (agents[1].tokens_read, agents[1].tokens_written) == (agents[0].tokens_read, agents[0].tokens_written)


def test_a_reply_that_takes_long_holds_no_other_game(server: Served) -> None:
    """The first reply of one game comes when all the others have ended: lock-step would wait for it for ever."""
    inner, ended, asked = server.answer, threading.Event(), set[str]()
    agent = served_agent(server)

    def answer(path: str, body: Any) -> Any:
        straggler = path == "/v1/completions" and not asked
        asked.add(path) if path == "/v1/completions" else None
        if straggler and not ended.wait(60):
            return 500, {}, b""
        return inner(path, body)

    server.answer = answer
    player = Player(lambda: registry.build("environments", "alfworld", **WORLD), 6, soon=True)
    requests = [Request(n, task, n) for n, task in enumerate(player.worlds(1)[0].tasks("train")[:6])]
    over: list[int] = []

    def tell(request: Request, _: Trajectory) -> None:
        over.append(request.index)
        if len(over) == 5:
            ended.set()

    played = [trajectory for _, trajectory, _ in player.play(requests, agent, ended=tell)]
    assert len(over) == 6 and [t.error for t in played] == [None] * 6


def test_weights_that_a_server_did_not_take_end_it(server: Served, tmp_path: Path) -> None:
    """Where fewer replies come than are scored, too: one game of one step."""
    server.stale = True
    for games in (1, 12):
        agent = served_agent(server, weights=str(tmp_path))
        with torch.no_grad():
            for weight in agent.model.parameters():
                weight.mul_(1.5)
        with pytest.raises(UserError, match="did not sample with the trainer's weights"):
            play(agent, soon=True, games=games)
        assert agent.engine.holds is None


def test_a_refused_key_ends_it(server: Served) -> None:
    inner = server.answer
    agent = served_agent(server)
    server.answer = lambda path, body: (401, {}, b"") if path == "/v1/completions" else inner(path, body)
    with pytest.raises(UserError, match="the key is missing or wrong"):
        play(agent, soon=True)


def test_a_request_without_an_answer_ends_its_own_game(server: Served) -> None:
    inner, agent, asked = server.answer, served_agent(server), iter(range(1000))
    server.answer = lambda path, body: (400, {}, b"no") if next(asked) == 11 else inner(path, body)
    played, whole = play(agent, soon=True), play(served_agent(server), soon=False)
    (lost,) = [place for place, trajectory in enumerate(played) if trajectory.error is not None]
    assert played[:lost] + played[lost + 1 :] == whole[:lost] + whole[lost + 1 :]
    assert played[lost].steps == whole[lost].steps[: len(played[lost])]


def test_a_chat_that_is_too_long_is_asked_again_with_fewer_turns() -> None:
    with serving() as server:
        inner = server.answer
        said = b"maximum context length is 2 messages"
        server.answer = lambda path, body: (400, {}, said) if len(body["messages"]) > 3 else inner(path, body)

        def agent() -> ChatAPI:
            prompt = registry.prompt("action")
            return ChatAPI(prompt, model="tiny-1", max_new_tokens=6, url=server.url, in_flight=2)

        steps, soon = (play(agent(), soon=one, games=4) for one in (False, True))
        assert soon == steps and all(t.error is None and len(t) > 3 for t in soon)


def talks(count: int) -> Iterator[Conversation]:
    return (Conversation(n, n, [Message("user", "look")]) for n in range(count))


def test_no_further_reply_is_asked_for_where_the_caller_stops(server: Served) -> None:
    """As an interruption does: of twenty conversations at most those under way are still answered."""
    agent = served_agent(server, in_flight=2)
    agent.engine.holds = agent
    before = set(threading.enumerate())
    replies = agent.act_soon(deque(talks(20)))
    next(replies)
    ours = [one for one in threading.enumerate() if one not in before and "work" in one.name]
    replies.close()
    for thread in ours:
        thread.join(30)
    assert len(ours) == 2 and not any(thread.is_alive() for thread in ours)
    assert sum(path == "/v1/completions" for path, *_ in server.requests) <= 4


def test_a_run_is_the_same_run_with_the_same_episodes(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    for soon in (False, True):
        root = tmp_path / str(soon)
        monkeypatch.setenv("SPA_BENCH_CACHE", str(root / "cache"))
        options = {"url": server.url, "weights": str(tmp_path / "weights"), "in_flight": 4}
        model = config().model.model_dump() | {"engine": "server", "engine_options": options}
        one = config(model=model, collect={"async": soon}, ppo=config().ppo.model_dump() | {"iterations": 1})
        folder = experiment.run(one, root, Progress("quiet"))
        assert json.loads((folder / "run.json").read_text())["config"]["collect"] == {"async": soon}
        rows = (folder / "episodes.jsonl").read_text().splitlines()  # held-out ones in the order of their ends
        kept.append((folder.relative_to(root), sorted(rows)))
    assert kept[0] == kept[1]


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_engines_that_sample_in_this_process_are_refused_in_one_line(engine: str) -> None:
    with pytest.raises(UserError, match=r"^collect\.async=true: .* set model\.engine=server, or leave .* out$"):
        config(model={"engine": engine}, collect={"async": True})
    with pytest.raises(UserError, match=r"unknown setting collect\.asynch: did you mean collect\.async\?"):
        config(collect={"asynch": True})
