"""From finished episodes to PPO samples: score the tokens, ask the method for rewards and advantages, spread them.

Algorithm-blind: what a method wants is read from its class flags, never from its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from spa_bench import credit
from spa_bench.config import PPOConfig
from spa_bench.core import Floats, Trajectory
from spa_bench.method import Level
from spa_bench.training import ranks
from spa_bench.training.batches import Limit, Sequences, microbatches, pack, pack_trajectory
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.policy import Policy
from spa_bench.training.ppo import Sample, TrainingError
from spa_bench.watch import Timed


@dataclass(frozen=True)
class Scored:
    """One episode under one frozen network; arrays over its N sampled tokens."""

    logprobs: Floats
    values: Floats
    turn_ends: NDArray[np.float32]
    """(T, D): the last hidden state at each turn's end."""


@torch.no_grad()
def score(policy: Policy, episodes: Sequence[Sequences], limit: Limit) -> list[Scored]:
    """Score episodes without gradient, in order; where there are several ranks, each scores some of them."""
    policy.eval()
    own = ranks.dealt([episode.size for episode in episodes])
    parts = [episodes[index].parts(limit.tokens) for index in own]
    scored = iter(_scored(policy, [part for pieces in parts for part in pieces], limit))
    found = {index: _joined([next(scored) for _ in pieces]) for index, pieces in zip(own, parts, strict=True)}
    if ranks.size() == 1:
        return [found[index] for index in range(len(episodes))]
    names = [one.name for one in fields(Scored)]
    arrays = {f"{index}.{name}": getattr(one, name) for index, one in found.items() for name in names}
    told = ranks.arrays_of_everyone(arrays)
    return [Scored(*(told[f"{index}.{name}"] for name in names)) for index in range(len(episodes))]


def _joined(parts: Sequence[Scored]) -> Scored:
    """The parts of one episode, in order."""
    fields = (np.concatenate([getattr(part, name) for part in parts]) for name in ("logprobs", "values", "turn_ends"))
    return parts[0] if len(parts) == 1 else Scored(*fields)


def _scored(policy: Policy, episodes: Sequence[Sequences], limit: Limit) -> list[Scored]:
    out: list[Scored | None] = [None] * len(episodes)
    for indices in microbatches(episodes, limit, packed=policy.packed):
        scores = policy([episodes[i] for i in indices])
        counts = [len(episodes[i].where) for i in indices]
        parts = zip(
            indices, *(x.split(counts) for x in (scores.logprobs, scores.values, scores.last_hidden)), strict=True
        )
        for i, logprobs, values, hidden in parts:
            ends = hidden[torch.from_numpy(episodes[i].ends).to(hidden.device)]
            out[i] = Scored(_array(logprobs), _array(values), ends.cpu().numpy())
    return [scored for scored in out if scored is not None]


def _array(tensor: torch.Tensor) -> Floats:
    return tensor.double().cpu().numpy()


class Reference:
    """The frozen warm start: log-probs for the KL, hidden states for methods that learn from them, in one pass."""

    def __init__(self, policy: Policy, limit: Limit) -> None:
        self.policy, self.limit = policy, limit
        self.extra_tokens = 0
        """Tokens encoded for a method alone, beyond the pass that all methods need."""
        self._known: dict[int, tuple[Trajectory, Scored]] = {}

    def score(self, trajectories: Sequence[Trajectory], episodes: Sequence[Sequences]) -> list[Scored]:
        """Score a fresh batch; kept until the next one, so that `encode` costs nothing."""
        scored = score(self.policy, episodes, self.limit)
        # The trajectory is kept beside its score: an id is only unique while its object lives.
        self._known = {id(t): (t, s) for t, s in zip(trajectories, scored, strict=True)}
        return scored

    def encode(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float32]]:
        """`method.Encoder`: hidden states at turn ends, one (T, D) array per trajectory."""
        with Timed():  # what is read here is no time of the method that asks for it
            return self._encoded(trajectories)

    def _encoded(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float32]]:
        # Of a branch the known score has the turns of its own only.
        known = {id(t): scored for t, scored in self._known.values() if not t.branch}
        missing = [t for t in trajectories if id(t) not in known]
        episodes = [pack([step.tokens for step in t.steps]) for t in missing]
        fresh = {id(t): s for t, s in zip(missing, score(self.policy, episodes, self.limit), strict=True)}
        self.extra_tokens += sum(episode.size for episode in episodes)
        return [(known.get(id(t)) or fresh[id(t)]).turn_ends for t in trajectories]


@dataclass(frozen=True)
class Priced:
    """A batch of episodes with the reward of each step."""

    samples: list[Sample]
    """Of the episodes without an error outside the agent's control."""
    rewards: list[Floats]
    """Of all of them."""
    figures: dict[str, float]


