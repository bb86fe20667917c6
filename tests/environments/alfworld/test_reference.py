"""Our engine against the real one, step by step, on generated games and, where they are, official ones."""

import lzma
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from alfworld_upstream import Upstream

from spa_bench.core import derive_seed
from spa_bench.environments.alfworld import expert, generate
from spa_bench.environments.alfworld.engine import Engine, Game
from spa_bench.environments.alfworld.tasks import folder

pytestmark = pytest.mark.reference

INVALID = ("", "dance", "Look", "go to nowhere 1", "take apple 99 from desk 99", "put apple 1 in/on desk 1", "help")
STEPS = 25


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("textworld", reason="needs the extra: pip install spa-bench[reference]")
    return tmp_path_factory.mktemp("cache")


def compare(path: Path, steps: int = STEPS, led: int = 0) -> None:
    """The expert's first `led` commands, then a walk that tries every verb, and commands that are none."""
    game = Game.load(path)
    ours, theirs = Engine(game), Upstream(path)
    assert ours.reset() == theirs.reset()
    rng = np.random.default_rng(derive_seed("reference", path.parent.name, led))
    plan = expert.solve(game)[:led]
    for turn in range(steps):
        assert (ours.admissible, ours.won) == (theirs.admissible, theirs.won), (path, turn)
        if turn < len(plan):
            command = plan[turn]
        elif rng.random() < 0.15:
            command = INVALID[rng.integers(len(INVALID))]
        else:
            by_verb: dict[str, list[str]] = {}
            for admissible in ours.admissible:
                by_verb.setdefault(admissible.split(" ", 1)[0], []).append(admissible)
            rare = [verb for verb in by_verb if verb not in ("look", "inventory", "help", "examine")]
            commands = by_verb[rare[rng.integers(len(rare))] if rng.random() < 0.8 else "look"]
            command = commands[rng.integers(len(commands))]
        assert ours.step(command) == theirs.step(command), (path, turn, command)
        if ours.won:
            assert theirs.won
            return  # upstream's games end here


@pytest.mark.parametrize(("difficulty", "text"), [("default", "2.1.2"), ("default", "2.1.1"), ("hard", "2.1.2")])
def test_generated_games_play_alike_in_the_real_simulator(
    cache: Path, monkeypatch: pytest.MonkeyPatch, difficulty: str, text: str
) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(cache))
    games = folder(generate.ensure(train=6, valid=1, difficulty=difficulty, text=text))
    for number, task in enumerate(games.tasks("train")):
        compare(games.path(task), led=5 * (number % 2))


def test_the_real_simulator_lets_the_expert_win_generated_games(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(cache))
    games = folder(generate.ensure(train=6, valid=1))
    for task in games.tasks("train"):
        theirs = Upstream(games.path(task))
        theirs.reset()
        for command in expert.solve(games.load(task)):
            theirs.step(command)
        assert theirs.won, task.key


@pytest.mark.official
@pytest.mark.parametrize("release", ["2.1.1", "2.1.3"])
def test_official_games_play_alike_in_the_real_simulator(cache: Path, tmp_path: Path, release: str) -> None:
    chosen = os.environ.get("SPA_BENCH_SHARED")
    shared = Path(chosen) if chosen else Path(__file__).resolve().parents[4] / "shared"
    archive = shared / "data" / "alfworld" / f"alfworld_valid_{release}.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive}: set SPA_BENCH_SHARED")
    with lzma.open(archive) as file, tarfile.open(fileobj=file) as tar:
        tar.extractall(tmp_path, filter="data")
    for number, path in enumerate(sorted(tmp_path.rglob("game.tw-pddl"))[::70]):
        compare(path, led=6 * (number % 2))
