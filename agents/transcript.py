"""Which token ids a conversation feeds next: bookkeeping that knows messages and a chat template, and no model.

A `Transcript` holds the sequence under way. Each turn appends to it what the model has not read yet, and then the
reply as it was sampled, so that what was sampled is what is trained. A new sequence begins where the context is full,
and where the template rewrites what has been said (with `history="template"`). An engine needs nothing but
`Transcript.ids`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from spa_bench.agents.chat import Chat
from spa_bench.core import Message, ReplyFormat, Tokens, UserError

History = Literal["sampled", "template"]
"""Past replies as they were sampled, or as the template writes them."""


@dataclass
class Transcript:
    """The tokens of one conversation."""

    ids: list[int] = field(default_factory=list)
    """The sequence under way: all that the model has read and written since it began."""
    replies: list[tuple[int, ...]] = field(default_factory=list)
    """Every reply so far."""
    dropped: int = 0
    """So many of the oldest turns (a reply and what it led to) are not in the sequence. Counted where half of the turns
    go at once; otherwise 0, and they are counted anew each time."""
    prompt: str = ""
    """What the last reply answered, as the template wrote it; with `history="template"` only."""

    def copy(self) -> Transcript:
        """One that goes on by itself."""
        return replace(self, ids=list(self.ids), replies=list(self.replies))

    def said(self, reply: Sequence[int]) -> None:
        """A reply was written."""
        self.replies.append(tuple(reply))
        self.ids += reply


@dataclass
class Bookkeeper:
    """Turns messages into ids, within a context."""

    chat: Chat
    context: int
    """Longest sequence, in tokens, a reply of `max_new_tokens` included."""
    max_new_tokens: int
    history: History = "sampled"
    halves: bool = True
    """A full context loses half of its old turns at once, or else as few as must go: then nearly every later turn finds
    it full again (50 turns in a context of 2,048: 39 restarts)."""
    head: int = 1
    """Messages before the first reply: they always stay."""

    @property
    def room(self) -> int:
        """Tokens beside a reply."""
        return self.context - self.max_new_tokens

    def open(self, messages: Sequence[Message], past: Sequence[Tokens] = ()) -> Transcript:
        """The transcript of a conversation that this one has not followed; `past` are the tokens of its replies.

        The tokens go on as they are. Where there are none, earlier replies are as they would be taught.
        """
        if not past:
            said = [self.chat.taught(message.content) for message in messages[self.head :: 2]]
            return Transcript(replies=said)
        first = max(turn for turn, tokens in enumerate(past) if turn == 0 or tokens.restart)
        ids = [token for tokens in past[first:] for token in (*tokens.context, *tokens.reply)]
        transcript = Transcript(ids, [tokens.reply for tokens in past])
        if self.halves and first:
            transcript.dropped = self._dropped(transcript, messages, first, list(past[first].context))
        if self.history == "template":
            transcript.prompt = self.chat.prompt(self._kept(messages[:-2], transcript.dropped))
        return transcript

    def turn(
        self, transcript: Transcript, messages: Sequence[Message], views: Sequence[Sequence[Message]] = ()
    ) -> tuple[list[int], bool]:
        """Append what is to be read before the next reply: those ids, and whether they begin a new sequence.

        Of `views`, which a prompt with a memory shows in place of the conversation, the first that fits is read alone.
        UserError where the first and the last message alone do not fit.
        """
        if views:
            transcript.ids[:] = self._first_fitting(views)
            return list(transcript.ids), True
        ids = self._continued(transcript, messages)
        restart = ids is None or len(transcript.ids) + len(ids) > self.room
        if ids is None or restart:
            transcript.ids.clear()
            ids = self._begun(transcript, messages)
        transcript.ids += ids
        return ids, restart

    def _continued(self, transcript: Transcript, messages: Sequence[Message]) -> list[int] | None:
        """What follows the last reply in the same sequence; None where nothing does."""
        if self.history == "sampled":
            return self.chat.answer(transcript.replies[-1], messages[-1]) if transcript.ids else None
        before, after = transcript.prompt, self.chat.prompt(self._kept(messages, transcript.dropped))
        transcript.prompt = after
        more = self.chat.continuation(before, transcript.replies[-1], after) if before else None
        return None if more is None else self.chat.encode(more)

    def _begun(self, transcript: Transcript, messages: Sequence[Message]) -> list[int]:
        """A new sequence with as many of the latest turns as fit.

        What comes before the first reply, with instructions and task, and the last message, with the current page,
        stay: in the end the two pages are one message, because templates want user and assistant to take turns.
        """
        turns = self._turns(messages)
        ids: list[int] = []
        for keep in self._fewer(turns - transcript.dropped):
            ids = self._sequence(transcript, messages, keep)
            if len(ids) <= self.room:
                if self.halves and keep != turns - transcript.dropped:
                    transcript.dropped = turns - keep
                    if self.history == "template":
                        transcript.prompt = self.chat.prompt(self._kept(messages, transcript.dropped))
                return ids
        raise self._too_long(len(ids))

    def _first_fitting(self, views: Sequence[Sequence[Message]]) -> list[int]:
        ids: list[int] = []
        for view in views:
            ids = self.chat.encode(self.chat.prompt(view))
            if len(ids) <= self.room:
                return ids
        raise self._too_long(len(ids))

    def _too_long(self, length: int) -> UserError:
        return UserError(
            f"task and current page take {length} tokens, and model.context={self.context} leaves {self.room} beside "
            f"a reply of {self.max_new_tokens}: set model.context={length + self.max_new_tokens} or more"
        )

    def _fewer(self, turns: int) -> Iterator[int]:
        """How many turns may stay: all, then fewer and fewer down to none."""
        yield turns
        while turns:
            turns = turns // 2 if self.halves else turns - 1
            yield turns

    def _sequence(self, transcript: Transcript, messages: Sequence[Message], keep: int) -> list[int]:
        """Ids of the first messages and the last `keep` turns; of the first and the last message, where that is 0."""
        turns = self._turns(messages)
        kept = self._kept(messages, turns - keep)
        if turns and not keep:
            *before, first = kept
            kept = [*before, Message("user", f"{first.content}\n\n{messages[-1].content}")]
        if self.history == "template":
            return self.chat.encode(self.chat.prompt(kept))
        ids = self.chat.encode(self.chat.prompt(kept[: self.head]))
        for reply, told in zip(transcript.replies[turns - keep : turns], kept[self.head + 1 :: 2], strict=True):
            ids += [*reply, *self.chat.answer(reply, told)]
        return ids

    def _dropped(self, transcript: Transcript, messages: Sequence[Message], turn: int, context: list[int]) -> int:
        """How many turns had been dropped where a recorded sequence began, at `turn`, with `context`."""
        then = messages[: self.head + 2 * turn]
        return next((turn - n for n in range(turn + 1) if self._sequence(transcript, then, n) == context), turn)

    def _turns(self, messages: Sequence[Message]) -> int:
        return (len(messages) - self.head) // 2

    def _kept(self, messages: Sequence[Message], dropped: int) -> Sequence[Message]:
        """What comes before the first reply, and what came after the turns that were dropped."""
        return [*messages[: self.head], *messages[self.head + 2 * dropped :]]


def spelled(books: Bookkeeper, prompt: ReplyFormat, instructions: str) -> str:
    """The beginning of a conversation as it is read and written: a first page, a reply, and the page that follows."""
    messages = prompt.opening(instructions, "(page 1)")
    books.head, transcript = len(messages), Transcript()
    reply = books.chat.taught(prompt.render("(command)", "(reasons)"))
    written: list[int] = []
    for later in ("(page 2)", None):
        views = list(prompt.views(messages, "(task)", ["(commands)"], books.head))
        ids, _ = books.turn(transcript, messages, views)
        written += ids
        if later is not None:
            transcript.said(reply)
            written += reply
            answer = Message("assistant", books.chat.reply(reply))
            messages = [*messages, answer, Message("user", prompt.later(later, "(task)"))]
    return str(books.chat.tokenizer.decode(written))
