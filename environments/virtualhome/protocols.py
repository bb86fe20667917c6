"""SPA's VirtualHome environment with its defects: protocol `spa-released`, beside our own, `default`.

Separate from the environment, which has none of these unless it is asked for them. Reproduced is what SPA's released
class does on the released simulator (profile `v2`): objects are called by class alone and looked up in four places;
the gold ids of the task are the first of them; text that cannot be read, and a simulator that dies, are answered with
`Error Input. ...`, which SPA's grounding signal takes for an executed step; a graph edge from A to B removes that B is
inside A; and `reset` on the same instance leaves the home as the last episode of the task has left it. Two things are
not: SPA's order of words follows Python's hash seed, and its last resort among objects of a class is drawn from the
global random state. Here words are sorted, and the seed of `reset` decides.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from spa_bench.core import derive_seed
from spa_bench.environments.virtualhome import words
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.episode import Episode
from spa_bench.environments.virtualhome.goals import Goal, from_difference, met
from spa_bench.environments.virtualhome.graph import Graph, compile_graph, to_json
from spa_bench.environments.virtualhome.mind import Command, Refused
from spa_bench.environments.virtualhome.tasks import Homes, Scenario

Protocol = Literal["default", "spa-released"]

LABELS: Mapping[Protocol, str] = {
    "default": "default",
    "spa-released": "spa-released: profile v2, gold ids in names, crashes count as grounded, reset keeps the home",
}
"""What tables show."""

MAX_STEPS = 40
"""SPA's limit."""

ERROR = "Error Input. Your input must contains 'Action: '"
"""SPA's answer to what it cannot read, its English included."""

ADVERTISED = (
    *("CLOSE", "DRINK", "DROP", "EAT", "GRAB", "LIE", "OPEN", "PLUGIN", "PLUGOUT", "POUR", "PULL", "PUSH", "PUTBACK"),
    *("PUTIN", "PUTON", "READ", "RINSE", "SIT", "SLEEP", "STANDUP", "SWITCHOFF", "SWITCHON", "TOUCH", "WALK", "WASH"),
    *("WATCH", "WIPE"),
)
"""Actions that the instructions name, 27 as in SPA's."""

_FORMS = words.forms({**words.COMMANDS, "RELEASE": "release"}, ".*")


@dataclass(frozen=True)
class Released(Episode):
    """An episode in SPA's environment."""

    called: tuple[tuple[str, int], ...] = ()
    """Name -> id, as names were understood last; the gold ids at first."""
    last: int | None = None
    """What was acted on last."""
    seed: int = 0
    told: str = ""

    @cached_property
    def conditions(self) -> tuple[bool, ...]:
        """For each condition of the goal whether it holds."""
        return met(self.scenario.goal, self.world, self.done)

    @cached_property
    def remaining(self) -> int | None:
        """Conditions that do not hold: our oracle plans for the repaired engine only."""
        return self.conditions.count(False)

    @property
    def goal_text(self) -> str:
        """What is to be done, in SPA's words."""
        return f"The task is {self.scenario.title}({self.scenario.description})."

    @property
    def essence(self) -> tuple[object, ...]:
        """As in our own protocol, and how names are understood."""
        return *super().essence, self.called, self.last, self.seed

    def shown(self, place: int) -> str:
        """What SPA tells, which begins with the task alone."""
        return self.told if self.turns else self.goal_text

    def admissible(self, place: int) -> tuple[str, ...]:
        """Steps of the gold program: names are too ambiguous for a list of all that can be done."""
        return (self.expert_action(place),)

    def expert_action(self, place: int) -> str:
        """The gold program's next line; its FIND, which the simulator cannot execute, is said as walking."""
        program = self.scenario.program
        if not program:
            return ""
        line = program[min(self.turns, len(program) - 1)]
        return words.sentence("WALK" if line.action == "FIND" else line.action, line.names)

    def step(self, texts: Sequence[str | None], order: Sequence[int] | None = None) -> Released:
        """What is after the step."""
        return _step(self, texts[0] or "")


def begin(scenario: Scenario, goal: Goal, seed: int, world: World | None = None) -> Released:
    """The first moment; `world` is the home as an earlier episode has left it."""
    graph = without_duplicates(scenario.graph)
    here = replace(scenario, graph=graph, goal=goal)
    gold = tuple({name: node for line in scenario.program for name, node in line.objects}.items())
    world = World(graph, "v2") if world is None else world
    return Released(here, world, (), (None,), (), 0, called=gold, seed=seed)


def goal_of(homes: Homes, scenario: Scenario) -> Goal:
    """SPA's goal: all states of what changed, and all edges that came or went; the task's own without a final graph."""
    final = homes.final(scenario.task)
    if final is scenario.graph:
        return scenario.goal
    return from_difference(scenario.graph, final, f"task {scenario.task.key}", exact_hands=True, whole_states=True)


