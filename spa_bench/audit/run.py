"""`spa-bench audit`: every method assigns rewards to the same episodes, and these are measured. No policy is trained.

Read `audit` first. All episodes, those of alternatives and probes included, are played once and are the same for all
methods; a method is fitted on the explored episodes that a run would give it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from spa_bench import credit
from spa_bench.audit import effects, laws, measures, probes, summary
from spa_bench.config import RunConfig
from spa_bench.core import Agent, Floats, TextEnv, Trajectory, UserError, derive_seed
from spa_bench.rollout.player import Player
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.runs.episodes import from_row
from spa_bench.runs.journal import Journal
from spa_bench.runs.names import reward_label, reward_typed
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, pricing, start
from spa_bench.training.backbone import Tunable
from spa_bench.training.checked_method import CheckedMethod, extra_information
from spa_bench.training.policy import Policy

LOOPS = (0, 1, 2, 3)
"""Numbers of walks around a loop."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    tasks: int = 50
    """Training tasks; explored ones only where there are no others."""
    samples: int = 4
    """Episodes of each."""
    points: int = 100
    """Steps whose effect is executed."""
    alternatives: int = 4
    """Continuations from before such a step, and as many from after it."""
    probes: int = 12
    """Tasks for which probe episodes are played."""


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
    agent: start.LanguageModel
    explored: list[Trajectory]
    trajectories: list[Trajectory]
    points: list[effects.Effect]
    probes: Probes
    encoder: Encoded
    backbone: Tunable
    simulator: PlayedOn
    roomy: PlayedOn
    """The same in environments whose step limit allows for loops."""


def audit(configs: Sequence[RunConfig], recorded: Path | None, size: Size, progress: Progress) -> summary.Audit:
    """Measure the method of each configuration; the configurations differ in nothing else.

    The episodes are fresh ones of the warm start, or those of the last iteration of the run folder `recorded`, whose
    last checkpoint then plays the alternatives. Raises MethodError where a method fails.
    """
    experiment.refuse_namesakes(configs)
    stage = _prepare(configs[0], recorded, size, progress)
    labels = [reward_label(config.reward, config.reward_options) for config in configs]
    methods = [experiment.make_method(config) for config in configs]
    prices: dict[str, tuple[list[Floats], list[Floats]]] = {}
    more: dict[str, tuple[dict[str, float | None], dict[str, float | None]]] = {}
    with progress.stage("assign rewards", total=len(methods)) as bar:
        for label, config, method in zip(labels, configs, methods, strict=True):
            checked = CheckedMethod(reward_typed(config.reward), method)
            prices[label], more[label] = _measure(checked, stage, progress)
            bar.advance(1, last=label)
    placebos = {label: prices[label][0] for label, method in zip(labels, methods, strict=True) if method.placebo}
    reference = _reference(stage, configs[0])
    limits = stage.common.make_env().buckets
    found = [
        summary.audit_method(
            label, stage.trajectories, *prices[label], limits=limits, seed=configs[0].seed, reference=reference,
            placebos=placebos, effects=stage.points, conserves=method.conserves_return, placebo=bool(method.placebo),
            probes=more[label][0], costs=more[label][1],
        )
        for label, method in zip(labels, methods, strict=True)
    ]  # fmt: skip
    return summary.Audit(
        about=_about(configs[0], stage, recorded, size),
        methods=tuple(found),
        limits=limits,
        floor=tuple(label for label, method in zip(labels, methods, strict=True) if method.placebo == "floor"),
        probes=summary.PROBES,
        costs=summary.COSTS,
        notes=tuple(
            f"{label} uses {told}; other methods do not"
            for label, method in zip(labels, methods, strict=True)
            if (told := extra_information(method))
        ),
        excluded=len(stage.trajectories) - len(summary.usable(stage.trajectories)),
        episodes=tuple(stage.trajectories),
        prices={label: tuple(tuple(map(float, paid)) for paid in prices[label][0]) for label in labels},
    )


def _prepare(config: RunConfig, recorded: Path | None, size: Size, progress: Progress) -> Stage:
    common = start.begin(config)
    if common.characters > 1:
        raise UserError("an audit continues recorded episodes, for one character only: set world.options.characters=1")
    policy_folder = start.warm_start(common, progress)
    explored = start.read_episodes(start.explore(common, policy_folder, progress) / "explore.jsonl")
    agent = start.load_policy(common, experiment.last_policy(recorded) if recorded else policy_folder)
    agent.temperature = config.ppo.temperature
    simulator = PlayedOn(common.player, cast(Agent, agent))
    trajectories = _recorded(recorded, size) if recorded else _fresh(common, agent, size, progress)
    points = effects.choose_points(trajectories, size.points, derive_seed(config.seed, "points"))
    with progress.stage("play alternatives", total=len(points)) as bar:
        seed = derive_seed(config.seed, "alternatives")
        executed = effects.effects(simulator, trajectories, points, size.alternatives, seed) if points else []
        bar.advance(len(points))
    frozen = Policy(
        start.load_policy(common, policy_folder).model, precision=common.precision, temperature=config.ppo.temperature
    )
    reference = pricing.Reference(frozen.requires_grad_(False), config.ppo.microbatch)
    return Stage(
        common=common,
        agent=agent,
        explored=explored,
        trajectories=trajectories,
        points=executed,
        probes=_probes(common, agent, trajectories, size),
        encoder=Encoded(reference.encode),
        backbone=Tunable(reference, config.warm_start.learning_rate),
        simulator=simulator,
        roomy=PlayedOn(Player(lambda: _roomy(common), config.batch), cast(Agent, agent)),
    )


def _roomy(common: start.Start) -> TextEnv:
    """An environment whose step limit is raised by the steps of the loops."""
    env = common.make_env()
    env.max_steps += 2 * max(LOOPS)
    return env


