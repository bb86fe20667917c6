"""One episode in a home as a value: where things are, what each character knows, what was done.

Separate from the environments because a step is the same for one character and for several, in Gymnasium and in
PettingZoo: a function from an episode and what everybody wrote to the next episode. Nothing is changed in place, so a
snapshot is the episode itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

from spa_bench.environments.text import Menu
from spa_bench.environments.virtualhome import naming, words
from spa_bench.environments.virtualhome.engine import GOING, World, admissible
from spa_bench.environments.virtualhome.expert import advise
from spa_bench.environments.virtualhome.goals import Goal, matched, met
from spa_bench.environments.virtualhome.graph import (
    Graph,
    compile_graph,
    to_json,
    with_character,
)
from spa_bench.environments.virtualhome.mind import Command, Mind, Refused, after, awake, read
from spa_bench.environments.virtualhome.planner import plan, remaining
from spa_bench.environments.virtualhome.tasks import Scenario

GAMES = 1024
"""Homes whose names are kept: more than are ever played side by side."""
LONGEST = 100
"""Steps after which the expert gives up."""
TAKEN = "another character was first"
"""Why a character did not get what it could have had."""


@dataclass(frozen=True)
class Episode:
    """An episode at one moment."""

    scenario: Scenario
    world: World
    """Never stepped: a step begins with a copy."""
    minds: tuple[Mind, ...]
    """Of each character, by id."""
    refused: tuple[Refused | None, ...]
    """For each character why its last command was not executed."""
    done: tuple[str, ...]
    """Actions executed so far, by anybody."""
    turns: int

    @property
    def characters(self) -> tuple[int, ...]:
        """Node ids of those who act."""
        return self.scenario.graph.characters[: len(self.minds)]

    def step(self, texts: Sequence[str | None], order: Sequence[int] | None = None) -> Episode:
        """What is after everybody has acted at once: `texts` in the order of characters, any text; None is to look on.

        A command must be possible before the step. Commands are then executed in `order`, positions of characters
        (default: as they are), and one that an earlier one has made impossible is refused with the reason `TAKEN`.
        """
        names, ids = called(self.scenario.graph)
        world, people = self.world.copy(), self.characters
        refused: list[Refused | None] = [None] * len(people)
        done = list(self.done)
        commands: dict[int, Command] = {}
        for place, (text, mind) in enumerate(zip(texts, self.minds, strict=True)):
            if text is None:
                continue
            command = read(text, ids, mind)
            if isinstance(command, Refused):
                refused[place] = command
            elif len(people) > 1 and not (tried := world.copy().execute(*command, people[place])).executed:
                refused[place] = Refused("inadmissible", tried.message)
            else:
                commands[place] = command
        for place in range(len(people)) if order is None else order:
            if place in commands:
                outcome = world.execute(*commands[place], people[place])
                if outcome.executed:
                    done.append(commands[place][0])
                else:
                    reason = TAKEN if len(people) > 1 else outcome.message
                    refused[place] = Refused("inadmissible", reason)
        minds = tuple(
            after(mind, world, names, c, executed=no is None)
            for mind, c, no in zip(self.minds, people, refused, strict=True)
        )
        return replace(self, world=world, minds=minds, refused=tuple(refused), done=tuple(done), turns=self.turns + 1)

    @property
    def goal_text(self) -> str:
        """What is to be done, in the task's words."""
        scenario = self.scenario
        return f"{scenario.title}: {scenario.description}" if scenario.description else scenario.title

    def goal(self, character: int) -> Goal:
        """The goal, with what is asked of the first character asked of this one."""
        goal, first = self.scenario.goal, self.scenario.graph.characters[0]
        if character == first:
            return goal
        own = {first: character}
        states = ([(own.get(n, n), state) for n, state in part] for part in (goal.nodes, goal.absent_states))
        edges = (
            [(own.get(a, a), relation, own.get(b, b)) for a, relation, b in part]
            for part in (goal.edges, goal.absent_edges)
        )
        nodes, absent_states = map(tuple, states)
        present, absent_edges = map(tuple, edges)
        return Goal(nodes, absent_states, present, absent_edges, goal.actions)

    @cached_property
    def conditions(self) -> tuple[bool, ...]:
        """For each condition of the goal whether it holds.

        What is asked of a character, any of them may do, but one and the same all of it.
        """
        return max((met(self.goal(c), self.world, self.done) for c in self.characters), key=sum)

    @cached_property
    def remaining(self) -> int | None:
        """Steps in which one character alone can reach the goal, by the oracle's plan; None where it finds none.

        Where nobody can alone, because each holds something that is needed, it counts both.
        """
        found = (self._left(c, mind) for c, mind in zip(self.characters, self.minds, strict=True))
        alone = min((left for left in found if left is not None), default=None)
        if alone is not None or len(self.minds) == 1:
            return alone
        return remaining(self.world, {c: self.goal(c) for c in self.characters}, self.done)

    def _left(self, character: int, mind: Mind) -> int | None:
        """The oracle may name what the character has not seen; so each room where that is costs the step into it."""
        commands = plan(self.world, character, self.goal(character), self.done)
        if commands is None:
            return None
        unseen = (nodes[0] for action, nodes in commands if action in GOING and nodes[0] not in mind.known)
        rooms = {self.world.room(node) for node in unseen}
        return len(commands) + len(rooms - mind.visited)

    @property
    def essence(self) -> tuple[object, ...]:
        """Equal where all goes on alike: the home, what each character knows, how far the goal's actions are done."""
        minds = tuple((mind.known, mind.visited) for mind in self.minds)
        return self.world.key(), minds, matched(self.scenario.goal, self.done)

    @property
    def names(self) -> Mapping[int, str]:
        """What everything is called, by node."""
        return called(self.scenario.graph)[0]

    def name(self, place: int) -> str:
        """What the character at this position is called."""
        return self.names[self.characters[place]]

    def shown(self, place: int) -> str:
        """What the character at this position is told."""
        told = self.minds[place].observation
        if self.turns:
            return told
        who = f"You are {self.name(place)}. " if len(self.minds) > 1 else ""
        return f"{who}{told}\nYour task is to: {self.goal_text}"

    def info(self, place: int, start_remaining: int) -> dict[str, Any]:
        """What `TextEnv` promises, and what it does not (`env.VirtualHome`), for the character at this position."""
        refused, left, conditions = self.refused[place], self.remaining, self.conditions
        return {
            "task": self.scenario.task,
            "goal": self.goal_text,
            "grounded": refused is None,
            "fault": refused and refused.fault,
            "reason": refused.reason if refused else "",
            "admissible": Menu(partial(self.admissible, place)),
            "success": all(conditions),
            "conditions": conditions,
            "conflict": refused is not None and refused.reason == TAKEN,
            "progress": progress(left, start_remaining),
            "remaining": left,
        }

    def expert_action(self, place: int) -> str:
        """What the searching expert does next as this character, as if it were alone."""
        character, mind = self.characters[place], self.minds[place]
        action, nodes = advise(
            self.world, character, self.goal(character), mind.known, mind.visited, mind.opened, self.done
        )
        return words.sentence(action, tuple(self.names[n] for n in nodes))

    def admissible(self, place: int) -> tuple[str, ...]:
        """Every command that the character could execute now, sorted."""
        names, _ = called(self.scenario.graph)
        found = admissible(self.world, self.characters[place], self.minds[place].known)
        return tuple(sorted(words.sentence(action, tuple(names[n] for n in nodes)) for action, nodes in found))


