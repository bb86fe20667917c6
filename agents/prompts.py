r"""Reply formats: how an agent is told to answer, and how its answer is read.

`action` is one line, for small and cloned models, and repeats the task in every turn; `react` is a thought and an
action, and leaves the task at the beginning; `eto` and `spa` are the same reply, to instructions in a message of their
own; `verl-agent` is `<think>` and `<action>`, with a memory of some turns; `code-fence` is a thought and one block of
code. What is said is ours; only the forms are theirs. The rules of reading:

1. Thoughts in tags are not read (`thoughts`).
2. The action stands behind a label, in tags or in a block, as the format says. Of several labels the first counts, not
   the last: a model that writes on answers observations it has only imagined. Tags may stand in the middle of a line,
   where they are only mentioned: of several different actions in tags none counts, and of several blocks of code none.
3. A label begins a line, because thoughts mention actions: `Action:`, in either case, with a number as ReAct writes it
   (`Action 2:`), in bold, with a space before the colon or with the full-width one. Lists and quotations have no label.
4. What is wrapped around the command is taken off: white space, quotes, backticks, asterisks, a spelled-out end of
   turn behind it. The command itself is left as it is: capitals, full stops and inner spaces are for the world to
   judge. The end of a turn or the tag of a thought within it makes it malformed. A pair of quotes is around the command
   only if that mark does not stand within it: `"a" and "b"` stays.
5. Behind a label with nothing after it one more line may follow, or one block of code with one line, and nothing else.
6. One label or one pair of tags around the command of another style is taken off too (`Action: <action>look</action>`);
   a command that still begins with a label or holds a tag is malformed.
7. What cannot be read so is no action, the empty one, which every world counts as malformed.

(Upstream's `Action:\s?(.*)` also matches inside a thought, and sends every following line to the world.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spa_bench.agents.thoughts import has_tag, spoken, untagged
from spa_bench.core import Message, UserError

_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff"
"""Characters of no width, which are no white space to Python."""
_SPACE = rf"(?:[^\S\n]|[{_UNSEEN}])"
_LABEL = re.compile(
    rf"^{_SPACE}*(?P<bold>\*\*)?Action(?:{_SPACE}{{1,4}}\d{{1,4}})?{_SPACE}{{0,4}}(?P<shut>\*\*)?{_SPACE}{{0,4}}[:\uff1a]"
    r"(?P<line>.*)",
    re.MULTILINE | re.IGNORECASE,
)
_ANY_LABEL = re.compile(r"\W*(?:action|thought|observation)\W", re.IGNORECASE)
_ACTION_TAG = re.compile(r"<(/?)action>", re.IGNORECASE)
_IN_TAGS = re.compile(r"<action>(.*)</action>", re.IGNORECASE)
_FENCE = "```"
_LANGUAGE = re.compile(r"[\w+-]*")
_TURN_ENDS = (
    *("<|im_end|>", "<|eot_id|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>"),
    *("</s>", "<end_of_turn>", "<eos>", "<|return|>"),
)
"""Ends of turns spelled out. Where the model's own token is known (`Chat.ends`) it never comes this far."""
_WRAPPED = {mark: mark for mark in "`\"'*"} | {"\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}


NEXT = "That task is done. Now another one."
"""Stands between an example and what follows it."""

Example = tuple[tuple[str, str], ...]
"""An episode as it is shown: pages, and the replies to them."""


@dataclass(frozen=True)
class Prompt:
    """One reply format; satisfies `core.ReplyFormat`."""

    name: str
    form: str
    """The end of the system text: what a reply looks like."""
    reply: str
    """A reply, with `{action}` and, where it begins with a line of reasoning, `{thought}`."""
    read: Callable[[str], str]
    """The action of a reply without thoughts in tags."""
    reminds: bool = False
    """Every observation ends with the task, as in verl-agent's prompts. A small model reads what is near: after 600
    steps of 8 demonstrations the embedded default solved 55 % of held-out ALFWorld tasks with it, 15 % without."""

    conversational: bool = False
    """Instructions are a message of their own, answered with `OK`, and pages after the first are marked as
    observations. The form in which ETO and SPA prompt."""
    examples: tuple[Example, ...] = ()
    """Worked examples of other tasks, shown as turns before the first one."""
    memory: int | None = None
    """A reply is shown the first page, so many of the last turns and the current page; None: the whole conversation."""
    lists: bool = False
    """With a memory: the commands that work now follow the current page."""
    repeats_form: bool = False
    """A reply without a command is answered with the form of a reply."""

    def system(self, instructions: str) -> str:
        """The world's instructions, then the form of a reply."""
        return f"{instructions}\n\n{self.form}"

    def opening(self, instructions: str, observation: str) -> list[Message]:
        """The messages before the first reply; examples are turns of the conversation, as the replies to come.

        Shown as text within one message they did not help: of 32 replies of SmolLM2-135M without training 0 had the
        form, and 32 after the same example as a conversation.
        """
        shown = [list(example) for example in self.examples]
        if self.conversational:
            first = [(self.system(instructions), "OK")]
            return _talk([*first, *(turn for example in shown for turn in example)], observation)
        openings = [example[0][0] for example in shown] + [observation]
        openings = [f"{self.system(instructions)}\n\n{openings[0]}", *(f"{NEXT}\n\n{page}" for page in openings[1:])]
        turns = [
            turn
            for page, example in zip(openings, shown, strict=False)
            for turn in ((page, example[0][1]), *example[1:])
        ]
        return _talk(turns, openings[-1])

    def later(self, observation: str, goal: str, malformed: bool = False) -> str:
        """What the agent reads after a step; a world that repeats the task itself is not made to say it twice."""
        if self.conversational:
            observation = f"Observation: {observation}"
        if self.reminds and self.memory is None and goal not in observation:
            observation = f"{observation}\nTask: {goal}"
        return (
            f"{observation}\nYour reply held no command. {self.form}"
            if malformed and self.repeats_form
            else observation
        )

    def views(
        self, messages: Sequence[Message], goal: str, admissible: Sequence[str], head: int
    ) -> Iterator[list[Message]]:
        """With a memory, what a reply is shown, and the same with fewer and fewer turns; else nothing.

        `head` is the number of messages before the first reply.
        """
        if self.memory is None:
            return
        turns = (len(messages) - head) // 2
        for kept in range(min(self.memory, turns), -1, -1):
            yield [*messages[: head - 1], Message("user", self._page(messages, goal, admissible, head, kept))]

    def _page(self, messages: Sequence[Message], goal: str, admissible: Sequence[str], head: int, kept: int) -> str:
        """The first page, the last `kept` turns and the current page as one text."""
        turns = (len(messages) - head) // 2
        parts = [messages[head - 1].content]
        if turns:
            parts.append(f"You have taken {turns} steps." + (f" The last {kept}:" if kept else ""))
        for turn in range(turns - kept, turns):
            page = messages[head - 1 + 2 * turn].content if turn else "what is shown above"
            command = self.parse(messages[head + 2 * turn].content) or "nothing: there was no command"
            parts.append(f"Step {turn + 1}. You saw: {page}\nYou did: {command}")
        if turns:
            parts.append(f"Step {turns + 1}, now. You see: {messages[-1].content}")
        if self.reminds and goal and goal not in messages[-1].content:
            parts[-1] += f"\nTask: {goal}"
        if self.lists:
            parts.append(f"Commands that work now: {' | '.join(admissible)}")
        return "\n\n".join(parts)

    def identity(self, instructions: str) -> str:
        """Everything that decides what an agent is told: the system text alone, where nothing else is in use."""
        told = self.system(instructions)
        used = {
            "examples": self.examples,
            "conversational": self.conversational,
            "memory": self.memory,
            "lists": self.lists,
            "repeats_form": self.repeats_form,
        }
        extra = {
            name: value for name, value in used.items() if value is not None and value is not False and value != ()
        }
        return f"{told}\n\n{json.dumps(extra, sort_keys=True)}" if extra else told

    def render(self, action: str, thought: str = "") -> str:
        """A reply in this form; `parse` reads the action back. Raises ValueError for an action of several lines."""
        if "\n" in action:
            raise ValueError(f"an action is one line, not {action!r}")
        line = " ".join(untagged(thought).replace(_FENCE, " ").split())
        return self.reply.format(thought=line, action=action)

    def parse(self, reply: str) -> str:
        """The action, by the rules above; empty where there is none."""
        return unwrapped(self.read(spoken(reply)))


def _talk(turns: Sequence[tuple[str, str]], last: str) -> list[Message]:
    """Pages and replies as messages, and a last page."""
    told = [message for page, reply in turns for message in (Message("user", page), Message("assistant", reply))]
    return [*told, Message("user", last)]


def labelled(text: str) -> str:
    """The action of the first line that begins with `Action:`."""
    label = _LABEL.search(text)
    if label is None:
        return ""
    line = label["line"]
    if label["bold"] and not label["shut"]:  # `**Action:** look`, or `**Action: look**`
        line = line[2:] if line.startswith("**") else f"**{line}"
    command = bare(line)
    if not command or (line.lstrip().startswith(_FENCE) and line.count(_FENCE) == 1):
        return _alone(line + text[label.end() :]) or command
    return command


def tagged(text: str) -> str:
    """The action in `<action>...</action>`; empty where there are several different ones or one that is not closed."""
    commands: set[str] = set()
    start = None
    for tag in _ACTION_TAG.finditer(text):
        if not tag[1]:
            if start is not None:
                return ""
            start = tag.end()
        elif start is not None:
            commands.add(_one_line(text[start : tag.start()]))
            start = None
    return commands.pop() if len(commands) == 1 and start is None else ""


def fenced(text: str) -> str:
    """The action of the only block of code, which holds one line; a language may stand behind the opening fence."""
    parts = text.split(_FENCE)
    if len(parts) != 3:
        return ""
    head, several, body = parts[1].partition("\n")
    if several and not _LANGUAGE.fullmatch(head.strip()):
        return ""
    return _one_line(body if several else head)


def unwrapped(command: str) -> str:
    """Without one label or one pair of tags around it; empty where that is not all."""
    if _LABEL.match(command):
        command = labelled(command)
    elif found := _IN_TAGS.fullmatch(command):
        command = bare(found[1])
    return "" if _LABEL.match(command) or _ACTION_TAG.search(command) else command


def bare(text: str) -> str:
    """Without white space, pairs of quotes and ends of turns around, however deep, in one pass.

    Empty where the end of a turn or the tag of a thought stands within: what was meant is not to be known. Replies can
    be megabytes of quotes.
    """
    start, end = 0, len(text)
    while start < end:
        if _blank(text[start]):
            start += 1
        elif _blank(text[end - 1]):
            end -= 1
        elif text.endswith(_TURN_ENDS, start, end):
            end -= next(len(mark) for mark in _TURN_ENDS if text.endswith(mark, start, end))
        elif quotes := _quotes(text, start, end):
            start, end = start + quotes, end - quotes
        else:
            break
    command = text[start:end]
    return "" if has_tag(command) or any(mark in command for mark in _TURN_ENDS) else command


def _quotes(text: str, start: int, end: int) -> int:
    """How many times the text is wrapped in one kind of quotes; 0 where that mark stands within, too."""
    opened, closed, count = text[start], _WRAPPED.get(text[start]), 0
    while start < end - 1 and text[start] == opened and text[end - 1] == closed:
        start, end, count = start + 1, end - 1, count + 1
    return 0 if any(text.find(mark, start, end) >= 0 for mark in (opened, closed) if mark) else count


def _blank(char: str) -> bool:
    return char.isspace() or char in _UNSEEN


def _one_line(text: str) -> str:
    first, _, _ = text.strip().partition("\n")
    command = bare(first if first.rstrip().endswith(_TURN_ENDS) else text)
    return "" if "\n" in command else command


def _alone(text: str) -> str:
    """The action of a text that is one line or one block of code, and nothing else."""
    rest = text.strip()
    if rest.startswith(_FENCE):
        return fenced(rest) if rest.endswith(_FENCE) else ""
    return "" if _ANY_LABEL.match(rest) else _one_line(rest)


PROMPTS = {
    prompt.name: prompt
    for prompt in (
        Prompt(
            "action",
            form="Answer with one line:\nAction: <command>",
            reply="Action: {action}",
            read=labelled,
            reminds=True,
        ),
        Prompt(
            "react",
            form="Think first, then give one command. Answer in exactly this form:\n"
            "Thought: <your reasoning in one line>\nAction: <command>",
            reply="Thought: {thought}\nAction: {action}",
            read=labelled,
        ),
        Prompt(
            "verl-agent",
            form="Think first, then give one command. Answer in exactly this form:\n"
            "<think><your reasoning></think>\n<action><command></action>",
            reply="<think>{thought}</think>\n<action>{action}</action>",
            read=tagged,
            reminds=True,
        ),
        *(
            Prompt(
                name,
                form="In each turn, think about what you see and then give one command. Use this form:\n"
                "Thought: <your reasoning>\nAction: <command>",
                reply="Thought: {thought}\nAction: {action}",
                read=labelled,
                conversational=True,
            )
            for name in ("eto", "spa")
        ),
        Prompt(
            "code-fence",
            form="Think first, then give one command in a block of code. Answer in exactly this form:\n"
            f"<your reasoning>\n{_FENCE}\n<command>\n{_FENCE}",
            reply=f"{{thought}}\n{_FENCE}\n{{action}}\n{_FENCE}",
            read=fenced,
        ),
    )
}
"""Reply formats by the name that is typed."""


def find(name: str) -> Prompt:
    """The format of that name; UserError where there is none."""
    if name not in PROMPTS:
        raise UserError(f"no prompt {name!r} (there are: {', '.join(PROMPTS)})")
    return PROMPTS[name]
