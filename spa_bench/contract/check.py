"""`spa-bench check`: a method held against every law, one line each, with what it costs and whom it is like.

A law that is broken does not end the trial, unless the others would say nothing then; an error in the method does.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TextIO

from spa_bench import registry
from spa_bench.config import override
from spa_bench.contract.fakes import standard_groups
from spa_bench.contract.fingerprint import examples, fingerprint
from spa_bench.contract.laws import LAWS, SECONDS, BrokenLaw, Law, Trial, check_distinct, check_time
from spa_bench.core import Floats, UserError
from spa_bench.method import RewardMethod
from spa_bench.method_errors import method_call
from spa_bench.terminal import printable_line


@dataclass(frozen=True)
class Verdict:
    """One law, and whether the method keeps it."""

    law: str
    state: Literal["ok", "broken", "not tried"]
    detail: str = ""


@dataclass
class Report:
    """What came of a trial."""

    reward: str
    laws: list[Verdict] = field(default_factory=list)
    figures: dict[str, float | str] = field(default_factory=dict)
    problem: str | None = None
    """What to mend, in one line; None where every law is kept."""


def options(assignments: Sequence[str]) -> dict[str, Any]:
    """The method's options from `reward_options.x=y`; UserError for any other setting."""
    values = override({}, assignments)
    given = values.pop("reward_options", {})
    if values or not isinstance(given, dict):
        wrong = ", ".join(values) or "reward_options"
        raise UserError(f"--set {wrong}: check knows the method's options alone, as reward_options.NAME=VALUE")
    return given


def examine(reward: str, given: Mapping[str, Any], seconds: float = SECONDS) -> Report:
    """Try a method, by name or `path.py:Class`, with these options; UserError where it cannot be found or made."""
    registry.find("rewards", reward)

    def factory() -> RewardMethod:
        return registry.build("rewards", reward, **given)

    report = Report(reward)
    trial = Trial(factory, standard_groups(), name=reward)
    trial.fresh()  # wrong options are no matter of the laws
    laws = [*LAWS, *_longer(report, factory, seconds)]
    while laws:
        law = laws.pop(0)
        try:
            trial.hold(law)
            report.laws.append(Verdict(law.name, "ok"))
        except BrokenLaw as broken:
            detail = str(broken) if broken.law != law.name else broken.detail
            _broken(report, law, detail, f"reward {reward} breaks a law: {broken}")
            if law.basis:
                break
        except UserError as error:
            _broken(report, law, str(error), f"{error}, while the law was tried: {law.name}")
            break
    report.laws += [Verdict(law.name, "not tried") for law in laws]
    return report


def _broken(report: Report, law: Law, detail: str, problem: str) -> None:
    report.laws.append(Verdict(law.name, "broken", detail))
    report.problem = report.problem or problem


def _longer(report: Report, factory: Callable[[], RewardMethod], seconds: float) -> Iterator[Law]:
    """The laws that need more than the trial's own groups; they leave their figures in the report."""

    def in_time(_: Trial) -> None:
        taken = check_time(factory, seconds, name=report.reward)
        report.figures["processor milliseconds per episode of 20 steps"] = 1e3 * taken / 64

    def alone(_: Trial) -> None:
        others, failed = fingerprints(report.reward)
        if failed:
            report.figures["not compared with"] = "; ".join(failed)
        name, gap = check_distinct(factory, others, name=report.reward)
        report.figures["most similar method"] = name
        report.figures["mean |difference| of the advantages"] = gap

    yield Law(f"fit and prices of 64 episodes of 20 steps take {seconds:g} s at most", in_time)
    yield Law("it teaches something that no other method teaches", alone)


def fingerprints(but: str = "") -> tuple[dict[str, Floats], list[str]]:
    """Fingerprints of all methods that have a name, with their defaults, and what those said that failed."""
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
    """Print a line per law, and the figures."""
    if as_json:
        print(json.dumps(asdict(report), indent=1), file=stream)
        return
    for verdict in report.laws:
        line = f"{verdict.state:11}{verdict.law}" + (f": {verdict.detail}" if verdict.detail else "")
        print(printable_line(line), file=stream)
    for name, value in report.figures.items():
        print(printable_line(f"{name}: {value if isinstance(value, str) else f'{value:.3g}'}"), file=stream)
