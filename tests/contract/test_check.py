"""The contract tests catch each kind of broken method, and `spa-bench check` says so in a line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spa_bench import credit, registry
from spa_bench.commands.cli import app
from spa_bench.contract import laws
from spa_bench.contract.check import examine, fingerprints
from spa_bench.contract.fakes import HOSTILE, fake_batch, fake_encoder, standard_groups
from spa_bench.contract.fingerprint import SAME, advantages_of, distance, examples, fingerprint, nearest
from spa_bench.contract.laws import CONTRACT_TESTS, ContractError, Trial, check_distinct, check_reward, check_time
from spa_bench.core import Floats, Trajectory, UserError
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.rewards.ppo import PPO
from spa_bench.rewards.sparse import Sparse
from spa_bench.rewards.uniform import Uniform
from spa_bench.training import pricing
from spa_bench.training.batches import pack_trajectory


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["check", *words])


# What methods are tried on


def test_the_standard_groups_hold_what_an_experiment_can_bring():
    groups = standard_groups()
    every = [t for group in groups for t in group]
    assert all(len({t.task for t in group}) == 1 for group in groups)
    assert len({group[0].task.key for group in groups}) == len(groups)
    assert {len(group) for group in groups} >= {1, 2, 3, 6}
    assert any(not any(map(len, group)) for group in groups)
    assert any(t.branch and len(t) > t.branch for t in every)
    assert any(t.error for t in every)
    assert {t.character for t in every} == {0, 1}
    assert {s.reply for t in every for s in t.steps} >= set(HOSTILE)
    assert {s.fault for t in every for s in t.steps} == {None, "format", "inadmissible"}
    assert {s.tokens is None for t in every for s in t.steps} == {True, False}
    assert {len({t.outcome for t in group}) > 1 for group in groups} == {True, False}
    assert any(one is other for group in groups for n, one in enumerate(group) for other in group[:n])
    assert all(t.success == t.terminated != t.truncated for t in every)


def test_groups_are_those_of_their_seed():
    assert ascii(standard_groups(3)) == ascii(standard_groups(3)) != ascii(standard_groups(4))
    assert [(len(group), {len(t) for t in group}) for group in fake_batch()] == [(8, {20})] * 8


# Broken methods, each of its kind


class Own(Sparse):
    """Claims nothing, so that other tests are reached."""

    conserves_return = False


class Generated(Own):
    def rewards(self, group):
        return (r for r in super().rewards(group))


class OneArray(Own):
    def rewards(self, group):
        return np.zeros((len(group), 3))


class Nothing(Own):
    def rewards(self, group):
        return None


class Lists(Own):
    def rewards(self, group):
        return [r.tolist() for r in super().rewards(group)]


class Whole(Own):
    def rewards(self, group):
        return [r.astype(int) for r in super().rewards(group)]


class Columns(Own):
    def rewards(self, group):
        return [r[:, None] for r in super().rewards(group)]


class TooLong(Own):
    def rewards(self, group):
        return [np.append(r, 0.0) for r in super().rewards(group)]


class Infinite(Own):
    def rewards(self, group):
        return [r / (r > 2) for r in super().rewards(group)]


class OnlyAtFirst(Own):
    """Prices well once, and then gives NaN."""

    calls = 0

    def rewards(self, group):
        self.calls += 1
        return [r + (np.nan if self.calls > 14 else 0) for r in super().rewards(group)]


class DrawsFromNumPy(Own):
    def rewards(self, group):
        return [r + np.random.normal(size=len(r)) for r in super().rewards(group)]  # noqa: NPY002


class SeedsNumPy(Own):
    def rewards(self, group):
        np.random.seed(self.seed)  # noqa: NPY002
        return super().rewards(group)


class DrawsFromPython(Own):
    def fit(self, trajectories, experts):
        random.random()
        return {}


class DrawsFromTorch(Own):
    def fit(self, trajectories, experts):
        torch.nn.Linear(2, 2)
        return {}


class RewritesAStep(Own):
    def rewards(self, group):
        for step in group[0].steps[:1]:
            object.__setattr__(step, "env_reward", 1.0)
        return super().rewards(group)


class HangsOn(Own):
    """Remembers on the trajectory what it has worked out."""

    def fit(self, trajectories, experts):
        object.__setattr__(trajectories[0], "_score", 1.0)
        return {}


class RewritesAndDiffers(Own):
    """Its numbers differ because it rewrites: the cause is what is reported."""

    def rewards(self, group):
        priced = super().rewards(group)
        for t in group:
            object.__setattr__(t, "outcome", t.outcome + 1)
        return priced


class SortsWhatItIsGiven(Own):
    def fit(self, trajectories, experts):
        trajectories.sort(key=len)
        return {}


class SortsTheGroup(Own):
    def advantages(self, group, rewards, values, gamma, lam):
        if len({len(t) for t in group}) > 1:
            group.sort(key=len)
        return super().advantages(group, rewards, values, gamma, lam)


class ForgetsWhatItObserved(Own):
    """The batch before this one: what a checkpoint lost shows only after the next batch."""

    known = latest = 0.0

    def observe(self, trajectories):
        self.known, self.latest = self.known + self.latest, float(len(trajectories))

    def rewards(self, group):
        return [r + self.known for r in super().rewards(group)]

    def state_dict(self):
        return {"known": np.array([self.known])}

    def load_state_dict(self, state):
        self.known = float(state["known"][0])


class StateOfText(Own):
    def state_dict(self):
        return {"seen": np.array(["room 1"])}


class StateOfNumbers(Own):
    def state_dict(self):
        return {"seen": 3}


class Overpays(Sparse):
    def rewards(self, group):
        return [r + 1e-3 for r in super().rewards(group)]


class NotPairs(Own):
    def advantages(self, group, rewards, values, gamma, lam):
        return [r for r in rewards]


class NoAdvantages(Own):
    def advantages(self, group, rewards, values, gamma, lam):
        return None


class NoState(Own):
    def state_dict(self):
        return None


class NoFigures(Own):
    def fit(self, trajectories, experts):
        return None


class FiguresOfText(Own):
    def fit(self, trajectories, experts):
        return {"r2": "good"}


class AdvantagesOfThePast(Own):
    """One per step, also of those that another episode has played."""

    def advantages(self, group, rewards, values, gamma, lam):
        return [(np.zeros(len(t)), np.zeros(len(t))) for t in group]


class AdvantagesInLists(Own):
    def advantages(self, group, rewards, values, gamma, lam):
        return [([0.0] * len(r), r) for r in rewards]


class BranchesBackwards(Own):
    def branch(self, state):
        return -1


class BranchesTooMuch(Own):
    def branch(self, state):
        return 65 if len(state) > 2 else 64


class BranchesInParts(Own):
    def branch(self, state):
        return 1.0


class BranchesYes(Own):
    def branch(self, state):
        return True


class BranchesInNumPy(Own):
    def branch(self, state):
        return np.int64(2)


class BranchesOnceFitted(Own):
    wide = 1

    def fit(self, trajectories, experts):
        self.wide = -3
        return {}

    def branch(self, state):
        return self.wide


class BranchesByTheClock(Own):
    asked = 0

    def branch(self, state):
        self.asked += 1
        return self.asked % 7


BROKEN = {
    Generated: "one array per trajectory: a list is wanted, not generator",
    OneArray: "one array per trajectory: a list is wanted, not ndarray",
    Nothing: "one array per trajectory: a list is wanted, not NoneType",
    Lists: "rewards are float64 arrays: not of type list",
    Whole: "rewards are float64 arrays: not an array of int64",
    Columns: "one number per step: shape",
    TooLong: "one number per step: shape",
    Infinite: "every number is finite: .*inf|every number is finite: .*nan",
    OnlyAtFirst: "every number is finite",
    DrawsFromNumPy: "all randomness comes from the seed: it moved numpy.random",
    SeedsNumPy: "all randomness comes from the seed: it moved numpy.random",
    DrawsFromPython: "all randomness comes from the seed: it moved random",
    DrawsFromTorch: "all randomness comes from the seed: it moved torch",
    RewritesAStep: "trajectories are not modified",
    HangsOn: "trajectories are not modified",
    RewritesAndDiffers: "trajectories are not modified",
    SortsWhatItIsGiven: "trajectories are not modified: fit or observe changed the list",
    SortsTheGroup: "trajectories are not modified",
    ForgetsWhatItObserved: "a restored method goes on as the first one does",
    StateOfText: "the state is made of arrays of numbers: safetensors cannot keep",
    StateOfNumbers: "the state is made of arrays$",
    Overpays: "rewards add up to the outcome, as conserves_return says: gap",
    NoState: "the state is made of arrays$",
    NoFigures: "fit returns figures, each a number with a name: None",
    FiguresOfText: "fit returns figures, each a number with a name: {'r2': 'good'}",
    NotPairs: "advantages come as one pair per trajectory: a list of tuples of two is wanted",
    NoAdvantages: "advantages come as one pair per trajectory: a list of tuples of two is wanted",
    AdvantagesOfThePast: r"one finite advantage .*shape \(\d,\) for \d decisions",
    AdvantagesInLists: "one finite advantage .*not of type list",
    BranchesBackwards: "branch returns 0 to 64: -1",
    BranchesTooMuch: "branch returns 0 to 64: 65",
    BranchesInParts: "branch returns an int: 1.0, of type float",
    BranchesYes: "branch returns an int: True, of type bool",
    BranchesInNumPy: "branch returns an int: .*of type int64",
    BranchesOnceFitted: "branch returns 0 to 64: -3",
    BranchesByTheClock: "branch returns the same when called again: first 1, then",
}


@pytest.mark.parametrize("method", BROKEN, ids=lambda method: method.__name__)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_contract_test_that_fails_is_named(method: type[RewardMethod]):
    with pytest.raises(ContractError, match=BROKEN[method]):
        check_reward(method)


def test_a_contract_error_is_an_assertion_that_fails_in_a_test():
    with pytest.raises(AssertionError, match=r"^one number per step: shape"):
        check_reward(TooLong)


def test_groups_of_ones_own_and_any_seed_can_be_given():
    check_reward(Sparse, standard_groups(7), 7)
    with pytest.raises(ContractError, match="add up"):
        check_reward(Overpays, [[t for t in standard_groups()[0]]])


class Burns(Sparse):
    def rewards(self, group):
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        return super().rewards(group)


def test_t16_a_slow_method_is_caught_and_a_quick_one_measured():
    complaint = r"rewards are computed in time: .*s for 64 episodes of 20 steps, allowed are 0\.1"
    with pytest.raises(ContractError, match=complaint):
        check_time(Burns, 0.1)
    assert check_time(Burns, 1e9) >= 0.16


class Sleeps(Sparse):
    def rewards(self, group):
        time.sleep(1000)


def test_t16_a_method_that_hangs_fails_the_check_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It takes no processor time, so that no test of time would ever end."""
    monkeypatch.setattr(laws, "HANGS", 0.2)
    said = r"^reward Sleeps: rewards did not return within 0\.3 s at .*test_check\.py:\d+$"
    with pytest.raises(MethodError, match=said):
        check_time(Sleeps, 0.1)
    with monkeypatch.context() as patch, pytest.raises(MethodError, match=r"^reward Sleeps: rewards did not return"):
        patch.setattr(laws, "HANGS", 0.2 - laws.SECONDS)  # it waits for these as well
        check_reward(Sleeps)
    endless = MINE.replace("return self.bonus / int(self.divisor)", "while True: pass")
    (tmp_path / "mine.py").write_text(endless, encoding="utf-8")
    report = examine(f"{tmp_path / 'mine.py'}:Mine", {}, 0.1)
    assert report.problem is not None and " did not return within 0.3 s at " in report.problem
    assert [verdict.state for verdict in report.tests] == ["failed", *["not run"] * (len(CONTRACT_TESTS) + 1)]