@lru_cache(64)
def without_duplicates(graph: Graph) -> Graph:
    """The graph as SPA loads it: an edge from A to B removes B INSIDE A, from a list that is being walked through.

    So the edge after each removed one that lies before it is not looked at.
    """
    data = to_json(graph)
    edges = [(e["from_id"], e["relation_type"], e["to_id"]) for e in data["edges"]]
    known, place = set(edges), 0
    while place < len(edges):
        a, _, b = edges[place]
        if (b, "INSIDE", a) in known:
            at = edges.index((b, "INSIDE", a))
            del edges[at]
            known.remove((b, "INSIDE", a))
        place += 1
    data["edges"] = [{"from_id": a, "relation_type": relation, "to_id": b} for a, relation, b in edges]
    return compile_graph(data, "a graph without duplicates")


def instructions() -> str:
    """The head of every prompt: the task's form, the actions, and how failure is answered."""
    forms = ", ".join(words.COMMANDS[action].replace("{}", "{object}") for action in ADVERTISED)
    return (
        "You are in a household. Each turn, think and give one action; you then read what is near you.\n"
        f"Actions: {forms}\n"
        'If the environment says "Nothing happened", the action was not possible: try another one.'
    )


def _step(now: Released, text: str) -> Released:
    world = now.world.copy()
    found = _read(now, text)
    if isinstance(found, str):
        return _after(now, world, ERROR if found == "" else words.NOTHING, found or None)
    (action, nodes), called = found
    outcome = world.execute(action, nodes)
    last = nodes[0] if nodes else now.last
    now = replace(now, called=called, last=last)
    if outcome.crash:
        return _after(now, world, ERROR, None)
    if not outcome.executed:
        return _after(now, world, words.NOTHING, outcome.message)
    now = replace(now, done=(*now.done, action))
    return _after(now, world, observation(world), None)


def _after(now: Released, world: World, told: str, reason: str | None) -> Released:
    refused = None if reason is None else Refused("inadmissible", reason)
    return replace(now, world=world, told=told, refused=(refused,), turns=now.turns + 1)


def _read(now: Released, text: str) -> tuple[Command, tuple[tuple[str, int], ...]] | str:
    """The command and how names are understood from now on; empty text for what SPA cannot read, else a reason."""
    command = text.strip().lower()
    if len(command) > words.LONGEST:
        return ""
    known = _FORMS.get(command.partition(" ")[0], ())
    matches = [(action, match.groups()) for action, form in known if (match := form.fullmatch(command))]
    if len(matches) != 1:
        return ""
    action, names = matches[0]
    called, nodes = dict(now.called), []
    for place, name in enumerate(name.strip().replace(" ", "_") for name in names):
        if len(names) > 1 and place == 0:
            held = [n for n in now.world.held(now.scenario.graph.characters[0]) if _class(now, n) == name]
            if not held:
                return f"{name} is not held"
            node: int | None = held[0]
        else:
            node = _understood(now, called, name)
        if node is None:
            return ""
        called[name] = node
        nodes.append(node)
    return (action, tuple(nodes)), tuple(called.items())


def _understood(now: Released, called: Mapping[str, int], name: str) -> int | None:
    """Whom a class names: as before, else what is close, else what is close to or inside the last thing, else any."""
    graph, world = now.scenario.graph, now.world
    if name in called:
        return called[name]
    near = [n for n in sorted(world.out("CLOSE", graph.characters[0])) if _class(now, n) == name]
    if not near and now.last is not None:
        around = world.out("CLOSE", now.last) | world.into("INSIDE", now.last)
        near = [n for n in sorted(around) if _class(now, n) == name]
    if near:
        return near[-1]
    known = [n for n in graph.nodes if graph.classes[n] == name]
    if not known:
        return None
    return random.Random(derive_seed(now.seed, now.turns, name)).choice(known)


def _class(now: Released, node: int) -> str:
    return now.scenario.graph.classes[node]


def observation(world: World) -> str:
    """What SPA tells after a step: things close to the character with their states, what is on what, what is held."""
    graph = world.graph
    me = graph.characters[0]
    close = world.out("CLOSE", me)
    near = [n for n in sorted(world.visible(me)) if n in close]
    things = [_with_states(world, n) for n in near]
    things += [
        f"{graph.classes[a]} ON {graph.classes[b]}" for a in near for b in sorted(world.out("ON", a)) if b in near
    ]
    held = [graph.classes[n] for n in world.held(me)]
    told = f"{', '.join(things)}. " if things else ""
    kept = f"You have {', '.join(held)}. " if held else ""
    return f"Observation: {told}{kept}"


def _with_states(world: World, node: int) -> str:
    states = sorted(world.states(node))
    return f"{world.graph.classes[node]} is {' and '.join(states)}" if states else world.graph.classes[node]
