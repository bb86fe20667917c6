"""How much less there is to learn after a step than before it, by past success in each state; novelty; success.

Paper: arXiv 2606.09961 (3SPO; its reward alone); code genalyu/3SPO (da38445).
Equation: r_t = w * new + (0.5 - w) * (S(s) - S(s')) + 0.5 * success on the last step, with s the state before step t
  and s' the one after it; S(s) = exp(-alpha * ln(n) * W / (N + 1e-6)) where N - W < xi or W / (N + 1e-6) > zeta, else
  0; w = 0.5 * exp(-k * N); N the finished episodes that met s, W those of them that succeeded, n - 1 all of them.
Defaults: alpha 50, xi 10, zeta 0.1, k 0.1 <- run_alfworld_7B.sh and main_3spo.py (the class alone has alpha 1); novelty
  paper <- the paper, new where s' is first met in the episode (released: where the text changed); key task <- ours, see
  Deviations; explored on <- ours, see Deviations.
Deviations: the reward alone, with GAE in place of the comparison of replies in one state; states are counted for each
  task apart (the paper: shared by all) and explored episodes count too. No adaptive rollout, no truncation, no update
  after each step: credit is the trainer's GAE; the paper's own ablation finds the rollout not needed for performance. A
  state is an observation of one task (key=history: with all that came before it); the code's is the text alone, shared
  by all tasks (key=released), where a success in one kitchen makes the same text in another count as solved. With
  thousands of train tasks few come back: in a default run in ALFWorld 3.4 % of the steps begin in a state that was met
  before, 92 % with key=released; elsewhere S = 1 and w = 0.5, so that only novelty and success are rewarded (fewer
  world.train_tasks make states come back). Novelty is judged by the observation, with any key. Success is the
  environment's own test; the code takes any reward above 0 for it. Rewards use the counts of earlier batches: a batch
  is counted when the next one comes. The explored episodes are counted too (explored=false: the paper's start from
  nothing, where the first batch is rewarded for novelty and success alone). The state that an episode ends in is met
  like any other; the code counts only states that were acted in, so that the last step leads from a solved state to an
  unseen one and loses as much as success adds. Counts start at zero in each run; the code keeps its own in a file of
  the working directory.
Conserves return: no; w differs between states, so that the differences do not telescope, and novelty adds up to 0.5 a
  step.
Needs: explored episodes, unless explored=false.
"""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.rewards._forms import listed
from spa_bench.rewards._state_scores import StateScores, changed


def form(changed: Sequence[str]) -> str:
    """Where the method is not the paper's."""
    alone = "the reward alone, with GAE in place of the comparison of replies in one state"
    return "; ".join(part for part in (alone, listed(changed)) if part)


class ThreeSPOLite(StateScores):
    """The reward alone; episodes are played as for every other method."""

    form = staticmethod(form)
    our_form = form(changed())
