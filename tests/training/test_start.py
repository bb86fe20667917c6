"""What every method begins with: the panel's name, and the demonstrations in the policy's own tokens."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SETTINGS, config, language_model
from unanswered import Unanswered

from spa_bench import registry
from spa_bench.core import UserError
from spa_bench.runs.progress import Progress
from spa_bench.training import sizes, start, warm_episodes, warm_start


def test_an_evaluation_set_is_known_by_its_tasks_and_settings_and_not_by_where_its_data_lie() -> None:
    torch.set_num_threads(1)
    common = start.begin(config())
    world = common.config.world
    moved, longer = (
        replace(common, config=common.config.model_copy(update={"world": world.model_copy(update=changes)}))
        for changes in ({"data": "/elsewhere"}, {"max_steps": 7})
    )
    assert moved.panel_hash == common.panel_hash
    assert longer.panel_hash != common.panel_hash
    assert replace(common, panel=common.panel[1:]).panel_hash != common.panel_hash


def test_the_embedded_model_reads_as_it_always_did_and_others_own_their_tokens(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    small = {"hidden": 32, "layers": 1, "heads": 2, "threads": 1}
    books = start.load_policy(start.begin(config(model=small)), None).books  # type: ignore[attr-defined]
    assert (books.history, books.halves, books.context, books.room) == ("template", False, 2048, 2032)
    language_model(layers=1, context=700).save(tmp_path)
    for given, history, context in (({}, "sampled", 700), ({"history": "template", "context": 300}, "template", 300)):
        common = start.begin(config(model={"name": str(tmp_path), "threads": 1} | given))
        books = start.load_policy(common, None).books  # type: ignore[attr-defined]
        assert (books.history, books.halves, books.context) == (history, True, context)


def test_the_warm_start_explores_each_task_several_times_and_not_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    common = start.begin(config())
    policy = start.warm_start(common, Progress.quiet())
    explored = warm_episodes.read_episodes(warm_episodes.explore(common, policy, Progress.quiet()))
    assert [t.task for t in explored] == [one for one in common.train[:6] for _ in range(2)]
    said = [[step.reply for step in t.steps] for t in explored]
    assert all(first != second for first, second in zip(said[::2], said[1::2], strict=True))
    evaluated = warm_episodes.evaluate(common, policy, Progress.quiet())
    assert [t.task for t in warm_episodes.read_episodes(evaluated)] == list(common.panel)


def test_slips_are_shown_and_not_taught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `clone` is given, beside the same expert's episodes."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    given: list[warm_start.Demonstration] = []
    clone = warm_start.clone

    def noted(model: Any, tokenizer: Any, shown: list[warm_start.Demonstration], *args: Any, **kwargs: Any) -> Any:
        given.extend(shown)
        return clone(model, tokenizer, shown, *args, **kwargs)

    monkeypatch.setattr(warm_start, "clone", noted)
    world = {"max_steps": 60, "options": {"train": 24, "valid": 6}}
    common = start.begin(config(world=world, warm_start={"episodes": 8, "epochs": 1, "slip": 0.3}))
    start.warm_start(common, Progress.quiet())
    shown = start.experts(common, 8, Progress.quiet(), slip=0.3)
    own = [[step.action == step.expert_action for step in t.steps] for t in shown]
    assert [demonstration.taught.tolist() for demonstration in given] == own
    assert 0.1 < np.mean([not right for part in own for right in part]) < 0.4


@pytest.mark.parametrize("epochs", [1, 24])
def test_the_bar_of_the_warm_start_ends_at_its_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    """Losses are logged at every tenth step: of a short warm start there is none. What is left is told at each step."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    common = start.begin(config(warm_start={"episodes": 24, "epochs": epochs, "batch": 8}))
    said = io.StringIO()
    hours = itertools.count(0.0, 3600.0)
    start.warm_start(common, Progress("lines", said, lambda: next(hours)))
    lines = [line.removeprefix("warm start: ") for line in said.getvalue().splitlines() if "warm start: " in line]
    done, total = (int(number) for number in lines[-1].split()[1].split("/"))
    assert done == total and (total > 10) == (epochs > 1) == ("loss=" in lines[-1]) and total % 10
    told = [line for line in lines if " left" in line]
    assert {line.split()[0] for line in told} == {f"{step}/{total}" for step in range(1, total)}
    assert all(re.search(r" steps/min, about \d+ h \d+ min left", line) for line in told)


def test_a_demonstration_that_failed_is_left_out() -> None:
    """Five steps are enough for some tasks only: those of which the expert needs no more."""
    torch.set_num_threads(1)
    common = start.begin(config(world={"max_steps": 5, "options": {"train": 24, "valid": 6}}))
    shown = start.experts(common, 24, Progress.quiet())
    assert 0 < len(shown) < 24 and all(trajectory.success for trajectory in shown)
    assert [t.task for t in shown] == [task for task in common.train_tasks(24) if task.expert_steps <= 5]


def test_demonstrations_are_successes_whose_every_step_has_tokens() -> None:
    torch.set_num_threads(1)
    settings = config(world={"max_steps": 60, "options": {"train": 24, "valid": 6}})
    common = start.begin(settings)
    agent = start.load_policy(common, None)
    shown = start.demonstrations(common, agent, 5, Progress.quiet())
    assert len(shown) == 5 and all(trajectory.success for trajectory in shown)
    for trajectory in shown:
        for step in trajectory.steps:
            assert step.tokens is not None and step.tokens.logprobs == (0.0,) * len(step.tokens.reply)
            assert agent.chat.text(step.tokens.reply) == step.reply  # type: ignore[attr-defined]


def test_fewer_games_are_live_where_their_keys_and_values_would_take_more_than_allowed(tmp_path: Path) -> None:
    """Of the tiny model a token takes 2 * 1 layer * 32 * 4 bytes, a game of 512 tokens and a spare one 131,328."""
    model = SETTINGS["model"]
    for allowed, games in ((10 * 131_328, 10), (10 * 131_328 - 1, 9), (1, 1), (10**9, 16)):
        own = config(model=model | {"cache_bytes": allowed})
        assert sizes.live_games(own, torch.float32, 1) == games
    own = config(model=model | {"cache_bytes": 10 * 131_328})
    assert sizes.live_games(own, torch.bfloat16, 1) == 16
    assert sizes.live_games(own, torch.float32, 2) == 5
    assert start.begin(own).player.batch == 10
    language_model(layers=1).save(tmp_path)
    saved = config(model=model | {"cache_bytes": 10 * 131_328, "name": str(tmp_path)})
    assert sizes.live_games(saved, torch.float32, 1) == 10


def test_exploration_with_an_episode_without_an_end_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    common = start.begin(config())
    broken = Unanswered(registry.build("agents", "random", prompt=common.prompt), lambda talk: talk.id == 2)
    monkeypatch.setattr(warm_episodes, "load_policy", lambda *_: broken)
    with pytest.raises(UserError, match=r"explore: an episode has no end \(gone\)"):
        warm_episodes.explore(common, tmp_path / "policy", Progress("quiet"))
    assert not list(tmp_path.rglob(warm_episodes.EPISODES))
