"""Digests of the code that a plug-in is written in: edited rewards and agents resume no run, edited worlds no start."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from spa_bench.core import Agent, TextEnv
from spa_bench.method import RewardMethod

OWN = "spa_bench"
SHARED = f"{OWN}.rewards"
"""Where methods share code."""


def reward_code(method: RewardMethod) -> str:
    """Digest of a method's class, of its parents, and of what they import of the package of rewards or of their own."""
    return _digest(parts(type(method), RewardMethod))


def world_code(env: TextEnv) -> str:
    """As `reward_code`; empty for a world of this package, whose code is known by `provenance.source`."""
    return _foreign(type(env), TextEnv)


def agent_code(agent: Agent) -> str:
    """As `world_code`, of an agent."""
    return _foreign(type(agent), Agent)


def _foreign(kind: type, base: type) -> str:
    files = [(module, file) for module, file in parts(kind, base) if module.partition(".")[0] != OWN]
    return _digest(files) if files else ""


def _digest(files: list[tuple[str, Path]]) -> str:
    """Twelve hex digits that depend on the contents alone, in this order."""
    digest = hashlib.sha256()
    for _, file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def parts(kind: type, base: type) -> list[tuple[str, Path]]:
    """Modules and files of a class and its parents up to `base`, and after them what they import, by name."""
    kinds = [one for one in kind.__mro__ if issubclass(one, base) and one is not base]
    found = {one.__module__: Path(inspect.getfile(one)) for one in kinds}
    reached: dict[str, Path] = {}
    todo = list(found.items())
    while todo:
        module, file = todo.pop()
        for name, place in _imports(module, file):
            if name not in found and name not in reached:
                reached[name] = place
                todo.append((name, place))
    return [*found.items(), *sorted(reached.items())]


def _imports(module: str, file: Path) -> Iterator[tuple[str, Path]]:
    """Modules of `SHARED`, and of the module's own package where that is another one, that this file names."""
    package = module.partition(".")[0]
    rooms = [SHARED] if package == OWN else [SHARED, package]
    inner = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for name in sorted(_named(file.read_bytes(), inner)):
        if any(name.startswith(f"{room}.") for room in rooms) and (place := _file(name)):
            yield name, place


def _named(source: bytes, package: str) -> set[str]:
    """What import statements name, also within functions: modules, and perhaps modules that are taken from packages."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return names


def _file(name: str) -> Path | None:
    """The file of a module below an imported package; None where there is none. Nothing is imported."""
    package, _, rest = name.partition(".")
    for folder in getattr(sys.modules.get(package), "__path__", ()):
        place = Path(folder, *rest.split("."))
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None
