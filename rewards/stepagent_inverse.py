"""How much a step looks like an expert's, by a discriminator that is trained again on each batch of episodes.

Paper: Deng et al. 2024, arXiv 2411.03817 (StepAgent-Inverse); no public code: re-implementation from description.
Equation: r_t = log D_t - log(1 - D_t) (form=airl), -log(1 - D_t) (gail) or log D_t (log), with D_t = sigmoid(MLP(h_t)),
  h_t the last hidden state at the end of turn t. Loss -(mean of log D over experts' steps + mean of log(1 - D) over
  the policy's steps) / 2, each with targets 1 - smoothing and smoothing in place of 1 and 0.
Defaults: form airl <- ours, because it alone has both signs: with gail every reward is positive, which favours long
  episodes, with log every reward is negative; airl is the reward of Fu et al. 2018, arXiv 1710.11248, gail <- Ho and
  Ermon 2016, arXiv 1606.03476; smoothing 0.1, expert_steps 4096, epochs 20, updates 2, hidden 128, learning_rate 1e-3,
  weight_decay 0.01, batch 256 <- ours: the description names no architecture and no sizes.
Deviations: re-implementation from descriptions, which leave the reward open: log D - log(1 - D) is our choice, and D is
  a head on the frozen warm start. Written from descriptions of the paper, not from its text: they do not say which of
  the forms is the reward, nor whether D is high for experts. The discriminator is a head on the backbone frozen at the
  warm start. `fit` trains it on the explored episodes; each batch then trains it for `updates` passes, with a fresh
  optimiser, before its rewards are computed. `expert_steps` steps of experts are drawn once: their hidden states are
  saved with each checkpoint. Classes count the same however many steps they have. `held_out_accuracy` is that of
  another discriminator, trained without the tasks that it is measured on, beside a clock that knows the turn alone. log
  D - log(1 - D) is clipped to +-log((1 - smoothing) / smoothing), so that rewards are bounded. Without experts, or
  before any step of the policy, D is 1/2. No outcome is added.
Conserves return: no; it rewards likeness to experts, whatever the outcome.
Needs: expert episodes, explored episodes and the encoder (one forward pass per episode at fit; for rewards that of the
  KL penalty is reused).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from spa_bench.core import Floats, Trajectory
from spa_bench.declared import declared
from spa_bench.rewards._clock import balanced, fitted_evenly, hands, partial
from spa_bench.rewards._learned import Decay, Hidden, Learned, Rate, usable
from spa_bench.rewards._network import Training, Weights, copy, estimate, passes, split, start

HELD_OUT = 0.2
"""Share of the tasks on which what the discriminator has learned is measured."""


FORMS = {"airl": "log D - log(1 - D)", "gail": "-log(1 - D)", "log": "log D"}
"""Name and formula of the reward."""


@dataclass(frozen=True)
class Steps:
    """N steps, of any episodes."""

    states: Tensor
    """(N, D)."""
    tasks: list[str]
    turns: Floats
    """(N,): counted from the start of the episode."""


def told(form: str) -> str:
    """Where `stepagent-inverse` with this form is not, or may not be, the paper's."""
    return (
        f"re-implementation from descriptions, which leave the reward open: {FORMS[form]} is our choice, and D is "
        "a head on the frozen warm start"
    )


