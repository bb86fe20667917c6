"""What all methods of an audit are compared on: episodes, executed effects, probes. Everything is played once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from spa_bench.audit import effects, probes
from spa_bench.config import RunConfig
from spa_bench.core import Agent, TextEnv, Trajectory, UserError, derive_seed
from spa_bench.rollout.game import Request
from spa_bench.rollout.player import Player
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.rollout.states import filled_in
from spa_bench.runs.episodes import from_row
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, start, warm_episodes
from spa_bench.training.backbone import Tunable
from spa_bench.training.demonstrator import Demonstrator
from spa_bench.training.hindsight import Hindsight
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.learner import make_hindsight, make_policy, make_reference

LOOPS = (0, 1, 2, 3)
"""Numbers of walks around a loop."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    tasks: int = 50
    """Training tasks; explored ones only where there are no others."""
    samples: int = 4
    """Episodes of each."""
    points: int = 400
    """Steps whose effect is executed."""
    alternatives: int = 2
    """Continuations from before such a step, and as many from after it."""
    probes: int = 12
    """Tasks for which probe episodes are played."""
    fits: int = 3
    """How often a method that learns is fitted, each time on other explored episodes."""


@dataclass
class Encoded:
    """One encoder pass for all methods; `tokens` counts what a method would have spent alone."""

    encode: Callable[[Sequence[Trajectory]], list[Any]]
    tokens: int = 0
    _known: dict[int, tuple[Trajectory, Any]] = field(default_factory=dict)

    def __call__(self, trajectories: Sequence[Trajectory]) -> list[Any]:
        """`method.Encoder`."""
        missing = list({id(t): t for t in trajectories if id(t) not in self._known}.values())
        # The trajectory is kept beside its features: an id is only unique while its object lives.
        self._known |= {id(t): (t, h) for t, h in zip(missing, self.encode(missing), strict=True)}
        self.tokens += sum(step.tokens.size for t in trajectories for step in t.steps if step.tokens)
        return [self._known[id(t)][1] for t in trajectories]


@dataclass(frozen=True)
class Probes:
    """Probe episodes; see `audit.probes`."""

    loops: list[list[Trajectory]]
    pairs: list[list[Trajectory]]
    cuts: list[list[Trajectory]]
    """An episode that ended by itself, a success of the expert where there is one, and the same one cut."""


@dataclass(frozen=True)
class Stage:
    """All that the methods share."""

    common: start.Start
    agent: LanguageModel
    explored: list[list[Trajectory]]
    """Of each fit: first those that a run with this seed has, then as many of the same tasks with other seeds."""
    trajectories: list[Trajectory]
    points: list[effects.Effect]
    probes: Probes
    encoder: Encoded
    backbone: Tunable
    simulator: PlayedOn
    hindsight: Hindsight
    demonstrator: Demonstrator
    roomy: PlayedOn
    """The same in environments whose step limit allows for loops."""
    stateless: str = ""
    """Why the episodes have no record of the world's states; empty where they have one."""


def prepare(
    config: RunConfig, recorded: Path | None, size: Size, progress: Progress, records: frozenset[str] = frozenset()
) -> Stage:
    """Play everything that the methods are compared on; `records` is what they need to know of the world's states."""
    common = start.begin(config)
    if common.characters > 1:
        raise UserError("an audit continues recorded episodes, for one character only: set world.options.characters=1")
    policy_folder = start.warm_start(common, progress)
    warm, frozen = make_policy(common, policy_folder)
    explored = [warm_episodes.read_episodes(warm_episodes.explore(common, policy_folder, progress))]
    explored += [_explored(common, warm, again, progress) for again in range(1, size.fits)]
    agent, policy = make_policy(common, experiment.last_policy(recorded) if recorded else policy_folder)
    simulator = PlayedOn(common.player, cast(Agent, agent))
    trajectories = _recorded(recorded, size) if recorded else fresh(common, agent, size, progress)
    trajectories, stateless = _with_states(common, trajectories, records)
    if records:
        explored = [filled_in(common.make_env(), one) for one in explored]
    points = effects.choose_points(trajectories, size.points, derive_seed(config.seed, "points"))
    with progress.stage("play alternatives", total=len(points)) as bar:
        seed = derive_seed(config.seed, "alternatives")
        executed = effects.effects(simulator, trajectories, points, size.alternatives, seed) if points else []
        bar.advance(len(points))
    reference = make_reference(common, frozen)
    return Stage(
        common=common,
        agent=agent,
        explored=[[episode for episode in one if episode.steps] for one in explored],
        trajectories=trajectories,
        points=executed,
        probes=_probes(common, agent, trajectories, size, records),
        encoder=Encoded(reference.encode),
        backbone=Tunable(reference, config.warm_start.learning_rate),
        simulator=simulator,
        hindsight=make_hindsight(common, agent, policy),
        demonstrator=Demonstrator(common),
        roomy=PlayedOn(Player(lambda: _roomy(common), common.player.batch), cast(Agent, agent)),
        stateless=stateless,
    )


