"""Each contract test of agents catches the agent that breaks it, and no other one; the built-in agents pass all."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from invoked import invoke

from spa_bench import Agent, Conversation, Message, Reply, ReplyFormat, check_agent, derive_seed, registry
from spa_bench.contract import check, scaffold
from spa_bench.contract.agent_laws import AGENT_TESTS
from spa_bench.contract.check import examine_agent
from spa_bench.contract.laws import ContractError
from spa_bench.contract.tried_agents import AgentTrial
from spa_bench.core import UserError
from spa_bench.rollout.agents import CheckedAgent

ROOT = Path(__file__).resolve().parents[2]
NAMES = [test.name for test in AGENT_TESTS]
NUMBERS = itertools.count()
"""What several instances share though they should not."""


class Sound(Agent):
    """Draws among the commands; notes under each conversation's id how often it was asked."""

    apart = True

    def __init__(self, prompt: ReplyFormat) -> None:
        super().__init__(prompt)
        self.asked: dict[int, int] = {}

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        return [Reply(self.prompt.render(self.draw(one))) for one in conversations]

    def draw(self, one: Conversation) -> str:
        self.asked[one.id] = self.asked.get(one.id, 0) + 1
        return self.at(one, derive_seed(one.seed, self.asked[one.id]))

    def at(self, one: Conversation, number: int) -> str:
        known = one.admissible or ("look",)
        return known[number % len(known)]

    def forget(self, ids: Sequence[int]) -> None:
        for gone in ids:
            self.asked.pop(gone, None)


class OddFlag(Sound):
    apart = "yes"  # type: ignore[assignment]


class Instructs(Sound):
    def opening(self, instructions: str, observation: str) -> list[Message]:
        return [Message("system", instructions), *super().opening(instructions, observation)]


class TooMany(Sound):
    """Wrong where five conversations or more are answered, which in other tests with small batches are none."""

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        return [*super().act(conversations), Reply("Action: look")]


class OneForm(Sound):
    """Writes in one form, whatever the run asks for."""

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        return [Reply(f"Action: {self.draw(one)}") for one in conversations]


class Writes(Sound):
    """Takes commands off the list, in place; the list is made anew for every turn."""

    def draw(self, one: Conversation) -> str:
        said = super().draw(one)
        one.admissible = [command for command in one.admissible if command != said]
        return said


class Counts(Sound):
    apart = False

    def draw(self, one: Conversation) -> str:
        return self.at(one, next(NUMBERS))


class Dices(Sound):
    """Draws from a global generator, and makes nothing of it."""

    def draw(self, one: Conversation) -> str:
        random.random()
        return super().draw(one)


class ByPlace(Sound):
    """A reply depends on the place in the batch."""

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        return [Reply(self.prompt.render(self.at(one, place))) for place, one in enumerate(conversations)]


class Remembers(Sound):
    def forget(self, ids: Sequence[int]) -> None:
        pass


class Fragile(Sound):
    """Takes for granted that something is possible."""

    def at(self, one: Conversation, number: int) -> str:
        return one.admissible[number % len(one.admissible)]


class SoonOther(Sound):
    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        while asked:
            yield asked.popleft().id, Reply("Action: wait")


class Forks(Sound):
    def fork(self, families: Sequence[tuple[Conversation, Sequence[Conversation]]]) -> None:
        self.asked |= {child.id: 1 for _, children in families for child in children}


class Spends(Sound):
    def spent(self) -> dict[str, Any]:
        return {"cost": float("nan")}


BROKEN: list[type[Sound]] = [
    OddFlag, Instructs, TooMany, OneForm, Writes, Counts, Dices, ByPlace, Remembers, Fragile, SoonOther, Forks, Spends,
]  # fmt: skip
"""In the order of `AGENT_TESTS`: each breaks the test at its place."""


def failures(factory: Any) -> dict[str, str]:
    found, trial = {}, AgentTrial(factory, "mine")
    for test in AGENT_TESTS:
        try:
            test.run(trial)
        except (ContractError, UserError) as error:
            found[test.name] = str(error)
    return found


def test_every_contract_test_has_an_agent_that_breaks_it():
    assert len(BROKEN) == len(set(BROKEN)) == len(AGENT_TESTS)


@pytest.mark.parametrize(("kind", "name"), [*zip(BROKEN, NAMES, strict=True)], ids=[kind.__name__ for kind in BROKEN])
def test_a_broken_agent_fails_the_test_of_what_it_breaks_and_no_other(kind: type[Sound], name: str):
    """But where no reply can be had at all."""
    found = failures(kind)
    assert list(found) == [name] or (kind is TooMany and name in found)
    with pytest.raises((ContractError, UserError)):
        check_agent(kind)


def test_a_sound_agent_passes_and_so_does_one_that_promises_less():
    assert failures(Sound) == {}
    assert failures(type("NotApart", (ByPlace,), {"apart": False})) == {}


class NoPrompt(Sound):
    def __init__(self, prompt: ReplyFormat) -> None:
        self.asked = {}


class Silent(Sound):
    """Leaves conversations without a reply."""

    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        asked.popleft()
        yield from super().act_soon(asked)


