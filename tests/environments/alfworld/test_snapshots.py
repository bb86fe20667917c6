"""Snapshots, the expert and isolation of ALFWorld environments: an episode depends on its own past only."""

import itertools
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from alfworld_play import SMALL, begin, finish
from gymnasium.error import ResetNeeded
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench.environments.alfworld.env import ALFWorld


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Generated tasks go where the tests may write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def env() -> ALFWorld:
    return ALFWorld(**SMALL)


@max_examples(40, HealthCheck.function_scoped_fixture)
@given(
    choices=st.lists(st.integers(0, 10**6), min_size=1, max_size=30), cut=st.integers(0, 30), index=st.integers(0, 35)
)
def test_a_restored_episode_goes_on_exactly_like_the_original(
    env: ALFWorld, choices: list[int], cut: int, index: int
) -> None:
    _, info = begin(env, index)
    saved, results = None, []
    for position, choice in enumerate(choices):
        if position == min(cut, len(choices) - 1):
            saved = env.snapshot()
            expert = env.expert_action()
        result = env.step(info["admissible"][choice % len(info["admissible"])])
        info = result[4]
        results.append(result)
        if result[2] or result[3]:
            break
    if saved is None:
        return
    other = ALFWorld(**SMALL)
    _, info = other.restore(pickle.loads(pickle.dumps(saved)))  # noqa: S301 - our own bytes
    start = len(saved.history) - 1
    assert other.expert_action() == expert
    for choice, expected in zip(choices[start:], results[start:], strict=False):
        result = other.step(info["admissible"][choice % len(info["admissible"])])
        info = result[4]
        assert result == expected


def test_restore_returns_what_the_snapshot_showed_also_of_another_task(env: ALFWorld) -> None:
    begin(env, 0)
    shown = env.step("dance")
    saved = env.snapshot()
    begin(env, 7)
    env.step("look")
    assert env.restore(saved) == (shown[0], shown[4])
    assert env.restore(saved)[1]["fault"] == "format"


def test_steps_before_a_snapshot_count_after_it(env: ALFWorld) -> None:
    env.max_steps = 3
    begin(env)
    env.step("look")
    saved = env.snapshot()
    for _ in range(2):
        env.restore(saved)
        assert [env.step("look")[3] for _ in range(2)] == [False, True]


def test_a_finished_episode_stays_finished_when_restored(env: ALFWorld) -> None:
    begin(env)
    finish(env)
    saved = env.snapshot()
    begin(env, 1)
    env.restore(saved)
    with pytest.raises(ResetNeeded):
        env.step("look")


def test_the_expert_is_the_same_whether_asked_always_late_or_after_a_detour(env: ALFWorld) -> None:
    env.max_steps = 500
    begin(env, 5)
    asked, _ = finish(env)
    begin(env, 5)
    for command in asked[:-1]:
        env.step(command)
    assert env.expert_action() == asked[-1]
    begin(env, 5)
    half = len(asked) // 2
    for command in asked[:half]:
        env.step(command)
    saved = env.snapshot()
    finish(env)
    env.restore(saved)
    env.step("look")
    env.expert_action()
    env.restore(saved)
    assert finish(env)[0] == asked[half:]


def test_asking_the_expert_twice_gives_the_same_answer(env: ALFWorld) -> None:
    begin(env, 2)
    over = False
    while not over:
        command = env.expert_action()
        assert env.expert_action() == command
        over = env.step(command)[2]


def test_the_expert_finishes_what_someone_else_began(env: ALFWorld) -> None:
    env.max_steps = 300
    for index in range(12):
        _, info = begin(env, index)
        for turn in range(15):
            info = env.step(info["admissible"][(7 * turn + index) % len(info["admissible"])])[4]
            if info["success"]:
                break
        else:
            assert finish(env)[1][4]["success"], env.tasks("train")[index].key


def test_two_environments_stepped_in_turn_equal_two_stepped_alone() -> None:
    def episode(index: int) -> Iterator[Any]:
        env = ALFWorld(**SMALL)
        result = begin(env, index)
        yield result
        for turn in range(20):
            admissible = result[-1]["admissible"]
            result = env.step(admissible[turn % len(admissible)])  # type: ignore[assignment]
            yield result, env.expert_action()
            if result[2]:  # type: ignore[misc]
                return

    alone = [list(episode(4)), list(episode(9))]
    together = list(itertools.zip_longest(episode(4), episode(9)))
    assert [[r for r in side if r is not None] for side in zip(*together, strict=True)] == alone


def test_the_expert_finds_a_place_for_an_object_that_many_places_refuse() -> None:
    env = ALFWorld(train=120, valid=1, difficulty="hard", max_steps=400)
    carried = 0
    for index in range(120):
        _, info = begin(env, index)
        wanted = info["task"].key.split("-")[1].lower()
        places = [command for command in info["admissible"] if command.startswith("go to")]
        take = None
        while take is None and places:
            info = env.step(places.pop())[4]
            take = next((c for c in info["admissible"] if c.startswith("take ") and c.split()[1] != wanted), None)
        if take is None:
            continue
        env.step(take)
        held = env.snapshot()
        for place in [command for command in info["admissible"] if command.startswith("go to")][:8]:
            env.restore(held)
            env.step(place)
            commands, result = finish(env)
            assert result[4]["success"], (index, place)
            carried += [command.split()[0] for command in commands[:2]] == ["go", "go"]
    assert carried > 0, "some object has to be refused more than once"
