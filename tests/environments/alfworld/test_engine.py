"""The ALFWorld engine on one hand-made home: every row of upstream's semantics, and each of its traps."""

import pickle
from typing import Any

import pytest
from alfworld_home import TASK, home

from spa_bench.environments.alfworld.engine import Engine, Game, Goal, listed


def play(engine: Engine, *commands: str) -> str:
    """Execute commands, each of which must be admissible; the last observation."""
    text = ""
    for command in commands:
        assert command in engine.admissible, (command, engine.admissible)
        text = engine.step(command)
        assert engine.last_executed
    return text


def start(kind: str = "place", version: str = "2.1.1", **change: Any) -> Engine:
    return Engine(Game.parse(home(kind, version, **change)))


APPLE = ("go to countertop 1", "take apple 1 from countertop 1")
COLD_APPLE = ("go to fridge 1", "open fridge 1", "take apple 2 from fridge 1")
TO_DESK = ("go to desk 1", "put apple 1 in/on desk 1")


def test_names_count_down_along_the_sorted_ids_and_basins_keep_their_own_name() -> None:
    names = Game.parse(home()).names
    assert names["cabinet_bar_1"] == "cabinet 2"
    assert names["cabinet_bar_2"] == "cabinet 1"
    assert names["sink_bar_1_bar_sinkbasin"] == "sinkbasin 1"
    assert names["bathtub_bar_1_bar_bathtubbasin"] == "bathtubbasin 1"
    assert names["loc_bar_bath"] == "loc 7"
    assert names["loc_bar_sink"] == "loc 1"


def test_the_first_observation_lists_receptacles_by_id_not_by_name() -> None:
    assert start().reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see "
        "a bathtubbasin 1, a cabinet 2, a cabinet 1, a countertop 1, a desk 1, a fridge 1, a microwave 1, "
        "and a sinkbasin 1.\n\n" + TASK
    )


@pytest.mark.parametrize(
    ("items", "text"),
    [([], "nothing"), (["a x 1"], "a x 1"), (["a", "b"], "a, and b"), (["a", "b", "c"], "a, b, and c")],
)
def test_lists_are_written_with_a_comma_before_and(items: list[str], text: str) -> None:
    assert listed(items) == text


def test_the_first_commands_are_all_places_and_are_sorted_as_strings() -> None:
    assert start().admissible == (
        "go to bathtubbasin 1",
        "go to cabinet 1",
        "go to cabinet 2",
        "go to countertop 1",
        "go to desk 1",
        "go to fridge 1",
        "go to microwave 1",
        "go to sinkbasin 1",
        "inventory",
        "look",
    )


def test_looking_before_the_first_move_shows_nothing() -> None:
    middle = "You are in the middle of a room. Looking quickly around you, you see nothing."
    assert play(start(), "look") == middle


def test_arriving_names_the_location_in_old_text_and_the_receptacle_in_new_text() -> None:
    assert (
        play(start(), "go to desk 1") == "You arrive at loc 5. On the desk 1, you see a mug 1, a pen 1, and a statue 1."
    )
    new = play(start(version="2.1.2"), "go to desk 1")
    assert new == "You arrive at desk 1. On the desk 1, you see a mug 1, a pen 1, and a statue 1."


def test_a_closed_receptacle_hides_its_contents_until_it_is_opened_and_again_after() -> None:
    engine = start()
    assert play(engine, "go to fridge 1") == "You arrive at loc 4. The fridge 1 is closed."
    assert "close fridge 1" not in engine.admissible
    opened = "The fridge 1 is open. In it, you see a apple 2."
    assert play(engine, "open fridge 1") == f"You open the fridge 1. {opened}"
    assert play(engine, "examine fridge 1") == opened
    assert "open fridge 1" not in engine.admissible
    assert play(engine, "close fridge 1") == "You close the fridge 1."
    assert play(engine, "examine fridge 1") == "The fridge 1 is closed."


def test_a_receptacle_that_shares_the_location_cannot_be_gone_to_but_can_be_used() -> None:
    engine = start()
    play(engine, "go to countertop 1")
    assert engine.step("go to sinkbasin 1") == "Nothing happens."
    assert not engine.last_executed
    assert play(engine, "examine sinkbasin 1") == "On the sinkbasin 1, you see nothing."
    assert play(engine, "look") == "You are facing the countertop 1, and sinkbasin 1. Next to it, you see nothing."


