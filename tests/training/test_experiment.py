"""Whole runs with real parts: compared from the same start with the same training budget."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import preloaded
import pytest
import struck
from tiny import SETTINGS, config

from spa_bench.analysis.groups import grouped
from spa_bench.analysis.runs import load
from spa_bench.config import RunConfig
from spa_bench.core import Floats, UserError
from spa_bench.report.table import as_json, tables
from spa_bench.rewards.spa import SPA
from spa_bench.runs.deadline import Deadline, DeadlineReached
from spa_bench.runs.episodes import BUDGET
from spa_bench.runs.folder import read_run, run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, stages, workers
from spa_bench.training.metrics import merged
from spa_bench.training.ppo import TrainingError
from spa_bench.training.speed import MEASURED


class Lively(SPA):
    """Tiny settings hardly ever succeed: without a reward for each step nothing would be learned."""

    def rewards(self, group: Any) -> list[Floats]:
        return [steps + np.arange(1.0, len(steps) + 1) for steps in super().rewards(group)]


LIVELY = f"{__file__}:Lively"


def quick(reward: str, seed: int) -> RunConfig:
    """Settings under which the little that is learned changes what is said."""
    return config(reward=reward, seed=seed, ppo=SETTINGS["ppo"] | {"learning_rate": 3e-3, "warmup": 0})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(cache))


def run(settings: RunConfig, results: Path) -> Path:
    return experiment.run(settings, results, Progress.quiet())


def episodes(path: Path) -> dict[tuple[Any, ...], Any]:
    """Recorded episodes by identity; a second record of one identity is a failure."""
    rows, unreadable = Journal(path / "episodes.jsonl").read()
    assert unreadable <= 1
    found: dict[tuple[Any, ...], Any] = {}
    for row in rows:
        identity = row["stage"], row["iteration"], row["index"]
        assert identity not in found, f"{identity} was counted twice"
        found[identity] = row
    return found


def metrics(path: Path) -> list[dict[str, Any]]:
    rows, _ = Journal(path / "metrics.jsonl").read()
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


def iterations(path: Path) -> list[dict[str, Any]]:
    return [row for row in metrics(path) if row["kind"] == "iteration"]


def without_seconds(path: Path) -> Any:
    (table,) = tables([path])
    return as_json(table, seconds=False)


@pytest.fixture(scope="module")
def compared(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    os.environ["SPA_BENCH_CACHE"] = str(cache)
    configs = [quick(reward, seed) for reward in ("sparse", "ppo", LIVELY, "shuffled") for seed in (0, 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "start", preloaded.start)
        return experiment.compare(configs, tmp_path_factory.mktemp("compared"), 2, Progress.quiet())


def test_every_method_starts_from_the_same_bytes(compared: list[Path]) -> None:
    starts: dict[int, set[str]] = {}
    for path in compared:
        (row,) = [row for row in metrics(path) if row.get("stage") == "warm start"]
        starts.setdefault(read_run(path)["config"]["seed"], set()).add(row["weights"])
    assert [len(hashes) for hashes in starts.values()] == [1, 1]
    assert starts[0] != starts[1], "another seed is another start"


def test_every_method_spends_the_same_environment_steps_and_updates(compared: list[Path]) -> None:
    assert {tuple(row["updates"] + row["skipped"] for row in iterations(path)) for path in compared} == {(2, 2)}
    for path in compared:
        played: dict[int, int] = {}
        for (stage, iteration, _), row in episodes(path).items():
            if stage == "train":
                played[iteration] = played.get(iteration, 0) + len(row["steps"])
        for row in iterations(path):
            # At most the single episode that the cut falls into is missing.
            assert 80 - 6 < played[row["iteration"]] <= 80
            assert played[row["iteration"]] == row["env_steps"] <= row["env_steps_executed"]
    assert any(row["env_steps"] < row["env_steps_executed"] for path in compared for row in iterations(path))


def test_every_method_plays_the_same_tasks_with_the_same_chance_before_the_first_update(compared: list[Path]) -> None:
    first = [
        [
            (row["task"]["key"], [step["reply"] for step in row["steps"]])
            for key, row in episodes(path).items()
            if key[:2] == ("train", 1)
        ]
        for path in compared
        if read_run(path)["config"]["seed"] == 0
    ]
    assert len(first) == 4 and all(played == first[0] for played in first)


def test_one_table_holds_all_methods_and_the_warm_start(compared: list[Path]) -> None:
    (table,) = tables(compared)
    levels = {row.label: row.level for row in table.rows}
    assert list(levels) == ["warm start", "ppo", "shuffled", "sparse", "test_experiment.Lively"]
    assert list(levels.values()) == [None, "token", "turn", "turn", "turn"]


def test_a_run_says_the_level_of_credit_that_was_set(tmp_path: Path) -> None:
    path = run(config(ppo=SETTINGS["ppo"] | {"level": "token", "iterations": 1}), tmp_path)
    assert read_run(path)["facts"]["level"] == "token"


def test_what_each_step_was_assigned_is_on_record(compared: list[Path]) -> None:
    """`sparse` is the first of them: nothing, and on the last step the outcome; on held-out tasks too."""
    prices, _ = Journal(compared[0] / "prices.jsonl").read()
    played = episodes(compared[0])
    assert sorted((row["stage"], row["iteration"], row["index"]) for row in prices) == sorted(played)
    for row in prices:
        episode = played[row["stage"], row["iteration"], row["index"]]
        assert row["rewards"] == [0.0] * (len(episode["steps"]) - 1) + [episode["outcome"]]


def test_the_world_s_state_is_on_record_where_a_method_groups_by_it(compared: list[Path], tmp_path: Path) -> None:
    """With every step of training and of the explored episodes; the episodes are those of every other method."""
    path = run(config(reward="3spo-lite", reward_options={"key": "state"}), tmp_path)
    rows = episodes(path)
    assert all(step["state"] and "menu" not in step for row in rows.values() for step in row["steps"])
    assert all(row["final_state"] for row in rows.values())
    without = episodes(compared[0])
    assert not any("state" in step for row in without.values() for step in row["steps"])
    said = [
        [[step["reply"] for step in row["steps"]] for key, row in sorted(all_rows.items()) if key[0] == "warm_start"]
        for all_rows in (rows, without)
    ]
    assert said[0] == said[1] != []


def test_t12_the_evaluation_set_is_played_once_per_task(compared: list[Path]) -> None:
    for path in compared:
        played = [row["task"]["key"] for key, row in episodes(path).items() if key[0] == "eval"]
        assert len(played) == len(set(played)) == 6


def test_a_finished_run_returns_at_once_and_adds_nothing(compared: list[Path]) -> None:
    before = (compared[0] / "episodes.jsonl").read_bytes(), (compared[0] / "metrics.jsonl").read_bytes()
    assert run(quick("sparse", 0), compared[0].parents[3]) == compared[0]
    assert before == ((compared[0] / "episodes.jsonl").read_bytes(), (compared[0] / "metrics.jsonl").read_bytes())


def test_a_checkpoint_is_evaluated_like_the_run_that_made_it(compared: list[Path], tmp_path: Path) -> None:
    path = experiment.evaluate(quick(LIVELY, 0), "policy", compared[4], tmp_path, Progress.quiet())
    mine = {key[2]: row["steps"] for key, row in episodes(path).items() if key[0] == "eval"}
    trained, before = (
        {key[2]: row["steps"] for key, row in episodes(compared[4]).items() if key[0] == stage}
        for stage in ("eval", "warm_start")
    )
    assert mine == trained != before


@pytest.mark.parametrize(("agent", "success"), [("expert", 1.0), ("random", 0.0)])
def test_scripted_agents_are_evaluated_on_the_same_evaluation_set(agent: str, success: float, tmp_path: Path) -> None:
    settings = config(reward=agent, world={"max_steps": 60, "options": {"train": 24, "valid": 6}})
    path = experiment.evaluate(settings, agent, None, tmp_path, Progress.quiet())
    rows = [row for key, row in episodes(path).items() if key[0] == "eval"]
    assert len(rows) == 6
    assert sum(row["success"] for row in rows) / 6 == pytest.approx(success, abs=0.5 if agent == "random" else 0)
    assert all(step["grounded"] for row in rows for step in row["steps"])


def test_a_changed_warm_start_is_stopped_by_the_first_kl(compared: list[Path], tmp_path: Path) -> None:
    """The run is made to start from another seed's weights than those it is compared with."""
    settings = config(reward="sparse", seed=0)
    other = json.loads((compared[1] / "metrics.jsonl").read_text().splitlines()[0])
    assert other["stage"] == "warm start"
    policy_folder = compared[1] / "checkpoints/0002/policy"
    restore = stages.Run._restore

    def wrong(self: stages.Run, _: Path, folder: Path | None) -> Any:
        return restore(self, policy_folder, folder)

    stages.Run._restore = wrong  # type: ignore[method-assign]
    try:
        with pytest.raises(TrainingError, match="KL to the warm start is not 0"):
            run(settings, tmp_path)
    finally:
        stages.Run._restore = restore  # type: ignore[method-assign]
    assert [row["kind"] for row in metrics(run_path(tmp_path, settings))][-1] == "failed"


