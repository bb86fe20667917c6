"""The searching expert: it solves every task from what it has seen, from wherever an agent has got to."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from functools import cache

import pytest
import virtualhome_home as flat

from spa_bench.environments.virtualhome import episode, generate
from spa_bench.environments.virtualhome.engine import World, admissible, executable
from spa_bench.environments.virtualhome.expert import advise
from spa_bench.environments.virtualhome.goals import Goal, satisfied
from spa_bench.environments.virtualhome.graph import compile_graph, to_json
from spa_bench.environments.virtualhome.planner import plan
from spa_bench.environments.virtualhome.tasks import Scenario

SIZES = {"train": 120, "valid_seen": 20, "valid_unseen": 20}
LEVELS = ("default", "hard")
each_level = pytest.mark.parametrize("level", LEVELS)
MOST = 80
"""Steps after which an episode counts as lost."""
ANNA, KITCHEN, BEDROOM = flat.ANNA, flat.KITCHEN, flat.BEDROOM


@cache
def scenarios(level: str) -> list[Scenario]:
    return [task for made in generate.homes(19, SIZES, level) for task in made.scenarios]


class Player:
    """One character of a world with what it has seen, and the expert beside it."""

    def __init__(self, world: World, goal: Goal, character: int) -> None:
        self.world, self.goal, self.character = world, goal, character
        self.opened: set[int] = set()
        self.known = set(world.graph.rooms | {character})
        self.visited: set[int] = set()
        self.done: list[str] = []
        self.look()

    def look(self) -> None:
        self.known |= self.world.visible(self.character)
        self.visited.add(self.world.room(self.character) or 0)
        self.opened |= {n for n in self.known if "OPEN" in self.world.states(n)}

    def advised(self, world: World) -> tuple[str, tuple[int, ...]]:
        seen = self.known, self.visited, self.opened, self.done
        return advise(world, self.character, self.goal, *seen)

    def wander(self, rng: random.Random, steps: int) -> None:
        for _ in range(steps):
            found = admissible(self.world, self.character, self.known)
            action = rng.choice(sorted({action for action, _ in found}))
            self.step(*rng.choice([step for step in found if step[0] == action]))

    def step(self, action: str, objects: tuple[int, ...]) -> None:
        assert self.known >= set(objects), (action, objects)
        assert self.world.execute(action, objects, self.character).executed, (action, objects)
        self.done.append(action)
        self.look()

    def ask(self) -> tuple[str, tuple[int, ...]]:
        return self.advised(self.world)

    def solve(self) -> int:
        """Steps until the goal is reached."""
        for steps in range(MOST):
            if satisfied(self.goal, self.world, self.done):
                return steps
            self.step(*self.ask())
        raise AssertionError(f"not solved: {self.goal} {self.done[-8:]}")


def player(task: Scenario) -> Player:
    return Player(World(task.graph), task.goal, task.graph.characters[0])


@each_level
def test_every_task_is_solved_naming_only_what_was_seen_in_less_than_twice_the_oracles_steps(level):
    ratios = defaultdict(list)
    for task in scenarios(level):
        best = len(plan(World(task.graph), task.graph.characters[0], task.goal) or ())
        steps = player(task).solve()
        assert steps >= best
        ratios[task.task.kind].append(steps / best)
    every = [ratio for some in ratios.values() for ratio in some]
    assert statistics.mean(every) < 1.6  # measured: 1.39 default, 1.49 hard
    assert all(statistics.mean(some) < 2.4 for some in ratios.values())


@each_level
def test_whatever_an_agent_did_before_it_still_solves_the_task(level):
    rng = random.Random(7)
    for task in scenarios(level):
        played = player(task)
        played.wander(rng, rng.choice((5, 15, 40)))
        played.solve()


def test_its_commands_follow_from_what_is_known_alone():
    rng = random.Random(9)
    for task in scenarios("default")[::3]:
        played = player(task)
        played.wander(rng, rng.choice((0, 4)))
        for _ in range(12):
            command = played.ask()
            assert played.ask() == command
            if not _asks_of_the_unknown(task.goal, played.known):
                assert played.advised(_elsewhere(played)) == command
            played.step(*command)


def test_without_a_memory_of_what_was_open_it_looks_again_and_still_gets_done():
    for task in scenarios("default")[::4]:
        played = player(task)
        while not satisfied(task.goal, played.world, played.done) and len(played.done) < MOST:
            played.step(
                *advise(played.world, played.character, task.goal, played.known, played.visited, (), played.done)
            )
        assert satisfied(task.goal, played.world, played.done)


def _asks_of_the_unknown(goal: Goal, known: set[int]) -> bool:
    return not known >= {n for a, _, b in goal.edges for n in (a, b)} | {n for n, _ in goal.nodes}


def _elsewhere(played: Player) -> World:
    """The same situation, but all that is not known lies on the floor of another room, without a state."""
    data = to_json(played.world)
    rooms = sorted(played.world.graph.rooms)
    for node in data["nodes"]:
        if node["id"] not in played.known:
            node["states"] = []
    data["edges"] = [e for e in data["edges"] if {e["from_id"], e["to_id"]} <= played.known]
    data["edges"] += [
        {"from_id": node["id"], "relation_type": "INSIDE", "to_id": rooms[-1]}
        for node in data["nodes"]
        if node["id"] not in played.known
    ]
    return World(compile_graph(data, "elsewhere"))


def test_it_looks_into_every_room_first_then_into_closed_things_containers_first():
    world = World(compile_graph(flat.home(), "the home"))
    played = Player(world, Goal(edges=((ANNA, "HOLDS", flat.PEN),)), ANNA)
    names = []
    while not satisfied(played.goal, world, played.done):
        action, objects = played.ask()
        names.append(" ".join([action, *[world.graph.classes[n] for n in objects]]))
        played.step(action, objects)
    assert names == ["WALK bedroom", "WALK box", "OPEN box", "GRAB pencil"]
    played = Player(World(world.graph), Goal(edges=((ANNA, "HOLDS", flat.APPLE),)), ANNA)
    assert played.solve() == 6  # into the bedroom, to the box, to the fridge


def test_a_free_hand_is_made_for_opening_and_what_runs_is_switched_off():
    world = World(compile_graph(flat.home(states={flat.FRIDGE: "CLOSED ON"}, without=[flat.BOX, flat.PEN]), "the home"))
    goal = Goal(edges=((flat.APPLE, "ON", flat.TABLE), (flat.SOAP, "ON", flat.TABLE)))
    played = Player(world, goal, ANNA)
    for action, n in (("WALK", flat.KNIFE), ("GRAB", flat.KNIFE), ("WALK", flat.SOAP), ("GRAB", flat.SOAP)):
        played.step(action, (n,))
    for action in ("WALK", "WALK", "SWITCHOFF", "DROP", "OPEN"):
        assert played.ask()[0] == action
        played.step(*played.ask())
    assert world.held(ANNA) == (flat.SOAP,)  # the knife is not needed
    played.solve()


def test_it_gets_up_to_search():
    world = World(compile_graph(flat.home(), "the home"))
    played = Player(world, Goal(edges=((ANNA, "HOLDS", flat.BOOK),)), ANNA)
    played.step("WALK", (flat.CHAIR,))
    played.step("SIT", (flat.CHAIR,))
    assert played.ask() == ("STANDUP", ())
    assert played.solve() == 4


def test_where_nothing_is_left_to_do_its_command_can_still_be_executed():
    world = World(compile_graph(flat.home(), "the home"))
    for goal in (
        Goal(),
        Goal(edges=((flat.TABLE, "INSIDE", BEDROOM),)),
        Goal(edges=((ANNA, "HOLDS", flat.PEN),), nodes=((flat.TABLE, "DIRTY"),)),
    ):
        played = Player(world.copy(), goal, ANNA)
        for _ in range(40):
            played.step(*played.ask())
        played.step("WALK", (flat.CHAIR,))
        played.step("SIT", (flat.CHAIR,))
        for _ in range(3):
            played.step(*played.ask())


def test_two_experts_at_once_get_done_and_never_ask_for_what_cannot_be_done():
    rng = random.Random(1)
    for task in scenarios("default")[:80]:
        begun = episode.begin(task, 2)
        people = begun.scenario.graph.characters
        world, done = World(begun.scenario.graph), []
        players = [Player(world, begun.goal(c), c) for c in people]
        for _ in range(MOST):
            for one in players:
                one.done = done
                assert executable(world, *one.ask(), one.character)
                if rng.random() < 0.2:
                    one.wander(rng, 1)
                else:
                    one.step(*one.ask())
                for other in players:
                    other.look()
            if any(satisfied(one.goal, world, done) for one in players):
                break
        else:
            raise AssertionError(f"not solved: {task.title}")
