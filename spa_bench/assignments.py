"""Settings as files and assignments give them, and what is said where one is unknown: the names that may be meant."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rapidfuzz import fuzz, process

from spa_bench.core import UserError


def from_file(path: Path) -> dict[str, Any]:
    """Values of a TOML file; raises UserError where it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read configuration {path}: {error}") from None


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=value` assignments to nested values; the value is TOML, or a plain string where it is no TOML."""
    result: dict[str, Any] = {key: dict(v) if isinstance(v, dict) else v for key, v in values.items()}
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not all(dotted.split(".")):
            raise UserError(f"--set {assignment!r}: write it as section.key=value, for example ppo.iterations=4")
        node = result
        *parents, last = dotted.split(".")
        for parent in parents:
            inner = node.get(parent, {})
            if not isinstance(inner, dict):
                raise UserError(f"--set {assignment!r}: {parent} is a value, not a section")
            node[parent] = node = dict(inner)
        node[last] = toml_value(text)
    return result


def toml_value(text: str) -> Any:
    """The text as TOML reads a value, or as it is."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def dotted_keys(values: Mapping[str, Any], above: str = "") -> list[str]:
    """Every `section.key` that holds a value; an empty section is one itself."""
    return [
        dotted
        for key, value in values.items()
        for dotted in (dotted_keys(value, f"{above}{key}.") if isinstance(value, dict) and value else [f"{above}{key}"])
    ]


SECTIONS = {
    **dict.fromkeys(("agent", "policy", "llm"), "model"),
    **dict.fromkeys(("rl", "train", "trainer", "training"), "ppo"),
    **dict.fromkeys(("env", "environment"), "world"),
    **dict.fromkeys(("reward", "method"), "reward_options"),
    **dict.fromkeys(("bc", "sft", "warmstart"), "warm_start"),
    **dict.fromkeys(("evaluation", "test"), "eval"),
}
"""What a section is called elsewhere, and its name here."""

KEYS = {
    **dict.fromkeys(("lr", "rate"), "learning_rate"),
    **dict.fromkeys(("model", "model_name", "name_or_path"), "name"),
    **dict.fromkeys(("batch_size", "n_envs", "num_envs"), "batch"),
    **dict.fromkeys(("clip_range", "cliprange", "epsilon"), "clip"),
    **dict.fromkeys(("lambda", "gae_lambda"), "lam"),
    **dict.fromkeys(("discount",), "gamma"),
    **dict.fromkeys(("kl", "kl_beta", "beta_kl"), "kl_coef"),
    **dict.fromkeys(("entropy", "ent_coef"), "entropy_coef"),
    **dict.fromkeys(("num_epochs", "n_epochs", "num_train_epochs"), "epochs"),
    **dict.fromkeys(("max_tokens", "max_length"), "max_new_tokens"),
    **dict.fromkeys(("n_steps", "num_steps"), "env_steps"),
    **dict.fromkeys(("rank",), "lora_rank"),
}
"""What a key is called elsewhere, and its name here."""


def meant(path: Sequence[str], known: Sequence[str]) -> str:
    """The end of a message about an unknown setting: which of the `known` ones, as `section.key`, may be meant.

    `section.*` among them is a section with keys of its own, such as the options of a method.
    """
    dotted = ".".join(path)
    *above, last = path
    section = SECTIONS.get(above[0], above[0]) if above else ""
    key = KEYS.get(last, last)
    renamed = f"{section}.{key}" if section else SECTIONS.get(last, key)
    if f"{section}.*" in known:
        return f": did you mean {section}.{last}?"
    if renamed in known:
        return f": did you mean {renamed}?"
    if same := [one for one in known if one.rpartition(".")[2] == key]:
        return f": did you mean {' or '.join(same)}?"
    inside = [one for one in known if section and one.startswith(f"{section}.")]
    if found := process.extractOne(dotted, inside, scorer=fuzz.ratio, score_cutoff=70):
        return f": did you mean {found[0]}?"
    if found := process.extractOne(dotted, known, scorer=fuzz.ratio, score_cutoff=75):
        return f": did you mean {found[0]}?"
    near = process.extract(last, {one: one.rpartition(".")[2] for one in known}, scorer=fuzz.ratio, score_cutoff=75)
    if near:
        return f": did you mean {' or '.join(sorted(one for _, _, one in near))}?"
    if inside:
        own = "; an option of the world itself is world.options.NAME" if section == "world" else ""
        return f" (there are: {', '.join(inside)}{own})"
    return f" (sections: {', '.join(sorted({one.partition('.')[0] for one in known if '.' in one}))})"
