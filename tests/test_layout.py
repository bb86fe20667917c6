"""The house keeps its shape: who may import whom, what no file may contain, how long files may be.

Imports are read from the source, those inside functions and under TYPE_CHECKING included; no module is executed.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from spa_bench import registry

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("agents", "environments", "rewards")
HEAVY = {"torch", "transformers", "trl", "accelerate", "datasets", "safetensors"}
LONGEST = 400
LONGEST_FUNCTION = 60


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, for everything that is installed."""
    found = {}
    for top in ("spa_bench", *ROOMS):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            if parts[0] == "spa_bench" and parts[1] in ROOMS:
                continue  # the symlinks: the same files are read at their real place
            dotted = parts if parts[0] == "spa_bench" else ("spa_bench", *parts)
            found[".".join(dotted[:-1] if dotted[-1] == "__init__" else dotted)] = file
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, down to the module: `from spa_bench import credit` is spa_bench.credit."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else node.module for name in inner}
    return frozenset(found)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "spa_bench" and len(parts) > 1 and parts[1] in ROOMS else None


def house() -> list[str]:
    """Modules of spa_bench that belong to no room."""
    return [module for module in modules() if room_of(module) is None]


def reach(module: str) -> set[str]:
    """Everything that a module imports, directly or through our other modules."""
    seen, todo = set(), [module]
    while todo:
        for name in imports(todo.pop()) - seen:
            seen.add(name)
            if name in modules():
                todo.append(name)
    return seen


