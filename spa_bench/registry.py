"""Name -> class, from the packages `environments`, `agents` and `rewards` and from entry points of other packages.

A plug-in is a file (in `environments` a folder) of its package; its name is the file's, with `-` for `_`. Listing
imports no plug-in; finding imports the one module that is asked for. Other packages add plug-ins by entry points:

    [project.entry-points."spa_bench.rewards"]
    my-method = "my_package.module:MyMethod"

Built-in names cannot be overridden. A class in a file of one's own is found as `path.py:Class`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast, get_args, overload

from rapidfuzz import fuzz, process

from spa_bench.core import Agent, ReplyFormat, TextEnv, UserError
from spa_bench.declared import refuse_mistyped
from spa_bench.method import Level, RewardMethod
from spa_bench.method_errors import method_call, plug_in_call

Room = Literal["environments", "agents", "rewards"]
"""A package of plug-ins."""

KINDS: dict[Room, type] = {"environments": TextEnv, "agents": Agent, "rewards": RewardMethod}
SINGULAR: dict[Room, str] = {"environments": "environment", "agents": "agent", "rewards": "reward"}
PARTS: dict[Room, frozenset[str]] = {
    "environments": frozenset(),
    "agents": frozenset(
        {
            *("chat", "embedded", "model_files", "model_limits", "prompts", "rationale", "row_cache", "template_trial"),
            *("thoughts", "transcript"),
        }
    ),
    "rewards": frozenset(),
}
"""Modules that hold no plug-in but what plug-ins share."""

_LOADED: dict[str, tuple[bytes, ModuleType]] = {}
"""Modules of files, with the source that they were made of."""


def names(room: Room) -> list[str]:
    """Every name that `find` knows, sorted; imports no plug-in."""
    return sorted({*_modules(room), *(point.name for point in _points(room))})


def built_in(room: Room) -> list[str]:
    """The names of this package alone, sorted: what is written of them does not depend on what else is installed."""
    return sorted(_modules(room))


def about(room: Room, name: str) -> str:
    """What a plug-in says of itself: the first sentence of its docstring, of a world the class's; no agent is imported.

    UserError where there is no such plug-in.
    """
    if room != "environments" and name in (modules := _modules(room)):
        spec = importlib.util.find_spec(modules[name])
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
        text = ast.get_docstring(ast.parse(source))
    else:
        text = find(room, name).__doc__
    return " ".join((text or "").split("\n\n")[0].split())


@overload
def find(room: Literal["environments"], name: str) -> type[TextEnv]: ...
@overload
def find(room: Literal["agents"], name: str) -> type[Agent]: ...
@overload
def find(room: Literal["rewards"], name: str) -> type[RewardMethod]: ...
def find(room: Room, name: str) -> type[Any]:
    """The class of that name, or of `path.py:Class`. UserError with the nearest name and all names."""
    modules = _modules(room)
    if name in modules:
        return _only_class(importlib.import_module(modules[name]), room)
    if ".py" in name:
        return _from_file(name, room)
    if points := [point for point in _points(room) if point.name == name]:
        return _from_entry_points(points, room)
    raise UserError(f"no {SINGULAR[room]} {name!r}{suggest(name, names(room))}")


@overload
def build(room: Literal["environments"], name: str, /, **options: Any) -> TextEnv: ...
@overload
def build(room: Literal["agents"], name: str, /, **options: Any) -> Agent: ...
@overload
def build(room: Literal["rewards"], name: str, /, **options: Any) -> RewardMethod: ...
def build(room: Room, name: str, /, **options: Any) -> Any:
    """An instance made with these constructor arguments; UserError names one that is unknown, missing or mistyped."""
    cls = find(room, name)
    _refuse_wrong(f"{SINGULAR[room]} {name}", cls, options)
    if room == "environments":  # its errors are told by `rollout.worlds.make`
        return cls(**options)
    with _called(room, name, "its constructor", code=cls):
        return cls(**options)


def _called(room: Room, name: str, call: str, code: type | None = None) -> plug_in_call:
    if room == "rewards":
        return method_call(name, call, code=code)
    return plug_in_call(f"{SINGULAR[room]} {name}", call, code=code)


ENGINES = {"chat-api": "chat_api.ChatAPI", "server": "server.ServerEngine", "vllm": "vllm.VLLMEngine"}
"""Engine -> module and class in `agents/engines`, but for the default, which agents make themselves. `chat-api` is an
agent, as it takes messages and gives text."""


def engine(name: str, options: Mapping[str, Any], /, **given: Any) -> Any:
    """The engine of that name (for `chat-api` the agent), made with a user's options and with what the run gives.

    UserError names an option that is unknown, the run's own or mistyped.
    """
    module, _, kind = ENGINES[name].partition(".")
    cls = getattr(importlib.import_module(f"spa_bench.agents.engines.{module}"), kind)
    if own := sorted(given.keys() & options.keys()):
        raise UserError(f"engine {name}: {own[0]} is no option of the engine; it is the run's own")
    _refuse_wrong(f"engine {name}", cls, {**given, **options})
    return cls(**given, **options)


def _refuse_wrong(what: str, cls: type[Any], options: Mapping[str, Any]) -> None:
    """UserError for constructor arguments that are unknown, missing or mistyped."""
    parameters = inspect.signature(cls).parameters.values()
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for option in options:
            if option not in known:
                raise UserError(f"{what} has no option {option!r}{suggest(option, known)}")
    missing = [p.name for p in parameters if p.name in known and p.default is p.empty and p.name not in options]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}")
    refuse_mistyped(what, cls, options)


def prompt(name: str) -> ReplyFormat:
    """The reply format of that name; UserError where there is none."""
    return cast(ReplyFormat, importlib.import_module("spa_bench.agents.prompts").find(name))


def suggest(name: str, known: list[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, and all of them."""
    match = process.extractOne(name, known, scorer=fuzz.ratio, processor=str.lower, score_cutoff=55)
    hint = f": did you mean {match[0]}?" if match else ""
    return f"{hint} (there are: {', '.join(known) or 'none'})"


