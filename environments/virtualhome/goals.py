"""What is to be brought about: states, relations and actions, from EAI's goal lists or from two graphs.

Separate from the tasks because the environment, the oracle and the loaders all ask the same question of a world, and
because the two published readings of a VirtualHome goal meet here in one form:

- EAI's lists (Embodied Agent Interface): `{"actions": ["LOOKAT|WATCH"], "goal": [{"id", "class_name", "state"} or
  {"from_id", "relation_type", "to_id"}]}`. Kept as listed, CLOSE and FACING included: they were chosen by hand.
- SPA's graph difference: what the final graph has that the initial one has not, and the reverse. CLOSE and FACING
  change with every step and count only on request.

A state is not a relation: `{"id": 5, "state": "ON"}` says that 5 is switched on, `{"from_id": 4, "relation_type": "ON",
"to_id": 5}` that 4 lies on 5. A thing that is to be held may be in either hand, since nobody can choose one: GRAB takes
the right hand while it is free. EAI itself asks for the very hand, and in a few goals for one thing in both hands, as
only profile `v1` allows; `exact_hands` asks for that too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from spa_bench.core import UserError
from spa_bench.environments.virtualhome.engine import ARITY, World
from spa_bench.environments.virtualhome.graph import NOBODY, RELATIONS, STATES, Edge, Graph

HOLDS = "HOLDS"
"""The relation of a goal that either hand fulfils."""
HANDS = ("HOLDS_RH", "HOLDS_LH")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Goal:
    """Conditions that must all hold at once, after the actions were done in their order."""

    nodes: tuple[tuple[int, str], ...] = ()
    """(node, state it must have)."""
    absent_states: tuple[tuple[int, str], ...] = ()
    """(node, state it must not have)."""
    edges: tuple[Edge, ...] = ()
    """(from, relation, to); the relation may be `HOLDS`."""
    absent_edges: tuple[Edge, ...] = ()
    actions: tuple[frozenset[str], ...] = ()
    """For each action that must be executed, on whatever object, the verbs that will do. Others may come between."""

    def __len__(self) -> int:
        """Number of conditions. A goal without any is met from the start."""
        return sum(map(len, (self.nodes, self.absent_states, self.edges, self.absent_edges, self.actions)))


def met(goal: Goal, world: World, done_actions: Sequence[str] = ()) -> tuple[bool, ...]:
    """For each condition, in the order of the fields, whether it holds; `done_actions` are the verbs executed so far.

    Of the actions, those count that were done in order: of `GRAB`, `WASH` after `["WASH", "GRAB"]`, only `GRAB`.
    """
    done = matched(goal, done_actions)
    return (
        *[state in world.states(node) for node, state in goal.nodes],
        *[state not in world.states(node) for node, state in goal.absent_states],
        *[_linked(world, edge) for edge in goal.edges],
        *[not _linked(world, edge) for edge in goal.absent_edges],
        *[turn < done for turn in range(len(goal.actions))],
    )


def satisfied(goal: Goal, world: World, done_actions: Sequence[str] = ()) -> bool:
    """`all(met(...))`. On a world where nothing was done yet it says whether the goal asks for anything at all."""
    for node, state in goal.nodes:
        if state not in world.states(node):
            return False
    for edge in goal.edges:
        if not _linked(world, edge):
            return False
    for node, state in goal.absent_states:
        if state in world.states(node):
            return False
    for edge in goal.absent_edges:
        if _linked(world, edge):
            return False
    return matched(goal, done_actions) == len(goal.actions)


def matched(goal: Goal, done_actions: Iterable[str]) -> int:
    """How many of the goal's actions were done, one after the other."""
    done = 0
    if goal.actions:
        for verb in done_actions:
            if done < len(goal.actions) and verb in goal.actions[done]:
                done += 1
    return done


def from_eai(data: Any, graph: Graph, where: str, *, exact_hands: bool = False) -> Goal:
    """The goal of an EAI list. Raises UserError, with `where`, for what is no such list or does not fit the graph."""
    check = _Checker(where, graph)
    nodes: list[tuple[int, str]] = []
    edges: list[Edge] = []
    for item in check.items(data, "goal"):
        if not isinstance(item, Mapping):
            check.fail(f"has the goal {_shown(item)}, which is no JSON object")
        if "state" in item:
            nodes.append(check.state(item))
        else:
            edges.append(check.edge(item, exact_hands))
    actions = tuple(check.verbs(item) for item in check.items(data, "actions"))
    return Goal(nodes=_once(nodes), edges=_once(edges), actions=actions)


