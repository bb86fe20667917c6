"""Plays tasks: a batch of live episodes in lock-step, each with its own seed, recorded as trajectories.

Episodes are played in fixed chunks of the request list. A chunk is the unit of repetition: what an episode looks
like depends on its request alone, up to the last bits of floating-point sums, and a resumed run replays whole chunks,
so that it repeats an uninterrupted one to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spa_bench.core import Agent, Conversation, Message, Reply, Step, Task, TextEnv, Trajectory


@dataclass(frozen=True)
class Request:
    """One episode to be played."""

    index: int
    """Position in its stage: the identity of the record."""
    task: Task
    seed: int


@dataclass
class Episode:
    """A live episode: the world, what the agent saw, what happened so far."""

    request: Request
    env: TextEnv
    conversation: Conversation
    observation: str
    info: Mapping[str, Any]
    start_progress: float
    steps: list[Step] = field(default_factory=list)
    outcome: float = 0.0
    terminated: bool = False
    truncated: bool = False

    @property
    def over(self) -> bool:
        """Nothing more can be done."""
        return self.terminated or self.truncated

    def trajectory(self) -> Trajectory:
        """The finished record."""
        return Trajectory(
            task=self.request.task,
            steps=tuple(self.steps),
            outcome=self.outcome,
            success=bool(self.info["success"]),
            terminated=self.terminated,
            truncated=self.truncated,
            start_progress=self.start_progress,
            final_observation=self.observation,
        )


def begin(request: Request, env: TextEnv, agent: Agent) -> Episode:
    """Reset the world to the request's task and open the conversation."""
    options = {"task": request.task.key, "split": request.task.split}
    observation, info = env.reset(seed=request.seed % 2**31, options=options)
    messages = agent.opening(env.instructions, observation)
    conversation = Conversation(request.index, request.seed, messages, info["admissible"])
    return Episode(request, env, conversation, observation, info, start_progress=float(info["progress"]))


def advance(episode: Episode, agent: Agent, reply: Reply) -> None:
    """Send a reply to the world and record the step."""
    action = agent.prompt.parse(reply.text)
    observation, reward, terminated, truncated, info = episode.env.step(action)
    episode.steps.append(
        Step(
            observation=episode.observation,
            reply=reply.text,
            action=action,
            grounded=info["grounded"],
            fault=info["fault"],
            env_reward=float(reward),
            progress=float(info["progress"]),
            tokens=reply.tokens,
        )
    )
    episode.observation, episode.info = observation, info
    episode.terminated, episode.truncated = terminated, truncated
    episode.outcome += float(reward)
    episode.conversation.admissible = info["admissible"]
    episode.conversation.messages += [Message("assistant", reply.text), Message("user", observation)]


def play_chunk(requests: Sequence[Request], envs: Sequence[TextEnv], agent: Agent) -> list[Trajectory]:
    """Play one chunk to its end, all episodes a step at a time; trajectories in request order."""
    episodes = [begin(request, env, agent) for request, env in zip(requests, envs, strict=True)]
    live = list(episodes)
    while live:
        if agent.uses_expert:
            for episode in live:
                episode.conversation.expert_action = episode.env.expert_action()
        replies = agent.act([episode.conversation for episode in live])
        for episode, reply in zip(live, replies, strict=True):
            advance(episode, agent, reply)
        agent.forget([episode.request.index for episode in live if episode.over])
        live = [episode for episode in live if not episode.over]
    return [episode.trajectory() for episode in episodes]


class Player:
    """Worlds for one stage after another: environments are made once and reused."""

    def __init__(self, make_env: Callable[[], TextEnv], batch: int) -> None:
        self.make_env, self.batch = make_env, batch
        self.envs: list[TextEnv] = []

    def play(
        self, requests: Sequence[Request], agent: Agent, recorded: Mapping[int, Trajectory] | None = None
    ) -> Iterator[tuple[Request, Trajectory, bool]]:
        """Play all requests in chunks; yields (request, trajectory, new) in request order.

        `recorded` holds episodes of an interrupted run by index: a chunk that is all there is not played again, and
        of one that is partly there only the missing episodes are new.
        """
        recorded = recorded or {}
        for start in range(0, len(requests), self.batch):
            chunk = requests[start : start + self.batch]
            while len(self.envs) < len(chunk):
                self.envs.append(self.make_env())
            if all(request.index in recorded for request in chunk):
                played = [recorded[request.index] for request in chunk]
            else:
                played = play_chunk(chunk, self.envs[: len(chunk)], agent)
            for request, trajectory in zip(chunk, played, strict=True):
                old = recorded.get(request.index)
                yield request, old or trajectory, old is None
