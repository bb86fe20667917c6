"""ALFWorld as an environment: the contract of `TextEnv`, and that nothing a model writes can break an episode."""

import gc
import resource
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from alfworld_play import SMALL, begin, finish
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench import registry
from spa_bench.core import Task, UserError
from spa_bench.environments.alfworld import generate
from spa_bench.environments.alfworld.env import ALFWorld
from spa_bench.environments.alfworld.tasks import folder
from spa_bench.environments.text import AnyText

KEYS = {"task", "goal", "grounded", "fault", "admissible", "success", "progress", "remaining"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Generated tasks go where the tests may write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def env() -> ALFWorld:
    return ALFWorld(**SMALL)


def test_t17_gymnasiums_own_checker_finds_nothing_to_warn_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make("spa_bench:ALFWorld-v0", render_mode="ansi", **SMALL)
        check_env(made.unwrapped)
        made.reset(seed=1)
        made.step("look")


def test_the_registry_builds_it_by_name() -> None:
    assert registry.build("environments", "alfworld", max_steps=3, **SMALL).max_steps == 3


def test_info_has_exactly_the_promised_keys_and_types(env: ALFWorld) -> None:
    observation, first = begin(env)
    _, _, _, _, second = env.step("look")
    for info in (first, second):
        assert info.keys() == KEYS
        assert isinstance(info["task"], Task)
        assert info["goal"] and f"Your task is to: {info['goal']}" in observation
        assert type(info["grounded"]) is type(info["success"]) is bool
        assert isinstance(info["progress"], float)
        assert isinstance(info["admissible"], tuple)
        assert list(info["admissible"]) == sorted(info["admissible"])


def test_an_episode_starts_grounded_in_the_middle_of_its_progress(env: ALFWorld) -> None:
    for index in range(12):
        _, info = begin(env, index)
        assert (info["grounded"], info["fault"], info["success"], info["progress"]) == (True, None, False, 0.5)
        assert info["remaining"] > 0


def test_the_expert_wins_with_the_steps_that_its_task_names(env: ALFWorld) -> None:
    env.max_steps = 200
    for index, task in enumerate(env.tasks("valid_unseen")):
        begin(env, index, "valid_unseen")
        commands, (_, reward, terminated, truncated, info) = finish(env)
        assert len(commands) == task.expert_steps
        assert (reward, terminated, truncated) == (1.0, True, False)
        assert (info["success"], info["progress"], info["remaining"]) == (True, 1.0, 0)


def test_reward_is_paid_on_the_winning_step_only(env: ALFWorld) -> None:
    begin(env)
    rewards = []
    over = False
    while not over:
        _, reward, over, _, _ = env.step(env.expert_action())
        rewards.append(reward)
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]


def test_t17_the_step_limit_truncates_and_is_no_success(env: ALFWorld) -> None:
    env.max_steps = 4
    begin(env)
    results = [env.step("look")[2:4] for _ in range(4)]
    assert results == [(False, False)] * 3 + [(False, True)]
    with pytest.raises(ResetNeeded, match="over"):
        env.step("look")


def test_winning_on_the_last_step_terminates_and_does_not_truncate(env: ALFWorld) -> None:
    task = env.tasks("train")[0]
    env.max_steps = task.expert_steps
    begin(env)
    _, (_, reward, terminated, truncated, info) = finish(env)
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


def test_one_step_less_than_the_expert_needs_is_a_failure(env: ALFWorld) -> None:
    env.max_steps = env.tasks("train")[0].expert_steps - 1
    begin(env)
    _, (_, reward, terminated, truncated, info) = finish(env)
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, True, False)


def test_an_episode_that_was_won_cannot_go_on(env: ALFWorld) -> None:
    begin(env)
    finish(env)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step("look")
    begin(env)
    env.step("look")


@pytest.mark.parametrize("method", ["snapshot", "expert_action"])
def test_nothing_works_before_the_first_reset(env: ALFWorld, method: str) -> None:
    with pytest.raises(ResetNeeded):
        getattr(env, method)()
    with pytest.raises(ResetNeeded):
        env.step("look")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("look", None),
        (" look \n", None),
        ("go to nowhere 7", "inadmissible"),
        ("\t go to nowhere 7 \n", "inadmissible"),
        ("go to fridge", "inadmissible"),
        ("move apple 9 to desk 9", "inadmissible"),
        ("put apple 9 in/on desk 9", "format"),
        ("", "format"),
        ("go to", "format"),
        ("Look", "format"),
        ("I look around", "format"),
        ("think: where is it", "format"),
        ("look\nlook", "format"),
        ("go to nowhere 7\ngo to nowhere 8", "format"),
        ("go to " + "x" * 1000, "format"),
    ],
)
def test_a_fault_says_why_a_step_is_ungrounded(env: ALFWorld, text: str, fault: str | None) -> None:
    begin(env)
    observation, _, _, _, info = env.step(text)
    assert (info["fault"], info["grounded"]) == (fault, fault is None)
    assert (observation == "Nothing happens.") == (fault is not None)


