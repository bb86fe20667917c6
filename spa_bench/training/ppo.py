"""The update: proximal policy optimisation over sampled tokens. Knows no environment and no method by name.

Order of reading: `Sample` is what one episode brings, `losses` is the arithmetic, `update` is the loop with its guards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spa_bench.config import PPOConfig
from spa_bench.core import Floats, UserError
from spa_bench.training import ranks
from spa_bench.training.batches import Limit, Sequences, microbatches, tokens_computed
from spa_bench.training.objective import Totals, gains, ratios, sequences, shares
from spa_bench.training.policy import Policy
from spa_bench.training.sharding import is_sharded, whole


class TrainingError(UserError):
    """Training would go on with wrong numbers; it is stopped instead."""


@dataclass(frozen=True)
class Sample:
    """One episode with its advantages. All arrays are over its N sampled tokens."""

    sequences: Sequences
    old_logprobs: Floats
    """Under the policy that the update starts from."""
    reference_logprobs: Floats
    """Under the warm start."""
    advantages: Floats
    value_targets: Floats
    """The critic's targets, NaN at tokens that are no decision of their own (turn level: all but each turn's first)."""

    def parts(self, tokens: int) -> list[Sample]:
        """As `Sequences.parts`."""
        own = self.sequences.parts(tokens)
        ends = np.cumsum([len(part.where) for part in own])[:-1]
        arrays = (self.old_logprobs, self.reference_logprobs, self.advantages, self.value_targets)
        return [Sample(*found) for found in zip(own, *(np.split(one, ends) for one in arrays), strict=True)]


@dataclass(frozen=True)
class Losses:
    """Sums over the tokens of a microbatch, to be divided by the minibatch's totals.

    Policy, KL and entropy count each token by its share (`objective.shares`); the rest counts tokens.
    """

    policy: Tensor
    value: Tensor
    kl: Tensor
    entropy: Tensor
    clipped: Tensor
    approx_kl: Tensor
    largest_ratio_gap: Tensor
    """max |ratio - 1| of a token."""


def losses(policy: Policy, samples: Sequence[Sample], settings: PPOConfig) -> Losses:
    """The policy's objective (`objective.gains`), value error, KL to the warm start, entropy.

    The KL is (q - p)^2 / 2 (Schulman's k2), q the warm start's log-prob: on fresh samples its gradient is that of the
    KL itself. That of k3, exp(q - p) - (q - p) - 1, is not, and grows without bound where a token has become unlikely:
    in the first iteration of the embedded default, under two methods, gradient norms were 40 and 92 on average with k3
    (rate 2e-3), 0.2 and 1.1 with k2 (rate 1e-3).
    """
    episodes = [sample.sequences for sample in samples]
    scores = policy(episodes, entropy_graph=settings.entropy_coef > 0)

    def joined(field: str) -> Tensor:
        flat = np.concatenate([getattr(sample, field) for sample in samples])
        return torch.from_numpy(flat).to(scores.logprobs.device, torch.float32)

    targets, log_ratio = joined("value_targets"), scores.logprobs - joined("old_logprobs")
    gain, clipped = gains(ratios(log_ratio, episodes, settings), scores.logprobs, joined("advantages"), settings)
    share = torch.from_numpy(shares(episodes, settings)).to(log_ratio.device)
    gap = joined("reference_logprobs") - scores.logprobs
    decided = ~targets.isnan()
    change = log_ratio.detach().exp() - 1
    return Losses(
        policy=-(share * gain).sum(),
        value=0.5 * (scores.values[decided] - targets[decided]).square().sum(),
        kl=0.5 * (share * gap.square()).sum(),
        entropy=(share * scores.entropy).sum(),
        clipped=clipped.sum(),
        approx_kl=(change - log_ratio.detach()).sum(),
        largest_ratio_gap=change.abs().max(),
    )


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    samples: Sequence[Sample],
    settings: PPOConfig,
    *,
    rng: np.random.Generator,
    kl_in_loss: bool,
    ratio_tolerance: float,
    done: int = 0,
) -> dict[str, float]:
    """Some epochs over the samples; returns means over all minibatches, and how many were skipped.

    The optimiser has two groups, of the network and of the value head, as `checkpoint.make_optimizer` makes them.
    `done` is the number of optimiser steps before this update: the rates rise over the first `settings.warmup`.

    A minibatch whose loss or gradient is not finite is skipped and counted. Raises TrainingError where there is nothing
    to learn from, or where the first minibatch's ratios are not 1: then the old log-probs belong to another policy.
    """
    samples = [sample for sample in samples if len(sample.old_logprobs)]
    if not samples:
        raise TrainingError("no sampled token in any episode: the mask is empty, nothing can be learned")
    policy.eval()  # as the replies were sampled: with dropout, no probability would be what it was
    scale = scale_of(samples) if settings.value_scale == "returns" else 1.0
    sums: dict[str, float] = {}
    steps = skipped = tokens = 0
    for _ in range(settings.epochs):
        for part in np.array_split(rng.permutation(len(samples)), min(settings.minibatches, len(samples))):
            batch = [samples[i] for i in part]
            done += 1
            for group, unit in zip(optimizer.param_groups, (1.0, scale), strict=True):
                group["lr"] = group["initial_lr"] * unit * min(1.0, done / max(settings.warmup, 1))
            own = [batch[i] for i in ranks.dealt([one.sequences.size for one in batch])]
            passes = _passes(own, settings, packed=policy.packed)
            idle = _idle(batch, settings, len(passes)) if is_sharded(policy) else []
            figures = _step(policy, optimizer, passes, totals_of(batch), settings, kl_in_loss, scale, idle)
            if steps == skipped == 0 and figures["ratio_gap"] > ratio_tolerance:
                raise TrainingError(
                    f"first minibatch: a probability ratio is off 1 by {figures['ratio_gap']:.2g} (allowed "
                    f"{ratio_tolerance:.2g}); the episodes were not sampled by this policy"
                )
            tokens += sum(tokens_computed([one.sequences for one in part], packed=policy.packed) for part in passes)
            if figures.pop("finite"):
                steps += 1
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0.0) + value
            else:
                skipped += 1
    means = {name: value / max(steps, 1) for name, value in sums.items() if name != "ratio_gap"}
    (trained,) = ranks.summed([float(tokens)])
    return means | {"updates": float(steps), "skipped": float(skipped), "tokens_trained": trained}


def scale_of(samples: Sequence[Sample]) -> float:
    """Root mean square of the critic's targets; 1 where all are 0.

    Divided by it the value error has a gradient that does not depend on the unit of the rewards, nor do Adam's steps,
    and the head's rate times it turns these into steps in that unit: all rewards times c give all values times c, and
    the same policy. Adam's steps have one size whatever the targets': without this, a critic of returns of 40 had
    learned nothing in 48 of them. PopArt (arXiv 1602.07714) rescales the head itself to the same end.
    """
    targets = np.concatenate([sample.value_targets for sample in samples])
    largest = float(np.nanmax(np.abs(targets)))
    return largest * math.sqrt(float(np.nanmean(np.square(targets / largest)))) if largest else 1.0


def totals_of(batch: Sequence[Sample]) -> Totals:
    """What a minibatch of whole episodes holds."""
    return Totals(
        tokens=sum(len(sample.old_logprobs) for sample in batch),
        decisions=sum(int((~np.isnan(sample.value_targets)).sum()) for sample in batch),
        sequences=sum(len(sequences(sample.sequences)) for sample in batch),
        episodes=len(batch),
    )


def _passes(batch: Sequence[Sample], settings: PPOConfig, *, packed: bool) -> list[list[Sample]]:
    """A minibatch in its microbatches, each one pass of the network; a long episode in parts."""
    pieces = [piece for sample in batch for piece in sample.parts(settings.microbatch)]
    groups = microbatches([piece.sequences for piece in pieces], Limit.of(settings), packed=packed)
    return [[pieces[i] for i in indices] for indices in groups]


def _idle(batch: Sequence[Sample], settings: PPOConfig, own: int) -> list[list[Sample]]:
    """Passes of the smallest episode, so that this rank, with passes of its `own`, makes as many as the others."""
    smallest = min(batch, key=lambda one: one.sequences.size)
    return [smallest.parts(settings.microbatch)[:1]] * (ranks.most(own) - own)


def _step(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    passes: Sequence[Sequence[Sample]],
    totals: Totals,
    settings: PPOConfig,
    kl_in_loss: bool,
    scale: float,
    idle: Sequence[Sequence[Sample]] = (),
) -> dict[str, float]:
    """One optimiser step over a minibatch, its gradient accumulated over its passes, of which each rank has its own.

    `totals` are those of all ranks, and so are the figures. The `idle` passes count for nothing.
    """
    divisor, decisions = totals.divisor(settings), max(totals.decisions, 1)
    divisors = (divisor, decisions, divisor, divisor, totals.tokens, totals.tokens)
    optimizer.zero_grad(set_to_none=True)
    sums = {"policy_loss": 0.0, "value_loss": 0.0, "kl": 0.0, "entropy": 0.0, "clip_share": 0.0, "approx_kl": 0.0}
    ratio_gap, finite = 0.0, True
    for samples in passes:
        part = losses(policy, samples, settings)
        loss = part.policy / divisor - settings.entropy_coef * part.entropy / divisor
        # No coefficient: only the head learns from it, clipped apart.
        loss = loss + part.value / (decisions * scale)
        if kl_in_loss:
            loss = loss + settings.kl_coef * part.kl / divisor
        finite = finite and math.isfinite(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        ratio_gap = max(ratio_gap, part.largest_ratio_gap.item() if finite else 0.0)
        found = (part.policy, part.value, part.kl, part.entropy, part.clipped, part.approx_kl)
        for name, value, count in zip(sums, found, divisors, strict=True):
            sums[name] += value.item() / count
    for samples in idle:
        part = losses(policy, samples, settings)
        (0.0 * (part.policy + part.value)).backward()  # type: ignore[no-untyped-call]
    ranks.sum_gradients(optimizer)
    told = ranks.everyone([list(sums.values()), ratio_gap, finite])
    sums = dict(zip(sums, map(sum, zip(*(one[0] for one in told), strict=True)), strict=True))
    ratio_gap, finite = max(one[1] for one in told), all(one[2] for one in told)
    norm = _clipped(optimizer, settings.max_grad_norm) if finite else math.nan
    finite = finite and math.isfinite(norm)
    if finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return sums | {"grad_norm": norm, "ratio_gap": ratio_gap, "finite": float(finite)}


def _clipped(optimizer: torch.optim.Optimizer, largest: float) -> float:
    """Clip the gradients of both groups and return the norm of the network's; not finite where the head's is not.

    The value head's are clipped separately: with `value_scale` none they grow with the scale of a method's rewards, and
    clipped together, larger rewards would mean smaller updates of the policy.
    """
    network, head = (
        whole(torch.nn.utils.clip_grad_norm_(group["params"], largest)).item() for group in optimizer.param_groups
    )
    return network if math.isfinite(head) else math.nan
