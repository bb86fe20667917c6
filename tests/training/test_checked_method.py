"""Methods of third parties that go wrong: the run ends with their name and the place, and what was done is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from strategies import episode
from tiny import config

from spa_bench.analysis.runs import load
from spa_bench.audit import run as auditing
from spa_bench.audit.stage import Size
from spa_bench.core import UserError
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.report.table import tables
from spa_bench.runs.folder import run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.ppo import TrainingError
from spa_bench.watch import TimeUp


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Plain(RewardMethod):
    """What every broken method here would be if it were not broken."""

    def rewards(self, group: Any) -> Any:
        return [np.full(len(t), 0.1) for t in group]


class Raises(Plain):
    batches = 0

    def observe(self, trajectories: Any) -> None:
        self.batches += 1

    def rewards(self, group: Any) -> Any:
        if self.batches == 2:
            raise ZeroDivisionError("division by\nzero")
        return super().rewards(group)


class NaN(Plain):
    def rewards(self, group: Any) -> Any:
        return [np.where(np.arange(len(t)) == 1, np.nan, 0.1) for t in group]


class Infinite(Plain):
    def rewards(self, group: Any) -> Any:
        return [np.full(len(t), np.inf) for t in group]


class TooShort(Plain):
    def rewards(self, group: Any) -> Any:
        return [np.zeros(len(t) - 1) for t in group]


class TooFew(Plain):
    def rewards(self, group: Any) -> Any:
        return super().rewards(group)[1:]


class NoNumbers(Plain):
    def rewards(self, group: Any) -> Any:
        return [["a"] * len(t) for t in group]


class Nothing(Plain):
    def rewards(self, group: Any) -> Any:
        return None


class BadFit(Plain):
    def fit(self, trajectories: Any, experts: Any) -> Any:
        raise KeyError("weights")


class BadAdvantages(Plain):
    def advantages(self, group: Any, rewards: Any, values: Any, gamma: float, lam: float) -> Any:
        return [(np.full(len(r), np.inf), r) for r in rewards]


class ShortAdvantages(Plain):
    def advantages(self, group: Any, rewards: Any, values: Any, gamma: float, lam: float) -> Any:
        return [(r[1:], r) for r in rewards]


class BadBranch(Plain):
    uses_critic = False

    def branch(self, state: Any) -> Any:
        return 2.5 if len(state) == 2 else 1


class Exits(Plain):
    def observe(self, trajectories: Any) -> None:
        raise SystemExit(0)


class BadState(Plain):
    def state_dict(self) -> Any:
        return {"counts": {1: 2}}


class NoState(Plain):
    def state_dict(self) -> Any:
        return {"names": np.array(["a", "b"])}


class NumberedState(Plain):
    def state_dict(self) -> Any:
        return {3: np.zeros(2)}


class Complex(Plain):
    def rewards(self, group: Any) -> Any:
        return [np.full(len(t), 0.1 + 1j) for t in group]


class NoAdvantages(Plain):
    def advantages(self, group: Any, rewards: Any, values: Any, gamma: float, lam: float) -> Any:
        return [(["much"] * len(r), r) for r in rewards]


class TooMuch(Plain):
    """Finite numbers whose sums are not."""

    def rewards(self, group: Any) -> Any:
        return [np.full(len(t), 1e300) for t in group]

    def advantages(self, group: Any, rewards: Any, values: Any, gamma: float, lam: float) -> Any:
        return [(np.linspace(-1, 1, len(r)), r) for r in rewards]


SAID = {
    "Raises": r"rewards raised ZeroDivisionError: division by zero at .*test_\w+\.py:\d+ \(task .*, iteration 2\)",
    "NaN": r"rewards gave nan for step 2 \(task .*, iteration 1\)",
    "Infinite": r"rewards gave inf for step 1 \(task .*, iteration 1\)",
    "TooShort": r"rewards gave \[\(5,\), .*\] for episodes of \[6, .*\] steps \(task .*, iteration 1\)",
    "TooFew": r"rewards gave .* for episodes of .* steps \(task .*, iteration 1\)",
    "NoNumbers": r"rewards raised ValueError: .*'a'.*iteration 1",
    "Nothing": r"rewards raised TypeError: .*iteration 1",
    "BadFit": r"fit raised KeyError: 'weights' at .*test_checked_method\.py:\d+ \(before training\)",
    "BadAdvantages": r"advantages gave NaN or infinity \(task .*, iteration 1\)",
    "ShortAdvantages": r"advantages gave .* decisions \(task .*, iteration 1\)",
    "BadBranch": r"branch gave 2\.5, not a whole number from 0 to 64 \(task .*, iteration 1\), step 3",
    "Exits": r"observe raised SystemExit: 0 at .*test_checked_method\.py:\d+ \(iteration 1\)",
    "BadState": r"state_dict gave no NumPy array for counts",
    "NoState": r"state_dict gave no numbers, or no text as their name, for \['names'\]",
    "NumberedState": r"state_dict gave no numbers, or no text as their name, for \[3\]",
    "Complex": r"rewards raised ValueError: complex numbers are given.* \(task .*, iteration 1\)",
    "NoAdvantages": r"advantages raised ValueError: .*'much'.*iteration 1",
}


@pytest.mark.parametrize("cls", SAID)
def test_a_method_that_goes_wrong_ends_the_run_by_name_and_nothing_is_lost(cls, tmp_path):
    settings = config(reward=f"{__file__}:{cls}")
    with pytest.raises(MethodError, match=rf"^reward test_checked_method\.py:{cls}: {SAID[cls]}") as raised:
        experiment.run(settings, tmp_path, Progress.quiet())
    assert "\n" not in str(raised.value)
    path = run_path(tmp_path, settings)
    rows, torn = Journal(path / "metrics.jsonl").read()
    assert torn == 0
    assert rows[-1] == {"kind": "failed", "reason": str(raised.value)}
    played = [row for row in Journal(path / "episodes.jsonl").read()[0] if row["stage"] == "train"]
    assert bool(played) == (cls not in ("BadFit", "BadBranch"))
    assert sum(row["kind"] == "iteration" for row in rows) == (1 if cls == "Raises" else 0)
    assert (path / "checkpoints/0001").exists() == (cls == "Raises")
    assert load(path).failure == str(raised.value)
    (table,) = tables([path])
    assert any(str(raised.value) in note for note in table.notes)


def test_a_run_in_which_no_update_is_finite_fails(tmp_path):
    """Not the method's mistake for certain, so it is named as a suspect."""
    settings = config(reward=f"{__file__}:TooMuch")
    said = r"^iteration 2: no loss .* rewards of test_checked_method\.py:TooMuch or ppo\.learning_rate are too large$"
    with pytest.raises(TrainingError, match=said):
        experiment.run(settings, tmp_path, Progress.quiet())
    rows, _ = Journal(run_path(tmp_path, settings) / "metrics.jsonl").read()
    assert rows[-1]["kind"] == "failed"


