"""The searching expert wins from anywhere, and only uses what it was shown."""

import dataclasses
import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench.environments.alfworld import expert, generate
from spa_bench.environments.alfworld.engine import Engine, Game
from spa_bench.environments.alfworld.expert import Expert
from spa_bench.environments.dice import Dice

HOMES = ("default", "hard", "old")
every_home = pytest.mark.parametrize("home", HOMES)
ROOM = "You are in the middle of a room. Looking quickly around you, you see {}.\n\n"
TASK = "Your task is to: {}."


@cache
def games(home: str) -> list[Game]:
    difficulty, text = {"old": ("default", "2.1.1")}.get(home, (home, "2.1.2"))
    drawn = generate.games(3, {"train": 18, "valid_seen": 6, "valid_unseen": 6}, difficulty, text)
    return [Game.parse(json.loads(game)) for _, _, game in drawn]


def begin(task: str, *places: str) -> Expert:
    return Expert(ROOM.format(", ".join(f"a {p}" for p in places)) + TASK.format(task))


def stroll(game: Game, dice: Dice, steps: int) -> tuple[Engine, Expert]:
    """Somebody else's random commands, which the expert watches."""
    engine = Engine(game)
    watcher = Expert(engine.reset())
    for _ in range(steps):
        # by verb first, so that things get taken and put about
        by_verb: dict[str, list[str]] = {}
        for command in engine.admissible:
            by_verb.setdefault(command.split(" ", 1)[0], []).append(command)
        command = dice.among(by_verb[dice.among(sorted(by_verb))]) if dice.chance(0.9) else "dance"
        watcher.observe(command, engine.step(command))
        if engine.won:
            break
    return engine, watcher


def finish(engine: Engine, player: Expert, limit: int = 150) -> list[str]:
    commands: list[str] = []
    while not engine.won and len(commands) < limit:
        commands.append(player.act(engine.admissible))
        player.observe(commands[-1], engine.step(commands[-1]))
        assert engine.last_executed, commands
    assert engine.won, commands
    return commands


@every_home
def test_every_task_is_won_with_admissible_commands_only(home):
    for game in games(home):
        commands = expert.solve(game)
        engine = Engine(game)
        for command in commands:
            assert not engine.won
            assert command in engine.admissible
            engine.step(command)
        assert engine.won


@every_home
@given(st.integers(0, 29), st.integers(0, 2**32))
@max_examples(150)
def test_it_wins_after_whatever_somebody_else_has_done(home, number, seed):
    dice = Dice("stroll", seed)
    engine, player = stroll(games(home)[number], dice, dice.between(0, 40))
    finish(engine, player)


@given(st.integers(0, 29), st.integers(0, 2**32))
@max_examples(50)
def test_it_depends_on_nothing_but_the_visible_history(number, seed):
    dice = Dice("twin", seed)
    engine, player = stroll(games("hard")[number], dice, dice.between(0, 20))
    twin, state = player.copy(), engine.snapshot()
    first = finish(engine, player)
    engine.restore(state)
    assert finish(engine, twin) == first


def test_a_copy_goes_its_own_way():
    player = begin("put a mug in shelf", "countertop 1", "shelf 1")
    twin = player.copy()
    twin.observe("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a mug 1.")
    assert twin.act({"take mug 1 from countertop 1", "go to shelf 1"}) == "take mug 1 from countertop 1"
    assert player.act({"go to countertop 1", "go to shelf 1"}) == "go to countertop 1"


def test_what_needs_no_opening_is_searched_first_in_the_order_of_the_list():
    player = begin("put a mug in shelf", "cabinet 1", "shelf 2", "shelf 1", "countertop 1")
    everywhere = {f"go to {p}" for p in ("cabinet 1", "shelf 2", "shelf 1", "countertop 1")}
    visited = []
    for _ in range(3):
        visited.append(player.act(everywhere))
        place = visited[-1].removeprefix("go to ")
        player.observe(visited[-1], f"You arrive at loc 3. On the {place}, you see nothing.")
    assert visited == ["go to shelf 2", "go to shelf 1", "go to countertop 1"]
    assert player.act(everywhere) == "go to cabinet 1"
    player.observe("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed.")
    assert player.act({*everywhere, "open cabinet 1"} - {"go to cabinet 1"}) == "open cabinet 1"


