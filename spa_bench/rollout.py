"""Plays tasks: a batch of live episodes in lock-step, each with its own seed, recorded as trajectories.

Episodes are played in fixed chunks of the request list. A chunk is the unit of repetition: what an episode looks
like depends on its request alone, up to the last bits of floating-point sums, and a resumed run replays whole chunks,
so that it repeats an uninterrupted one to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
            goal=self.info["goal"],
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
            expert_action=episode.conversation.expert_action,
        )
    )
    episode.observation, episode.info = observation, info
    episode.terminated, episode.truncated = terminated, truncated
    episode.outcome += float(reward)
    episode.conversation.admissible = info["admissible"]
    episode.conversation.messages += [Message("assistant", reply.text), agent.later(observation, info["goal"])]


def play_chunk(
    requests: Sequence[Request], envs: Sequence[TextEnv], agent: Agent, budget: int | None = None
) -> list[Trajectory]:
    """Play one chunk, all episodes a step at a time; trajectories in request order.

    With a `budget` of environment steps only the leading episodes whose steps fit into it are finished and returned;
    the others are given up as soon as they cannot fit any more. Order decides, not length, so the cut favours no
    kind of episode beyond the single one that it falls into.
    """
    episodes = [begin(request, env, agent) for request, env in zip(requests, envs, strict=True)]
    live = list(episodes)
    while live:
        if agent.uses_expert:
            for episode in live:
                episode.conversation.expert_action = episode.env.expert_action()
        replies = agent.act([episode.conversation for episode in live])
        for episode, reply in zip(live, replies, strict=True):
            advance(episode, agent, reply)
        if budget is not None:
            episodes = fitting(episodes, budget)
        kept = {id(episode) for episode in episodes}
        agent.forget([episode.request.index for episode in live if episode.over or id(episode) not in kept])
        live = [episode for episode in episodes if not episode.over]
    return [episode.trajectory() for episode in episodes]


def fitting(episodes: list[Episode], budget: int) -> list[Episode]:
    """The leading episodes whose steps so far fit into the budget."""
    spent = 0
    for count, episode in enumerate(episodes):
        spent += len(episode.steps)
        if spent > budget:
            return episodes[:count]
    return episodes


class Player:
    """Worlds for one stage after another: environments are made once and reused."""

    def __init__(self, make_env: Callable[[], TextEnv], batch: int) -> None:
        self.make_env, self.batch = make_env, batch
        self.envs: list[TextEnv] = []

    def play(
        self,
        requests: Iterable[Request],
        agent: Agent,
        *,
        recorded: Mapping[int, Trajectory] | None = None,
        budget: int | None = None,
    ) -> Iterator[tuple[Request, Trajectory, bool]]:
        """Play requests in chunks; yields (request, trajectory, new) in request order.

        `recorded` holds episodes of an interrupted run by index: a chunk that is all there is not played again, and
        of one that is partly there only the missing episodes are new. With a `budget` of environment steps `requests`
        may be endless; the episode that would exceed it, and all after it, are not yielded.
        """
        recorded = recorded or {}
        source = iter(requests)
        while chunk := list(itertools.islice(source, self.batch)):
            played = self._chunk(chunk, agent, recorded, budget)
            for request, trajectory in zip(chunk, played, strict=False):
                yield request, trajectory, request.index not in recorded
            if budget is not None:
                budget -= sum(len(trajectory) for trajectory in played)
            if len(played) < len(chunk) or budget == 0:
                return

    def _chunk(
        self, chunk: list[Request], agent: Agent, recorded: Mapping[int, Trajectory], budget: int | None
    ) -> list[Trajectory]:
        if all(request.index in recorded for request in chunk):
            return [recorded[request.index] for request in chunk]
        while len(self.envs) < len(chunk):
            self.envs.append(self.make_env())
        played = play_chunk(chunk, self.envs[: len(chunk)], agent, budget)
        return [recorded.get(r.index, trajectory) for r, trajectory in zip(chunk, played, strict=False)]
