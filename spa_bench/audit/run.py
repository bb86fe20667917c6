"""`spa-bench audit`: every method assigns rewards to the same episodes, and these are measured. No policy is trained.

Read `audit` first. All episodes, those of alternatives and probes included, are played once and are the same for all
methods; a method is fitted on the explored episodes that a run would give it, and again on others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spa_bench import credit
from spa_bench.analysis.fits import our_forms
from spa_bench.audit import assess, laws, measures, summary
from spa_bench.audit.aliasing import aliasing
from spa_bench.audit.effects import Effect
from spa_bench.audit.intervals import farthest, mean_of
from spa_bench.audit.stage import LOOPS, Probes, Size, Stage, prepare
from spa_bench.config import RunConfig
from spa_bench.core import Floats, Trajectory, derive_seed
from spa_bench.method import RewardMethod
from spa_bench.runs.names import reward_label, reward_typed, world_name
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment, ranks, start
from spa_bench.training.checked_method import CheckedMethod, extra_information
from spa_bench.watch import watching


@dataclass(frozen=True)
class Fit:
    """What a method gives after it was fitted once."""

    rewards: list[Floats]
    advantages: list[Floats]
    probes: dict[str, float | None]
    costs: dict[str, float | None]


def audit(configs: Sequence[RunConfig], recorded: Path | None, size: Size, progress: Progress) -> summary.Audit:
    """Measure the method of each configuration; the configurations differ in nothing else.

    The episodes are fresh ones of the warm start, or those of the last iteration of the run folder `recorded`, whose
    last checkpoint then plays the alternatives. Raises MethodError where a method fails.
    """
    ranks.refuse("audit")
    with watching(configs[0].limits.model_dump(), "limits"):
        return _audit(configs, recorded, size, progress)


def _audit(configs: Sequence[RunConfig], recorded: Path | None, size: Size, progress: Progress) -> summary.Audit:
    experiment.refuse_namesakes(configs)
    methods = {reward_label(config.reward, config.reward_options): experiment.make_method(config) for config in configs}
    learns = any(map(is_fitted, methods.values()))
    records = frozenset().union(*(method.records for method in methods.values()))
    stage = prepare(configs[0], recorded, size if learns else replace(size, fits=1), progress, records)
    fits: dict[str, list[Fit]] = {}
    with progress.stage("assign rewards", total=len(methods)) as bar:
        for config, (label, method) in zip(configs, methods.items(), strict=True):
            number = len(stage.explored) if is_fitted(method) else 1
            fits[label] = [_measure(config, stage, again, progress) for again in range(number)]
            bar.advance(1, last=label)
    placebos = {label: [fit.rewards for fit in fits[label]] for label, method in methods.items() if method.placebo}
    checked = (stage.trajectories, stage.points, configs[0].seed, placebos)
    power = assess.power_check(*checked) if stage.points else None
    limits = stage.common.make_env().buckets
    told = () if stage.stateless else (stage.trajectories, stage.points, limits, configs[0].seed)
    return summary.Audit(
        about=_about(configs[0], stage, recorded, size),
        methods=tuple(_assessed(methods, fits, placebos, stage, stage.points if power and power.passed else [])),
        limits=limits,
        floor=tuple(label for label, method in methods.items() if method.placebo == "floor"),
        probes=summary.PROBES,
        costs=summary.COSTS,
        notes=(*_notes(methods), *([f"state aliasing is not measured: {stage.stateless}"] if stage.stateless else [])),
        excluded=len(stage.trajectories) - len(assess.usable(stage.trajectories)),
        power=power,
        aliasing=aliasing(*told) if told else {},
        episodes=tuple(stage.trajectories),
        prices={label: tuple(tuple(map(float, paid)) for paid in own[0].rewards) for label, own in fits.items()},
    )


def _notes(methods: Mapping[str, RewardMethod]) -> tuple[str, ...]:
    """Which methods are not their paper's, and which know more than others."""
    informed = {label: extra_information(method) for label, method in methods.items()}
    return (
        *our_forms({label: method.our_form for label, method in methods.items()}),
        *(f"{label} uses {told}; other methods do not" for label, told in informed.items() if told),
    )


def is_fitted(method: RewardMethod) -> bool:
    """It learns from explored episodes."""
    return type(method).fit is not RewardMethod.fit


