"""What was sampled is what is trained: the usual templates over 20 turns, full contexts, and recorded beginnings."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples
from tiny import TEXTS, language_model
from tokenizers import AddedToken

from spa_bench import registry
from spa_bench.agents.chat import Chat
from spa_bench.agents.embedded import build_model, train_tokenizer
from spa_bench.agents.transcript import Bookkeeper, Transcript
from spa_bench.core import Conversation, Message, Tokens, UserError
from spa_bench.training.batches import pack
from spa_bench.training.policy import Policy

TURNS = 20


@dataclass(frozen=True)
class Family:
    """A chat template and what its tokenizer and generation configuration call special."""

    template: str
    """Text, or the name of a file among trl's templates."""
    special: tuple[str, ...]
    eos: str
    bos: str | None = None
    stops: tuple[str, ...] = ()
    thinking: bool | None = None
    trims: bool = False
    """It takes white space off replies."""
    swallows: bool = False
    """Its special tokens swallow the white space behind them."""


CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
LLAMA = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")
GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
MISTRAL = ("<s>", "</s>", "[INST]", "[/INST]")
IN_TURNS = "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}"
SMOL = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\nYou are a small assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OLD_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}" + IN_TURNS + "{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)
NEW_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}" + IN_TURNS + "{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content + '[/INST]' }}{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}"
)
FAMILIES = {
    "qwen2.5": Family("qwen2_5", CHATML, "<|im_end|>", stops=("<|im_end|>", "<|endoftext|>")),
    "qwen3": Family("qwen3", CHATML, "<|im_end|>", stops=("<|im_end|>", "<|endoftext|>"), trims=True),
    "qwen3 thinking": Family("qwen3", CHATML, "<|im_end|>", stops=("<|endoftext|>",), thinking=True, trims=True),
    "qwen3 not thinking": Family("qwen3", CHATML, "<|im_end|>", stops=("<|endoftext|>",), thinking=False, trims=True),
    "llama-3": Family("llama3", LLAMA, "<|eot_id|>", LLAMA[0], ("<|end_of_text|>", "<|eot_id|>"), trims=True),
    "llama-3.1": Family("llama3_1", LLAMA, "<|eot_id|>", LLAMA[0], ("<|end_of_text|>", "<|eom_id|>"), trims=True),
    "llama-3.2": Family("llama3_2", LLAMA, "<|eot_id|>", LLAMA[0], ("<|end_of_text|>", "<|eom_id|>"), trims=True),
    "gemma-2": Family("gemma", GEMMA, "<eos>", "<bos>", ("<eos>", "<end_of_turn>"), trims=True),
    "gemma-3": Family("gemma3", GEMMA, "<eos>", "<bos>", ("<eos>", "<end_of_turn>"), trims=True),
    "mistral-0.2": Family(OLD_MISTRAL, MISTRAL, "</s>", "<s>"),
    "mistral-0.3": Family(NEW_MISTRAL, MISTRAL, "</s>", "<s>", trims=True),
    "phi-3": Family("phi3", ("<|endoftext|>",), "<|endoftext|>", stops=("<|endoftext|>", "<|end|>"), swallows=True),
    "smollm2": Family(SMOL, CHATML[:2], "<|im_end|>"),
}


def tokenizer(family: Family) -> Any:
    """A small one of the family's special tokens and template; Qwen's `<think>` is one token, too."""
    made: Any = train_tokenizer(TEXTS * 2)
    tokens = [*family.special, *(("<|user|>", "<|assistant|>", "<|end|>") if family.swallows else ())]
    made.add_tokens([AddedToken(t, rstrip=family.swallows, normalized=False, special=True) for t in tokens], True)
    made.add_tokens(["<think>", "</think>"])
    made.eos_token, made.bos_token = family.eos, family.bos
    template = family.template
    if "{" not in template:
        file = resources.files("trl") / "chat_templates" / f"{template}.jinja"
        if not file.is_file():
            pytest.skip(f"this version of trl has no template {template}")
        template = file.read_text(encoding="utf-8")
    made.chat_template = template
    return made


