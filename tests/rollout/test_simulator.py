"""Playing on from the middle of an episode: restored worlds are the worlds of a fresh replay, token for token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import config, language_model
from unanswered import Unanswered

from spa_bench import registry
from spa_bench.core import Agent, TextEnv, Tokens, Trajectory, UserError
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.rollout.simulator import PlayedOn, snapshots
from spa_bench.training import start

SMALL = {
    "alfworld": {"train": 24, "valid": 6, "max_steps": 8},
    "webshop": {"products": 200, "valid": 6, "max_steps": 8},
    "virtualhome": {"train": 24, "valid": 6, "max_steps": 8},
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models() -> dict[str, Agent]:
    return {}


def maker(name: str) -> Callable[[], TextEnv]:
    return lambda: registry.build("environments", name, **SMALL[name])


def wanderers(env: TextEnv, count: int = 3) -> list[Trajectory]:
    """Episodes of an agent that tries anything admissible."""
    player = Player(lambda: env, 1)
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    tasks = env.tasks("train")[:count]
    return [t for _, t, _ in player.play([Request(n, task, 7 + n) for n, task in enumerate(tasks)], agent)]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_another_action_from_a_snapshot_is_a_fresh_replay_with_that_action(name):
    """At every turn, every alternative (up to five) tried from the restored world and in a world that starts anew."""
    env, fresh = maker(name)(), maker(name)()
    tried = 0
    for episode in wanderers(env):
        prefixes = [episode.until(turn) for turn in range(len(episode))]
        for prefix, state in zip(prefixes, snapshots(env, prefixes), strict=True):
            _, info = env.restore(state)
            for action in [*list(info["admissible"])[:5], "no such thing"]:
                observation, told = env.restore(state)
                assert observation == prefix.final_observation
                assert told["progress"] == (prefix.steps[-1].progress if prefix.steps else episode.start_progress)
                branched = env.step(action)
                fresh.reset(seed=0, options={"task": episode.task.key, "split": episode.task.split})
                for step in prefix.steps:
                    fresh.step(step.action)
                replayed = fresh.step(action)
                assert branched[:4] == replayed[:4]
                for key in ("grounded", "fault", "success", "progress", "goal"):
                    assert branched[4][key] == replayed[4][key], key
                assert list(branched[4]["admissible"]) == list(replayed[4]["admissible"])
                tried += 1
    assert tried > 40


@pytest.mark.parametrize("name", sorted(SMALL))
def test_an_episode_that_is_played_on_keeps_its_past_and_ends(name):
    env = maker(name)()
    episodes = wanderers(env)
    prefixes = [t.until(turn) for t in episodes for turn in (0, len(t) // 2)]
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    simulator = PlayedOn(Player(maker(name), 4), agent)
    played = simulator(prefixes, 3, seed=5)
    assert [len(group) for group in played] == [3] * len(prefixes)
    for prefix, group in zip(prefixes, played, strict=True):
        for trajectory in group:
            assert trajectory.steps[: len(prefix)] == prefix.steps
            assert trajectory.branch == len(prefix) < len(trajectory)
            assert trajectory.terminated or trajectory.truncated
            assert trajectory.start_progress == prefix.start_progress
            assert trajectory.outcome == pytest.approx(sum(step.env_reward for step in trajectory.steps))
    assert simulator.env_steps == sum(t.played for group in played for t in group)
    assert simulator.tokens == 0
    assert len({tuple(s.action for s in t.steps) for group in played for t in group}) > len(prefixes)


def test_chance_is_that_of_the_prefix_the_sample_and_the_seed_alone():
    env = maker("alfworld")()
    prefixes = [t.until(2) for t in wanderers(env)]
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    whole = PlayedOn(Player(maker("alfworld"), 16), agent)(prefixes, 2, seed=5)
    again = PlayedOn(Player(maker("alfworld"), 1), agent)(prefixes[::-1], 2, seed=5)[::-1]
    assert whole == again
    assert PlayedOn(Player(maker("alfworld"), 16), agent)(prefixes, 3, seed=5)[1][:2] == whole[1]
    assert PlayedOn(Player(maker("alfworld"), 16), agent)(prefixes, 2, seed=6) != whole


def test_a_limit_of_steps_leaves_an_episode_under_way():
    env = maker("alfworld")()
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    prefixes = [t.until(2) for t in wanderers(env)]
    for (short,), (long,) in zip(
        PlayedOn(Player(maker("alfworld"), 4), agent)(prefixes, 1, seed=5, steps=1),
        PlayedOn(Player(maker("alfworld"), 4), agent)(prefixes, 1, seed=5),
        strict=True,
    ):
        assert short.steps == long.steps[:3]
        assert not (short.terminated or short.truncated) or len(long) == 3


def test_what_cannot_be_played_on_is_refused():
    env = maker("alfworld")()
    (episode,) = wanderers(env, 1)
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    simulator = PlayedOn(Player(maker("alfworld"), 2), agent)
    with pytest.raises(ValueError, match="is over"):
        simulator([replace(episode.until(2), truncated=True)], 1, seed=0)
    with pytest.raises(UserError, match="lead to another state"):
        simulator([replace(episode.until(2), final_observation="a beach")], 1, seed=0)
    two = Player(lambda: registry.build("environments", "virtualhome", train=24, valid=6, characters=2), 2)
    with pytest.raises(UserError, match="characters=1"):
        PlayedOn(two, agent)([episode.until(2)], 1, seed=0)


def test_a_language_model_goes_on_from_recorded_tokens_as_if_it_had_never_stopped():
    """Greedy, so that a conversation taken up in the middle has to say what the uninterrupted one said."""
    settings = config(model={"hidden": 32, "layers": 1, "heads": 2, "context": 130, "max_new_tokens": 10, "threads": 1})
    common = start.begin(settings)
    agent = start.load_policy(common, None)
    agent.temperature = 0.0
    tasks = common.train[:4]
    played = [t for _, t, _ in common.player.play([Request(n, task, n) for n, task in enumerate(tasks)], agent)]
    prefixes = [t.until(turn) for t in played for turn in range(len(t))]
    simulator = PlayedOn(common.player, agent)
    again = [t for (t,) in simulator(prefixes, 1, seed=3)]
    wanted = [t for t in played for _ in range(len(t))]
    for got, want in zip(again, wanted, strict=True):
        assert [step.action for step in got.steps] == [step.action for step in want.steps]
        for mine, theirs in zip(got.steps, want.steps, strict=True):
            assert isinstance(mine.tokens, Tokens) and isinstance(theirs.tokens, Tokens)
            assert (mine.tokens.context, mine.tokens.reply, mine.tokens.restart) == (
                theirs.tokens.context, theirs.tokens.reply, theirs.tokens.restart
            )  # fmt: skip
            np.testing.assert_allclose(mine.tokens.logprobs, theirs.tokens.logprobs, atol=1e-4)
    assert any(step.tokens.restart for t in played for step in t.steps[1:]), "no context ever overflowed"
    # A past is read from its last restart on; what is written anew is read and written.
    size = [[len(s.tokens.context) + len(s.tokens.reply) for s in t.steps] for t in again]
    last = [max(n for n, s in enumerate(t.steps[: t.branch] or t.steps[:1]) if s.tokens.restart) for t in again]
    past = sum(sum(sizes[first : t.branch]) for sizes, first, t in zip(size, last, again, strict=True))
    own = sum(sum(sizes[t.branch :]) for sizes, t in zip(size, again, strict=True))
    assert past > 1000 and simulator.tokens == past + own
    simulator.tokens = 0
    twice = [t for several in simulator(prefixes, 2, seed=3) for t in several]
    assert simulator.tokens == past + 2 * own, "what two share is read once, and greedy replies are the same"
    assert [[s.reply for s in t.steps] for t in twice[::2]] == [[s.reply for s in t.steps] for t in again]
    assert not agent._live, "a finished conversation is still in the cache"


def test_copies_of_a_conversation_say_what_each_would_have_said_alone():
    from spa_bench.core import Conversation, Message

    agent = language_model()
    said = [Message("user", "You are in the middle of a room.")]
    alone, replies = [], []
    for n in range(3):
        talk = Conversation(n, 100, list(said))
        first = agent.act([talk])[0]
        talk.messages += [Message("assistant", first.text), Message("user", "Nothing happens.")]
        talk.seed = 200 + n
        alone.append(agent.act([talk])[0])
        replies.append(first)
    agent.forget([0, 1, 2])
    told = [*said, Message("assistant", replies[0].text), Message("user", "Nothing happens.")]
    for past in ([replies[0].tokens], []):
        source = Conversation(10, 100, list(said))
        if past:
            source = Conversation(10, 100, list(told), past=past)
        else:
            agent.act([source])
            source.messages[:] = told
        copies = [Conversation(11 + n, 200 + n, list(told), past=past) for n in range(3)]
        agent.fork([(source, copies)])
        agent.forget([10])
        got = agent.act(copies)
        assert [reply.text for reply in got] == [reply.text for reply in alone]
        for mine, theirs in zip(got, alone, strict=True):
            assert mine.tokens.context == theirs.tokens.context
            np.testing.assert_allclose(mine.tokens.logprobs, theirs.tokens.logprobs, atol=1e-4)
        agent.forget([11, 12, 13])
    assert not agent._live and not agent.engine._rows


def test_what_cannot_be_continued_stops_the_run_instead_of_counting_as_a_failure():
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    prefixes = [t.until(1) for t in wanderers(maker("alfworld")())]
    simulator = PlayedOn(Player(maker("alfworld"), 4), Unanswered(agent, lambda talk: talk.id == 1 and talk.turn == 3))
    with pytest.raises(UserError, match="could not be continued \\(gone\\)"):
        simulator(prefixes, 2, 0)
