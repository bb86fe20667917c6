"""The reward of SPA's released code: the outcome against the task's other episodes and grounding, times the turns left.

Paper: none; code WangHanLinHenry/SPA-RL-Agent (ed20087), released with Wang et al. 2025, arXiv 2505.20732 (`spa`).
Equation: r_k = (T - k) * (A_i + beta * g_k) on the last token of turn k, for k = 1 to T, with
  A_i = R_i - mean_(j != i) R_j over the episodes of the task (R_i where there is no other), g_k = 0 where the text that
  follows turn k has "Nothing happens" in it, else 1, and g_T = 1; the KL penalty on every token; GAE over tokens.
Defaults: beta 0.5 <- prm/rl_data_org.py; position on <- compute_rewards of ppo/step_ppotrainer.py (off: without the
  factor T - k, as rl_data_org.py writes it); gamma, lambda and the weight of the KL are the trainer's, because the file
  that the code reads them from (StepTool_ppo.json) was never released.
Deviations: episodes are compared in the batch that was just played (the code: once, among the explored ones), and
  tokens of observations are no decisions. No estimator is trained, because rl_data_org.py replaces its output by A_i;
  so there is no alpha either. In the code PPO is one epoch over the explored episodes, and GAE runs through tokens of
  observations too, so that credit hardly crosses turns. Every episode is used, and whole; the code leaves out those of
  35 turns and more, keeps at most 1,596, and drops what is more than 4,096 tokens before the last reply. Its grounding
  is unchanged: only that text counts, so that a refusal in other words is grounded, and in an environment without the
  text (WebShop) every step is; but here ALFWorld and VirtualHome say it to malformed replies too (not in VirtualHome's
  protocol of the same name), the code's own do not. Its factor is unchanged: the last turn gets 0, whatever happened
  there. Where several characters act, each is compared with the same character of the other episodes; an episode with
  an error outside the agent's control is left out and has A_i = 0.
Conserves return: no; the sum is A_i * T * (T - 1) / 2 and the bonuses, so that an episode of one step gets 0.
Needs: several episodes of each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.method import RewardMethod
from spa_bench.rewards._groups import among_peers
from spa_bench.rewards.rloo import leave_one_out

REFUSED = "Nothing happens"
"""The only text by which the code knows that a step was not executed."""


class SPAReleased(RewardMethod):
    """`beta` (β) weighs grounding; `position` multiplies each turn's reward by the number of turns after it.

    An episode without steps has no rewards.
    """

    our_form = (
        "episodes are compared in the batch that was just played (the code: once, among the explored ones), and "
        "tokens of observations are no decisions"
    )
    level = "token"
    kl_in_reward = True

    @declared("reward spa-released")
    def __init__(
        self,
        *,
        beta: Annotated[float, Field(ge=0, description="bonus of each grounded turn; the released scripts: 0.5")] = 0.5,
        position: Annotated[bool, Field(description="times the number of turns left, as its trainer has it")] = True,
    ) -> None:
        self.beta, self.position = beta, position
        if not position and type(self).our_form == SPAReleased.our_form:
            self.our_form = f"{self.our_form}; without the factor of the turn, which its trainer has"

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Comparison and bonus at every turn, times the turns left."""
        compared = among_peers(group, _against_the_others)
        paid = [a + self.beta * _grounded(t) for a, t in zip(compared, group, strict=True)]
        return [p * np.arange(len(p))[::-1] for p in paid] if self.position else paid


def _against_the_others(outcomes: Floats) -> Floats:
    """Leave-one-out; one alone keeps its outcome."""
    return leave_one_out(outcomes) if len(outcomes) > 1 else outcomes


def _grounded(trajectory: Trajectory) -> Floats:
    """The code's grounding signal, (T,): it reads the next message of the chat, and the last turn has none."""
    answers = [step.observation for step in trajectory.steps[1:]]
    return np.array([*(REFUSED not in answer for answer in answers), True], dtype=np.float64)[: len(trajectory)]
