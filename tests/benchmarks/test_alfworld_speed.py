"""How fast the ALFWorld engine is, and the real simulator on the same games in the same run, where it is installed.

`pytest tests/benchmarks/test_alfworld_speed.py --benchmark-enable --benchmark-json=out.json` writes one entry for
each; `extra_info` holds what one round did (`steps` or `games`), so that rates and their ratio follow from one file.
Nothing here asserts a time.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alfworld_upstream import Upstream

from spa_bench.environments.alfworld import generate
from spa_bench.environments.alfworld.engine import Engine, Game
from spa_bench.environments.alfworld.env import ALFWorld
from spa_bench.environments.alfworld.oracle import remaining
from spa_bench.environments.alfworld.tasks import folder

GAMES = 6
STEPS = 8
"""Of a game in one round, the same for both engines."""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Games of the official ones' size, which both simulators can read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        games = folder(generate.ensure(train=GAMES, valid=1, difficulty="hard"))
    return [games.path(task) for task in games.tasks("train")]


def walk(world: Engine | Upstream, steps: int) -> None:
    """Random admissible commands; at every step the whole list is read, and whether the game is won."""
    rng = np.random.default_rng(0)
    for choice in rng.random(steps).tolist():
        admissible = world.admissible
        world.step(admissible[int(choice * len(admissible))])
        assert world.won in (True, False)


def play(worlds: list[Any], steps: int) -> None:
    for world in worlds:
        walk(world, steps)


def fresh(games: list[Game]) -> tuple[tuple[list[Engine], int], dict[str, Any]]:
    """Engines that have remembered nothing yet, as those of new episodes; making them is not counted."""
    engines = [Engine(game) for game in games]
    for engine in engines:
        engine.reset()
    return (engines, STEPS), {}


def test_engine_steps_with_the_admissible_list(benchmark: Any, paths: list[Path]) -> None:
    games = [Game.load(path) for path in paths]
    benchmark.extra_info["steps"] = STEPS * GAMES
    benchmark.pedantic(play, setup=lambda: fresh(games), rounds=200, warmup_rounds=2)


def test_textworld_steps_with_the_admissible_list(benchmark: Any, paths: list[Path]) -> None:
    worlds = [Upstream(path) for path in paths]

    def begun() -> tuple[tuple[list[Upstream], int], dict[str, Any]]:
        for world in worlds:
            world.reset()
        return (worlds, STEPS), {}

    benchmark.extra_info["steps"] = STEPS * GAMES
    benchmark.pedantic(play, setup=begun, rounds=3)


def load_and_reset(paths: list[Path]) -> None:
    for path in paths:
        Engine(Game.load(path)).reset()


def test_engine_load_and_reset(benchmark: Any, paths: list[Path]) -> None:
    benchmark.extra_info["games"] = GAMES
    benchmark.pedantic(load_and_reset, (paths,), rounds=20, warmup_rounds=2)


def test_textworld_load_and_reset(benchmark: Any, paths: list[Path]) -> None:
    def upstream() -> None:
        for path in paths:
            Upstream(path).reset()

    benchmark.extra_info["games"] = GAMES
    benchmark.pedantic(upstream, rounds=2)


def test_engine_snapshot_and_restore(benchmark: Any, paths: list[Path]) -> None:
    engine = Engine(Game.load(paths[0]))
    walk(engine, 20)
    benchmark(lambda: engine.restore(engine.snapshot()))


def test_oracle(benchmark: Any, paths: list[Path]) -> None:
    """The price of `info["progress"]`."""
    positions = []
    for path in paths:
        engine = Engine(Game.load(path))
        for _ in range(20):
            walk(engine, 1)
            positions.append((engine.game, engine.state))

    def price_all() -> None:
        for game, state in positions:
            remaining(game, state)

    benchmark.extra_info["steps"] = len(positions)
    benchmark.pedantic(price_all, rounds=10, warmup_rounds=1)


def test_environment_steps(benchmark: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whole steps of the Gymnasium environment: faults, history, progress."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        env = ALFWorld(train=GAMES, valid=1, difficulty="hard")
        keys = [task.key for task in env.tasks("train")]

    def episodes() -> None:
        for key in keys:
            _, info = env.reset(options={"task": key})
            for turn in range(20):
                admissible = info["admissible"]
                _, _, terminated, _, info = env.step(admissible[turn % len(admissible)])
                if terminated:
                    break

    benchmark.extra_info["steps"] = 20 * GAMES
    benchmark.pedantic(episodes, rounds=10, warmup_rounds=1)
