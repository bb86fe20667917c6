"""The language-model agent: cached sampling equals the plain forward pass, ids are kept exactly, chance is seeded."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples
from tiny import TEXTS, language_model

from spa_bench import registry
from spa_bench.agents.engines.transformers import TransformersEngine
from spa_bench.agents.row_cache import RowCache
from spa_bench.core import Conversation, Message, Tokens, UserError, derive_seed
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.training.batches import pack
from spa_bench.training.policy import Policy


def episodes(agent, batch: int, count: int = 9, max_steps: int = 7):  # type: ignore[no-untyped-def]
    make = lambda: registry.build("environments", "alfworld", train=24, valid=6, max_steps=max_steps)  # noqa: E731
    tasks = make().tasks("train")
    requests = [Request(i, tasks[i % len(tasks)], seed=100 + i) for i in range(count)]
    return [trajectory for _, trajectory, _ in Player(make, batch).play(requests, agent)]


def turns(trajectory) -> list[Tokens]:  # type: ignore[no-untyped-def]
    return [step.tokens for step in trajectory.steps]


def chat_alone(agent, conversations, script):  # type: ignore[no-untyped-def]
    """Talk to conversations that end at different turns, and return every turn's tokens by conversation."""
    said: dict[int, list[Tokens]] = {c.id: [] for c in conversations}
    live = list(conversations)
    for turn in itertools.count():
        replies = agent.act(live)
        for conversation, reply in zip(live, replies, strict=True):
            said[conversation.id].append(reply.tokens)
            conversation.messages += [Message("assistant", reply.text), Message("user", script(conversation.id, turn))]
        over = [c.id for c in live if turn + 1 >= 1 + c.id % 4]
        agent.forget(over)
        live = [c for c in live if c.id not in over]
        if not live:
            return said


def observation(conversation: int, turn: int) -> str:
    return " ".join(TEXTS[(conversation * 3 + turn) % len(TEXTS)].split()[: 3 + (conversation + turn) % 9])


def conversations(ids) -> list[Conversation]:  # type: ignore[no-untyped-def]
    return [Conversation(i, 1000 + i, [Message("user", observation(i, 99))]) for i in ids]


def test_cached_log_probs_equal_a_plain_forward_pass_when_conversations_end_at_different_turns() -> None:
    agent = language_model()
    said = chat_alone(agent, conversations(range(23)), observation)
    policy = Policy(agent.model)
    for own in said.values():
        with torch.no_grad():
            plain = policy([pack(own)]).logprobs.numpy()
        sampled = [lp for tokens in own for lp in tokens.logprobs]
        np.testing.assert_allclose(plain, sampled, atol=2e-5)


def test_replies_do_not_depend_on_who_else_is_in_the_batch() -> None:
    agent = language_model()
    together = chat_alone(agent, conversations(range(12)), observation)
    for alone in (3, 7, 11):
        assert [t.reply for t in chat_alone(agent, conversations([alone]), observation)[alone]] == [
            t.reply for t in together[alone]
        ]


@pytest.mark.parametrize("batch", [1, 4, 9])
def test_t11_episodes_do_not_depend_on_the_batch_size(batch: int) -> None:
    agent = language_model()
    wanted, got = episodes(agent, 3), episodes(agent, batch)
    assert [[s.reply for s in t.steps] for t in got] == [[s.reply for s in t.steps] for t in wanted]


def test_the_tokens_of_an_episode_spell_the_rendered_conversation() -> None:
    agent = language_model()
    trajectory = episodes(agent, 2, count=2)[0]
    ids = [i for tokens in turns(trajectory) for i in (*tokens.context, *tokens.reply)]
    messages = agent.opening("", trajectory.steps[0].observation)
    for step, following in itertools.pairwise(trajectory.steps):
        messages += [Message("assistant", step.reply), agent.later(following.observation, trajectory.goal)]
    assert trajectory.goal and messages[-1].content.endswith(f"\nTask: {trajectory.goal}")
    rendered = agent.chat.prompt(messages) + agent.tokenizer.decode(turns(trajectory)[-1].reply)
    assert agent.tokenizer.decode(ids) == rendered
    assert [tokens.restart for tokens in turns(trajectory)] == [True] + [False] * (len(trajectory) - 1)


def test_a_template_that_rewrites_history_starts_a_new_sequence_instead_of_retokenising() -> None:
    agent = language_model()
    agent.tokenizer.chat_template = agent.tokenizer.chat_template.replace(
        "{{ message.content }}<|end|>", "~{{ message.content }}<|end|>"
    )
    said = chat_alone(agent, conversations([3]), observation)[3]
    assert [tokens.restart for tokens in said] == [True] * 4
    assert len(pack(said).ids) == 4
    with torch.no_grad():
        plain = Policy(agent.model)([pack(said)]).logprobs.numpy()
    np.testing.assert_allclose(plain, [lp for tokens in said for lp in tokens.logprobs], atol=2e-5)