def _with_states(
    common: start.Start, trajectories: list[Trajectory], records: frozenset[str]
) -> tuple[list[Trajectory], str]:
    """The episodes with the record of the world's states, by a replay; or without, and why, if no method needs it."""
    env = common.make_env()
    try:
        return filled_in(env, trajectories), ""
    except UserError as error:
        if records:
            raise
        return trajectories, str(error)


def _roomy(common: start.Start) -> TextEnv:
    """An environment whose step limit is raised by the steps of the loops."""
    env = common.make_env()
    env.max_steps += 2 * max(LOOPS)
    return env


def _explored(common: start.Start, warm: LanguageModel, again: int, progress: Progress) -> list[Trajectory]:
    """Episodes of the warm start as a run explores them, with seeds of their own for each number `again`."""
    config = common.config
    tasks = common.train_tasks(config.explore.tasks)
    requests = start.make_requests(common, "explore", again, tasks, config.explore.samples)
    return _played(common, warm, requests, "explore for another fit", progress)


def fresh(common: start.Start, agent: LanguageModel, size: Size, progress: Progress) -> list[Trajectory]:
    """Episodes of the policy on training tasks that were not explored, as far as there are any."""
    first = common.config.explore.tasks
    tasks = [common.train[(first + n) % len(common.train)] for n in range(size.tasks)]
    requests = start.make_requests(common, "audit", 0, tasks, size.samples)
    return _played(common, agent, requests, "play", progress)


def _played(
    common: start.Start, agent: LanguageModel, requests: Sequence[Request], name: str, progress: Progress
) -> list[Trajectory]:
    with progress.stage(name, total=len(requests)) as bar:
        played = []
        for _, trajectory, _ in common.player.play(requests, cast(Agent, agent)):
            start.refuse_failed(name, trajectory)
            played.append(trajectory)
            bar.advance()
    return played


def _recorded(folder: Path, size: Size) -> list[Trajectory]:
    """Whole groups of the last recorded iteration; branches, whose first steps belong to others, are left out."""
    rows = [row for row in Journal(folder / "episodes.jsonl").scan() if row and row.get("stage") == "train"]
    last = max((row["iteration"] for row in rows), default=0)
    whole = [from_row(row) for row in rows if row["iteration"] == last and row.get("parent") is None]
    whole = [trajectory for trajectory in whole if trajectory.terminated or trajectory.truncated]
    if not whole:
        raise UserError(f"{folder} holds no episodes of training: finish the run first")
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in whole:
        groups.setdefault(trajectory.task.key, []).append(trajectory)
    return [trajectory for same in [*groups.values()][: size.tasks] for trajectory in same]


def _probes(
    common: start.Start,
    agent: LanguageModel,
    trajectories: Sequence[Trajectory],
    size: Size,
    records: frozenset[str],
) -> Probes:
    """Probe episodes from the first usable episode of each of the first `size.probes` tasks."""
    env = common.make_env()
    first = {t.task.key: t for t in reversed(trajectories) if t.steps and t.error is None}
    chosen = [first[key] for key in dict.fromkeys(t.task.key for t in trajectories) if key in first][: size.probes]
    render = common.prompt.render

    def told(episodes: Sequence[Trajectory]) -> list[Trajectory]:
        if records:
            episodes = filled_in(env, episodes)
        return [start.in_tokens(agent, env.instructions, episode) for episode in episodes]

    loops, pairs, cuts = [], [], []
    for number, episode in enumerate(chosen):
        rng = np.random.default_rng(derive_seed(common.config.seed, "probe", number))
        if looped := probes.loops(env, episode, rng, render, LOOPS):
            loops.append(told(looped))
        ended = [episode] if episode.terminated else []
        if pair := probes.ordered_pair(env, episode.task, env.max_steps, rng, render):
            pairs.append(told(pair))
            ended = pairs[-1][:1]
        cuts += [[one, probes.cut(one, turn)] for one in ended for turn in quarters(len(one))]
    return Probes(loops, pairs, cuts)


def quarters(steps: int) -> list[int]:
    """Turns at a quarter, half and three quarters of an episode, without its start and its end."""
    return sorted({steps * part // 4 for part in (1, 2, 3)} - {0, steps})
