"""What tells several configurations apart: the settings in which they differ, as text.

Tables and figures of one world and split are named after these, so the texts depend on the configurations alone: not on
their order, nor on where a folder lies.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spa_bench.config import PPOConfig
from spa_bench.defaults import OPTIMISERS
from spa_bench.runs.provenance import shareable

DEFAULT, UNSET = "default", "unset"
"""A setting that is None, and one that a configuration does not have."""


class _Unset:
    """Stands for the value of a key that is not there; None is a value."""


def differing(configurations: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Of each configuration the settings in which not all are equal, by dotted key, sorted.

    Values as in TOML without quotes; text is in quotes only where another value of the same key reads the same. Of an
    absolute path the last part is shown. Different configurations have different results: those that differ in nothing
    that can be shown have a digest under `configuration`.
    """
    flat = [dict(flattened(one)) for one in configurations]
    found: list[dict[str, str]] = [{} for _ in flat]
    for key in sorted({key for one in flat for key in one}):
        values = [one.get(key, _Unset) for one in flat]
        texts = _texts(values)
        if len(set(texts)) > 1:
            for settings, text in zip(found, texts, strict=True):
                settings[key] = text
    pairs = [(settings_text(settings), _exact(one)) for settings, one in zip(found, configurations, strict=True)]
    alike = Counter(text for text, _ in set(pairs))
    for settings, (text, exact) in zip(found, pairs, strict=True):
        if alike[text] > 1:
            settings["configuration"] = digest(exact)
    return found


def without_presets(configurations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The configurations without the settings that follow from `ppo.optimiser` in all of them: its name says them."""
    usual = PPOConfig().model_dump()
    sections = [dict(one.get("ppo", {})) for one in configurations]
    presets = [OPTIMISERS.get(str(section.get("optimiser")), {}) for section in sections]
    for key in sorted({key for preset in presets for key in preset}):
        wanted = [preset.get(key, usual[key]) for preset in presets]
        if [section.get(key, UNSET) for section in sections] == wanted:
            for section in sections:
                del section[key]
    return [{**one, "ppo": section} for one, section in zip(configurations, sections, strict=True)]


def settings_text(settings: Mapping[str, str]) -> str:
    """The settings as one text: `ppo.clip=0.1, ppo.level=token`."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def flattened(values: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """The settings of all sections by dotted key, sorted."""
    for name, value in sorted(values.items()):
        if isinstance(value, Mapping):
            yield from flattened(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def digest(text: str) -> str:
    """Six hex digits of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def _texts(values: Sequence[Any]) -> list[str]:
    """Each value as text; two different ones have the same text only where nothing of them may be shown."""
    plain = [_text(value) for value in values]
    if len(set(plain)) == len({_exact(value) for value in values}):
        return plain
    return [_exact(shareable(value)) if isinstance(value, str | float) else _text(value) for value in values]


def _text(value: Any) -> str:
    if value is _Unset:
        return UNSET
    if value is None:
        return DEFAULT
    if isinstance(value, float):
        short = re.sub(r"e([+-])0+", r"e\1", f"{value:.6g}")
        return short if re.search(r"[.en]", short) else f"{short}.0"
    if isinstance(value, str):
        return str(shareable(value))
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return _exact(value)


def _exact(value: Any) -> str:
    return UNSET if value is _Unset else json.dumps(value, sort_keys=True, ensure_ascii=False)
