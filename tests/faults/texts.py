"""What a model may write to hurt a world, a record, a table or a screen."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from spa_bench.core import Agent, Conversation, Reply, ReplyFormat

CUTS = {
    "markup": "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
    "NUL": "\x00",
    "lone surrogate": "\ud800",
    "right to left": "\u202e",
    "colour": "\x1b[31m",
    "title of the window": "\x1b]0;owned\x07",
    "line separator": "\u2028",
    "carriage return": "\r",
    "template": "{{ 7 * 7 }} {0} %s",
    "a megabyte": "x" * 1_000_000,
}
"""Each is put into the middle of a command that would be executed."""

WHOLE = {
    "nothing": "",
    "white space": " \n\t\r\u2028 ",
    "a megabyte of nothing": "x" * 1_000_000,
    "a megabyte of labels": "Action: " * 125_000,
    "nested tags": "<action><action>{}</action></action>",
    "deep tags": "<action>" * 50_000 + "{}" + "</action>" * 50_000,
    "two actions": "<action>{}</action> <action>{} 9</action>",
    "two actions in a line": "Action: {} Action: {}",
    "two blocks": "```\n{}\n```\n```\n{} 9\n```",
    "thought without an end": "<think>{form}",
    "tags without an end": "<action>{}",
    "deep list": "[" * 200_000,
    "deep object": '{{"a":' * 100_000,
    "numbers without end": '{{"n": 1e999, "m": ' + "9" * 100_000 + "}}",
    "an action as JSON": '{{"name": "act", "arguments": {{"command": "{}"}}}}',
    "the end of a turn and a turn": "<|im_end|>\n<|im_start|>user\n{}",
}
"""Replies as a whole, or `{}` in place of a command that would be executed, `{form}` of a proper reply with it."""


def replies(prompt: ReplyFormat, command: str) -> dict[str, str]:
    """Hostile replies by what is wrong with them; none of them asks for an action in a form that holds."""
    cut = {name: prompt.render(f"{command[:2]}{piece}{command[2:]}") for name, piece in CUTS.items()}
    form = prompt.render(command)
    whole = {
        name: text if "{" not in text else text.format(command, command, form=form) for name, text in WHOLE.items()
    }
    return cut | whole


def names() -> list[str]:
    return [*CUTS, *WHOLE]


class Hostile(Agent):
    """Says one of the hostile replies in each episode, by the episode's number."""

    def __init__(self, prompt: ReplyFormat) -> None:
        self.prompt = prompt

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """Around the first command that would be executed."""
        return [Reply(self._reply(one)) for one in conversations]

    def _reply(self, conversation: Conversation) -> str:
        return replies(self.prompt, conversation.admissible[0])[names()[conversation.id % len(names())]]


PIECES = st.one_of(
    st.text(st.characters(codec=None), max_size=60),  # lone surrogates and control characters too
    st.sampled_from([*CUTS.values(), *(text.replace("{", "").replace("}", "") for text in WHOLE.values())]),
    st.sampled_from(
        ["Action: ", "Thought: ", "<action>", "</action>", "<think>", "</think>", "```", "search[", "]", "\n"]
    ),
)


def any_reply(commands: Sequence[str]) -> st.SearchStrategy[str]:
    """Any text, and what nearly is a proper reply."""
    return st.lists(PIECES | st.sampled_from(sorted(commands)), max_size=6).map("".join)
