"""Plays tasks: a batch of live games in lock-step, each episode with its own seed, recorded as trajectories.

Episodes are played in fixed chunks of the request list. A chunk is the unit of repetition: what an episode looks
like depends on its request alone, up to the last bits of floating-point sums, and a resumed run replays whole chunks,
so that it repeats an uninterrupted one to the bit.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized

from spa_bench.core import Agent, Conversation, Reply, TextEnv, Trajectory
from spa_bench.rollout.game import Game, Replace, Request, advance, broken, seat, seated
from spa_bench.rollout.worlds import MOST_HANGS, WorldError, WorldHangs, world_call
from spa_bench.watch import TimeUp

Ended = Callable[[Request, Trajectory], None]
"""Called with an episode that has ended, while others of its chunk are still played."""


def play_chunk(
    requests: Sequence[Request],
    envs: Sequence[TextEnv],
    agent: Agent,
    replace: Replace,
    budget: int | None = None,
    ended: Ended | None = None,
    soon: bool = False,
) -> tuple[list[Trajectory], int]:
    """Play one chunk, all games a step at a time, one world for each; `replace` gives another one for a broken one.

    Returns the trajectories in request order, and the number of steps executed, those of given-up games too.

    With a `budget` of environment steps only the leading games whose steps fit into it are finished and returned;
    the others are given up as soon as they cannot fit any more. Order decides, not length, so the cut favours no
    kind of episode beyond the single game that it falls into. `ended` is told of every episode when its game ends.
    With `soon` games do not wait for each other's replies; the trajectories are the same.
    """
    games = [seat(same, env, agent, replace) for same, env in zip(seated(requests), envs, strict=True)]
    play = play_soon if soon else play_out
    kept = play(games, agent, budget, ended=ended)
    finished = [episode.trajectory() for game in kept for episode in game.episodes]
    return finished, sum(game.wasted + sum(len(episode.steps) for episode in game.episodes) for game in games)


def play_out(
    games: list[Game],
    agent: Agent,
    budget: int | None = None,
    turns: int | None = None,
    ended: Ended | None = None,
) -> list[Game]:
    """Play games to their ends, or `turns` further steps; with a `budget`, the leading ones whose steps fit into it."""
    _tell(games, ended)
    live = [game for game in games if not game.over]
    for _ in range(turns) if turns is not None else itertools.count():
        if not live:
            break
        if agent.uses_expert:
            for game in live:
                _ask_expert(game, agent)
        asked = [game for game in live if not game.over]
        replies = iter(agent.act([episode.conversation for game in asked for episode in game.episodes]))
        for game in asked:
            answers = list(itertools.islice(replies, len(game.episodes)))
            try:
                advance(game, agent, answers)
            except WorldError as error:
                broken(game, agent, error)
        if budget is not None:
            games = fitting(games, budget)
        kept = {id(game) for game in games}
        gone = [game for game in live if game.over or id(game) not in kept]
        agent.forget([episode.request.index for game in gone for episode in game.episodes])
        _tell(gone, ended)
        live = [game for game in games if not game.over]
    agent.forget([episode.request.index for game in live for episode in game.episodes])
    return games


def play_soon(games: list[Game], agent: Agent, budget: int | None = None, ended: Ended | None = None) -> list[Game]:
    """As `play_out`, but each game goes on when its own replies are there.

    A game that is given up is asked nothing more. The reply that it waits for is waited for, since the weights that it
    is sampled with may change when this returns.
    """
    _tell(games, ended)
    asked: deque[Conversation] = deque()
    places = {episode.request.index: place for place, game in enumerate(games) for episode in game.episodes}
    begun = games
    came: dict[int, Reply] = {}

    def go_on(game: Game) -> None:
        """Ask for the next replies, or tell of the end."""
        kept = places[game.episodes[0].request.index] < len(games)
        if agent.uses_expert and kept:
            _ask_expert(game, agent)
        if not game.over and kept:
            asked.extend(episode.conversation for episode in game.episodes)
            return
        agent.forget([episode.request.index for episode in game.episodes])
        _tell([game], ended)

    for game in [game for game in games if not game.over]:
        go_on(game)
    with contextlib.closing(agent.act_soon(asked)) as replies:
        for index, reply in replies:
            came[index] = reply
            game = begun[places[index]]
            own = [episode.request.index for episode in game.episodes]
            if not came.keys() >= set(own):
                continue
            if places[index] < len(games):
                try:
                    advance(game, agent, [came.pop(one) for one in own])
                except WorldError as error:
                    broken(game, agent, error)
            if budget is not None:
                games = fitting(games, budget)
            go_on(game)
    return games


def _tell(games: Iterable[Game], ended: Ended | None) -> None:
    """Those of the games that are over."""
    for episode in (episode for game in games if game.over for episode in game.episodes):
        if ended is not None:
            ended(episode.request, episode.trajectory())


def _ask_expert(game: Game, agent: Agent) -> None:
    """Fill in what the expert would do; where the world fails, for the game that began again."""
    while not game.over:
        try:
            with world_call(game.env.name, "expert_action", game.episodes[0].request.task, code=type(game.env)):
                actions = game.env.expert_actions()
                if not all(isinstance(action, str) for action in actions):
                    raise TypeError(f"{actions!r}: an action is a text")
        except WorldError as error:
            broken(game, agent, error)
            continue
        for episode, action in zip(game.episodes, actions, strict=True):
            episode.conversation.expert_action = action
        return


def _charged(steps: Sized) -> int:
    """What an episode takes of a budget: its steps, and one where it has none."""
    return max(len(steps), 1)


def fitting(games: list[Game], budget: int) -> list[Game]:
    """The leading games whose steps so far fit into the budget."""
    return games[: fitting_lengths([[episode.steps for episode in game.episodes] for game in games], budget)]


def fitting_lengths(games: Sequence[Sequence[Sized]], budget: int) -> int:
    """How many leading games, each given by what its episodes hold of steps, fit into the budget."""
    spent = 0
    for count, game in enumerate(games):
        spent += sum(map(_charged, game))
        if spent > budget:
            return count
    return len(games)


class Player:
    """Worlds for one stage after another: environments are made once and reused."""

    def __init__(self, make_env: Callable[[], TextEnv], batch: int, soon: bool = False) -> None:
        """`batch` is the number of live games; with `soon` they do not wait for each other's replies."""
        self.make_env, self.batch, self.soon = make_env, batch, soon
        self.envs: list[TextEnv] = []
        self.executed = 0
        """Environment steps of all that `play` began, games that were given up included; depends on `batch`."""
        self.hangs = 0
        """Calls of a world that did not return in time."""

    def play(
        self,
        requests: Iterable[Request],
        agent: Agent,
        *,
        recorded: Mapping[int, Trajectory] | None = None,
        budget: int | None = None,
        ended: Ended | None = None,
    ) -> Iterator[tuple[Request, Trajectory, bool]]:
        """Play requests in chunks; yields (request, trajectory, new) in request order.

        `recorded` holds episodes of an interrupted run by index: a chunk that is all there is not played again, and
        of one that is partly there only the missing episodes are new. With a `budget` of environment steps `requests`
        may be endless; the episode that would exceed it, and all after it, are not yielded. An episode without steps
        counts as one, so that a budget is spent also where every task is won at its start.

        Without a budget, `ended` is told of each episode that is played when it ends: in another order, before it is
        yielded, and again of one that is recorded.
        """
        recorded = recorded or {}
        source = seated(requests)
        done = spent = 0
        while games := list(itertools.islice(source, self._together(budget, done, spent))):
            chunk = [request for game in games for request in game]
            played, executed = self._chunk(chunk, agent, recorded, None if budget is None else budget - spent, ended)
            self.executed += executed
            for request, trajectory in zip(chunk, played, strict=False):
                yield request, trajectory, request.index not in recorded
            done += len(games)
            spent += sum(_charged(trajectory) for trajectory in played)
            if len(played) < len(chunk) or spent == budget:
                return

    def _together(self, budget: int | None, done: int, spent: int) -> int:
        """Games that begin together: with a budget, about as many as it will see to their end.

        Games that begin and do not fit are wasted: with `batch` games at once that was half the budget in ALFWorld and
        two thirds of it in WebShop. A game is assumed to be as long as those before it (`done` of them, of `spent`
        steps), and at first as long as possible.
        """
        if budget is None:
            return self.most_together()
        env = self.worlds(1)[0]
        length = spent / done if done else env.max_steps * env.characters
        return min(self.most_together(), math.ceil((budget - spent) / length))

    def most_together(self) -> int:
        """Games that are played at once."""
        return self.batch

    def worlds(self, count: int) -> list[TextEnv]:
        """The first `count` of the player's worlds, made where missing."""
        while len(self.envs) < count:
            self.envs.append(self.make_env())
        return self.envs[:count]

    def replace(self, env: TextEnv, error: WorldError) -> TextEnv:
        """A new world in place of one that failed; WorldHangs where too many calls have not returned in time."""
        self.hangs += isinstance(error.__cause__, TimeUp)
        if self.hangs == MOST_HANGS:
            raise WorldHangs(
                f"{error}, as {MOST_HANGS - 1} calls before: mend the environment, or raise the limit"
            ) from error
        place = next(place for place, one in enumerate(self.envs) if one is env)
        with contextlib.suppress(WorldError), world_call(env.name, "close", code=type(env)):
            env.close()
        self.envs[place] = self.make_env()
        return self.envs[place]

    def _chunk(
        self,
        chunk: list[Request],
        agent: Agent,
        recorded: Mapping[int, Trajectory],
        budget: int | None,
        ended: Ended | None,
    ) -> tuple[list[Trajectory], int]:
        if all(request.index in recorded for request in chunk):
            known = [recorded[request.index] for request in chunk]
            return known, sum(len(trajectory) for trajectory in known)
        games = sum(request.character == 0 for request in chunk)
        played, executed = play_chunk(chunk, self.worlds(games), agent, self.replace, budget, ended, self.soon)
        return [recorded.get(r.index, trajectory) for r, trajectory in zip(chunk, played, strict=False)], executed
