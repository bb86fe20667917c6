"""Rollouts that a method steers: what a tree plays, counts and hands over, step by step in real worlds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SETTINGS, config, language_model
from unanswered import Unanswered

from spa_bench import registry
from spa_bench.core import Conversation, Floats, TextEnv, Trajectory, UserError
from spa_bench.method import RewardMethod
from spa_bench.rollout.branching import BARREN, Grower, Harvest, branches
from spa_bench.rollout.game import Request
from spa_bench.rollout.worlds import WorldError
from spa_bench.runs.episodes import from_row, to_row
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.speed import MEASURED


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def world(max_steps: int = 6) -> TextEnv:
    return registry.build("environments", "alfworld", train=24, valid=6, max_steps=max_steps)


def unbroken(env: TextEnv, error: WorldError) -> TextEnv:
    """These worlds do not fail."""
    raise error


TWO: Any = {"wanted": 2, "replace": unbroken}


def games(env: TextEnv) -> Iterator[Request]:
    tasks = env.tasks("train")
    return (Request(n, tasks[n % len(tasks)], 100 + n) for n in itertools.count())


def by_action(group: Sequence[Trajectory]) -> list[Floats]:
    """Pays each step the length of its action: an order that has nothing to do with the order of tries."""
    return [np.array([float(len(step.action)) for step in t.steps]) for t in group]


def grown(
    branch: Callable[[Trajectory], int], budget: int, *, parts: int = 1, trees: int = 2, wanted: int = 2
) -> tuple[Grower, list[Harvest]]:
    worlds = [world() for _ in range(trees)]
    agent = registry.build("agents", "random", prompt=registry.prompt("action"))
    grower = Grower(games(worlds[0]), worlds, agent, branch, by_action, wanted=wanted, replace=unbroken)
    return grower, list(grower.harvests(budget, parts))


def own(trajectory: Trajectory) -> tuple[Any, ...]:
    return trajectory.task.key, tuple(step.action for step in trajectory.steps)


@pytest.mark.parametrize("budget", [1, 7, 60, 200])
@pytest.mark.parametrize("tries", [1, 3])
def test_the_budget_is_spent_to_the_step_and_every_step_is_in_one_record(budget, tries):
    grower, harvests = grown(lambda state: tries, budget)
    assert grower.spent == budget
    assert sum(trajectory.played for _, _, trajectory in grower.records()) == budget
    assert sum(trajectory.played for harvest in harvests for trajectory in harvest.news) == budget


def test_a_branch_is_recorded_behind_the_episode_that_it_left():
    grower, _ = grown(lambda state: 3, 200)
    found = {number: trajectory for number, _, trajectory in grower.records()}
    branched = 0
    for number, parent, trajectory in grower.records():
        if parent is None:
            assert trajectory.branch == 0
            continue
        branched += 1
        assert parent < number
        assert trajectory.branch >= 0 and trajectory.played >= 1
        assert trajectory.steps[: trajectory.branch] == found[parent].steps[: trajectory.branch]
    assert branched > 20


def test_rows_of_branches_give_back_whole_episodes():
    grower, _ = grown(lambda state: 3, 200)
    back: dict[int, Trajectory] = {}
    for number, parent, trajectory in grower.records():
        row = to_row(trajectory)
        assert len(row["steps"]) == trajectory.played
        back[number] = from_row(row, None if parent is None else back[parent])
        assert back[number] == trajectory
        if trajectory.branch:
            with pytest.raises(UserError, match="branch of another"):
                from_row(row)


def test_every_step_of_a_tree_is_what_a_fresh_world_answers():
    """The whole tree again, episode by episode, from the start and without a snapshot."""
    grower, _ = grown(lambda state: 1 + len(state) % 3, 150)
    fresh = world()
    for _, _, trajectory in grower.records():
        observation, info = fresh.reset(seed=0, options={"task": trajectory.task.key, "split": "train"})
        for step in trajectory.steps:
            assert (step.observation, not step.progress < 0) == (observation, True)
            observation, reward, terminated, truncated, info = fresh.step(step.action)
            assert (step.env_reward, step.grounded, step.fault) == (reward, info["grounded"], info["fault"])
            assert step.progress == info["progress"]
        assert trajectory.final_observation == observation
        if trajectory.steps and (trajectory.terminated or trajectory.truncated):
            assert (trajectory.terminated, trajectory.truncated, trajectory.success) == (
                terminated, truncated, info["success"]
            )  # fmt: skip


def test_the_tree_goes_on_with_the_best_paid_reply_and_comes_back_to_the_others_best_first():
    """One tree, three replies at its start and one everywhere else: the order in which the first actions are left."""
    seen: list[str] = []

    def branch(state: Trajectory) -> int:
        if len(state) == 1:
            seen.append(state.steps[0].action)
        return 3 if not state.steps else 1

    grown(branch, 3 + 5 * 3, trees=1, wanted=3)
    assert len(seen) == 3 and len(set(seen)) == 3
    assert [len(action) for action in seen] == sorted((len(action) for action in seen), reverse=True)


def test_equal_actions_are_gone_on_with_once():
    """Nine replies, few actions: as many episodes get beyond the first step as there are actions."""
    env = world()
    env.reset(seed=0, options={"task": env.tasks("train")[0].key})
    seen: list[str] = []

    def branch(state: Trajectory) -> int:
        if len(state) == 1:
            seen.append(state.steps[0].action)
        return 60 if not state.steps else 1

    grower, _ = grown(branch, 60 + 5 * 40, trees=1, wanted=40)
    tried = {t.steps[0].action for _, _, t in grower.records() if t.task == env.tasks("train")[0]}
    assert len(tried) < 30
    assert sorted(seen[: len(tried)]) == sorted(tried)


def test_nobody_is_asked_about_an_episode_that_is_over_and_a_group_is_as_large_as_ever():
    def branch(state: Trajectory) -> int:
        assert not (state.terminated or state.truncated)
        return 1

    _, harvests = grown(branch, 6 * 20, trees=2, wanted=4)
    finished = [t for harvest in harvests for t in harvest.finished]
    counts = {key: len(list(same)) for key, same in itertools.groupby(sorted(own(t)[0] for t in finished))}
    assert sorted(counts.values())[-3:] == [4, 4, 4]
    assert all(t.terminated or t.truncated for t in finished)


def test_an_episode_is_cut_off_where_nothing_is_to_be_tried():
    _, harvests = grown(lambda state: 0 if len(state) == 3 else 1, 60)
    over = [t for harvest in harvests for t in harvest.finished]
    assert len(over) == 18  # two have come to their third step, and nobody has been asked yet
    assert all(t.truncated and not t.terminated and len(t) == 3 for t in over)


def test_a_method_that_cuts_off_every_start_is_an_error():
    with pytest.raises(UserError, match=f"{BARREN} episodes in a row"):
        grown(lambda state: 0, 10)


def test_harvests_hand_over_each_step_and_each_end_once():
    grower, harvests = grown(lambda state: 1 + (len(state) == 1), 200, parts=7)
    assert [harvest.parts for harvest in harvests] == [1] * 7
    played: list[tuple[Any, ...]] = []
    for harvest in harvests:
        for trajectory in harvest.news:
            assert trajectory.branch < len(trajectory)
            played += [
                (*own(trajectory)[:1], own(trajectory)[1][: n + 1]) for n in range(trajectory.branch, len(trajectory))
            ]
    assert len(played) == 200
    ends = [own(t) for harvest in harvests for t in harvest.finished]
    over = [own(t) for _, _, t in grower.records() if t.terminated or t.truncated]
    assert sorted(ends) == sorted(over)


@pytest.mark.parametrize("tries", [1, 3, 8])
def test_a_budget_is_harvested_in_equal_parts_which_are_all_counted(tries):
    """A harvest comes with the round that reaches the next part: four trees with 8 replies each take 32 steps in one,
    more than a part of 25, and 200 in seven, of which the last-but-one or another is worth two."""
    _, harvests = grown(lambda state: tries, 200, parts=8, trees=4)
    assert sum(harvest.parts for harvest in harvests) == 8
    ends = np.cumsum([sum(t.played for t in harvest.news) for harvest in harvests])
    assert ends[-1] == 200
    assert np.cumsum([harvest.parts for harvest in harvests]).tolist() == [end // 25 for end in ends.tolist()]
    assert len(harvests) == (7 if tries == 8 else 8)


def test_a_task_that_is_given_up_before_its_first_step_leaves_no_episode():
    def branch(state: Trajectory) -> int:
        return 0 if not state.steps and int(state.task.key[-1], 36) % 2 else 1

    grower, harvests = grown(branch, 60)
    over = [t for harvest in harvests for t in harvest.finished]
    assert over and all(t.steps for t in over)
    assert all(t.steps for _, _, t in grower.records())
    hopeless = {t.task.key for t in over if int(t.task.key[-1], 36) % 2}
    assert not hopeless


def test_nothing_is_begun_that_no_step_is_left_for():
    grower, _ = grown(lambda state: 1, 13, trees=5)
    assert [t.played for _, _, t in grower.records()] == [3, 3, 3, 2, 2]
    grower, _ = grown(lambda state: 1, 3, trees=5)
    assert [t.played for _, _, t in grower.records()] == [1, 1, 1]


def test_the_same_seed_grows_the_same_trees():
    (one, _), (other, _) = (grown(lambda state: 1 + len(state) % 2, 150, parts=4) for _ in range(2))
    assert one.records() == other.records()


def test_the_tokens_of_an_episode_go_on_where_they_were_after_the_agent_has_forgotten_it():
    """Between two harvests an agent forgets what it has read; what it sampled is never tokenised again."""
    worlds, agent = [world() for _ in range(2)], language_model()
    grower = Grower(games(worlds[0]), worlds, agent, lambda state: 1 + (not state.steps), by_action, **TWO)
    assert len(list(grower.harvests(40, 10))) == 10
    turns = [[step.tokens for step in trajectory.steps] for _, _, trajectory in grower.records()]
    assert max(map(len, turns)) == 6
    assert all([tokens.restart for tokens in part] == [True] + [False] * (len(part) - 1) for part in turns)


# In training


class Curious(RewardMethod):
    """Two replies in every state, the outcome as the reward, each step against its twin."""

    uses_critic = False
    asked = 0

    def branch(self, state: Trajectory) -> int:
        return 2

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        return [np.array([float(step.grounded) for step in t.steps]) for t in group]

    def advantages(self, group, rewards, values, gamma, lam):
        return [(r - 0.5, v[:-1]) for r, v in zip(rewards, values, strict=True)]


class CuriousEarly(Curious):
    updates_between_steps = True


class CutsOff(RewardMethod):
    def branch(self, state: Trajectory) -> int:
        return int(len(state) < 4)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        return [np.full(len(t), 0.1) for t in group]


class Judged(Curious):
    uses_critic = True
    advantages = RewardMethod.advantages


class Careless(Judged):
    updates_between_steps = True


def run(tmp_path: Any, cls: str, **changes: Any) -> Any:
    settings = config(reward=f"{__file__}:{cls}", **changes)
    return experiment.run(settings, tmp_path, Progress.quiet())


def rows(path: Any, kind: str) -> list[dict[str, Any]]:
    return [row for row in Journal(path / "metrics.jsonl").read()[0] if row.get("kind") == kind]


@pytest.mark.parametrize(("cls", "updates"), [("Curious", 2), ("CuriousEarly", 2), ("CutsOff", 2), ("Judged", 2)])
def test_any_method_may_branch_and_the_dose_is_that_of_every_method(tmp_path, cls, updates):
    path = run(tmp_path, cls, ppo=SETTINGS["ppo"] | {"trees": 3})
    iterations = rows(path, "iteration")
    assert [row["env_steps_executed"] for row in iterations] == [80, 80]
    learned = [row["env_steps"] for row in iterations]
    assert learned == [80, 80] if cls.startswith("Curious") else all(40 < steps <= 80 for steps in learned)
    assert [row["updates"] + row["skipped"] for row in iterations] == [updates, updates]
    assert [row["extra_env_steps"] for row in iterations] == [0, 0]
    trained = [row for row in Journal(path / "episodes.jsonl").read()[0] if row["stage"] == "train"]
    assert sum(len(row["steps"]) for row in trained) == 160
    prices = {(r["iteration"], r["index"]): r["rewards"] for r in Journal(path / "prices.jsonl").read()[0]}
    for row in trained:
        paid = prices.get((row["iteration"], row["index"]), [])
        assert len(paid) == len(row["steps"]) or (not paid and not row["terminated"] and not row["truncated"])
        if paid and cls != "CutsOff":
            assert paid == [float(step["grounded"]) for step in row["steps"]]
    assert any("parent" in row for row in trained) == (cls != "CutsOff")
    assert rows(path, "done")


def test_a_killed_run_with_trees_goes_on_to_the_same_end(tmp_path, monkeypatch):
    from spa_bench.training.stages import Run

    whole = run(tmp_path / "whole", "CuriousEarly")
    keep, calls = Run._learn, itertools.count()

    def dies(self, *args, **kwargs):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return keep(self, *args, **kwargs)

    monkeypatch.setattr(Run, "_learn", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", "CuriousEarly")
    monkeypatch.setattr(Run, "_learn", keep)
    cut = run(tmp_path / "cut", "CuriousEarly")
    episodes = [(p / "episodes.jsonl").read_bytes() for p in (whole, cut)]
    assert episodes[0] == episodes[1]
    one, other = (
        [{k: v for k, v in row.items() if k not in MEASURED} for row in rows(p, "iteration")] for p in (whole, cut)
    )
    assert one == other


def test_a_critic_cannot_judge_what_is_under_way(tmp_path):
    with pytest.raises(UserError, match="uses_critic = False"):
        run(tmp_path, "Careless")


def test_trees_need_one_character(tmp_path):
    with pytest.raises(UserError, match="characters=1"):
        run(
            tmp_path,
            "Curious",
            env="virtualhome",
            world={"max_steps": 6, "options": {"train": 24, "valid": 6, "characters": 2}},
        )


def test_who_branches_is_seen_from_what_a_class_writes():
    assert branches(Curious()) and branches(registry.build("rewards", "3spo"))
    assert not branches(registry.build("rewards", "3spo-lite"))


def test_3spo_runs_and_updates_between_steps(tmp_path):
    path = experiment.run(config(reward="3spo", ppo=SETTINGS["ppo"] | {"trees": 3}), tmp_path, Progress.quiet())
    iterations = rows(path, "iteration")
    assert [row["env_steps"] for row in iterations] == [80, 80]
    assert [row["updates"] for row in iterations] == [2, 2]
    trained = [row for row in Journal(path / "episodes.jsonl").read()[0] if row["stage"] == "train"]
    assert sum("parent" in row for row in trained) > 20


def test_a_try_without_a_reply_is_closed_with_its_error_and_the_others_go_on():
    worlds = [world() for _ in range(2)]
    gone: list[int] = []

    def fails(talk: Conversation) -> bool:
        if talk.id % 3 == 0:
            gone.append(talk.id)
        return talk.id % 3 == 0

    def rewards(group: Sequence[Trajectory]) -> list[Floats]:
        assert all(trajectory.error is None for trajectory in group)
        return by_action(group)

    inner = registry.build("agents", "random", prompt=registry.prompt("action"))
    grower = Grower(games(worlds[0]), worlds, Unanswered(inner, fails), lambda state: 3, rewards, **TWO)
    (harvest,) = grower.harvests(60, 1)
    failed = [t for _, _, t in grower.records() if t.error is not None]
    assert len(failed) == len(gone) > 10 and not any(t.success for t in failed)
    assert sum(t.played for _, _, t in grower.records()) == 60 - len(gone)
    assert [t.error for t in harvest.finished].count("gone") == len(gone)
    silent = Grower(games(worlds[0]), worlds, Unanswered(inner, lambda talk: True), lambda state: 3, rewards, **TWO)
    (harvest,) = silent.harvests(30, 1)
    assert harvest.news == [] and {t.error for t in harvest.finished} == {"gone"}
