"""Training that breaks, through real runs: ruined policies, losses that are no numbers, methods that do not return."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SETTINGS, config

from spa_bench import manifest
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.report.table import tables
from spa_bench.runs.folder import run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, soundness
from spa_bench.training.policy import Policy
from spa_bench.training.ppo import TrainingError


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One warm start for all."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class Rising(RewardMethod):
    """Pays 1, 2, 3, ..., times a factor in some of the iterations."""

    factor, iterations = 1e200, ()
    seen = 0

    def observe(self, trajectories: Any) -> None:
        self.seen += 1

    def rewards(self, group: Any) -> Any:
        factor = self.factor if self.seen in self.iterations else 1.0
        return [factor * np.arange(1.0, len(t) + 1) for t in group]

    def state_dict(self) -> Any:
        return {"seen": np.array(self.seen)}

    def load_state_dict(self, state: Any) -> None:
        self.seen = int(state["seen"])


class HugeAtOnce(Rising):
    iterations = (1,)


class HugeAtLast(Rising):
    iterations = (3,)


class HugeAlways(Rising):
    iterations = tuple(range(10))


class Branching(HugeAlways):
    """The same, from trees."""

    def branch(self, state: Any) -> int:
        return 1


class HangsInFit(Rising):
    def fit(self, trajectories: Any, experts: Any) -> Any:
        time.sleep(1000)


class HangsInRewards(Rising):
    def rewards(self, group: Any) -> Any:
        while True:
            pass


class HangsWhenMade(Rising):
    def __init__(self) -> None:
        time.sleep(1000)


def settings(cls: str, *, limits: Any = None, **ppo: Any) -> RunConfig:
    return config(reward=f"{__file__}:{cls}", ppo=SETTINGS["ppo"] | ppo, limits=limits or {})


def rows(path: Path) -> list[dict[str, Any]]:
    return Journal(path / "metrics.jsonl").read()[0]


def failed(own: RunConfig, results: Path, kind: type[UserError], *, evaluated: bool = False) -> tuple[Path, str]:
    """A run that fails twice with the same line, is in no table, and has no evaluation that it had not before."""
    for _ in range(2):
        with pytest.raises(kind) as raised:
            experiment.run(own, results, Progress.quiet())
        path, line = run_path(results, own), str(raised.value)
        assert rows(path)[-1] == {"kind": "failed", "reason": line} and "\n" not in line
    (table,) = tables([path])
    assert [row.label for row in table.rows] == [] and any(line in note for note in table.notes)
    assert evaluated == any(row["stage"] == "eval" for row in Journal(path / "episodes.jsonl").read()[0])
    return path, line


def network(path: Path) -> dict[str, Any]:
    """The policy's weights in the last checkpoint."""
    import safetensors.torch

    return safetensors.torch.load_file(experiment.last_policy(path) / "model.safetensors")


@pytest.mark.parametrize("rate", [1e30, 1e6, 1e3])
def test_t09_a_policy_that_the_last_update_has_ruined_is_a_failed_run(rate: float, tmp_path: Path) -> None:
    path, line = failed(settings("Rising", iterations=1, learning_rate=rate), tmp_path, TrainingError)
    assert line.startswith("iteration 1: the update left weights ")
    assert line.endswith("test_broken.py:Rising or ppo.learning_rate are too large")
    (row,) = [row for row in rows(path) if row["kind"] == "iteration"]
    assert row["updates"] == 0 and row["skipped"] == 2 and row["weights_size"] == row["weights_start"]
    assert max(weight.abs().max().item() for weight in network(path).values()) < 10


@pytest.mark.parametrize("model", [{"adapter": "lora"}, {"dtype": "bf16"}])
def test_t09_a_ruined_policy_is_taken_back_whatever_is_trained(model: dict[str, str], tmp_path: Path) -> None:
    """An adapter alone, or fp32 copies of weights in bf16: the second iteration begins where the first one did."""
    learns = SETTINGS["ppo"] | {"learning_rate": 1e30}
    own = config(reward=f"{__file__}:Rising", ppo=learns, model=SETTINGS["model"] | model)
    with pytest.raises(
        TrainingError, match=r"^iteration 2: the update left weights .*, as was the case in the 1 before"
    ):
        experiment.run(own, tmp_path, Progress.quiet())
    found = [row for row in rows(run_path(tmp_path, own)) if row["kind"] == "iteration"]
    assert [row["updates"] for row in found] == [0, 0]
    assert all(
        row["largest_log_ratio_to_start"] < 1e-4 and row["weights_size"] == row["weights_start"] for row in found
    )


def test_t09_a_run_goes_on_from_the_last_good_checkpoint_and_the_table_says_so(tmp_path: Path) -> None:
    """The second iteration begins where the first one did."""
    own = settings("HugeAtOnce", learning_rate=1e-3)
    path = experiment.run(own, tmp_path, Progress.quiet())
    first, second = [row for row in rows(path) if row["kind"] == "iteration"]
    assert first["broken"] == "no loss or gradient was finite, so there was no update"
    assert (first["updates"], first["skipped"], second["updates"], second["skipped"]) == (0, 2, 2, 0)
    assert "broken" not in second and second["largest_log_ratio_to_start"] < 1e-4
    (table,) = tables([path])
    assert any("1 of 2 iterations taken back: no loss or gradient was finite" in note for note in table.notes)