def test_a_run_is_not_resumed_from_another_warm_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its second iteration, and gone on with after an upgrade: the cache makes other weights then."""
    settings = config(reward="sparse")
    learn, calls = stages.Run._learn, iter([False, True])

    def dies(self: stages.Run, *args: Any, **kwargs: Any) -> Any:
        if next(calls):
            raise KeyboardInterrupt
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(stages.Run, "_learn", dies)
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path)
    monkeypatch.setattr(stages.Run, "_learn", learn)
    path = run_path(tmp_path, settings)
    before = (path / "metrics.jsonl").read_bytes()
    other = stages.start.warm_start(stages.start.begin(config(seed=1)), Progress.quiet())
    with monkeypatch.context() as upgraded:
        upgraded.setattr(stages.start, "warm_start", lambda *_: other)
        with pytest.raises(UserError, match="another warm start"):
            run(settings, tmp_path)
    assert (path / "metrics.jsonl").read_bytes() == before
    assert [row["kind"] for row in metrics(run(settings, tmp_path))][-1] == "done"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_fails_does_not_stop_the_others(jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "start", preloaded.start)
    broken = tmp_path / "broken.py"
    code = "from spa_bench.rewards.sparse import Sparse\n\n\nclass Broken(Sparse):\n"
    broken.write_text(code + "    def rewards(self, group):\n        raise ValueError('no idea')\n")
    configs = [config(reward=f"{broken}:Broken"), config(reward="sparse"), config(reward="uniform")]
    with pytest.raises(UserError, match="no idea"):
        experiment.compare(configs, tmp_path / "results", jobs, Progress.quiet())
    paths = [run_path(tmp_path / "results", settings) for settings in configs]
    assert [metrics(path)[-1]["kind"] for path in paths] == ["failed", "done", "done"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_t08_a_worker_that_is_killed_costs_its_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run is killed whenever it is begun, one the first time only."""
    monkeypatch.setattr(workers, "start", preloaded.start)
    (tmp_path / "mine.py").write_text(struck.CODE)
    names = [f"{tmp_path}/mine.py:Struck", f"{tmp_path}/mine.py:Once", "sparse", "uniform"]
    configs = [config(reward=name) for name in names]
    reason = (
        "its process was killed (SIGKILL), 2 times: lower --jobs if memory ran out; the same command tries it again"
    )
    with pytest.raises(UserError, match=rf"^alfworld, mine\.Struck, seed 0: {re.escape(reason)}$"):
        experiment.compare(configs, tmp_path / "results", 2, Progress("notes"))
    paths = [run_path(tmp_path / "results", settings) for settings in configs]
    assert [metrics(path)[-1]["kind"] for path in paths] == ["failed", "done", "done", "done"]
    assert [row["reason"] for row in metrics(paths[0]) if row["kind"] == "failed"] == [reason]
    assert capsys.readouterr().err.count("its process was killed (SIGKILL); it is tried once more") == 2
    (table,) = tables(paths)
    assert [row.label for row in table.rows] == ["warm start", "mine.Once", "sparse", "uniform"]


