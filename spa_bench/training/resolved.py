"""What stands behind the settings that are left open, and whether model and data are there, before anything is made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spa_bench import registry
from spa_bench.config import CHAT_API, EMBEDDED, RunConfig
from spa_bench.core import TextEnv, UserError
from spa_bench.files import data_folder
from spa_bench.method import RewardMethod
from spa_bench.training import adapter, prompting
from spa_bench.training.devices import choose_device
from spa_bench.training.experiment import check_iteration
from spa_bench.training.model_content import place
from spa_bench.training.policy import choose_dtype
from spa_bench.training.sizes import full_context, hidden_size
from spa_bench.training.tasks import evaluation_set, train_tasks


@dataclass
class Resolved:
    """Values by `section.key`, with what decides each; and what is missing or contradicts itself, one line each."""

    values: dict[str, tuple[Any, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """What cannot be found is a problem; the rest is looked for all the same."""
        try:
            yield
        except UserError as error:
            self.problems += [str(error)] * (str(error) not in self.problems)


def resolve(config: RunConfig) -> Resolved:
    """Look at the world, the model's files and the machine; nothing is generated, trained or written.

    Built-in tasks are made by the run itself, so only official ones are looked at.
    """
    found = Resolved()
    with found.looking():
        world = registry.build("environments", config.env, **config.world.arguments())
        _world(found, config, world)
        check_iteration(config, world.max_steps, world.characters)
    with found.looking():
        method: RewardMethod = registry.build("rewards", config.reward, **config.reward_options)
        found.values["ppo.level"] = (method.level, config.reward)
    with found.looking():
        _prompt(found, config)
    with found.looking():
        _model(found, config)
    return found


def _world(found: Resolved, config: RunConfig, world: TextEnv) -> None:
    found.values |= {
        "world.max_steps": (world.max_steps, config.env),
        "world.train_tasks": ("all", config.env),
        "eval.tasks": ("all", "eval.split"),
        "eval.rewards": ("all", "eval.tasks"),
        "ppo.loss_constant": (prompting.longest_episode(config, world.max_steps), "model.max_new_tokens"),
        "ppo.clip_high": (config.ppo.clip, "ppo.clip"),
    }
    sizes: dict[str, Callable[[], int]] = {
        "world.train_tasks": lambda: len(train_tasks(config, world)),
        "eval.tasks": lambda: len(evaluation_set(config, world)),
    }
    if config.world.tasks == "official":
        found.values["world.data"] = (str(data_folder(config.env)), "the data cache")
        for key, count in sizes.items():
            with found.looking():
                found.values[key] = (count(), "all of the data")


def _prompt(found: Resolved, config: RunConfig) -> None:
    plain: Any = prompting.chosen(config)
    model = "model.name" if config.model.prompt == "auto" else "model.prompt"
    embedded = config.model.name == EMBEDDED
    found.values |= {
        "model.prompt": (plain.name, model),
        "model.memory": ("all" if plain.memory is None else plain.memory, model),
        "model.admissible": (plain.lists, model),
        "model.repeat_form": (plain.repeats_form, model),
        "model.examples": (prompting.examples_wanted(config, plain.name), model),
        "model.history": ("template" if embedded else "sampled", "model.name"),
        "model.gradient_checkpointing": (not embedded, "model.name"),
        "model.max_new_tokens": (prompting.longest_reply(config, plain.name), model),
    }


def _model(found: Resolved, config: RunConfig) -> None:
    """Device and type of the weights, and whether there is such a model."""
    model = config.model
    device = choose_device(model.device)
    found.values["model.device"] = (device.type, "this machine")
    if model.adapter == "lora":
        adapter.require_peft()
    if model.engine == CHAT_API:
        return
    found.values["model.context"] = (full_context(config), "model.name")
    embedded = model.name == EMBEDDED
    dtype = choose_dtype(model.dtype, device, hidden_size(config), embedded=embedded)
    found.values["model.dtype"] = (dtype, "model.name" if embedded else "this machine")
    folder = Path(place(model.name))
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise UserError(f"model folder {folder} has no weights (*.safetensors)")
