"""What everything in a home is called: one name for each node, the same in instructions, observations and actions.

A name is the class as it is (`kitchen_cabinet`); where a home has several nodes of a class, or where the class itself
ends in a number, the name goes on with a number that counts the class by id: `cup 2`. So no two nodes share a name, and
a name stays what it is whatever happens in the home.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from spa_bench.environments.virtualhome.graph import Graph

_NUMBERED = re.compile(r".* \d+", re.DOTALL)


def names(graph: Graph) -> dict[int, str]:
    """Id -> name, for every node, by id."""
    several = Counter(graph.classes.values())
    count: Counter[str] = Counter()
    found = {}
    for node in graph.nodes:
        name = graph.classes[node]
        if several[name] > 1 or _NUMBERED.fullmatch(name):
            count[name] += 1
            name = f"{name} {count[name]}"
        found[node] = name
    return found


def ids(graph: Graph) -> dict[str, int]:
    """Name -> id, the inverse of `names`."""
    return {name: node for node, name in names(graph).items()}


def with_article(name: str) -> str:
    """A name inside a sentence: `the fridge`, but `cup 2`."""
    return name if _NUMBERED.fullmatch(name) else f"the {name}"


def listing(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)
