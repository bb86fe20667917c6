"""The problem part of a game file: text to facts, and the goal to one of the six known shapes.

Separate from the engine because it is the only place that reads a foreign format. Nothing is guessed: what the six
task types do not use is refused by name, since a misread goal would silently change every number of a benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spa_bench.core import UserError

Facts = dict[str, list[tuple[str, ...]]]
"""Predicate -> its argument tuples, in the order of the file, all lower-case."""

ARITY = {
    "atlocation": 2,
    "receptacletype": 2,
    "receptacleatlocation": 2,
    "objecttype": 2,
    "objectatlocation": 2,
    "inreceptacle": 2,
    "inreceptacleobject": 2,
    "cancontain": 2,
    "openable": 1,
    "opened": 1,
    "isreceptacleobject": 1,
    "pickupable": 1,
    "cleanable": 1,
    "heatable": 1,
    "coolable": 1,
    "sliceable": 1,
    "toggleable": 1,
    "isclean": 1,
    "ishot": 1,
    "iscool": 1,
    "issliced": 1,
    "istoggled": 1,
}
"""The predicates this engine understands, with their number of arguments."""

_STORED = (
    "( and ( exists ( ?r - receptacle ) ( exists ( ?o - object ) ( and ( {0} ?o ) ( objecttype ?o O ) "
    "( receptacletype ?r R ) ( {1} ?o ) ( inreceptacle ?o ?r ) ) ) ) )"
)
_SHAPES = {
    "place": "( and ( exists ( ?r - receptacle ) ( exists ( ?o - object ) ( and ( inreceptacle ?o ?r ) "
    "( objecttype ?o O ) ( receptacletype ?r R ) ) ) ) )",
    "light": "( and ( exists ( ?ot - object ?r - receptacle ?a - agent ?l - location ) ( and ( objecttype ?ot R ) "
    "( toggleable ?ot ) ( istoggled ?ot ) ( receptacleatlocation ?r ?l ) ( atlocation ?a ?l ) ( inreceptacle ?ot ?r ) "
    ") ) ( exists ( ?o - object ?a - agent ) ( and ( objecttype ?o O ) ( holds ?a ?o ) ) ) )",
    "clean": _STORED.format("cleanable", "isclean"),
    "heat": _STORED.format("heatable", "ishot"),
    "cool": _STORED.format("coolable", "iscool"),
    "two": "( and ( exists ( ?r - receptacle ) ( exists ( ?o1 - object ) ( and ( objecttype ?o1 O ) "
    "( receptacletype ?r R ) ( inreceptacle ?o1 ?r ) ( exists ( ?o2 - object ) ( and ( not ( = ?o1 ?o2 ) ) "
    "( objecttype ?o2 O ) ( receptacletype ?r R ) ( inreceptacle ?o2 ?r ) ) ) ) ) ) )",
}


class GameError(UserError):
    """A game file that cannot be played, with the reason and the fix in one line."""


@dataclass(frozen=True)
class Goal:
    """What ends a game as won. Type names are the file's, lower-case: `appletype`, `fridgetype`."""

    kind: str
    """`place`, `light`, `clean`, `heat`, `cool` or `two`."""
    object_type: str
    """Type of the object to be put away; for `light`, of the object to be held."""
    receptacle_type: str
    """Type of the receptacle it belongs in; for `light`, the object type of the lamp."""


def read(problem: str) -> tuple[Facts, Goal]:
    """Facts and goal of a `(define (problem ...) ...)` text. Raises GameError for whatever is not understood."""
    sections = {part[0]: part for part in _tree(problem.lower()) if isinstance(part, list) and part and _word(part[0])}
    for name in (":init", ":goal"):
        if name not in sections:
            raise GameError(f"its problem has no ({name} ...) section")
    if len(sections[":goal"]) != 2:
        raise GameError("its goal is not one expression")
    return _facts(sections[":init"][1:]), _goal(sections[":goal"][1])


def _word(node: Any) -> bool:
    return isinstance(node, str)


def _tree(text: str) -> list[Any]:
    """Nested lists of one parenthesised expression; iterative, so that no file can exhaust the stack."""
    stack: list[list[Any]] = [[]]
    for token in re.findall(r"[()]|[^\s()]+", text):
        if token == "(":
            stack.append([])
        elif token != ")":
            stack[-1].append(token)
        elif len(stack) == 1:
            raise GameError("its problem closes a parenthesis that was never opened")
        else:
            node = stack.pop()
            stack[-1].append(node)
    if len(stack) > 1:
        raise GameError(f"its problem ends inside {len(stack) - 1} open parentheses")
    if len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise GameError("its problem is not one (define ...) expression")
    return stack[0][0]


def _facts(nodes: Iterable[Any]) -> Facts:
    facts: Facts = {name: [] for name in ARITY}
    for node in nodes:
        words = node if isinstance(node, list) else [node]
        if not words or not _word(words[0]):
            raise GameError("its initial state holds something that is no fact")
        name, *arguments = words
        if name == "=":  # costs of the planner, such as (= (totalcost) 0)
            continue
        if name not in ARITY:
            raise GameError(f"its initial state uses the unknown predicate {name!r}")
        if len(arguments) != ARITY[name] or not all(map(_word, arguments)):
            raise GameError(f"its fact {name!r} needs {ARITY[name]} plain arguments")
        facts[name].append(tuple(arguments))
    return facts


def _goal(node: Any) -> Goal:
    words = _words(node)
    for kind, shape in _SHAPES.items():
        pattern = shape.split()
        types: dict[str, set[str]] = {"O": set(), "R": set()}
        if len(words) == len(pattern) and all(_match(*pair, types) for pair in zip(pattern, words, strict=True)):
            object_types, receptacle_types = types["O"], types["R"]
            if len(object_types) == len(receptacle_types) == 1:
                return Goal(kind, object_types.pop(), receptacle_types.pop())
    if "issliced" in words:
        raise GameError("its goal asks for a sliced object, which the text world does not support")
    if {"inreceptacleobject", "isreceptacleobject"} & set(words):
        raise GameError("its goal asks for a movable receptacle, which the text world does not support")
    raise GameError("its goal is none of the six known task types")


def _match(expected: str, word: str, types: dict[str, set[str]]) -> bool:
    if expected not in types:
        return expected == word
    types[expected].add(word)
    return word not in ("(", ")") and not word.startswith("?")


def _words(node: Any) -> list[str]:
    """The tree back as tokens; iterative like `_tree`."""
    words: list[str] = []
    stack: list[Any] = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, list):
            stack.extend([")", *reversed(top), "("])
        else:
            words.append(top)
    return words
