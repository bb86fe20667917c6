"""One episode whose replies come from somebody else's loop, one after another.

`rollout.player` asks an agent; here the caller holds the conversation, and this keeps the record of it, made by the
same code, so that a method sees the same trajectory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spa_bench import registry
from spa_bench.core import Agent, Conversation, Message, Reply, ReplyFormat, Task, TextEnv, Trajectory, UserError
from spa_bench.rollout.game import Episode, Request, advance, begin
from spa_bench.rollout.worlds import ask, make


def world(name: str, options: Mapping[str, Any]) -> TextEnv:
    """The world of that name, for one character; UserError for an unknown name or option, or where it fails."""
    env = make(name, **options)
    if env.characters > 1:
        raise UserError(f"environment {name}: several act at once, which other trainers do not play: use characters=1")
    return env


def tasks(env: TextEnv, split: str, count: int | None) -> tuple[Task, ...]:
    """The first `count` tasks of a split, by key; all for None."""
    listed: tuple[Task, ...] = ask(env, "tasks", split)
    return listed[:count]


class _Elsewhere(Agent):
    """Stands where the rollout wants an agent; the replies come from elsewhere."""

    def __init__(self, prompt: ReplyFormat) -> None:
        self.prompt = prompt

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        raise NotImplementedError("replies are given to Dialogue.reply")


class Dialogue:
    """A world and one episode in it. WorldError, one line with its name, where the world fails."""

    def __init__(self, make_env: Callable[[], TextEnv], prompt: str = "action") -> None:
        """`prompt` is a reply format; UserError for an unknown one, and for one that hides turns that were played."""
        self.env, self._agent = make_env(), _Elsewhere(registry.prompt(prompt))
        self._episode: Episode | None = None
        probe = [Message("user", "")] * 4
        if next(self._agent.prompt.views(probe, "", (), 1), None) is not None:
            raise UserError(f"prompt {prompt}: it shows a part of the conversation, and other trainers keep it whole")

    @property
    def render(self) -> Callable[[str], str]:
        """A command as a reply."""
        return self._agent.prompt.render

    def begin(self, task: Task, seed: int) -> list[Message]:
        """Start the task; what is said before the first reply."""
        self._game = begin([Request(0, task, seed)], self.env, self._agent)
        (self._episode,) = self._game.episodes
        return list(self._episode.conversation.messages)

    def reply(self, text: str) -> str:
        """Send a reply to the world; what is answered. UserError before `begin` and after the end."""
        if self.over:
            raise UserError("the episode is over, or has not begun: begin another one")
        advance(self._game, self._agent, [Reply(text)])
        return self.episode.conversation.messages[-1].content

    @property
    def episode(self) -> Episode:
        """The episode under way, with its `steps` so far, and `info`, what the world said last."""
        if self._episode is None:
            raise UserError("no episode has begun: call `begin` first")
        return self._episode

    @property
    def over(self) -> bool:
        """Nothing more can be done."""
        return self._episode is None or self._episode.over

    def trajectory(self) -> Trajectory:
        """The episode so far, also where it has no end; its replies without tokens."""
        return self.episode.trajectory()
