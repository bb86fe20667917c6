"""VirtualHome as an environment: the contract of `TextEnv`, and that nothing a model writes can break an episode."""

import itertools
import pickle
import warnings
from typing import Any

import gymnasium
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench import registry
from spa_bench.core import Task, UserError
from spa_bench.environments.dice import Dice
from spa_bench.environments.text import AnyText
from spa_bench.environments.virtualhome import words
from spa_bench.environments.virtualhome.env import VirtualHome
from spa_bench.environments.virtualhome.tasks import SPLITS

SMALL: dict[str, Any] = {"train": 60, "valid": 20}
LONG: dict[str, Any] = {**SMALL, "max_steps": 100}
KEYS = {
    *("task", "goal", "grounded", "fault", "reason", "admissible", "success", "conditions", "conflict", "progress"),
    "remaining",
}
QUIET = [HealthCheck.function_scoped_fixture]
Result = tuple[str, float, bool, bool, dict[str, Any]]


@pytest.fixture
def env() -> VirtualHome:
    return VirtualHome(**SMALL)


def begin(env: VirtualHome, index: int = 0, split: str = "train") -> tuple[str, dict[str, Any]]:
    tasks = env.tasks(split)
    return env.reset(options={"task": tasks[index % len(tasks)].key, "split": split})


def finish(env: VirtualHome) -> tuple[list[str], Result]:
    """Let the expert play on; its commands, and the last result."""
    commands = []
    while True:
        commands.append(env.expert_action())
        result = env.step(commands[-1])
        assert result[4]["grounded"], (commands, result[4]["reason"])
        if result[2] or result[3]:
            return commands, result


def wander(env: VirtualHome, info: dict[str, Any], dice: Dice) -> tuple[str, Result]:
    """A random step, some of them impossible."""
    other = ("dance", "walk to nowhere", "grab", "put back", "open kitchen", "greet character", env.expert_action())
    action = dice.among(other) if dice.chance(0.3) else dice.among(info["admissible"])
    return action, env.step(action)


def test_t17_gymnasiums_own_checker_finds_nothing_to_warn_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make("spa_bench:VirtualHome-v0", render_mode="ansi", **SMALL)
        check_env(made.unwrapped)
        made.reset(seed=1)
        made.step("walk to kitchen")
    assert registry.build("environments", "virtualhome", max_steps=3, **SMALL).max_steps == 3


def test_info_has_exactly_the_promised_keys_and_types(env: VirtualHome) -> None:
    observation, first = begin(env)
    second = env.step("open everything")[4]
    third = finish(env)[1][4]
    for info in (first, second, third):
        assert info.keys() == KEYS
        assert isinstance(info["task"], Task)
        assert info["goal"] and info["goal"] in observation
        assert type(info["grounded"]) is type(info["success"]) is type(info["conflict"]) is bool
        assert type(info["progress"]) is float and type(info["remaining"]) is int
        assert isinstance(info["conditions"], tuple)
        assert list(info["admissible"]) == sorted(set(info["admissible"]))
        assert bool(info["reason"]) == (info is second) == (info["fault"] is not None)
        assert info["success"] == all(info["conditions"]) == (info is third)


def test_an_episode_starts_grounded_in_the_middle_of_its_progress(env: VirtualHome) -> None:
    for split, index in itertools.product(SPLITS, range(12)):
        observation, info = begin(env, index, split)
        assert observation.startswith("The rooms are ") and observation.endswith(f"Your task is to: {info['goal']}")
        assert (info["grounded"], info["fault"], info["success"], info["progress"]) == (True, None, False, 0.5)
        assert info["remaining"] >= 1
        assert info["task"].split == split


def test_the_expert_wins_every_task_with_the_steps_that_it_names() -> None:
    env = VirtualHome(**LONG)
    for split in SPLITS:
        for index, task in enumerate(env.tasks(split)):
            _, info = begin(env, index, split)
            commands, (_, reward, terminated, truncated, last) = finish(env)
            assert len(commands) == task.expert_steps >= info["remaining"]
            assert (reward, terminated, truncated) == (1.0, True, False)
            assert (last["success"], last["progress"], last["remaining"]) == (True, 1.0, 0)
            with pytest.raises(ResetNeeded, match="reset"):
                env.step("walk to kitchen")


