"""Rollouts that a method steers: it says how many replies are tried at each state, from 0 (cut off) to many.

Read `Grower.round` first. Every task in play has a tree of episodes, one of them active. Where several replies are
tried, each is executed from an environment snapshot; the episode continues with the one of the highest reward, and when
it is over the tree goes back to the others, best first (depth-first search with ranked backtracking). A tree with none
left restarts its task, until it has as many finished episodes as the group size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spa_bench.core import Agent, Conversation, Floats, Reply, TextEnv, Tokens, Trajectory, UserError, derive_seed
from spa_bench.method import RewardMethod
from spa_bench.rollout.game import Episode, Game, Replace, Request, advance, seat
from spa_bench.rollout.worlds import TRIES, WorldError, world_call

BARREN = 1000
"""Consecutive trees without a step after which the method is assumed to cut off everything."""


def branches(method: RewardMethod) -> bool:
    """The method wants to be asked at each state; all others are played without trees."""
    return type(method).branch is not RewardMethod.branch


@dataclass
class Path:
    """An episode, and the world as it left it."""

    number: int
    """Identity of its record."""
    episode: Episode
    state: Any
    learned: int
    """Number of first steps that are not new: those of another episode, or already given to the trainer."""
    parent: int | None = None
    """Number of the episode that its first steps are recorded in."""
    told: bool = False
    """Its end has been handed to the trainer."""

    def tokens(self) -> list[Tokens]:
        """Of all replies so far."""
        return [step.tokens for step in self.episode.steps if step.tokens is not None]


@dataclass
class Tree:
    """The episodes of one task that began together."""

    request: Request
    env: TextEnv
    current: Path | None = None
    waiting: list[Path] = field(default_factory=list)
    """Replies that were tried and not continued; the last one is the next."""
    finished: int = 0
    asked: int = 0
    """Conversations opened: each has a seed of its own."""


@dataclass(frozen=True)
class Harvest:
    """What was played since the last one."""

    numbers: list[int]
    """Of the episodes with new steps."""
    news: list[Trajectory]
    """Those episodes; what is new begins at their `branch`."""
    finished: list[Trajectory]
    """Whole episodes that came to their end, each once."""
    parts: int
    """How many of the budget's equal parts have been spent since the last one."""


