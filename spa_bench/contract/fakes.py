"""Fake episodes, encoder and simulator, to test reward methods without a model and an environment.

All of it is drawn from seeds, the same on every machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa_bench.core import Fault, Step, Task, Tokens, Trajectory, derive_seed

HOSTILE = ("", "\x00", "\ud800", "\r\n\u2028", "\u202eabc", "a" * 300, "go [bold]north[/]", "\U0001f600 {0} %s")
"""What an environment or a model may write: nothing, NUL, lone surrogate, line ends, right-to-left marks, markup."""


def fake_encoder(trajectories: Sequence[Trajectory]) -> list[NDArray[np.float32]]:
    """Eight features per step, (T, 8) each, drawn from the step's text: an encoder for tests that loads no model."""
    return [
        np.array(
            [
                np.random.default_rng(derive_seed(ascii((step.observation, step.reply, turn)))).normal(size=8)
                for turn, step in enumerate(trajectory.steps)
            ],
            dtype=np.float32,
        ).reshape(-1, 8)
        for trajectory in trajectories
    ]


class FakeBackbone:
    """`method.Backbone` of one matrix on `fake_encoder`'s features, the unit matrix at first: it loads no model."""

    learning_rate = 1e-2

    def weights(self, *, head: bool = False) -> dict[str, Any]:
        """The unit matrix (8, 8)."""
        return {"matrix": _torch().eye(8)}

    def place(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The same: it computes on the CPU."""
        return dict(weights)

    def encode(self, weights: Mapping[str, Any], trajectories: Sequence[Trajectory]) -> list[Any]:
        """(T, 8) for each, with a gradient to the matrix."""
        return [_torch().from_numpy(h) @ weights["matrix"] for h in fake_encoder(trajectories)]

    def logprobs(self, weights: Mapping[str, Any], trajectories: Sequence[Trajectory]) -> list[Any]:
        """(T,) for each, with a gradient: half a nat per token at first, times what has become of the first feature."""
        found = []
        for h, trajectory in zip(self.encode(weights, trajectories), trajectories, strict=True):
            first = _torch().from_numpy(fake_encoder([trajectory])[0][:, 0])
            size = _torch().tensor([len(s.tokens.reply) if s.tokens else 1 for s in trajectory.steps])
            found.append(-0.5 * size * (h[:, 0] - first).exp())
        return found


def _torch() -> Any:
    """Loaded where a method that tunes a network asks for it, which has loaded it itself."""
    return importlib.import_module("torch")


def fake_demonstrator(tasks: Sequence[Task]) -> list[list[Trajectory]]:
    """A way through two to seven rooms to success, drawn from the task's key, for each of two characters."""

    def shown(task: Task, character: int) -> Trajectory:
        rng = np.random.default_rng(derive_seed(ascii(task.key), character))
        return replace(ended(_scripted(fake_episode(rng, task.key)), 1.0), task=task, character=character)

    return [[shown(task, character) for character in range(2)] for task in tasks]


def fake_hindsight(trajectories: Sequence[Trajectory], hints: Sequence[str]) -> list[NDArray[np.float64]]:
    """Log-probs (T,) between -2 and 0, drawn from each step's text and the hint: a policy that is no model."""
    return [
        np.array(
            [
                -np.random.default_rng(derive_seed(ascii((step.observation, step.reply, hint)))).uniform(0, 2)
                for step in trajectory.steps
            ],
            dtype=np.float64,
        )
        for trajectory, hint in zip(trajectories, hints, strict=True)
    ]


def fake_simulator(
    prefixes: Sequence[Trajectory], samples: int, seed: int, steps: int | None = None
) -> list[list[Trajectory]]:
    """Continuations of one to three steps, drawn from the prefix: a simulator for tests that loads no model."""
    return [[_played_on(prefix, derive_seed(seed, n), steps) for n in range(samples)] for prefix in prefixes]


def _played_on(prefix: Trajectory, seed: int, limit: int | None) -> Trajectory:
    if prefix.terminated or prefix.truncated:
        raise ValueError("an episode that is over cannot be continued")
    rng = np.random.default_rng(derive_seed(seed, ascii((prefix.task.key, prefix.steps, prefix.final_observation))))
    length, outcome = int(rng.integers(1, 4)), float(rng.choice([0.0, 0.5, 1.0]))
    whole = limit is None or length <= limit
    seen = [prefix.final_observation, *(f"room {rng.integers(4)}" for _ in range(length))]
    last = seen[-1] if whole else seen[limit or 0]
    tokens = Tokens((1,), (2, 3), (-0.5, -0.5))
    more = [
        _noted(Step(seen[n], f"Action: go {n}", f"go {n}", True, None, outcome * (n == length - 1), 0.5, tokens))
        for n in range(length)
    ]
    return replace(
        prefix,
        steps=(*prefix.steps, *more[:limit]),
        outcome=prefix.outcome + (outcome if whole else 0.0),
        success=whole and outcome == 1.0,
        terminated=whole and outcome == 1.0,
        truncated=whole and outcome < 1.0,
        final_observation=last,
        branch=len(prefix),
        final_state=f"{last}, 0",
        final_menu=f"of {last}",
    )


def _noted(step: Step, moved: int = 0) -> Step:
    """What a rollout would record of the world: states that texts do not tell apart, and what works in each room."""
    return replace(step, state=f"{step.observation}, {moved % 2}", menu=f"of {step.observation}")


def fake_episode(rng: np.random.Generator, key: str, words: str = "", length: int | None = None) -> Trajectory:
    """Four rooms that come back, some steps refused, progress up and down, replies of one to three tokens."""
    here, progress, steps, moved = 0, 0.5, [], 0
    for _ in range(int(rng.integers(2, 8)) if length is None else length):
        there, good, size = int(rng.integers(4)), bool(rng.random() < 0.7), int(rng.integers(1, 4))
        progress = float(np.clip(progress + rng.normal(0.05, 0.1), 0, 0.95))
        tokens = Tokens((1,), tuple(rng.integers(2, 9, size=size).tolist()), (-0.5,) * size)
        fault: Fault | None = None if good else "inadmissible"
        step = Step(f"room {here}{words}", f"Action: go {there}", f"go {there}", good, fault, 0.0, progress, tokens)
        steps.append(_noted(step, moved))
        here, moved = (there, moved + 1) if good else (here, moved)
    outcome = float(rng.choice([0.0, 0.0, 0.4, 1.0, 1.0]))
    task = Task("stand-in", key, "train", "wander", 7)
    won = outcome == 1.0
    end = f"room {here}{words}"
    return Trajectory(
        task, tuple(steps), outcome, won, won, not won, 0.5, end, goal="get out",
        final_state=f"{end}, {moved % 2}", final_menu=f"of {end}",
    )  # fmt: skip


def standard_groups(seed: int = 0) -> list[list[Trajectory]]:
    """Groups that a method must handle: usual ones, and the edge cases that an experiment can produce.

    Edge cases: a single episode, twins, episodes without steps, all won, all lost, an error of the environment, a
    branch of another episode, two characters of one task, text of any kind, a scripted agent's episodes without tokens.
    """
    rng = np.random.default_rng(derive_seed(seed, "standard groups"))
    usual = [[fake_episode(rng, f"usual/{n}") for _ in range(6)] for n in range(3)]
    nothing = replace(
        fake_episode(rng, "odd/empty", length=0), outcome=0.0, success=False, terminated=False, truncated=True
    )
    twin, alone = fake_episode(rng, "odd/twins"), fake_episode(rng, "odd/alone")
    broken = replace(ended(fake_episode(rng, "odd/error"), 0.0), error="the world timed out")
    seen = fake_episode(rng, "odd/branch", length=4)
    sides = [replace(fake_episode(rng, "odd/sides"), character=n % 2) for n in range(4)]
    return [
        *usual,
        [alone],
        [twin, fake_episode(rng, "odd/twins"), twin],
        [nothing, fake_episode(rng, "odd/empty")],
        [replace(nothing, task=replace(nothing.task, key="odd/nothing"))],
        [ended(fake_episode(rng, "odd/won", length=1 + n), 1.0) for n in range(3)],
        [ended(fake_episode(rng, "odd/lost", length=1 + n), 0.0) for n in range(3)],
        [broken, fake_episode(rng, "odd/error")],
        [ended(seen, 0.0), *(s for (s,) in fake_simulator([seen.until(2), seen.until(3)], 1, seed))],
        sides,
        [_hostile(fake_episode(rng, "odd/text", length=len(HOSTILE)), n) for n in range(3)],
        [_scripted(fake_episode(rng, "odd/script")) for _ in range(3)],
    ]


def ended(trajectory: Trajectory, outcome: float) -> Trajectory:
    """The same steps with another end."""
    won = outcome == 1.0
    return replace(trajectory, outcome=outcome, success=won, terminated=won, truncated=not won)


def _hostile(trajectory: Trajectory, shift: int) -> Trajectory:
    texts = [HOSTILE[(n + shift) % len(HOSTILE)] for n in range(len(trajectory) + 1)]
    steps = [
        replace(s, observation=text, reply=text, action="", grounded=False, fault="format")
        for s, text in zip(trajectory.steps, texts, strict=False)
    ]
    return replace(trajectory, steps=tuple(steps), final_observation=texts[-1], goal=texts[0])


def _scripted(trajectory: Trajectory) -> Trajectory:
    return replace(trajectory, steps=tuple(replace(s, tokens=None) for s in trajectory.steps))


def fake_batch(episodes: int = 64, length: int = 20, seed: int = 0) -> list[list[Trajectory]]:
    """The size of a small training batch: episodes of equal length, eight of each task."""
    rng = np.random.default_rng(derive_seed(seed, "crowd"))
    made = [fake_episode(rng, f"crowd/{n // 8}", length=length) for n in range(episodes)]
    return [made[n : n + 8] for n in range(0, episodes, 8)]
