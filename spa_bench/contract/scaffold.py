"""`spa-bench new`: writes a small reward method, world or agent that works, and its test, as a template.

What is written passes all contract tests; a method's advantages differ from those of every other one.
"""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
import re
import sys
from pathlib import Path

from spa_bench import registry
from spa_bench.contract.templates import TEMPLATES
from spa_bench.core import UserError
from spa_bench.files import write_whole
from spa_bench.terminal import argument

LONGEST = 32
"""Characters of a name, so that the lines of the files stay short."""

CALLED: dict[registry.Room, str] = {"rewards": "a reward", "environments": "a world", "agents": "an agent"}


def write(room: registry.Room, name: str, folder: Path) -> tuple[Path, Path, str]:
    """Write a plug-in and its test into the folder; their paths, and the plug-in as the command line takes it.

    UserError where the name cannot be a module's, belongs to another, or a file is there already.
    """
    module = name.replace("-", "_")
    title = "".join(part[:1].upper() + part[1:] for part in module.split("_"))
    _refuse_bad_name(room, name, module, title)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: make it, or choose another with --folder")
    files = folder / f"{module}.py", folder / f"test_{module}.py"
    for file in files:
        if os.path.lexists(file):
            raise UserError(f"{file} is there already: choose another name, or another --folder")
    texts = [text.replace("CLASS", title).replace("MODULE", module).replace("NAME", name) for text in TEMPLATES[room]]
    written: list[Path] = []
    try:
        for file, text in zip(files, texts, strict=True):
            write_whole(file, text)
            written.append(file)
    except OSError as error:
        for file in written:
            file.unlink(missing_ok=True)
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another --folder") from None
    return *files, f"{files[0]}:{title}"


def _refuse_bad_name(room: registry.Room, name: str, module: str, title: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", module) or keyword.iskeyword(module) or len(module) > LONGEST:
        raise UserError(
            f"{name!r} cannot name {CALLED[room]}: use letters, digits and '-', beginning with a letter, "
            f"up to {LONGEST} characters, and no keyword of Python"
        )
    taken = {known.replace("-", "_").lower(): known for known in registry.names(room)}
    if module.lower() in taken:
        raise UserError(f"there is {CALLED[room]} {taken[module.lower()]} already: choose another name")
    if title in _imported(room) or module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise UserError(f"{name!r} would hide a module or class of that name: choose another name")


def _imported(room: registry.Room) -> set[str]:
    """Names that the two files import: a class of the same name would replace them."""
    nodes = [node for text in TEMPLATES[room] for node in ast.walk(ast.parse(text))]
    return {a.asname or a.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for a in node.names}


def next_commands(room: registry.Room, test: Path, address: str) -> list[str]:
    """The next commands: check it, run its test, use it."""
    quoted, tested = argument(address), f"python -m pytest {argument(test)}"
    world = registry.names("environments")[0]
    if room == "agents":
        return [f"spa-bench check --agent {quoted}", tested, f"spa-bench eval --env {world} --agent {quoted}"]
    if room == "environments":
        return [f"spa-bench check --env {quoted}", tested, f"spa-bench run --reward spa --env {quoted}"]
    return [f"spa-bench check --reward {quoted}", tested, f"spa-bench run --env {world} --reward {quoted}"]
