"""How much more a step looks like the expert's than like the agent's, learned from pairs of actions in the same state.

Paper: Deng et al. 2024, arXiv 2411.03817 (StepAgent-Implicit); no public code: re-implementation from description.
  Preference loss and implicit reward: Rafailov et al. 2023, arXiv 2305.18290 (DPO).
Equation: r_t = beta * f(s_t, a_t), f standing for log pi(a | s) / pi_ref(a | s); loss over pairs of the expert's action
  a and the agent's own b in a state s of an expert episode, with F = beta * f:
  -log sigmoid(F(s, a) - F(s, b)) + centre * ((F(s, a) + F(s, b)) / 2)^2.
Defaults: beta 0.1 <- TRL's DPOConfig; prefixes 512, centre 0.1, hidden 128, epochs 40, patience 6, learning_rate 1e-3,
  weight_decay 0.01, batch 32, holdout 0.2 <- ours: the description names no sizes.
Deviations: re-implementation from descriptions: a network on hidden states in place of the log-ratio of a tuned model,
  with a term of our own that centres the two actions of a state. F is a small network on the last hidden state at the
  end of the turn, of the backbone frozen at the warm start, in place of the log-ratio of a model that DPO has trained
  as a whole; a DPO trainer is no part of this. Written from descriptions of the paper, not from its text. Pairs are
  sampled once, by the policy of the warm start, in `prefixes` states drawn from all expert episodes, because each costs
  a reply. Pairs of equal actions say nothing and are left out. The loss of DPO leaves open what is added to f in a
  state, whatever the action; `centre` settles it: it draws the two actions of a state to opposite rewards. Held-out
  tasks choose when to stop, and others tell how often the expert's action is preferred (`held_out_accuracy`); a clock
  prefers neither, as both were taken at the same turn. No outcome is added.
Conserves return: no; it rewards likeness to experts, whatever the outcome.
Needs: expert episodes, one reply of the agent per state, and the encoder (one pass per pair at fit, and one per episode
  for rewards).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from spa_bench.core import Floats, Trajectory, derive_seed
from spa_bench.declared import declared
from spa_bench.rewards import _network
from spa_bench.rewards._learned import Batch, Decay, Epochs, Hidden, Holdout, Learned, Patience, Rate, usable
from spa_bench.rewards._network import Training, Weights, estimate, measure, split

State = tuple[int, int]
"""Which expert episode, and which of its turns comes next."""


REPLACED = "re-implementation from descriptions: a network on hidden states in place of the log-ratio of a tuned model"
CENTRED = "with a term of our own that centres the two actions of a state"


class StepAgentImplicit(Learned):
    """With pairs from fewer than two expert episodes all rewards are zero.

    `beta` (β) is the unit of the implicit reward; `centre` how strictly the rewards of the two actions are opposite;
    `prefixes` in how many states the agent is asked. `batch` is in expert episodes. `Training` explains the others.
    """

    our_form = f"{REPLACED}, {CENTRED}"
    name = "stepagent-implicit"
    uses_experts = True

    @declared("reward stepagent-implicit")
    def __init__(
        self,
        *,
        beta: Annotated[float, Field(ge=1e-6, description="unit of the implicit reward; TRL's DPOConfig: 0.1")] = 0.1,
        centre: Annotated[
            float, Field(ge=0, description="how strictly the rewards of two actions are opposite; ours")
        ] = 0.1,
        prefixes: Annotated[int, Field(ge=1, description="states of experts in which the agent is asked; ours")] = 512,
        hidden: Hidden = 128,
        epochs: Epochs = 40,
        patience: Patience = 6,
        learning_rate: Rate = 1e-3,
        weight_decay: Decay = 0.01,
        batch: Batch = 32,
        holdout: Holdout = 0.2,
    ) -> None:
        self.beta, self.centre, self.prefixes = beta, centre, prefixes
        if not centre and type(self).our_form == StepAgentImplicit.our_form:
            self.our_form = REPLACED
        self.training = Training(hidden, epochs, patience, learning_rate, weight_decay, batch, holdout)

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Ask the agent what it would do in the experts' place, and learn what tells the two apart."""
        self._weights = {}
        shown, rng = usable(experts), self.rng()
        states = [(e, turn) for e, expert in enumerate(shown) for turn in range(len(expert))]
        asked = sorted(states[i] for i in torch.randperm(len(states), generator=rng)[: self.prefixes])
        answered = self._own(shown, asked)
        differ = {
            (e, turn): own
            for (e, turn), own in answered.items()
            if own.steps[turn].action != shown[e].steps[turn].action
        }
        figures = {"experts": len(shown), "prefixes": len(asked), "unanswered": len(asked) - len(answered)}
        figures |= {"equal": len(answered) - len(differ), "pairs": len(differ)}
        tasks, pairs = self._pairs(shown, differ)
        learned = self._learn(tasks, pairs, rng) if len(pairs) >= 2 else {}
        return {name: float(count) for name, count in figures.items()} | learned

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """The implicit reward of each step; raises RuntimeError before `fit`."""
        return [self.beta * f for f in self.numbers(group)]

    def _own(self, experts: Sequence[Trajectory], states: Sequence[State]) -> dict[State, Trajectory]:
        """What the agent would do in each state: the episode up to and with its own step. Failed replies are absent."""
        if not states:
            return {}
        if self.simulator is None:
            raise RuntimeError(f"{self.name} asks the agent for its own actions: set `simulator` before fit")
        prefixes = [experts[e].until(turn) for e, turn in states]
        seed = derive_seed(self.seed, self.name, "own actions")
        replies = self.simulator(prefixes, samples=1, seed=seed, steps=1)
        tried = zip(states, (own for (own,) in replies), strict=True)
        return {(e, turn): own for (e, turn), own in tried if own.error is None and len(own) > turn}

    def _pairs(self, experts: Sequence[Trajectory], differ: dict[State, Trajectory]) -> tuple[list[str], list[Tensor]]:
        """Task and hidden states (pairs, 2, D) of each expert episode that has pairs: the expert's action first."""
        met = sorted({e for e, _ in differ})
        of_expert = dict(zip(met, self.encode([experts[e] for e in met]), strict=True))
        of_agent = dict(zip(differ, self.encode(list(differ.values())), strict=True))
        pairs: dict[int, list[Tensor]] = {e: [] for e in met}
        for (e, turn), own in of_agent.items():
            pairs[e].append(torch.stack([of_expert[e][turn], own[turn]]))
        return [experts[e].task.key for e in met], [torch.stack(some) for some in pairs.values()]

    def _learn(self, tasks: Sequence[str], pairs: Sequence[Tensor], rng: torch.Generator) -> dict[str, float]:
        def preferred(weights: Weights, picks: Tensor) -> Tensor:
            return self.beta * estimate(weights, torch.cat([pairs[i] for i in picks]))

        def loss(weights: Weights, picks: Tensor) -> Tensor:
            return preference_loss(preferred(weights, picks), self.centre)

        def right(weights: Weights, part: Tensor) -> Tensor:
            return (preferred(weights, part).diff() < 0).float().mean()

        parts = split(tasks, self.training.holdout, rng)
        self._weights, epoch = _network.learn(
            lambda _, part: [pairs[i].flatten(0, 1) for i in part],
            {}, torch.zeros(1), loss, loss, self.training, parts, rng,
        )  # fmt: skip
        figures = {"epoch": float(epoch), "train_loss": measure(loss, self._weights, parts.train)}
        if len(parts.report):
            held_out = (measure(one, self._weights, parts.report) for one in (loss, right))
            figures |= dict(zip(("held_out_loss", "held_out_accuracy"), held_out, strict=True))
            figures["clock_accuracy"] = 0.5  # both actions of a pair were taken at the same turn
        return figures


def preference_loss(scores: Tensor, centre: float) -> Tensor:
    """The loss of some pairs (N, 2), the expert's score first."""
    experts, own = scores.unbind(dim=1)
    return -F.logsigmoid(experts - own).mean() + centre * (scores.mean(dim=1) ** 2).mean()
