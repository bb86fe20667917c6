"""Games that do not wait for each other's replies: the same episodes as in lock-step, in any order of replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench import registry
from spa_bench.core import Agent, Conversation, Reply, TextEnv, Trajectory, derive_seed
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player


class AnyOrder(Agent):
    """Another agent, one conversation at a time, drawn from all that wait; knows which are under way."""

    def __init__(self, inner: Agent, seed: int) -> None:
        super().__init__(inner.prompt)
        self.inner, self.rng, self.uses_expert = inner, np.random.default_rng(seed), inner.uses_expert
        self.known: set[int] = set()
        self.most = 0

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        raise AssertionError("not in lock-step")

    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        waiting: list[Conversation] = []
        while waiting or asked:
            while asked:
                waiting.append(asked.popleft())
            self.most = max(self.most, len(waiting))
            assert len({one.id for one in waiting}) == len(waiting), "asked again before the reply"
            one = waiting.pop(int(self.rng.integers(len(waiting))))
            self.known.add(one.id)
            yield one.id, self.inner.act([one])[0]

    def forget(self, ids: Sequence[int]) -> None:
        self.known -= set(ids)


OPTIONS = {"train": 60, "valid": 20, "max_steps": 8}
SHARED: dict[int, TextEnv] = {}


def make(characters: int) -> TextEnv:
    return registry.build("environments", "virtualhome", characters=characters, **OPTIONS)


def requests(characters: int, count: int) -> list[Request]:
    tasks = SHARED.setdefault(characters, make(characters)).tasks("train")[:count]
    return [
        Request(number * characters + character, task, derive_seed(number, character), character)
        for number, task in enumerate(tasks)
        for character in range(characters)
    ]


def play(agent: Agent, player: Player, given: list[Request], budget: int | None = None) -> list[Trajectory]:
    return [trajectory for _, trajectory, _ in player.play(given, agent, budget=budget)]


PLAYERS = {
    (characters, soon): Player(lambda c=characters: make(c), 6, soon) for characters in (1, 2) for soon in (0, 1)
}  # type: ignore[misc]


@max_examples(25)
@given(st.sampled_from([1, 2]), st.none() | st.integers(1, 200), st.integers(0, 2**32), st.sampled_from([0, 1]))
def test_episodes_are_those_of_lock_step_in_whatever_order_replies_come(
    characters: int, budget: int | None, seed: int, shown: int
) -> None:
    """Also where the expert is asked first, and where a budget ends in the middle of a game."""
    name = ("random", "expert")[shown]
    one = registry.build("agents", name, prompt=registry.prompt("action"))
    given = requests(characters, 14)
    mixed = AnyOrder(one, seed)
    assert play(mixed, PLAYERS[characters, 1], given, budget) == play(one, PLAYERS[characters, 0], given, budget)
    assert not mixed.known, "and nothing is kept of games that are over or given up"


def test_all_live_games_are_asked_at_once() -> None:
    """Not one after the other."""
    one = AnyOrder(registry.build("agents", "random", prompt=registry.prompt("action")), 0)
    play(one, PLAYERS[2, 1], requests(2, 6))
    assert one.most == 12