def agent(family: Family, context: int = 2048, **settings: Any) -> Any:
    own = tokenizer(family)
    model = build_model(own, hidden=16, layers=1, heads=2, context=context, seed=0)
    model.generation_config.eos_token_id = own.convert_tokens_to_ids([*family.stops, family.eos])  # type: ignore[union-attr]
    kind: Any = registry.find("agents", "causal-lm")
    settings = {"max_new_tokens": 16, "thinking": family.thinking} | settings
    return kind(model, own, registry.prompt("react"), context=context, **settings)


def replies(chat: Chat, family: Family) -> list[list[int]]:
    """What a model may write: plain, with white space around, with a thought, cut off, ended by any end."""
    said = [
        "Action: look",
        " Action: look",
        "Action: look\n",
        "\n\nAction: open cabinet 2 \n",
        "<think>\nThe mug 1?\n</think>\n\nAction: look",
        "<think>so</think>Action: look",
        "</think>Action: look",
        "",
        "look <think> at",
    ]
    ends = [[chat.end], *([end] for end in sorted(chat.ends)), []]
    return [[*chat.encode(text), *end] for text, end in zip(said * 3, itertools.cycle(ends), strict=False)][:TURNS]


def scripted(one: Any, wanted: list[list[int]]) -> None:
    """The agent of one conversation writes these ids; their log-probs are the model's own."""
    left = iter([token for reply in wanted for token in reply])
    one.books.max_new_tokens = max(map(len, wanted))

    def draw(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        token = next(left)
        return torch.tensor([token]), logits.log_softmax(-1)[:, token]

    one.engine._draw = draw


def converse(one: Any, wanted: list[list[int]], talk: Conversation) -> list[Tokens]:
    """The tokens of each turn; replies that no end ends are cut off at their length."""
    turns = []
    for number, reply in enumerate(wanted):
        scripted(one, [reply])
        (answer,) = one.act([talk])
        assert answer.tokens is not None
        turns.append(answer.tokens)
        talk.messages += [Message("assistant", answer.text), Message("user", f" {TEXTS[number % 3]} {number}\n")]
    return turns


@pytest.mark.parametrize("name", FAMILIES)
def test_t15_what_is_sampled_in_20_turns_is_one_sequence_and_what_is_trained(name: str) -> None:
    one = agent(FAMILIES[name])
    wanted = [reply for reply in replies(one.chat, FAMILIES[name]) if reply]
    turns = converse(one, wanted, Conversation(0, 1, [Message("user", "Put a mug in shelf.")]))
    assert [tokens.restart for tokens in turns] == [True] + [False] * (len(wanted) - 1)
    assert [list(tokens.reply) for tokens in turns] == wanted
    packed = pack(turns)
    (ids,) = packed.ids
    assert ids.tolist() == [i for tokens in turns for i in (*tokens.context, *tokens.reply)]
    with torch.no_grad():
        trained = Policy(one.model)([packed]).logprobs.numpy()
    np.testing.assert_allclose(trained, [lp for tokens in turns for lp in tokens.logprobs], atol=3e-5)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "qwen3 not thinking"])
def test_plain_replies_are_tokenised_as_the_template_writes_the_whole_conversation(name: str) -> None:
    """The oracle is the template itself, where it rewrites nothing."""
    one = agent(FAMILIES[name])
    talk = Conversation(0, 1, [Message("user", "Put a mug in shelf.")])
    turns = converse(one, [list(one.chat.taught("Action: look"))] * TURNS, talk)
    ids = [i for tokens in turns for i in (*tokens.context, *tokens.reply)]
    written = one.chat.prompt(talk.messages[:-2]) + one.chat.lead + "Action: look"
    assert ids == [*one.chat.encode(written), one.chat.end]


