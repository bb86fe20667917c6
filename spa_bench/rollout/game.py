"""One game while it is played: a world, and an episode for each character in it.

Where several characters act at once, each has an episode of its own, with its own conversation and record: a game is
one world and the episodes of those who play in it. A game whose world fails begins again in another one (`worlds`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spa_bench.core import Agent, Conversation, Message, Reply, Step, Task, TextEnv, Trajectory
from spa_bench.rollout.states import digest
from spa_bench.rollout.worlds import TRIES, WorldError, world_call

Replace = Callable[[TextEnv, WorldError], TextEnv]
"""Gives another world in place of one that failed."""


@dataclass(frozen=True)
class Request:
    """One episode to be played."""

    index: int
    """Position in its stage: the identity of the record."""
    task: Task
    seed: int
    character: int = 0
    """Requests for the characters of one game stand next to each other, from 0 on."""


@dataclass
class Episode:
    """A live episode: what one character saw, what happened to it so far."""

    request: Request
    conversation: Conversation
    observation: str
    info: Mapping[str, Any]
    start_progress: float
    steps: list[Step] = field(default_factory=list)
    outcome: float = 0.0
    terminated: bool = False
    truncated: bool = False
    branch: int = 0
    error: str | None = None
    """Why there was no reply, or how the world failed."""
    state: str = ""
    """Digest of the world's state now, where the agent's `records` say so."""
    menu: str = ""
    """Digest of what could be done now, likewise."""

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
            character=self.request.character,
            branch=self.branch,
            error=self.error,
            final_state=self.state,
            final_menu=self.menu,
        )


@dataclass
class Game:
    """A world with an episode for each of its characters."""

    env: TextEnv
    episodes: list[Episode]
    replace: Replace | None = None
    """Where to go on if the world fails; None where the game cannot begin again."""
    tries: int = 0
    """How often it may still begin again."""
    wasted: int = 0
    """Steps that were executed before it began again."""

    @property
    def over(self) -> bool:
        """Nothing more can be done by anyone."""
        return all(episode.over for episode in self.episodes)


def begin(requests: Sequence[Request], env: TextEnv, agent: Agent) -> Game:
    """Reset the world to the requests' task and open a conversation for each character."""
    first = requests[0]
    options = {"task": first.task.key, "split": first.task.split}
    with world_call(env.name, "reset", first.task, code=type(env)):
        starts = env.reset_all(seed=first.seed % 2**31, options=options)
        for observation, info in starts:
            refuse_wrong(observation, 0.0, info)
        instructions = env.instructions
        noted = [_noted(env, info, agent) for _, info in starts]
    episodes = []
    for request, (observation, info), now in zip(requests, starts, noted, strict=True):
        messages = agent.opening(instructions, observation)
        conversation = Conversation(request.index, request.seed, messages, info["admissible"], goal=info["goal"])
        won = bool(info["success"])  # at the start: there is nothing to be done, and no step that a world could pay
        episodes.append(
            Episode(
                request,
                conversation,
                observation,
                info,
                start_progress=float(info["progress"]),
                outcome=float(won),
                terminated=won,
                state=now[0],
                menu=now[1],
            )
        )
    return Game(env, episodes)


def _noted(env: TextEnv, info: Mapping[str, Any], agent: Agent) -> tuple[str, str]:
    """Digests of the world's state, and of what can be done now; each is empty unless the agent's `records` name it."""
    state = digest(env.true_state()) if "state" in agent.records else ""
    return state, digest(tuple(info["admissible"])) if "menu" in agent.records else ""


def refuse_wrong(observation: str, reward: float, info: Mapping[str, Any]) -> None:
    """TypeError, KeyError or ValueError for a text that is none, for what `info` lacks, for numbers that are none."""
    if not isinstance(observation, str) or not isinstance(info["goal"], str):
        raise TypeError(f"the observation is {type(observation).__name__}, the goal {type(info['goal']).__name__}: str")
    if not math.isfinite(reward + info["progress"]):
        raise ValueError(f"reward {reward}, progress {info['progress']}")
    if info["grounded"] != (info["fault"] is None):
        raise ValueError(f"grounded={info['grounded']} contradicts fault={info['fault']!r}")
    _ = info["success"], info["admissible"]