class Confuses(Sound):
    def act_soon(self, asked: deque[Conversation]) -> Generator[tuple[int, Reply], None, None]:
        while asked:
            yield asked.popleft().id + 100, Reply("Action: look")


class Loses(Sound):
    """Takes for granted that it has been asked before."""

    def forget(self, ids: Sequence[int]) -> None:
        for gone in ids:
            del self.asked[gone]


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (TooMany, NAMES[2], "agent mine: act raised ValueError: 9 replies to 8 conversations"),
        (OneForm, NAMES[3], "some reply has the form that the run asks for: none of verl-agent, such as 'Action: "),
        (ByPlace, NAMES[7], "eight conversations get the same replies one by one: conversation "),
        (Loses, NAMES[8], "agent mine: forget raised KeyError: 10 at "),
        (Fragile, NAMES[9], "agent mine: act raised ZeroDivisionError: "),
        (Silent, NAMES[10], "agent mine: act_soon raised ValueError: 1 conversations have no reply"),
        (Confuses, NAMES[10], "agent mine: act_soon raised ValueError: a reply to conversation 100, which "),
        (NoPrompt, NAMES[2], "agent mine: its constructor raised AttributeError: 'NoPrompt' object has no "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(kind: type[Sound], name: str, said: str):
    line = failures(kind)[name]
    assert line.startswith(said) and "\n" not in line


def test_what_an_agent_raises_is_one_line_with_its_name_the_call_and_the_place():
    with pytest.raises(UserError, match=r"^agent Fragile: act raised ZeroDivisionError: .* at .*test_agents\.py:\d+$"):
        check_agent(Fragile)


class Hangs(Sound):
    def at(self, one: Conversation, number: int) -> str:
        time.sleep(1000 if not one.admissible else 0)
        return super().at(one, number)


def test_t16_an_agent_that_hangs_ends_its_check(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check, "AGENT_LIMITS", {"act": 1.0})
    monkeypatch.setattr(registry, "build", lambda room, name, prompt: Hangs(prompt))
    report = examine_agent("hangs", {})
    assert [one.state for one in report.tests] == ["ok"] * 9 + ["failed"] + ["not run"] * 3
    assert re.match(r"agent hangs: act did not return within 1 s", report.tests[9].detail)


def test_an_own_act_soon_is_played_and_checked():
    """As the page on agents says: it takes part in games that do not wait."""
    prompt = registry.prompt("action")
    asked = deque([Conversation(5, 1, [Message("user", "A room.")], ("look",))])
    assert list(CheckedAgent("mine", SoonOther(prompt)).act_soon(asked)) == [(5, Reply("Action: wait"))]
    kind = type("Records", (Sound,), {"records": frozenset({"state"})})
    assert CheckedAgent("mine", kind(prompt)).records == {"state"}


# The command


@pytest.mark.parametrize("agent", ["expert", "random", "expert:slip=0.5", "one_way.py:OneWay", "mine.py:Mine:times=2"])
def test_the_built_in_agents_and_the_examples_pass(agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    scaffold.write("agents", "mine", tmp_path)
    (tmp_path / "one_way.py").write_bytes((ROOT / "examples/blocks/spa_bench_blocks/one_way.py").read_bytes())
    done = invoke("check", "--agent", agent)
    assert (done.exit_code, done.stdout.splitlines()) == (0, [f"ok         {name}" for name in NAMES]), done.output


def test_the_check_goes_on_after_a_broken_test_and_ends_with_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    file, *_ = scaffold.write("agents", "mine", tmp_path)
    text = file.read_text(encoding="utf-8")
    assert text.count('conversation.admissible or [""]') == 1
    file.write_text(text.replace('conversation.admissible or [""]', "conversation.admissible"), encoding="utf-8")
    done = invoke("check", "--agent", "mine.py:Mine")
    failed = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
    assert (done.exit_code, len(failed), len(done.stdout.splitlines())) == (2, 1, len(NAMES))
    assert re.match(
        r"failed     any text can be read: agent mine.py:Mine: act raised \w+: .* at mine\.py:29", failed[0]
    )
    assert done.stderr.startswith("error: agent mine.py:Mine fails a contract test: any text can be read: ")
    told = json.loads(invoke("check", "--agent", "mine.py:Mine", "--json").stdout)
    assert [one["test"] for one in told["tests"] if one["state"] == "failed"] == ["any text can be read"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agent", "expert", "--env", "alfworld"], "check needs one of --reward, --env and --agent"),
        ([], "check needs one of --reward, --env and --agent"),
        (["--agent", "exprt"], "no agent 'exprt': did you mean expert?"),
        (["--agent", "expert:slip=2"], "agent expert: slip=2: use a number, 0 to 1"),
        (["--agent", "causal-lm"], "agent causal-lm needs model, tokenizer"),
        (
            ["--agent", "expert", "--set", "reward_options.slip=1"],
            "options of an agent follow its name, as expert:OPTION",
        ),
    ],
)
def test_a_wrong_call_is_one_line(words: list[str], said: str):
    done = invoke("check", *words)
    assert done.exit_code == 2 and said in done.stderr and done.stderr.count("\n") == 1
