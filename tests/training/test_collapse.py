"""How much replies depend on their prompts, by hand and against a direct computation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny import language_model

from spa_bench.core import Step, Task, Tokens, Trajectory
from spa_bench.training.batches import Limit
from spa_bench.training.collapse import PAIRS, information, mutual_information
from spa_bench.training.metrics import collected
from spa_bench.training.policy import Policy

LIMIT = Limit(tokens=4096, episodes=8)


def test_information_of_two_prompts_by_hand() -> None:
    """p(y1 | x1) = .8 and p(y1 | x2) = .2; p(y2 | x1) = .3 and p(y2 | x2) = .6."""
    table = np.log([[0.8, 0.3], [0.2, 0.6]])
    assert information(table) == pytest.approx((math.log(0.8 / 0.5) + math.log(0.6 / 0.45)) / 2)


@given(arrays(float, st.integers(2, 5).map(lambda n: (n, n)), elements=st.floats(-400, 0)), st.floats(-300, 0))
def test_it_is_between_none_and_that_of_telling_all_prompts_apart(table: np.ndarray, shift: float) -> None:
    found = information(table)
    assert 0 <= found <= math.log(len(table)) + 1e-9
    assert information(table + shift) == pytest.approx(found, abs=1e-6), "longer replies are not less informed"
    assert information(np.repeat(table[:1], len(table), axis=0)) == pytest.approx(0, abs=1e-9)
    apart = np.where(np.eye(len(table)), -1.0, -800.0)
    assert information(apart) == pytest.approx(math.log(len(table)))


def episode(key: str, replies: list[tuple[list[int], list[int]]], error: str | None = None) -> Trajectory:
    """Turns of (context, reply), each in token ids."""
    tokens = [Tokens(tuple(context), tuple(reply), (0.0,) * len(reply)) for context, reply in replies]
    steps = tuple(Step("seen", str(one.reply), "act", True, None, 0.0, 0.0, tokens=one) for one in tokens)
    return Trajectory(Task("alfworld", key, "train", "heat", 3), steps, 0.0, False, True, False, error=error)


def test_each_reply_is_scored_after_each_prompt_of_another_task() -> None:
    """Two episodes of three and one turn: the middle turns are the second and the first."""
    agent = language_model()
    policy = Policy(agent.model, temperature=1.0)
    long = episode("a", [([5, 6, 7], [8]), ([9, 10], [11, 12]), ([13], [14])])
    short = episode("b", [([5, 6], [15, 16, 17])])
    again = episode("a", [([5, 6], [20])])
    prompts, replies = [[5, 6, 7, 8, 9, 10], [5, 6]], [[11, 12], [15, 16, 17]]

    def direct(prompt: list[int], reply: list[int]) -> float:
        with torch.no_grad():
            logits = agent.model(torch.tensor([prompt + reply])).logits[0].log_softmax(-1)
        return float(sum(logits[len(prompt) - 1 + k, token] for k, token in enumerate(reply)))

    table = np.array([[direct(prompt, reply) for reply in replies] for prompt in prompts])
    found = mutual_information(policy, [long, short, again], LIMIT)
    assert found == pytest.approx(information(table), abs=1e-5)
    lost = episode("c", [([5], [6])], error="the world was lost")
    assert mutual_information(policy, [lost, long, short], LIMIT) == pytest.approx(found, abs=1e-5)
    assert mutual_information(policy, [long, again], LIMIT) is None, "one task alone has nothing to be told apart from"
    many = [episode(str(n), [([5, 6], [n])]) for n in range(10, 30)]
    assert mutual_information(policy, many, LIMIT) == pytest.approx(0, abs=1e-5), "all were asked the same"
    assert PAIRS == 8


def test_repeated_replies_and_their_length_by_hand() -> None:
    one = episode("a", [([1], [2]), ([1], [2]), ([1], [3, 3, 3])])
    two = episode("b", [([1], [4])])
    lost = episode("c", [([1], [5, 5]), ([1], [5, 5])], error="lost")
    figures = collected([one, two, lost])
    assert figures["repeated"] == 1 / 2
    assert figures["reply_tokens"] == (1 + 1 + 3 + 1) / 4
    assert collected([two])["repeated"] == 0
    branch = replace(episode("d", [([1], [6]), ([1], [6]), ([1], [6]), ([1], [7])]), branch=2)
    assert collected([branch])["repeated"] == 1 / 2, "what came before the branch is another's"