# What the method itself raises


class Raises(Sparse):
    def rewards(self, group):
        return [np.array([1 / len(t)] * len(t)) for t in group]


class RaisesWhenMade(Sparse):
    def __init__(self):
        raise ZeroDivisionError


class RaisesInBranch(Own):
    def branch(self, state):
        return {}["missing"]


@pytest.mark.parametrize(
    ("method", "call"), [(RaisesWhenMade, "its constructor"), (RaisesInBranch, "branch"), (Raises, "rewards")]
)
def test_an_error_names_the_method_and_the_call(method, call):
    with pytest.raises(MethodError, match=rf"reward {method.__name__}: {call} raised .* at .*test_check\.py:\d+$"):
        check_reward(method, [[replace(t, steps=()) for t in standard_groups()[0]]])
    with pytest.raises(MethodError, match="reward mine: "):
        check_reward(method, [[replace(t, steps=()) for t in standard_groups()[0]]], name="mine")


# Fingerprints


class SparseAgain(RewardMethod):
    """Another scale and another class: the same advantages."""

    def rewards(self, group):
        return [np.append(np.zeros(max(len(t) - 1, 0)), 3.0 * t.outcome)[: len(t)] for t in group]


class Equal(RewardMethod):
    def rewards(self, group):
        return [np.zeros(len(t)) for t in group]