def test_taking_needs_empty_hands_an_open_receptacle_and_a_pickupable_object() -> None:
    engine = start()
    play(engine, "go to fridge 1")
    assert "take apple 2 from fridge 1" not in engine.admissible
    play(engine, "go to desk 1")
    assert "take statue 1 from desk 1" not in engine.admissible
    assert play(engine, "take mug 1 from desk 1") == "You pick up the mug 1 from the desk 1."
    assert "take pen 1 from desk 1" not in engine.admissible
    assert play(engine, "examine desk 1") == "On the desk 1, you see a pen 1, and a statue 1."


def test_putting_needs_an_open_receptacle_that_may_contain_the_type() -> None:
    engine = start()
    play(engine, *APPLE, "go to fridge 1")
    assert "put apple 1 in/on fridge 1" not in engine.admissible
    assert play(engine, "open fridge 1", "put apple 1 in/on fridge 1") == "You put the apple 1 in/on the fridge 1."
    play(engine, "go to desk 1", "take pen 1 from desk 1")
    assert "put pen 1 in/on desk 1" not in engine.admissible


def test_new_text_moves_instead_of_putting() -> None:
    engine = start(version="2.1.2")
    assert play(engine, *APPLE, "go to desk 1", "move apple 1 to desk 1") == "You move the apple 1 to the desk 1."
    assert engine.won


def test_the_inventory_says_what_is_held() -> None:
    engine = start()
    assert play(engine, "inventory") == "You are not carrying anything."
    assert play(engine, *APPLE, "inventory") == "You are carrying: a apple 1."


def test_only_new_text_has_help() -> None:
    text = play(start(version="2.1.2"), "help")
    assert text.startswith("Available commands:\n  look:  ")
    assert text.endswith("using a sharp object\n")
    old = start()
    assert old.step("help") == "Nothing happens."


@pytest.mark.parametrize("command", ["", "dance", "Look", "go to desk", "go to  desk 1", "look\nlook", "look\x00"])
def test_whatever_is_not_listed_changes_nothing(command: str) -> None:
    engine = start()
    before = engine.snapshot()
    assert engine.step(command) == "Nothing happens."
    assert not engine.last_executed
    assert engine.snapshot() is before


def test_white_space_around_a_command_is_ignored() -> None:
    engine = start()
    assert engine.step("  go to desk 1\n").startswith("You arrive")
    assert engine.last_executed


def test_a_lamp_can_be_used_inside_a_closed_cabinet_and_says_on_every_time() -> None:
    engine = start()
    play(engine, "go to cabinet 2")
    assert play(engine, "use desklamp 1") == "You turn on the desklamp 1."
    assert play(engine, "use desklamp 1") == "You turn on the desklamp 1."


def test_only_a_sink_basin_cleans() -> None:
    engine = start()
    play(engine, *APPLE)
    assert play(engine, "clean apple 1 with sinkbasin 1") == "You clean the apple 1 using the sinkbasin 1."
    assert play(engine, "examine apple 1") == "This is a clean apple 1."
    play(engine, "go to bathtubbasin 1")
    assert "clean apple 1 with bathtubbasin 1" not in engine.admissible
    play(engine, "go to desk 1")
    assert not any(command.startswith("clean") for command in engine.admissible)


def test_appliances_work_while_closed_and_undo_each_other() -> None:
    engine = start()
    play(engine, *APPLE, "go to microwave 1")
    assert play(engine, "heat apple 1 with microwave 1") == "You heat the apple 1 using the microwave 1."
    assert play(engine, "examine apple 1") == "This is a hot apple 1."
    play(engine, "go to fridge 1")
    assert play(engine, "cool apple 1 with fridge 1") == "You cool the apple 1 using the fridge 1."
    assert play(engine, "examine apple 1") == "This is a cold apple 1."
    play(engine, "go to microwave 1", "heat apple 1 with microwave 1")
    assert play(engine, "examine apple 1") == "This is a hot apple 1."


def test_what_cannot_be_heated_or_cooled_or_cleaned_is_not_offered() -> None:
    engine = start()
    play(engine, "go to desk 1", "take pen 1 from desk 1", "go to sinkbasin 1")
    play(engine, "go to microwave 1")
    assert not any(command.startswith(("heat", "clean", "cool")) for command in engine.admissible)
    play(engine, "go to fridge 1")
    assert not any(command.startswith(("heat", "clean", "cool")) for command in engine.admissible)


def test_slicing_needs_a_knife_in_hand_and_the_object_at_the_location() -> None:
    engine = start()
    play(engine, "go to countertop 1")
    assert not any(command.startswith("slice") for command in engine.admissible)
    play(engine, "take knife 1 from countertop 1")
    assert play(engine, "slice apple 1 with knife 1") == "You sliced the apple 1 with the knife 1."
    assert "slice apple 1 with knife 1" in engine.admissible
    assert "slice apple 2 with knife 1" not in engine.admissible
    play(engine, "go to fridge 1")
    assert play(engine, "slice apple 2 with knife 1") == "You sliced the apple 2 with the knife 1."