def test_without_thoughts_every_prompt_says_so_and_the_history_keeps_it() -> None:
    off, on = agent(FAMILIES["qwen3 not thinking"]), agent(FAMILIES["qwen3 thinking"])
    for one, times in ((off, TURNS), (on, 0)):
        turns = converse(
            one, [list(one.chat.taught("Action: look"))] * TURNS, Conversation(0, 1, [Message("user", "?")])
        )
        text = one.tokenizer.decode([i for tokens in turns for i in (*tokens.context, *tokens.reply)])
        assert text.count("<|im_start|>assistant\n<think>\n\n</think>\n\nAction: look<|im_end|>") == times
        assert text.count("<think>") == times


def test_a_template_without_a_switch_for_thoughts_is_refused() -> None:
    with pytest.raises(UserError, match=r"leave model\.thinking out"):
        Chat(tokenizer(FAMILIES["smollm2"]), thinking=False)


def test_an_end_that_the_template_does_not_write_is_kept_and_the_templates_follows() -> None:
    chat = agent(FAMILIES["llama-3.1"]).chat
    eom, eot = chat.tokenizer.convert_tokens_to_ids(["<|eom_id|>", "<|eot_id|>"])
    look = chat.encode("look")
    turn = "<|start_header_id|>user<|end_header_id|>\n\nmore<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    for reply, follows in (([*look, eot], turn), ([*look, eom], f"<|eot_id|>{turn}"), (look, f"<|eot_id|>{turn}")):
        assert chat.answer(reply, Message("user", " more\n")) == chat.encode(follows)


def test_the_end_of_sequence_is_an_end_where_the_template_writes_none() -> None:
    form = "{% for m in messages %}{{ '\n' + m.role + ': ' + m.content }}{% endfor %}{{ '\nassistant: ' }}"
    chat = agent(Family(form, ("<eos>",), "<eos>")).chat
    assert chat.tokenizer.decode(chat.answer([chat.end], Message("user", "hi"))) == "\nuser: hi\nassistant: "


def test_history_as_the_template_writes_it_begins_again_where_it_rewrites() -> None:
    family = FAMILIES["qwen3"]
    one = agent(family, history="template")
    thought = [*one.chat.encode("<think>so</think>Action: look"), one.chat.end]
    turns = converse(one, [thought] * 4, Conversation(0, 1, [Message("user", "?")]))
    assert [tokens.restart for tokens in turns] == [True] * 4
    assert "so" not in one.tokenizer.decode(turns[-1].context).split()
    plain = agent(family, history="template")
    look = [*plain.chat.encode("Action: look"), plain.chat.end]
    turns = converse(plain, [look] * 4, Conversation(0, 1, [Message("user", "?")]))
    assert [tokens.restart for tokens in turns] == [True, False, False, False]


def test_a_template_that_writes_replies_in_other_words_is_refused_unless_it_may_rewrite() -> None:
    form = SMOL.replace("m.content", "m.content | upper")
    one = agent(Family(form, CHATML[:2], "<|im_end|>"))
    talk = Conversation(0, 1, [Message("user", "?")])
    with pytest.raises(UserError, match=r"set model\.history=template"):
        converse(one, [[5, one.chat.end]] * 2, talk)


# A full context


def books(context: int = 2048, longest: int = 256, **settings: Any) -> Bookkeeper:
    return Bookkeeper(Chat(tokenizer(FAMILIES["smollm2"])), context, longest, **settings)


def spoken(
    keeper: Bookkeeper, lengths: list[int], seen: int = 60
) -> tuple[list[Tokens], list[Message], list[Transcript]]:
    """A conversation with replies of these lengths; its tokens, its messages, and the transcript before each turn."""
    messages = [Message("user", "Put a mug in shelf.")]
    transcript, turns, before = Transcript(), [], []
    word = keeper.chat.encode(" cabinet")
    for number, length in enumerate(lengths):
        before.append(transcript.copy())
        context, restart = keeper.turn(transcript, messages)
        reply = (*(word * (length - 1)), keeper.chat.end)
        transcript.said(reply)
        turns.append(Tokens(tuple(context), reply, (0.0,) * length, restart))
        assert len(transcript.ids) <= keeper.context
        page = f"{number}" + " cabinet" * seen
        messages += [Message("assistant", keeper.chat.reply(reply)), Message("user", page)]
    return turns, messages, before


