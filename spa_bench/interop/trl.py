"""Worlds and step rewards in TRL's GRPOTrainer.

Two ways. As text, with `rollout_func`: `Episodes` plays whole conversations with the trainer's model, and knows the
tokens of every turn, so that `StepGRPOTrainer` can give each turn its own advantage. As a tool, with
`environment_factory`: TRL plays, and one number for each episode is all that it takes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOTrainer  # type: ignore[attr-defined]

from spa_bench import registry
from spa_bench.core import Agent, Floats, Task, Trajectory, UserError, derive_seed
from spa_bench.interop import dialogue
from spa_bench.interop.step_rewards import StepRewards
from spa_bench.interop.tool_worlds import ToolWorld, environment_factory, tool_dataset, tool_reward
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.training.backbone import Tunable
from spa_bench.training.batches import Limit
from spa_bench.training.hindsight import Hindsight
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import Reference
from spa_bench.training.start import in_tokens, quiet_libraries, refuse_failed

__all__ = [
    "Episodes",
    "StepGRPOTrainer",
    "StepRewards",
    "ToolWorld",
    "environment_factory",
    "tool_dataset",
    "tool_reward",
]

quiet_libraries()  # TRL tells the Hub of every trainer that is made, unless this is off

OWN_SAMPLING = {"top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0, "use_vllm": False}
"""Settings of GRPOConfig that only TRL's own sampling heeds, as they must stand here: by default they do."""