def test_the_oracles_plan_gets_shorter_by_one_with_each_of_its_steps(env: VirtualHome) -> None:
    for index in range(20):
        _, info = begin(env, index, "valid_unseen")
        past = [info["remaining"]]
        while not info["success"] and len(past) <= env.max_steps:
            # the oracle's own way: the admissible command that leaves least to do
            before = env.snapshot()
            left = {}
            for command in info["admissible"]:
                left[command] = env.step(command)[4]["remaining"]
                env.restore(before)
            best = min((c for c in left if left[c] is not None), key=lambda c: (left[c], c))
            assert left[best] == past[-1] - 1
            info = env.step(best)[4]
            past.append(info["remaining"])
            assert info["progress"] == pytest.approx(1 - past[-1] / (2 * past[0]))
        assert info["success"]


def test_the_reward_comes_at_the_end_and_is_the_share_of_conditions() -> None:
    env = VirtualHome(**SMALL, max_steps=5)
    shares = set()
    for index in range(40):
        begin(env, index)
        rewards, over = [], False
        while not over:
            _, reward, terminated, truncated, info = env.step(env.expert_action())
            rewards.append(reward)
            over = terminated or truncated
        conditions = info["conditions"]
        assert rewards == [0.0] * (len(rewards) - 1) + [sum(conditions) / len(conditions)]
        assert info["success"] == (rewards[-1] == 1.0) == terminated
        shares.add(rewards[-1])
    assert {0.0, 1.0} < shares, "some episodes end with a part of their conditions"


def test_what_was_not_seen_cannot_be_named(env: VirtualHome) -> None:
    tried = 0
    for index in range(30):
        begin(env, index)
        now = env.snapshot().episode
        names = now.names
        for node in sorted(set(names) - now.minds[0].known):
            before = env.snapshot()
            observation, _, _, _, info = env.step(f"walk to {names[node]}")
            assert (observation, info["fault"]) == (words.NOTHING, "inadmissible")
            assert info["reason"] == f"you have not seen {names[node]}"
            env.restore(before)
            tried += 1
    assert tried > 100


def test_everything_admissible_is_executed_and_a_sample_of_the_rest_is_not(env: VirtualHome) -> None:
    for index in range(6):
        _, info = begin(env, index)
        dice = Dice("admissible", index)
        for _ in range(6):
            before = env.snapshot()
            names = sorted(before.episode.names.values())
            for command in info["admissible"]:
                result = env.step(command)
                assert result[4]["grounded"] and result[4]["fault"] is None, command
                env.restore(before)
            for form in words.COMMANDS.values():
                command = form.format(*(dice.among(names) for _ in range(form.count("{}"))))
                if command not in info["admissible"]:
                    assert not env.step(command)[4]["grounded"], command
                    env.restore(before)
            info = wander(env, info, dice)[1][4]
            if info["success"]:
                break


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "format"),
        ("dance", "format"),
        ("walk", "format"),
        ("walk to", "format"),
        ("release", "format"),
        ("put cup", "format"),
        ("grab nothing", "inadmissible"),
        ("put nothing on nothing", "inadmissible"),
        ("wake up", "inadmissible"),
        ("x" * 1_000_000, "format"),
        ("walk to " + "kitchen" * 1000, "format"),
        ("walk to \x00", "inadmissible"),
        ("walk to \ud800", "inadmissible"),
        ("put " * 40 + "on on on", "inadmissible"),
    ],
)
def test_text_that_is_no_command_now_changes_nothing_and_is_told_apart(env: VirtualHome, text: str, fault: str) -> None:
    begin(env)
    before = env.snapshot().episode
    observation, reward, terminated, truncated, info = env.step(text)
    assert (observation, reward, terminated, truncated) == (words.NOTHING, 0.0, False, False)
    assert (info["grounded"], info["fault"]) == (False, fault)
    assert env.snapshot().episode.world.key() == before.world.key()
    assert info["reason"] and "\n" not in info["reason"]


def test_case_and_spaces_do_not_matter(env: VirtualHome) -> None:
    _, info = begin(env)
    command = next(c for c in info["admissible"] if c.startswith("walk to "))
    before = env.snapshot()
    plain = env.step(command)
    env.restore(before)
    assert env.step(f"  {command.upper().replace(' ', '   ')} ")[:4] == plain[:4]


