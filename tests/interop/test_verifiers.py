"""The verifiers environment, with a real model behind HTTP on this machine, in this process and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, serving

from spa_bench.core import UserError

vf = pytest.importorskip("verifiers.v1")

from spa_bench.interop import verifiers as ours  # noqa: E402
from spa_bench.interop.step_rewards import StepRewards  # noqa: E402

WORLD = {"train": 6, "valid": 2, "max_steps": 3}
COUNTING = """
import numpy as np
from spa_bench import RewardMethod


class Counting(RewardMethod):
    def rewards(self, group):
        return [len(group) * np.arange(1.0, len(episode) + 1) for episode in group]
"""
NAME = "sum of step rewards: counting.Counting"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture(autouse=True)
def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """verifiers gives each rollout a folder, by default below the user's home."""
    monkeypatch.setattr("verifiers.v1.runtimes.subprocess.CACHE_DIR", tmp_path)


def environment(**settings: Any) -> Any:
    taskset = {"id": ours.ID, "world": "alfworld", "options": WORLD}
    return vf.load_environment(vf.resolve_env_config({"taskset": taskset, **settings}))


def episode(env: Any, server: Served) -> Any:
    client = vf.EvalClientConfig(base_url=server.url, api_key_var="NO_KEY")
    context = vf.ModelContext(model="tiny-1", client=client, sampling=vf.types.SamplingConfig(max_tokens=4))

    async def played() -> Any:
        async with env.serving():
            return await env.run_slot(env.slots(next(iter(env.taskset)))[0], context)

    return asyncio.run(played())


def counting(folder: Path) -> str:
    (folder / "counting.py").write_text(COUNTING, encoding="utf-8")
    return f"{folder / 'counting.py'}:Counting"


def test_what_a_trace_holds(server: Served, tmp_path: Path) -> None:
    """Two episodes of one task are one group: 2, 4, 6 for their turns, so returns of 12, 10 and 6."""
    env = environment(reward=counting(tmp_path), group=2)
    found = episode(env, server)
    assert found.ok and len(found.traces) == 2
    for trace in found.traces:
        assert trace.reward == 12.0 and trace.rewards[NAME].score == 12.0
        assert trace.metrics == {"success": 0.0, "outcome": 0.0, "turns": 3.0, "grounded": 0.0}
        told = trace.info[ours.KEY]
        assert told["step_rewards"] == [2.0, 4.0, 6.0] and told["advantages"] == [12.0, 10.0, 6.0]
        assert told["grounded"] == [False] * 3 and told["world"] == "alfworld" and trace.num_turns == 3
    assert {trace.task.key for trace in found.traces} == {f"alfworld/train/{found.task.data.id}"}
    assert found.traces[0].messages[0].content.startswith("You are")


def test_an_episode_that_the_model_did_not_answer_has_no_reward(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "answer", lambda path, body: (500, {}, b"{}"))
    (trace,) = episode(environment(), server).traces
    assert not trace.ok and trace.rewards == {} and ours.KEY not in trace.info


def test_an_episode_that_a_limit_of_verifiers_ends_is_truncated(server: Served, tmp_path: Path) -> None:
    env = environment(reward=counting(tmp_path), player={"max_turns": 2})
    (trace,) = episode(env, server).traces
    assert trace.ok and trace.stop_condition == "max_turns"
    assert trace.info[ours.KEY]["step_rewards"] == [1.0, 2.0] and trace.info[ours.KEY]["truncated"]


def test_a_turns_advantage_is_stamped_on_its_tokens(server: Served, tmp_path: Path) -> None:
    (trace,) = episode(environment(reward=counting(tmp_path)), server).traces
    sampled = [node for node in trace.nodes if node.sampled]
    for node in sampled:  # an endpoint of chat gives no tokens; a trainer's does
        node.mask = [False, True, True]
        node.token_ids = [0, 1, 2]
    ours.stamp(trace)
    assert [node.advantages for node in sampled] == [[6.0, 6.0], [5.0, 5.0], [3.0, 3.0]]
    trace.info.clear()
    with pytest.raises(UserError, match="a trace with 3 replies and no advantages"):
        ours.stamp(trace)


def test_a_world_that_fails_is_one_line_of_the_episode(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment()

    def broken(self: object, action: str) -> None:
        raise ZeroDivisionError("no such place")

    monkeypatch.setattr("spa_bench.environments.alfworld.env.ALFWorld.step", broken)
    found = episode(env, server)
    assert not found.ok
    assert "environment alfworld: step of task" in found.errors[0].message
    assert "raised ZeroDivisionError: no such place at" in found.errors[0].message


def test_a_fitted_method_is_handed_over_by_name(server: Served) -> None:
    rewards = StepRewards("uniform")
    ours.prepared["mine"] = rewards
    try:
        assert environment(reward="mine").rewards is rewards
    finally:
        del ours.prepared["mine"]
    with pytest.raises(UserError, match="no reward 'mine'"):
        environment(reward="mine")