def test_put_belongs_to_the_old_text_and_move_to_the_new() -> None:
    old = ALFWorld(text="2.1.1", **SMALL)
    begin(old)
    assert old.step("put apple 9 in/on desk 9")[4]["fault"] == "inadmissible"
    assert old.step("move apple 9 to desk 9")[4]["fault"] == "format"
    assert old.step("help")[4]["fault"] == "format"


HOSTILE = st.one_of(
    st.text(st.characters(codec=None), max_size=300),  # lone surrogates and control characters too
    st.sampled_from(
        [
            "x" * 1_000_000,
            "go to " * 200_000,
            "\x00",
            "\ud800look",
            "\x1b[2Jlook",
            "<a>" * 5000,
            "take " + " from " * 50_000,
            "look\u2028look",
        ]
    ),
)


@max_examples(60, HealthCheck.function_scoped_fixture)
@given(text=HOSTILE)
def test_no_text_can_break_or_change_an_episode(env: ALFWorld, text: str) -> None:
    _, before = begin(env, 3)
    if text.strip() in before["admissible"]:
        return
    state = env.snapshot().state
    assert env.action_space.contains(text)
    observation, reward, terminated, truncated, info = env.step(text)
    assert (observation, reward, terminated, truncated) == ("Nothing happens.", 0.0, False, False)
    assert not info["grounded"]
    assert env.snapshot().state == state
    assert {k: info[k] for k in ("admissible", "success", "progress", "remaining")} == {
        k: before[k] for k in ("admissible", "success", "progress", "remaining")
    }
    assert env.step("look")[4]["grounded"]


def test_the_seed_chooses_the_task_and_nothing_else_does(env: ALFWorld) -> None:
    other = ALFWorld(**SMALL)
    first = [env.reset(seed=seed)[1]["task"].key for seed in range(20)]
    other.reset(seed=99)
    assert [other.reset(seed=seed)[1]["task"].key for seed in range(20)] == first
    assert len(set(first)) > 5
    assert {env.reset()[1]["task"].split for _ in range(5)} == {"train"}
    assert env.reset(options={"split": "valid_seen"})[1]["task"].split == "valid_seen"


def test_a_task_is_reset_by_key_with_or_without_its_split(env: ALFWorld) -> None:
    task = env.tasks("valid_unseen")[3]
    assert env.reset(options={"task": task.key})[1]["task"] == task
    with pytest.raises(UserError, match="no task"):
        env.reset(options={"task": task.key, "split": "train"})
    with pytest.raises(UserError, match="'taks'"):
        env.reset(options={"taks": task.key})


def test_short_observations_drop_the_welcome_and_the_location() -> None:
    raw, short = ALFWorld(text="2.1.1", **SMALL), ALFWorld(text="2.1.1", observation="short", **SMALL)
    (long_text, info), (short_text, _) = begin(raw), begin(short)
    assert long_text.startswith("-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle")
    assert short_text.startswith("You are in the middle of a room.")
    assert short_text.splitlines()[-1].startswith("Your task is to: ")
    assert len(short_text.splitlines()) == 2
    go = info["admissible"][0]
    long_text, short_text = raw.step(go)[0], short.step(go)[0]
    assert long_text.startswith("You arrive at loc ")
    assert long_text.partition(". ")[2] == short_text
    assert finish(raw)[0] == finish(short)[0], "the expert does not depend on what is shown"


def test_progress_falls_when_a_step_undoes_something(env: ALFWorld) -> None:
    fell = 0
    for index in range(12):
        _, info = begin(env, index)
        while not env.expert_action().startswith("take "):
            env.step(env.expert_action())
        take = env.expert_action()
        high = env.step(take)[4]["progress"]
        back = [c for c in env.step("look")[4]["admissible"] if c.startswith("move ")]
        if back:
            low = env.step(back[0])[4]["progress"]
            fell += low < high
            assert 0 <= low <= 1
        assert info["progress"] == 0.5 <= high
    assert fell >= 6


