"""`spa-bench check`: all contract tests of a method, of a world or of an agent, one line each.

After a test that fails, or in which an error is raised, the others are run, unless they would have no meaning then;
what hangs ends its check. Of a method the cost and the most similar method are told, too.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, TextIO

from spa_bench import registry
from spa_bench.assignments import override
from spa_bench.config import build
from spa_bench.contract.agent_laws import AGENT_TESTS
from spa_bench.contract.agent_laws import LIMITS as AGENT_LIMITS
from spa_bench.contract.fakes import standard_groups
from spa_bench.contract.fingerprint import examples, fingerprint
from spa_bench.contract.laws import (
    CONTRACT_TESTS,
    DISTINCT,
    SECONDS,
    ContractError,
    ContractTest,
    Trial,
    check_distinct,
    check_time,
    impatient,
)
from spa_bench.contract.tried_agents import AgentTrial
from spa_bench.contract.tried_worlds import WorldTrial
from spa_bench.contract.world_laws import LIMITS as WORLD_LIMITS
from spa_bench.contract.world_laws import WORLD_TESTS
from spa_bench.core import Floats, UserError
from spa_bench.method import RewardMethod
from spa_bench.method_errors import method_call
from spa_bench.rollout.worlds import make
from spa_bench.terminal import printable_line
from spa_bench.watch import TimeUp, watching


@dataclass(frozen=True)
class Verdict:
    """One contract test, and whether it is passed."""

    test: str
    state: Literal["ok", "failed", "not run"]
    detail: str = ""


@dataclass
class Report:
    """Verdicts and figures of one method, world or agent."""

    name: str
    tests: list[Verdict] = field(default_factory=list)
    figures: dict[str, float | str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Each failure, in one line."""

    @property
    def problem(self) -> str | None:
        """All failures in one line: which tests, and the first in full; None where every test is passed."""
        if len(self.problems) < 2:
            return next(iter(self.problems), None)
        failed = "; ".join(verdict.test for verdict in self.tests if verdict.state == "failed")
        return f"{self.name} fails {len(self.problems)} contract tests: {failed}; the first: {self.problems[0]}"


def options(assignments: Sequence[str]) -> dict[str, Any]:
    """The method's options from `reward_options.x=y`; UserError for any other setting."""
    values = override({}, assignments)
    given = values.pop("reward_options", {})
    if values or not isinstance(given, dict):
        wrong = ", ".join(values) or "reward_options"
        raise UserError(f"--set {wrong}: check takes only the method's options, as reward_options.NAME=VALUE")
    return given


def examine(reward: str, given: Mapping[str, Any], seconds: float = SECONDS) -> Report:
    """Check a method, by name or `path.py:Class`, with these options; UserError where it cannot be found or made."""
    with impatient(seconds):
        return _examined(reward, given, seconds)


def _examined(reward: str, given: Mapping[str, Any], seconds: float) -> Report:
    registry.find("rewards", reward)

    def factory() -> RewardMethod:
        return registry.build("rewards", reward, **given)

    report = Report(reward)
    trial = Trial(factory, standard_groups(), name=reward)
    trial.fresh()  # wrong options fail no contract test: they end the check here
    tests = [*CONTRACT_TESTS, *_longer(report, factory, seconds)]
    while tests:
        test = tests.pop(0)
        try:
            trial.run(test)
            report.tests.append(Verdict(test.name, "ok"))
        except ContractError as failure:
            detail = str(failure) if failure.test != test.name else failure.detail
            _failed(report, test.name, detail, f"reward {reward} fails a contract test: {failure}")
            if test.basis:
                break
        except UserError as error:
            _failed(report, test.name, str(error), f"{error}, in the contract test: {test.name}")
            if test.basis or isinstance(error.__cause__, TimeUp):  # the next test would wait as long
                break
    report.tests += [Verdict(test.name, "not run") for test in tests]
    return report