@pytest.mark.parametrize(("halves", "full"), [(True, [13, 20, 27, 34, 41, 48]), (False, list(range(13, 50)))])
def test_half_of_the_turns_go_at_once_so_that_few_turns_find_the_context_full(halves: bool, full: list[int]) -> None:
    """By hand: the first page takes 56 tokens and a turn 59 + 81, so 12 turns fit into 2,048 - 256; of 13 stay 6."""
    turns, _, _ = spoken(books(halves=halves), [59] * 50)
    assert (len(turns[0].context), turns[0].size + len(turns[1].context) - 56) == (56, 140)
    assert [turn for turn, tokens in enumerate(turns) if turn and tokens.restart] == full


def test_what_stays_of_a_full_context_stays_as_it_was_sampled() -> None:
    keeper = books(context=160, longest=16)
    turns, messages, _ = spoken(keeper, [3, 5, 4, 6, 7, 3, 4, 5], seen=9)
    (again, *_) = [turn for turn, tokens in enumerate(turns) if turn and tokens.restart]
    kept = turns[again].context
    first = keeper.chat.encode(keeper.chat.prompt(messages[:1]))
    keep = again // 2
    want = list(first)
    for turn in range(again - keep, again):
        want += [*turns[turn].reply, *keeper.chat.answer(turns[turn].reply, messages[2 * turn + 2])]
    assert list(kept) == want


@max_examples(40)
@given(
    lengths=st.lists(st.integers(1, 16), min_size=2, max_size=24),
    context=st.integers(110, 300),
    history=st.sampled_from(["sampled", "template"]),
    halves=st.booleans(),
    data=st.data(),
)
def test_a_conversation_goes_on_from_its_recorded_tokens_as_it_would_have(
    lengths: list[int], context: int, history: Any, halves: bool, data: st.DataObject
) -> None:
    keeper = Bookkeeper(KEEPER.chat, context, 16, history, halves)
    turns, messages, before = spoken(keeper, lengths, seen=9)
    turn = data.draw(st.integers(1, len(turns) - 1))
    opened = keeper.open(messages[: 1 + 2 * turn], turns[:turn])
    assert opened == before[turn]
    ids, restart = keeper.turn(opened, messages[: 1 + 2 * turn])
    assert (tuple(ids), restart) == (turns[turn].context, turns[turn].restart)


KEEPER = books()


def test_a_fork_goes_on_by_itself() -> None:
    transcript = Transcript([1], [(1,)])
    other = transcript.copy()
    other.said([2, 3])
    assert transcript == Transcript([1], [(1,)]) and other == Transcript([1, 2, 3], [(1,), (2, 3)])


def test_replies_without_tokens_are_read_as_they_are_taught() -> None:
    talk = [Message("user", "?"), Message("assistant", "Action: look"), Message("user", "more")]
    ids, restart = KEEPER.turn(KEEPER.open(talk), talk)
    assert restart and ids == KEEPER.chat.encode(KEEPER.chat.prompt(talk))


@pytest.mark.parametrize(("own", "window", "want"), [(512, None, 512), (131072, None, 8192), (32768, 1024, 8192)])
def test_the_context_is_the_models_own_up_to_a_bound(own: int, window: int | None, want: int) -> None:
    one = language_model(context=512)
    one.model.config.max_position_embeddings = own
    one.model.config.sliding_window = window
    kind: Any = type(one)
    again = kind(one.model, one.tokenizer, one.prompt, context=None, max_new_tokens=8)
    assert again.books.context == want
