"""The common start: tasks and warm start, made once and shared by every method.

Everything here depends on world, model and seed, never on the reward, so it lives in a content-addressed cache: all
methods start from the same bytes. World and model count by what they hold, not by where they lie.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from spa_bench import registry
from spa_bench.config import CHAT_API, EMBEDDED, OUTSIDE, RunConfig
from spa_bench.core import Agent, ReplyFormat, Task, TextEnv, Trajectory, UserError, derive_seed
from spa_bench.identity import decisive
from spa_bench.rollout.game import Request
from spa_bench.rollout.worlds import ask, make
from spa_bench.runs.names import world_name
from spa_bench.runs.progress import Progress, bursts
from spa_bench.runs.provenance import facts
from spa_bench.training import adapter, packing, prompting, ranks, shared_engine, soundness
from spa_bench.training.batches import pack
from spa_bench.training.code import world_code
from spa_bench.training.devices import take_device
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.memory import enough_memory, free_memory
from spa_bench.training.model_content import identify, place
from spa_bench.training.parallel_play import ParallelPlayer
from spa_bench.training.policy import DTYPES, choose_dtype
from spa_bench.training.record import shared_entry
from spa_bench.training.sizes import full_context, hidden_size, live_games
from spa_bench.training.tasks import evaluation_set, train_tasks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class Start:
    """What a run begins with."""

    config: RunConfig
    make_env: Callable[[], TextEnv]
    player: ParallelPlayer
    train: tuple[Task, ...]
    panel: tuple[Task, ...]
    device: torch.device
    dtype: str
    """Of the weights, `fp32` or `bf16`."""
    characters: int = 1
    """How many act at once in one game."""
    records: frozenset[str] = frozenset()
    """What of the world is recorded with each step (`RewardMethod.records`)."""

    @property
    def recompute(self) -> bool:
        """Layers are computed again in the backward pass."""
        wanted = self.config.model.gradient_checkpointing
        return self.config.model.name != EMBEDDED if wanted == "auto" else wanted

    @property
    def chunk(self) -> int:
        """Episodes that the player has ready at once."""
        return self.player.batch * self.characters

    @property
    def panel_hash(self) -> str:
        """Hash of the evaluation set, as in every table: the world's settings and task keys, wherever its data lie."""
        world = self.config.world.model_dump() | {"data": None}
        return digest([world_name(self.config.env), world, [task.key for task in self.panel]])[:12]

    @cached_property
    def env(self) -> TextEnv:
        """One world, for what is said of it; it is never played."""
        return self.make_env()

    @property
    def content(self) -> str:
        """Digest of the data of the world's tasks."""
        return str(ask(self.env, "content"))

    @cached_property
    def world_code(self) -> str:
        """Digest of the world's code; empty for a world of this package."""
        return world_code(self.env)

    @cached_property
    def prompt_hash(self) -> str:
        """Hash of what an agent is told of the world and of the form of a reply."""
        return hashlib.sha256(self.prompt.identity(ask(self.env, "instructions")).encode()).hexdigest()[:12]

    @cached_property
    def model(self) -> dict[str, str]:
        """What the configured model holds; empty for the embedded one, which code, world and settings decide, and for
        one behind an interface, which nobody knows.
        """
        name = self.config.model.name
        known = name != EMBEDDED and self.config.model.engine != CHAT_API
        return {} if not known else identify(name, self.prompt, self.env.instructions, **self.reading)

    @cached_property
    def engine(self) -> Any:
        """What samples the replies in place of the policy's own network, or None; it waits for the first weights."""
        model = self.config.model
        if model.engine not in OUTSIDE:
            return None
        rank = 0 if model.adapter == "none" else model.lora_rank
        return shared_engine.made(model.engine, model.engine_options, context=full_context(self.config), lora_rank=rank)

    @property
    def reading(self) -> dict[str, Any]:
        """How the chat template is used: `history`, and `thinking`."""
        model = self.config.model
        automatic = "template" if model.name == EMBEDDED else "sampled"
        return {"history": automatic if model.history == "auto" else model.history, "thinking": model.thinking}

    def train_tasks(self, count: int) -> list[Task]:
        """The first `count` train tasks of the fixed shuffle, from the beginning again where they run out."""
        return [self.train[i % len(self.train)] for i in range(count)]

    @cached_property
    def prompt(self) -> ReplyFormat:
        """The reply format in force, with its worked examples."""
        plain = prompting.chosen(self.config)
        wanted = prompting.examples_wanted(self.config, plain.name)
        games = ((task, derive_seed("example", task.key)) for task in self.train[: prompting.TRIED])
        requests = list(seats(self, games)) if wanted else []
        return prompting.with_examples(plain, self.player, requests, wanted)


