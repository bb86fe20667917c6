"""Stepwise progress attribution: contributions that a small network learns from outcomes, plus a grounding bonus.

Paper: Wang et al. 2025, arXiv 2505.20732; code WangHanLinHenry/SPA-RL-Agent (ed20087).
Equation: r_t = alpha * c_t + beta * (s_t - s_(t-1)) (the paper: beta * g_t, see Deviations) with c_t = MLP(h_t), h_t
  the last hidden state at the end of turn t, g_t in {0, 1} the grounding signal, s_t its mean over the first t turns
  (s_0 = 0); loss (sum_t c_t - R)^2 over episodes explored by the warm start.
Defaults: alpha 1, beta 0.5 <- the paper; weight_decay 0.01 with Adam <- prm/train_our_progress_model.py; hidden 128,
  batch 32 <- ours: the paper gives no size; backbone frozen, with learning_rate 1e-3 <- ours (tuned: 0.15 of the warm
  start's, of the network at least 4.5e-4, as `spa-published`); epochs 40, patience 6, holdout 0.2 <- ours, because a
  network trained from scratch needs more than the paper's one epoch, and held-out tasks choose when to stop; exact on
  <- ours, see Deviations.
Deviations: contributions are corrected to add up to the outcome, the bonus is the change of the grounded share, the
  language model stays frozen, held-out tasks choose the epoch, and credit is by default per turn, with the KL penalty
  in the loss; the paper's is spa-published. bonus=share rewards the change of the grounding accuracy so far, so that an
  episode's bonus is beta times its grounding accuracy; with the paper's beta * g_t (bonus=sum) a failure of 20 grounded
  steps has the return 10 and a success in 9 steps 5.5, and PPO over turns without discount learns not to finish: greedy
  success of the embedded default in ALFWorld fell from 45 to 6 % in ten iterations while grounding rose from 62 to 84
  %. (The released trainer's credit does not cross turns, which hides it.) exact=true adds R minus the sum of the
  contributions to the last turn, which makes them a potential (Ng et al. 1999): they move credit and change no policy's
  return. exact=false leaves the sum where the fit left it, as the paper's training does; a sum that is off is a reward
  of its own: in WebShop, where 192 explored episodes gave a fit worse than the mean outcome (held-out R2 -0.9), long
  episodes got more reward, and sampled success fell from 33 to 8 % within two iterations. Both are defined so that no
  turn's reward depends on later turns: spread evenly over the turns instead, they rewarded delay, and an outcome of
  0.72 in 6 turns became 0.31 in 11. The backbone stays frozen at the warm start unless backbone=tuned (the paper tunes
  it together with the head); training starts from equal credit, which decides what the loss leaves open. With
  bonus=sum:exact=false the formula is the paper's, the rest of that list is not; the released code computes something
  else again (`spa-released`).
Conserves return: no; the contributions do unless exact=false, and the bonus adds at most beta.
Needs: explored episodes and the encoder (one forward pass per episode at fit; for rewards that of the KL penalty is
  reused).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._decomposition import FROZEN_RATE, Backbone, Decomposition, OwnRate
from spa_bench.rewards._forms import listed
from spa_bench.rewards._learned import Batch, Decay, Epochs, Hidden, Holdout, Patience, exact
from spa_bench.rewards._network import Training


def form(bonus: str, exact: bool, backbone: str) -> str:
    """Where `spa` with these options is not the paper's."""
    ours = [
        "contributions are corrected to add up to the outcome" if exact else "",
        "the bonus is the change of the grounded share" if bonus == "share" else "",
        "the language model stays frozen" if backbone == "frozen" else "",
        "held-out tasks choose the epoch",
        "credit is by default per turn, with the KL penalty in the loss",
    ]
    return f"{listed(ours)}; the paper's is spa-published"


class SPA(Decomposition):
    """Fused progress and grounding; with fewer than two usable explored episodes all contributions are zero.

    `alpha` (α) and `beta` (β) weigh contribution and grounding; `bonus` is whether an episode gets β times its `share`
    of grounded steps or β for each of them (`sum`); `exact` adds the outcome minus the sum of the contributions to the
    last step; `backbone` is whether a copy of the language model is `tuned` together with the network or stays
    `frozen`. `Training` explains the others.
    """

    our_form = form("share", exact=True, backbone="frozen")
    name = "spa"

    @declared("reward spa")
    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0, description="weight of the learned contributions; SPA: 1")] = 1.0,
        beta: Annotated[float, Field(ge=0, description="weight of the grounding bonus; SPA: 0.5")] = 0.5,
        bonus: Annotated[
            Literal["share", "sum"],
            Field(description="beta for the grounded share of an episode (ours), or for each step"),
        ] = "share",
        exact: Annotated[bool, Field(description="correct contributions to add up to the outcome; ours")] = True,
        backbone: Backbone = "frozen",
        hidden: Hidden = 128,
        epochs: Epochs = 40,
        patience: Patience = 6,
        learning_rate: OwnRate = None,
        weight_decay: Decay = 0.01,
        batch: Batch = 32,
        holdout: Holdout = 0.2,
    ) -> None:
        self.alpha, self.beta, self.bonus, self.exact = alpha, beta, bonus, exact
        how = Training(hidden, epochs, patience, FROZEN_RATE, weight_decay, batch, holdout)
        self.set_training(backbone, learning_rate, how)
        if type(self).our_form == SPA.our_form:  # a placebo has none
            self.our_form = form(bonus, exact, backbone)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Contribution and grounding, weighted; raises RuntimeError before `fit`."""
        grounded = [np.array([step.grounded for step in t.steps], dtype=np.float64) for t in group]
        bonuses = [shares(g) if self.bonus == "share" else g for g in grounded]
        return [self.alpha * c + self.beta * g for c, g in zip(self.contributions(group), bonuses, strict=True)]

    def contributions(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The learned progress of each step, one array (T,) per trajectory."""
        learned = self.numbers(group)
        return exact(learned, group) if self.exact else learned


def shares(grounded: Floats) -> Floats:
    """Change of the share of grounded turns so far at each turn, (T,) to (T,); adds up to the share of all."""
    so_far = np.cumsum(grounded) / np.arange(1, len(grounded) + 1)
    return np.diff(so_far, prepend=0.0)
