"""WebShop as an environment: the contract of `TextEnv`, and that nothing a model writes can break an episode."""

import itertools
import pickle
import warnings
from collections.abc import Iterator
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
from spa_bench.environments.webshop.engine import Engine
from spa_bench.environments.webshop.env import WebShop
from spa_bench.environments.webshop.expert import Expert
from spa_bench.environments.webshop.tasks import SPLITS

SMALL: dict[str, Any] = {"products": 20, "valid": 10}
LONG: dict[str, Any] = {**SMALL, "max_steps": 60}
KEYS = {"task", "goal", "grounded", "fault", "admissible", "success", "progress", "remaining", "score"}
QUIET = [HealthCheck.function_scoped_fixture]
Result = tuple[str, float, bool, bool, dict[str, Any]]


@pytest.fixture
def env() -> WebShop:
    return WebShop(**SMALL)


def begin(env: WebShop, index: int = 0, split: str = "train") -> tuple[str, dict[str, Any]]:
    tasks = env.tasks(split)
    return env.reset(options={"task": tasks[index % len(tasks)].key, "split": split})


def finish(env: WebShop) -> tuple[list[str], Result]:
    """Let the expert play on; its actions, and the last result."""
    actions = []
    while True:
        actions.append(env.expert_action())
        result = env.step(actions[-1])
        if result[2] or result[3]:
            return actions, result


def wander(env: WebShop, info: dict[str, Any], dice: Dice) -> tuple[str, Result]:
    """A random step that buys nothing, some of them impossible or a search."""
    possible = [action for action in info["admissible"] if action != "click[Buy Now]"]
    other = ("dance", "click[nothing]", f"search[{info['goal']}]", "search[soft organic]", env.expert_action())
    action = dice.among(other) if dice.chance(0.3) else dice.among(possible)
    action = "click[Back to Search]" if action == "click[Buy Now]" else action
    return action, env.step(action)


def test_t17_gymnasiums_own_checker_finds_nothing_to_warn_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make("spa_bench:WebShop-v0", render_mode="ansi", **SMALL)
        check_env(made.unwrapped)
        made.reset(seed=1)
        made.step("search[red shoes]")
    assert registry.build("environments", "webshop", max_steps=3, **SMALL).max_steps == 3


def test_info_has_exactly_the_promised_keys_and_types(env: WebShop) -> None:
    observation, first = begin(env)
    second = env.step("search[rug]")[4]
    third = finish(env)[1][4]
    for info in (first, second, third):
        assert info.keys() == KEYS
        assert isinstance(info["task"], Task)
        assert info["goal"] and info["goal"] in observation
        assert type(info["grounded"]) is type(info["success"]) is bool
        assert type(info["progress"]) is float and type(info["remaining"]) is int
        assert isinstance(info["admissible"], tuple)
        assert list(info["admissible"]) == sorted(set(info["admissible"]))
        assert (info["score"] is None) == (info is not third)
    assert first["admissible"] == (f"search[{first['goal']}]",)
    assert third["admissible"] == ()


def test_an_episode_starts_grounded_in_the_middle_of_its_progress(env: WebShop) -> None:
    for split, index in itertools.product(SPLITS, range(12)):
        observation, info = begin(env, index, split)
        assert observation == f"WebShop [SEP] Instruction: [SEP] {info['goal']} [SEP] Search"
        assert (info["grounded"], info["fault"], info["success"], info["progress"]) == (True, None, False, 0.5)
        assert info["remaining"] >= 3
        assert info["task"].split == split


def test_the_expert_wins_with_the_steps_that_its_task_names_and_no_fewer_than_remain() -> None:
    env = WebShop(**LONG)
    for split in SPLITS:
        for index, task in enumerate(env.tasks(split)):
            _, info = begin(env, index, split)
            actions, (_, reward, terminated, truncated, last) = finish(env)
            assert len(actions) == task.expert_steps >= info["remaining"]
            assert task.kind == env.assortment.catalogue.product(env.snapshot().goal.asin).category
            assert (reward, terminated, truncated) == (1.0, True, False)
            assert (last["success"], last["progress"], last["remaining"]) == (True, 1.0, 0)
            with pytest.raises(ResetNeeded, match="reset"):
                env.step("search[rug]")


