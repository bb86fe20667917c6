"""From command-line options to a checked configuration, without loading torch.

Order of precedence: defaults, then the world's own, then those of the evaluation set, then those for models other than
the embedded one and for adapters, then those of the optimiser, then the file or recipe of `--config`, then what it says
for this world alone, then `--set`, then the options with names of their own.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spa_bench import registry
from spa_bench.assignments import meant, override
from spa_bench.commands import recipes
from spa_bench.config import EMBEDDED, ModelConfig, RunConfig, build, known_keys
from spa_bench.core import UserError
from spa_bench.defaults import LORA, OPTIMISERS, OTHER_MODELS
from spa_bench.rollout.worlds import make
from spa_bench.setting_errors import not_a_value
from spa_bench.terminal import UNSAFE, printable_line
from spa_bench.training.model_content import known_as
from spa_bench.watch import watching


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Options that `run`, `compare` and `eval` share; None where not given."""

    env: str | None = None
    model: str | None = None
    tasks: str | None = None
    data: str | None = None
    split: str | None = None
    file: Path | None = None
    assignments: Sequence[str] = ()
    several: bool = False
    """The file may name several worlds, methods and seeds: a comparison takes them one by one."""
    optimiser: str | None = None
    evaluation: str | None = None
    budgets: Sequence[int] = ()
    """Training budgets, in environment steps; the last one says how long training is."""

    def values(self, **fixed: Any) -> dict[str, Any]:
        """Nested values for `config.build`; `fixed` are top-level settings that win, None leaves one as it is."""
        values = override(self.of_file(), self.assignments)
        for key in ("env", "reward", "seed", "batch"):
            if isinstance(given := values.get(key), dict):  # one that an option of its own would hide
                raise UserError(f"setting {key} is a value, not a section{meant([key, *given], known_keys())}")
        tasks = self.tasks or ("official" if self.data is not None else None)
        for section, key, value in (
            ("model", "name", self.model),
            ("world", "tasks", tasks),
            ("world", "data", self.data),
            ("eval", "split", self.split),
            ("eval", "set", self.evaluation),
            ("eval", "budgets", list(self.budgets) or None),
            ("ppo", "optimiser", self.optimiser),
        ):
            if value is not None:
                values[section] = {**_section(values, section), key: value}
        if isinstance(name := _section(values, "model").get("name"), str):
            values["model"] = {**values["model"], "name": known_as(name)}
        return values | {key: value for key, value in {"env": self.env, **fixed}.items() if value is not None}

    def of_file(self) -> dict[str, Any]:
        """Values of the file or recipe, with what its `[worlds.NAME]` say of this world."""
        if self.file is None:
            return {}
        values = recipes.read(self.file)
        worlds = _section(values, "worlds")
        known = registry.names("environments")
        for name in worlds:
            if name not in known and ".py:" not in name:
                raise UserError(f"{self.file}: no environment for [worlds.{name}]{registry.suggest(name, known)}")
        values = {key: value for key, value in values.items() if key != "worlds"}
        env = self.env or override(values, self.assignments).get("env")
        for key, value in _section(worlds, str(env)).items():
            values[key] = {**_section(values, key), **value} if isinstance(value, dict) else value
        return values

    def sources(self) -> dict[str, str]:
        """Where values come from that are no defaults: `section.key` -> the world, the model, the file or an option."""
        values = self.values()
        env = str(values["env"])
        said: list[tuple[str, Mapping[str, Any]]] = [(env, registry.find("environments", env).settings)]
        said += [("eval.set", evaluation_set(values))]
        said += [("model", layer) for layer in _models(_section(values, "model"))]
        said += [("ppo.optimiser", _optimiser(_section(values, "ppo")))]
        said += [(f"--config {self.file}", self.of_file()), ("--set", override({}, self.assignments))]
        tasks, data = {"tasks": self.tasks or self.data}, {"data": self.data}
        options: list[tuple[str, str, Mapping[str, Any]]] = [
            ("--model", "model", {"name": self.model}),
            ("--data" if self.tasks is None else "--tasks", "world", tasks),
            ("--data", "world", data),
            ("--split", "eval", {"split": self.split}),
            ("--eval", "eval", {"set": self.evaluation}),
            ("--optimiser", "ppo", {"optimiser": self.optimiser}),
            ("--budgets", "eval", {"budgets": self.budgets or None}),
            ("--budgets", "ppo", {"iterations": self.budgets or None}),
        ]
        said += [(option, {key: {k: v for k, v in own.items() if v is not None}}) for option, key, own in options]
        return {
            f"{section}.{key}": printable_line(source)
            for source, layer in said
            for section, inner in layer.items()
            if isinstance(inner, Mapping)
            for key in inner
        }

    def config(self, **fixed: Any) -> RunConfig:
        """The checked configuration; `reward` may have options of its own (`method_options`)."""
        values = self.values(**fixed)
        self._refuse_several(values)
        if "reward" in values:
            values["reward"], own_options = method_options(str(values["reward"]))
            if own_options:
                values["reward_options"] = {**_section(values, "reward_options"), **own_options}
        if "env" not in values:
            raise UserError(f"no --env: choose one of {', '.join(registry.names('environments'))}")
        if "reward" not in values:
            raise UserError(f"no --reward: choose one of {', '.join(registry.names('rewards'))}")
        worlds = registry.find("environments", str(values["env"])).settings
        models, optimiser = _models(_section(values, "model")), _optimiser(_section(values, "ppo"))
        layers = (worlds, evaluation_set(values), *models, optimiser, values)
        sections = {name for layer in layers[:-1] for name in layer}
        own = {
            name: {key: value for layer in layers for key, value in _section(layer, name).items()} for name in sections
        }
        if "world" in own:
            given = [_section(_section(layer, "world"), "options") for layer in layers]
            own["world"]["options"] = {key: value for options in given for key, value in options.items()}
        if self.budgets:
            ppo = own.get("ppo", dict(_section(values, "ppo")))
            size = build(values | own | {"eval": {}}).ppo.env_steps
            own["ppo"] = ppo | {"iterations": -(-self.budgets[-1] // size)}
        return build(values | own)

    def _refuse_several(self, values: dict[str, Any]) -> None:
        """Lists of a comparison's file where one run is asked for."""
        if self.several:
            values.pop("seeds", None)
        for key, option in (("env", "env"), ("reward", "reward"), ("seeds", "seed")):
            if key == "seeds" in values or isinstance(values.get(key), list):
                raise UserError(
                    f"{key}={values[key]!r} is for `compare`, which takes several: give one with --{option}"
                )


def _models(model: Mapping[str, Any]) -> list[Mapping[str, Mapping[str, Any]]]:
    """Defaults by section that this model has."""
    if model.get("name", EMBEDDED) == EMBEDDED:
        return []
    return [OTHER_MODELS, LORA] if model.get("adapter") == "lora" else [OTHER_MODELS]


def evaluation_set(values: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Defaults by section that the named evaluation set has; a name that none has is refused with the configuration."""
    name, env = _section(values, "eval").get("set", "quick"), str(values["env"])
    if name not in ("study", "full"):
        return {}
    if _section(values, "world").get("tasks", "builtin") != "builtin":
        raise UserError(f"eval.set={name} is of built-in tasks: with others eval.tasks says how many")
    if found := registry.find("environments", env).evaluation_sets.get(name):
        return found
    raise UserError(f"{env} has no evaluation set {name!r}: leave eval.set out, and give eval.tasks")


def _optimiser(ppo: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Defaults by section that the chosen optimiser has; an unknown one is refused with the configuration."""
    return {"ppo": preset} if (preset := OPTIMISERS.get(ppo.get("optimiser", "ppo"))) else {}


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name, {})
    if not isinstance(section, dict):
        raise UserError(not_a_value(name, section, known_keys()))
    return section


def listed(said: str, option: str = "reward") -> list[str]:
    """The names of `sparse,spa:alpha=2,mine.py:Mine:sizes=[1,2]`, each once; a comma in brackets separates none.

    UserError where anything else seems to separate them.
    """
    parts, depth = [""], 0
    for letter in said:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    found = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    for name in found:
        words = re.split(r"[\s;+|]+", name)
        if len(words) > 1 and not set(name) & set(".:[{"):
            raise UserError(f"--{option} {said!r}: separate several by commas, as in {','.join(filter(None, words))}")
    return found


def only(said: str | None, option: str) -> str | None:
    """The one name that was said; UserError for several."""
    if said is not None and len(listed(said, option)) > 1:
        raise UserError(f"--{option} {said}: one at a time; `spa-bench compare` takes several")
    return said


def method_options(reward: str) -> tuple[str, dict[str, Any]]:
    """Name and options of `spa:alpha=2:bonus=sum` or `mine.py:Mine:size=3`: what follows a colon and has an `=`."""
    name, *parts = reward.split(":")
    while parts and "=" not in parts[0]:
        name = f"{name}:{parts.pop(0)}"
    for part in parts:
        if not all(part.partition("=")[0].split(".")) or "=" not in part:
            raise UserError(f"reward {reward!r}: write an option as NAME:OPTION=VALUE, not {part!r}")
    if ":" in name and ".py" not in name:
        plain, _, option = name.partition(":")
        raise UserError(f"reward {reward!r}: write an option as {plain}:{option or 'OPTION'}=VALUE")
    return name, override({}, parts)


def check(config: RunConfig) -> None:
    """Refuse unknown names, and options of method and world, before a policy is made."""
    with watching(config.limits.model_dump(), "limits"):
        make(config.env, **config.world.arguments())
        registry.build("rewards", config.reward, **config.reward_options)


SHAPE = ("hidden", "layers", "heads")
"""Settings of the embedded model alone."""

ADAPTER = ("lora_rank", "lora_alpha", "lora_targets")
"""Settings of an adapter alone."""


def in_force(config: RunConfig) -> dict[str, Any]:
    """The settings from which a run can be built again; those of the embedded model, or an adapter, where it is one."""
    values, usual = config.model_dump(mode="json"), ModelConfig()
    idle = (SHAPE if config.model.name != EMBEDDED else ()) + (ADAPTER if config.model.adapter == "none" else ())
    for key in idle:
        if values["model"][key] == getattr(usual, key):  # one that was set is part of the run's name: it stays
            del values["model"][key]
    return values


def to_toml(
    values: Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
    resolved: Mapping[str, tuple[Any, str]] | None = None,
) -> str:
    """Settings as TOML that `--config` reads back; settings that are None are left out.

    With `sources` each says in a comment where it comes from, and below one that is left open, None or `auto`, stands a
    comment with what it is `resolved` to and by what.
    """

    def lines(key: str, name: str, value: Any) -> list[str]:
        open_to = (resolved or {}).get(key) if value is None or value == "auto" else None
        said = "" if sources is None or not key.count(".") else f"  # {sources.get(key, 'default')}"
        plain = [] if value is None else [f"{_key(name)} = {_value(value)}{said}"]
        return plain + ([f"# {_key(name)} = {_value(open_to[0])}  # by {open_to[1]}"] if open_to else [])

    top = [f"{key} = {_value(value)}" for key, value in values.items() if not isinstance(value, dict | None)]
    parts = ["\n".join(top)]
    for key, section in values.items():
        if isinstance(section, dict):
            inner = [line for name, value in section.items() for line in lines(f"{key}.{name}", name, value)]
            parts += ["\n".join([f"[{_key(key)}]", *inner])] if inner else []
    return "\n\n".join(parts) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    return "".join(map(_visible, json.dumps(value, ensure_ascii=False)))


def _visible(char: str) -> str:
    """A character, or its escape in TOML where a screen could be steered with it."""
    if unicodedata.category(char) not in UNSAFE:
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}"


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "a").replace("-", "a").isalnum() else _value(name)