class Episodes:
    """Plays the tasks of a world with a model and prices the turns; gives GRPOTrainer what it asks for."""

    def __init__(
        self,
        world: str,
        rewards: StepRewards,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        options: dict[str, Any] | None = None,
        prompt: str = "action",
        context: int | None = None,
        max_new_tokens: int = 64,
        temperature: float = 1.0,
        told: bool = True,
        gamma: float = 1.0,
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        """Lengths are in tokens, `context` None is the model's own; `prompt` is a reply format, `options` the world's.

        `model` is the object that the trainer trains; it is `told` the world's instructions. `gamma` discounts per
        turn; `batch` episodes are played at a time.
        """
        chosen = dict(options or {})
        self.player = Player(lambda: dialogue.world(world, chosen), batch)
        self.env = self.player.worlds(1)[0]
        self.rewards, self.gamma, self.seed = rewards, gamma, seed
        kind: Any = registry.find("agents", "causal-lm")
        self.agent = cast(
            LanguageModel,
            kind(
                model, tokenizer, registry.prompt(prompt),
                context=context, max_new_tokens=max_new_tokens, temperature=temperature,
                told=told,
            ),
        )  # fmt: skip
        self._tasks: dict[str, Task] = {}
        self._calls = 0

    def dataset(self, split: str = "train", count: int | None = None) -> Any:
        """A `datasets.Dataset` of the first `count` tasks: their `prompt` is a name, from which `rollout` knows them.

        What the model reads is made by the world when the task is played.
        """
        from datasets import Dataset  # type: ignore[import-untyped]

        return Dataset.from_dict({"prompt": list(self._named(split, count))})

    def fit(
        self, tasks: int = 100, samples: int = 2, split: str = "train", learning_rate: float = 2e-5
    ) -> dict[str, float]:
        """Explore the first `tasks` with the model as it is now, and fit the method, once; returns its figures.

        Methods that read hidden states get those of a copy of the model as it is now, and methods that tune one begin
        with `learning_rate`. Demonstrations are the expert's, of the same tasks, where the method needs them. The
        rewards can be handed to another trainer then: episodes without tokens are read as this model would write them.
        """
        chosen = list(self._named(split, tasks).values())
        explored = self._play([task for task in chosen for _ in range(samples)], "explore")
        reference = Reference(_frozen(self.agent), Limit(16_384, 256))
        self.rewards.method.encoder = lambda episodes: reference.encode([self._in_tokens(one) for one in episodes])
        self.rewards.method.backbone = _Tuned(reference, learning_rate, self._in_tokens)
        experts = self._demonstrations(chosen) if self.rewards.method.uses_experts else ()
        with self._simulator():
            return self.rewards.fit(explored, experts)

    def rollout(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """For `GRPOTrainer(rollout_func=...)`: an episode for each prompt, in order.

        A field of lists beside TRL's three: `env_mask` (1 for what the model has written), `step_rewards`,
        `turn_advantages` (normalised over these episodes), `token_advantages` (the same for each token of
        `completion_ids`, 0 for what is read), `grounded` (by turn), `success`, `outcome`, `task` and `world`.
        UserError where the world has failed, a setting would not be heeded, or an episode is not one sequence.
        """
        self._refuse_unheeded(trainer)
        if unknown := [prompt for prompt in prompts if prompt not in self._tasks]:
            raise UserError(f"no task {unknown[0]!r}: train on the `dataset` of these Episodes")
        self._calls += 1
        mode = trainer.model.training
        try:
            place = (trainer.accelerator.process_index, trainer.state.global_step, self._calls)
            played = self._play([self._tasks[prompt] for prompt in prompts], *place)
        finally:
            trainer.model.train(mode)
        return self._fields(played)

    def reward(self) -> Any:
        """For `GRPOTrainer(reward_funcs=...)`: the sum of an episode's step rewards, called so in TRL's metrics."""

        def summed(step_rewards: Sequence[Sequence[float]], **_: Any) -> list[float]:
            return [float(np.sum(turns)) for turns in step_rewards]

        summed.__name__ = self.rewards.sum_name
        return summed

    def _fields(self, played: Sequence[Trajectory]) -> dict[str, Any]:
        with self._simulator():
            priced = self.rewards(played)
            credits = self.rewards.normalised(played, self.rewards.advantages(played, priced, self.gamma))
        sequences = [_sequence(episode, turns) for episode, turns in zip(played, credits, strict=True)]
        names = ("prompt_ids", "completion_ids", "logprobs", "env_mask", "token_advantages")
        return {name: [one[place] for one in sequences] for place, name in enumerate(names)} | {
            "step_rewards": [turns.tolist() for turns in priced],
            "turn_advantages": [turns.tolist() for turns in credits],
            "grounded": [[step.grounded for step in episode.steps] for episode in played],
            "success": [episode.success for episode in played],
            "outcome": [episode.outcome for episode in played],
            "task": [episode.task.key for episode in played],
            "world": [episode.task.env for episode in played],
        }

    def _named(self, split: str, count: int | None) -> dict[str, Task]:
        found = {f"{split}/{task.key}": task for task in dialogue.tasks(self.env, split, count)}
        self._tasks |= found
        return found

    def _play(self, tasks: Sequence[Task], *place: object, agent: Agent | None = None) -> list[Trajectory]:
        seeds = (derive_seed(self.seed, *place, index) for index in range(len(tasks)))
        requests = [Request(index, task, seed) for index, (task, seed) in enumerate(zip(tasks, seeds, strict=True))]
        played = []
        for _, episode, _ in self.player.play(requests, agent or cast(Agent, self.agent)):
            refuse_failed("rollout", episode)
            played.append(episode)
        self.agent.release()
        return played

    @contextmanager
    def _simulator(self) -> Iterator[None]:
        """The method may play on and read again with the policy; not elsewhere, where that would be another one."""
        model = self.agent.model
        with torch.random.fork_rng(devices=[]):  # its value head, which is not used, is drawn
            policy = Policy(model, temperature=self.agent.temperature)
        method, limit, mode = self.rewards.method, Limit(16_384, 256), model.training
        method.simulator = PlayedOn(self.player, cast(Agent, self.agent))
        method.hindsight = Hindsight(self.agent, policy, self.env.instructions, limit)
        method.demonstrator = self._ways
        try:
            yield
        finally:
            method.simulator = method.hindsight = method.demonstrator = None
            model.train(mode)
            self.agent.release()

    def _in_tokens(self, episode: Trajectory) -> Trajectory:
        """An episode of another trainer, in the tokens of this model."""
        if all(step.tokens is not None for step in episode.steps):
            return episode
        return in_tokens(self.agent, self.env.instructions, episode)

    def _demonstrations(self, tasks: Sequence[Task]) -> list[Trajectory]:
        return [self._in_tokens(one) for (one,) in self._ways(tasks) if one.success and one.steps]

    def _ways(self, tasks: Sequence[Task]) -> list[list[Trajectory]]:
        """What the world's expert does in these tasks."""
        expert = registry.build("agents", "expert", prompt=self.agent.prompt)
        return [[one] for one in self._play(tasks, "experts", agent=expert)]

    def _refuse_unheeded(self, trainer: Any) -> None:
        if trainer.accelerator.unwrap_model(trainer.model) is not self.agent.model:
            raise UserError("the trainer has another model than these Episodes: give both the same object")
        wanted = OWN_SAMPLING | {"temperature": self.agent.temperature}
        if other := [name for name, value in wanted.items() if getattr(trainer.args, name) != value]:
            raise UserError(f"GRPOConfig: {other[0]} is not heeded in these episodes: leave it at {wanted[other[0]]}")


class _Tuned(Tunable):
    """Encodes episodes without tokens as well."""

    def __init__(
        self, reference: Reference, learning_rate: float, in_tokens: Callable[[Trajectory], Trajectory]
    ) -> None:
        super().__init__(reference, learning_rate)
        self._in_tokens = in_tokens

    def encode(self, weights: Mapping[str, Any], trajectories: Sequence[Trajectory]) -> list[torch.Tensor]:
        """See `method.Backbone`."""
        return super().encode(weights, [self._in_tokens(one) for one in trajectories])

    def logprobs(self, weights: Mapping[str, Any], trajectories: Sequence[Trajectory]) -> list[torch.Tensor]:
        """See `method.Backbone`."""
        return super().logprobs(weights, [self._in_tokens(one) for one in trajectories])


class StepGRPOTrainer(GRPOTrainer):
    """GRPOTrainer with the advantage of each turn on its own tokens, in place of one for the whole episode.

    TRL's loss takes advantages of shape (batch, tokens) from a subclass. They are those of `Episodes.rollout`; what
    `reward_funcs` give is logged only.
    """

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if any("token_advantages" not in row for row in inputs):
            raise UserError("StepGRPOTrainer needs rollout_func=Episodes(...).rollout")
        advantages = torch.zeros(output["completion_ids"].shape, device=output["advantages"].device)
        for row, wanted in zip(inputs, advantages, strict=True):
            wanted[: len(row["token_advantages"])] = torch.tensor(row["token_advantages"])
        output["advantages"] = advantages
        return output


def _sequence(episode: Trajectory, credits: Floats) -> tuple[list[int], list[int], list[float], list[int], list[float]]:
    """Prompt, completion with what was read between replies, and log-prob, mask and advantage of each of its tokens."""
    turns = [step.tokens for step in episode.steps if step.tokens is not None]
    if not turns:
        raise UserError(
            f"task {episode.task.key}: it is won at its start, so there is nothing to train on: leave it out"
        )
    if any(tokens.restart for tokens in turns[1:]):
        raise UserError(
            f"task {episode.task.key}: the episode is longer than the context, and TRL takes one sequence for each: "
            "raise `context`, or lower the world's max_steps"
        )
    completion: list[int] = []
    logprobs: list[float] = []
    mask: list[int] = []
    advantages: list[float] = []
    for number, (tokens, advantage) in enumerate(zip(turns, credits.tolist(), strict=True)):
        read = tokens.context if number else ()
        completion += [*read, *tokens.reply]
        logprobs += [*[0.0] * len(read), *tokens.logprobs]
        mask += [*[0] * len(read), *[1] * len(tokens.reply)]
        advantages += [*[0.0] * len(read), *[advantage] * len(tokens.reply)]
    return list(turns[0].context), completion, logprobs, mask, advantages


def _frozen(agent: LanguageModel) -> Policy:
    """A copy of the agent's model as it is now."""
    copied = copy.deepcopy(agent.model)
    return Policy(copied, temperature=agent.temperature).requires_grad_(False)
