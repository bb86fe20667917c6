"""The released VirtualHome engine 2.3.0, where it is installed, driven like ours.

It cannot be an extra of ours: it pins networkx==2.3 and opencv. `pip install --no-deps virtualhome==2.3.0` is
enough, because only its graph engine is loaded, from the package's folder and not through the package, whose own
import fails.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spa_bench.environments.virtualhome.engine import Outcome

DEATHS = (AssertionError, AttributeError, KeyError, TypeError)
"""What it dies of, beside its own parser's error; anything else fails the test."""
REASON = "needs the released engine: pip install --no-deps virtualhome==2.3.0"


def load() -> Any:
    """Upstream's modules `execution` and `utils`; skips the test where it is not installed."""
    spec = importlib.util.find_spec("virtualhome")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(REASON)
    folder = Path(next(iter(spec.submodule_search_locations))) / "simulation"
    before = random.getstate()  # upstream seeds the global generator when it is imported
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("evolving_graph.execution"), importlib.import_module("evolving_graph.utils")
    finally:
        sys.path.remove(str(folder))
        random.setstate(before)


@contextmanager
def ties_by_id() -> Iterator[None]:
    """Let upstream take, of equally good nodes, rooms first and then the smallest id, and not what a set gives first.

    This is its defect 17, without which no two runs need agree.
    """
    execution, _ = load()
    state = execution.EnvironmentState
    unordered = state.get_nodes_from

    def ordered(self: Any, node: Any, relation: Any) -> Any:
        return sorted(unordered(self, node, relation), key=lambda n: (n.category != "Rooms", n.id))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "get_nodes_from", ordered)
        yield


class Upstream:
    """A home in the released engine, with one executor for each character."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.execution, _ = load()
        self.graph = self.execution.EnvironmentGraph(data)
        self.state = self.execution.EnvironmentState(self.graph, {}, instance_selection=True)
        ids = sorted(n["id"] for n in data["nodes"] if n["class_name"] == "character")
        self.executors = {i: self.execution.ScriptExecutor(self.graph, {}, k) for k, i in enumerate(ids)}
        self.classes = {n["id"]: n["class_name"] for n in data["nodes"]}

    def line(self, action: str, objects: Sequence[int], names: Sequence[str] | None) -> Any:
        """One line of a script, as upstream's parser builds it."""
        module = self.execution
        named = names if names is not None else [self.classes.get(i, "unknown") for i in objects]
        text = f"[{action}] " + " ".join(f"<{name}> ({i})" for name, i in zip(named, objects, strict=True))
        return module.Script([sys.modules["evolving_graph.scripts"].parse_script_line(text, 1)])

    def execute(
        self, action: str, objects: Sequence[int], character: int, names: Sequence[str] | None = None
    ) -> Outcome:
        """Execute one action; the message is what upstream recorded in this step, without its naming of the line."""
        executor = self.executors[character]
        known = len(executor.info.messages)
        try:
            line = self.line(action, objects, names)
            executed, self.state = executor.execute_one_step(line, self.state)
        except (*DEATHS, sys.modules["evolving_graph.common"].Error) as crash:
            return Outcome(False, "", type(crash).__name__)
        new = executor.info.messages[known:]
        suffix = f' when executing "{line[0]}"'
        assert len(new) <= 1 and all(message.endswith(suffix) for message in new), new
        return Outcome(executed, new[0].removesuffix(suffix) if new else "")

    def edges(self) -> set[tuple[int, str, int]]:
        """All edges now."""
        pairs = self.state._new_edges_from.keys() | self.graph.get_from_pairs()
        return {(a, r.name, b) for a, r in pairs for b in self.state.get_node_ids_from(a, r)}

    def states(self) -> dict[int, frozenset[str]]:
        """States of all nodes now."""
        return {n.id: frozenset(s.name for s in n.states) for n in self.state.get_nodes()}

    def origins(self) -> dict[int, tuple[int, str]]:
        """What is remembered of grabbed things."""
        data = self.state.executor_data
        return {n: (place.id, relation.name) for (_, n), (place, relation) in data.items()}