class StepAgentInverse(Learned):
    """The policy's steps are those of the explored episodes at first, then of each batch in turn.

    `form` is the reward's formula; `smoothing` (ε) how sure the discriminator may become; `expert_steps` how many
    steps of experts are kept; `epochs` and `updates` how many passes train it at first and on each batch of episodes;
    `batch` is in steps. `Training` explains the others.
    """

    our_form = told("airl")
    name = "stepagent-inverse"
    uses_experts = True

    @declared("reward stepagent-inverse")
    def __init__(
        self,
        *,
        form: Annotated[
            Literal["airl", "gail", "log"],
            Field(description="formula of the reward; our choice, the paper leaves it open"),
        ] = "airl",
        smoothing: Annotated[
            float, Field(ge=1e-6, le=0.499, description="how sure the discriminator may not become; ours")
        ] = 0.1,
        expert_steps: Annotated[int, Field(ge=1, description="steps of experts that are kept; ours")] = 4096,
        epochs: Annotated[int, Field(ge=1, description="passes that train it at first; ours")] = 20,
        updates: Annotated[int, Field(ge=0, description="passes on each batch of episodes; ours")] = 2,
        hidden: Hidden = 128,
        learning_rate: Rate = 1e-3,
        weight_decay: Decay = 0.01,
        batch: Annotated[int, Field(ge=1, description="steps per optimiser step; ours")] = 256,
    ) -> None:
        self.form, self.smoothing, self.expert_steps, self.updates = form, smoothing, expert_steps, updates
        if type(self).our_form == StepAgentInverse.our_form:
            self.our_form = told(form)
        # Nothing is held out: the policy moves on, and each batch asks for another discriminator.
        self.training = Training(hidden, epochs, epochs, learning_rate, weight_decay, batch, 0.0)
        self._experts: Tensor | None = None
        """Hidden states (N, D) of the experts' steps; None where there are none."""
        self._batches = 0
        """Number of observed batches: each has its own random seed."""

    def fit(self, trajectories: Sequence[Trajectory], experts: Sequence[Trajectory]) -> dict[str, float]:
        """Keep the experts' steps, and train on them and on the explored ones; their order does not matter."""
        self._weights, self._experts, self._batches = {}, None, 0
        shown, played = self._steps(experts), self._steps(trajectories)
        if shown is not None:
            kept = torch.randperm(len(shown.states), generator=self.rng("experts"))[: self.expert_steps].sort().values
            shown = Steps(shown.states[kept].clone(), [shown.tasks[i] for i in kept], shown.turns[kept.numpy()])
            self._experts = shown.states
        figures = self._train(None if played is None else played.states, self.training.epochs)
        return figures | (self._held_out(shown, played) if shown is not None and played is not None else {})

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Go on training, against these episodes; raises RuntimeError before `fit`."""
        if self._weights is None:
            raise RuntimeError(f"{self.name} cannot go on training before fit: call fit or load a fitted state")
        self._batches += 1
        steps = self._steps(trajectories)
        self._train(None if steps is None else steps.states, self.updates)

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """Likeness to experts, in the form asked for; raises RuntimeError before `fit`."""
        most = math.log((1 - self.smoothing) / self.smoothing)
        return [paid(np.clip(logits, -most, most), self.form) for logits in self.numbers(group)]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The discriminator, the experts' steps and the count of batches; empty before `fit`."""
        state = super().state_dict()
        if self._weights is not None:
            state["batches"] = np.array([self._batches], dtype=np.int64)
        if self._experts is not None:
            state["experts"] = self._experts.numpy().copy()
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state_dict` gave, to the bit."""
        own = ("batches", "experts")
        super().load_state_dict({key: array for key, array in state.items() if key not in own})
        self._batches = int(state["batches"][0]) if "batches" in state else 0
        self._experts = torch.from_numpy(np.array(state["experts"])) if "experts" in state else None

    def _steps(self, trajectories: Sequence[Trajectory]) -> Steps | None:
        """All steps that were played for these episodes alone; None where there are none."""
        kept = usable(trajectories)
        states = [h[t.branch :] for h, t in zip(self.encode(kept), kept, strict=True)]
        if not any(len(h) for h in states):
            return None
        tasks = [t.task.key for t in kept for _ in range(t.played)]
        return Steps(
            torch.cat(states), tasks, np.concatenate([np.arange(t.branch, len(t)) for t in kept]).astype(float)
        )

    def _held_out(self, shown: Steps, played: Steps) -> dict[str, float]:
        """How often a discriminator that has not seen a step's task is right, and how often a clock; classes even.

        Another discriminator than the one that rewards are computed with, which learns from every task.
        """
        parts = split([*shown.tasks, *played.tasks], HELD_OUT, self.rng("held out"), choose=False)
        states, expert = torch.cat([shown.states, played.states]), np.arange(len(shown.tasks) + len(played.tasks))
        label = np.where(expert < len(shown.tasks), 1.0, -1.0)
        train, report = parts.train.numpy(), parts.report.numpy()
        if not len(report) or min(len(set(label[train])), len(set(label[report]))) < 2:
            return {}
        experts, policy = (states[torch.from_numpy(train[label[train] == side])] for side in (1.0, -1.0))
        weights = self._trained({}, experts, policy, self.training.epochs, self.rng("held out"))
        with torch.inference_mode():
            logits = estimate(weights, states).double().numpy()
        turns = hands(np.concatenate([shown.turns, played.turns]), np.zeros(len(label)))
        found = {
            "held_out_accuracy": balanced(logits[report], label[report]),
            "clock_accuracy": balanced(fitted_evenly(turns, label, train)[report], label[report]),
            "partial_correlation": partial(logits[report], label[report], turns[report]),
        }
        return {name: figure for name, figure in found.items() if figure is not None}

    def _train(self, policy: Tensor | None, epochs: int) -> dict[str, float]:
        """Go through experts and policy so many times; figures by the trained discriminator."""
        if policy is None or self._experts is None or self._weights is None:
            return {"expert_steps": float(len(self._experts)) if self._experts is not None else 0.0}
        rng = self.rng("batch", self._batches)
        self._weights = self._trained(self._weights, self._experts, policy, epochs, rng)
        steps, targets, even = self._classes(self._experts, policy)
        with torch.inference_mode():
            right = (estimate(self._weights, steps) > 0) == (targets > 0.5)
            loss = _cross_entropy(self._weights, steps, targets, even)
            figures = {"loss": loss, "accuracy": (right * even).mean()}
        counts = {"expert_steps": float(len(self._experts)), "policy_steps": float(len(policy))}
        return counts | {name: float(figure) for name, figure in figures.items()}

    def _trained(
        self, weights: Weights, experts: Tensor, policy: Tensor, epochs: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """The discriminator after so many more passes; a new one where there is none."""
        steps, targets, even = self._classes(experts, policy)
        learned = copy(weights) or start(steps, torch.zeros(1), self.training.hidden, rng)

        def loss(weights: Weights, picks: Tensor) -> Tensor:
            return _cross_entropy(weights, steps[picks], targets[picks], even[picks])

        for _ in passes(learned, loss, torch.arange(len(steps)), replace(self.training, epochs=epochs), rng):
            pass
        return copy(learned)

    def _classes(self, experts: Tensor, policy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All steps, experts first; what D should be there; and how much each counts."""
        targets = torch.full((len(experts) + len(policy),), self.smoothing)
        targets[: len(experts)] = 1 - self.smoothing
        return torch.cat([experts, policy]), targets, class_weights(len(experts), len(policy))


def _cross_entropy(weights: Weights, steps: Tensor, targets: Tensor, even: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(estimate(weights, steps), targets, weight=even)


def paid(logits: Floats, form: str) -> Floats:
    """The reward where log D - log(1 - D) is `logits`; no form overflows."""
    if form == "airl":
        return logits
    priced: Floats = np.logaddexp(0.0, logits) if form == "gail" else -np.logaddexp(0.0, -logits)
    return priced


def class_weights(experts: int, policy: int) -> Tensor:
    """One weight per step, experts first: each class has half of the total, and the mean is 1."""
    total = experts + policy
    return torch.cat([torch.full((n,), total / (2 * n)) for n in (experts, policy)])
