"""Probes are real episodes: what the world would say to the same actions, with loops that change nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from spa_bench import registry
from spa_bench.audit import laws, probes
from spa_bench.audit.stage import quarters
from spa_bench.core import Step, Task, TextEnv, Trajectory, UserError
from spa_bench.method import RewardMethod
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player

SMALL: dict[str, dict[str, Any]] = {
    "alfworld": {"train": 36, "valid": 12},
    "webshop": {"products": 20, "valid": 10},
    "virtualhome": {"train": 60, "valid": 20},
}
WORLDS = pytest.mark.parametrize("world", SMALL)
PROMPT = registry.prompt("action")
TASKS = 12


def make(world: str, **options: Any) -> TextEnv:
    return registry.build("environments", world, **SMALL[world], **options)


@cache
def recorded(world: str, name: str = "random") -> list[Trajectory]:
    agent = registry.build("agents", name, prompt=PROMPT)
    tasks = make(world).tasks("train")[:TASKS]
    requests = [Request(index, task, 100 + index) for index, task in enumerate(tasks)]
    return [played for _, played, _ in Player(lambda: make(world), 4).play(requests, agent)]


@cache
def walked(world: str, name: str = "random") -> list[list[Trajectory] | None]:
    env = make(world)
    return [
        probes.loops(env, trajectory, np.random.default_rng(index), PROMPT.render)
        for index, trajectory in enumerate(recorded(world, name))
    ]


@cache
def pairs(world: str) -> list[tuple[Trajectory, Trajectory]]:
    env = make(world)
    tasks = env.tasks("train")[:TASKS]
    made = [
        probes.ordered_pair(env, task, env.max_steps, np.random.default_rng(index), PROMPT.render)
        for index, task in enumerate(tasks)
    ]
    return [pair for pair in made if pair is not None]


def fresh(world: str, like: Trajectory) -> Trajectory:
    """The same actions in a world of its own, from its start to its own end."""
    env = make(world, max_steps=len(like) if like.truncated else 1000)
    observation, info = env.reset(seed=7, options={"task": like.task.key, "split": like.task.split})
    played = replace(like, steps=(), outcome=0.0, start_progress=info["progress"], goal=info["goal"], task=info["task"])
    over = False
    for step in like.steps:
        assert not over
        seen, reward, terminated, truncated, info = env.step(step.action)
        grounded, fault, progress = info["grounded"], info["fault"], info["progress"]
        played = replace(
            played,
            steps=(
                *played.steps,
                Step(observation, step.reply, step.action, grounded, fault, float(reward), progress),
            ),
            outcome=played.outcome + float(reward),
            success=info["success"],
            terminated=terminated,
            truncated=truncated,
            final_observation=seen,
        )
        observation, over = seen, terminated or truncated
    assert over
    return played


def bare(trajectory: Trajectory) -> Trajectory:
    steps = tuple(replace(step, tokens=None, expert_action=None) for step in trajectory.steps)
    return replace(trajectory, steps=steps)


def sums(method: RewardMethod, probes: list[Any]) -> list[list[float]]:
    return [[float(rewards.sum()) for rewards in method.rewards(probe)] for probe in probes]


def untrained(name: str, **options: Any) -> RewardMethod:
    method = registry.build("rewards", name, **options)
    method.fit([], [])
    return method


# Loops in the three worlds


@WORLDS
@pytest.mark.parametrize("agent", ["random", "expert"])
def test_nearly_every_episode_has_a_loop_of_two_steps_that_leave_and_come_back(world: str, agent: str) -> None:
    found = walked(world, agent)
    lengths = [len(family[1]) - len(family[0]) for family in found if family]
    assert len(lengths) >= TASKS - 1
    assert lengths == [2] * len(lengths)


@WORLDS
@pytest.mark.parametrize("agent", ["random", "expert"])
def test_a_loop_adds_executed_steps_in_one_place_and_nothing_else_changes(world: str, agent: str) -> None:
    turns = set()
    for original, family in zip(recorded(world, agent), walked(world, agent), strict=True):
        if family:
            assert family[0] == bare(original)
            assert [len(episode) for episode in family] == [len(original) + 2 * count for count in range(4)]
            assert len({replace(episode, steps=()) for episode in family}) == 1, "all but the steps is as it was"
            assert all(step.tokens is None for episode in family for step in episode.steps)
            turns.add(_place(family))
    assert len(turns) > 1, "loops are not always looked for in the same place"


def _place(family: list[Trajectory]) -> int:
    """The turn before which the loop stands in all episodes of the family."""
    places = [turn for turn in range(len(family[0])) if all(_stands_at(episode, turn, family) for episode in family)]
    assert places
    return places[0]


def _stands_at(episode: Trajectory, turn: int, family: list[Trajectory]) -> bool:
    """Steps before `turn` as in the first of the family, then the loop, so often, then the others as in the first."""
    whole = family[0].steps
    more = len(episode) - len(whole)
    loop = [step.action for step in family[1].steps[turn : turn + 2]]
    inserted, rest = episode.steps[turn : turn + more], episode.steps[turn + more :]
    before = whole[turn - 1].progress if turn else episode.start_progress
    return (
        episode.steps[:turn] == whole[:turn]
        and rest[1:] == whole[turn + 1 :]
        and replace(rest[0], observation="") == replace(whole[turn], observation="")
        and [step.action for step in inserted] == loop * (more // 2)
        and all(step.grounded and step.reply == PROMPT.render(step.action) for step in inserted)
        and {step.progress for step in inserted[1::2]} <= {before}
    )


@WORLDS
def test_the_probes_are_what_the_world_says_when_the_actions_are_played_afresh(world: str) -> None:
    families = [family for family in walked(world)[:4] if family]
    for episode in [episode for group in (*families, *pairs(world)[:4]) for episode in group]:
        assert fresh(world, episode) == episode


@WORLDS
def test_some_loops_leave_the_way_to_the_goal_so_that_a_potential_has_something_to_give_back(world: str) -> None:
    found = [family for agent in ("random", "expert") for family in walked(world, agent) if family]
    steps = [family[1].steps[_place(family) :][:2] for family in found]
    assert any(there.progress != back.progress for there, back in steps)


@WORLDS
def test_a_potential_pays_nothing_for_a_loop_and_a_bonus_for_valid_steps_pays_each_walk(world: str) -> None:
    found = [family for agent in ("random", "expert") for family in walked(world, agent) if family]
    times = (0, 1, 2, 3)
    assert laws.loop_slope(sums(untrained("potential"), found), times).largest < 1e-12
    assert laws.loop_slope(sums(untrained("sparse"), found), times).largest == 0
    paid = laws.loop_slope(sums(untrained("spa", alpha=0.0, bonus="sum"), found), times)
    assert paid == pytest.approx((1.0, 1.0))  # beta 0.5 for each of two executed steps
    novel = laws.loop_slope(sums(untrained("3spo-lite", explored=False), found), times)
    assert novel.mean > 0.01


@WORLDS
def test_the_same_seed_gives_the_same_probes_and_another_one_others(world: str) -> None:
    env, trajectory = make(world), recorded(world)[0]
    first, again, other = (
        [
            (
                probes.loops(env, t, rng, PROMPT.render),
                probes.ordered_pair(env, t.task, env.max_steps, rng, PROMPT.render),
            )
            for t in recorded(world)[:3]
        ]
        for rng in (np.random.default_rng(seed) for seed in (3, 3, 4))
    )
    assert first == again
    assert all(a[1] != b[1] for a, b in zip(first, other, strict=True))
    assert probes.loops(env, trajectory, np.random.default_rng(3), PROMPT.render, times=(2, 0)) == [
        first[0][0][2],  # type: ignore[index]
        first[0][0][0],  # type: ignore[index]
    ]


# Ordered pairs in the three worlds


@WORLDS
def test_a_pair_is_an_experts_success_and_a_busy_failure_up_to_the_limit(world: str) -> None:
    limit = make(world).max_steps
    assert len(pairs(world)) >= TASKS - 1
    for success, failure in pairs(world):
        assert success.task == failure.task
        assert success.success and success.terminated and not success.truncated and len(success) <= limit
        assert failure.truncated and not failure.success and not failure.terminated and len(failure) == limit
        assert failure.outcome < success.outcome == 1.0
        assert all(step.grounded for step in (*success.steps, *failure.steps))
        seen = {step.observation for step in failure.steps}
        assert len(seen) > 0.4 * limit, "the failure goes on through changing states"


@WORLDS
def test_the_experts_side_of_a_pair_is_the_expert(world: str) -> None:
    by_task = {trajectory.task: trajectory for trajectory in recorded(world, "expert")}
    for success, _ in pairs(world):
        assert success == bare(by_task[success.task])


@WORLDS
def test_a_bonus_for_valid_steps_and_a_reward_for_novelty_break_the_order_a_potential_does_not(world: str) -> None:
    made = pairs(world)
    assert laws.broken_orders(sums(untrained("potential"), made)) == 0
    assert laws.broken_orders(sums(untrained("sparse"), made)) == 0
    assert laws.broken_orders(sums(untrained("spa", bonus="sum"), made)) == 1  # success@10 = 6.0 < fail@40 = 20.0
    assert laws.broken_orders(sums(untrained("spa", bonus="share"), made)) == 0
    assert laws.broken_orders(sums(untrained("3spo-lite", explored=False), made)) > 0.8


@WORLDS
def test_without_room_for_the_expert_there_is_no_pair_and_the_worlds_limit_stays(world: str) -> None:
    env = make(world, max_steps=9)
    success, _ = pairs(world)[0]
    rng = np.random.default_rng(0)
    assert probes.ordered_pair(env, success.task, len(success) - 1, rng, PROMPT.render) is None
    tight = probes.ordered_pair(env, success.task, len(success), rng, PROMPT.render)
    assert tight is not None and tight[0] == success and len(tight[1]) == len(success)
    assert probes.loops(env, recorded(world)[0], rng, PROMPT.render)
    assert env.max_steps == 9


def test_several_characters_give_no_probes() -> None:
    env = make("virtualhome", characters=2)
    rng = np.random.default_rng(0)
    trajectory = recorded("virtualhome")[0]
    assert probes.loops(env, trajectory, rng, PROMPT.render) is None
    assert probes.ordered_pair(env, trajectory.task, 10, rng, PROMPT.render) is None


def test_a_world_that_is_not_the_recorded_one_is_named_by_its_task() -> None:
    trajectory = recorded("alfworld", "expert")[0]
    changed = replace(trajectory, final_observation="something else")
    longer = replace(trajectory, steps=(*trajectory.steps, trajectory.steps[-1]))
    for other in (changed, longer):
        with pytest.raises(UserError, match=trajectory.task.key):
            probes.loops(make("alfworld"), other, np.random.default_rng(0), PROMPT.render)


# Worlds that fit on a card


class Place(NamedTuple):
    """What is seen there, how far that is, and where each action leads."""

    seen: str
    progress: float
    leads: dict[str, str]


class Card(TextEnv):
    """A world that is a table; `goal` ends it, and pays 1. Its step limit cannot be moved where it is `stubborn`."""

    name = "card"
    instructions = ""
    buckets = (1, 2)

    def __init__(self, places: dict[str, Place], limit: int = 5, stubborn: bool = False) -> None:
        self.places, self.max_steps, self.stubborn = places, limit, stubborn
        self._limit = limit
        self._now: tuple[str, int] = ("start", 0)

    def tasks(self, split: str) -> tuple[Task, ...]:
        return (Task("card", "only", split, "card", 1),)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return self.restore(("start", 0))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        where, turns = self._now
        known = self.places[where].leads
        self._now = (known.get(action, where), turns + 1)
        done = self._now[0] == "goal"
        limit = self._limit if self.stubborn else self.max_steps
        return self._seen(), float(done), done, not done and turns + 1 >= limit, self._info(action in known)

    def snapshot(self) -> tuple[str, int]:
        return self._now

    def restore(self, state: tuple[str, int]) -> tuple[str, dict[str, Any]]:
        self._now = state
        return self._seen(), self._info(True)

    def expert_action(self) -> str:
        return "go"

    def text_sources(self) -> list[str]:
        return []

    def _seen(self) -> str:
        return self.places[self._now[0]].seen

    def _info(self, grounded: bool) -> dict[str, Any]:
        here = self.places[self._now[0]]
        return {
            "task": self.tasks("train")[0],
            "goal": "go",
            "grounded": grounded,
            "fault": None if grounded else "inadmissible",
            "admissible": tuple(sorted(here.leads)),
            "success": self._now[0] == "goal",
            "progress": here.progress,
        }


GOAL = Place("the goal", 1.0, {})
IDLE = {"start": Place("start", 0.5, {"go": "goal", "wait": "start"}), "goal": GOAL}
ROUND = {
    "start": Place("start", 0.5, {"go": "goal", "out": "yard", "wait": "start"}),
    "yard": Place("yard", 0.25, {"in": "start", "stay": "yard"}),
    "goal": GOAL,
}
ONE_WAY = {"start": Place("start", 0.5, {"go": "goal", "out": "yard"}), "yard": Place("yard", 0.0, {}), "goal": GOAL}
WORN = {
    "start": Place("start", 0.5, {"go": "goal", "out": "yard"}),
    "yard": Place("yard", 0.25, {"in": "start again"}),
    "start again": Place("start", 0.5, {"go": "hole", "out": "yard"}),
    "hole": Place("the goal", 1.0, {}),
    "goal": GOAL,
}
"""Coming back looks like never having left, but the goal is gone."""


def script(env: Card, *actions: str) -> Trajectory:
    """A recorded episode of a card."""
    seen, info = env.reset(seed=0)
    steps: tuple[Step, ...] = ()
    start = info["progress"]
    ends = (False, False)
    for action in actions:
        after, reward, *ends, info = env.step(action)  # type: ignore[assignment]
        step = Step(seen, f"{action}!", action, info["grounded"], info["fault"], reward, info["progress"])
        steps, seen = (*steps, step), after
    won = info["success"]
    return Trajectory(env.tasks("train")[0], steps, float(won), won, *ends, start, seen, "go")


def actions_of(episodes: list[Trajectory] | None) -> list[list[str]] | None:
    return episodes and [[step.action for step in episode.steps] for episode in episodes]


def look_for(env: Card, trajectory: Trajectory, seed: int = 0, times: tuple[int, ...] = (0, 1, 2)) -> Any:
    return actions_of(probes.loops(env, trajectory, np.random.default_rng(seed), str.upper, times))


@pytest.mark.parametrize("seed", range(5))
def test_a_way_there_and_back_is_preferred_to_an_action_that_does_nothing(seed: int) -> None:
    env = Card(ROUND)
    assert look_for(env, script(env, "go"), seed) == [["go"], ["out", "in", "go"], ["out", "in"] * 2 + ["go"]]


def test_where_there_is_no_way_back_an_action_that_does_nothing_is_the_loop() -> None:
    env = Card(IDLE)
    assert look_for(env, script(env, "go")) == [["go"], ["wait", "go"], ["wait", "wait", "go"]]


@pytest.mark.parametrize("places", [ONE_WAY, WORN])
def test_what_leads_nowhere_or_changes_what_comes_later_is_no_loop(places: dict[str, Place]) -> None:
    env = Card(places)
    assert look_for(env, script(env, "go")) is None


def test_faults_of_the_original_are_repeated_and_replies_kept() -> None:
    env = Card(IDLE)
    episodes = probes.loops(env, script(env, "dance", "go"), np.random.default_rng(0), str.upper, (0, 1))
    assert episodes is not None
    replies = [[step.reply for step in episode.steps] for episode in episodes]
    assert replies[0] == ["dance!", "go!"]
    assert sorted(replies[1]) == ["WAIT", "dance!", "go!"]
    assert [step.fault for step in episodes[0].steps] == ["inadmissible", None]


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_episode_that_the_limit_ended_ends_by_the_same_action_as_by_the_limit(stubborn: bool) -> None:
    recording = script(Card(ROUND, limit=2), "wait", "wait")
    assert recording.truncated
    # A limit that cannot be moved must at least be far away.
    env = Card(ROUND, limit=50 if stubborn else 1, stubborn=stubborn)
    episodes = probes.loops(env, recording, np.random.default_rng(0), str.upper, (0, 3))
    assert episodes is not None and [len(episode) for episode in episodes] == [2, 8]
    assert all(episode.truncated and not episode.terminated for episode in episodes)
    assert episodes[0].steps == recording.steps


def test_a_failure_only_does_what_is_executed_and_ends_nothing() -> None:
    env = Card(ROUND, limit=3)
    for seed in range(5):
        pair = probes.ordered_pair(env, env.tasks("train")[0], 6, np.random.default_rng(seed), str.upper)
        assert pair is not None
        success, failure = pair
        assert [step.reply for step in success.steps] == ["GO"] and success.success
        assert len(failure) == 6 and "go" not in {step.action for step in failure.steps}
        assert failure.steps[0].action == "out", "what has not been seen comes first"


def test_a_world_that_cannot_be_failed_for_long_gives_no_pair() -> None:
    env = Card({"start": Place("start", 0.5, {"go": "goal"}), "goal": GOAL})
    assert probes.ordered_pair(env, env.tasks("train")[0], 4, np.random.default_rng(0), str.upper) is None
    dead_end = Card(ONE_WAY)
    assert probes.ordered_pair(dead_end, env.tasks("train")[0], 4, np.random.default_rng(0), str.upper) is None


# Cuts


def test_a_cut_episode_is_the_beginning_with_what_was_paid_so_far() -> None:
    whole = recorded("alfworld", "expert")[0]
    part = probes.cut(whole, 2)
    assert part.steps == whole.steps[:2] and part.final_observation == whole.steps[2].observation
    assert (part.outcome, part.success, part.terminated, part.truncated) == (0.0, False, False, True)
    assert part.start_progress == whole.start_progress
    with pytest.raises(ValueError, match="turn"):
        probes.cut(whole, len(whole) + 1)


def test_a_potential_is_nothing_at_a_cut_and_a_bare_sum_of_progress_is_something() -> None:
    whole = recorded("alfworld", "expert")
    parts = [probes.cut(trajectory, len(trajectory) - 1) for trajectory in whole]

    def excess(method: RewardMethod, episodes: list[Trajectory]) -> list[float]:
        return [float(method.rewards([episode])[0].sum()) - episode.outcome for episode in episodes]

    potential = untrained("potential")
    assert laws.cut_gap(excess(potential, whole), excess(potential, parts)).largest < 1e-12
    bonus = untrained("spa", alpha=0.0, bonus="sum")
    # The sum of the bonus is 0.5 a step: a cut before the last step takes 0.5, and its lacking outcome gives 1.
    assert laws.cut_gap(excess(bonus, whole), excess(bonus, parts)) == pytest.approx((0.5, 0.5))


def test_a_cut_is_made_at_the_quarters_of_an_episode() -> None:
    assert [quarters(steps) for steps in (0, 1, 2, 3, 4, 9)] == [[], [], [1], [1, 2], [1, 2, 3], [2, 4, 6]]


# The numbers, by hand


def test_the_slope_of_a_loop_is_by_least_squares_for_each_probe() -> None:
    # Deviations of 0, 1, 3 from 4/3 are -4/3, -1/3, 5/3, their squares 42/9; the second line is -2 a walk exactly.
    sums = [[0.0, 1.0, 1.0], [1.0, -1.0, -5.0]]
    first = (-4 / 3 * 0 - 1 / 3 + 5 / 3) / (42 / 9)
    assert laws.loop_slope(sums, (0, 1, 3)) == pytest.approx(((first - 2) / 2, -2.0))
    assert laws.loop_slope([[3.0, 3.0]], (0, 5)) == (0.0, 0.0)


@pytest.mark.parametrize(("paid", "times"), [([], (0, 1)), ([[1.0, 2.0]], (1, 1)), ([[1.0]], (0, 1)), ([1.0], (0,))])
def test_a_slope_needs_probes_and_two_numbers_of_walks(paid: Any, times: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        laws.loop_slope(paid, times)


def test_an_order_is_broken_by_more_and_by_as_much() -> None:
    assert laws.broken_orders([(6.0, 20.0), (1.0, 0.0), (0.5, 0.5), (1.0, 1.0 - 1e-9)]) == 0.75
    assert laws.broken_orders([(1.0, 1.0 - 1e-5)]) == 0
    for nothing in ([], [[1.0, 2.0, 3.0]], np.zeros((0, 2))):
        with pytest.raises(ValueError, match="success, failure"):
            laws.broken_orders(nothing)


def test_a_gap_is_what_a_cut_adds() -> None:
    assert laws.cut_gap([0.0, 1.0, 0.0], [0.0, 0.5, 2.0]) == pytest.approx((0.5, 2.0))
    assert laws.cut_gap([1.0], [-2.0]) == (-3.0, -3.0)
    for whole, parts in (([], []), ([1.0], []), ([[1.0]], [[1.0]])):
        with pytest.raises(ValueError):
            laws.cut_gap(whole, parts)
