"""Worked examples, a memory of some turns, listed commands, and the form said again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import language_model

from spa_bench import registry
from spa_bench.agents.prompts import PROMPTS, Prompt
from spa_bench.core import Agent, Conversation, Message, Reply, Step, Task, Trajectory, UserError
from spa_bench.rollout.game import Request, advance, begin, resume

EXAMPLE = (("A room.", "Action: look"), ("A desk.\nTask: x", "Action: go to desk"))


def contents(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def test_examples_are_turns_before_the_first_page() -> None:
    prompt = replace(PROMPTS["action"], examples=(EXAMPLE, EXAMPLE[:1]))
    another = "That task is done. Now another one.\n\n"
    assert contents(prompt.opening("Rules.", "Page.")) == [
        ("user", "Rules.\n\nAnswer with one line:\nAction: <command>\n\nA room."),
        ("assistant", "Action: look"),
        ("user", "A desk.\nTask: x"),
        ("assistant", "Action: go to desk"),
        ("user", f"{another}A room."),
        ("assistant", "Action: look"),
        ("user", f"{another}Page."),
    ]
    assert contents(PROMPTS["action"].opening("Rules.", "Page.")) == [
        ("user", "Rules.\n\nAnswer with one line:\nAction: <command>\n\nPage.")
    ]


def test_a_memory_goes_with_examples() -> None:
    prompt = replace(PROMPTS["verl-agent"], examples=(EXAMPLE,), memory=1)
    talk = prompt.opening("Rules.", "Page 0.")
    head = len(talk)
    talk += [Message("assistant", "<action>go 0</action>"), Message("user", "Page 1.")]
    view = next(iter(prompt.views(talk, "", [], head)))
    assert view[:-1] == talk[: head - 1]
    assert view[-1].content.startswith("That task is done. Now another one.\n\nPage 0.\n\nYou have taken 1 steps.")
    assert view[-1].content.endswith("You did: go 0\n\nStep 2, now. You see: Page 1.")


@pytest.mark.parametrize("name", ["eto", "spa"])
def test_one_shot_is_a_conversation(name: str) -> None:
    prompt = replace(PROMPTS[name], examples=(EXAMPLE,))
    assert contents(prompt.opening("Rules.", "Page.")) == [
        ("user", prompt.system("Rules.")),
        ("assistant", "OK"),
        ("user", "A room."),
        ("assistant", "Action: look"),
        ("user", "A desk.\nTask: x"),
        ("assistant", "Action: go to desk"),
        ("user", "Page."),
    ]
    assert prompt.system("Rules.") == f"Rules.\n\n{prompt.form}"
    assert prompt.later("A desk.", "x") == "Observation: A desk."


def talk(turns: int) -> list[Message]:
    said = [Message("user", "Rules.\n\nPage 0.")]
    for turn in range(turns):
        said += [
            Message("assistant", f"<think>x</think><action>go {turn}</action>"),
            Message("user", f"Page {turn + 1}."),
        ]
    return said


def test_a_memory_shows_the_first_page_the_last_turns_and_the_current_page() -> None:
    prompt = replace(PROMPTS["verl-agent"], memory=2, lists=True)
    full, shorter, least = (view for (view,) in prompt.views(talk(3), "a mug", ["go 1", "look"], 1))
    assert full.content == (
        "Rules.\n\nPage 0.\n\nYou have taken 3 steps. The last 2:\n\n"
        "Step 2. You saw: Page 1.\nYou did: go 1\n\nStep 3. You saw: Page 2.\nYou did: go 2\n\n"
        "Step 4, now. You see: Page 3.\nTask: a mug\n\nCommands that work now: go 1 | look"
    )
    assert "The last 1:\n\nStep 3." in shorter.content and "Step 2." not in shorter.content
    assert "You have taken 3 steps.\n\nStep 4, now." in least.content and "Commands that work now" in least.content
    ((first,),) = prompt.views(talk(0), "a mug", ["look"], 1)
    assert first.content == "Rules.\n\nPage 0.\nTask: a mug\n\nCommands that work now: look"
    assert list(replace(prompt, memory=None).views(talk(3), "a mug", [], 1)) == []


def test_the_first_turn_of_a_memory_and_a_reply_without_a_command() -> None:
    prompt = replace(PROMPTS["verl-agent"], memory=5)
    messages = [*talk(0), Message("assistant", "well"), Message("user", "Page 1.")]
    view = next(iter(prompt.views(messages, "", [], 1)))[0].content
    assert "Step 1. You saw: what is shown above\nYou did: nothing: there was no command" in view
    assert view.endswith("Step 2, now. You see: Page 1.")


@pytest.mark.parametrize("name", PROMPTS)
def test_a_reply_without_a_command_is_answered_with_the_form(name: str) -> None:
    prompt = replace(PROMPTS[name], repeats_form=True)
    plain = prompt.later("Nothing.", "a mug")
    assert prompt.later("Nothing.", "a mug", True) == f"{plain}\nYour reply held no command. {prompt.form}"
    assert PROMPTS[name].later("Nothing.", "a mug", True) == PROMPTS[name].later("Nothing.", "a mug")


def changed(prompt: Prompt) -> list[Prompt]:
    ways: list[dict[str, Any]] = [{"examples": (EXAMPLE,)}, {"memory": 0}, {"memory": 2}, {"repeats_form": True}]
    return [replace(prompt, **way) for way in [*ways, {"memory": 2, "lists": True}]]


@pytest.mark.parametrize("name", PROMPTS)
def test_everything_that_decides_what_is_told_is_part_of_the_identity(name: str) -> None:
    told = [prompt.identity("Rules.") for prompt in (PROMPTS[name], *changed(PROMPTS[name]))]
    assert len(set(told)) == len(told)
    if not PROMPTS[name].conversational:
        assert told[0] == PROMPTS[name].system("Rules.")


def shown(turns: int, admissible: tuple[str, ...] = ()) -> Trajectory:
    steps = tuple(
        Step(f"Page {n}.", f"<think>so</think>\n<action>go {n}</action>", f"go {n}", True, None, 0.0, 0.0,
             admissible=(*admissible, f"go {n}"))
        for n in range(turns)
    )  # fmt: skip
    return Trajectory(Task("alfworld", "k", "train", "kind", 3), steps, 0.0, False, False, True, goal="a mug")


def agent(prompt: Prompt, **settings: Any) -> Any:
    one = language_model()
    return type(one)(one.model, one.tokenizer, prompt, context=900, max_new_tokens=64, **settings)


@pytest.mark.parametrize(
    "prompt",
    [
        replace(PROMPTS["verl-agent"], memory=2, lists=True),
        replace(PROMPTS["eto"], examples=(EXAMPLE,)),
        replace(PROMPTS["react"], examples=(EXAMPLE,), repeats_form=True),
    ],
)
def test_cloning_sees_the_same_ids_as_play(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    one = agent(prompt)
    episode = shown(5)
    if prompt.name != "verl-agent":
        steps = tuple(replace(step, reply=prompt.render(step.action, "so")) for step in episode.steps)
        broken = replace(steps[2], reply="well", action="", grounded=False, fault="format")
        episode = replace(episode, steps=(*steps[:2], broken, *steps[3:]))
    taught = one.tokenise("Rules.", episode)
    wanted = iter([token for turn in taught for token in turn.reply])
    monkeypatch.setattr(one.engine, "_draw", lambda *drawn: (torch.tensor([next(wanted)]), torch.zeros(1)))
    talk = Conversation(0, 1, one.opening("Rules.", "Page 0."), goal="a mug")
    for number, (turn, step) in enumerate(zip(taught, episode.steps, strict=True)):
        talk.admissible = step.admissible
        (reply,) = one.act([talk])
        assert (reply.tokens.context, reply.tokens.restart) == (turn.context, turn.restart)
        told = one.later(f"Page {number + 1}.", "a mug", not step.action)
        talk.messages += [Message("assistant", reply.text), told]
    assert [turn.restart for turn in taught] == [True] + [prompt.memory is not None] * 4
    text = one.tokenizer.decode([i for turn in taught for i in turn.context])
    assert ("Your reply held no command" in text) == prompt.repeats_form
    assert text.count("Commands that work now: go 3") == prompt.lists


def test_examples_and_the_task_stay_where_the_context_is_full() -> None:
    prompt = replace(PROMPTS["eto"], examples=(EXAMPLE,))
    one = agent(prompt)
    one.books.context, one.books.max_new_tokens = 700, 8
    steps = shown(12).steps
    turns = one.tokenise("Rules.", replace(shown(0), steps=steps))
    again = [turn for turn in turns[1:] if turn.restart]
    assert again
    for turn in again:
        text = one.tokenizer.decode(turn.context)
        assert "Rules." in text and "OK<|end|>" in text and "Action: go to desk<|end|><|user|>Page 0." in text


def test_a_memory_that_does_not_fit_is_made_shorter_and_a_page_that_does_not_is_refused() -> None:
    one = agent(replace(PROMPTS["verl-agent"], memory=4))
    episode = shown(6)
    whole = one.tokenise("Rules.", episode)
    one.books.context = len(whole[-1].context) + 63
    cut = one.tokenise("Rules.", episode)
    assert "The last 4:" in one.tokenizer.decode(whole[-1].context)
    assert "The last 3:" in one.tokenizer.decode(cut[-1].context)
    one.books.context = 70
    with pytest.raises(UserError, match=r"set model\.context="):
        one.tokenise("Rules.", episode)


class Talker(Agent):
    """What it says is given by the test."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        raise AssertionError("not asked")


def test_the_rollout_says_which_reply_held_no_command_also_where_it_goes_on_from_the_middle() -> None:
    env = registry.build("environments", "alfworld", train=12, valid=2)
    prompt = replace(PROMPTS["react"], repeats_form=True)
    talker = Talker(prompt)
    game = begin([Request(0, env.tasks("train")[0], 3)], env, talker)
    for said in ("Action: look", "well"):
        advance(game, talker, [Reply(said)])
    (episode,) = game.episodes
    pages = [message.content for message in episode.conversation.messages if message.role == "user"]
    assert ["held no command" in page for page in pages] == [False, False, True]
    assert episode.conversation.goal and episode.conversation.goal == episode.info["goal"]
    again = resume(episode.trajectory(), 1, 4, env, env.snapshot(), talker).episodes[0].conversation
    assert again.messages == episode.conversation.messages and again.goal == episode.conversation.goal