def _modules(room: Room) -> dict[str, str]:
    """Typed name -> module that defines the class."""
    package = importlib.import_module(f"spa_bench.{room}")
    folders = room == "environments"
    return {
        module.name.replace("_", "-"): f"{package.__name__}.{module.name}{'.env' if folders else ''}"
        for module in pkgutil.iter_modules(package.__path__)
        if module.ispkg == folders and not module.name.startswith("_") and module.name not in PARTS[room]
    }


def _points(room: Room) -> list[EntryPoint]:
    return list(entry_points(group=f"spa_bench.{room}"))


def _only_class(module: ModuleType, room: Room) -> type[Any]:
    kind = KINDS[room]
    own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    found = [c for c in own if issubclass(c, kind) and not inspect.isabstract(c)]
    if len(found) != 1:
        defined = ", ".join(c.__name__ for c in found) or "none"
        raise UserError(f"{module.__name__} must define exactly one {kind.__name__}, it defines {defined}")
    return found[0]


def _from_entry_points(points: list[EntryPoint], room: Room) -> type[Any]:
    if len({point.value for point in points}) > 1:
        offers = ", ".join(sorted(f"{p.value} of {p.dist.name if p.dist else 'an unknown package'}" for p in points))
        raise UserError(f"{SINGULAR[room]} {points[0].name} is offered twice ({offers}): uninstall one")
    point = points[0]
    with _called(room, point.name, "importing it"):
        try:
            loaded = point.load()
        except (ImportError, SyntaxError, AttributeError) as error:
            raise UserError(f"entry point {point.name} = {point.value} cannot be loaded: {_reason(error)}") from error
    return _checked(loaded, room, f"entry point {point.name} = {point.value}")


def _from_file(address: str, room: Room) -> type[Any]:
    """A plug-in from `path.py:Class`."""
    what = f"{SINGULAR[room]} {address!r}"
    location, _, class_name = address.rpartition(":")
    if not location.endswith(".py") or not class_name:
        raise UserError(f"{what}: name the class too, as path.py:Class")
    path = Path(location).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"{what}: there is no such file")
    module = _load(path, address, room)
    if not hasattr(module, class_name):
        kind = KINDS[room]
        own = [n for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, kind) and c is not kind]
        raise UserError(f"{what}: no class {class_name!r}{suggest(class_name, own)}")
    return _checked(getattr(module, class_name), room, what)


def _load(path: Path, address: str, room: Room) -> ModuleType:
    # Registered under a name of its own: dataclasses and typing look their module up in sys.modules.
    name = f"spa_bench_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    with _called(room, address, "reading it"):
        source = path.read_bytes()
    if name in _LOADED and _LOADED[name][0] == source:  # one class: states of all its instances can be compared
        return _LOADED[name][1]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with _called(room, address, "importing it"):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(cause := error.__cause__, ImportError | SyntaxError):
            raise UserError(f"{SINGULAR[room]} {address!r} cannot be imported: {_reason(cause)}") from cause
        raise
    _LOADED[name] = source, module
    return module


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _checked(found: Any, room: Room, what: str) -> type[Any]:
    kind = KINDS[room]
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UserError(f"{what} is no {kind.__name__}: subclass {kind.__module__}.{kind.__name__}")
    if inspect.isabstract(found):
        raise UserError(f"{what} does not define {', '.join(sorted(vars(found)['__abstractmethods__']))}")
    if issubclass(found, RewardMethod) and found.level not in get_args(Level):
        raise UserError(f"{what} has level = {found.level!r}: use {' or '.join(get_args(Level))}")
    if issubclass(found, TextEnv) and not isinstance(getattr(found, "name", None), str):
        raise UserError(f"{what} has no name: write name = '...' into its class")
    return found