def test_a_receptacle_at_the_same_place_is_examined_instead_of_gone_to():
    player = begin("put a mug in shelf", "countertop 2", "countertop 1", "shelf 1")
    player.observe("go to countertop 2", "You arrive at countertop 2. On the countertop 2, you see nothing.")
    here = {"examine countertop 2", "examine countertop 1", "go to shelf 1"}
    assert player.act(here) == "examine countertop 1"


def test_a_wrong_object_in_hand_is_put_down_where_that_is_possible():
    player = begin("put a mug in shelf", "fridge 1", "shelf 1", "sinkbasin 1")
    player.observe("take egg 1 from sinkbasin 1", "You pick up the egg 1 from the sinkbasin 1.")
    assert player.act({"move egg 1 to sinkbasin 1", "go to shelf 1"}) == "move egg 1 to sinkbasin 1"
    # a shelf takes no egg; the fridge has to be opened first
    assert player.act({"examine shelf 1", "go to fridge 1", "go to sinkbasin 1"}) == "go to sinkbasin 1"
    assert player.act({"examine fridge 1", "open fridge 1", "go to sinkbasin 1"}) == "open fridge 1"


def test_heat_is_lost_in_the_fridge_and_asked_for_again():
    player = begin("heat some egg and put it in shelf", "shelf 1", "fridge 1", "microwave 1")
    player.observe("take", "You pick up the egg 1 from the shelf 1.")
    player.observe("heat", "You heat the egg 1 using the microwave 1.")
    assert player.act({"go to shelf 1", "heat egg 1 with microwave 1"}) == "go to shelf 1"
    player.observe("cool", "You cool the egg 1 using the fridge 1.")
    assert player.act({"go to shelf 1", "heat egg 1 with microwave 1"}) == "heat egg 1 with microwave 1"


def test_an_object_already_in_place_is_not_taken_out_again():
    player = begin("put two pen in drawer", "desk 1", "drawer 2", "drawer 1")
    player.observe("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see a pen 2.")
    player.observe("go to desk 1", "You arrive at desk 1. On the desk 1, you see a pen 1.")
    assert player.act({"take pen 1 from desk 1", "go to drawer 1"}) == "take pen 1 from desk 1"
    player.observe("take pen 1 from desk 1", "You pick up the pen 1 from the desk 1.")
    assert player.act({"go to drawer 1", "go to drawer 2"}) == "go to drawer 1"


def test_a_refused_command_changes_nothing():
    player = begin("put a mug in shelf", "countertop 1", "shelf 1")
    before = dict(vars(player))
    player.observe("take mug 1 from countertop 1", "Nothing happens.")
    assert vars(player) == before


@pytest.mark.parametrize(
    ("sentence", "understood"),
    [
        ("put a mug in shelf", ("place", "mug", "shelf")),
        ("put some mug on shelf", ("place", "mug", "shelf")),
        ("look at mug under the desklamp", ("light", "mug", "desklamp")),
        ("examine the mug with the desklamp", ("light", "mug", "desklamp")),
        ("put a clean mug in shelf", ("clean", "mug", "shelf")),
        ("clean some mug and put it in shelf", ("clean", "mug", "shelf")),
        ("put a hot mug in shelf", ("heat", "mug", "shelf")),
        ("heat some mug and put it in shelf", ("heat", "mug", "shelf")),
        ("put a cool mug in shelf", ("cool", "mug", "shelf")),
        ("cool some mug and put it in shelf", ("cool", "mug", "shelf")),
        ("put two mug in shelf", ("two", "mug", "shelf")),
        ("find two mug and put them in shelf", ("two", "mug", "shelf")),
    ],
)
def test_all_twelve_task_sentences_are_understood(sentence, understood):
    assert expert._task(f"room\n\n{TASK.format(sentence)}") == understood


def test_a_sentence_in_other_words_is_refused():
    with pytest.raises(ValueError, match="put the mug away"):
        begin("put the mug away", "shelf 1")
    with pytest.raises(ValueError, match="no receptacles"):
        Expert(TASK.format("put a mug in shelf"))


def test_a_game_that_cannot_be_won_is_an_error_and_no_endless_loop():
    game = games("default")[0]
    empty = {**game.initial, "inreceptacle": frozenset()}
    with pytest.raises(RuntimeError, match="not won after 30 steps"):
        expert.solve(dataclasses.replace(game, initial=empty), max_steps=30)