def test_render_gives_the_last_observation_in_ansi_mode_only(env: ALFWorld) -> None:
    begin(env)
    assert env.render() is None
    shown = ALFWorld(render_mode="ansi", **SMALL)
    observation, _ = begin(shown)
    assert shown.render() == observation


@pytest.mark.parametrize(
    "arguments",
    [
        {"tasks": "web"},
        {"text": "3.0"},
        {"observation": "long"},
        {"max_steps": 0},
        {"render_mode": "human"},
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(arguments))):
        ALFWorld(**arguments)


def test_official_tasks_without_data_say_how_to_get_them(tmp_path: Any) -> None:
    with pytest.raises(UserError, match="spa-bench data get alfworld"):
        ALFWorld(tasks="official", data=str(tmp_path)).reset(seed=0)
    with pytest.raises(UserError, match="spa-bench data get alfworld"):
        ALFWorld(tasks="official").tasks("train")


def test_instructions_name_every_verb_of_the_text_in_force_and_no_other() -> None:
    for text, (mine, other) in {"2.1.1": ("- put ", "- move "), "2.1.2": ("- move ", "- put ")}.items():
        env = ALFWorld(text=text, **SMALL)  # type: ignore[arg-type]
        assert mine in env.instructions
        assert other not in env.instructions
        verbs = [
            "look",
            "inventory",
            "go to",
            "open",
            "close",
            "examine",
            "take",
            "use",
            "clean",
            "heat",
            "cool",
            "slice",
        ]
        assert all(f"\n- {verb}" in env.instructions for verb in verbs)
        assert ("\n- help" in env.instructions) == (text == "2.1.2")


def test_instructions_are_those_of_the_episodes_before_the_first_one(env: ALFWorld) -> None:
    assert "- move " in env.instructions
    _, info = begin(env)
    assert env.step(next(c for c in info["admissible"] if c == "help"))[4]["grounded"]


def test_a_set_of_mixed_releases_is_played_in_one_wording(tmp_path: Path) -> None:
    new, old = (generate.ensure(train=6, valid=2, text=text) for text in ("2.1.2", "2.1.1"))
    mixed = Path(shutil.copytree(old, tmp_path / "mixed"))
    shutil.rmtree(mixed / "json_2.1.1" / "valid_unseen")
    shutil.copytree(new / "json_2.1.1" / "valid_unseen", mixed / "json_2.1.1" / "valid_unseen")
    lines = [line for line in (old / "manifest.csv").read_text().splitlines() if not line.startswith("valid_unseen")]
    lines += [line for line in (new / "manifest.csv").read_text().splitlines() if line.startswith("valid_unseen")]
    (mixed / "manifest.csv").write_text("\n".join(lines))
    env = ALFWorld(**SMALL)
    env.games = folder(mixed)
    for split in ("train", "valid_unseen"):
        _, info = begin(env, 0, split)
        assert "help" not in info["admissible"]
    assert "- put " in env.instructions


def test_tokenizer_texts_hold_every_word_of_the_train_world_and_are_repeatable(env: ALFWorld) -> None:
    texts = env.text_sources()
    assert list(texts) == list(ALFWorld(**SMALL).text_sources())
    known = set(" ".join(texts).replace(".", " ").replace(",", " ").split())
    for task in env.tasks("train"):
        observation, info = env.reset(options={"task": task.key})
        said = " ".join([observation, *info["admissible"], "Nothing happens."]).replace(".", " ").replace(",", " ")
        assert set(said.split()) <= known


def test_the_text_space_takes_any_text_at_once_and_samples_commands() -> None:
    space = ALFWorld(**SMALL).action_space
    assert isinstance(space, AnyText)
    assert space.contains("") and space.contains("go to desk 1\n\x00\ud800")
    assert not space.contains("x" * (space.max_length + 1))
    assert not space.contains(b"look") and not space.contains(None)
    space.seed(0)
    first = [space.sample() for _ in range(20)]
    space.seed(0)
    assert [space.sample() for _ in range(20)] == first
    assert len(set(first)) > 5 and all(first)
    assert space == ALFWorld(**SMALL).action_space != AnyText(5, ["x"])


@pytest.mark.skipif(sys.platform == "win32", reason="ru_maxrss is POSIX")
def test_thousands_of_episodes_do_not_grow_the_process(env: ALFWorld) -> None:
    def some(count: int) -> int:
        for seed in range(count):
            env.reset(seed=seed)
            env.step("look")
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = some(300)
    grown = some(3000) - before
    assert grown < 20_000 * (1024 if sys.platform == "darwin" else 1)
