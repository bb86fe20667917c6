"""A chat template as functions: the prompt of a conversation, what follows a reply, how turns end, what a reply says.

What stands between a reply and the next one is measured: the template writes a short conversation around a placeholder
reply, and what it puts behind that is cut out (`Chat.answer`). So a reply stays as it was sampled, also where the
template would rewrite it later: some strip thoughts, some trim spaces, some add one.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from spa_bench.agents.template_trial import LONGEST, problem
from spa_bench.agents.thoughts import left_open
from spa_bench.core import Message, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATE = "2024-07-26"
"""The day that templates print as today, so that a run does not depend on the day; Llama 3.1's template has it too."""

_PARTS = {
    "%F": DATE,
    **{"%Y": "2024", "%y": "24", "%m": "07", "%-m": "7", "%d": "26", "%-d": "26", "%e": "26", "%j": "208"},
    **{"%B": "July", "%b": "Jul", "%h": "Jul", "%A": "Friday", "%a": "Fri", "%p": "AM"},
    **{"%H": "00", "%I": "12", "%M": "00", "%S": "00"},
}
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('{part}', '{value}')" for part, value in _PARTS.items())
    + " }}{%- endmacro +%}"
)
"""Goes before a template that asks for the time; transformers lets nobody replace the function that it hands out."""

GROWTH = 20
"""Characters that a template may make of one of a conversation, beside `LONGEST`; one that escapes makes six."""

_REPLY = "reply-7d1f"
"""Stands for a reply where a template is asked what comes behind one."""