def as_the_trainer(method: RewardMethod, explored: Sequence[Trajectory], batch: Sequence[Trajectory]) -> Floats:
    """A fingerprint put together from the trainer's own parts, with a critic that says 0."""
    method.encoder = fake_encoder
    method.fit(explored, [t for t in explored if t.success])
    method.observe(batch)
    spread: list[Floats] = [np.zeros(0)] * len(batch)
    for indices in credit.groups(batch):
        group = [batch[i] for i in indices]
        packed = [pack_trajectory(t) for t in group]
        zeros = [np.zeros(len(e.where)) for e in packed]
        paid = zip(method.rewards(group), packed, zeros, strict=True)
        streams = [pricing.stream(r, e, method.level, z) for r, e, z in paid]
        values = [pricing.decision_values(z, e, method.level) for z, e in zip(zeros, packed, strict=True)]
        judged = method.advantages(group, streams, values, 1.0, 0.95)
        for i, e, (a, _) in zip(indices, packed, judged, strict=True):
            spread[i] = credit.spread(a, e.lengths.tolist()) if method.level == "turn" else a
    return np.concatenate(credit.normalise(batch, spread, critic=method.uses_critic))


@pytest.mark.parametrize("name", ["sparse", "ppo", "gigpo", "potential"])
def test_a_fingerprint_is_what_the_trainer_makes_of_the_rewards(name):
    method = registry.find("rewards", name)
    want = as_the_trainer(method(), *examples())
    np.testing.assert_allclose(fingerprint(method(), *examples()), want, atol=1e-12)
    assert want.std() == pytest.approx(1, abs=0.3)


