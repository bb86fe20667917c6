"""The oracle is exact: by search over the whole state space of small games, and by Bellman's equation on large ones."""

import dataclasses
import json
from collections import deque
from collections.abc import Iterator
from functools import cache
from unittest import mock

import alfworld_home
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench.environments.alfworld import expert, generate, oracle, rooms
from spa_bench.environments.alfworld.engine import Engine, Game, State
from spa_bench.environments.alfworld.household import ROOMS
from spa_bench.environments.dice import Dice

WEIGHTS = {"go": 3, "open": 3, "close": 1, "take": 6, "put": 2, "move": 2, "clean": 3, "heat": 3, "cool": 3, "use": 3}


TINY = rooms.Difficulty(
    (4, 6), (0.4, 0.7), same=1, shared=0.3, copies=0.2, buried=0.3, odd=0.3, rooms=tuple(ROOMS), hard=False
)
HOMES = ("default", "hard", "old")
every_home = pytest.mark.parametrize("home", HOMES)


@cache
def games(home: str) -> list[Game]:
    """Thirty games; `old` has the older text, `tiny` is small enough for a search."""
    difficulty, text = {"old": ("default", "2.1.1")}.get(home, (home, "2.1.2"))
    with mock.patch.dict(rooms.DIFFICULTIES, tiny=TINY):
        drawn = generate.games(5, {"train": 18, "valid_seen": 6, "valid_unseen": 6}, difficulty, text)
        return [Game.parse(json.loads(game)) for _, _, game in drawn]


def wander(game: Game, dice: Dice, steps: int) -> Engine:
    """An engine after random commands; verbs that change something come up more often."""
    engine = Engine(game)
    for _ in range(steps):
        verbs = [c.split(" ", 1)[0] for c in engine.admissible]
        known = sorted(set(verbs) & set(WEIGHTS))
        verb = dice.among([v for v in known for _ in range(WEIGHTS[v])])
        engine.step(dice.among([c for c, v in zip(engine.admissible, verbs, strict=True) if v == verb]))
    return engine


def successors(engine: Engine, state: State) -> Iterator[State]:
    engine.restore(state)
    for command in engine.admissible:
        if command.split(" ", 1)[0] in WEIGHTS:
            engine.restore(state)
            engine.step(command)
            yield engine.state
    engine.restore(state)


def facts(state: State) -> tuple[object, ...]:
    """A state without what no goal and no plan depends on."""
    return state._replace(placed=frozenset(), missed=frozenset(), sliced=frozenset())


def search(game: Game, state: State, limit: int) -> int | None:
    """Steps to the goal by breadth-first search through the engine, None beyond `limit` states."""
    engine = Engine(game)
    engine.restore(state)
    if engine.won:
        return 0
    known, queue = {facts(state)}, deque([(state, 0)])
    while queue and len(known) < limit:
        here, steps = queue.popleft()
        for there in successors(engine, here):
            engine.restore(there)
            if engine.won:
                return steps + 1
            if facts(there) not in known:
                known.add(facts(there))
                queue.append((there, steps + 1))
    return None


@given(st.integers(0, 29), st.integers(0, 2**32))
@max_examples(25)
def test_no_search_finds_a_shorter_or_only_a_longer_plan(number, seed):
    game = games("tiny")[number]
    dice = Dice("search", seed)
    state = wander(game, dice, dice.between(0, 12)).state
    found = search(game, state, 4000)
    if found is not None:
        assert oracle.remaining(game, state) == found


@every_home
@given(st.integers(0, 29), st.integers(0, 2**32))
def test_every_state_is_one_step_from_the_best_of_its_successors(home, number, seed):
    # with "0 if and only if won", this equation at every state has the true distances as its only finite solution
    game = games(home)[number]
    dice = Dice("bellman", seed)
    engine = wander(game, dice, dice.between(0, 40))
    state = engine.state
    left = oracle.remaining(game, state)
    assert (left == 0) == engine.won
    if left:
        assert left == 1 + min(oracle.remaining(game, there) for there in successors(engine, state))


@every_home
@given(st.integers(0, 29), st.integers(0, 2**32))
@max_examples(60)
def test_the_plan_wins_in_as_many_steps_as_remain(home, number, seed):
    game = games(home)[number]
    dice = Dice("plan", seed)
    engine = wander(game, dice, dice.between(0, 40))
    commands = oracle.plan(game, engine.state)
    assert len(commands) == oracle.remaining(game, engine.state)
    for done, command in enumerate(commands):
        assert not engine.won
        assert oracle.remaining(game, engine.state) == len(commands) - done
        engine.step(command)
        assert engine.last_executed, command
    assert engine.won


@every_home
def test_the_expert_is_never_faster_than_the_oracle(home):
    for game in games(home):
        assert oracle.remaining(game, Engine(game).state) <= len(expert.solve(game))


def test_all_six_kinds_of_task_are_covered():
    for home in (*HOMES, "tiny"):
        assert {game.goal.kind for game in games(home)} == {"place", "light", "clean", "heat", "cool", "two"}


def test_the_hard_homes_have_the_odd_corners():
    homes = games("hard")
    assert any(len(here) > 1 for game in homes for here in game.receptacles_at.values())
    assert any(
        len({r for x, r in game.initial["inreceptacle"] if x == o}) > 1 for game in homes for o in game.object_type
    )
    assert any(
        game.receptacle_type[r] == "cabinettype" and r not in game.openable for game in homes for r in game.receptacles
    )
    assert any(game.initial["iscool"] for game in homes)


def test_looking_and_slicing_change_nothing():
    game = games("default")[0]
    engine = Engine(game)
    before = oracle.remaining(game, engine.state)
    for command in ("look", "inventory", "help"):
        engine.step(command)
        assert oracle.remaining(game, engine.state) == before


def test_the_same_state_has_the_same_plan():
    game = games("hard")[5]
    state = Engine(game).state
    assert oracle.plan(game, state) == oracle.plan(game, state)


def test_a_state_without_a_plan_is_lost():
    game = games("default")[0]
    engine = Engine(game)
    o = min(o for o in game.pickupable if game.object_type[o] != game.goal.object_type)
    fits = frozenset(pair for pair in game.can_contain if pair[1] != game.object_type[o])
    nowhere = dataclasses.replace(game, can_contain=fits)
    state = engine.state._replace(held=o)
    assert oracle.remaining(nowhere, state) == oracle.LOST
    with pytest.raises(ValueError, match="no plan"):
        oracle.plan(nowhere, state)


def test_an_object_that_still_lies_in_the_target_needs_only_to_be_treated():
    """An apple on the countertop and on the desk, taken from the countertop: heated, it is a hot apple on the desk."""
    game = Game.parse(alfworld_home.home("heat", facts="\n(inReceptacle Apple_bar_2 Desk_bar_1)"))
    engine = Engine(game)
    for command in ("go to countertop 1", "take apple 1 from countertop 1", "go to microwave 1"):
        engine.step(command)
        assert engine.last_executed, command
    assert oracle.remaining(game, engine.state) == 1
    engine.step("heat apple 1 with microwave 1")
    assert engine.won


def test_an_object_that_was_taken_out_of_the_target_has_to_go_back():
    game = Game.parse(alfworld_home.home("heat", facts="\n(inReceptacle Apple_bar_2 Desk_bar_1)"))
    engine = Engine(game)
    for command in ("go to desk 1", "take apple 1 from desk 1"):
        engine.step(command)
        assert engine.last_executed, command
    left = oracle.remaining(game, engine.state)
    assert left == search(game, engine.state, 20_000) == 4  # to the microwave, heat, back, put
