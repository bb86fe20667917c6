"""How stepping is spread over the ranks of a run whose replies come from a server.

`pytest tests/benchmarks/test_ranks_speed.py --benchmark-enable -s` prints for each world the processor time of a step
in one process and in the busier of two ranks. Their ratio is what two idle cores can gain: it is by processor time, not
by a clock. The server is in this process and computes nothing. Nothing here asserts a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from served import serving

LAUNCH = "--num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0 --multi_gpu --num_processes"


def at_once(path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
    """What a server of vLLM answers: fifteen tokens."""
    if path == "/version":
        answer: Any = {"version": "0.31.0"}
    elif path == "/v1/models":
        answer = {"data": [{"id": "tiny-1"}]}
    else:
        ids = [max(body["stop_token_ids"]) + 1] * 14 + [body["stop_token_ids"][0]]
        answer = {"choices": [{"token_ids": ids, "logprobs": {"token_logprobs": [-1.0] * 15}}]}
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def played(count: int, world: str, games: int, url: str) -> dict[str, Any]:
    """What `served_ranks.py` prints of so many ranks."""
    launcher = ["-m", "accelerate.commands.launch", *LAUNCH.split(), str(count)] if count > 1 else []
    words = [*launcher, str(Path(__file__).with_name("served_ranks.py")), world, str(games), url]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    own = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, *words], env=os.environ | own, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("world", ["alfworld", "webshop", "virtualhome"])
def test_stepping_is_spread_over_ranks(benchmark: Any, world: str) -> None:
    if not benchmark.enabled:
        pytest.skip("launches ranks: give --benchmark-enable")
    with serving() as server:
        server.answer = at_once
        url = server.url.removesuffix("/v1")
        one = played(1, world, 128, url)
        two = benchmark.pedantic(played, (2, world, 128, url), rounds=1)
    each = [1e6 * max(found["seconds"]) / found["steps"] for found in (one, two)]
    print(
        f"{world}: {each[0]:.0f} us a step in one process, {each[1]:.0f} in the busier of two: {each[0] / each[1]:.2f}"
    )
    benchmark.extra_info["us a step"] = each
    assert one["steps"] == two["steps"]