def test_a_fingerprint_by_hand():
    """Outcomes 1 and 0: one step of two tokens, and one of one: advantages 1, 0 in turns, whitened over tokens."""
    _, batch = examples()
    step = next(s for t in batch for s in t.steps if len(s.tokens.reply) == 2)
    other = next(s for t in batch for s in t.steps if len(s.tokens.reply) == 1)
    won, lost = (replace(batch[0], steps=(s,), outcome=o) for s, o in ((step, 1.0), (other, 0.0)))
    np.testing.assert_allclose(advantages_of(Sparse(), [won, lost]), [0.5**0.5, 0.5**0.5, -(2**0.5)])


def test_the_same_advantages_and_none_are_caught():
    others, failed = fingerprints()
    assert failed == []
    assert set(others) == set(registry.names("rewards"))
    with pytest.raises(ContractError, match=r"every other method: they are those of sparse \(mean \|difference\| "):
        check_distinct(SparseAgain, others)
    with pytest.raises(ContractError, match="every other method: all of them are 0: no step is better than another"):
        check_distinct(Equal, others)
    with pytest.raises(MethodError, match="reward mine: fit, rewards or advantages raised ZeroDivisionError"):
        check_distinct(type("Fails", (Own,), {"fit": lambda *_: 1 / 0}), others, name="mine")
    name, gap = check_distinct(PPO, {"sparse": others["sparse"], "uniform": others["uniform"]})
    assert (name, gap > SAME) == ("sparse", True)
    assert nearest(others["ppo"], others) == ("ppo", 0.0)
    assert distance(fingerprint(Uniform(), *examples()), others["uniform"]) == 0