def begin(config: RunConfig) -> Start:
    """Make the world, and fix the train tasks and the evaluation set; nothing is played yet."""
    torch.set_num_threads(config.model.threads)
    quiet_libraries()
    if config.model.adapter == "lora":
        adapter.require_peft()
    make_env = world(config)
    env = make_env()
    train, panel = train_tasks(config, env), evaluation_set(config, env)
    device = take_device(config)
    player = ParallelPlayer(make_env, config.batch, soon=config.collect.async_)
    if config.model.engine == CHAT_API:
        return Start(config, make_env, player, train, panel, device, "fp32", env.characters)
    embedded = config.model.name == EMBEDDED
    dtype = choose_dtype(config.model.dtype, device, hidden_size(config), embedded=embedded)
    player.batch = live_games(config, DTYPES[dtype], env.characters)
    return Start(config, make_env, player, train, panel, device, dtype, env.characters)


def quiet_libraries() -> None:
    """Turn off the progress bars of transformers and datasets, and what TRL tells the Hub; their warnings stay."""
    import datasets  # type: ignore[import-untyped]
    import huggingface_hub.constants
    from transformers.utils import logging

    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True  # the variable of that name is read at import, maybe over
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()


def world(config: RunConfig) -> Callable[[], TextEnv]:
    """A maker of the configured environment."""
    return lambda: make(config.env, **config.world.arguments())


def needs_tokens(config: RunConfig) -> None:
    """Refuse an engine that gives text alone."""
    if config.model.engine == CHAT_API:
        raise UserError("model.engine=chat-api gives text and no tokens, for `eval --model` only: use another engine")


def load_policy(start: Start, folder: Path | None) -> LanguageModel:
    """The policy from a saved folder, or fresh from the configuration; under LoRA the folder holds adapters."""
    needs_tokens(start.config)
    model = start.config.model
    saved = folder if model.adapter == "none" else adapter.base_in(folder)
    kind: Any = registry.find("agents", "causal-lm")
    other = model.name != EMBEDDED
    limits = start.reading | {
        "context": full_context(start.config),
        "max_new_tokens": longest_reply(start),
        "halves": other,
        "dtype": DTYPES[start.dtype],
        "engine": start.engine,
    }
    if saved is not None or other:
        revision = None if saved is not None else start.model.get("revision")
        agent = kind.load(str(saved or place(model.name)), start.prompt, told=other, revision=revision, **limits)
    else:
        shape = {name: getattr(model, name) for name in ("hidden", "layers", "heads")}
        shown = [start.prompt.render("look", "so"), start.prompt.later("", "look")]
        texts = [*ask(start.make_env(), "text_sources"), *shown, *shown]
        seed = derive_seed(start.config.seed, "weights") % 2**32
        agent = kind.embedded(texts, start.prompt, names=model.tokens == "names", seed=seed, **shape, **limits)
    agent.model.to(start.device)
    agent.records = start.records
    if folder is not None and model.adapter == "lora":
        adapter.restore(agent.model, folder, start.model)
    return cast(LanguageModel, agent)


def reads_packed(start: Start, model: PreTrainedModel) -> bool:
    """Training reads sequences side by side in one row; not for the embedded model, whose published figures it would
    change in their last digits.
    """
    return start.config.model.name != EMBEDDED and packing.prepare(model, full_context(start.config))


def longest_reply(start: Start) -> int:
    """In tokens, in the form in force."""
    return prompting.longest_reply(start.config, start.prompt.name)


def behind_interface(start: Start) -> Agent:
    """The agent that asks a server for text; UserError for wrong options."""
    model = start.config.model
    if model.name == EMBEDDED:
        raise UserError("model.engine=chat-api needs the name that the server knows its model by: give it with --model")
    given = {"prompt": start.prompt, "model": model.name, "max_new_tokens": longest_reply(start)}
    return cast(Agent, registry.engine(CHAT_API, model.engine_options, **given))


def warm_start(start: Start, progress: Progress) -> Path:
    """Folder of the cloned policy, from the cache or made now."""
    key = digest([_identity(start), start.config.warm_start.model_dump()])[:16]
    with shared_entry("warm-start", key) as entry:
        if not entry.ready:
            _make_warm_start(start, entry.build, progress)
            free_memory()
    return entry.path


def make_requests(start: Start, stage: str, iteration: int, tasks: Sequence[Task], samples: int) -> list[Request]:
    """`samples` games per task, in order, each with a seed of its own that no other shares."""
    games = (
        (task, derive_seed(start.config.seed, stage, iteration, task.key, position, sample))
        for position, task in enumerate(tasks)
        for sample in range(samples)
    )
    return list(seats(start, games))


def seats(start: Start, games: Iterable[tuple[Task, int]]) -> Iterator[Request]:
    """The requests of each game, one for each character, numbered through; the first one has the game's seed."""
    index = itertools.count()
    for task, seed in games:
        for character in range(start.characters):
            own = derive_seed(seed, "character", character) if character else seed
            yield Request(next(index), task, own, character)


