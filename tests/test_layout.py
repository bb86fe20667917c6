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


MODULES = pytest.mark.parametrize("module", modules())
IN_ROOMS = pytest.mark.parametrize("module", [m for m in modules() if room_of(m)])
IN_HOUSE = pytest.mark.parametrize("module", house())


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


@IN_ROOMS
def test_a_room_knows_the_vocabulary_and_itself_only(module):
    room = room_of(module)
    ours = {name for name in imports(module) if name.split(".")[0] == "spa_bench" and room_of(name) != room}
    assert ours <= {"spa_bench.core", "spa_bench.method", "spa_bench.credit", "spa_bench.files"}


@IN_ROOMS
def test_a_world_does_not_know_another_world(module):
    worlds = {name.replace("-", "_") for name in registry.names("environments")}
    parts = module.split(".")
    if parts[1] == "environments" and len(parts) > 2 and parts[2] in worlds:
        met = {name.split(".")[2] for name in imports(module) if name.startswith("spa_bench.environments.")}
        assert met & worlds <= {parts[2]}


@IN_HOUSE
def test_only_the_registry_knows_who_lives_in_a_room(module):
    met = {name for name in imports(module) if room_of(name)}
    # The package registers its worlds with Gymnasium by importing the room, which imports no world.
    assert met <= ({"spa_bench.environments"} if module == "spa_bench" else set())
    if module != "spa_bench.registry":
        texts = [node.value for node in every(module, ast.Constant) if isinstance(node.value, str)]
        assert not [text for text in texts if re.fullmatch(rf"spa_bench\.({'|'.join(ROOMS)})\.[\w.:]+", text)]


LIGHT = [m for m in house() if m not in FACE and folder_of(m) not in ("commands", "audit", "training")]
"""Everything but what trains a policy, audits one or starts either."""


@pytest.mark.parametrize("module", LIGHT)
def test_what_reads_and_what_prices_loads_no_deep_learning_and_knows_no_room(module):
    reached = reach(module)
    assert not heavy(reached)
    assert not {name for name in reached if room_of(name)}


def test_importing_the_package_and_the_report_loads_no_deep_learning():
    names = ["spa_bench", *LIGHT]
    code = f"import sys, {', '.join(names)}; print(sorted(set({sorted(HEAVY)!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Words and size


@MODULES
def test_no_file_and_no_class_has_a_name_that_says_nothing(module):
    assert not {"utils", "util", "helpers", "helper", "common", "misc"} & set(module.split("."))
    names = [node.name for node in every(module, ast.ClassDef)]
    assert not [name for name in names if re.search(r"^Base[A-Z]|Manager$|Helper$|Utils?$", name)]


@MODULES
def test_a_file_fits_in_a_head(module):
    assert len(modules()[module].read_text(encoding="utf-8").splitlines()) <= LONGEST


@MODULES
def test_a_function_fits_on_a_screen(module):
    for function in every(module, ast.FunctionDef, ast.AsyncFunctionDef):
        lines = function.end_lineno - function.lineno + 1
        assert lines <= LONGEST_FUNCTION, f"{modules()[module].name}: {function.name} has {lines} lines"


@MODULES
def test_a_file_says_what_it_is(module):
    assert ast.get_docstring(tree(module)) or not tree(module).body


# Dangers


@IN_HOUSE
def test_nothing_is_decided_by_the_name_of_a_method_or_a_world(module):
    """The trainer reads class flags. Comparing with a name, or matching on it, is the `if method == ...` of old."""
    names = {*registry.names("rewards"), *registry.names("environments")}
    for node in every(module, ast.Compare, ast.MatchValue):
        said = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        assert not said & names, f"{modules()[module].name}:{node.lineno}: {ast.unparse(node)}"


@MODULES
def test_no_door_is_left_open_to_code_in_data(module):
    assert not {name.split(".")[0] for name in imports(module)} & {"pickle", "cPickle", "dill", "cloudpickle", "shelve"}
    for call in every(module, ast.Call):
        where = f"{modules()[module].name}:{call.lineno}"
        called = ast.unparse(call.func)
        assert called not in {"eval", "exec", "yaml.load", "os.system"}, where
        for keyword in call.keywords:
            safe = not isinstance(keyword.value, ast.Constant) or keyword.value.value is not False
            assert keyword.arg != "weights_only" or safe, where


@MODULES
def test_no_exception_is_swallowed_whole(module):
    for handler in every(module, ast.ExceptHandler):
        where = f"{modules()[module].name}:{handler.lineno}"
        assert handler.type is not None, f"{where}: bare except"
        caught = {ast.unparse(part) for part in ast.walk(handler.type) if isinstance(part, ast.expr)}
        if "BaseException" in caught:
            assert any(isinstance(node, ast.Raise) for node in ast.walk(handler)), f"{where}: does not raise again"
        if module != "spa_bench.commands.cli":
            assert "Exception" not in caught, where


@MODULES
def test_chance_comes_from_explicit_generators(module):
    """Of the module `random` only the class with a seed is used, or its state kept and restored around a library."""
    assert not {name for node in every(module, ast.ImportFrom) if node.module == "random" for name in node.names}
    for node in every(module, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id == "random" and "random" in imports(module):
            assert node.attr in {"Random", "getstate", "setstate"}, f"{modules()[module].name}:{node.lineno}"


@pytest.mark.parametrize("folder", ["spa_bench", *ROOMS, "docs", "tests"])
def test_no_path_of_anyones_machine_is_committed(folder):
    pattern = re.compile(r"/(?:home|Users)/\w+/|[A-Z]:\\Users|/" + r"work/(?:main|shared|venv)\b")
    for file in sorted((ROOT / folder).rglob("*")):
        if file.suffix in {".py", ".md", ".toml", ".txt", ".ini"} and file.is_file():
            assert not pattern.search(file.read_text(encoding="utf-8")), file