def test_an_object_is_sliced_where_it_was_put_and_no_longer_where_it_was_taken() -> None:
    engine = start()
    play(engine, *APPLE, *TO_DESK, "go to countertop 1", "take knife 1 from countertop 1")
    assert "slice apple 1 with knife 1" not in engine.admissible
    play(engine, "go to desk 1", "slice apple 1 with knife 1")


def test_taking_forgets_only_the_location_of_the_agent() -> None:
    engine = start(facts="(objectAtLocation Apple_bar_1 loc_bar_desk)")
    play(engine, *COLD_APPLE, "go to sinkbasin 1", "put apple 2 in/on sinkbasin 1", "take knife 1 from countertop 1")
    play(engine, "go to desk 1", "slice apple 2 with knife 1")
    play(engine, "go to fridge 1")
    assert "slice apple 2 with knife 1" not in engine.admissible


def test_examining_an_object_needs_it_in_hand() -> None:
    engine = start()
    play(engine, "go to countertop 1")
    assert engine.step("examine apple 1") == "Nothing happens."


@pytest.mark.parametrize(
    ("deeds", "text"),
    [
        ("", "There's nothing special about apple 1."),
        ("slice", "This is a sliced apple 1."),
        ("clean", "This is a clean apple 1."),
        ("clean slice", "This is a clean sliced apple 1."),
        ("heat", "This is a hot apple 1."),
        ("heat slice", "This is a hot sliced apple 1."),
        ("heat clean", "This is a hot and clean apple 1."),
        ("heat clean slice", "This is a hot and clean sliced apple 1."),
        ("cool", "This is a cold apple 1."),
        ("cool slice", "This is a cool sliced apple 1."),
        ("cool clean", "This is a cool and clean apple 1."),
        ("cool clean slice", "This is a cool and clean sliced apple 1."),
    ],
)
def test_the_condition_of_an_object_is_told_in_upstreams_words(deeds: str, text: str) -> None:
    engine = start()
    if "slice" in deeds:
        knife = "knife 1"
        play(engine, "go to countertop 1", f"take {knife} from countertop 1", f"slice apple 1 with {knife}")
        play(engine, f"put {knife} in/on countertop 1", "take apple 1 from countertop 1")
    else:
        play(engine, *APPLE)
    if "clean" in deeds:
        play(engine, "clean apple 1 with sinkbasin 1")
    if "heat" in deeds:
        play(engine, "go to microwave 1", "heat apple 1 with microwave 1")
    if "cool" in deeds:
        play(engine, "go to fridge 1", "cool apple 1 with fridge 1")
    assert play(engine, "examine apple 1") == text


def test_a_vessel_is_looked_into_whatever_its_condition() -> None:
    engine = start(facts="(inReceptacleObject Pen_bar_1 Mug_bar_1)")
    play(engine, "go to desk 1", "take mug 1 from desk 1", "go to sinkbasin 1", "clean mug 1 with sinkbasin 1")
    assert play(engine, "examine mug 1") == "This is a normal mug 1. In it, you see a pen 1."


def test_an_object_taken_and_put_beside_lies_on_the_floor_until_it_is_put_back() -> None:
    engine = start()
    play(engine, *APPLE, "put apple 1 in/on sinkbasin 1")
    floor = "You are facing the countertop 1, and sinkbasin 1. Next to it, you see {}."
    assert play(engine, "look") == floor.format("a apple 1")
    play(engine, "take apple 1 from sinkbasin 1")
    assert play(engine, "look") == floor.format("nothing")
    play(engine, "put apple 1 in/on countertop 1")
    # missed from the sink basin now
    assert play(engine, "look") == floor.format("a apple 1")
    play(engine, "take apple 1 from countertop 1", "put apple 1 in/on sinkbasin 1", "take apple 1 from sinkbasin 1")
    play(engine, "go to desk 1", "put apple 1 in/on desk 1")
    assert play(engine, "look") == "You are facing the desk 1. Next to it, you see nothing."


def test_an_object_in_two_receptacles_can_be_seen_and_held_at_once() -> None:
    engine = start(facts="(inReceptacle Apple_bar_2 Sink_bar_1_bar_SinkBasin)")
    play(engine, *APPLE)
    assert play(engine, "examine sinkbasin 1") == "On the sinkbasin 1, you see a apple 1."
    assert "take apple 1 from sinkbasin 1" not in engine.admissible


