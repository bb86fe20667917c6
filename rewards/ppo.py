"""The field's PPO baseline: the outcome on the last token, token-level GAE, KL in the reward.

Paper: Ziegler et al. 2019, arXiv 1909.08593 (KL in the reward); Schulman et al. 2016, arXiv 1506.02438 (GAE).
Equation: r_N = R on the last sampled token, r_n = -k * KL_n on every token n; advantages by GAE over tokens.
Defaults: none of its own; gamma, lambda and the weight k of the KL are the trainer's (`ppo.gamma`, `ppo.lam`,
  `ppo.kl_coef`), the same for every method.
Deviations: none of the formula. Tokens of observations are no decisions, so they do not decay credit; TRL 0.10.1 (SPA,
  StepTool) runs GAE through them, which leaves 1e-24 of the outcome at the first of ten turns of 100 tokens.
Conserves return: yes.
Needs: nothing.
"""

from __future__ import annotations

from spa_bench.rewards.sparse import Sparse


class PPO(Sparse):
    """The same step rewards as `sparse`; what differs is the decision that credit is spread over, and the KL."""

    level = "token"
    kl_in_reward = True
