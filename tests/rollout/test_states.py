"""The true state of a world: one digest for one state, recorded while an episode is played or filled in by a replay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from test_simulator import SMALL, maker

from spa_bench import registry
from spa_bench.core import Agent, TextEnv, Trajectory, UserError
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.rollout.states import digest, filled_in
from spa_bench.runs.episodes import from_row, mistyped, to_row


def wanderer(*records: str) -> Agent:
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    agent.records = frozenset(records)
    return agent


def played(env: TextEnv, agent: Agent, samples: int = 6) -> list[Trajectory]:
    """Several episodes of each of two tasks: states that come back."""
    tasks = [task for task in env.tasks("train")[:2] for _ in range(samples)]
    return [t for _, t, _ in Player(lambda: env, 1).play([Request(n, task, n) for n, task in enumerate(tasks)], agent)]


@dataclass(frozen=True)
class Box:
    things: frozenset[str]
    weight: float = 1.0


def test_equal_values_have_one_digest_in_whatever_order():
    names = [f"thing {n}" for n in range(40)]
    assert digest(Box(frozenset(names))) == digest(Box(frozenset(reversed(names)), 1))
    assert digest({"a": (1, None), "b": {2.0}}) == digest({"b": {2}, "a": [True, None]})
    assert digest(Box(frozenset(names))) == "266136555065da58"  # the same on every machine


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("b", "a")),
        (("a", "b"), ("a, b",)),
        (("ab",), ("a", "b")),
        ({1}, {2}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {("a", 1)}),
        ("1", 1),
        ("None", None),
        (0.5, 0),
        (Box(frozenset()), Box(frozenset(), 2.0)),
        ((), frozenset()),
    ],
)
def test_different_values_have_different_digests(one: Any, other: Any):
    assert digest(one) != digest(other)


def test_what_has_no_order_of_its_own_is_refused():
    with pytest.raises(TypeError, match="a state holds object: give texts"):
        digest((1, object()))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_digest_is_equal_exactly_where_the_states_are(name):
    """All moments of several episodes of a task: states that Python says to be equal, and their digests."""
    env, met = maker(name)(), []
    for one in played(env, wanderer()):
        env.reset(seed=0, options={"task": one.task.key, "split": one.task.split})
        met.append((env.true_state(), env.snapshot(), one.task.key))
        for step in one.steps:
            env.step(step.action)
            met.append((env.true_state(), env.snapshot(), one.task.key))
    came_back = 0
    for n, (state, saved, task) in enumerate(met):
        for other, _, own in met[:n]:
            if own == task:
                assert (digest(state) == digest(other)) == (state == other)
                came_back += state == other
        env.restore(saved)
        assert digest(env.true_state()) == digest(state)
    assert came_back > 20
    assert len({digest(state) for state, *_ in met}) > 10


@pytest.mark.parametrize("name", sorted(SMALL))
def test_what_was_not_executed_leaves_the_state_and_equal_states_go_on_alike(name):
    """Of two moments in one state, the same action leads to one state, and the oracle says the same."""
    env = maker(name)()
    leads: dict[tuple[str, str, str], tuple[str, bool, float]] = {}
    again = 0
    for one in played(env, wanderer("state"), samples=12):
        states = [*(step.state for step in one.steps), one.final_state]
        for step, state, after in zip(one.steps, states, states[1:], strict=False):
            assert step.grounded or state == after
            key = one.task.key, state, step.action
            again += key in leads
            assert leads.setdefault(key, (after, step.grounded, step.progress)) == (after, step.grounded, step.progress)
    assert again > 5


def test_one_text_can_be_two_states():
    """A shelf looks as before whatever is in hand; a page of a product as before whatever was chosen."""
    env = maker("alfworld")()
    found: dict[tuple[str, str], set[str]] = {}
    for one in played(env, wanderer("state"), samples=12):
        for step in one.steps:
            found.setdefault((one.task.key, step.observation), set()).add(step.state)
    assert max(map(len, found.values())) > 1


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_replay_fills_in_what_a_rollout_records(name):
    env = maker(name)()
    recorded = played(env, wanderer("state", "menu"))
    bare = played(env, wanderer())
    limit = env.max_steps
    assert filled_in(env, bare) == recorded != bare
    assert env.max_steps == limit
    assert filled_in(env, recorded) == recorded
    for one in bare:
        assert {(step.state, step.menu) for step in one.steps} | {(one.final_state, one.final_menu)} == {("", "")}
    wrong = replace(bare[0], final_observation="a beach")
    with pytest.raises(UserError, match="lead to another state in this world"):
        filled_in(env, [wrong])
    assert filled_in(env, [failed := replace(wrong, error="it broke")]) == [failed]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_prefixes_and_what_is_played_on_from_them_keep_the_record(name):
    env = maker(name)()
    prefixes = [one.until(len(one) // 2) for one in played(env, wanderer("state", "menu"), samples=2)]
    assert [p.final_state for p in prefixes] == [p.final_state for p in filled_in(env, [bare(p) for p in prefixes])]
    groups = PlayedOn(Player(maker(name), 4), wanderer("state", "menu"))(prefixes, 2, seed=3)
    whole = [one for group in groups for one in group]
    assert filled_in(env, [bare(one) for one in whole]) == whole


def bare(one: Trajectory) -> Trajectory:
    """Without the record."""
    steps = tuple(replace(step, state="", menu="") for step in one.steps)
    return replace(one, steps=steps, final_state="", final_menu="")


def test_a_row_holds_the_record_where_there_is_one_and_is_as_ever_where_there_is_none():
    env = maker("webshop")()
    one = played(env, wanderer("state", "menu"), samples=1)[0]
    assert from_row(to_row(one)) == one
    row = to_row(bare(one))
    assert from_row(row) == bare(one)
    assert not {"final_state", "final_menu"} & row.keys()
    assert not {"state", "menu"} & row["steps"][0].keys()
    assert mistyped(replace(one, final_state=3)) == [3]  # type: ignore[arg-type]
    assert mistyped(one) == []


def test_a_world_that_does_not_say_its_state_is_named():
    class Silent(type(maker("alfworld")())):  # type: ignore[misc]
        def true_state(self) -> object:
            return TextEnv.true_state(self)

    env = Silent(**SMALL["alfworld"])
    assert played(env, wanderer(), samples=1)
    with pytest.raises(UserError, match="environment alfworld does not say what its state is: define true_state"):
        played(env, wanderer("state"), samples=1)