def test_placing_the_object_wins_and_taking_it_again_undoes_that() -> None:
    engine = start("place")
    play(engine, *APPLE, "go to desk 1")
    assert not engine.won
    play(engine, "put apple 1 in/on desk 1")
    assert engine.won
    play(engine, "take apple 1 from desk 1")
    assert not engine.won


def test_another_type_in_the_right_receptacle_does_not_win() -> None:
    engine = start("place")
    play(engine, "go to countertop 1", "take knife 1 from countertop 1", "go to desk 1", "put knife 1 in/on desk 1")
    assert not engine.won


def test_light_needs_the_lamp_on_the_object_in_hand_and_the_agent_at_the_lamp_in_any_order() -> None:
    engine = start("light")
    play(engine, "go to cabinet 2", "use desklamp 1", *APPLE)
    assert not engine.won
    play(engine, "go to cabinet 2")
    assert engine.won
    engine.reset()
    play(engine, *APPLE, "go to cabinet 1")
    assert not engine.won
    play(engine, "use desklamp 1")
    assert engine.won


@pytest.mark.parametrize(
    ("kind", "treat"),
    [
        ("clean", ("go to sinkbasin 1", "clean apple 1 with sinkbasin 1")),
        ("heat", ("go to microwave 1", "heat apple 1 with microwave 1")),
        ("cool", ("go to fridge 1", "cool apple 1 with fridge 1")),
    ],
)
def test_a_treated_object_is_asked_for(kind: str, treat: tuple[str, ...]) -> None:
    engine = start(kind)
    play(engine, *APPLE, *TO_DESK)
    assert not engine.won
    play(engine, "take apple 1 from desk 1", *treat, *TO_DESK)
    assert engine.won


def test_an_object_from_the_fridge_is_cool_already() -> None:
    engine = start("cool")
    play(engine, *COLD_APPLE, "go to desk 1", "put apple 2 in/on desk 1")
    assert engine.won


def test_heating_undoes_a_cool_goal() -> None:
    engine = start("cool")
    play(engine, *COLD_APPLE, "go to microwave 1", "heat apple 2 with microwave 1", "go to desk 1")
    play(engine, "put apple 2 in/on desk 1")
    assert not engine.won


def test_two_objects_must_be_in_one_receptacle() -> None:
    extra = "(receptacleType Desk_bar_2 DeskType) (receptacleAtLocation Desk_bar_2 loc_bar_desk)"
    engine = start("two", facts=extra)
    play(engine, *APPLE, "go to desk 1", "put apple 1 in/on desk 1")
    assert not engine.won
    play(engine, *COLD_APPLE, "go to desk 2", "put apple 2 in/on desk 2")
    assert not engine.won
    play(engine, "take apple 2 from desk 2", "put apple 2 in/on desk 1")
    assert engine.won


def test_goals_are_read_with_kind_and_types() -> None:
    assert Game.parse(home("place")).goal == Goal("place", "appletype", "desktype")
    assert Game.parse(home("two")).goal == Goal("two", "appletype", "desktype")
    assert Game.parse(home("light")).goal == Goal("light", "appletype", "desklamptype")
    assert [Game.parse(home(kind)).goal.kind for kind in ("clean", "heat", "cool")] == ["clean", "heat", "cool"]


def test_a_text_version_can_be_forced_on_a_file_of_the_other() -> None:
    new = Engine(Game.parse(home(version="2.1.1"), "2.1.2"))
    play(new, "help", *APPLE, "go to desk 1", "move apple 1 to desk 1")
    old = Engine(Game.parse(home(version="2.1.2"), "2.1.1"))
    assert play(old, "go to desk 1").startswith("You arrive at loc 5.")
    assert "help" not in old.admissible


def test_a_snapshot_is_hashable_picklable_and_independent_of_what_follows() -> None:
    engine = start()
    play(engine, *APPLE)
    state = engine.snapshot()
    admissible = engine.admissible
    play(engine, *TO_DESK)
    assert engine.won
    assert len({state, engine.snapshot()}) == 2
    engine.restore(pickle.loads(pickle.dumps(state)))  # noqa: S301 - our own bytes
    assert engine.snapshot() == state
    assert engine.admissible == admissible
    assert not engine.won
    play(engine, *TO_DESK)
    assert engine.won


def test_two_engines_of_one_game_do_not_touch_each_other() -> None:
    game = Game.parse(home())
    first, second = Engine(game), Engine(game)
    play(first, *COLD_APPLE)
    assert play(second, "go to fridge 1", "open fridge 1").endswith("you see a apple 2.")