def test_reward_comes_with_the_purchase_only_and_only_1_is_success(env: WebShop) -> None:
    seen = set()
    for index in range(40):
        _, info = begin(env, index)
        dice = Dice("buy", index)
        rewards: list[float] = []
        over = False
        while not over:
            buy = "click[Buy Now]" in info["admissible"]
            rash = "click[Buy Now]" if buy else dice.among(info["admissible"])
            action = env.expert_action() if index % 2 else rash
            _, reward, terminated, over, info = env.step(action)
            rewards.append(reward)
            over |= terminated
        total = info["score"].total if info["score"] else 0.0
        assert rewards == [0.0] * (len(rewards) - 1) + [total]
        assert info["success"] == (total == 1.0)
        assert info["progress"] == total if terminated else not info["success"]
        seen.add((total == 1.0, 0.0 < total < 1.0))
    assert seen >= {(True, False), (False, True)}


def test_t17_the_step_limit_truncates_and_is_no_success() -> None:
    env = WebShop(**SMALL, max_steps=4)
    begin(env)
    results = [env.step("search[rug]") for _ in range(4)]
    assert [result[2:4] for result in results] == [(False, False)] * 3 + [(False, True)]
    assert results[3][1] == 0.0 and not results[3][4]["success"]
    with pytest.raises(ResetNeeded, match="over"):
        env.step("search[rug]")
    assert env.snapshot().over


@pytest.mark.parametrize("spare", [0, -1])
def test_the_expert_buys_on_the_last_step_or_one_too_late(spare: int) -> None:
    env = WebShop(**SMALL, max_steps=WebShop(**SMALL).tasks("train")[0].expert_steps + spare)
    begin(env)
    _, reward, terminated, truncated, info = finish(env)[1]
    assert (reward, terminated, truncated, info["success"]) == (float(not spare), not spare, bool(spare), not spare)


@pytest.mark.parametrize("method", ["snapshot", "expert_action"])
def test_nothing_works_before_the_first_reset(env: WebShop, method: str) -> None:
    with pytest.raises(ResetNeeded):
        getattr(env, method)()
    with pytest.raises(ResetNeeded):
        env.step("search[rug]")


FAULTS = {
    None: ("search[rug]", "search[rug] please\nor not"),
    "inadmissible": ("click[Search]", "click[Buy Now]"),
    "format": ("click[anything", "click[]", "search[]", "", "rug", "Search[rug]", " search[rug]", "search[a[b]"),
}
FAULTS["format"] += ("\nsearch[rug]", "think[rug]", "I say search[rug]")


@pytest.mark.parametrize(("text", "fault"), [(text, fault) for fault, texts in FAULTS.items() for text in texts])
def test_a_fault_says_why_a_step_is_ungrounded(env: WebShop, text: str, fault: str | None) -> None:
    observation, _ = begin(env)
    after, _, _, _, info = env.step(text)
    assert (info["fault"], info["grounded"]) == (fault, fault is None)
    assert (after == observation) == (fault is not None)


HOSTILE = st.one_of(
    st.text(st.characters(codec=None), max_size=300),  # lone surrogates and control characters too
    st.text("[]serachlik\n\ud800 ", max_size=40),
    st.text(st.characters(codec=None), max_size=100).map(lambda text: f"search[{text}]"),
    st.text(st.characters(codec=None), max_size=100).map(lambda text: f"click[{text}]"),
    st.sampled_from(["x" * 1_000_000, "[" * 500_000 + "]" * 500_000, "search[" * 140_000, "\x00", "\ud800[\ud800]"]),
    st.sampled_from([f"search[{'rug ' * 250_000}]", f"search[{'x' * 1_000_000}]", f"click[{']' * 1_000_000}]"]),
)


@max_examples(150, *QUIET)
@given(texts=st.lists(HOSTILE, max_size=4), seed=st.integers(0, 10**6))
def test_no_text_can_break_an_episode_and_what_is_not_executed_changes_nothing(
    env: WebShop, texts: list[str], seed: int
) -> None:
    _, info = begin(env, seed)
    dice = Dice("hostile", seed)
    for text in texts:
        for _ in range(dice.between(0, 2)):
            info = wander(env, info, dice)[1][4]
        assert env.action_space.contains(text)
        before, observation = env.snapshot(), env.restore(env.snapshot())[0]
        executed = Engine(env.assortment.shop, before.goal)
        executed.restore(before.state)
        executed.step(text)
        after, _, terminated, _, now = env.step(text)
        assert now["grounded"] == executed.executed == (now["fault"] is None)
        assert now["fault"] in (None, "format", "inadmissible")
        if not now["grounded"]:
            assert (env.snapshot().state, after, terminated) == (before.state, observation, False)
            same = ("admissible", "success", "progress", "remaining", "score")
            assert [now[key] for key in same] == [info[key] for key in same]
        assert 0.0 <= now["progress"] <= 1.0
        assert env.observation_space.contains(after)
        assert env.expert_action()
        info = now
        if terminated:
            return


