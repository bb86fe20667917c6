"""Rollout speed: the persistent key-value cache against re-prefilling every turn, same model, same conversations.

    pytest tests/benchmarks/test_rollout_speed.py --benchmark-enable --benchmark-group-by=func

Workload of the design: 16 conversations of 20 turns, a first message of about 300 tokens, observations of about 40
tokens, replies of 8. Environment steps per second = 16 * 20 / time. The world is left out: it costs under 1 %.

`test_rollout` is the embedded model with and without a memory; `test_smollm2` is SmolLM2 in the default engine and in
transformers' `generate`, which is given all conversations of a turn as one batch, padded on the left, keeps its cache
within the call, and writes as many tokens: half as many conversations, and seconds of the processor. The first 250
tokens are the instructions, the same for all.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from spa_bench import registry
from spa_bench.agents.causal_lm import CausalLM
from spa_bench.core import Conversation, Message

CONVERSATIONS, TURNS, FIRST, LATER, REPLY = 16, 20, 300, 40, 8
WORDS = (
    *("cabinet", "drawer", "shelf", "fridge", "mug", "plate", "apple", "book", "nothing"),
    *("go", "to", "take", "from", "put", "in", "on", "you", "see", "the", "a"),
)


class Forgetful(CausalLM):
    """The same agent without a memory: every turn feeds the whole conversation again."""

    def act(self, conversations):  # type: ignore[no-untyped-def]
        self.forget([conversation.id for conversation in conversations])
        return super().act(conversations)


def text(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, size=words))


def talk(agent: CausalLM) -> int:
    rng = np.random.default_rng(0)
    live = [Conversation(i, i, [Message("user", text(rng, FIRST))]) for i in range(CONVERSATIONS)]
    for _ in range(TURNS):
        for conversation, reply in zip(live, agent.act(live), strict=True):
            conversation.messages += [Message("assistant", reply.text), Message("user", text(rng, LATER))]
    agent.forget([conversation.id for conversation in live])
    return CONVERSATIONS * TURNS


@pytest.mark.parametrize("kind", [CausalLM, Forgetful], ids=["cached", "re-prefilled"])
def test_rollout(benchmark, kind: type[CausalLM]) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    shape = {"hidden": 128, "layers": 2, "heads": 2, "context": 4096, "max_new_tokens": REPLY, "seed": 0}
    agent = kind.embedded([" ".join(WORDS)] * 2, registry.prompt("action"), **shape)
    agent.chat.ends = frozenset()  # replies of exactly REPLY tokens: the two agents do the same work
    steps = benchmark.pedantic(talk, args=(agent,), rounds=3, warmup_rounds=1 if kind is CausalLM else 0)
    benchmark.extra_info["env_steps"] = steps


def engine_turns(model, told):  # type: ignore[no-untyped-def]
    """Conversations that are told these ids turn by turn; how long they are in the end."""
    from spa_bench.agents.engines import Prompt, Sampling
    from spa_bench.agents.engines.transformers import TransformersEngine

    engine = TransformersEngine(model, context=4096)
    sequences: list[list[int]] = [[] for _ in told]
    for turn in range(TURNS):
        for sequence, pages in zip(sequences, told, strict=True):
            sequence += pages[turn]
        prompts = [Prompt(key, ids, 100 * turn + key) for key, ids in enumerate(sequences)]
        for sequence, said in zip(sequences, engine.generate(prompts, Sampling(REPLY, 1.0, frozenset())), strict=True):
            sequence += said.ids
    return [len(sequence) for sequence in sequences]


@torch.inference_mode()
def generate_turns(model, told):  # type: ignore[no-untyped-def]
    """The same with `generate`."""
    sequences: list[list[int]] = [[] for _ in told]
    for turn in range(TURNS):
        for sequence, pages in zip(sequences, told, strict=True):
            sequence += pages[turn]
        longest = max(map(len, sequences))
        ids = torch.tensor([[0] * (longest - len(sequence)) + sequence for sequence in sequences])
        mask = torch.tensor([[0] * (longest - len(sequence)) + [1] * len(sequence) for sequence in sequences])
        said = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=REPLY, min_new_tokens=REPLY, do_sample=True,
            temperature=1.0, top_k=0, top_p=1.0, use_cache=True, pad_token_id=0,
        )  # fmt: skip
        for sequence, reply in zip(sequences, said[:, longest:].tolist(), strict=True):
            sequence += reply
    return [len(sequence) for sequence in sequences]


@pytest.mark.minutes
@pytest.mark.timeout(0)
@pytest.mark.benchmark(timer=time.process_time)  # one thread, on a machine that others use too
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("turns", [engine_turns, generate_turns], ids=["engine", "generate"])
def test_smollm2(benchmark, smollm2, turns, dtype: torch.dtype) -> None:  # type: ignore[no-untyped-def]
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=dtype)
    rng = np.random.default_rng(0)
    instructions = rng.integers(100, 40_000, 250).tolist()
    sizes = [[FIRST - 250, *rng.integers(LATER - 10, LATER + 11, TURNS - 1)] for _ in range(CONVERSATIONS // 2)]
    told = [
        [instructions * (turn == 0) + rng.integers(100, 40_000, size).tolist() for turn, size in enumerate(own)]
        for own in sizes
    ]
    lengths = benchmark.pedantic(turns, args=(model, told), rounds=1)
    assert lengths == [250 + sum(own) + TURNS * REPLY for own in sizes]
    benchmark.extra_info["sampled"] = len(told) * TURNS * REPLY
