"""Hypothesis strategies and hand-made episodes shared by the tests (importable by `pythonpath = ["tests"]`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from spa_bench.core import Fault, Step, Task, Tokens, Trajectory

HOSTILE = st.text(alphabet=st.characters(), max_size=20) | st.sampled_from(
    ["", "\x00", "\ud800", "\r\n\u2028", "a" * 300]
)
"""Any text at all: NUL, lone surrogates and odd line ends included."""


def max_examples(count: int, *quiet: HealthCheck) -> settings:
    """`count` examples where a property of the profile in force has 100 by default, without these health checks."""
    usual = settings.default
    assert usual is not None
    quiet = (*usual.suppress_health_check, *quiet)
    return settings(max_examples=count * usual.max_examples // 100, suppress_health_check=quiet)


def task(key: str = "heat/egg/1", split: str = "train") -> Task:
    return Task("alfworld", key, split, "heat", 7)


def episode(
    outcome: float, grounded: Sequence[bool] = (True, True, True), key: str = "heat/egg/1", words: str = ""
) -> Trajectory:
    """An episode with one step per entry of `grounded`; `words` tells its steps from those of others."""
    steps = tuple(
        Step(f"room {t} {words}", f"Action: go {t}", f"go {t}", good, None if good else "inadmissible", 0.0, 0.1 * t)
        for t, good in enumerate(grounded)
    )
    return Trajectory(task(key), steps, outcome, outcome == 1.0, terminated=outcome == 1.0, truncated=outcome != 1.0)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    fault: Fault | None = draw(st.sampled_from([None, None, "format", "inadmissible"]))
    reply = draw(HOSTILE)
    ids = draw(st.none() | st.lists(st.integers(0, 9), min_size=1, max_size=4))
    return Step(
        observation=draw(HOSTILE),
        reply=reply,
        action="" if fault == "format" else reply.strip(),
        grounded=fault is None,
        fault=fault,
        env_reward=draw(st.sampled_from([0.0, 0.5, 1.0])),
        progress=draw(st.floats(0, 1)),
        tokens=None if ids is None else Tokens((1,), tuple(ids), (-0.5,) * len(ids)),
    )


@st.composite
def trajectories(draw: st.DrawFn, key: str = "heat/egg/1", min_steps: int = 0, max_steps: int = 7) -> Trajectory:
    success = draw(st.booleans())
    terminated = success or draw(st.booleans())
    return Trajectory(
        task=task(key),
        steps=tuple(draw(st.lists(steps(), min_size=min_steps, max_size=max_steps))),
        outcome=1.0 if success else draw(st.sampled_from([0.0, 0.0, 0.3, 0.99])),
        success=success,
        terminated=terminated,
        truncated=not terminated,
        error=draw(st.sampled_from([None, None, None, "the world timed out"])),
    )


@st.composite
def groups(draw: st.DrawFn, max_groups: int = 3) -> list[list[Trajectory]]:
    """Episodes of a few tasks; groups of one, twins, and episodes without steps included."""
    made = []
    for index in range(draw(st.integers(1, max_groups))):
        group = draw(st.lists(trajectories(f"task/{index}"), min_size=1, max_size=4))
        if draw(st.booleans()):
            group.append(group[0])
        made.append(group)
    return made


def floats(size: int) -> st.SearchStrategy[np.ndarray]:
    """Arrays of moderate numbers, so that tolerances mean the same everywhere."""
    return st.lists(st.floats(-10, 10, width=32), min_size=size, max_size=size).map(
        lambda xs: np.array(xs, dtype=np.float64)
    )
