"""Blocks world: coloured blocks in piles are moved one at a time, until one pile is as asked for."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from spa_bench import World

COLOURS = ("blue", "green", "red", "white", "yellow")
ANY = f"({'|'.join(COLOURS)})"


class State(NamedTuple):
    piles: tuple[tuple[str, ...], ...]  # each from the table up; sorted, as their places do not matter
    tower: tuple[str, ...]  # the pile that is asked for


class Blocks(World[State]):
    name = "blocks"
    instructions = "Move blocks that nothing lies on: `move red onto blue`, `move red to the table`."
    commands = rf"move {ANY} (onto {ANY}|to the table)"

    def draw(self, rng: np.random.Generator) -> State:
        names = rng.permutation(COLOURS)[: int(rng.integers(4, 6))].tolist()
        cuts = [0, *(place for place in range(1, len(names)) if rng.random() < 0.5), len(names)]
        piles = sorted(tuple(names[low:high]) for low, high in pairwise(cuts))
        return State(tuple(piles), tuple(rng.permutation(names)[:3].tolist()))

    def goal(self, state: State) -> str:
        return "make a pile of " + ", then ".join(state.tower) + ", from the table up."

    def page(self, state: State) -> str:
        return "On the table, from below: " + "; ".join(" under ".join(pile) for pile in state.piles) + "."

    def moves(self, state: State) -> dict[str, State]:
        found = {}
        for pile in state.piles:
            *rest, block = pile
            others = [other for other in state.piles if other != pile]
            left = [*others, *([tuple(rest)] if rest else [])]
            if rest:
                found[f"move {block} to the table"] = State(tuple(sorted([*left, (block,)])), state.tower)
            for other in others:
                piles = [one for one in left if one != other] + [(*other, block)]
                found[f"move {block} onto {other[-1]}"] = State(tuple(sorted(piles)), state.tower)
        return found

    def won(self, state: State) -> bool:
        return state.tower in state.piles