def world_options(assignments: Sequence[str]) -> dict[str, Any]:
    """Arguments of a world's constructor from `world.x=y` and `world.options.x=y`; UserError for any other setting."""
    values = override({}, assignments)
    world = {"world": values.pop("world")} if "world" in values else {}
    given = build({"env": "", "reward": "", **world}).world.arguments()
    if values:
        raise UserError(f"--set {min(values)}: check takes only the world's options, as world.options.NAME=VALUE")
    return given


def examine_world(env: str, given: Mapping[str, Any]) -> Report:
    """Check a world, by name or `path.py:Class`, with these options; UserError where it cannot be found or made."""
    trial = WorldTrial(lambda: make(env, **given))
    with watching(WORLD_LIMITS):
        trial.fresh()
        return _tried(f"environment {env}", Report(env), [(one.name, partial(one.run, trial)) for one in WORLD_TESTS])


def examine_agent(agent: str, given: Mapping[str, Any]) -> Report:
    """Check an agent, by name or `path.py:Class`, with these options; UserError where it cannot be found or made."""
    trial = AgentTrial(lambda prompt: registry.build("agents", agent, prompt=prompt, **given), agent)
    with watching(AGENT_LIMITS):
        trial.fresh()
        return _tried(f"agent {agent}", Report(agent), [(one.name, partial(one.run, trial)) for one in AGENT_TESTS])


def _tried(what: str, report: Report, tests: list[tuple[str, Callable[[], None]]]) -> Report:
    """Run these tests, by their names; a call that hangs ends it, for the next test would wait as long."""
    while tests:
        name, run = tests.pop(0)
        try:
            run()
            report.tests.append(Verdict(name, "ok"))
        except (ContractError, UserError) as failure:
            _failed(report, name, str(failure), f"{what} fails a contract test: {name}: {failure}")
            if isinstance(failure.__cause__, TimeUp):
                break
    report.tests += [Verdict(name, "not run") for name, _ in tests]
    return report


def _failed(report: Report, test: str, detail: str, problem: str) -> None:
    report.tests.append(Verdict(test, "failed", detail))
    report.problems.append(problem)


def _longer(report: Report, factory: Callable[[], RewardMethod], seconds: float) -> Iterator[ContractTest]:
    """The tests that need more than the trial's own groups; they leave their figures in the report."""

    def in_time(_: Trial) -> None:
        taken = check_time(factory, seconds, name=report.name)
        report.figures["processor milliseconds per episode of 20 steps"] = 1e3 * taken / 64

    def distinct(_: Trial) -> None:
        others, failed = fingerprints(report.name)
        if failed:
            report.figures["not compared with"] = "; ".join(failed)
        name, gap = check_distinct(factory, others, name=report.name)
        report.figures["most similar method"] = name
        report.figures["mean |difference| of the advantages"] = gap

    yield ContractTest(f"fit and rewards of 64 episodes of 20 steps take {seconds:g} s at most", in_time)
    yield ContractTest(DISTINCT, distinct)


def fingerprints(but: str = "") -> tuple[dict[str, Floats], list[str]]:
    """Fingerprints of all registered methods except `but`, with their defaults; and the errors of those that failed."""
    found: dict[str, Floats] = {}
    failed = []
    for name in registry.names("rewards"):
        if name != but:
            try:
                found[name] = _fingerprint(registry.find("rewards", name), name)
            except UserError as error:
                failed.append(f"{name}: {error}")
    return found, failed


@functools.cache
def _fingerprint(method: type[RewardMethod], name: str) -> Floats:
    with method_call(name, "fit, rewards or advantages", code=method):
        return fingerprint(method(), *examples())


def show(report: Report, stream: TextIO, as_json: bool) -> None:
    """Print a line per test, and the figures."""
    if as_json:
        print(json.dumps(asdict(report) | {"problem": report.problem}, indent=1), file=stream)
        return
    for verdict in report.tests:
        line = f"{verdict.state:11}{verdict.test}" + (f": {verdict.detail}" if verdict.detail else "")
        print(printable_line(line), file=stream)
    for name, value in report.figures.items():
        print(printable_line(f"{name}: {value if isinstance(value, str) else f'{value:.3g}'}"), file=stream)
