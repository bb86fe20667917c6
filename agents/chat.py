"""Conversations as tokens: each turn's chunk continues the previous one exactly, or a new sequence is started.

Chat templates rewrite history (some strip thoughts, some trim spaces). Text that a model sampled is never tokenised
again: where the template's rendering does not begin with what is already in the sequence, the turn says `restart`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spa_bench.core import Message, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Chat:
    """A tokenizer with a chat template, seen as a function from messages to continuations."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise UserError("the model's tokenizer has no chat template: choose an instruct model, or add a template")
        if tokenizer.eos_token_id is None:
            raise UserError("the model's tokenizer names no end-of-turn token: set eos_token in its configuration")
        self.tokenizer = tokenizer
        self.end = int(tokenizer.eos_token_id)

    def prompt(self, messages: Sequence[Message]) -> str:
        """The rendered conversation, ready for the next reply."""
        chat = [{"role": m.role, "content": m.content} for m in messages]
        return str(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))

    def encode(self, text: str) -> list[int]:
        """Ids of rendered text; lone surrogates, which no tokenizer takes, become question marks."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return [int(i) for i in self.tokenizer(clean, add_special_tokens=False)["input_ids"]]

    def text(self, ids: Sequence[int]) -> str:
        """What a reply says, its end token left out."""
        body = ids[:-1] if ids and ids[-1] == self.end else ids
        return str(self.tokenizer.decode(list(body), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def continuation(self, before: str, reply: Sequence[int], after: str) -> str | None:
        """What follows the sampled reply in the next prompt, or None where `after` does not continue it.

        `before` is the prompt that the reply answered, `after` the prompt of the next turn.
        """
        said = before + self.text(reply)
        if reply and reply[-1] == self.end:
            said += str(self.tokenizer.decode([self.end]))
        return after[len(said) :] if after.startswith(said) else None