def test_t09_a_ruined_checkpoint_of_an_earlier_version_is_not_evaluated(tmp_path: Path) -> None:
    """As it was saved before weights were looked at: finite, and far from what a network is made of."""
    import safetensors.torch

    own = settings("Rising", iterations=1)
    path = experiment.run(own, tmp_path, Progress.quiet())
    kept = [line for line in (path / "metrics.jsonl").read_text().splitlines() if '"kind":"iteration"' in line]
    bare = [{name: value for name, value in json.loads(line).items() if "weights" not in name} for line in kept]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in bare))
    (path / "checkpoints/0001/metrics.json").write_text(json.dumps(bare[0]))
    (path / "checkpoints/0001" / manifest.NAME).unlink()
    ruined = {name: weight * 1e28 for name, weight in network(path).items()}
    safetensors.torch.save_file(ruined, path / "checkpoints/0001/policy/model.safetensors", {"format": "pt"})
    _, line = failed(own, tmp_path, TrainingError, evaluated=True)
    assert line.startswith("checkpoint 1: the update left weights of up to 1e+28, more than 10 times")


def test_t09_where_the_last_update_is_not_finite_the_run_fails(tmp_path: Path) -> None:
    path, line = failed(settings("HugeAtLast", iterations=3), tmp_path, TrainingError)
    assert line.startswith("iteration 3: no loss or gradient was finite, so there was no update: the rewards of ")
    updates = [row["updates"] for row in rows(path) if row["kind"] == "iteration"]
    assert updates == [2, 2, 0]


@pytest.mark.parametrize("cls", ["HugeAlways", "Branching"])
def test_t09_a_run_ends_after_so_many_iterations_that_break(cls: str, tmp_path: Path) -> None:
    path, line = failed(settings(cls, iterations=5, trees=3), tmp_path, TrainingError)
    broken = [row["iteration"] for row in rows(path) if row["kind"] == "iteration" and row["broken"]]
    assert broken == [1, 2, 3] and soundness.MOST_BROKEN == 3
    assert line.startswith("iteration 3: no loss or gradient was finite") and "in the 2 before" in line


def test_t09_a_ruined_policy_of_trees_is_taken_back_too(tmp_path: Path) -> None:
    own = config(reward="3spo", ppo=SETTINGS["ppo"] | {"trees": 3, "iterations": 1, "learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"^iteration 1: .* or ppo\.learning_rate are too large$"):
        experiment.run(own, tmp_path, Progress.quiet())


def test_t09_a_warm_start_that_is_ruined_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    own = config(warm_start=SETTINGS["warm_start"] | {"learning_rate": 1e20, "batch": 2})
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"^warm start: the update left weights .*: lower warm_start\.learning_rate$"
        ):
            experiment.run(own, tmp_path, Progress.quiet())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["model", "value"])
def test_t09_a_weight_that_is_no_number_is_found_wherever_it_is(part: str, value: float, policy: Policy) -> None:
    start = soundness.size(policy.model)
    assert soundness.fault(start, policy.model, policy.value) is None
    for weight in getattr(policy, part).parameters():
        kept = weight.data.flatten()[-1].clone()
        weight.data.flatten()[-1] = value
        assert soundness.fault(start, policy.model, policy.value) == "the update left weights that are no numbers"
        weight.data.flatten()[-1] = kept


def test_t09_weights_that_have_exploded_are_found(policy: Policy) -> None:
    start = soundness.size(policy.model)
    for factor, sound in ((9.0, True), (11.0, False), (1e24, False)):
        with torch.no_grad():
            for weight in policy.model.parameters():
                weight *= factor
        assert (soundness.fault(start, policy.model, policy.value) is None) == sound
        with torch.no_grad():
            for weight in policy.model.parameters():
                weight /= factor


def test_t09_a_model_with_damaged_weights_plays_nothing(tmp_path: Path) -> None:
    from tiny import language_model

    from spa_bench.core import Conversation, Message

    agent = language_model()
    with torch.no_grad():
        next(iter(agent.model.parameters())).fill_(float("nan"))
    with pytest.raises(UserError, match="log-probs are no finite numbers"):
        agent.act([Conversation(0, 0, [Message("user", "Action: look")])])


LIMITS = {"fit": 1.0, "price": 1.0}


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        ("HangsInFit", r"fit did not return within 1 s (limits.fit)"),
        ("HangsInRewards", r"rewards did not return within"),
    ],
)
def test_t16_a_method_that_hangs_ends_its_run_by_name(cls: str, said: str, tmp_path: Path) -> None:
    _, line = failed(settings(cls, limits=LIMITS), tmp_path, MethodError)
    assert line.startswith(f"reward test_broken.py:{cls}: {said}") and "test_broken.py:" in line.split(" at ")[1]


def test_t16_a_method_that_hangs_when_it_is_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        MethodError, match=r":HangsWhenMade: its constructor did not return within 1 s \(limits\.price\)"
    ):
        experiment.run(settings("HangsWhenMade", limits=LIMITS), tmp_path, Progress.quiet())
