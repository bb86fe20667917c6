"""Games of all ranks with one server: `accelerate launch ... tests/benchmarks/served_ranks.py WORLD GAMES URL`.

Rank 0 prints JSON: environment steps of all, and seconds of the processor that each rank has played for. Without
`accelerate launch` it is the one rank that there is. `tests` must be on the path.
"""

from __future__ import annotations

import json
import sys
import time

from tiny import language_model

from spa_bench import registry
from spa_bench.agents.engines.server import ServerEngine
from spa_bench.rollout.game import Request
from spa_bench.training import ranks
from spa_bench.training.parallel_play import ParallelPlayer
from spa_bench.training.shared_engine import shared

TURNS = 20


def main(world: str, games: int, url: str) -> None:
    """Play so many games, each of another task, in lock-step."""
    ranks.begin(cpu=True)
    engine = shared(ServerEngine(context=8192, url=url, in_flight=32))
    agent = language_model(engine=engine, context=8192, max_new_tokens=64)
    player = ParallelPlayer(lambda: registry.build("environments", world, max_steps=TURNS), games)
    tasks = player.worlds(games // ranks.size() + 1)[0].tasks("train")
    requests = [Request(place, tasks[place % len(tasks)], place) for place in range(games)]
    ranks.everyone(None)
    engine.holds = agent  # there are no weights to compare
    begun = time.process_time()
    steps = sum(len(episode) for _, episode, _ in player.play(requests, agent))
    seconds = ranks.everyone(time.process_time() - begun)
    if ranks.first():
        print(json.dumps({"steps": steps, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