@max_examples(40, *QUIET)
@given(seed=st.integers(0, 10**6))
def test_every_admissible_action_is_executed_and_every_other_click_is_not(env: WebShop, seed: int) -> None:
    dice = Dice("admissible", seed)
    _, info = begin(env, seed)
    for _ in range(8):
        info = wander(env, info, dice)[1][4]
        saved = env.snapshot()
        for action in info["admissible"]:
            env.restore(saved)
            assert env.step(action)[4]["grounded"], action
        for text in ("Search", "Buy Now", "Next >", "< Prev", "Back to Search", "Features", "red", "Attributes"):
            env.restore(saved)
            assert env.step(f"click[{text}]")[4]["grounded"] == (f"click[{text}]" in info["admissible"])
        env.restore(saved)


def test_the_seed_chooses_the_task_and_nothing_else_does(env: WebShop) -> None:
    other = WebShop(**SMALL)
    first = [env.reset(seed=seed)[1]["task"].key for seed in range(20)]
    other.reset(seed=99)
    assert [other.reset(seed=seed)[1]["task"].key for seed in range(20)] == first
    assert len(set(first)) > 5
    assert {env.reset()[1]["task"].split for _ in range(5)} == {"train"}
    assert env.reset(options={"split": "valid_seen"})[1]["task"].split == "valid_seen"


def test_tasks_are_sorted_and_keys_do_not_depend_on_the_price_seed(env: WebShop) -> None:
    dearer = WebShop(**SMALL, price_seed=7)
    for split in SPLITS:
        keys = [task.key for task in env.tasks(split)]
        assert keys == sorted(set(keys)) and keys
        assert keys == [task.key for task in dearer.tasks(split)]
        assert {task.env for task in env.tasks(split)} == {"webshop"}
    texts = [{key: goal.text for key, goal in e.assortment.goals.items()} for e in (env, dearer)]
    assert texts[0] != texts[1]
    assert {k: t.partition(", and price")[0] for k, t in texts[0].items()} == {
        k: t.partition(", and price")[0] for k, t in texts[1].items()
    }


def test_t12_no_product_is_in_two_splits(env: WebShop) -> None:
    asins = [{env.assortment.goals[task.key].asin for task in env.tasks(split)} for split in SPLITS]
    assert all(not one & two for one, two in itertools.combinations(asins, 2))
    assert len(env.tasks("valid_unseen")) == 10


def test_a_task_is_reset_by_key_with_or_without_its_split(env: WebShop) -> None:
    task = env.tasks("valid_unseen")[3]
    assert env.reset(options={"task": task.key})[1]["task"] == task
    for options, named in (
        ({"task": task.key, "split": "train"}, "no task"),
        ({"task": "human-BXXX00-0"}, "no task"),
        ({"taks": task.key}, "'taks'"),
        ({"split": "test"}, "unknown split 'test'"),
    ):
        with pytest.raises(UserError, match=named):
            env.reset(options=options)
    with pytest.raises(UserError, match="unknown split"):
        env.tasks("dev")


WRONG = {"tasks": "web", "goals": "all", "observation": "html", "max_steps": 0, "valid": 0, "products": 0}


