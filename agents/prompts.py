r"""Reply formats: how an agent is told to answer, and how its answer is read.

`action` is one line, for small and cloned models, and repeats the task in every turn; `react` is a thought and an
action, as ETO and SPA prompt, and leaves the task at the beginning. Both are read alike: the first line that begins
with `Action:` is the action. The first, not the last, because a model that writes on answers observations it has only
imagined; at the beginning of a line, because thoughts mention actions.
(Upstream's `Action:\s?(.*)` also matches inside a thought, and sends every following line to the world.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spa_bench.core import UserError

_ACTION = re.compile(r"^[ \t]*Action:(.*)", re.MULTILINE)
_QUOTES = "`\"'"


@dataclass(frozen=True)
class Prompt:
    """One reply format; satisfies `core.ReplyFormat`."""

    name: str
    thought: bool
    """The reply begins with a line of reasoning."""
    form: str
    """The end of the system text: what a reply looks like."""
    reminds: bool = False
    """Every observation ends with the task, as in verl-agent's prompts. A small model reads what is near: after 600
    steps of 8 demonstrations the embedded default solved 55 % of held-out ALFWorld tasks with it, 15 % without."""

    def system(self, instructions: str) -> str:
        """The world's instructions, then the form of a reply."""
        return f"{instructions}\n\n{self.form}"

    def later(self, observation: str, goal: str) -> str:
        """What the agent reads after a step; a world that repeats the task itself is not made to say it twice."""
        return f"{observation}\nTask: {goal}" if self.reminds and goal not in observation else observation

    def render(self, action: str, thought: str = "") -> str:
        """A reply in this form; `parse` reads the action back. Raises ValueError for an action of several lines."""
        if "\n" in action:
            raise ValueError(f"an action is one line, not {action!r}")
        head = f"Thought: {' '.join(thought.split())}\n" if self.thought else ""
        return f"{head}Action: {action}"

    def parse(self, reply: str) -> str:
        """The action, without white space and quotes around it; empty where no line begins with `Action:`."""
        match = _ACTION.search(reply)
        return _unquoted(match.group(1)) if match else ""


PROMPTS = {
    prompt.name: prompt
    for prompt in (
        Prompt("action", thought=False, form="Answer with one line:\nAction: <command>", reminds=True),
        Prompt(
            "react",
            thought=True,
            form="Think first, then give one command. Answer in exactly this form:\n"
            "Thought: <your reasoning in one line>\nAction: <command>",
        ),
    )
}
"""Reply formats by the name that is typed."""


def find(name: str) -> Prompt:
    """The format of that name; UserError where there is none."""
    if name not in PROMPTS:
        raise UserError(f"no prompt {name!r} (there are: {', '.join(PROMPTS)})")
    return PROMPTS[name]


def _unquoted(text: str) -> str:
    """Strip white space and matching quotes, however deep, in one pass: replies can be megabytes of quotes."""
    start, end = 0, len(text)
    while start < end:
        if text[start].isspace():
            start += 1
        elif text[end - 1].isspace():
            end -= 1
        elif end - start > 1 and text[start] in _QUOTES and text[start] == text[end - 1]:
            start, end = start + 1, end - 1
        else:
            break
    return text[start:end]