def test_beyond_its_context_the_agent_drops_the_oldest_turns_and_keeps_the_task() -> None:
    agent = language_model(context=64)
    conversation = Conversation(0, 5, [Message("user", TEXTS[1])])
    sizes = []
    for turn in range(8):
        (reply,) = agent.act([conversation])
        sizes.append(reply.tokens)
        conversation.messages += [Message("assistant", reply.text), Message("user", observation(1, turn))]
    restarted = [tokens for tokens in sizes[1:] if tokens.restart]
    assert restarted, "eight turns do not fit in 64 tokens"
    assert all(TEXTS[1] in agent.tokenizer.decode(tokens.context) for tokens in restarted)
    assert all(len(ids) <= 64 for ids in pack(sizes).ids)


def test_cloning_sees_the_same_ids_as_play() -> None:
    agent = language_model()
    trajectory = episodes(agent, 2, count=1)[0]
    ended = [step for step in trajectory.steps if step.tokens.reply[-1] == agent.chat.end]
    scripted = agent.tokenise("", trajectory)
    assert scripted[0].context == trajectory.steps[0].tokens.context
    for step, tokens in zip(trajectory.steps, scripted, strict=True):
        if step in ended:
            assert agent.chat.text(tokens.reply) == step.reply


def test_inversion_sampling_has_the_models_frequencies() -> None:
    logits = torch.tensor([[0.0, np.log(2.0), np.log(5.0)]])
    uniforms = (np.arange(800) + 0.5) / 800
    tokens, logprobs = TransformersEngine._draw(logits.expand(800, 3), torch.from_numpy(uniforms), 1.0)
    assert np.bincount(tokens).tolist() == [100, 200, 500]
    np.testing.assert_allclose(logprobs.exp(), np.array([1 / 8, 2 / 8, 5 / 8])[tokens.numpy()], rtol=1e-6)


def test_every_turn_and_every_episode_has_random_numbers_of_its_own(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    agent = language_model()
    drawn = []
    sample = agent.engine._sample
    monkeypatch.setattr(
        agent.engine,
        "_sample",
        lambda logits, rows, draws, how: drawn.append(draws) or sample(logits, rows, draws, how),
    )
    chat_alone(agent, conversations([3, 7]), observation)
    assert len(drawn) == 4 and all(draws.shape == (2, agent.books.max_new_tokens) for draws in drawn)
    numbers = np.concatenate(drawn)
    assert len(np.unique(numbers)) == numbers.size
    again = [np.random.default_rng(derive_seed(1000 + i, turn)).random(8) for turn in range(4) for i in (3, 7)]
    np.testing.assert_array_equal(numbers, again)


def test_dropout_is_off_while_replies_are_sampled() -> None:
    agent = language_model()
    wanted = chat_alone(agent, conversations([3]), observation)[3]
    for layer in agent.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    agent.model.train()
    assert chat_alone(agent, conversations([3]), observation)[3] == wanted
    agent.model.train()
    copies = [Conversation(10 + n, 1003, list(talk.messages)) for talk in conversations([3]) for n in range(2)]
    agent.fork([(copies[0], copies[1:])])
    for reply in agent.act(copies):
        assert reply.tokens.reply == wanted[0].reply
        np.testing.assert_allclose(reply.tokens.logprobs, wanted[0].logprobs, atol=1e-5)


def test_nothing_is_kept_of_episodes_that_are_over() -> None:
    agent = language_model()
    assert len(episodes(agent, batch=4)) == 9
    assert not agent._live and not agent.engine._live and not agent.engine._rows


def test_a_model_is_told_the_instructions_unless_it_was_cloned() -> None:
    agent = language_model()
    assert [m.content for m in agent.opening("Be good.", "A room.")] == ["A room."]
    told = type(agent)(agent.model, agent.tokenizer, agent.prompt, context=64, max_new_tokens=8)
    (first,) = told.opening("Be good.", "A room.")
    assert first.content.startswith(agent.prompt.system("Be good.")) and first.content.endswith("A room.")


def test_temperature_zero_is_greedy_and_temperature_flattens() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0]])
    assert TransformersEngine._draw(logits, torch.tensor([0.0001]), 0.0)[0].tolist() == [2]
    _, (lp,) = TransformersEngine._draw(logits, torch.tensor([0.9999]), 2.0)
    assert lp == pytest.approx(float(torch.tensor([0.0, 0.5, 1.5]).log_softmax(-1)[2]), abs=1e-6)


@max_examples(60)
@given(st.text(max_size=200))
def test_any_text_survives_the_embedded_tokenizer(text: str) -> None:
    chat = AGENT.chat
    clean = text.encode("utf-8", "replace").decode()
    assert chat.tokenizer.decode(chat.encode(text)) == clean


AGENT = language_model(layers=1)


def test_a_known_word_is_one_token_and_an_unknown_one_is_spelled() -> None:
    assert len(AGENT.chat.encode(" cabinet")) == 1
    assert len(AGENT.chat.encode(" zyzzyva")) > 3


WORDS = language_model(layers=1, names=False)


def pieces(agent: Any, text: str) -> list[str]:
    return [agent.chat.tokenizer.decode([token]) for token in agent.chat.encode(text)]


def test_a_name_with_its_number_is_one_token_unless_words_are_asked_for() -> None:
    said = " take mug 1 from cabinet 2, look"
    assert pieces(AGENT, said) == [" take", " mug 1", " from", " cabinet 2", ",", " look"]
    assert pieces(WORDS, said) == [" take", " mug", " 1", " from", " cabinet", " 2", ",", " look"]
    assert pieces(AGENT, " take mug 2") == [" take", " mug", " 2"]  # no text has it


@given(st.text(), st.integers(0, 99))
def test_any_text_survives_tokens_of_names(text: str, number: int) -> None:
    written = f"{text} shelf {number} {text} {number}"
    clean = written.encode("utf-8", "replace").decode()
    assert AGENT.chat.tokenizer.decode(AGENT.chat.encode(written)) == clean


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = (language_model(seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), wanted)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    differ = zip(first.model.parameters(), other.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in differ)


def test_a_saved_model_is_loaded_bit_for_bit_and_a_wrong_name_is_one_line(tmp_path) -> None:  # type: ignore[no-untyped-def]
    agent = language_model()
    agent.save(tmp_path)
    kind = registry.find("agents", "causal-lm")
    again = kind.load(str(tmp_path), registry.prompt("action"), context=512, max_new_tokens=8, told=False)  # type: ignore[attr-defined]
    for a, b in zip(agent.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert agent.chat.encode(TEXTS[0]) == again.chat.encode(TEXTS[0])
    with pytest.raises(UserError, match="cannot load model '/no/such/folder'") as caught:
        kind.load("/no/such/folder", registry.prompt("action"), context=512, max_new_tokens=8)  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)


def test_an_architecture_with_other_logits_is_refused() -> None:
    agent = language_model()
    head = agent.model.get_output_embeddings()
    agent.model.get_output_embeddings = lambda: lambda states: 2 * head(states)
    with pytest.raises(UserError, match="does not follow"):
        TransformersEngine(agent.model, 64)


def test_a_model_with_layers_of_another_kind_is_refused() -> None:
    """The check by numbers is shorter than what such a layer sees."""
    agent = language_model(context=64)
    agent.model.config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(UserError, match="layers of chunked_attention"):
        TransformersEngine(agent.model, 64)


def test_what_copies_of_a_conversation_are_told_is_read_once(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    agent = language_model()
    (source,) = conversations([3])
    copies = [Conversation(10 + n, n, list(source.messages)) for n in range(8)]
    fed = []
    rows = agent.engine._reserve(1)
    feed = rows.feed
    monkeypatch.setattr(rows, "feed", lambda chunks: fed.append(sum(map(len, chunks.values()))) or feed(chunks))
    agent.fork([(source, copies)])
    replies = agent.act(copies)
    prompt = len(replies[0].tokens.context)
    assert prompt > 5 and fed[:2] == [prompt - 1, 8]
    assert all(reply.tokens.context == replies[0].tokens.context and reply.tokens.restart for reply in replies)


def test_a_tokenizer_without_a_template_is_refused() -> None:
    agent = language_model()
    agent.tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        type(agent)(agent.model, agent.tokenizer, agent.prompt, context=64, max_new_tokens=8)


def held(agent) -> int:  # type: ignore[no-untyped-def]
    """Bytes of all keys and values."""
    return sum(
        x.numel() * x.element_size()
        for layer in agent.engine._cache.cache.row_layers
        for x in (layer.keys, layer.values)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cache_is_as_large_as_its_rows_at_full_context_at_most_and_is_given_back(dtype: torch.dtype) -> None:
    """100 tokens of context are no power of two; the slot more takes what padding writes."""
    agent = language_model(context=100, dtype=dtype)
    talks = conversations(range(20))
    for turn in range(4):
        for conversation, reply in zip(talks, agent.act(talks), strict=True):
            conversation.messages += [
                Message("assistant", reply.text),
                Message("user", observation(conversation.id, turn)),
            ]
    token = agent.token_bytes(agent.model.config, dtype)
    assert token == 2 * 2 * 32 * dtype.itemsize
    assert held(agent) <= 20 * 101 * token
    agent.release()
    assert agent.engine._cache is not None  # they are under way
    agent.forget(range(20))
    kept = weakref.ref(agent.engine._cache.cache.row_layers[0].keys)
    agent.release()
    assert agent.engine._cache is None and kept() is None
    assert chat_alone(agent, conversations([3]), observation) == chat_alone(
        language_model(context=100, dtype=dtype), conversations([3]), observation
    )


def test_heads_that_share_keys_and_values_are_counted_once() -> None:
    from transformers import LlamaConfig

    config = LlamaConfig(hidden_size=64, num_attention_heads=8, num_key_value_heads=2, num_hidden_layers=3)
    assert language_model().token_bytes(config, torch.bfloat16) == 2 * 3 * 2 * 8 * 2


def test_slots_grow_by_doubling_and_no_further_than_the_context() -> None:
    for most, slots in ((300, 300), (1000, 512)):
        cache = RowCache(1, 2, torch.device("cpu"), most)
        cache.feed(torch.tensor([257, 1]), 257)
        assert cache.slots == slots
