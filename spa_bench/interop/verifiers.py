"""A world with step rewards as a verifiers environment (`verifiers.v1`), under the id `spa-bench-verifiers`.

verifiers finds a taskset, its environment and its harness by the name of a module at the top level, which is
`spa_bench_verifiers`; this has the classes. The harness asks the model in this process: a world of text needs no
sandbox, no program and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from spa_bench import registry
from spa_bench.core import Task, TextEnv, Trajectory, UserError, derive_seed
from spa_bench.interop import dialogue
from spa_bench.interop.step_rewards import StepRewards

try:
    import httpx  # type: ignore[import-not-found, unused-ignore]
    import verifiers.v1 as vf  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from pydantic import Field
    from verifiers.v1.dialects.chat import message_to_wire  # type: ignore[import-untyped, import-not-found, unused-ignore]
except ImportError as error:
    raise UserError(f"verifiers cannot be imported ({error}): pip install 'spa-bench[verifiers]'") from error

ID = "spa-bench-verifiers"
"""Of taskset, harness and environment."""

KEY = "spa_bench"
"""In `Trace.info`: what is known of each turn."""

prepared: dict[str, StepRewards] = {}
"""Fitted methods by name, for `SpaBenchEnvConfig.fitted`."""


class SpaBenchConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Which tasks there are."""

    world: str = "alfworld"
    options: dict[str, Any] = Field(default_factory=dict)
    """The world's own."""
    split: str = "train"


class SpaBenchData(vf.TaskData):  # type: ignore[misc]
    """One task of a world; its key is the `id`."""

    world: str
    options: dict[str, Any]
    split: str
    kind: str
    expert_steps: int

    def task(self) -> Task:
        """As the world knows it."""
        return Task(self.world, str(self.id), self.split, self.kind, self.expert_steps)


class SpaBenchTask(vf.Task[SpaBenchData]):  # type: ignore[misc]
    """Scored by the environment, which knows the turns."""

    @property
    def key(self) -> str:
        """The world's own, whatever the order of the tasks."""
        return f"{self.data.world}/{self.data.split}/{self.data.id}"


class SpaBenchTaskset(vf.Taskset[SpaBenchTask, SpaBenchConfig]):  # type: ignore[misc]
    """All tasks of a split of a world, by key."""

    def load(self) -> Iterator[SpaBenchTask]:
        """Without their first page, which the world shows when the task is begun."""
        config = self.config
        for task in dialogue.tasks(dialogue.world(config.world, config.options), config.split, None):
            data = SpaBenchData(
                id=task.key, name=task.key, world=task.env, options=config.options, split=task.split, kind=task.kind,
                expert_steps=task.expert_steps,
            )  # fmt: skip
            yield SpaBenchTask(data, config.task)


class SpaBenchHarness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """A chat without tools, in this process: one request to the model for each turn."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, *given: Any) -> Any:
        """One reply to the conversation; verifiers records it where the request passes through."""
        _, data = given
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}] if system else []
        messages += [message_to_wire(message) for message in prompt or []]
        async with httpx.AsyncClient(timeout=None) as client:  # verifiers has the limits of time
            answer = await client.post(
                f"{endpoint}/chat/completions",
                json={"model": ctx.model, "messages": messages},
                headers={"Authorization": f"Bearer {secret}"},
            )
        return vf.ProgramResult(int(answer.is_error), "", answer.text if answer.is_error else "")


class SpaBenchEnvConfig(vf.EnvConfig):  # type: ignore[misc]
    """Who plays, and what is paid."""

    player: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())
    prompt: str = "action"
    """A reply format."""
    reward: str = "sparse"
    """A reward method that needs no fit, or any that was `prepared` under this name."""
    reward_options: dict[str, Any] = Field(default_factory=dict)
    group: int = Field(1, ge=1)
    """Episodes of a task that are played together: methods that compare episodes compare these."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount per turn, of the advantages."""
    seed: int = 0


class SpaBenchEnv(vf.Env[SpaBenchEnvConfig]):  # type: ignore[misc]
    """The world is the user of the conversation; what it says of each turn stands in the trace."""

    def __init__(self, config: SpaBenchEnvConfig) -> None:
        super().__init__(config)
        registry.prompt(config.prompt)
        self.rewards = prepared.get(config.reward) or StepRewards(
            config.reward, seed=config.seed, **config.reward_options
        )

    async def run(self, task: Any, agents: Any) -> None:
        """Play the episodes of a group and record their rewards, but for those that the model did not answer.

        A world that fails, or a method, fails the episode of verifiers.
        """
        played = [await self._play(task, agents.player, number) for number in range(self.config.group)]
        played = [(trace, trajectory) for trace, trajectory in played if not trace.errors]
        trajectories = [trajectory for _, trajectory in played]
        priced = self.rewards(trajectories)
        credits = self.rewards.advantages(trajectories, priced, self.config.gamma)
        for (trace, trajectory), rewards, advantages in zip(played, priced, credits, strict=True):
            trace.record_reward(self.rewards.sum_name, float(rewards.sum()))
            trace.record_metrics(_metrics(trajectory))
            trace.info[KEY] = _info(trajectory) | {
                "reward": self.rewards.label, "step_rewards": rewards.tolist(), "advantages": advantages.tolist()
            }  # fmt: skip

    async def _play(self, task: Any, player: Any, number: int) -> tuple[Any, Trajectory]:
        data: SpaBenchData = task.data

        def make() -> TextEnv:
            return dialogue.world(data.world, data.options)

        game = dialogue.Dialogue(make, self.config.prompt)
        opening = game.begin(data.task(), derive_seed(self.config.seed, data.id, number))
        told: Any = [{"role": message.role, "content": message.content} for message in opening]
        async with player.interaction(task) as interaction:
            while not game.over:
                segment = await interaction.turn(told)
                if segment.terminated:
                    break
                told = game.reply(segment.last_reply)
        trajectory = game.trajectory()
        return interaction.trace, trajectory if game.over else replace(trajectory, truncated=True)


def stamp(trace: Any) -> None:
    """For a trainer of one's own: write each turn's advantage to the tokens of its reply (`MessageNode.advantages`).

    verifiers leaves that field to the trainer. UserError for a trace of another environment, or whose turns were not
    all answered by the world.
    """
    turns = trace.info.get(KEY, {}).get("advantages")
    sampled = [node for node in trace.nodes if node.sampled]
    if turns is None or len(turns) != len(sampled):
        raise UserError(f"a trace with {len(sampled)} replies and {'no' if turns is None else len(turns)} advantages")
    for node, advantage in zip(sampled, turns, strict=True):
        node.advantages = [advantage] * sum(node.mask)


def _metrics(trajectory: Trajectory) -> dict[str, float]:
    steps = max(len(trajectory), 1)
    return {
        "success": float(trajectory.success),
        "outcome": trajectory.outcome,
        "turns": float(len(trajectory)),
        "grounded": sum(step.grounded for step in trajectory.steps) / steps,
    }


def _info(trajectory: Trajectory) -> dict[str, Any]:
    return {
        "world": trajectory.task.env,
        "task": trajectory.task.key,
        "goal": trajectory.goal,
        "truncated": trajectory.truncated,
        "actions": [step.action for step in trajectory.steps],
        "grounded": [step.grounded for step in trajectory.steps],
        "faults": [step.fault for step in trajectory.steps],
        "env_rewards": [step.env_reward for step in trajectory.steps],
    }