def price(
    checked: CheckedMethod,
    policy: Policy,
    reference: Reference,
    trajectories: Sequence[Trajectory],
    settings: PPOConfig,
    *,
    sampler_tolerance: float,
    finished: Sequence[Trajectory] | None = None,
) -> Priced:
    """PPO samples of newly collected episodes; of a branch, only from its `branch` on.

    `finished` are the episodes that the method observes, where not all of these are over. Raises TrainingError where
    the sampler's log-probs are not the policy's, MethodError where a reward is not finite or misshapen.
    """
    method = checked.method
    episodes = [pack_trajectory(trajectory) for trajectory in trajectories]
    current = score(policy, episodes, Limit.of(settings))
    start = reference.score(trajectories, episodes)
    gap = sampler_gap(trajectories, current)
    if not gap <= sampler_tolerance:
        raise TrainingError(
            f"sampler and trainer disagree: mean |log-prob difference| {gap:.2g} (allowed {sampler_tolerance:.2g}); "
            "use model.dtype=fp32, or report this model"
        )
    level = settings.level or method.level

    def asked() -> dict[str, Floats]:
        checked.observe(trajectories if finished is None else finished)
        return _asked(checked, trajectories, episodes, current, start, settings)

    told = ranks.arrays_of_first(asked)
    rewards, advantages, targets = (
        [told[f"{name}.{i}"] for i in range(len(trajectories))] for name in ("rewards", "advantages", "targets")
    )
    normalised = credit.normalise(trajectories, advantages, critic=method.uses_critic, over=settings.advantage_scale)
    sound = [i for i, trajectory in enumerate(trajectories) if trajectory.error is None]
    if not sound:
        raise TrainingError(f"every episode had an error outside the agent's control: {trajectories[0].error}")
    samples = [sample(episodes[i], current[i], start[i], normalised[i], targets[i], level) for i in sound]
    largest_kl = max(
        float(np.abs(now.logprobs - then.logprobs).max()) for now, then in zip(current, start, strict=True)
    )
    figures = {
        "sampler_gap": gap,
        "reward_sum": float(np.mean([r.sum() for r in rewards])),
        "largest_log_ratio_to_start": largest_kl,
        "explained_variance": explained_variance(
            [current[i] for i in sound], [targets[i] for i in sound], [episodes[i] for i in sound], level
        ),
        "env_steps": float(sum(trajectories[i].played for i in sound)),
    }
    return Priced(samples, rewards, figures)


def _asked(
    checked: CheckedMethod,
    trajectories: Sequence[Trajectory],
    episodes: Sequence[Sequences],
    current: Sequence[Scored],
    start: Sequence[Scored],
    settings: PPOConfig,
) -> dict[str, Floats]:
    """What the method says of each episode by its number: `rewards.0`, `advantages.0`, and the critic's `targets.0`."""
    method, level = checked.method, settings.level or checked.method.level
    penalty = settings.kl_coef if method.kl_in_reward else 0.0
    found: dict[str, Floats] = {}
    for indices in credit.groups(trajectories):
        group = [trajectories[i] for i in indices]
        earned = [r[t.branch :] for r, t in zip(checked.rewards(group), group, strict=True)]
        kl = [current[i].logprobs - start[i].logprobs for i in indices]
        streams = [stream(r, episodes[i], level, penalty * k) for r, i, k in zip(earned, indices, kl, strict=True)]
        values = [decision_values(current[i].values, episodes[i], level) for i in indices]
        pairs = checked.advantages(group, streams, values, settings.gamma, settings.lam)
        for i, reward, (advantages, targets) in zip(indices, earned, pairs, strict=True):
            found |= {f"rewards.{i}": reward, f"advantages.{i}": advantages, f"targets.{i}": targets}
    return found


def stream(rewards: Floats, episode: Sequences, level: Level, penalty: Floats) -> Floats:
    """Rewards per decision: each step's on its last token, minus the token penalties; summed per turn at turn level."""
    tokens = credit.on_last_token(rewards, episode.lengths.tolist()) - penalty
    return tokens if level == "token" else np.add.reduceat(tokens, episode.starts)


def decision_values(values: Floats, episode: Sequences, level: Level) -> Floats:
    """The critic before each decision, and 0 after the last.

    Zero also where the step limit ended the episode: the limit is part of the task (success within it is the score), so
    a truncated episode has no further reward. Bootstrapping there would credit running out of time.
    """
    return np.append(values if level == "token" else values[episode.starts], 0.0)


def sample(episode: Sequences, now: Scored, then: Scored, advantages: Floats, targets: Floats, level: Level) -> Sample:
    """Spread decisions over tokens: at turn level a turn's tokens share its advantage, its first holds the target."""
    if level == "turn":
        spread = np.full(len(episode.where), np.nan)
        spread[episode.starts] = targets
        return Sample(episode, now.logprobs, then.logprobs, credit.spread(advantages, episode.lengths.tolist()), spread)
    return Sample(episode, now.logprobs, then.logprobs, advantages, targets)


def sampler_gap(trajectories: Sequence[Trajectory], current: Sequence[Scored]) -> float:
    """Mean absolute difference between the sampler's log-probs and the trainer's."""
    own = [step.tokens for t in trajectories for step in t.steps[t.branch :] if step.tokens is not None]
    sampled = [logprob for tokens in own for logprob in tokens.logprobs]
    return float(np.abs(np.array(sampled) - np.concatenate([scored.logprobs for scored in current])).mean())


def explained_variance(
    current: Sequence[Scored], targets: Sequence[Floats], episodes: Sequence[Sequences], level: Level
) -> float:
    """1 - Var(target - value) / Var(target): how much of the returns the critic knew; 0 where they do not vary."""
    values = np.concatenate([decision_values(c.values, e, level)[:-1] for c, e in zip(current, episodes, strict=True)])
    wanted = np.concatenate(targets)
    spread = float(wanted.var())
    return 1.0 - float((wanted - values).var()) / spread if spread > 0 else 0.0
