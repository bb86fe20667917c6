"""Engines: token ids in, token ids and log-probs out. Each is held to what a plain forward pass of the model gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples
from tiny import language_model

from spa_bench.agents.engines import Prompt, Sampled, Sampling
from spa_bench.agents.engines.transformers import TransformersEngine
from spa_bench.agents.row_cache import split

MODEL = language_model().model
GREEDY = Sampling(max_new_tokens=6, temperature=0.0, ends=frozenset({3}))
SAMPLED = replace(GREEDY, temperature=1.0)


def engine() -> TransformersEngine:
    return TransformersEngine(MODEL, context=512)


@torch.no_grad()
def plain(ids: list[int]) -> np.ndarray:
    """Log-probs of what may follow `ids`, without a cache."""
    return MODEL(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1).numpy()


def check(ids: list[int], said: Sampled, *, greedy: bool) -> None:
    """Log-probs are the model's; a greedy reply is the likeliest; it stops at an end or is as long as it may be."""
    seen = list(ids)
    for token, logprob in zip(said.ids, said.logprobs, strict=True):
        known = plain(seen)
        assert logprob == pytest.approx(float(known[token]), abs=2e-5)
        assert not greedy or known[token] >= known.max() - 1e-5
        seen.append(token)
    assert all(token not in GREEDY.ends for token in said.ids[:-1])
    assert said.ids[-1] in GREEDY.ends or len(said.ids) == GREEDY.max_new_tokens


texts = st.lists(st.integers(4, 40), min_size=1, max_size=12)


@max_examples(15)
@given(st.lists(st.tuples(texts, st.lists(texts, max_size=3), st.integers(0, 2**63 - 1)), min_size=1, max_size=4))
def test_replies_are_the_models_over_turns_that_go_on_and_begin_anew(talks: Any) -> None:
    one = engine()
    sequences = {key: list(first) for key, (first, _, _) in enumerate(talks)}
    for turn in range(4):
        for sampling in (GREEDY, SAMPLED):
            prompts = []
            for key, (first, later, seed) in enumerate(talks):
                new = turn == 2 and key % 2 == 0
                if new:
                    sequences[key] = list(first)
                elif turn <= len(later) and turn:
                    sequences[key] += later[turn - 1]
                prompts.append(Prompt(key, sequences[key], seed, new=new))
            for prompt, said in zip(prompts, one.generate(prompts, sampling), strict=True):
                check(list(prompt.ids), said, greedy=sampling is GREEDY)
                sequences[prompt.key] = [*prompt.ids, *said.ids]


def test_a_fork_is_read_once_and_its_replies_are_those_of_conversations_apart() -> None:
    ids = [5, 9, 7, 30, 12]
    one, keys = engine(), [11, 12, 13]
    one.fork([(Prompt(10, ids, 0), keys)])
    said = one.generate([Prompt(key, ids, key) for key in keys], SAMPLED)
    apart = engine().generate([Prompt(key, ids, key) for key in keys], SAMPLED)
    assert [reply.ids for reply in said] == [reply.ids for reply in apart]
    for reply, other in zip(said, apart, strict=True):
        np.testing.assert_allclose(reply.logprobs, other.logprobs, atol=1e-5)


def test_chance_is_that_of_the_seed_alone() -> None:
    prompts = [Prompt(key, [5, 9, 7], seed) for key, seed in enumerate([1, 2, 1, 3, 4, 5])]
    said = [reply.ids for reply in engine().generate(prompts, SAMPLED)]
    assert said[0] == said[2] and len(set(said)) > 1
    assert [said[3]] == [reply.ids for reply in engine().generate([replace(prompts[3], key=77)], SAMPLED)]


def test_loaded_weights_are_sampled_with() -> None:
    other = language_model(seed=1).model
    one = TransformersEngine(language_model().model, context=512)
    one.load(other)
    want = TransformersEngine(other, context=512).generate([Prompt(0, [5, 9, 7], 1)], SAMPLED)
    assert one.generate([Prompt(0, [5, 9, 7], 1)], SAMPLED) == want


def test_memory_is_released_where_no_conversation_is_under_way() -> None:
    one = engine()
    one.generate([Prompt(0, [5, 9], 1)], GREEDY)
    one.release()
    assert one._cache is not None
    one.forget([0])
    one.release()
    assert one._cache is None
    check([5, 9], one.generate([Prompt(0, [5, 9], 1)], GREEDY)[0], greedy=True)


def cost(parts: list[list[int]], lengths: list[int]) -> int:
    return sum(len(part) * max(lengths[row] for row in part) for part in parts)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_every_row_with_something_to_feed_is_in_exactly_one_pass(lengths: list[int]) -> None:
    parts = split(lengths)
    rows = sorted(row for part in parts for row in part)
    assert len(parts) in (1, 2) and len(set(rows)) == len(rows)
    assert {row for row, length in enumerate(lengths) if length} <= set(rows)
    assert cost(parts, lengths) <= len(lengths) * max(lengths)


def test_long_chunks_are_fed_apart_where_padding_would_be_most_of_the_work() -> None:
    assert split([10, 100, 10, 10]) == [[0, 2, 3], [1]]  # 30 + 100 instead of 400
    assert split([90, 100, 90, 90]) == [[0, 1, 2, 3]]  # 370 instead of 400 is not worth a pass
    assert split([0, 50, 0, 50]) == [[1, 3]]  # nothing to do for two of them
    assert split([1, 1, 0, 1]) == [[0, 1, 2, 3]]  # single tokens stay together
    assert split([0, 0, 1, 0]) == [[2]]  # unless they are few
    assert split([0, 0]) == [[0, 1]]