@max_examples(60, *QUIET)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=6), index=st.integers(0, 59))
def test_any_text_is_answered(env: VirtualHome, texts: list[str], index: int) -> None:
    begin(env, index)
    for text in texts:
        observation, _, terminated, truncated, info = env.step(text)
        assert observation and info["grounded"] == (info["fault"] is None)
        if terminated or truncated:
            break


@max_examples(40, *QUIET)
@given(seed=st.integers(0, 10_000), steps=st.integers(0, 12))
def test_a_snapshot_goes_on_as_the_original_did_and_pickles(env: VirtualHome, seed: int, steps: int) -> None:
    other = VirtualHome(**SMALL)
    _, info = begin(env, seed)
    dice = Dice("snapshot", seed)
    for _ in range(steps):
        if not env.snapshot().over:
            info = wander(env, info, dice)[1][4]
    kept = env.snapshot()
    assert other.restore(kept) == (env.render() or other.restore(kept)[0], info)
    if kept.over:
        return
    first = [
        env.step(action)
        for action in (env.expert_action(), "dance")[: 1 + (env.max_steps - kept.episode.turns > 1)]
        if not env.snapshot().over
    ]
    again = [other.step(action) for action in (other.expert_action(), "dance")[: len(first)]]
    assert first == again
    copied = pickle.loads(pickle.dumps(kept.episode.world))  # noqa: S301 - our own bytes
    assert copied.key() == kept.episode.world.key()


def test_random_play_then_the_expert_still_wins() -> None:
    env = VirtualHome(**SMALL, max_steps=200)
    won = 0
    for index in range(30):
        _, info = begin(env, index)
        dice = Dice("astray", index)
        for _ in range(10):
            if not info["success"]:
                info = wander(env, info, dice)[1][4]
        won += info["success"] or finish(env)[1][4]["success"]
    assert won == 30


def test_t17_the_step_limit_truncates_and_is_no_success() -> None:
    env = VirtualHome(**SMALL, max_steps=4)
    begin(env)
    results = [env.step("dance") for _ in range(4)]
    assert [result[2:4] for result in results] == [(False, False)] * 3 + [(False, True)]
    assert not results[3][4]["success"]
    with pytest.raises(ResetNeeded, match="over"):
        env.step("dance")


def test_a_task_is_reset_by_key_or_drawn_by_the_seed(env: VirtualHome) -> None:
    task = env.tasks("valid_unseen")[3]
    assert env.reset(options={"task": task.key})[1]["task"] == task
    drawn = [env.reset(seed=seed)[1]["task"].key for seed in range(20)]
    assert drawn == [env.reset(seed=seed)[1]["task"].key for seed in range(20)]
    assert len(set(drawn)) > 5
    for options, named in (
        ({"task": task.key, "split": "train"}, "no task"),
        ({"taks": 1}, "'taks'"),
        ({"split": "x"}, "unknown split"),
    ):
        with pytest.raises(UserError, match=named):
            env.reset(options=options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tasks": "none"}, "tasks='none'"),
        ({"protocol": "spa"}, "protocol='spa'"),
        ({"goals": "all"}, "goals='all'"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"characters": 3}, "characters=3"),
        ({"order": "last"}, "order='last'"),
        ({"protocol": "spa-released", "characters": 2}, "leave both out"),
        ({"protocol": "spa-released", "max_steps": 10}, "leave both out"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        VirtualHome(**SMALL, **options)


def test_without_an_episode_every_use_says_so() -> None:
    env = VirtualHome(**SMALL, render_mode="ansi")
    for use in (lambda: env.step("x"), env.snapshot, env.expert_action):
        with pytest.raises(ResetNeeded, match="reset"):
            use()
    assert env.render() is None
    assert isinstance(env.action_space, AnyText) and env.action_space.sample() in words.EXAMPLES


def test_sources_hold_every_word_of_held_out_episodes() -> None:
    """A tokenizer trained on them meets next to nothing new."""
    env = VirtualHome(train=220, valid=20)
    known = set(" ".join(env.text_sources()).replace(",", " ").replace(".", " ").split())
    for index in range(10):
        observation, _ = begin(env, index, "valid_seen")
        heard = [observation]
        while True:
            command = env.expert_action()
            told, _, terminated, truncated, _ = env.step(command)
            heard += [command, told]
            if terminated or truncated:
                break
        new = set(" ".join(heard).replace(",", " ").replace(".", " ").split()) - known
        assert len(new) <= 2, new