def seat(requests: Sequence[Request], env: TextEnv, agent: Agent, replace: Replace, tries: int = TRIES) -> Game:
    """`begin` in this world, or where it fails in others; after so many tries a game that is over, with the error."""
    failure: WorldError | None = None
    for left in reversed(range(tries)):
        try:
            game = begin(requests, env, agent)
        except WorldError as error:
            env, failure = replace(env, error), error
        else:
            game.replace, game.tries = replace, left
            return game
    episodes = [
        Episode(
            request, Conversation(request.index, request.seed), "", {"success": False, "goal": ""}, 0.0,
            truncated=True, error=str(failure),
        )
        for request in requests
    ]  # fmt: skip
    return Game(env, episodes)


def broken(game: Game, agent: Agent, error: WorldError) -> None:
    """The game's world has failed: begin again in another one, or end the episodes with the error."""
    if game.replace is not None:
        game.env = game.replace(game.env, error)  # also for the game that is next to be played there
    if game.replace is None or not game.tries:
        for episode in game.episodes:
            episode.error, episode.truncated = str(error), True
        return
    agent.forget([episode.request.index for episode in game.episodes])
    game.wasted += sum(len(episode.steps) for episode in game.episodes)
    again = seat([episode.request for episode in game.episodes], game.env, agent, game.replace, game.tries)
    game.env, game.episodes, game.tries = again.env, again.episodes, again.tries


def resume(prefix: Trajectory, index: int, seed: int, env: TextEnv, state: Any, agent: Agent) -> Game:
    """Go on from the middle of an episode: `state` is the world's snapshot there, `prefix` what happened before it."""
    with world_call(env.name, "restore", prefix.task, code=type(env)):
        observation, info = env.restore(state)
        refuse_wrong(observation, 0.0, info)
        now = _noted(env, info, agent)
    if observation != prefix.final_observation:
        raise ValueError(f"task {prefix.task.key}: the snapshot is not of step {len(prefix)} of this episode")
    first, *later = [*(step.observation for step in prefix.steps), observation]
    messages = agent.opening(env.instructions, first)
    for step, told in zip(prefix.steps, later, strict=True):
        messages += [Message("assistant", step.reply), agent.later(told, prefix.goal, not step.action)]
    past = [step.tokens for step in prefix.steps if step.tokens is not None]
    conversation = Conversation(index, seed, messages, info["admissible"], past=past, goal=info["goal"])
    episode = Episode(
        request=Request(index, prefix.task, seed, prefix.character),
        conversation=conversation,
        observation=observation,
        info=info,
        start_progress=prefix.start_progress,
        steps=list(prefix.steps),
        outcome=prefix.outcome,
        branch=len(prefix),
        state=now[0],
        menu=now[1],
    )
    return Game(env, [episode])


def advance(game: Game, agent: Agent, replies: Sequence[Reply]) -> None:
    """Send a reply of each character to the world and record the steps; where one has none the game ends here.

    Raises WorldError where the world fails; nothing is recorded then.
    """
    if failed := [reply.error for reply in replies if reply.error is not None]:
        for episode in game.episodes:
            episode.error, episode.truncated = failed[0], True
        return
    actions = [agent.prompt.parse(reply.text) for reply in replies]
    env = game.env
    with world_call(env.name, "step", game.episodes[0].request.task, code=type(env)):
        results = env.step_all(actions)
        for observation, reward, _, _, info in results:
            refuse_wrong(observation, float(reward), info)
        noted = [_noted(env, result[-1], agent) for result in results]
    for episode, reply, action, result, now in zip(game.episodes, replies, actions, results, noted, strict=True):
        observation, reward, terminated, truncated, info = result
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
                admissible=episode.conversation.admissible if agent.lists else (),
                state=episode.state,
                menu=episode.menu,
            )
        )
        episode.state, episode.menu = now
        episode.observation, episode.info = observation, info
        episode.terminated, episode.truncated = terminated, truncated
        episode.outcome += float(reward)
        episode.conversation.admissible = info["admissible"]
        told = agent.later(observation, info["goal"], not action)
        episode.conversation.messages += [Message("assistant", reply.text), told]


def seated(requests: Iterable[Request]) -> Iterator[tuple[Request, ...]]:
    """The requests of each game."""
    table: list[Request] = []
    for request in requests:
        if table and request.character == 0:
            yield tuple(table)
            table = []
        table.append(request)
    if table:
        yield tuple(table)