# The command


@pytest.mark.parametrize("name", registry.names("rewards"))
def test_t16_every_built_in_method_passes(name):
    report = examine(name, {})
    assert (report.problem, [v for v in report.tests if v.state != "ok"]) == (None, [])
    assert "not compared with" not in report.figures
    assert report.figures["most similar method"] in registry.names("rewards")


def test_a_good_method_is_a_line_per_test_and_exit_code_0():
    found = invoke("--reward", "sparse")
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert [line for line in lines if line.startswith("ok  ")] == lines[: len(CONTRACT_TESTS) + 2]
    assert [line.split(": ")[0] for line in lines[len(CONTRACT_TESTS) + 2 :]] == [
        "processor milliseconds per episode of 20 steps",
        "most similar method",
        "mean |difference| of the advantages",
    ]


MINE = """
import numpy as np
from spa_bench import RewardMethod

class Mine(RewardMethod):
    conserves_return = True
    def __init__(self, *, bonus: float = 0.0, divisor: float = 1.0):
        self.bonus, self.divisor = bonus, divisor
    def rewards(self, group):
        return [np.full(len(t), t.outcome / max(len(t), 1)) ** 1.0 + self.share(t) for t in group]
    def share(self, trajectory):
        return self.bonus / int(self.divisor)
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    return f"{tmp_path / 'mine.py'}:Mine"


def test_a_failed_test_is_a_line_in_the_table_and_an_error_with_exit_code_2(mine: str):
    found = invoke("--reward", mine, "--set", "reward_options.bonus=0.5")
    assert found.exit_code == 2
    error = f"error: reward {mine} fails a contract test: rewards add up to the outcome, as conserves_"
    assert found.stderr.startswith(error)
    assert found.stderr.count("\n") == 1
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("failed ")]
    assert ": rewards add up to the outcome, as conserves_return says: gap " in line
    assert "not run" not in found.stdout


def test_an_error_in_one_test_does_not_hide_those_in_others(tmp_path: Path):
    broken = "\n\n    def state_dict(self):\n        raise ValueError('no state')\n"
    (tmp_path / "mine.py").write_text(MINE + broken, encoding="utf-8")
    report = examine(f"{tmp_path / 'mine.py'}:Mine", {"bonus": 0.5})
    failed = [verdict.test.split(",")[0] for verdict in report.tests if verdict.state == "failed"]
    assert failed == ["rewards add up to the outcome", "a method restored from its state is the same method"]
    assert not [verdict for verdict in report.tests if verdict.state == "not run"]
    first, second = report.problems
    assert "rewards add up" in first and "raised ValueError: no state" in second
    assert (report.problem or "").startswith(f"{tmp_path / 'mine.py'}:Mine fails 2 contract tests: rewards add up")
    assert f"; {failed[1]}; the first: {first}" in (report.problem or "")


def test_every_failure_is_in_the_error(mine: str):
    report = examine(mine, {"bonus": 0.5}, seconds=0.0)
    states = {verdict.test: verdict.state for verdict in report.tests}
    assert [test.split(",")[0] for test, state in states.items() if state == "failed"] == [
        "rewards add up to the outcome",
        "fit and rewards of 64 episodes of 20 steps take 0 s at most",
    ]
    assert "rewards add up" in (report.problem or "")


def test_the_same_method_is_named_and_what_the_method_prints_is_kept_out(mine: str):
    text = "print('imported')" + MINE.replace("return self.bonus", "print('shared'); return self.bonus")
    Path(mine.removesuffix(":Mine")).write_text(text, encoding="utf-8")
    found = invoke("--reward", mine, "--json")
    report = json.loads(found.stdout)
    assert "imported\nshared\n" in found.stderr
    assert found.exit_code == 2
    (failed,) = [verdict for verdict in report["tests"] if verdict["state"] == "failed"]
    assert failed["test"] == "its advantages differ from those of every other method"
    assert failed["detail"].startswith("they are those of uniform (")
    assert report["problem"].endswith(failed["detail"])


def test_an_error_in_the_method_names_its_line_and_the_test(mine: str):
    found = invoke("--reward", mine, "--set", "reward_options.divisor=0")
    assert found.exit_code == 2
    file = mine.removesuffix(":Mine")
    assert found.stderr == (
        f"error: reward {mine}: rewards raised ZeroDivisionError: float division by zero at {file}:12, "
        "in the contract test: one finite number per step\n"
    ).replace("float division", found.stderr.split("ZeroDivisionError: ")[1].split(" by zero")[0])
    states = [line.split("  ")[0] for line in found.stdout.splitlines()]
    assert states == ["failed", *["not run"] * (len(CONTRACT_TESTS) + 1)]


def test_where_numbers_are_missing_the_other_tests_are_not_run(tmp_path: Path):
    text = MINE.replace("** 1.0", "/ 0 * 0").replace(
        "import numpy as np", "import numpy as np\nnp.seterr(all='ignore')"
    )
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    with np.errstate():
        report = examine(f"{tmp_path / 'mine.py'}:Mine", {})
    assert [verdict.state for verdict in report.tests] == ["failed", *["not run"] * (len(CONTRACT_TESTS) + 1)]
    assert report.tests[0].detail.startswith("every number is finite: [")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "check needs one of --reward, --env and --agent: a name, or your own file as path.py:Class"),
        (["--reward", "sprse"], "did you mean sparse?"),
        (["--reward", "nowhere.py:Mine"], "there is no such file"),
        (["--reward", "sparse", "--set", "reward_options.x=3"], "no option 'x'"),
        (["--reward", "sparse", "--set", "ppo.clip=3"], "--set ppo: check takes only the method's options"),
        (["--reward", "sparse", "--set", "reward_options=3"], "check takes only the method's options"),
        (["--reward", "gigpo", "--set", "reward_options.gamma=7"], "reward gigpo: gamma=7: use a number above 0"),
    ],
)
def test_what_cannot_be_checked_is_one_line(words: Sequence[str], message: str):
    found = invoke(*words)
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.output
    assert message in found.stderr


def test_a_file_that_fails_when_it_is_imported_is_named_with_its_line(tmp_path: Path):
    (tmp_path / "mine.py").write_text("x = 1\ny = x / 0\n", encoding="utf-8")
    with pytest.raises(MethodError, match=r"mine\.py:Mine: importing it raised ZeroDivisionError: .*mine\.py:2$"):
        examine(f"{tmp_path / 'mine.py'}:Mine", {})


# A package of someone else's


def test_a_method_of_an_installed_package_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Real metadata, as `pip install` leaves them: it pays late steps more."""
    text = MINE.replace("** 1.0", "* np.arange(1, len(t) + 1) * 2 / (len(t) + 1)")
    (tmp_path / "their_package.py").write_text(text, encoding="utf-8")
    metadata = tmp_path / "their_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[spa_bench.rewards]\ntheirs-by-name = their_package:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    invalidate_caches()
    assert "theirs-by-name" in registry.names("rewards")
    found = invoke("--reward", "theirs-by-name")
    assert found.exit_code == 0, found.output
    assert "ok         its advantages differ from those of every other method" in found.stdout


def test_a_package_that_is_broken_does_not_spoil_the_check_of_another(monkeypatch: pytest.MonkeyPatch):
    known = registry.names("rewards")
    monkeypatch.setattr(registry, "names", lambda room: [*known, "theirs"])
    report = examine("sparse", {})
    assert report.problem is None
    assert str(report.figures["not compared with"]).startswith("theirs: no reward 'theirs'")


def test_the_contract_loads_no_deep_learning_for_a_method_that_needs_none():
    code = (
        "import sys\nfrom spa_bench.contract import check_reward, check_time\nfrom spa_bench import registry\n"
        "method = registry.find('rewards', 'sparse')\ncheck_reward(method)\ncheck_time(method)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_trial_calls_the_method_by_the_name_it_is_given():
    with pytest.raises(UserError, match=r"^reward x: rewards raised"):
        Trial(Raises, [[replace(standard_groups()[0][0], steps=())]], name="x").first  # noqa: B018