def heavy(names: set[str] | frozenset[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in HEAVY}


def every(module: str, *kinds: type[ast.AST]) -> list[ast.AST]:
    return [node for node in ast.walk(tree(module)) if isinstance(node, kinds)]


def in_rooms() -> list[str]:
    return [module for module in modules() if room_of(module)]


def at(module: str, node: ast.AST) -> str:
    """Where something stands, as a line of a failure: `name.py:12: the code`."""
    return f"{modules()[module].relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:120]}"


def none(wrong: list[str]) -> None:
    """All that is wrong, one a line."""
    assert not wrong, "\n" + "\n".join(wrong)


# The house as packages


def test_the_list_of_packages_is_the_list_of_folders():
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {name for name, file in modules().items() if file.name == "__init__.py"}
    assert set(configured["packages"]) == folders
    assert configured["package-dir"] == {"spa_bench": "spa_bench"} | {f"spa_bench.{room}": room for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_linked_into_the_package_by_a_relative_link(room):
    assert os.readlink(ROOT / "spa_bench" / room) == f"../{room}"


def test_every_folder_with_modules_is_a_package():
    for file in modules().values():
        assert (file.parent / "__init__.py").is_file(), f"{file.parent} lacks __init__.py"


# Floors

FLOORS = (
    ("commands",),
    ("report",),
    ("figures",),
    ("audit",),
    ("training",),
    ("contract", "analysis"),
    ("runs",),
    ("rollout",),
    ("registry", "config"),
    ("method_errors",),
    ("method",),
    ("credit", "stats", "files"),
    ("core", "terminal", "version"),
)
"""Top to bottom. What stands on one floor does not know what stands beside it."""
FLOOR = {folder: number for number, folders in enumerate(FLOORS) for folder in folders}
FACE = ("spa_bench", "spa_bench.__main__")
"""The package itself hands out names from any floor, and `python -m` starts the command line."""


def folder_of(module: str) -> str:
    return module.split(".")[1]


def upward(edges: dict[str, frozenset[str]]) -> list[str]:
    """Imports of the house that do not lead down: `module -> imported`."""
    return [
        f"{module} -> {name}"
        for module, names in sorted(edges.items())
        for name in sorted(names)
        if name in FACE or (folder_of(name) != folder_of(module) and FLOOR[folder_of(name)] <= FLOOR[folder_of(module)])
    ]


def circles(edges: dict[str, frozenset[str]]) -> list[list[str]]:
    """A circle of modules that import each other, where there is one."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return [error.args[1]]
    return []


def house_edges() -> dict[str, frozenset[str]]:
    own = {module for module in house() if module not in FACE}
    return {module: frozenset(imports(module) & (own | set(FACE))) for module in own}


def test_every_folder_has_a_floor():
    assert {folder_of(module) for module in house() if module not in FACE} == set(FLOOR)


def test_imports_lead_down_the_house():
    assert upward(house_edges()) == []


def test_no_module_is_imported_by_what_it_imports():
    assert circles(house_edges()) == []


@pytest.mark.parametrize("low", range(len(FLOORS)))
def test_an_import_that_leads_up_is_found(low):
    """From each floor to each other one: up and sideways is found, down is not."""
    for folder in FLOORS[low]:
        for other in FLOOR.keys() - {folder}:
            edges = {f"spa_bench.{folder}.mutant": frozenset({f"spa_bench.{other}"})}
            assert bool(upward(edges)) == (FLOOR[other] <= low), f"{folder} -> {other}"


def test_a_circle_is_found():
    edges = house_edges()
    assert "spa_bench.core" in edges["spa_bench.credit"]
    assert circles(edges | {"spa_bench.core": frozenset({"spa_bench.credit"})})


# Doors


def test_a_room_knows_the_vocabulary_and_itself_only():
    vocabulary = {"spa_bench.core", "spa_bench.method", "spa_bench.credit", "spa_bench.files"}
    wrong = [
        f"{module} -> {name}"
        for module in in_rooms()
        for name in sorted(imports(module) - vocabulary)
        if name.split(".")[0] == "spa_bench" and room_of(name) != room_of(module)
    ]
    none(wrong)


def test_a_world_does_not_know_another_world():
    worlds = {name.replace("-", "_") for name in registry.names("environments")}
    wrong = []
    for module in in_rooms():
        parts = module.split(".")
        if parts[1] == "environments" and len(parts) > 2 and parts[2] in worlds:
            met = {name.split(".")[2] for name in imports(module) if name.startswith("spa_bench.environments.")}
            wrong += [f"{module} -> {world}" for world in sorted(met & worlds - {parts[2]})]
    none(wrong)


def test_only_the_registry_knows_who_lives_in_a_room():
    inhabitant = re.compile(rf"spa_bench\.({'|'.join(ROOMS)})\.[\w.:]+")
    wrong = []
    for module in house():
        met = {name for name in imports(module) if room_of(name)}
        # The package registers its worlds with Gymnasium by importing the room, which imports no world.
        met -= {"spa_bench.environments"} if module == "spa_bench" else set()
        wrong += [f"{module} -> {name}" for name in sorted(met)]
        if module != "spa_bench.registry":
            texts = [node for node in every(module, ast.Constant) if isinstance(node.value, str)]
            wrong += [at(module, node) for node in texts if inhabitant.fullmatch(node.value)]
    none(wrong)


LIGHT = [m for m in house() if m not in FACE and folder_of(m) not in ("commands", "audit", "training")]
"""Everything but what trains a policy, audits one or starts either."""


def test_what_reads_and_what_prices_loads_no_deep_learning_and_knows_no_room():
    reached = {module: reach(module) for module in LIGHT}
    rooms = {module: {name for name in names if room_of(name)} for module, names in reached.items()}
    wrong = {module: sorted(heavy(names) | rooms[module]) for module, names in reached.items()}
    none([f"{module}: {', '.join(names)}" for module, names in wrong.items() if names])


def test_importing_the_package_and_the_report_loads_no_deep_learning():
    names = ["spa_bench", "spa_bench.commands.cli", *LIGHT]
    code = f"import sys, {', '.join(names)}; print(sorted(set({sorted(HEAVY)!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Words and size


def test_no_file_and_no_class_has_a_name_that_says_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "misc"}
    wrong = [module for module in modules() if empty & set(module.split("."))]
    for module in modules():
        names = [node.name for node in every(module, ast.ClassDef)]
        wrong += [f"{module}: {name}" for name in names if re.search(r"^Base[A-Z]|Manager$|Helper$|Utils?$", name)]
    none(wrong)


def test_a_file_fits_in_a_head():
    lines = {module: len(file.read_text(encoding="utf-8").splitlines()) for module, file in modules().items()}
    none([f"{module}: {count} lines" for module, count in lines.items() if count > LONGEST])


def test_a_function_fits_on_a_screen():
    lengths = [
        (f"{module}.{function.name}", function.end_lineno - function.lineno + 1)
        for module in modules()
        for function in every(module, ast.FunctionDef, ast.AsyncFunctionDef)
    ]
    assert lengths
    none([f"{name}: {count} lines" for name, count in lengths if count > LONGEST_FUNCTION])


def test_a_file_says_what_it_is():
    none([module for module in modules() if tree(module).body and not ast.get_docstring(tree(module))])


# Dangers


def test_nothing_is_decided_by_the_name_of_a_method_or_a_world():
    """The trainer reads class flags. Comparing with a name, or matching on it, is the `if method == ...` of old."""
    names = {*registry.names("rewards"), *registry.names("environments")}

    def said(node: ast.AST) -> set[str]:
        parts = ast.walk(node)
        return {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}

    compared = [(module, node) for module in house() for node in every(module, ast.Compare, ast.MatchValue)]
    none([at(module, node) for module, node in compared if said(node) & names])


def test_no_door_is_left_open_to_code_in_data():
    loaders = {"pickle", "cPickle", "dill", "cloudpickle", "shelve"}
    wrong = [f"{module}: loads pickles" for module in modules() if {n.split(".")[0] for n in imports(module)} & loaders]
    calls = [(module, call) for module in modules() for call in every(module, ast.Call)]
    for module, call in calls:
        unsafe = [k for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is False]
        if ast.unparse(call.func) in {"eval", "exec", "yaml.load", "os.system"} or any(
            keyword.arg == "weights_only" for keyword in unsafe
        ):
            wrong.append(at(module, call))
    assert calls
    none(wrong)


def test_no_exception_is_swallowed_whole():
    wrong = []
    handlers = [(module, handler) for module in modules() for handler in every(module, ast.ExceptHandler)]
    for module, handler in handlers:
        kinds = ast.walk(handler.type) if handler.type else ()
        caught = {ast.unparse(part) for part in kinds if isinstance(part, ast.expr)}
        raises = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
        if handler.type is None:
            wrong.append(f"{at(module, handler)}: bare except")
        if "BaseException" in caught and not raises:
            wrong.append(f"{at(module, handler)}: does not raise again")
        if "Exception" in caught and module != "spa_bench.commands.cli":
            wrong.append(f"{at(module, handler)}: too wide")
    assert handlers
    none(wrong)


def test_chance_comes_from_explicit_generators():
    """Of the module `random` only the class with a seed is used, or its state kept and restored around a library."""
    wrong = []
    for module in (m for m in modules() if any(name.split(".")[0] == "random" for name in imports(m))):
        wrong += [at(module, node) for node in every(module, ast.ImportFrom) if node.module == "random"]
        for node in every(module, ast.Attribute):
            of_random = isinstance(node.value, ast.Name) and node.value.id == "random"
            if of_random and node.attr not in {"Random", "getstate", "setstate"}:
                wrong.append(at(module, node))
    none(wrong)


@pytest.mark.parametrize("folder", ["spa_bench", *ROOMS, "docs", "tests"])
def test_no_path_of_anyones_machine_is_committed(folder):
    pattern = re.compile(r"/(?:home|Users)/\w+/|[A-Z]:\\Users|/" + r"work/(?:main|shared|venv)\b")
    for file in sorted((ROOT / folder).rglob("*")):
        if file.suffix in {".py", ".md", ".toml", ".txt", ".ini"} and file.is_file():
            assert not pattern.search(file.read_text(encoding="utf-8")), file
