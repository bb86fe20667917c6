"""Which settings decide a result: two runs that agree in them are one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spa_bench.config import NAMED, SHOWN, RunConfig

RESOURCES: Mapping[str, tuple[str, ...]] = {
    "model": ("cache_bytes", "gradient_checkpointing"),
    "ppo": ("microbatch", "microbatch_episodes"),
}
"""Section -> keys that decide speed and memory, and no result beyond rounding: a run out of memory goes on with
others. `batch`, `limits`, `collect` and the address of a served engine (`model.engine_options.url`) are like them."""


OPTIMISER_AXIS = (
    "optimiser", "ratio", "clip_high", "objective", "loss_mean", "loss_constant", "advantage_scale", "dynamic_sampling"
)  # fmt: skip
"""Settings of the section `ppo` in which optimisers differ, beside those that plain PPO has."""


def decisive(config: RunConfig) -> dict[str, Any]:
    """The settings that decide results, nested; those that do not are at their defaults or left out, as are those that
    are as they were before one could set them.
    """
    values = config.model_dump(mode="json", exclude={"seed", "batch", "limits", "collect"})
    for section, keys in RESOURCES.items():
        fields = type(getattr(config, section)).model_fields
        values[section] |= {key: fields[key].default for key in keys}
    values["model"]["engine_options"].pop("url", None)
    values["model"]["device"] = config.model.device.partition(":")[0]  # which GPU of several
    for key in NAMED:
        del values["eval"][key]
    added = [*(("eval", key) for key in SHOWN), *(("ppo", key) for key in (*OPTIMISER_AXIS, "stop_on_collapse"))]
    for section, key in added:  # at their defaults as before there were any
        if getattr(getattr(config, section), key) == type(getattr(config, section)).model_fields[key].default:
            del values[section][key]
    return values | {section: as_before(section, values[section]) for section in BEFORE}


def as_before(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section, without those of `BEFORE`."""
    before = BEFORE.get(section, {}).items()
    return {key: value for key, value in values.items() if (key, value) not in before}


BEFORE: Mapping[str, Mapping[str, str]] = {"model": {"tokens": "words"}, "ppo": {"value_scale": "none"}}
"""Values that are no longer the default, of runs of before there was a choice: they do not name them, and have the
identity that they had."""
