"""Stepwise progress attribution: contributions that a small network learns from outcomes, plus a grounding bonus.

Paper: Wang et al. 2025, arXiv 2505.20732; code WangHanLinHenry/SPA-RL-Agent (ed20087).
Equation: r_t = alpha * c_t + beta * (s_t - s_(t-1)) (the paper: beta * g_t, see Deviations) with c_t = MLP(h_t), h_t
  the last hidden state at the end of turn t, g_t in {0, 1} the grounding signal, s_t its mean over the first t turns
  (s_0 = 0); loss (sum_t c_t - R)^2 over episodes explored by the warm start.
Defaults: alpha 1, beta 0.5 <- the paper; weight_decay 0.01 with Adam <- prm/train_our_progress_model.py; hidden 128,
  learning_rate 1e-3, batch 32 <- ours: the paper gives no size, and its rate 3e-6 is for tuning a whole 3B model;
  epochs 40, patience 6, holdout 0.2 <- ours, because a network trained from scratch needs more than the paper's one
  epoch, and held-out episodes choose when to stop; exact on <- ours, see Deviations.
Deviations: bonus=share pays each turn what it changes of the grounding accuracy so far, so that an episode earns beta
  times its grounding accuracy; the paper's beta * g_t (bonus=sum) pays a failure of 20 grounded steps 10 and a success
  in 9 steps 5.5, and PPO over turns without discount learns not to finish: greedy success of the embedded default in
  ALFWorld fell from 45 to 6 % in ten iterations while grounding rose from 62 to 84 %. (The released trainer's credit
  does not cross turns, which hides it.) exact=True adds what the contributions lack to R on the last turn, which makes
  them a potential (Ng et al. 1999): they move credit and change no policy's worth. exact=False leaves the sum where the
  fit left it, as the paper's training does; a sum that is off is a reward of its own: in WebShop, where 192 explored
  episodes gave a fit worse than the mean outcome (held-out R2 -0.9), it paid long episodes more, and sampled success
  fell from 33 to 8 % within two iterations. Both are written so that no turn's pay depends on later turns: spread
  evenly over the turns instead, they paid for delay, and an outcome of 0.72 in 6 turns became 0.31 in 11.
  The backbone stays frozen at the warm start (the paper tunes it together with the head); training starts
  from even credit, which settles what the loss leaves open. The released code computes something else (a linear head
  on logits, then leave-one-out outcomes in place of its output).
Conserves return: no; the contributions do unless exact=False, and the bonus adds at most beta.
Needs: explored episodes and the encoder (one forward pass per episode, at fit and at pricing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spa_bench.core import Floats, RewardMethod, Trajectory, UserError, derive_seed
from spa_bench.rewards._decomposition import Training, estimate, learn
from spa_bench.rewards._fingerprint import fingerprint


class SPA(RewardMethod):
    """Fused progress and grounding; with fewer than two usable explored episodes all contributions are zero.

    `alpha` (α) and `beta` (β) weigh contribution and grounding; `bonus` says whether an episode earns β for its `share`
    of grounded steps or for each of them (`sum`); `exact` adds what the contributions lack to the outcome on the last
    step. `Training` explains the others.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.5,
        bonus: Literal["share", "sum"] = "share",
        exact: bool = True,
        hidden: int = 128,
        epochs: int = 40,
        patience: int = 6,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        batch: int = 32,
        holdout: float = 0.2,
    ) -> None:
        if not 0 < holdout < 1 or min(hidden, epochs, patience, batch) < 1:
            raise UserError("reward spa: holdout must lie in (0, 1); hidden, epochs, patience and batch be at least 1")
        if bonus not in ("share", "sum"):
            raise UserError(f"reward spa: bonus={bonus!r}: use share or sum")
        self.alpha, self.beta, self.bonus, self.exact = alpha, beta, bonus, exact
        self.training = Training(hidden, epochs, patience, learning_rate, weight_decay, batch, holdout)
        self._weights: dict[str, torch.Tensor] | None = None
        """None before `fit`, empty where `fit` had too little to learn from."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from the episodes without errors, in an order of their content: the order they come in is no matter."""
        usable = sorted((t for t in trajectories if t.steps and t.error is None), key=fingerprint)
        figures: dict[str, float] = {}
        self._weights = {}
        if len(usable) >= 2:
            rng = torch.Generator().manual_seed(derive_seed(self.seed, "spa"))
            features = [torch.from_numpy(h) for h in self._encode(usable)]
            outcomes = torch.tensor([t.outcome for t in usable], dtype=torch.float32)
            self._weights, figures = learn(features, outcomes, self.training, rng)
        return {"episodes": float(len(usable)), **figures}

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Contribution and grounding, weighted; raises RuntimeError before `fit`."""
        grounded = [np.array([step.grounded for step in t.steps], dtype=np.float64) for t in group]
        bonuses = [shares(g) if self.bonus == "share" else g for g in grounded]
        return [self.alpha * c + self.beta * g for c, g in zip(self.contributions(group), bonuses, strict=True)]

    def contributions(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The learned progress of each step, one array (T,) per trajectory."""
        weights = self._weights
        if weights is None:
            raise RuntimeError("spa prices nothing before fit: call fit, or load_state_dict with a fitted state")
        if not weights:
            learned = [np.zeros(len(t)) for t in group]
        else:
            # One trajectory at a time: the last bits of a matrix product depend on its neighbours in a batch.
            with torch.inference_mode():
                learned = [estimate(weights, torch.from_numpy(h)).double().numpy() for h in self._encode(group)]
        if self.exact:
            for c, trajectory in zip(learned, group, strict=True):
                c[-1:] += trajectory.outcome - c.sum()
        return learned

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The network and the scale of its input; empty before `fit`."""
        if self._weights is None:
            return {}
        return {"fitted": np.ones(1, dtype=np.int8)} | {k: v.numpy().copy() for k, v in self._weights.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave, to the bit."""
        arrays = {key: torch.from_numpy(np.array(array)) for key, array in state.items()}
        self._weights = arrays if arrays.pop("fitted", None) is not None else None

    def _encode(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float32]]:
        if self.encoder is None:
            raise RuntimeError("spa reads hidden states: set `encoder` before fit and rewards")
        features = [np.array(h, dtype=np.float32) for h in self.encoder(trajectories)]
        for h, trajectory in zip(features, trajectories, strict=True):
            if h.ndim != 2 or len(h) != len(trajectory) or not np.isfinite(h).all():
                raise ValueError(f"encoder: {len(trajectory)} steps need finite ({len(trajectory)}, D), got {h.shape}")
        return features


def shares(grounded: Floats) -> Floats:
    """What each turn changes of the share of grounded turns so far, (T,) to (T,); adds up to the share of all."""
    so_far = np.cumsum(grounded) / np.arange(1, len(grounded) + 1)
    return np.diff(so_far, prepend=0.0)