def progress(remaining: int | None, at_the_start: int) -> float:
    """The oracle's potential: half at the start, 1 when nothing remains, 0 where no way is left."""
    if remaining is None:
        return 0.0
    return max(0.0, 1 - remaining / (2 * at_the_start)) if at_the_start else 1.0


def expert_steps(scenario: Scenario) -> int:
    """Commands that the searching expert needs; `LONGEST` where it does not get there."""
    now = begin(scenario)
    while not all(now.conditions) and now.turns < LONGEST:
        now = now.step([now.expert_action(0)])
    return now.turns


def begin(scenario: Scenario, characters: int = 1) -> Episode:
    """The first moment: each character has looked around. Those that the home has not yet are added to it."""
    if len(scenario.graph.characters) < characters:
        scenario = replace(scenario, graph=_with_company(scenario.graph, characters))
    world = World(scenario.graph)
    names, _ = called(scenario.graph)
    minds = tuple(awake(world, names, scenario.graph.characters[i]) for i in range(characters))
    return Episode(scenario, world, minds, (None,) * characters, (), 0)


@lru_cache(GAMES)
def _with_company(graph: Graph, characters: int) -> Graph:
    """The same home with more characters, each in the room after that of the one before, by id."""
    rooms = sorted(graph.rooms)
    aliases = {name: sorted(classes) for name, classes in graph.aliases.items()}
    while len(graph.characters) < characters:
        here = World(graph).room(graph.characters[-1])
        place = rooms.index(here) + 1 if here is not None else 0
        data = with_character(to_json(graph), rooms[place % len(rooms)])
        graph = compile_graph(data, "a home with company", aliases=aliases)
    return graph


@lru_cache(GAMES)
def called(graph: Graph) -> tuple[Mapping[int, str], Mapping[str, int]]:
    """Names of a graph's nodes, and the nodes of the names."""
    names = naming.names(graph)
    return names, {name: node for node, name in names.items()}
