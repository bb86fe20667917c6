"""The contract tests of agents: `check_agent` raises AssertionError with the name of the test that fails.

Public, so that an agent of one's own is tested with one line:

    check_agent(MyAgent)

Conversations are held with it, without a world or a model: singly, in batches, and with pages that nobody should send.
What the agent itself raises becomes a UserError that names it. `spa-bench check --agent` runs the same tests one by
one.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spa_bench.contract.laws import chance, hold
from spa_bench.contract.tried_agents import INSTRUCTIONS, PROMPTS, AgentTrial, Factory, kept, odd_page
from spa_bench.core import Agent, Conversation, Message, Reply
from spa_bench.watch import watching

LIMITS = {"act": 60.0}
"""Seconds that a call may last."""
SEEDS = tuple(range(8))
RECORDED = {"state", "menu"}


@dataclass(frozen=True)
class AgentTest:
    """One property of every agent; `run` raises ContractError where it does not hold."""

    name: str
    """A sentence of what holds."""
    run: Callable[[AgentTrial], None]


def _says(trial: AgentTrial) -> None:
    agent = trial.bare()
    for flag in ("uses_expert", "apart", "lists"):
        hold(f"{flag} is True or False", isinstance(getattr(agent, flag), bool), repr(getattr(agent, flag)))
    known = isinstance(agent.records, frozenset) and agent.records <= RECORDED
    hold("records is a frozenset of 'state' and 'menu'", known, repr(agent.records))


def _messages(trial: AgentTrial) -> None:
    agent = trial.fresh()
    opening = agent.opening(INSTRUCTIONS, "A room.")
    good = isinstance(opening, list) and all(_is_message(one, ("user", "assistant")) for one in opening)
    hold("opening gives a list of messages of user and assistant", good, repr(opening))
    hold("opening ends with the user's", bool(opening) and opening[-1].role == "user", repr(opening))
    for malformed in (False, True):
        later = agent.later("A room.", "look.", malformed)
        hold("later gives a message of the user", _is_message(later, ("user",)), repr(later))


def _is_message(found: object, roles: Sequence[str]) -> bool:
    return isinstance(found, Message) and found.role in roles and isinstance(found.content, str)


def _answers(trial: AgentTrial) -> None:
    """Number and kind of what `act` returns are checked with every call, by `CheckedAgent`."""
    trial.play(trial.fresh(), [SEEDS])


def _form(trial: AgentTrial) -> None:
    for prompt in PROMPTS:
        agent = trial.fresh(prompt)
        said = [reply.text for replies in trial.play(agent, [SEEDS]).values() for reply in replies]
        good = any(agent.prompt.parse(text) for text in said)
        hold("some reply has the form that the run asks for", good, f"none of {prompt}, such as {said[0]!r}")


def _unchanged(trial: AgentTrial) -> None:
    agent = trial.fresh()
    live = [trial.begin(agent, seed, seed) for seed in SEEDS]
    for _ in range(3):
        before = [kept(one) for one in live]
        given = list(live)
        replies = agent.act(given)
        hold("act does not change what it is given", [kept(one) for one in live] == before and given == live)
        for one, reply in zip(live, replies, strict=True):
            trial.go_on(agent, one, reply)


def _repeated(trial: AgentTrial) -> None:
    first, again = (trial.play(trial.fresh(), [SEEDS]) for _ in range(2))
    _same("the same conversations get the same replies", first, again)


def _chance(trial: AgentTrial) -> None:
    before = chance()
    trial.play(trial.fresh(), [SEEDS])
    hold("all chance comes from seed and turn", chance() == before, "a global generator was used")


def _apart(trial: AgentTrial) -> None:
    if not trial.bare().apart:
        return
    together = trial.play(trial.fresh(), [SEEDS])
    for how, batches in (
        ("one by one", [[seed] for seed in SEEDS]),
        ("in another order", [SEEDS[::-1]]),
        ("in two batches", [SEEDS[::2], SEEDS[1::2]]),
    ):
        _same(f"eight conversations get the same replies {how}", together, trial.play(trial.fresh(), batches))


def _forgets(trial: AgentTrial) -> None:
    agent = trial.fresh()
    agent.forget([10, 11])
    trial.play(agent, [SEEDS])
    agent.forget(list(SEEDS))
    if agent.apart:
        _same("a conversation whose id another one had is answered as a new one", *_reused(trial, agent))


def _reused(trial: AgentTrial, agent: Agent) -> tuple[dict[int, list[Reply]], dict[int, list[Reply]]]:
    """First replies to other conversations under the same ids: of this agent, and of a new one."""
    found = []
    for one in (agent, trial.fresh()):
        others = [trial.begin(one, id, id + 3) for id in SEEDS]
        found.append({talk.id: [reply] for talk, reply in zip(others, one.act(others), strict=True)})
    return found[0], found[1]


def _any_text(trial: AgentTrial) -> None:
    for prompt in PROMPTS[:3]:
        trial.play(trial.fresh(prompt), [SEEDS, range(8, 16)], odd_page)


def _soon(trial: AgentTrial) -> None:
    agent, other = trial.fresh(), trial.fresh()
    live = [trial.begin(agent, seed, seed) for seed in SEEDS]
    asked = deque(live)
    found: dict[int, list[Reply]] = {}
    for id, reply in agent.act_soon(asked):
        found.setdefault(id, []).append(reply)
        if len(found[id]) < 2:
            trial.go_on(agent, live[id], reply)
            asked.append(live[id])
    hold("act_soon answers each conversation as often as it is asked", _counts(found) == dict.fromkeys(SEEDS, 2))
    if agent.apart:
        wanted = {seed: replies[:2] for seed, replies in trial.play(other, [SEEDS]).items()}
        _same("the replies of act_soon are those of act", found, wanted)


def _counts(found: Mapping[int, Sequence[Reply]]) -> dict[int, int]:
    return {id: len(replies) for id, replies in sorted(found.items())}


def _forks(trial: AgentTrial) -> None:
    agent, other = trial.fresh(), trial.fresh()
    parents = [trial.begin(agent, seed, seed) for seed in SEEDS[:2]]
    families: list[tuple[Conversation, Sequence[Conversation]]] = [
        (parent, [trial.begin(agent, 10 * (parent.id + 1) + n, parent.seed) for n in range(3)]) for parent in parents
    ]
    agent.fork(families)
    children = [child for _, own in families for child in own]
    replies = agent.act(children)
    if agent.apart:
        plain = other.act([trial.begin(other, child.id, child.seed) for child in children])
        hold("fork changes no reply", [r.text for r in replies] == [r.text for r in plain])


def _spent(trial: AgentTrial) -> None:
    agent = trial.fresh()
    trial.play(agent, [SEEDS])
    spent = agent.spent()
    try:
        written = isinstance(spent, dict) and json.loads(json.dumps(spent, allow_nan=False)) == spent
    except (TypeError, ValueError):
        written = False
    hold("spent gives what can be written as JSON", written, repr(spent))


def _same(test: str, first: Mapping[int, Sequence[Reply]], second: Mapping[int, Sequence[Reply]]) -> None:
    for seed, replies in sorted(first.items()):
        told = [reply.text for reply in replies]
        others = [reply.text for reply in second.get(seed, ())]
        hold(test, told == others, f"conversation {seed}: {told!r} and {others!r}")


AGENT_TESTS = (
    AgentTest("an agent says what it needs", _says),
    AgentTest("opening and later give messages", _messages),
    AgentTest("act gives one reply with a text for each conversation", _answers),
    AgentTest("replies have the form that the run asks for", _form),
    AgentTest("act does not change what it is given", _unchanged),
    AgentTest("the same conversations get the same replies", _repeated),
    AgentTest("all chance comes from seed and turn", _chance),
    AgentTest("a reply depends on its own conversation alone, where apart says so", _apart),
    AgentTest("conversations that are over are forgotten", _forgets),
    AgentTest("any text can be read", _any_text),
    AgentTest("act_soon gives the replies of act", _soon),
    AgentTest("fork changes no reply", _forks),
    AgentTest("spent gives what can be written as JSON", _spent),
)
"""In the order they are run."""


def check_agent(factory: Factory, *, name: str | None = None) -> None:
    """Run all `AGENT_TESTS` on instances that `factory` makes; ContractError for the first that fails.

    `factory` is given the reply format, as the class itself is. `name` is what the agent is called in errors.
    """
    trial = AgentTrial(factory, name or (factory.__name__ if isinstance(factory, type) else "that is tried"))
    with watching(LIMITS):
        for test in AGENT_TESTS:
            test.run(trial)
