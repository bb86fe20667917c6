"""Continues recorded episodes with the policy, for Monte Carlo values and executed counterfactuals.

A record holds no state of the environment, so its actions are replayed from the start, and environment snapshots are
taken where an episode is to be continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spa_bench.core import Agent, Conversation, TextEnv, Trajectory, UserError, derive_seed
from spa_bench.rollout.game import Game, resume
from spa_bench.rollout.player import Player, play_out
from spa_bench.rollout.worlds import world_call
from spa_bench.watch import Timed


class PlayedOn:
    """`method.Simulator` over the worlds of a player and one agent; counts what it spends.

    A world must be deterministic: raises UserError where the recorded actions lead to other observations, and where
    several characters act at once, because the others' actions are not in the record. Also where an agent has no reply:
    what a method makes of these episodes knows no errors.
    """

    def __init__(self, player: Player, agent: Agent) -> None:
        self.player, self.agent = player, agent
        self.env_steps = 0
        """Steps played beyond the prefixes. Restoring a snapshot is not counted."""
        self.tokens = 0
        """Tokens that the agent has read and written for it, where it is a language model."""
        self.tokens_sampled = 0
        """Those that it has written."""

    def __call__(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
    ) -> list[list[Trajectory]]:
        """See `method.Simulator`."""
        with Timed():  # what is played here is no time of the method that asks for it
            return self._played_on(prefixes, samples, seed, steps)

    def _played_on(
        self, prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None
    ) -> list[list[Trajectory]]:
        if over := [prefix for prefix in prefixes if prefix.terminated or prefix.truncated]:
            raise ValueError(f"task {over[0].task.key}: an episode that is over cannot be continued")
        states = snapshots(self.player.worlds(1)[0], prefixes)
        # Episodes of similar length are played together, so that little of a batch waits or is padding.
        order = sorted(range(len(prefixes)), key=lambda index: (len(prefixes[index]), index))
        wanted = [(index, n) for index in order for n in range(samples)]
        found: dict[tuple[int, int], Trajectory] = {}
        for first in range(0, len(wanted), self.player.batch):
            chunk = wanted[first : first + self.player.batch]
            games = [
                resume(prefixes[i], place, _chance(seed, prefixes[i], n), env, states[i], self.agent)
                for place, ((i, n), env) in enumerate(zip(chunk, self.player.worlds(len(chunk)), strict=True))
            ]
            self._read_once(chunk, games)
            play_out(games, self.agent, turns=steps)
            found |= {which: game.episodes[0].trajectory() for which, game in zip(chunk, games, strict=True)}
        played = [found[index, n] for index in range(len(prefixes)) for n in range(samples)]
        if failed := [trajectory.error for trajectory in played if trajectory.error is not None]:
            raise UserError(f"an episode could not be continued ({failed[0]}): start the run again, and it goes on")
        self.env_steps += sum(trajectory.played for trajectory in played)
        own = [step.tokens for trajectory in played for step in trajectory.steps[trajectory.branch :] if step.tokens]
        self.tokens += sum(tokens.size for tokens in own)
        self.tokens += sum(read(prefix) for prefix in prefixes) if samples else 0
        self.tokens_sampled += sum(len(tokens.reply) for tokens in own)
        return [played[i * samples : (i + 1) * samples] for i in range(len(prefixes))]

    def _read_once(self, chunk: Sequence[tuple[int, int]], games: Sequence[Game]) -> None:
        """The samples of one prefix have the same past."""
        families: dict[int, list[Conversation]] = {}
        for (index, _), game in zip(chunk, games, strict=True):
            families.setdefault(index, []).append(game.episodes[0].conversation)
        self.agent.fork([(first, others) for first, *others in families.values() if others])


def read(prefix: Trajectory) -> int:
    """Tokens that an agent reads of a prefix: those since its last restart, once for all its continuations."""
    tokens = [step.tokens for step in prefix.steps if step.tokens]
    first = max((turn for turn, one in enumerate(tokens) if one.restart), default=0)
    return sum(one.size for one in tokens[first:])


def snapshots(env: TextEnv, prefixes: Sequence[Trajectory]) -> list[Any]:
    """The environment snapshot at the end of each prefix; shared beginnings are replayed once."""
    if env.characters > 1:
        raise UserError("an episode with several characters cannot be continued: set world.options.characters=1")
    order = sorted(range(len(prefixes)), key=lambda i: _path(prefixes[i]))
    found: list[Any] = [None] * len(prefixes)
    path: list[tuple[tuple[str, ...], Any]] = []
    """(task and actions so far, state), one for each step of the episode that was played last."""
    for index in order:
        prefix = prefixes[index]
        head, *actions = _path(prefix)
        while path and path[-1][0] != (head, *actions)[: len(path)]:
            path.pop()
        observation = _back(env, prefix, path, (head, *actions))
        if observation != prefix.final_observation:
            raise UserError(f"task {prefix.task.key}: the recorded actions lead to another state in this world")
        found[index] = path[-1][1]
    return found


def _path(prefix: Trajectory) -> tuple[str, ...]:
    """What decides the world's state: the task, and every action in order."""
    return f"{prefix.task.split}/{prefix.task.key}", *(step.action for step in prefix.steps)


def _back(env: TextEnv, prefix: Trajectory, path: list[tuple[tuple[str, ...], Any]], wanted: tuple[str, ...]) -> str:
    """Go on from the last state of `path` with the actions that are still wanted; what is seen at the end."""
    if path:
        with world_call(env.name, "restore", prefix.task, code=type(env)):
            observation, _ = env.restore(path[-1][1])
    else:
        with world_call(env.name, "reset", prefix.task, code=type(env)):
            observation, _ = env.reset(seed=0, options={"task": prefix.task.key, "split": prefix.task.split})
            path.append((wanted[:1], env.snapshot()))
    for count in range(len(path), len(wanted)):
        with world_call(env.name, "step", prefix.task, code=type(env)):
            observation = env.step(wanted[count])[0]
            path.append((wanted[: count + 1], env.snapshot()))
    return observation


def _chance(seed: int, prefix: Trajectory, sample: int) -> int:
    return derive_seed(seed, ascii((_path(prefix), [step.reply for step in prefix.steps])), sample)
