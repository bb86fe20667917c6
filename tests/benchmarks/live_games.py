"""Memory of so many games under way in one process: `python tests/benchmarks/live_games.py webshop 256 1024`.

Each game is of another task while there are any, in a world of its own as a player has them, eight commands after its
start. Printed as JSON, one line for each number of games: bytes resident beyond those of the process with one game, and
seconds of the processor since then. Linux only.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

from spa_bench import registry
from spa_bench.core import TextEnv

COMMANDS = 8


def resident() -> int:
    """Bytes of this process in memory (VmRSS)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def begun(world: str, number: int) -> TextEnv:
    """One game after some of the commands that its world would execute."""
    env = registry.build("environments", world)
    tasks = env.tasks("train")
    _, info = env.reset(seed=number, options={"task": tasks[number % len(tasks)].key})
    over = bool(info["success"])
    for turn in range(COMMANDS):
        if over:
            break
        possible = info["admissible"]
        _, _, terminated, truncated, info = env.step(possible[(7 * number + 3 * turn) % len(possible)])
        over = terminated or truncated
    return env


def main() -> None:
    """Begin games until there are as many as each number says."""
    world, counts = sys.argv[1], sorted(map(int, sys.argv[2:]))
    games = [begun(world, 0)]
    gc.collect()
    before, clock = resident(), time.process_time()
    for count in counts:
        games += [begun(world, number) for number in range(len(games), count)]
        gc.collect()
        print(
            json.dumps({"games": count, "bytes": resident() - before, "seconds": time.process_time() - clock}),
            flush=True,
        )


if __name__ == "__main__":
    main()
