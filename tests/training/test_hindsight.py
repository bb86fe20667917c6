"""Log-probs of replies once the policy is told the end: the same replies, other contexts, counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from strategies import episode
from tiny import language_model

from spa_bench.core import Trajectory
from spa_bench.training.batches import Limit, pack
from spa_bench.training.hindsight import Hindsight
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import score
from spa_bench.training.start import in_tokens


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


LIMIT = Limit(10**6, 4)


def played(agent, turns: int, words: str = "") -> Trajectory:
    return in_tokens(agent, "play", episode(1.0, [True] * turns, words=words))


def test_a_reply_has_the_mean_log_prob_that_the_policy_gives_it_after_the_hint():
    """The hint stands after the first observation, and moves what comes later; nothing else is other than it was."""
    agent = language_model()
    policy = Policy(agent.model)
    hindsight = Hindsight(agent, policy, "play", LIMIT)
    episodes = [played(agent, 3), played(agent, 1, "b")]
    got = hindsight(episodes, ["room 2", "room 1"])
    for t, hint, found in zip(episodes, ["room 2", "room 1"], got, strict=True):
        first, *later = t.steps
        shown = replace(t, steps=(replace(first, observation=f"{first.observation}\n{hint}"), *later))
        told = in_tokens(agent, "play", shown)
        (scored,) = score(policy, [pack([step.tokens for step in told.steps])], LIMIT)
        lengths = [len(step.tokens.reply) for step in told.steps if step.tokens]
        parts = np.split(scored.logprobs, np.cumsum(lengths)[:-1])
        np.testing.assert_allclose(found, [part.mean() for part in parts], atol=1e-4)
    (plain,) = score(policy, [pack([step.tokens for step in episodes[0].steps])], LIMIT)
    assert abs(got[0][0] - plain.logprobs[: len(episodes[0].steps[0].tokens.reply)].mean()) > 1e-3


def test_replies_are_those_that_were_sampled_not_those_that_their_text_would_be():
    agent = language_model()
    policy = Policy(agent.model)
    t = played(agent, 2)
    other = [replace(s, tokens=replace(s.tokens, reply=(5, 6, 7), logprobs=(-1.0,) * 3)) for s in t.steps if s.tokens]
    (one,), (two,) = (
        Hindsight(agent, policy, "play", LIMIT)([x], ["room 1"]) for x in (t, replace(t, steps=(*other,)))
    )
    assert not np.allclose(one, two)


def test_what_it_reads_is_counted_and_an_episode_without_steps_has_nothing():
    agent = language_model()
    hindsight = Hindsight(agent, Policy(agent.model), "play", LIMIT)
    t = played(agent, 2)
    got = hindsight([t, episode(1.0, [])], ["room 1", "room 1"])
    assert [len(h) for h in got] == [2, 0]
    assert hindsight.tokens > sum(step.tokens.size for step in t.steps if step.tokens)
    again = hindsight.tokens
    hindsight([t], ["room 1"])
    assert hindsight.tokens == 2 * again
