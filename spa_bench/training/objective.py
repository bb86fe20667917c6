"""The arithmetic of the policy's loss: whose probabilities one ratio is of, how it is clipped, what is averaged.

Everything is over the N sampled tokens of a few episodes, in the order of `Sequences.where`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spa_bench.config import PPOConfig
from spa_bench.training.batches import Sequences


def ratios(log_ratio: Tensor, episodes: Sequence[Sequences], settings: PPOConfig) -> Tensor:
    """Probability ratios, (N,): of each token, or the geometric mean over its turn or its sequence.

    The ratio of a longer unit is a number, and its gradient at each token that of the token's own log-prob times the
    ratio: GSPO-token (Zheng et al. 2025, arXiv 2507.18071, eq. 14), which is GSPO where the tokens of a sequence share
    an advantage, and lets the turns of one have several. Per turn it is the ratio of ST-PPO (arXiv 2511.20718, eq. 4).
    """
    if settings.ratio == "token":
        return log_ratio.exp()
    lengths = [turns(one) if settings.ratio == "turn" else sequences(one) for one in episodes]
    counts = torch.from_numpy(np.concatenate(lengths)).to(log_ratio.device)
    means = torch.segment_reduce(log_ratio.detach(), "mean", lengths=counts).repeat_interleave(counts)
    return (means + log_ratio - log_ratio.detach()).exp()


def turns(episode: Sequences) -> NDArray[np.int64]:
    """Sampled tokens of each turn that has any."""
    return episode.lengths[episode.lengths > 0]


def sequences(episode: Sequences) -> NDArray[np.int64]:
    """Sampled tokens of each token sequence that has any; an episode has several where its context restarted."""
    return np.unique(episode.where[:, 0], return_counts=True)[1].astype(np.int64)


def gains(ratio: Tensor, logprobs: Tensor, advantages: Tensor, settings: PPOConfig) -> tuple[Tensor, Tensor]:
    """What each token adds to the objective, (N,), and whether its ratio was clipped, (N,).

    `clip`: the smaller of ratio and clipped ratio times advantage (Schulman et al. 2017, eq. 7), with an upper bound of
    its own under `clip_high` (DAPO, Yu et al. 2025, arXiv 2503.14476, eq. 8). `cispo`: log-prob times advantage,
    weighted by the clipped ratio as a number: no token loses its gradient (MiniMax-M1, arXiv 2506.13585, eq. 4).
    """
    high = settings.clip if settings.clip_high is None else settings.clip_high
    clipped = ratio.clamp(1 - settings.clip, 1 + high)
    if settings.objective == "cispo":
        return clipped.detach() * advantages * logprobs, ratio != clipped
    return torch.minimum(ratio * advantages, clipped * advantages), ratio != clipped


def shares(episodes: Sequence[Sequences], settings: PPOConfig) -> NDArray[np.float32]:
    """What each token counts in the sums that `Totals.divisor` divides, (N,): 1, or 1 / tokens of its sequence."""
    lengths = np.concatenate([sequences(one) for one in episodes])
    each = 1.0 / lengths if settings.loss_mean == "sequences" else np.ones(len(lengths))
    return np.repeat(each, lengths).astype(np.float32)


@dataclass(frozen=True)
class Totals:
    """How much there is in a minibatch, over all its passes."""

    tokens: int
    decisions: int
    """Tokens with a target of the critic."""
    sequences: int
    episodes: int

    def divisor(self, settings: PPOConfig) -> float:
        """What sums over a minibatch are divided by.

        Its tokens (DAPO, eq. 12), its sequences, of whose tokens each has a mean (GRPO, Shao et al. 2024, arXiv
        2402.03300, eq. 3), or its episodes times a constant (Dr. GRPO, Liu et al. 2025, arXiv 2503.20783).
        """
        if settings.loss_mean == "sequences":
            return float(self.sequences)
        if settings.loss_mean == "constant":
            if settings.loss_constant is None:
                raise ValueError("ppo.loss_constant is to be known before the update")
            return float(self.episodes * settings.loss_constant)
        return float(self.tokens)
