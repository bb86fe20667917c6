"""How much longer games take where each turn waits for the longest reply of all, with a server of long-tailed replies.

`pytest tests/benchmarks/test_async_speed.py --benchmark-enable --benchmark-json=out.json` writes one entry for
lock-step and one for `collect.async`. The server is on loopback and computes nothing: a reply has a log-normal number
of tokens, drawn from its seed, and comes after 2 ms for each. Nothing here asserts a time.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from served import serving
from tiny import language_model

from spa_bench import registry
from spa_bench.agents.engines.server import ServerEngine
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player

GAMES, TURNS, LONGEST, A_TOKEN = 32, 8, 400, 0.002
MEDIAN, SIGMA = 15, 1.0
"""Of the log-normal tokens of a reply: 25 on average, 150 and more for one in a hundred."""


def long_tailed(path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
    """What a server of vLLM answers."""
    if path == "/version":
        answer: Any = {"version": "0.31.0"}
    elif path == "/v1/models":
        answer = {"data": [{"id": "tiny-1"}]}
    else:
        drawn = np.random.default_rng(body["seed"]).lognormal(math.log(MEDIAN), SIGMA)
        tokens = min(max(int(drawn), 1), body["max_tokens"])
        time.sleep(A_TOKEN * tokens)
        end = body["stop_token_ids"][0]
        ids = [max(body["stop_token_ids"]) + 1] * (tokens - 1) + [end]
        answer = {"choices": [{"token_ids": ids, "logprobs": {"token_logprobs": [-1.0] * tokens}}]}
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


@pytest.mark.parametrize("soon", [False, True], ids=["lock-step", "async"])
def test_games_with_long_tailed_replies(benchmark: Any, soon: bool) -> None:
    with serving() as server:
        server.answer = long_tailed
        engine = ServerEngine(context=8192, url=server.url.removesuffix("/v1"), in_flight=GAMES)
        agent = language_model(engine=engine, context=8192, max_new_tokens=LONGEST)
        engine.holds = agent  # there are no weights to compare
        player = Player(
            lambda: registry.build("environments", "alfworld", train=GAMES, valid=1, max_steps=TURNS), GAMES
        )
        player.soon = soon
        tasks = player.worlds(GAMES)[0].tasks("train")
        requests = [Request(place, task, place) for place, task in enumerate(tasks)]

        def play() -> int:
            return sum(len(trajectory) for _, trajectory, _ in player.play(requests, agent))

        benchmark.extra_info["steps"] = benchmark.pedantic(play, rounds=3 if benchmark.enabled else 1)
