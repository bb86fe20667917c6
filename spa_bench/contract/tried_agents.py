"""An agent as its contract tests see it: conversations in a little house, played turn by turn, without a world.

What the house says next depends on the conversation's seed and the turn alone, so that two agents, or one agent in two
batches, are told the same whatever they reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spa_bench import registry
from spa_bench.contract.fakes import HOSTILE
from spa_bench.core import Agent, Conversation, Message, Reply, ReplyFormat, derive_seed
from spa_bench.rollout.agents import CheckedAgent, agent_call

PROMPTS = ("action", "react", "verl-agent", "eto", "spa", "code-fence")
"""Reply formats that a run may ask for."""
INSTRUCTIONS = "You are in a house. Commands: look, go to <place>, take <thing>, open <thing>."
ROOMS = (
    ("You are in a hall. You see a door and a lamp.", ("go to kitchen", "look", "open door", "take lamp")),
    ("You are in a kitchen. On the table there is a cup.", ("go to hall", "look", "take cup")),
    ("You are in a cellar. It is dark.", ("go to hall", "look")),
)
GOALS = ("put the cup into the hall.", "take the lamp.")
ODD = (*HOSTILE, "a" * 100_000, "\n" * 50, "Action: look", "<think>", "<|im_end|>")
"""Pages that a world may send."""

Factory = Callable[[ReplyFormat], Agent]
Page = tuple[str, Sequence[str]]
"""What is seen, and the commands that are possible then."""


def page(seed: int, turn: int) -> Page:
    """A room of the house."""
    return ROOMS[derive_seed("page", seed, turn) % len(ROOMS)]


def odd_page(seed: int, turn: int) -> Page:
    """A text that nobody should send; in every third turn nothing is possible. A command is one line."""
    return ODD[(seed + turn) % len(ODD)], () if turn % 3 == 2 else ("go [bold]north[/]", "look", "\U0001f600 {0} %s")


class AgentTrial:
    """An agent that is tried: makes instances, and holds conversations with them."""

    def __init__(self, factory: Factory, name: str) -> None:
        self.factory, self.name = factory, name

    def bare(self, prompt: str = "action") -> Agent:
        """Another instance, for a reply format."""
        code = self.factory if isinstance(self.factory, type) else None
        with agent_call(self.name, "its constructor", code=code):
            return self.factory(registry.prompt(prompt))

    def fresh(self, prompt: str = "action") -> CheckedAgent:
        """The same, whose errors are told with its name, and whose replies are checked."""
        return CheckedAgent(self.name, self.bare(prompt))

    def begin(self, agent: Agent, id: int, seed: int, pages: Callable[[int, int], Page] = page) -> Conversation:
        """A conversation before its first reply."""
        seen, possible = pages(seed, 0)
        goal = GOALS[seed % len(GOALS)] if pages is page else seen
        one = Conversation(id, seed, agent.opening(INSTRUCTIONS, seen), goal=goal)
        _tell(agent, one, possible)
        return one

    def go_on(self, agent: Agent, one: Conversation, reply: Reply, pages: Callable[[int, int], Page] = page) -> None:
        """A reply, and what comes of it."""
        done = sum(message.role == "assistant" for message in one.messages) + 1
        seen, possible = pages(one.seed, done)
        malformed = agent.prompt.parse(reply.text) == ""
        one.messages += [Message("assistant", reply.text), agent.later(seen, one.goal, malformed)]
        _tell(agent, one, possible)

    def play(
        self, agent: Agent, batches: Sequence[Sequence[int]], pages: Callable[[int, int], Page] = page
    ) -> dict[int, list[Reply]]:
        """Play these conversations, named by their seeds, batch after batch, and forget them; the replies of each.

        Those of one batch are answered together. They end after two to four turns.
        """
        found: dict[int, list[Reply]] = {}
        for batch in batches:
            live = [self.begin(agent, seed, seed, pages) for seed in batch]
            for turn in range(4):
                live = [one for one in live if turn < 2 + one.seed % 3]
                for one, reply in zip(live, agent.act(live) if live else [], strict=True):
                    found.setdefault(one.seed, []).append(reply)
                    self.go_on(agent, one, reply, pages)
            agent.forget(list(batch))
        return found


def _tell(agent: Agent, one: Conversation, possible: Sequence[str]) -> None:
    """What a rollout fills in before a reply."""
    one.admissible = sorted(possible)
    one.expert_action = next(iter(possible), "look") if agent.uses_expert else None


def kept(one: Conversation) -> dict[str, Any]:
    """All that a conversation holds, to compare with later."""
    return {**vars(one), "messages": list(one.messages), "admissible": list(one.admissible), "past": list(one.past)}
