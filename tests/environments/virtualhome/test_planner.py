"""The oracle: its plans work, are short, and shrink by one with every step of them; its sketch is the engine's twin."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from functools import cache

import pytest
import virtualhome_home as flat
import virtualhome_tiny as tiny

from spa_bench.environments.virtualhome import generate, planner
from spa_bench.environments.virtualhome.engine import ARITY, World, admissible, executable
from spa_bench.environments.virtualhome.goals import Goal, satisfied
from spa_bench.environments.virtualhome.graph import Graph, compile_graph, with_character
from spa_bench.environments.virtualhome.planner import plan
from spa_bench.environments.virtualhome.planning.layout import Bits
from spa_bench.environments.virtualhome.planning.sketch import Sketch
from spa_bench.environments.virtualhome.tasks import Scenario

SIZES = {"train": 120, "valid_seen": 20, "valid_unseen": 20}
LEVELS = ("default", "hard")
each_level = pytest.mark.parametrize("level", LEVELS)

ANNA, KITCHEN, BEDROOM = flat.ANNA, flat.KITCHEN, flat.BEDROOM


@cache
def scenarios(level: str) -> list[Scenario]:
    return [task for made in generate.homes(17, SIZES, level) for task in made.scenarios]


@cache
def graph(**states: str) -> Graph:
    """The hand-made home with the states of some nodes replaced; keywords are names of its nodes."""
    return compile_graph(flat.home(states={getattr(flat, name): text for name, text in states.items()}), "the home")


def verbs(commands: tuple[planner.Command, ...] | None) -> str:
    return " ".join(action for action, _ in commands or ())


def forget() -> None:
    for cached in (planner._bits, planner._wishes, planner._needs, planner._concern, planner._planner):
        cached.cache_clear()


def wander(rng: random.Random, world: World, character: int, steps: int) -> list[str]:
    """Random steps that can be executed, each action as likely as any other; the actions."""
    done = []
    for _ in range(steps):
        found = admissible(world, character, world.visible(character))
        action = rng.choice(sorted({action for action, _ in found}))
        world.execute(*rng.choice([step for step in found if step[0] == action]), character)
        done.append(action)
    return done


@each_level
def test_every_generated_task_is_solved_in_no_more_steps_than_its_gold_program_has(level):
    lengths = Counter()
    for task in scenarios(level):
        (character,) = task.graph.characters
        world, done = World(task.graph), []
        commands = plan(world, character, task.goal)
        assert commands and len(commands) <= len(task.program), task.title
        for action, objects in commands:
            assert not satisfied(task.goal, world, done), task.title
            assert world.execute(action, objects, character).executed, task.title
            done.append(action)
        assert satisfied(task.goal, world, done), task.title
        assert plan(world, character, task.goal, done) == ()
        lengths[len(commands)] += 1
    assert min(lengths) >= 1 and max(lengths) >= 8


@each_level
def test_after_the_first_command_the_plan_is_the_rest_wherever_one_has_got_to(level):
    rng = random.Random(5)
    for task in scenarios(level)[::2]:
        (character,) = task.graph.characters
        world = World(task.graph)
        done = wander(rng, world, character, rng.choice((0, 0, 3, 12)))
        commands = plan(world, character, task.goal, done)
        assert commands is not None, (task.title, done)
        for turn, (action, objects) in enumerate(commands):
            world.execute(action, objects, character)
            done.append(action)
            assert plan(world, character, task.goal, done) == commands[turn + 1 :], (task.title, done)


def test_a_plan_is_the_same_whatever_was_asked_before():
    def ask(order):
        forget()
        plans = {}
        for task in order:
            world = World(task.graph)
            rng = random.Random(task.task.key)
            done: list[str] = []
            for turn in range(4):
                plans[task.task.key, turn] = plan(world, task.graph.characters[0], task.goal, done)
                done += wander(rng, world, task.graph.characters[0], 2)
        return plans

    some = scenarios("default")[:50] + scenarios("hard")[:30]
    first = ask(some)
    assert ask(some[::-1]) == first


def test_no_command_of_a_random_agent_is_worth_much_more_or_less_than_a_step():
    rng, change = random.Random(8), Counter()
    for task in scenarios("default"):
        (character,) = task.graph.characters
        world, done, before = World(task.graph), [], len(plan(World(task.graph), *_asked(task)) or ())
        for _ in range(10):
            done += wander(rng, world, character, 1)
            now = len(plan(world, character, task.goal, done) or ())
            change[now - before] += 1
            before = now
    assert change[0] + change[-1] + change[1] > 0.99 * change.total()
    assert min(change) >= -2


def _asked(task: Scenario) -> tuple[int, Goal]:
    return task.graph.characters[0], task.goal


def test_on_tiny_homes_no_plan_is_shorter_and_nearly_all_planned_ones_are_as_short():
    rng, longer = random.Random(2), Counter()
    for _ in range(90):
        home = tiny.home(rng, rng.randint(2, 4), rng.randint(1, 3), rng.choice((0, 0.15)))
        goal = tiny.goal(rng, home)
        commands = plan(World(home), home.characters[0], goal)
        length = 6 if commands is None else len(commands)
        if length <= 6 and (best := tiny.shorter(home, goal, length, 1500)) is not None:
            assert commands is not None or best == length, goal
            longer[length - best] += 1
    assert longer.total() > 70
    assert longer[0] >= 0.95 * longer.total()
    assert min(longer) == 0


@pytest.mark.parametrize("where", ("tiny", "flat"))
def test_what_a_command_makes_of_a_sketch_is_the_sketch_of_what_the_engine_makes(where):
    rng, done, small = random.Random(4), Counter(), where == "tiny"
    for number in range(60 if small else 15):
        home = tiny.home(rng, rng.randint(2, 5), rng.randint(1, 4), rng.choice((0, 0.2))) if small else graph()
        (character,) = home.characters
        things = [n for n in home.nodes if n not in home.rooms and n != character]
        bits = Bits(home)
        sketch = Sketch(bits, character, loose=bits.nodes(bits.takable), spots=things, looks=-1, actions=())
        world, director = World(home), flat.Director(number)
        for _ in range(60 if small else 120):
            step = rng.choice(tiny.moves(world, character)) if small else director.step(world, character)
            if not executable(world, *step, character):
                continue
            director.done[step[0]] += 1
            before, sketched = sketch.moment(world, 0), _is_sketched(step, sketch, world)
            walk = step[0] == "FIND" and not world.near(character, step[1][0])
            world.execute(*step, character)
            if sketched:
                after = sketch.moment(world, 0)
                assert sketch.after(before, ("WALK", step[1]) if walk else step) == after, step
                reached = {n for n in things if after.close & after.layout.contact[n]}
                assert reached == {n for n in things if world.near(character, n)}, step
                done[step[0]] += 1
    assert {"WALK", "GRAB", "PUTBACK", "PUTIN", "DROP", "OPEN", "SIT", "LIE", "STANDUP", "PUTON", "TURNTO"} <= set(done)


def _is_sketched(step: planner.Command, sketch: Sketch, world: World) -> bool:
    """Plans never walk to what they carry, touch rooms or the character, put something back, or run."""
    action, objects = step
    if action in ("PUTOBJBACK", "RUN"):
        return False
    if action in ("WALK", "FIND"):
        place = sketch.moment(world, 0).layout.places.get(objects[0])
        return objects[0] != sketch.character and (place is None or place.room is not None)
    return not {*world.graph.rooms, sketch.character}.intersection(objects)


def test_with_little_knowledge_only_known_things_are_named():
    rng, found = random.Random(3), Counter()
    for task in scenarios("default"):
        (character,) = task.graph.characters
        world = World(task.graph)
        known = set(rng.sample(task.graph.nodes, len(task.graph.nodes) * 3 // 4)) | task.graph.rooms | {character}
        if rng.random() < 0.5:
            known |= planner.needs(task.graph, character, task.goal)
        commands = plan(world, character, task.goal, known=known)
        found[commands is not None] += 1
        if commands is not None:
            assert known >= {n for _, objects in commands for n in objects}
            assert len(commands) >= len(plan(world, character, task.goal) or ())
        else:
            everything = {n for _, objects in plan(world, character, task.goal) or () for n in objects}
            assert not known >= everything | planner.needs(task.graph, character, task.goal)
    assert min(found[True], found[False]) > 30


# Single wishes, in the hand-made home


def solve(goal: Goal, *before: planner.Command, home: Graph | None = None) -> str:
    """The actions of the plan after some commands; each plan is executed and must lead to the goal."""
    world = World(home or graph())
    for action, objects in before:
        assert world.execute(action, objects, ANNA).executed, (action, objects)
    done = [action for action, _ in before]
    commands = plan(world, ANNA, goal, done)
    assert commands is not None
    for action, objects in commands:
        assert world.execute(action, objects, ANNA).executed
        done.append(action)
    assert satisfied(goal, world, done)
    return verbs(commands)


GRAB_SOAP_AND_KNIFE = (("WALK", (flat.SOAP,)), ("GRAB", (flat.SOAP,)), ("WALK", (flat.KNIFE,)), ("GRAB", (flat.KNIFE,)))


def test_what_is_in_a_closed_container_is_got_at_and_the_door_closed_only_where_asked():
    milk = Goal(edges=((flat.MILK, "ON", flat.TABLE),))
    assert solve(milk) == "WALK OPEN GRAB WALK PUTBACK"
    closed = Goal(edges=milk.edges, nodes=((flat.FRIDGE, "CLOSED"),))
    assert solve(closed) == "WALK OPEN GRAB CLOSE WALK PUTBACK"


def test_a_container_is_opened_before_hands_are_full():
    both = Goal(edges=((flat.SOAP, "INSIDE", flat.FRIDGE), (flat.KNIFE, "INSIDE", flat.FRIDGE)))
    assert solve(both) == "WALK GRAB WALK OPEN PUTIN WALK GRAB WALK PUTIN"
    assert solve(both, *GRAB_SOAP_AND_KNIFE) == "WALK DROP OPEN PUTIN GRAB PUTIN"


def test_a_machine_is_filled_then_closed_then_plugged_in_then_switched_on():
    home = graph(FRIDGE="CLOSED OFF PLUGGED_OUT")
    goal = Goal(
        nodes=((flat.FRIDGE, "ON"), (flat.FRIDGE, "CLOSED"), (flat.FRIDGE, "PLUGGED_IN")),
        edges=((flat.CUP, "INSIDE", flat.FRIDGE),),
    )
    assert solve(goal, home=home) == "WALK GRAB WALK OPEN PUTIN CLOSE PLUGIN SWITCHON"


def test_what_runs_is_switched_off_before_it_is_opened_and_on_again_where_asked():
    home = graph(FRIDGE="CLOSED ON PLUGGED_IN")
    assert solve(Goal(nodes=((flat.FRIDGE, "OPEN"),)), home=home) == "WALK SWITCHOFF OPEN"
    goal = Goal(nodes=((flat.FRIDGE, "ON"), (flat.FRIDGE, "CLOSED")), edges=((ANNA, "HOLDS", flat.MILK),))
    assert solve(goal, home=home) == "WALK SWITCHOFF OPEN GRAB CLOSE SWITCHON"
    assert solve(Goal(nodes=((flat.TV, "PLUGGED_OUT"),))) == "WALK SWITCHOFF PLUGOUT"


def test_full_hands_are_emptied_where_things_are_wanted_or_else_on_the_spot():
    table = Goal(edges=((flat.SOAP, "ON", flat.TABLE), (ANNA, "HOLDS", flat.CUP)))
    assert solve(table, *GRAB_SOAP_AND_KNIFE) == "PUTBACK WALK GRAB"
    plate = Goal(edges=((ANNA, "HOLDS", flat.PLATE),))
    assert solve(plate, *GRAB_SOAP_AND_KNIFE) == "DROP GRAB"


def test_the_very_hand_is_taken_where_the_goal_asks_for_it():
    right = Goal(edges=((ANNA, "HOLDS_RH", flat.KNIFE),))
    assert solve(right, *GRAB_SOAP_AND_KNIFE) == "DROP DROP GRAB"
    both = Goal(edges=((ANNA, "HOLDS_LH", flat.CUP), (ANNA, "HOLDS_RH", flat.PLATE)))
    assert solve(both).startswith("WALK GRAB GRAB")


def test_one_gets_up_to_walk_and_sits_down_in_the_end():
    goal = Goal(
        nodes=((ANNA, "SITTING"), (flat.COMPUTER, "ON")), edges=((ANNA, "ON", flat.CHAIR), (ANNA, "FACING", flat.TV))
    )
    assert solve(goal) == "WALK SWITCHON WALK SIT TURNTO"
    sitting = (("WALK", (flat.CHAIR,)), ("SIT", (flat.CHAIR,)))
    assert solve(goal, *sitting) == "STANDUP WALK SWITCHON WALK SIT TURNTO"
    assert solve(Goal(absent_states=((ANNA, "SITTING"),)), *sitting) == "STANDUP"


def test_a_seat_that_faces_something_saves_turning_to_it():
    goal = Goal(edges=((ANNA, "ON", flat.SOFA), (ANNA, "FACING", flat.TV), (ANNA, "FACING", flat.BED)))
    assert solve(goal) == "WALK TURNTO SIT"


def test_any_seat_will_do_where_none_is_named_and_a_full_one_is_cleared():
    assert solve(Goal(nodes=((ANNA, "LYING"),))) == "WALK LIE"
    on_it = (
        ("WALK", (flat.SOAP,)),
        ("GRAB", (flat.SOAP,)),
        ("WALK", (flat.CHAIR,)),
        ("PUTBACK", (flat.SOAP, flat.CHAIR)),
    )
    goal = Goal(edges=((ANNA, "ON", flat.CHAIR), (flat.SOAP, "ON", flat.CHAIR)))
    assert plan(World(graph()), ANNA, goal) is None  # there is one place
    full = Goal(edges=((ANNA, "ON", flat.CHAIR), (ANNA, "HOLDS", flat.SOAP)))
    assert solve(full, *on_it) == "GRAB SIT"


def test_clothes_are_put_on_and_taken_off():
    worn = Goal(edges=((flat.SHIRT, "ON", ANNA),))
    assert solve(worn) == "WALK GRAB PUTON"
    dressed = (("WALK", (flat.SHIRT,)), ("GRAB", (flat.SHIRT,)), ("PUTON", (flat.SHIRT,)))
    assert solve(Goal(absent_edges=((flat.SHIRT, "ON", ANNA),)), *dressed) == "PUTOFF"
    assert solve(Goal(edges=((flat.SHIRT, "ON", flat.BED),)), *dressed) == "GRAB WALK PUTBACK"


def test_things_are_taken_away_and_into_rooms():
    assert solve(Goal(absent_edges=((flat.BOOK, "ON", flat.DESK),))) == "WALK GRAB"
    assert solve(Goal(edges=((flat.BOOK, "INSIDE", KITCHEN),))) == "WALK GRAB WALK"
    assert solve(Goal(absent_edges=((flat.BOOK, "INSIDE", BEDROOM),))) == "WALK GRAB WALK"
    three = Goal(edges=tuple((n, "INSIDE", KITCHEN) for n in (flat.BOOK, flat.KEYBOARD, flat.BOX)))
    assert solve(three).count("DROP") >= 1
    assert solve(Goal(absent_edges=((ANNA, "HOLDS_RH", flat.SOAP),)), *GRAB_SOAP_AND_KNIFE) == "DROP"


def test_being_close_and_in_a_room_comes_last():
    goal = Goal(nodes=((flat.TV, "OFF"),), edges=((ANNA, "CLOSE", flat.SINK), (ANNA, "INSIDE", KITCHEN)))
    assert solve(goal) == "WALK SWITCHOFF WALK"
    here = (("WALK", (flat.SINK,)),)
    assert solve(Goal(absent_edges=((ANNA, "CLOSE", flat.SINK),)), *here) == "WALK"
    assert solve(Goal(absent_edges=((ANNA, "INSIDE", KITCHEN),))) == "WALK"
    faced = (("TURNTO", (flat.TV,)),)
    assert solve(Goal(absent_edges=((ANNA, "FACING", flat.TV),)), *faced) == "TURNTO"


def test_what_lies_in_the_wrong_thing_is_taken_out_of_its_own_destination_first():
    soap_on_box = (
        *(("WALK", (flat.SOAP,)), ("GRAB", (flat.SOAP,)), ("WALK", (flat.BOX,)), ("PUTBACK", (flat.SOAP, flat.BOX))),
        ("GRAB", (flat.BOX,)),
    )
    assert solve(Goal(edges=((flat.BOX, "ON", flat.SOAP),)), *soap_on_box) == "GRAB PUTBACK"
    assert solve(Goal(edges=((flat.BOX, "ON", flat.SOAP),)), *soap_on_box[:-1]) == "GRAB GRAB PUTBACK"


UNPLANNED = {"PUTOBJBACK"}


@pytest.mark.parametrize("verb", sorted(ARITY.keys() - UNPLANNED - {"PUTOFF"}))
def test_every_action_can_be_the_goal(verb):
    assert solve(Goal(actions=(frozenset({verb}),))).split()[-1] == verb


def test_actions_are_done_in_their_order_and_on_what_the_goal_speaks_of():
    goal = Goal(edges=((ANNA, "HOLDS", flat.BOOK),), actions=(frozenset({"READ", "LOOKAT"}),))
    assert solve(goal) == "WALK GRAB READ"
    goal = Goal(nodes=((flat.COMPUTER, "OFF"),), actions=(frozenset({"TYPE"}), frozenset({"SWITCHOFF"})))
    assert solve(goal) == "WALK TYPE SWITCHON SWITCHOFF"
    assert solve(Goal(actions=(frozenset({"GRAB"}), frozenset({"WASH", "RINSE"})))) == "WALK GRAB RINSE"
    tv = Goal(
        nodes=((ANNA, "SITTING"), (flat.TV, "ON")),
        edges=((ANNA, "ON", flat.SOFA),),
        actions=(frozenset({"WATCH", "LOOKAT"}),),
    )
    assert solve(tv) == "WALK SIT WATCH"  # the sofa faces it
    done = ["WATCH"]
    assert verbs(plan(World(graph()), ANNA, tv, done)) == "WALK SIT"


IMPOSSIBLE = {
    "to dirty something": Goal(nodes=((flat.TABLE, "DIRTY"),)),
    "to switch on what has no switch": Goal(nodes=((flat.TABLE, "ON"),)),
    "to have it on and unplugged": Goal(nodes=((flat.STOVE, "ON"), (flat.STOVE, "PLUGGED_OUT"))),
    "to open and close": Goal(nodes=((flat.FRIDGE, "OPEN"), (flat.FRIDGE, "CLOSED"))),
    "to move furniture": Goal(edges=((flat.TABLE, "INSIDE", BEDROOM),)),
    "to hold three things": Goal(edges=tuple((ANNA, "HOLDS", n) for n in (flat.SOAP, flat.KNIFE, flat.CUP))),
    "to sit on two chairs": Goal(edges=((ANNA, "ON", flat.CHAIR), (ANNA, "ON", flat.SOFA))),
    "to sit and lie": Goal(nodes=((ANNA, "SITTING"), (ANNA, "LYING"))),
    "to be in two rooms": Goal(edges=((ANNA, "INSIDE", KITCHEN), (ANNA, "INSIDE", BEDROOM))),
    "to put a thing into itself": Goal(edges=((flat.CUP, "INSIDE", flat.CUP),)),
    "to put a thing in two places": Goal(edges=((flat.CUP, "ON", flat.TABLE), (flat.CUP, "ON", flat.BED))),
    "to put two things on each other": Goal(edges=((flat.CUP, "ON", flat.PLATE), (flat.PLATE, "ON", flat.CUP))),
    "to make somebody else sit": Goal(nodes=((flat.GUEST, "SITTING"),)),
    "to put something between": Goal(edges=((flat.TABLE, "BETWEEN", KITCHEN),)),
    "to face three things": Goal(edges=tuple((ANNA, "FACING", n) for n in (flat.TV, flat.BED, flat.SINK))),
    "to cover something": Goal(actions=(frozenset({"PUTOBJBACK"}),)),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_no_plan_is_made_for_what_cannot_be(what):
    began = time.process_time()
    assert plan(World(graph()), ANNA, IMPOSSIBLE[what]) is None
    assert time.process_time() - began < 20


def test_what_somebody_else_holds_is_not_planned_for():
    home = compile_graph(with_character(flat.home(), KITCHEN), "two people")
    anna, other = home.characters
    world = World(home)
    goal = Goal(edges=((flat.SOAP, "ON", flat.TABLE),))
    world.execute("WALK", (flat.SOAP,), other)
    world.execute("GRAB", (flat.SOAP,), other)
    assert plan(world, anna, goal) is None
    assert verbs(plan(world, other, goal)) == "WALK PUTBACK"
    world.execute("DROP", (flat.SOAP,), other)
    assert verbs(plan(world, anna, goal)) == "WALK GRAB WALK PUTBACK"


def test_what_is_left_can_be_told_even_when_each_has_something_of_the_goal_in_hand():
    home = compile_graph(with_character(flat.home(), KITCHEN), "two people")
    anna, other = home.characters
    world = World(home)
    goal = Goal(edges=((flat.SOAP, "ON", flat.TABLE), (flat.BOOK, "ON", flat.BED)))
    goals = {anna: goal, other: goal}
    assert planner.remaining(world, goals) == len(plan(world, anna, goal) or ()) == 8
    for character, thing in ((anna, flat.SOAP), (other, flat.BOOK)):
        world.execute("WALK", (thing,), character)
        world.execute("GRAB", (thing,), character)
    assert plan(world, anna, goal) is plan(world, other, goal) is None
    assert verbs(plan(world, anna, planner.without_taken(world, anna, goal))) == "WALK PUTBACK"
    assert planner.remaining(world, goals) == 7  # the other drops the book; walk, put, walk, grab, walk, put
    assert planner.remaining(world, {anna: Goal(edges=((anna, "HOLDS", flat.TABLE),))}) is None


def test_a_seat_that_somebody_else_has_is_not_planned_for():
    home = compile_graph(with_character(flat.home(), KITCHEN), "two people")
    anna, other = home.characters
    world = World(home)
    goal = Goal(nodes=((anna, "SITTING"),), edges=((anna, "ON", flat.CHAIR),))
    for action in ("WALK", "SIT"):
        assert world.execute(action, (flat.CHAIR,), other).executed
    assert plan(world, anna, goal) is None


@pytest.mark.timeout(120)
def test_many_things_take_seconds_at_most():
    rng = random.Random(6)
    task = max(scenarios("hard"), key=lambda task: len(task.graph.nodes))
    (character,) = task.graph.characters
    properties = task.graph.properties
    things = [n for n in task.graph.nodes if "GRABBABLE" in properties[n] and "SITTABLE" not in properties[n]]
    places = [n for n in task.graph.nodes if "SURFACES" in properties[n] and n not in things]
    goal = Goal(edges=tuple((n, "ON", rng.choice(places)) for n in things))
    began = time.process_time()
    commands = plan(World(task.graph), character, goal)
    assert commands is not None and len(commands) > len(things)
    assert time.process_time() - began < 20


def test_a_call_takes_a_fraction_of_a_millisecond():
    times = []
    for task in scenarios("default"):
        world, done = World(task.graph), []
        for action, objects in plan(world, *_asked(task)) or ():
            world.execute(action, objects, task.graph.characters[0])
            done.append(action)
            began = time.process_time()
            plan(world, *_asked(task), done)
            times.append(time.process_time() - began)
    assert statistics.median(times) < 0.003  # measured: 0.00006; the machine may be busy