def from_difference(
    initial: Graph,
    final: Graph,
    where: str,
    *,
    close: bool = False,
    facing: bool = False,
    exact_hands: bool = False,
    whole_states: bool = False,
) -> Goal:
    """What changed between two graphs of one home: states and edges that came, and those that went.

    `close` and `facing` count these relations too. With `whole_states` a node of which any state changed must end with
    exactly the states of the final graph, as SPA's environment asks; without, only what changed is asked for. Raises
    UserError, with `where`, where the graphs have different nodes.
    """
    if initial.nodes != final.nodes:
        raise UserError(f"{where}: initial and final graph have different nodes: take both from one task")
    came: list[tuple[int, str]] = []
    went: list[tuple[int, str]] = []
    for node in initial.nodes:
        before, after = initial.states[node], final.states[node]
        if before != after:
            came += [(node, state) for state in sorted(after if whole_states else after - before)]
            went += [(node, state) for state in sorted((STATES if whole_states else before) - after)]
    left_out = {name for name, wanted in (("CLOSE", close), ("FACING", facing)) if not wanted}

    def asked(old: Graph, new: Graph) -> tuple[Edge, ...]:
        edges = [edge for edge in lost(old, new) if edge[1] not in left_out]
        return _once(sorted(edges if exact_hands else _in_any_hand(edges, new)))

    return Goal(
        nodes=tuple(came),
        absent_states=tuple(went),
        edges=asked(final, initial),
        absent_edges=asked(initial, final),
    )


def lost(old: Graph, new: Graph) -> Iterator[Edge]:
    """Edges of one graph that the other one has not, in no order."""
    for relation in RELATIONS:
        there = new.out[relation]
        for node, to in old.out[relation].items():
            for other in to - there.get(node, NOBODY):
                yield node, relation, other


def _linked(world: World, edge: Edge) -> bool:
    a, relation, b = edge
    if relation == HOLDS:
        return b in world.out("HOLDS_RH", a) or b in world.out("HOLDS_LH", a)
    return b in world.out(relation, a)


def _in_any_hand(edges: Iterable[Edge], new: Graph) -> Iterator[Edge]:
    """The edges with `HOLDS` for either hand, without what the other graph has in the other hand."""
    for a, relation, b in edges:
        if relation not in HANDS:
            yield a, relation, b
        elif not any(b in new.out[hand].get(a, NOBODY) for hand in HANDS):
            yield a, HOLDS, b


def _once(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))


def _shown(value: object) -> str:
    return f"{value!r:.60}" if isinstance(value, (str, float, type(None))) else f"a {type(value).__name__}"


class _Checker:
    """Reads a goal list that may be anything, and says where it is wrong."""

    def __init__(self, where: str, graph: Graph) -> None:
        self.where, self.graph = where, graph

    def fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.where} {what}: mend it or take another task")

    def items(self, data: Any, key: str) -> list[Any]:
        if not isinstance(data, Mapping) or not isinstance(data.get(key), list):
            self.fail(f"has no goal, which is a JSON object with a list {key!r}")
        return list(data[key])

    def node(self, item: Mapping[str, Any], key: str) -> int:
        node = item.get(key)
        if type(node) is not int or node not in self.graph.classes:
            self.fail(f"has a goal whose {key!r} is {_shown(node)}, which is no node of its home")
        return node

    def state(self, item: Mapping[str, Any]) -> tuple[int, str]:
        node, state, name = self.node(item, "id"), item["state"], item.get("class_name")
        if not isinstance(state, str) or state not in STATES:
            self.fail(f"has a goal with the state {_shown(state)}, which is none of {sorted(STATES)}")
        if name is not None and name != self.graph.classes[node]:
            self.fail(f"has a goal for {_shown(name)} {node}, which is a {self.graph.classes[node]} in its home")
        return node, state

    def edge(self, item: Mapping[str, Any], exact_hands: bool) -> Edge:
        relation = item.get("relation_type")
        if not isinstance(relation, str) or relation not in RELATIONS:
            self.fail(f"has a goal with the relation {_shown(relation)}, which is none of {list(RELATIONS)}")
        if relation in HANDS and not exact_hands:
            relation = HOLDS
        return self.node(item, "from_id"), relation, self.node(item, "to_id")

    def verbs(self, item: object) -> frozenset[str]:
        """`A|B`: either will do."""
        verbs = frozenset(item.split("|")) if isinstance(item, str) else frozenset()
        if not verbs or not verbs <= ARITY.keys():
            self.fail(f"has the goal action {_shown(item)}, which is no executable action, nor several joined by |")
        return verbs
