"""`spa-bench settings`: every setting with its default, range, meaning and source, from the configuration itself.

The page `docs/settings.md` is what it prints: `spa-bench settings > docs/settings.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, TextIO

import typer
from pydantic.fields import FieldInfo

from spa_bench import registry
from spa_bench.commands.printing import print_rows
from spa_bench.commands.words import command
from spa_bench.config import RunConfig, Section, typed
from spa_bench.core import UserError
from spa_bench.declared import wanted
from spa_bench.defaults import LORA, OPTIMISERS, OTHER_MODELS, SOURCES

HEADER = ("setting", "default", "values", "meaning", "source of the default")
HEAD = """\
# Settings

Every setting of `run`, `compare`, `eval` and `audit`: on the command line `--set section.key=value`, in a file for
`--config` a TOML table for each section. Later words win: defaults, the world's own, those of the evaluation set, of
other models than the embedded one and of adapters, of the optimiser, the file or recipe, its `[worlds.NAME]`, `--set`,
options such as `--model`. `--dry-run` of `run` and `compare` prints each value in force with where it comes from, and
fails where model, data or folders are missing.
Options of methods, worlds and agents: `spa-bench list rewards NAME`, `list worlds NAME`, `list agents NAME`.

This page is printed by `spa-bench settings > docs/settings.md`.
"""


@command
def settings(
    section: Annotated[str | None, typer.Argument(help="Section, such as ppo; default: all of them.")] = None,
) -> None:
    """Print the reference of all settings: default, values, meaning, source."""
    show(sys.stdout, section)


def show(stream: TextIO, wanted_section: str | None = None) -> None:
    """Print one section or, under a head, all; UserError for an unknown one."""
    known = dict(sections())
    if wanted_section is not None and wanted_section not in known:
        raise UserError(f"no section {wanted_section!r} of settings{registry.suggest(wanted_section, list(known))}")
    if wanted_section is None and not stream.isatty():
        print(HEAD, file=stream)
    for name, (kind, fields) in known.items():
        if wanted_section in (None, name):
            about = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
            title = f"{name}: {about}" if kind is not RunConfig else f"{name}: what stands above all sections"
            print_rows(title, HEADER, [_row(name, key, field) for key, field in fields.items()], stream)


def sections() -> Iterator[tuple[str, tuple[type[Section], dict[str, FieldInfo]]]]:
    """The top level, called `run`, and every section: its class and its fields."""
    fields = RunConfig.model_fields
    inner = {name: kind for name, field in fields.items() if (kind := _section(field)) is not None}
    yield "run", (RunConfig, {name: field for name, field in fields.items() if name not in inner})
    for name, kind in inner.items():
        yield name, (kind, typed(kind))


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _row(section: str, key: str, field: FieldInfo) -> list[str]:
    name = key if section == "run" else f"{section}.{key}"
    number = isinstance(field.default, int | float) and not isinstance(field.default, bool)
    source = SOURCES.get(name, "ours" if number else "")
    values = wanted(field.annotation, tuple(field.metadata))
    return [f"`{name}`", _default(section, key, field), values, field.description or "", source]


def _default(section: str, key: str, field: FieldInfo) -> str:
    """The default, and where models or worlds have others."""
    if field.is_required():
        return "to be given"
    others = [
        (f"{what}: ", layer[section][key])
        for what, layer in [("other models", OTHER_MODELS), ("with LoRA", LORA), *_optimisers(), *_worlds()]
        if key in layer.get(section, {})
    ]
    value = field.get_default(call_default_factory=True)
    return "; ".join([shown(value), *(f"{what}{shown(other)}" for what, other in others)])


def _optimisers() -> list[tuple[str, Any]]:
    return [(name, {"ppo": preset}) for name, preset in OPTIMISERS.items()]


def _worlds() -> list[tuple[str, Any]]:
    """The worlds of this package and what they set; those of other packages are no part of the reference."""
    return [(name, registry.find("environments", name).settings) for name in registry.built_in("environments")]


def shown(value: Any) -> str:
    """A value as it is typed; what None stands for says the meaning."""
    if value is None or value == {}:
        return "-"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"
