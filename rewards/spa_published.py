"""Stepwise progress attribution as its paper has it: a step's learned contribution, and a bonus if it was grounded.

Paper: Wang et al. 2025, arXiv 2505.20732; what it leaves open is taken from code WangHanLinHenry/SPA-RL-Agent
  (ed20087), which computes another reward (`spa-released`).
Equation: r_t = alpha * c_t + beta * g_t with c_t = MLP(h_t), h_t the last hidden state at the end of turn t, g_t in
  {0, 1} the grounding signal; loss (sum_t c_t - R)^2 over episodes explored by the warm start; the reward on the last
  token of the turn, the KL penalty on every token, GAE over tokens.
Defaults: alpha 1, beta 0.5 <- the paper; backbone tuned, epochs 1, weight_decay 0.01, batch 16 (2 in each of 4
  processes, accumulated twice) <- prm/train_our_progress_model.py; learning_rate 0.15 of the warm start's <- the same
  (3e-6, after SFT at 2e-5 in sft/*.sh): the same 3e-6 for a model that starts at SPA's rate, 4.5e-4 for the embedded
  one; of the MLP at least 4.5e-4 <- ours, see Deviations; with backbone=frozen 1e-3 <- ours; level token and the KL in
  the reward <- ppo/step_ppotrainer.py; hidden 128 <- ours, no source gives the size of the MLP; holdout 0.2 <- ours, to
  measure what was learned; gamma, lambda and the weight of the KL are the trainer's, because the file that the code
  reads them from was never released.
Deviations: none of the formula. The paper speaks of steps where it gives the weights of GAE, the code's trainer counts
  tokens: with `--set ppo.level=turn` credit is counted in turns. GAE runs through tokens of replies alone, in the code
  through observations too. Training starts from equal credit (what the paper starts from is not known), at the full
  rate: the code's 500 steps of warm-up are more than there are here. The share of tasks that is held out is not learned
  from, unlike in the code. By default 192 explored episodes (48 tasks, 4 of each) leave 38 tasks to learn from: 10
  steps of Adam with batch 16, of which the first moves the MLP alone, whose last layer starts at 0. At 3e-6, the
  paper's rate for all, contributions would stay equal (embedded model, rate of a Hub model: SD 4 % of their mean); so
  the MLP has a rate of its own, and a note below the table says where contributions hardly differ. More explored
  episodes (explore.tasks, explore.samples) come nearer to the paper, as they take more steps. learning_rate sets one
  rate for both. backbone=frozen trains the MLP alone. With model.adapter=lora the backbone is tuned by an adapter.
Conserves return: no; the contributions are fitted to the outcome but not forced to add up to it, and the bonus adds
  beta for every grounded step.
Needs: explored episodes and a tuned copy of the warm start (a forward and backward pass per episode at fit, and a
  forward pass per episode for rewards).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._decomposition import FROZEN_RATE, Backbone, Decomposition, OwnRate
from spa_bench.rewards._learned import Batch, Decay, Epochs, Hidden, Holdout
from spa_bench.rewards._network import Training


class SPAPublished(Decomposition):
    """With fewer than two usable explored episodes all contributions are zero.

    `alpha` (α) and `beta` (β) weigh contribution and grounding; `backbone` is whether a copy of the language model is
    `tuned` together with the MLP or stays `frozen`. `Training` explains the others; the last epoch is kept.
    """

    name = "spa-published"
    level = "token"
    kl_in_reward = True
    chooses_epoch = False

    @declared("reward spa-published")
    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0, description="weight of the learned contributions; SPA: 1")] = 1.0,
        beta: Annotated[float, Field(ge=0, description="bonus of each grounded step; SPA: 0.5")] = 0.5,
        backbone: Backbone = "tuned",
        hidden: Hidden = 128,
        epochs: Epochs = 1,
        learning_rate: OwnRate = None,
        weight_decay: Decay = 0.01,
        batch: Batch = 16,
        holdout: Holdout = 0.2,
    ) -> None:
        self.alpha, self.beta = alpha, beta
        self.set_training(
            backbone, learning_rate, Training(hidden, epochs, epochs, FROZEN_RATE, weight_decay, batch, holdout)
        )
        if backbone == "frozen" and type(self).our_form == SPAPublished.our_form:
            self.our_form = "the language model stays frozen (the paper tunes it with the MLP)"

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Contribution and bonus of each step; raises RuntimeError before `fit`."""
        grounded = [np.array([step.grounded for step in t.steps], dtype=np.float64) for t in group]
        return [self.alpha * c + self.beta * g for c, g in zip(self.numbers(group), grounded, strict=True)]
