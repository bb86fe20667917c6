"""What `spa-bench eval` evaluates: a scripted agent, a model as it is, or the last checkpoint of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spa_bench import registry
from spa_bench.assignments import override
from spa_bench.commands.options import Flags, evaluation_set, method_options
from spa_bench.config import RunConfig, build
from spa_bench.core import UserError
from spa_bench.method import RewardMethod
from spa_bench.runs.folder import read_run

POLICY = "policy"
"""Name of the agent where a language model plays."""
LANGUAGE_MODEL = "causal-lm"
"""Name of that agent's class in `agents`; as `--agent` it means the configured model."""


def settings_for(flags: Flags, agent: str | None, checkpoint: Path | None, seed: int | None) -> tuple[RunConfig, str]:
    """Configuration and agent of an evaluation, checked before torch is loaded.

    A checkpoint has its run's configuration: world, model and prompt are those it was trained with, and only the
    evaluation set, `--set` and the data folder may differ. Without one, `reward` holds the agent's name, and
    `reward_options` its options.
    """
    if checkpoint is not None:
        return _of_checkpoint(flags, checkpoint, seed, "--checkpoint"), POLICY
    if agent == LANGUAGE_MODEL:
        agent = None
    if agent is not None:
        registry.find("agents", method_options(agent)[0])
    config = flags.config(reward=agent or POLICY, seed=seed)
    registry.find("environments", config.env)
    return config, POLICY if agent is None else config.reward


def methods_to_audit(wanted: Sequence[str]) -> list[str]:
    """The wanted methods, or all that can be loaded, and the placebos, which the others are compared with."""
    known: dict[str, type[RewardMethod]] = {}
    for name in registry.names("rewards"):
        try:
            known[name] = registry.find("rewards", name)
        except UserError:  # of another package: the error is shown where the method is asked for by name
            continue
    placebos = [name for name, method in known.items() if method.placebo]
    return list(dict.fromkeys([*(wanted or known), *placebos]))


def settings_to_audit(flags: Flags, recorded: Path | None, reward: str, seed: int | None) -> RunConfig:
    """Configuration of one method of an audit; of recorded episodes, that of their run but for the method."""
    if recorded is None:
        return flags.config(reward=reward, seed=seed)
    name, options = method_options(reward)
    config = _of_checkpoint(flags, recorded, seed, "--from")
    return config.model_copy(update={"reward": name, "reward_options": options})


def _of_checkpoint(flags: Flags, checkpoint: Path, seed: int | None, option: str) -> RunConfig:
    """The configuration of a run but for what the flags change; `option` is how its folder was given."""
    stored = read_run(checkpoint)["config"]
    try:
        build(stored)
    except UserError as error:
        raise UserError(
            f"{checkpoint / 'run.json'} was written by another version of spa-bench ({error}): use {option} with that "
            "version, or train again"
        ) from None
    if flags.env is not None and flags.env != stored.get("env"):
        raise UserError(f"{checkpoint} was trained in {stored.get('env')}, not in {flags.env}: omit --env")
    if flags.file is not None:
        raise UserError(f"{option} has its own configuration: use --set instead of --config")
    if flags.evaluation is not None:
        stored = _with_set(stored, flags.evaluation)
    for section, values in Flags(data=flags.data, tasks=flags.tasks, split=flags.split).values().items():
        stored[section] = {**stored[section], **values}
    return build(override(stored, flags.assignments) | ({} if seed is None else {"seed": seed}))


def _with_set(stored: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration with another evaluation set by name, in place of what stands for its own."""
    named = {**stored, "eval": {**stored["eval"], "set": name}}
    options = dict(stored["world"]["options"])
    for key in evaluation_set(stored).get("world", {}).get("options", {}):
        options.pop(key, None)
    new = evaluation_set(named)
    options |= new.get("world", {}).get("options", {})
    tasks = new.get("eval", {}).get("tasks")
    return {**named, "world": {**stored["world"], "options": options}, "eval": {**named["eval"], "tasks": tasks}}