@pytest.mark.parametrize(("name", "value"), [*WRONG.items(), ("render_mode", "human"), ("difficulty", "easy")])
def test_a_wrong_argument_is_named(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        WebShop(**{**SMALL, name: value}).tasks("train")


def test_rich_text_is_played_by_the_same_expert_to_the_same_end(env: WebShop) -> None:
    rich = WebShop(**SMALL, observation="text_rich", render_mode="ansi")
    for index in range(10):
        (plain, _), (marked, _) = begin(env, index), begin(rich, index)
        assert plain != marked == rich.render()
        assert finish(rich)[0] == finish(env)[0]
    assert env.render() is None


def test_synthetic_goals_are_tasks_too() -> None:
    env = WebShop(**LONG, goals="synthetic")
    assert all(task.key.startswith("synthetic-") for task in env.tasks("train"))
    begin(env)
    assert finish(env)[1][2]


@max_examples(40, *QUIET)
@given(seed=st.integers(0, 10**6), difficulty=st.sampled_from(["default", "hard"]))
def test_a_restored_episode_goes_on_exactly_like_the_original(seed: int, difficulty: str) -> None:
    env, other = (WebShop(**SMALL, difficulty=difficulty) for _ in range(2))
    dice = Dice("restore", seed)
    _, info = begin(env, seed)
    for _ in range(dice.between(0, 7)):
        info = wander(env, info, dice)[1][4]
    saved, shown, expert = env.snapshot(), info, env.expert_action()
    played = [wander(env, info, Dice("on", seed, turn)) for turn in range(7)]
    begin(other, seed + 1)
    if dice.chance(0.5):
        finish(other)
    for who, state in ((other, pickle.loads(pickle.dumps(saved))), (env, saved), (other, saved)):  # noqa: S301
        assert who.restore(state)[1] == shown
        assert who.snapshot() == state
        assert who.expert_action() == expert
        assert [who.step(action) for action, _ in played] == [result for _, result in played]


def test_steps_before_a_snapshot_count_after_it_and_an_ended_episode_stays_ended() -> None:
    env = WebShop(**SMALL, max_steps=3)
    begin(env)
    env.step("dance")
    saved = env.snapshot()
    for _ in range(2):
        assert env.restore(saved)[1]["fault"] == "format"
        assert [env.step("search[rug]")[3] for _ in range(2)] == [False, True]
    ended = env.snapshot()
    begin(env, 1)
    env.restore(ended)
    with pytest.raises(ResetNeeded):
        env.step("search[rug]")


@max_examples(40, *QUIET)
@given(seed=st.integers(0, 10**6))
def test_the_expert_is_a_fresh_one_led_through_the_history_whatever_was_asked_before(seed: int) -> None:
    env = WebShop(**LONG, difficulty="hard")
    dice = Dice("history", seed)
    _, info = begin(env, seed)
    saved = [env.snapshot()]
    for _ in range(25):
        if dice.chance(0.2):
            info = env.restore(dice.among(saved))[1]
        elif dice.chance(0.1):
            info = begin(env, dice.between(0, 20))[1]
        else:
            info = wander(env, info, dice)[1][4] if dice.chance(0.8) else env.step(info["admissible"][0])[4]
        if env.snapshot().over:
            info = env.restore(saved[0])[1]
        saved.append(env.snapshot())
        fresh = Expert(info["goal"], built_in=True)
        for turn in saved[-1].history[1:]:
            fresh.observe(turn.action, turn.executed, turn.observation, turn.clickables)
        if dice.chance(0.7):
            assert env.expert_action() == fresh.act() == env.expert_action()


def test_the_expert_finishes_what_somebody_else_began() -> None:
    env = WebShop(**LONG)
    for index in range(60):
        _, info = begin(env, index)
        for turn in range(10):
            info = wander(env, info, Dice("began", index, turn))[1][4]
        assert finish(env)[1][4]["success"], env.tasks("train")[index].key


def test_two_environments_stepped_in_turn_equal_two_stepped_alone() -> None:
    def episode(index: int) -> Iterator[Any]:
        env = WebShop(**SMALL)
        _, info = begin(env, index)
        for turn in range(12):
            action, result = wander(env, info, Dice("turns", index, turn))
            info = result[4]
            yield action, result, env.expert_action()

    alone = [list(episode(4)), list(episode(9))]
    together = list(zip(episode(4), episode(9), strict=True))
    assert [list(side) for side in zip(*together, strict=True)] == alone


def test_tokenizer_texts_hold_every_word_of_the_train_tasks_and_none_of_a_held_out_instruction(env: WebShop) -> None:
    texts = env.text_sources()
    assert list(texts) == list(WebShop(**SMALL).text_sources())
    said = "\n".join(texts)
    for split in SPLITS:
        for task in env.tasks(split):
            goal = env.assortment.goals[task.key]
            assert (f"Instruction: [SEP] {goal.text} [SEP]" in said) == (split == "train"), task.key


def test_the_action_space_takes_any_text_and_samples_actions(env: WebShop) -> None:
    space = env.action_space
    assert isinstance(space, AnyText)
    assert space.contains("") and space.contains("search[\x00\ud800\n")
    assert not space.contains(None) and not space.contains("x" * (space.max_length + 1))
    assert space.sample().startswith(("search[", "click["))