def experts(start: Start, count: int, progress: Progress, slip: float = 0.0) -> list[Trajectory]:
    """Successful episodes among `count` of the searching expert on train tasks, cycling, each with other slips.

    One that was won at its start shows nothing; UserError where all were.
    """
    agent = registry.build("agents", "expert", prompt=start.prompt, slip=slip, lists=start.prompt.lists)
    tasks = start.train_tasks(count)
    with progress.stage("demonstrate", total=len(tasks), unit="episodes") as stage:
        shown = []
        for burst in bursts(start.player.play(make_requests(start, "expert", 0, tasks, 1), agent), start.chunk):
            for _, trajectory, _ in burst:
                refuse_failed("demonstrate", trajectory)
                shown.append(trajectory)
            stage.advance(len(burst))
    if shown and not any(trajectory.steps for trajectory in shown):
        raise UserError(
            f"all of {len(shown)} train tasks were won at their start: there is nothing to learn in this world"
        )
    return [trajectory for trajectory in shown if trajectory.success and trajectory.steps]


def refuse_failed(stage: str, trajectory: Trajectory) -> None:
    """UserError for an episode that an error outside the agent's control has stopped: others would stand on it."""
    if trajectory.error is not None:
        raise UserError(f"{stage}: an episode has no end ({trajectory.error}): start again when this is mended")


def demonstrations(start: Start, agent: LanguageModel, count: int, progress: Progress) -> list[Trajectory]:
    """Demonstrations for methods that need experts: episodes without slips, in the policy's tokens."""
    instructions = start.make_env().instructions
    return [in_tokens(agent, instructions, trajectory) for trajectory in experts(start, count, progress)]


def in_tokens(agent: LanguageModel, instructions: str, trajectory: Trajectory) -> Trajectory:
    """A scripted episode as the model would have written it, log-probs zero."""
    turns = zip(trajectory.steps, agent.tokenise(instructions, trajectory), strict=True)
    return replace(trajectory, steps=tuple(replace(step, tokens=tokens) for step, tokens in turns))


@enough_memory("in the warm start", "set model.gradient_checkpointing=true, or lower warm_start.batch")
def _make_warm_start(start: Start, folder: Path, progress: Progress) -> None:
    from spa_bench.training.warm_start import Demonstration, clone

    config = start.config
    agent = load_policy(start, None)
    lora = config.model.adapter == "lora"
    if lora and config.model.name != EMBEDDED:
        adapter.attach(agent.model, config.model, derive_seed(config.seed, "adapter", "warm start") % 2**32)
    size = soundness.size(agent.model)
    instructions = start.make_env().instructions
    shown = [
        Demonstration(
            pack(agent.tokenise(instructions, trajectory)),
            np.array([step.action == step.expert_action for step in trajectory.steps]),
        )
        for trajectory in experts(start, config.warm_start.episodes, progress, slip=config.warm_start.slip)
    ]
    with progress.stage("warm start", unit="steps") as stage:

        def show(step: int, steps: int, loss: float | None) -> None:
            if step == 0:
                stage.begin(steps)
            stage.advance(step - stage.done, **({} if loss is None else {"loss": loss}))

        seed = derive_seed(config.seed, "warm start")
        figures = clone(
            agent.model, agent.tokenizer, shown, config.warm_start,
            recompute=start.recompute, packed=reads_packed(start, agent.model), seed=seed, on_step=show,
        )  # fmt: skip
    if reason := soundness.fault(size, agent.model):
        raise UserError(f"warm start: {reason}: lower warm_start.learning_rate")

    def save() -> None:
        adapter.save_start(agent, folder, start.model) if lora else agent.save(folder)
        (folder / "warm_start.json").write_text(json.dumps(figures))

    ranks.on_first(save)


def _identity(start: Start) -> list[Any]:
    """What the warm start depends on, beside its own settings."""
    config = start.config
    known = facts()
    versions = {name: known["versions"][name] for name in ("torch", "transformers", "trl", "tokenizers")}
    versions |= adapter.versions(config.model)
    tasks = [task.key for task in start.train]
    # Where a world has no digest of its data, their place stands for them.
    place = {"data": None} if start.content else {}
    world = [config.world.model_dump() | place, start.content, tasks, *([start.world_code] if start.world_code else [])]
    unused = {"engine": None, "engine_options": None}  # nothing is sampled
    model = [decisive(config)["model"] | unused | {"name": None}, start.model]
    prompt = [start.prompt.name, start.prompt_hash]
    machine = [start.device.type, start.dtype, versions, known["source"]]
    return [world_name(config.env), world, model, config.seed, prompt, *machine]


def digest(value: Any) -> str:
    """Hash of what is the same as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
