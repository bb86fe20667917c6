"""The whole of 3SPO: its reward, and a rollout with many replies where much is left to learn, one or none elsewhere.

Paper: arXiv 2606.09961; code genalyu/3SPO (da38445).
Equation: the reward of `3spo-lite`; n(s) = ceil(G_max * S(s)) replies are tried in state s: none cuts the episode off,
  one goes on, several are compared: A_t = r_t - mean of r over the replies tried in this state. The episode goes on
  with the reply of the highest r and, when it is over, comes back to the others, best first.
Defaults: max_replies 8 (G_max) <- README and run_alfworld_7B.sh; those of `3spo-lite`.
Deviations: states are counted for each task apart (the paper: shared by all), explored episodes count too, and the
  policy is updated after portions of steps (the paper: after each state). The released trainer never calls its rollout
  (it trains GRPO); this one does, and returns to a state by environment snapshots, where the code's search only
  restores the observation. A portion is ppo.env_steps / ppo.minibatches steps of all trees together, while the episodes
  are under way, so that there are as many optimiser steps as with every other method; where one round of replies is
  worth several, its steps are split into as many minibatches. A task is left after ppo.samples finished episodes (the
  code: 32), and a tree with nowhere to go back to begins its task anew; a state collects xi failures only where its
  task comes back, so that at the default size of a run hardly any episode is cut off (key=released and fewer
  world.train_tasks change that). Replies with the same action are all executed, but only one of them is continued (the
  code continues no action that any episode has tried at that text). Every executed reply counts as an environment step.
  An episode that is cut off counts as failed. A reply tried alone has no advantage, but its KL counts. The trainer
  scales the advantages of a batch to root mean square 1, as for every method without a critic (the paper does not
  normalise them). Statistics follow the deviations of `3spo-lite`; how many replies are tried is decided by every
  episode that is over.
Conserves return: no; as `3spo-lite`.
Needs: environment snapshots; explored episodes, unless explored=false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.method import MOST_REPLIES
from spa_bench.rewards._forms import listed
from spa_bench.rewards._groups import Compared, relative, within
from spa_bench.rewards._state_scores import (
    ExploredToo,
    Key,
    Novelty,
    NoveltyForm,
    Prior,
    Smoothing,
    StateScores,
    Steepness,
    changed,
)
from spa_bench.state_keys import states


def form(changed: Sequence[str]) -> str:
    """Where the method is not the paper's."""
    return listed([*changed, "the policy is updated after portions of steps (the paper: after each state)"])


class ThreeSPO(StateScores, Compared):
    """Adaptive rollouts; each step is compared with those tried in the same state.

    `max_replies` (G_max) is how many are tried in a state of which nothing is known; `3spo-lite` explains the others.
    """

    form = staticmethod(form)
    our_form = form(changed())
    conserves_return = False
    updates_between_steps = True

    @declared("reward 3spo")
    def __init__(
        self,
        *,
        max_replies: Annotated[
            int, Field(ge=1, le=MOST_REPLIES, description="most replies tried in a state; 3SPO: 8")
        ] = 8,
        alpha: Steepness = 50.0,
        xi: Prior = 10.0,
        zeta: Smoothing = 0.1,
        k: Novelty = 0.1,
        key: Key = "task",
        novelty: NoveltyForm = "paper",
        explored: ExploredToo = True,
    ) -> None:
        super().__init__(alpha=alpha, xi=xi, zeta=zeta, k=k, key=key, novelty=novelty, explored=explored)
        self.max_replies = max_replies

    def branch(self, state: Trajectory) -> int:
        """n(s)."""
        return math.ceil(self.max_replies * self.score(state))

    def compare(self, group: Sequence[Trajectory], rewards: Sequence[Floats]) -> list[Floats]:
        """Reward minus the mean over all steps taken after exactly the same past; 0 for a step alone."""
        pasts = [states(t, history=len(t))[t.branch : -1] for t in group]
        return within(pasts, rewards, lambda earned: relative(earned, normalise=False, epsilon=0.0))