class Late(Deadline):
    """Comes at the so-manieth place where a run may stop."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.places = places

    def check(self, place: str) -> None:
        self.places -= 1
        if not self.places:
            raise DeadlineReached(place)


def test_a_deadline_stops_where_everything_is_saved_and_changes_nothing(tmp_path: Path) -> None:
    settings = config(reward=LIVELY)
    calm = run(settings, tmp_path / "calm")
    path = run_path(tmp_path / "late", settings)
    places = ["nothing new was begun", "after the warm start", "after exploration"]
    places += ["after iteration 1/2", "after iteration 2/2"]
    for number, place in enumerate(places, 1):
        with pytest.raises(DeadlineReached, match=f"^{place}$"):
            experiment.run(settings, tmp_path / "late", Progress.quiet(), None, Late(number))
    assert [row["kind"] for row in metrics(path)][-1] == "iteration"
    assert experiment.run(settings, tmp_path / "late", Progress.quiet(), None, Deadline(3600)) == path
    assert episodes(path) == episodes(calm) and metrics(path) == metrics(calm)
    assert without_seconds(path) == without_seconds(calm)
    assert experiment.run(settings, tmp_path / "late", Progress.quiet(), None, Deadline(0)) == path, "it is finished"


def test_evaluations_between_iterations_change_no_training_and_are_on_record_once(tmp_path: Path) -> None:
    settings = quick(LIVELY, 0)
    calm = run(settings, tmp_path / "calm")
    watched = settings.model_copy(update={"eval": settings.eval.model_copy(update={"every": 1})})
    path = run_path(tmp_path, watched)
    assert path.name != calm.name, "it has more on record: the finished run without it is no answer"
    with pytest.raises(DeadlineReached, match="after iteration 1/2"):
        experiment.run(watched, tmp_path, Progress.quiet(), None, Late(4))  # saved, and not yet evaluated
    killed = shutil.copytree(path, run_path(tmp_path / "killed", watched))
    assert run(watched, tmp_path) == path

    looks = [row for row in metrics(path) if row["kind"] == "evaluation"]
    assert [(row["iteration"], row["episodes"], row["errors"]) for row in looks] == [(1, 6, 0)]
    assert looks[0]["env_steps_executed"] >= 6 and looks[0]["tokens_sampled"] > 0
    assert [row for row in metrics(path) if row["kind"] != "evaluation"] == metrics(calm)
    assert episodes(path) == episodes(calm)
    assert stages.weights_hash(path / "checkpoints") == stages.weights_hash(calm / "checkpoints")
    (both,) = grouped([load(calm), load(path)])
    assert [(row["success"], row["turns"]) for one in both.runs for row in one.evaluations] == [
        (looks[0]["success"], looks[0]["turns"])
    ]
    assert load(path).unreadable == 0 and load(path).costs.keys() == load(calm).costs.keys()

    row = next(row for row in Journal(path / "metrics.jsonl").read()[0] if row["kind"] == "evaluation")
    Journal(killed / "metrics.jsonl").append(row)  # as a kill leaves it that comes right after
    run(watched, tmp_path / "killed")
    assert metrics(killed) == metrics(path) and episodes(killed) == episodes(calm)


def test_a_budget_of_a_longer_run_is_on_record_as_the_end_of_a_shorter_one(tmp_path: Path) -> None:
    longer = quick(LIVELY, 0)
    size = longer.ppo.env_steps
    budgeted = longer.model_copy(update={"eval": longer.eval.model_copy(update={"budgets": [size, 2 * size]})})
    path = run_path(tmp_path, budgeted)
    with pytest.raises(DeadlineReached, match="after iteration 1/2"):
        experiment.run(budgeted, tmp_path, Progress.quiet(), None, Late(4))  # saved, and not yet evaluated
    killed = shutil.copytree(path, run_path(tmp_path / "killed", budgeted))
    assert run(budgeted, tmp_path) == path
    calm = run(longer, tmp_path / "calm")
    shorter = run(
        longer.model_copy(update={"ppo": longer.ppo.model_copy(update={"iterations": 1})}), tmp_path / "short"
    )

    def played(folder: Path, stage: str) -> list[dict[str, Any]]:
        rows = [row for row in Journal(folder / "episodes.jsonl").read()[0] if row["stage"] == stage]
        return sorted((row | {"stage": "", "iteration": 0} for row in rows), key=lambda row: row["index"])

    rows = [row for row in Journal(path / "episodes.jsonl").read()[0] if row["stage"] == BUDGET]
    assert {row["iteration"] for row in rows} == {1}, "the last budget is the end of the run"
    assert played(path, BUDGET) == played(shorter, "eval") and len(rows) == 6
    assert played(path, "eval") == played(calm, "eval")
    assert stages.weights_hash(path / "checkpoints") == stages.weights_hash(calm / "checkpoints")

    first = next(row for row in rows if row["index"] == 2)
    Journal(killed / "episodes.jsonl").append(first)  # as a kill leaves it in the middle of the evaluation
    run(budgeted, tmp_path / "killed")
    assert played(killed, BUDGET) == played(path, BUDGET)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_comparison_stops_at_its_deadline_and_says_how_much_is_done(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "start", preloaded.start)
    configs = [config(reward=reward) for reward in ("sparse", "uniform", "ppo")]
    run(configs[0], tmp_path)
    with pytest.raises(DeadlineReached, match=r"^1 of 3 runs are finished$"):
        experiment.compare(configs, tmp_path, jobs, Progress.quiet(), None, Deadline(0))
    assert [run_path(tmp_path, settings).exists() for settings in configs] == [True, False, False]


def test_the_figures_of_parts_are_those_of_one_update() -> None:
    """A part whose only minibatch was skipped has counts and no losses."""
    learned = {"policy_loss": 2.0, "updates": 1.0, "skipped": 0.0, "tokens_trained": 10.0}
    skipped = {"updates": 0.0, "skipped": 1.0, "tokens_trained": 7.0}
    want = {"policy_loss": 2.0, "updates": 1.0, "skipped": 1.0, "tokens_trained": 17.0}
    assert merged([learned, skipped]) == merged([skipped, learned]) == want
    assert merged([learned, learned | {"policy_loss": 4.0}])["policy_loss"] == 3.0


def test_an_iteration_must_hold_a_whole_episode_for_each_update(tmp_path: Path) -> None:
    settings = config(ppo={"env_steps": 17, "minibatches": 3})
    with pytest.raises(UserError, match=r"ppo\.env_steps must be at least 18: each of the 3 ppo\.minibatches needs "):
        run(settings, tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_digest_of_the_code_sees_every_package() -> None:
    from spa_bench.runs import provenance

    root = Path(provenance.__file__).resolve().parent.parent
    rooms = {name: list((root / name).rglob("*.py")) for name in ("agents", "environments", "rewards", "training")}
    assert all(rooms.values())
    assert len(provenance.source()) == 16 and provenance.facts()["source"] == provenance.source()


def test_a_run_is_not_resumed_with_an_edited_reward(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    code = "from spa_bench.rewards.sparse import Sparse\n\n\nclass Mine(Sparse):\n    pass\n"
    source.write_text(code)
    settings = config(reward=f"{source}:Mine")
    path = run(settings, tmp_path / "results")
    assert run(settings, tmp_path / "results") == path
    source.write_text(code + "    # another idea\n")
    with pytest.raises(
        UserError,
        match="another version of the reward's code: editing the file invalidates the run; move the folder away",
    ):
        run(settings, tmp_path / "results")


def test_two_characters_train_one_policy_and_each_has_a_record_of_its_own(tmp_path: Path) -> None:
    world = {"max_steps": 6, "options": {"train": 30, "valid": 10, "characters": 2}}
    settings = config(env="virtualhome", world=world, eval={"tasks": 3})
    path = run(settings, tmp_path)
    found = episodes(path)
    for stage, least in (("warm_start", 3), ("train", 4), ("eval", 3)):
        rows = [row for identity, row in sorted(found.items()) if identity[0] == stage]
        assert len(rows) >= 2 * least and [row["character"] for row in rows] == [0, 1] * (len(rows) // 2)
        for first, second in zip(rows[::2], rows[1::2], strict=True):
            assert first["task"] == second["task"] and first["outcome"] == second["outcome"]
    spent = [row["env_steps"] for row in iterations(path)]
    assert len(spent) == 2 and all(80 - 2 * 6 < steps <= 80 for steps in spent)
    (table,) = tables([path])
    assert table.about["n"] == 3 and "2 characters" in table.about["protocol"]
    with pytest.raises(UserError, match="at least 12"):
        run(config(env="virtualhome", world=world, ppo={**settings.ppo.model_dump(), "env_steps": 11}), tmp_path)


def test_rewards_are_shown_on_the_first_held_out_episodes_only_where_so_many_are_asked_for(tmp_path: Path) -> None:
    settings = quick(LIVELY, 0)
    path = run(settings.model_copy(update={"eval": settings.eval.model_copy(update={"rewards": 2})}), tmp_path)
    calm = run(settings, tmp_path / "calm")
    assert priced(path, "eval") == priced(path, "warm_start") == [0, 1]
    assert priced(calm, "eval") == [0, 1, 2, 3, 4, 5]
    assert episodes(path) == episodes(calm)
    assert len(grouped([load(calm), load(path)])) == 1, "they stand in one table"


def priced(path: Path, stage: str) -> list[int]:
    """Indices of the evaluation's episodes whose rewards are on record."""
    return [row["index"] for row in Journal(path / "prices.jsonl").read()[0] if row["stage"] == stage]


