"""Rollout speed: the persistent key-value cache against re-prefilling every turn, same model, same conversations.

    pytest tests/benchmarks/test_rollout_speed.py --benchmark-enable --benchmark-group-by=func

Workload of the design: 16 conversations of 20 turns, a first message of about 300 tokens, observations of about 40
tokens, replies of 8. Environment steps per second = 16 * 20 / time. The world is left out: it costs under 1 %.
"""

from __future__ import annotations

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