def test_two_methods_that_tables_would_call_the_same_are_refused_before_anything_runs(tmp_path):
    twin = tmp_path / "elsewhere" / "test_checked_method.py"
    twin.parent.mkdir()
    twin.write_text("from spa_bench.rewards.sparse import Sparse\n\n\nclass NaN(Sparse):\n    pass\n")
    configs = [config(reward=f"{file}:NaN") for file in (__file__, twin)]
    with pytest.raises(UserError, match=r"both be test_checked_method\.NaN in tables: rename"):
        experiment.compare(configs, tmp_path / "results", 1, Progress.quiet())
    with pytest.raises(UserError, match=r"both be test_checked_method\.NaN in tables: rename"):
        auditing.audit(configs, None, Size(), Progress.quiet())
    assert not (tmp_path / "results").exists()


def test_whole_numbers_and_lists_are_taken_for_what_they_mean():
    class Lists(Plain):
        def rewards(self, group: Any) -> Any:
            return [[1] * len(t) for t in group]

    (paid,) = CheckedMethod("lists", Lists()).rewards([episode(1.0)])
    assert paid.dtype == np.float64 and paid.tolist() == [1.0, 1.0, 1.0]


def test_figures_of_a_fit_that_are_no_numbers_are_left_out():
    class Figures(Plain):
        def fit(self, trajectories: Any, experts: Any) -> Any:
            return {"loss": 0.5, "none": float("nan")}

    assert CheckedMethod("figures", Figures()).fit([], []) == {"loss": 0.5}


def test_a_call_that_is_interrupted_where_it_records_no_gradients_leaves_that_to_nobody():
    class Interrupted(Plain):
        def fit(self, trajectories: Any, experts: Any) -> Any:
            torch.set_grad_enabled(False)  # as after SIGALRM in the midst of entering `no_grad`
            raise TimeUp("did not return")

    try:
        with pytest.raises(MethodError, match="did not return"):
            CheckedMethod("interrupted", Interrupted()).fit([], [])
        assert torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
