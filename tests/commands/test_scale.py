"""docs/scale.md: its tables are computed here, from the recipes and the estimate of memory.

`python tests/commands/test_scale.py` prints the rows.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))

import torch
from recipe_models import SHAPES, local

from spa_bench.commands.options import Flags
from spa_bench.config import RunConfig
from spa_bench.training.estimate import Network, memory, peak

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
STUDY = {"alfworld": 12, "webshop": 4, "virtualhome": 4}
"""Methods in each world; five seeds of each."""
RECIPES = {"qwen2.5-1.5b-lora": 1, "qwen2.5-1.5b": 1, "qwen2.5-7b-lora": 1, "qwen2.5-7b-fsdp": 8}
"""GPUs of 80 GB that a run takes."""
FLEETS = (1, 8, 64)
STATE = ("weights", "adapter", "masters", "gradients", "Adam", "reference")
"""What is there all the time."""
STEP_TOKENS = 800
SPEED = 0.4 * 989e12
"""Operations of a GPU in a second; these two as in docs/recipes.md."""
REPLY, BANDWIDTH = 100, 3.35e12
"""Tokens of a reply, and bytes that an H100 reads in a second (its data sheet)."""
PRICE = 3
"""Of an hour of a GPU, assumed."""


def configured(recipe: str, world: str) -> RunConfig:
    return Flags(env=world, file=Path(f"recipe:{recipe}")).config(reward="spa")


def hours(recipe: str, world: str) -> float:
    """Of scoring, update and reading of one run, on one GPU: as docs/recipes.md computes it."""
    config = configured(recipe, world)
    weights = Network.of(SHAPES[config.model.name]).parameters
    tokens = config.ppo.iterations * config.ppo.env_steps * STEP_TOKENS
    backward = 4 if config.model.adapter == "none" else 2
    return weights * tokens * (2 + 2 * 2 + config.ppo.epochs * (2 + 2 + backward)) / SPEED / 3600


def least_writing(recipe: str, taken: dict[str, int]) -> float:
    """Hours in ALFWorld in which weights and a full cache are read once for each token that all live games write."""
    config = configured(recipe, "alfworld")
    steps = config.ppo.iterations * config.ppo.env_steps / config.batch * REPLY
    return steps * (taken["weights"] + taken["key-value cache"]) / BANDWIDTH / 3600


def ends(runs: Sequence[float], places: int) -> float:
    """When the last run ends, where the longest begin first and each takes the first place that is free."""
    free = [0.0] * places
    for took in sorted(runs, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + took)
    return max(free)


def memory_row(recipe: str, folder: Path) -> str:
    taken = memory(local(configured(recipe, "alfworld"), folder), torch.bfloat16, 1, cpu=False)
    state = sum(taken[name] for name in STATE)
    cells = [peak(taken)[0], state, taken["activations"] + taken["one layer"], taken["key-value cache"]]
    return f"| `{recipe}` | {' | '.join(f'{cell / 1e9:.0f}' for cell in cells)} | {least_writing(recipe, taken):.1f} |"


def study_row(recipe: str) -> str:
    width = RECIPES[recipe]
    each = {world: hours(recipe, world) for world in STUDY}
    runs = [each[world] for world, methods in STUDY.items() for _ in range(5 * methods)]
    walls = [
        f"{ends([run / width for run in runs], count // width):.0f} h" if count >= width else "-" for count in FLEETS
    ]
    cells = [str(width), " / ".join(f"{took:.1f}" for took in each.values()), f"{sum(runs):,.0f}"]
    return f"| `{recipe}` | {' | '.join([*cells, *walls, f'{sum(runs) * PRICE:,.0f}'])} |"


def rows(folder: Path) -> list[str]:
    return [memory_row(recipe, folder) for recipe in RECIPES] + [study_row(recipe) for recipe in RECIPES]


def test_the_tables_are_what_the_estimate_and_the_recipes_say(tmp_path: Path) -> None:
    found = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `qwen")]
    assert found == (wanted := rows(tmp_path)), "\n" + "\n".join(wanted)


def test_runs_are_dealt_out_by_hand() -> None:
    assert ends([3.0, 2.0, 2.0, 1.0], 2) == 4.0
    assert ends([3.0, 2.0], 8) == 3.0


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        print(*rows(Path(scratch)), sep="\n")