def _assessed(
    methods: dict[str, RewardMethod],
    fits: dict[str, list[Fit]],
    placebos: dict[str, list[list[Floats]]],
    stage: Stage,
    points: Sequence[Effect],
) -> list[summary.MethodAudit]:
    config = stage.common.config
    limits, reference = stage.common.make_env().buckets, _reference(stage, config)
    return [
        assess.audit_method(
            label, stage.trajectories, [fit.rewards for fit in own], [fit.advantages for fit in own],
            limits=limits, seed=config.seed, fitted=is_fitted(methods[label]), reference=reference, placebos=placebos,
            effects=points, conserves=methods[label].conserves_return, placebo=bool(methods[label].placebo),
            probes=_over_fits([fit.probes for fit in own]), costs=own[0].costs,
        )
        for label, own in fits.items()
    ]  # fmt: skip


def _over_fits(found: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """Probes of several fits: a share is their mean, all else what is farthest from 0."""
    told = {name: [one[name] for one in found] for name in found[0]}
    return {name: mean_of(values) if name == "busy %" else farthest(values) for name, values in told.items()}


def _measure(config: RunConfig, stage: Stage, again: int, progress: Progress) -> Fit:
    """Fit the method on the explored episodes of this number, and let it assign rewards."""
    method = experiment.make_method(config)
    if again:
        method.seed = derive_seed(config.seed, "method", again)
    checked = CheckedMethod(reward_typed(config.reward), method)
    checked.place = "audit"
    stage.encoder.tokens = stage.backbone.tokens = stage.hindsight.tokens = 0
    stage.simulator.tokens = stage.simulator.env_steps = stage.demonstrator.env_steps = 0
    method.encoder, method.backbone, method.simulator = stage.encoder, stage.backbone, stage.simulator
    method.hindsight, method.demonstrator = stage.hindsight, stage.demonstrator
    explored = stage.explored[again]
    experts = []
    if method.uses_experts:
        experts = start.demonstrations(stage.common, stage.agent, len(explored), progress)
    checked.fit(explored, experts)
    checked.observe([trajectory for trajectory in stage.trajectories if trajectory.steps])
    rewards, advantages = _judged(checked, stage)
    costs: dict[str, float | None] = {
        "extra steps": float(stage.simulator.env_steps + stage.demonstrator.env_steps),
        "extra tokens": float(
            stage.encoder.tokens + stage.backbone.tokens + stage.simulator.tokens + stage.hindsight.tokens
        ),
    }
    method.simulator = stage.roomy
    return Fit(rewards, advantages, _laws(checked, stage.probes), costs)


def _judged(checked: CheckedMethod, stage: Stage) -> tuple[list[Floats], list[Floats]]:
    """Rewards and advantages of the audited episodes; nothing is asked of those that were won at their start."""
    config = stage.common.config
    rewards: list[Floats] = [np.zeros(0)] * len(stage.trajectories)
    advantages = list(rewards)
    for indices in credit.groups(stage.trajectories):
        moved = [i for i in indices if stage.trajectories[i].steps]
        if not moved:
            continue
        group = [stage.trajectories[i] for i in moved]
        paid = checked.rewards(group)
        values = _usual(paid, config.ppo.gamma)
        judged = checked.advantages(group, paid, values, config.ppo.gamma, config.ppo.lam)
        for i, r, (advantage, _) in zip(moved, paid, judged, strict=True):
            rewards[i], advantages[i] = r, advantage
    return rewards, advantages


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
    again = len(tasks & {t.task.key for t in stage.explored[0]})
    explored = f"{again} of them explored" if again else "none of them explored"
    played = "the last iteration of a run" if recorded else f"the warm start, on train tasks, {explored}"
    return {
        "world": world_name(config.env),
        "tasks": len(tasks),
        "trajectories": len(trajectories),
        "steps": sum(len(t) for t in trajectories),
        "success": round(float(np.mean([t.success for t in trajectories])), 4) if trajectories else None,
        "policy": played,
        "model": config.model.name,
        "seed": config.seed,
        "explored": len(stage.explored[0]),
        "fits": len(stage.explored),
        "points": len(stage.points),
        "alternatives": size.alternatives,
        "probes": len(stage.probes.loops),
        "protocol": stage.common.make_env().protocol,
    }