def test_training_ends_at_a_collapse_with_the_last_policy_before_it(tmp_path: Path, monkeypatch) -> None:
    def at_third(rows: Iterable[Mapping[str, Any]]) -> str | None:
        return "it has" if len([*rows]) == 3 else None

    ppo = {**SETTINGS["ppo"], "learning_rate": 3e-3, "warmup": 0}
    calm = run(config(reward=LIVELY, ppo=ppo | {"iterations": 1}), tmp_path)
    settings = config(reward=LIVELY, ppo=ppo | {"iterations": 5, "stop_on_collapse": True})
    monkeypatch.setattr(stages, "collapsed", at_third)
    path = run_path(tmp_path, settings)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages.Run, "play", interrupted)
        run(settings, tmp_path)
    assert run(settings, tmp_path) == path, "it goes on after the interruption as it would have"

    kinds = [(row["kind"], row.get("iteration")) for row in metrics(path)]
    assert kinds.count(("stopped", 3)) == 1 and ("iteration", 4) not in kinds
    (stopped,) = [row for row in metrics(path) if row["kind"] == "stopped"]
    assert (stopped["kept"], stopped["reason"]) == (1, "it has")
    assert stages.weights_hash(path / "checkpoints" / "0001" / "policy") == stages.weights_hash(
        next((calm / "checkpoints").iterdir()) / "policy"
    )
    assert [folder.name for folder in (path / "checkpoints").iterdir()] == ["0001"]
    evaluated = [[row for place, row in episodes(one).items() if place[0] == "eval"] for one in (path, calm)]
    assert evaluated[0] == evaluated[1]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt
