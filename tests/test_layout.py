"""The layout of the package: which module may import which, what no file may contain, how long files may be.

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
PLUG_INS = ("agents", "environments", "rewards")
HEAVY = {"torch", "transformers", "trl", "accelerate", "datasets", "safetensors"}
LONGEST = 400
LONGEST_FUNCTION = 60


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, for everything that is installed."""
    found = {}
    for top in ("spa_bench", *PLUG_INS):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            if parts[0] == "spa_bench" and parts[1] in PLUG_INS:
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


def plug_ins_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "spa_bench" and len(parts) > 1 and parts[1] in PLUG_INS else None


def own_modules() -> list[str]:
    """Modules of spa_bench that are no plug-ins."""
    return [module for module in modules() if plug_ins_of(module) is None]


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


def plug_ins() -> list[str]:
    return [module for module in modules() if plug_ins_of(module)]


def at(module: str, node: ast.AST) -> str:
    """Where something stands, as a line of a failure: `name.py:12: the code`."""
    return f"{modules()[module].relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:120]}"


def none(wrong: list[str]) -> None:
    """All that is wrong, one a line."""
    assert not wrong, "\n" + "\n".join(wrong)


# Packages


def test_the_list_of_packages_is_the_list_of_folders():
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {name for name, file in modules().items() if file.name == "__init__.py"}
    assert set(configured["packages"]) == folders
    assert configured["package-dir"] == {"spa_bench": "spa_bench"} | {
        f"spa_bench.{folder}": folder for folder in PLUG_INS
    }


@pytest.mark.parametrize("folder", PLUG_INS)
def test_plug_ins_are_linked_into_the_package_by_a_relative_link(folder):
    assert os.readlink(ROOT / "spa_bench" / folder) == f"../{folder}"


def test_every_folder_with_modules_is_a_package():
    for file in modules().values():
        assert (file.parent / "__init__.py").is_file(), f"{file.parent} lacks __init__.py"


# Layers

LAYERS = (
    ("commands",),
    ("report",),
    ("figures",),
    ("audit", "interop"),
    ("training",),
    ("contract", "analysis"),
    ("runs",),
    ("rollout",),
    ("defaults", "identity"),
    ("registry", "config"),
    ("method_errors", "setting_errors"),
    ("method",),
    ("credit", "state_keys", "stats", "files", "watch", "assignments", "declared"),
    ("manifest", "locks"),
    ("core", "machine", "terminal", "version"),
)
"""Top to bottom; packages of one layer do not import each other. The same list is in docs/architecture.md."""
LAYER = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
FACE = ("spa_bench", "spa_bench.__main__")
"""The package itself hands out names from any layer, and `python -m` starts the command line."""
HANDED_OUT = {
    "spa_bench.analysis.load",
    "spa_bench.contract",
    "spa_bench.core",
    "spa_bench.environments",
    "spa_bench.environments.world",
    "spa_bench.method",
    "spa_bench.version",
}
WORLD = "spa_bench.environments.world"
"""The class of small worlds: no plug-in, and handed out beside `TextEnv`."""
FACES_WORLD = ("spa_bench", WORLD)
PLUG_INS_MAY = {
    "agents": {"spa_bench.core", "spa_bench.declared"},
    "environments": {"spa_bench.core", "spa_bench.declared", "spa_bench.files"},
    "rewards": {
        *("spa_bench.core", "spa_bench.declared", "spa_bench.method", "spa_bench.credit", "spa_bench.state_keys"),
    },
}
"""What each package of plug-ins may import beside itself."""


def folder_of(module: str) -> str:
    return module.split(".")[1]


def layer_of(name: str) -> int:
    """Its number from the top; what has no layer is above all, so that nothing may import it."""
    return -1 if name in FACE else LAYER.get(folder_of(name), -1)


def upward(edges: dict[str, frozenset[str]]) -> list[str]:
    """Imports that do not lead down: `module -> imported`."""
    return [
        f"{module} -> {name}"
        for module, names in sorted(edges.items())
        for name in sorted(names)
        if layer_of(name) <= layer_of(module) and (name in FACE or folder_of(name) != folder_of(module))
    ]


