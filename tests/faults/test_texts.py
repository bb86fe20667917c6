"""Hostile replies through worlds, agents, records and reports: T7."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import pytest
import texts
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from invoked import invoke
from strategies import max_examples
from tiny import config

from spa_bench import registry
from spa_bench.agents.prompts import PROMPTS
from spa_bench.core import TextEnv, Trajectory
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.runs.episodes import from_row, to_row
from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.terminal import printable
from spa_bench.training import experiment, start
from spa_bench.training.evaluation import Evaluation

WORLDS = pytest.mark.parametrize("world", cases.WORLDS)


def make(world: str) -> TextEnv:
    env: TextEnv = registry.build("environments", world, max_steps=2, **cases.WORLDS[world])
    return env


def played(world: str, prompt: str) -> Iterator[tuple[str, Trajectory]]:
    """An episode of every hostile reply, and what is wrong with that."""
    tasks = make(world).tasks("train")
    requests = [Request(index, tasks[index % len(tasks)], index) for index in range(len(texts.names()))]
    player = Player(lambda: make(world), len(requests))
    for request, trajectory, _ in player.play(requests, texts.Hostile(PROMPTS[prompt])):
        yield texts.names()[request.index], trajectory


@WORLDS
@pytest.mark.parametrize("prompt", PROMPTS)
def test_t07_a_hostile_reply_is_an_ungrounded_step_of_an_episode_that_goes_on(world: str, prompt: str) -> None:
    for name, trajectory in played(world, prompt):
        assert len(trajectory.steps) == 2 and trajectory.truncated and not trajectory.success, name
        for step in trajectory.steps:
            assert not step.grounded, f"{name}: {step.action[:100]!r} was executed"
            assert step.fault in ("format", "inadmissible") and (step.action or step.fault == "format"), name
            assert step.progress == trajectory.start_progress, name
        assert trajectory.steps[0].env_reward == 0.0, name  # at the end a world may pay for how things stand


@WORLDS
def test_t07_a_hostile_reply_comes_back_from_the_record_as_it_was(world: str, tmp_path: Path) -> None:
    """As to_row says, adjacent surrogates aside: there are none."""
    found = [trajectory for _, trajectory in played(world, "action")]
    journal = Journal(tmp_path / "episodes.jsonl")
    journal.extend(map(to_row, found))
    rows, unreadable = journal.read()
    assert (list(map(from_row, rows)), unreadable) == (found, 0)


@pytest.fixture(scope="module", params=cases.WORLDS)
def world_made(request: pytest.FixtureRequest) -> TextEnv:
    return make(request.param)


@max_examples(40, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)
@given(data=st.data())
def test_t07_no_text_ends_an_episode_or_changes_it_without_an_action(world_made: TextEnv, data: st.DataObject) -> None:
    env = world_made
    task = data.draw(st.sampled_from(env.tasks("train")))
    _, info = env.reset(seed=0, options={"task": task.key, "split": "train"})
    prompt = PROMPTS[data.draw(st.sampled_from(sorted(PROMPTS)))]
    action = prompt.parse(data.draw(texts.any_reply(list(info["admissible"]))))
    same = ("admissible", "success", "progress", "goal", "task")
    before = [info[name] for name in same]
    _, reward, terminated, _, now = env.step(action)
    assert now["grounded"] == (now["fault"] is None)
    if not now["grounded"]:
        assert now["fault"] in ("format", "inadmissible")
        assert ([now[name] for name in same], reward, terminated) == (before, 0.0, False)
    if not action:
        assert now["fault"] == "format"


@pytest.fixture(scope="module")
def hostile_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation in every world by an agent that says hostile things alone."""
    results = tmp_path_factory.mktemp("hostile")
    for world, options in cases.WORLDS.items():
        settings = config(env=world, world={"max_steps": 2, "options": options})
        common = start.begin(settings)
        found = experiment.facts(common, {}) | {"agent": "hostile"}
        with RunFolder.open(run_path(results, settings), settings, found) as folder:
            Evaluation(common, folder, Progress.quiet()).play(texts.Hostile(PROMPTS["action"]))
            folder.metrics.append({"kind": "done"})
    return results


def test_t07_reports_of_hostile_replies_steer_no_screen_and_hold_no_markup_of_theirs(hostile_results: Path) -> None:
    done = invoke("report", str(hostile_results), "--out", str(hostile_results / "report"))
    assert done.exit_code == 0, done.output
    for said in (done.stdout, done.stderr):
        assert printable(said) == said
    assert done.stdout.count("hostile") >= len(cases.WORLDS)
    written = {path: path.read_text() for path in (hostile_results / "report").rglob("*") if written_as_text(path)}
    assert len(written) > 3 * len(cases.WORLDS)
    for path, text in written.items():
        assert printable(text) == text, path.name
        assert "<script>window.hacked" not in text and "<img src=x" not in text, path.name


def written_as_text(path: Path) -> bool:
    return path.suffix in {".md", ".csv", ".tex", ".html", ".json"}


def test_t07_the_page_holds_what_was_said(hostile_results: Path, tmp_path: Path) -> None:
    """As text: what a browser makes of it is tested in tests/report/test_page_browser.py."""
    done: Any = invoke("report", str(hostile_results), "--html", str(tmp_path / "page.html"))
    assert done.exit_code == 0, done.output
    assert "window.hacked = 1" in (tmp_path / "page.html").read_text()