class Grower:
    """Plays trees in parallel until the budget of environment steps is spent, alternatives included."""

    def __init__(
        self,
        games: Iterator[Request],
        worlds: Sequence[TextEnv],
        agent: Agent,
        branch: Callable[[Trajectory], int],
        rewards: Callable[[Sequence[Trajectory]], list[Floats]],
        *,
        wanted: int,
        replace: Replace,
    ) -> None:
        """`games` gives one request for each tree, without end; `worlds` one world for each tree in play.

        `replace` gives another world for one that failed. `wanted` is the number of finished episodes after which a
        tree makes room for the next task.
        """
        self.games, self.agent, self.branch, self.rewards, self.wanted = games, agent, branch, rewards, wanted
        self.replace = replace
        self.trees = [Tree(next(games), env) for env in worlds]
        self.spent = 0
        """Environment steps so far."""
        self.paths: dict[int, Path] = {}
        """Every episode, by its number."""
        self._opened = 0

    def harvests(self, budget: int, parts: int) -> Iterator[Harvest]:
        """Grow until the budget is spent to the step; a harvest whenever another of its `parts` equal parts is spent.

        One round may spend several: their numbers add up to `parts`.

        The agent may learn between two harvests, so before one it forgets what it has read of the conversations.
        """
        done = 0
        while self.spent < budget:
            self.round(budget - self.spent)
            if (reached := self.spent * parts // budget) > done:
                harvest = self._harvest(reached - done)
                self._forget()
                yield harvest
                done = reached

    def round(self, left: int) -> None:
        """One step of every tree, as far as `left` steps reach; a tree that is done makes room for the next task."""
        moves: list[tuple[Tree, list[Path]]] = []
        for place in range(len(self.trees)):
            if not left:
                break
            tree, count = self._next(place)
            if tries := self._tries(tree, min(count, left)):
                left -= len(tries)
                moves.append((tree, tries))
        replies = self.agent.act([path.episode.conversation for _, tries in moves for path in tries])
        self.spent += len(replies)
        answers = iter(replies)
        for tree, tries in moves:
            for path in tries:
                self._step(tree, path, next(answers))
            self._choose(tree, tries)

    def records(self) -> list[tuple[int, int | None, Trajectory]]:
        """Number, parent and whole episode; the first `branch` steps of one are in its parent's record."""
        return [(number, path.parent, path.episode.trajectory()) for number, path in sorted(self.paths.items())]

    def _next(self, place: int) -> tuple[Tree, int]:
        """The tree in this place that is to go on, and how many replies it tries."""
        for _ in range(BARREN):
            tree = self.trees[place]
            if count := self._count(tree):
                return tree, count
            self.trees[place] = Tree(next(self.games), tree.env)
        raise UserError(
            f"{BARREN} episodes in a row had no step, as branch gave 0 or they were won at their start: "
            "no episode can be played"
        )

    def _count(self, tree: Tree) -> int:
        """How many replies are tried in this tree now; 0 where it is done."""
        while tree.current is not None or tree.finished < self.wanted:
            path = tree.current or self._go_back(tree)
            if path.episode.over:  # won at its start
                self._close(tree, path)
                continue
            if count := self.branch(path.episode.trajectory()):
                tree.current = path
                return count
            if not path.episode.steps:
                # Given up before its first step: no episode, and asking again would give the same answer.
                del self.paths[path.number]
                return 0
            path.episode.truncated = True
            self._close(tree, path)
            tree.current = None
        return 0

    def _go_back(self, tree: Tree) -> Path:
        """The best reply that was not continued, or the task from its start."""
        if tree.waiting:
            path = tree.waiting.pop()
            path.episode.conversation.past = path.tokens()
            return path
        self._opened += 1
        request = replace(tree.request, index=self._opened, seed=self._seed(tree))
        game = seat([request], tree.env, self.agent, self.replace)
        tree.env = game.env
        path = self.paths[self._opened] = Path(self._opened, game.episodes[0], None, 0)
        if not game.over:
            with world_call(tree.env.name, "snapshot", request.task, code=type(tree.env)):
                path.state = tree.env.snapshot()
        return path

    def _tries(self, tree: Tree, count: int) -> list[Path]:
        """The current episode, or copies of it that are about to part; the first copy takes its place."""
        assert tree.current is not None
        if count <= 1:
            return [tree.current] * count
        talk = tree.current.episode.conversation
        copies = [self._copy(tree, tree.current, first=n == 0) for n in range(count)]
        self.agent.fork([(talk, [path.episode.conversation for path in copies])])
        self.agent.forget([talk.id])
        self.paths |= {path.number: path for path in copies}
        return copies

    def _copy(self, tree: Tree, path: Path, *, first: bool) -> Path:
        self._opened += 1
        old, length = path.episode, len(path.episode.steps)
        talk = Conversation(self._opened, self._seed(tree), list(old.conversation.messages), past=path.tokens())
        talk.admissible, talk.goal = old.conversation.admissible, old.conversation.goal
        episode = replace(old, conversation=talk, steps=list(old.steps), branch=old.branch if first else length)
        if first:
            return replace(path, episode=episode)
        return Path(self._opened, episode, path.state, learned=length, parent=path.number)

    def _seed(self, tree: Tree) -> int:
        tree.asked += 1
        return derive_seed(tree.request.seed, tree.asked)

    def _step(self, tree: Tree, path: Path, reply: Reply) -> None:
        """Execute a reply from the snapshot of its state; where the world fails, once more in another one."""
        episode, before = path.episode, len(path.episode.steps)
        for left in reversed(range(TRIES)):
            env = tree.env
            try:
                with world_call(env.name, "restore", episode.request.task, code=type(env)):
                    env.restore(path.state)
                advance(Game(env, [episode]), self.agent, [reply])
                with world_call(env.name, "snapshot", episode.request.task, code=type(env)):
                    path.state = env.snapshot()
                return
            except WorldError as error:
                tree.env = self.replace(env, error)
                if not left or len(episode.steps) > before:  # of what was executed nothing is known but the step
                    episode.error, episode.truncated = str(error), True
                    return

    def _choose(self, tree: Tree, tries: list[Path]) -> None:
        """Close what is over, go on with the best of the others, keep the rest for later; of equal actions one."""
        for path in [path for path in tries if path.episode.error is not None]:
            self._close(tree, path)
        tries = [path for path in tries if path.episode.error is None]
        rewards = [0.0]
        if len(tries) > 1:
            rewards = [float(steps[-1]) for steps in self.rewards([path.episode.trajectory() for path in tries])]
        alive: dict[str, Path] = {}
        for index in sorted(range(len(tries)), key=lambda index: -rewards[index]):
            path = tries[index]
            if path.episode.over:
                self._close(tree, path)
            else:
                alive.setdefault(path.episode.steps[-1].action, path)
        ranked = list(alive.values())
        tree.current = ranked[0] if ranked else None
        tree.waiting += ranked[:0:-1]
        self.agent.forget([path.episode.conversation.id for path in tries if path is not tree.current])

    def _close(self, tree: Tree, path: Path) -> None:
        tree.finished += 1
        self.agent.forget([path.episode.conversation.id])

    def _harvest(self, parts: int) -> Harvest:
        paths = [path for _, path in sorted(self.paths.items())]
        fresh = [path for path in paths if len(path.episode.steps) > path.learned]
        over = [path for path in paths if path.episode.over and not path.told]
        news = [replace(path.episode.trajectory(), branch=path.learned) for path in fresh]
        for path in fresh:
            path.learned = len(path.episode.steps)
        for path in over:
            path.told = True
        return Harvest([path.number for path in fresh], news, [path.episode.trajectory() for path in over], parts)

    def _forget(self) -> None:
        """Episodes under way go on from their recorded tokens: the agent may answer otherwise now."""
        for tree in self.trees:
            if tree.current is not None:
                self.agent.forget([tree.current.episode.conversation.id])
                tree.current.episode.conversation.past = tree.current.tokens()