def _fresh(common: start.Start, agent: start.LanguageModel, size: Size, progress: Progress) -> list[Trajectory]:
    """Episodes of the policy on training tasks that were not explored, as far as there are any."""
    first = common.config.explore.tasks
    tasks = [common.train[(first + n) % len(common.train)] for n in range(size.tasks)]
    requests = start.make_requests(common, "audit", 0, tasks, size.samples)
    with progress.stage("play", total=len(requests)) as bar:
        played = []
        for _, trajectory, _ in common.player.play(requests, cast(Agent, agent)):
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


def _probes(common: start.Start, agent: start.LanguageModel, trajectories: Sequence[Trajectory], size: Size) -> Probes:
    """Probe episodes from the first usable episode of each of the first `size.probes` tasks."""
    env = common.make_env()
    first = {t.task.key: t for t in reversed(trajectories) if t.steps and t.error is None}
    chosen = [first[key] for key in dict.fromkeys(t.task.key for t in trajectories) if key in first][: size.probes]
    render = common.prompt.render

    def told(episodes: Sequence[Trajectory]) -> list[Trajectory]:
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


def _measure(
    checked: CheckedMethod, stage: Stage, progress: Progress
) -> tuple[tuple[list[Floats], list[Floats]], tuple[dict[str, float | None], dict[str, float | None]]]:
    """(Rewards, advantages) of one method, and (figures on the probes, costs)."""
    method, config = checked.method, stage.common.config
    checked.place = "audit"
    stage.encoder.tokens = stage.backbone.tokens = 0
    stage.simulator.tokens = stage.simulator.env_steps = 0
    method.encoder, method.backbone, method.simulator = stage.encoder, stage.backbone, stage.simulator
    experts = []
    if method.uses_experts:
        experts = start.demonstrations(stage.common, stage.agent, len(stage.explored), progress)
    checked.fit(stage.explored, experts)
    checked.observe(stage.trajectories)
    rewards: list[Floats] = [np.zeros(0)] * len(stage.trajectories)
    advantages = list(rewards)
    for indices in credit.groups(stage.trajectories):
        group = [stage.trajectories[i] for i in indices]
        paid = checked.rewards(group)
        values = _usual(paid, config.ppo.gamma)
        judged = checked.advantages(group, paid, values, config.ppo.gamma, config.ppo.lam)
        for i, r, (advantage, _) in zip(indices, paid, judged, strict=True):
            rewards[i], advantages[i] = r, advantage
    costs: dict[str, float | None] = {
        "extra steps": float(stage.simulator.env_steps),
        "extra tokens": float(stage.encoder.tokens + stage.backbone.tokens + stage.simulator.tokens),
    }
    method.simulator = stage.roomy
    return (rewards, advantages), (_laws(checked, stage.probes), costs)


def _laws(checked: CheckedMethod, made: Probes) -> dict[str, float | None]:
    def sums(groups: Sequence[Sequence[Trajectory]]) -> list[list[float]]:
        return [[float(r.sum()) for r in checked.rewards(group)] for group in groups]

    loops, pairs = sums(made.loops), sums(made.pairs)
    beyond = [
        [paid - t.outcome for paid, t in zip(of_both, both, strict=True)]
        for of_both, both in zip(sums(made.cuts), made.cuts, strict=True)
    ]
    whole, cut = ([gap[side] for gap in beyond] for side in (0, 1))
    return {
        "loop": laws.loop_slope(loops, LOOPS).largest if loops else None,
        "busy %": 100.0 * laws.broken_orders(pairs) if pairs else None,
        "cut": laws.cut_gap(whole, cut).largest if whole else None,
    }


def _usual(rewards: Sequence[Floats], gamma: float) -> list[Floats]:
    """In place of a critic: the mean return to go of the task's other episodes at the same turn, (T + 1,) each."""
    to_go = [credit.returns(r, gamma) for r in rewards]
    longest = max(map(len, to_go), default=0)
    table = np.array([np.pad(g, (0, longest - len(g))) for g in to_go])
    others = max(len(to_go) - 1, 1)
    means = (table.sum(axis=0) - table) / others
    return [np.append(mean[: len(r)], 0.0) for mean, r in zip(means, rewards, strict=True)]


def _reference(stage: Stage, config: RunConfig) -> list[Floats]:
    """Advantages of the oracle's progress as a reward, for the cosine."""
    out: list[Floats] = [np.zeros(0)] * len(stage.trajectories)
    for indices in credit.groups(stage.trajectories):
        made = [measures.progress_made(stage.trajectories[i]) for i in indices]
        for i, r, values in zip(indices, made, _usual(made, config.ppo.gamma), strict=True):
            out[i] = credit.gae(r, values, config.ppo.gamma, config.ppo.lam)[0]
    return out


def _about(config: RunConfig, stage: Stage, recorded: Path | None, size: Size) -> dict[str, Any]:
    trajectories = stage.trajectories
    tasks = {t.task.key for t in trajectories}
    again = len(tasks & {t.task.key for t in stage.explored})
    explored = f"{again} of them explored" if again else "none of them explored"
    played = "the last iteration of a run" if recorded else f"the warm start, on train tasks, {explored}"
    return {
        "world": config.env,
        "tasks": len(tasks),
        "trajectories": len(trajectories),
        "steps": sum(len(t) for t in trajectories),
        "success": round(float(np.mean([t.success for t in trajectories])), 4) if trajectories else None,
        "policy": played,
        "model": config.model.name,
        "seed": config.seed,
        "explored": len(stage.explored),
        "points": len(stage.points),
        "alternatives": size.alternatives,
        "probes": len(stage.probes.loops),
        "protocol": stage.common.make_env().protocol,
    }