class Chat:
    """A tokenizer with a chat template, seen as a function from messages to continuations.

    A turn ends with any of `ends`: the tokenizer's end of sequence, those of the model's generation configuration
    (`also`), and the token that the template puts behind a reply, which is `end`, the one that is taught.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, also: Sequence[int] = (), thinking: bool | None = None
    ) -> None:
        """`thinking` is what the template is told as `enable_thinking`; None leaves it at its own default.

        UserError where the template knows no such switch, or cannot write a conversation.
        """
        if thinking is not None and "enable_thinking" not in template_of(tokenizer):
            raise UserError("the model's chat template has no switch for thoughts: leave model.thinking out")
        self.tokenizer, self.thinking = tokenizer, thinking
        own = tokenizer.eos_token_id
        known = [*([] if own is None else [int(own)]), *also]
        written = self._end_of_template()
        if written is None and not known:
            raise UserError("the model's tokenizer names no end-of-turn token: set eos_token in its configuration")
        self.end = known[0] if written is None else written
        self.ends = frozenset({*known, self.end})
        self._asked = self.prompt([Message("user", "?")])
        self.opened, self._closed = left_open(self._asked)
        self.lead = self._before_replies()

    def prompt(self, messages: Sequence[Message]) -> str:
        """The rendered conversation, ready for the next reply."""
        return rendered(self.tokenizer, messages, thinking=self.thinking)

    def encode(self, text: str) -> list[int]:
        """Ids of rendered text; lone surrogates, which no tokenizer takes, become question marks."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return [int(i) for i in self.tokenizer(clean, add_special_tokens=False)["input_ids"]]

    def text(self, ids: Sequence[int]) -> str:
        """What was sampled, without the token that ends a turn and the white space that the template writes before."""
        body = ids[:-1] if ids and ids[-1] in self.ends else ids
        said = self.tokenizer.decode(list(body), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(said).removeprefix(self.lead)

    def reply(self, ids: Sequence[int]) -> str:
        """What a reply says: where the prompt has opened a thought, the reply begins with the tag that opened it."""
        return self.opened + self.text(ids)

    def taught(self, reply: str) -> tuple[int, ...]:
        """Ids of a reply that is shown to the model: where the prompt has opened a thought it is closed."""
        if self.opened:
            tag = self.opened if reply.startswith(self.opened) else self.opened.rstrip()
            reply = reply.removeprefix(tag) if reply.startswith(tag) else f"{self._closed}\n\n{reply}"
        if not self.lead:
            return (*self.encode(reply), self.end)
        # Behind a prompt: some tokenizers put a space of their own before a text that stands alone.
        asked, whole = self.encode(self._asked), self.encode(self._asked + self.lead + reply)
        ids = whole[len(asked) :] if whole[: len(asked)] == asked else self.encode(self.lead + reply)
        return (*ids, self.end)

    def answer(self, reply: Sequence[int], message: Message) -> list[int]:
        """Ids that follow a reply as it was sampled: its end where it has none, the message, the next prompt.

        The end is the template's own; it is left out where the reply ended with it. Measured behind a placeholder, so
        that the reply itself is not looked at. UserError where the template does not write replies as they are.
        """
        shown = self.prompt([Message("user", "?"), Message("assistant", _REPLY), message])
        _, found, behind = shown.partition(_REPLY)
        if not found:
            raise UserError("the model's chat template writes replies in other words: set model.history=template")
        end = str(self.tokenizer.decode([self.end]))
        written = behind.lstrip()  # Llama 2 has a space before it
        if written.startswith(end) and not (reply and reply[-1] == self.end):
            return self.encode(written)
        # Behind an end: some end tokens swallow white space (Phi-3), some tokenizers put a space before a lone text.
        more = written.removeprefix(end) if written.startswith(end) else behind
        ids = self.encode(end + more)
        return ids[1:] if ids[:1] == [self.end] else self.encode(more)

    def continuation(self, before: str, reply: Sequence[int], after: str) -> str | None:
        """What follows the sampled reply in the next prompt, or None where `after` does not continue it.

        `before` is the prompt that the reply answered, `after` the prompt of the next turn. What was sampled goes on as
        it is, with or without the white space that the template writes before a reply.
        """
        said = before + self.lead + self.text(reply)
        if reply and reply[-1] in self.ends:
            said += str(self.tokenizer.decode([reply[-1]]))
        return after[len(said) :] if after.startswith(said) else None

    def _before_replies(self) -> str:
        """White space that the template writes between its prompt and a past reply: Mistral's and Llama 2's a space."""
        user = Message("user", "?")
        shown = self.prompt([user, Message("assistant", _REPLY), user])
        lead = shown[len(self._asked) :].partition(_REPLY)[0] if shown.startswith(self._asked) else ""
        return lead if lead.isspace() else ""

    def _end_of_template(self) -> int | None:
        """The token that the template puts behind a reply; None where that is ordinary text or nothing."""
        talk = [Message("user", "?"), Message("assistant", _REPLY)]
        shown = rendered(self.tokenizer, talk, reply_follows=False, thinking=self.thinking)
        _, found, behind = shown.rpartition(_REPLY)
        first = self.encode(behind.lstrip())[:1] if found else []
        return first[0] if first and first[0] in self.tokenizer.added_tokens_decoder else None


def template_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The template in use, with a fixed date where it asks for one; UserError where there is none."""
    if not tokenizer.chat_template:
        raise UserError("the model's tokenizer has no chat template: choose an instruct model, or add a template")
    template = str(tokenizer.get_chat_template())
    return _FIXED_DATE + template if "strftime_now" in template else template


def rendered(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    reply_follows: bool = True,
    thinking: bool | None = None,
) -> str:
    """Messages as the tokenizer's template writes them, on every day as on `DATE`; UserError where it cannot."""
    template = template_of(tokenizer)
    chat = [{"role": message.role, "content": message.content} for message in messages]
    switch: dict[str, Any] = {} if thinking is None else {"enable_thinking": thinking}
    with _by_template():
        text = str(
            tokenizer.apply_chat_template(
                chat, chat_template=template, tokenize=False, add_generation_prompt=reply_follows,
                date_string="26 Jul 2024",  # read by the templates of Llama 3
                **switch,
            )
        )  # fmt: skip
    if len(text) > LONGEST + GROWTH * sum(len(message.content) for message in messages):
        raise UserError(f"the model's chat template makes {len(text)} characters of a conversation: replace it")
    return text


def refuse_endless(tokenizer: PreTrainedTokenizerBase, thinking: bool | None = None) -> None:
    """UserError where the template of a model from elsewhere takes too long or too much: it is tried apart first."""
    told = dict(tokenizer.special_tokens_map) | ({} if thinking is None else {"enable_thinking": thinking})
    if (why := problem(template_of(tokenizer), told)) is not None:
        raise UserError(f"the model's chat template {why}: replace it")


class _by_template:
    """A context in which whatever a template raises is a UserError: it is a program, and may raise anything."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"the model's chat template cannot write user and assistant in turns: {reason}") from error
