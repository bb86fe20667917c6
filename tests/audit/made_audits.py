"""A small audit of made-up episodes and methods, for tests of what is printed, saved and drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from spa_bench.audit.assess import audit_method, power_check
from spa_bench.audit.effects import Effect
from spa_bench.audit.summary import Audit, MethodAudit
from spa_bench.core import Step, Task, Trajectory

LIMITS = (5, 10)
MANY = [f"stepagent-invers{letter}" for letter in "abcdefghijklmnopqr"]


def recording() -> list[Trajectory]:
    rng = np.random.default_rng(0)
    made = []
    for n in range(24):
        progress = np.clip(np.cumsum(rng.choice([-1, 0, 1, 1], size=rng.integers(4, 12))), 0, 6) / 6
        steps = tuple(Step("o", "r", "go", True, None, 0.0, float(p)) for p in progress)
        task = Task("w", f"t{n % 8}", "train", "k", 3 + n % 8)
        won = (n + n // 8) % 2 == 1  # every task is won and lost
        made.append(Trajectory(task, steps, float(won), won, won, not won))
    return made


RECORDED = recording()


def method(name: str, noise: float | None, **more: Any) -> MethodAudit:
    """A method that pays progress and noise; None pays all the same."""
    rng = np.random.default_rng(len(name))
    paid = [
        np.ones(len(one))
        if noise is None
        else np.diff([0.0, *(step.progress for step in one.steps)]) + noise * rng.normal(size=len(one))
        for one in RECORDED
    ]
    return audit_method(name, RECORDED, [paid], [paid], limits=LIMITS, seed=0, **more)


def an_audit(*names: str) -> Audit:
    rng = np.random.default_rng(1)
    shuffled = [rng.normal(size=len(one)) for one in RECORDED]
    some = {"placebos": {"shuffled": [shuffled]}, "probes": {"loop": 0.25}, "costs": {"extra_tokens": 123456.0}}
    points = [Effect(n, 1, one.steps[1].progress - one.steps[0].progress, 1) for n, one in enumerate(RECORDED)]
    found = [
        method("spa", 0.2, effects=points, **some),
        method("clock", 0.5, placebo=True, **some),
        method("last", 2.0, placebo=True, **some),
        method("even", None, conserves=True, **some),
        *(method(name, 0.3, **some) for name in names),
    ]
    return Audit(
        about={"world": "alfworld", "policy": "warm start", "seed": 0},
        methods=tuple(found),
        limits=LIMITS,
        floor=("clock", "last", "not audited"),
        probes={"loop": "what one more walk around a loop pays"},
        costs={"extra_tokens": "forward tokens beyond training"},
        excluded=2,
        notes=("short of tasks",),
        power=power_check(RECORDED, points, 0, {"shuffled": [shuffled]}),
    )


SMALL = an_audit()


def paid(found: list[Trajectory], scale: float = 1.0) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(scale * (turn + 1) / 3 for turn in range(len(one))) for one in found)


def priced(found: list[Trajectory]) -> Audit:
    """The small audit with prices of its methods."""
    prices = {method.name: paid(found, scale) for scale, method in enumerate(SMALL.methods)}
    return replace(SMALL, episodes=tuple(found), prices=prices)