def circle(edges: dict[str, frozenset[str]]) -> list[str]:
    """Modules that import each other, directly or through others; empty where there are none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def named(module: str) -> set[str]:
    """Our modules that a module names as text, which is how an import hides: `import_module("spa_bench.report")`."""
    texts = {node.value for node in every(module, ast.Constant) if isinstance(node.value, str)}
    found = {text.partition(":")[0] for text in texts if re.fullmatch(r"spa_bench(\.\w+)+(:\w+)?", text)}
    return {name for name in found if name in modules()}


def edges_of(wanted: list[str]) -> dict[str, frozenset[str]]:
    known = set(modules())
    return {module: frozenset((imports(module) | named(module)) & known - {module}) for module in wanted}


def core_packages() -> list[str]:
    """The modules that stand in layers."""
    return [module for module in own_modules() if module not in FACE]


def test_every_package_has_a_layer():
    assert {folder_of(module) for module in core_packages()} == set(LAYER)


def test_imports_lead_down():
    # The registry names a plug-in as text, which is its task; of it the imports alone count.
    edges = edges_of([module for module in core_packages() if module != "spa_bench.registry"])
    none(upward(edges | {"spa_bench.registry": imports("spa_bench.registry") & frozenset(core_packages())}))


def test_no_modules_import_each_other():
    everything = [module for module in modules() if module not in FACE]
    edges = {module: imports(module) & frozenset(everything) - {module} for module in everything}
    none(circle(edges))


@pytest.mark.parametrize("low", range(len(LAYERS)))
def test_an_import_that_leads_up_is_found(low):
    """From each layer to each other one: up and sideways is found, down is not."""
    for folder in LAYERS[low]:
        for other in LAYER.keys() - {folder}:
            edges = {f"spa_bench.{folder}.mutant": frozenset({f"spa_bench.{other}"})}
            assert bool(upward(edges)) == (LAYER[other] <= low), f"{folder} -> {other}"
        assert upward({f"spa_bench.{folder}": frozenset({"spa_bench"})})
        assert upward({f"spa_bench.{folder}": frozenset({"spa_bench.new"})}), "a package without a layer"


def test_a_circle_is_found():
    edges = edges_of(core_packages())
    assert "spa_bench.core" in edges["spa_bench.credit"] and not circle(edges)
    assert circle(edges | {"spa_bench.core": frozenset({"spa_bench.credit"})})


def test_modules_are_imported_by_a_name_that_is_made_up_in_few_places_only():
    places = {"spa_bench", "spa_bench.registry", "spa_bench.commands.official"}
    wrong = []
    for module in modules().keys() - places:
        calls = [node for node in every(module, ast.Call) if ast.unparse(node.func).endswith("import_module")]
        wrong += [at(module, call) for call in calls if not isinstance(call.args[0], ast.Constant)]
        wrong += [at(module, node) for node in every(module, ast.Name) if node.id == "__import__"]
    none(wrong)


def test_the_package_hands_out_what_it_says_and_knows_nothing_else():
    known = (imports("spa_bench") | named("spa_bench")) & modules().keys()
    assert known == HANDED_OUT


# Plug-ins


def test_a_plug_in_knows_the_vocabulary_and_its_own_package_only():
    wrong = []
    for module in plug_ins():
        own = plug_ins_of(module)
        met = edges_of([module])[module]
        wrong += [f"{module} -> {name}" for name in sorted(met - PLUG_INS_MAY[own]) if plug_ins_of(name) != own]
    none(wrong)


def test_a_world_does_not_know_another_world():
    worlds = {name.replace("-", "_") for name in registry.names("environments")}
    wrong = []
    for module in plug_ins():
        parts = module.split(".")
        if parts[1] == "environments" and len(parts) > 2 and parts[2] in worlds:
            names = edges_of([module])[module]
            met = {name.split(".")[2] for name in names if name.count(".") > 1 and plug_ins_of(name) == "environments"}
            wrong += [f"{module} -> {world}" for world in sorted(met & worlds - {parts[2]})]
    none(wrong)


def test_only_the_registry_knows_the_plug_ins():
    plug_in = re.compile(rf"spa_bench\.({'|'.join(PLUG_INS)})\.[\w.:]+")
    wrong = []
    for module in own_modules():
        met = {name for name in imports(module) if plug_ins_of(name)}
        # The package registers its worlds with Gymnasium by importing their package, which imports no world.
        met -= {"spa_bench.environments", WORLD} if module == "spa_bench" else set()
        wrong += [f"{module} -> {name}" for name in sorted(met)]
        if module != "spa_bench.registry":
            texts = [node for node in every(module, ast.Constant) if isinstance(node.value, str)]
            wrong += [at(module, n) for n in texts if plug_in.fullmatch(n.value) and (module, n.value) != FACES_WORLD]
    none(wrong)


LIGHT = [m for m in own_modules() if m not in FACE and folder_of(m) not in ("commands", "audit", "interop", "training")]
"""Everything but what trains a policy, audits one, serves other trainers or starts any."""


def test_only_training_and_audits_load_deep_learning_and_nothing_knows_a_plug_in():
    reached = {module: reach(module) for module in LIGHT}
    plugged = {module: {name for name in names if plug_ins_of(name)} for module, names in reached.items()}
    wrong = {module: sorted(heavy(names) | plugged[module]) for module, names in reached.items()}
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


def test_no_file_is_long():
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

    compared = [(module, node) for module in own_modules() for node in every(module, ast.Compare, ast.MatchValue)]
    none([at(module, node) for module, node in compared if said(node) & names])


def test_t06_no_door_is_left_open_to_code_in_data():
    loaders = {"pickle", "cPickle", "dill", "cloudpickle", "shelve"}
    may = "spa_bench.contract.world_laws"  # copies a world: reads bytes that it has just made
    wrong = [f"{m}: loads pickles" for m in modules() if m != may and {n.split(".")[0] for n in imports(m)} & loaders]
    calls = [(module, call) for module in modules() for call in every(module, ast.Call)]
    for module, call in calls:
        unsafe = [k for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is False]
        called = ast.unparse(call.func)
        if called in {"eval", "exec", "yaml.load", "os.system"} or any(k.arg == "weights_only" for k in unsafe):
            wrong.append(at(module, call))
        # Without it transformers asks whether the code of a model may run.
        of_model = re.search(r"\bAuto\w+\.from_(pretrained|config)$", called)
        if of_model and all(k.arg != "trust_remote_code" for k in unsafe):
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


@pytest.mark.parametrize("folder", ["spa_bench", *PLUG_INS, "docs", "tests"])
def test_no_path_of_anyones_machine_is_committed(folder):
    pattern = re.compile(r"/(?:home|Users)/\w+/|[A-Z]:\\Users|/" + r"work/(?:main|shared|venv)\b")
    for file in sorted((ROOT / folder).rglob("*")):
        if file.suffix in {".py", ".md", ".toml", ".txt", ".ini"} and file.is_file():
            assert not pattern.search(file.read_text(encoding="utf-8")), file
