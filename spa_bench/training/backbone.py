"""A copy of the warm start that a reward method may tune: `method.Backbone`.

The network is called as a function of weights that the method holds, so that neither the policy nor the reference can
be changed by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spa_bench.core import Trajectory
from spa_bench.training import adapter
from spa_bench.training.batches import Sequences, microbatches, pack
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import Reference
from spa_bench.watch import Timed


class _TurnEnds(nn.Module):
    """The last hidden state at the end of each turn."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.body: nn.Module = policy.model.base_model
        self._hidden = policy.hidden  # a bound method: no parameter of the head is one of this module's

    def forward(self, episodes: Sequence[Sequences]) -> list[Tensor]:
        """(T, D) for each."""
        parts = torch.split(self._hidden(episodes), [len(episode.where) for episode in episodes])
        return [h[torch.from_numpy(e.ends).to(h.device)] for h, e in zip(parts, episodes, strict=True)]


class Tunable:
    """The frozen reference's network; under LoRA an adapter of the policy's shape beside it.

    Without LoRA for small models. Beside the policy and the reference, a fit holds up to seven times as many numbers as
    the network, or the adapter, has: the weights that it began with, those that it tunes, their gradient, two moments
    of Adam, and the weights of the chosen epoch (two of these while a better one takes their place). After it the
    method holds one copy.
    """

    def __init__(self, reference: Reference, learning_rate: float) -> None:
        self.reference, self.learning_rate = reference, learning_rate
        self.tokens = 0
        """Read for the method, in passes of its own: its overhead."""
        policy = reference.policy
        self.adapted = policy.bare
        """What is tuned is a copy of the policy's adapter."""
        told = {"recompute": policy.recompute, "packed": policy.packed}
        self._network = _TurnEnds(Policy(policy.model, **told) if self.adapted else policy)
        self._names = set(self._tuned())

    def weights(self) -> dict[str, Tensor]:
        """A copy of the warm start's weights in fp32, by name: small steps would be lost on weights of bf16.

        Of an adapter's B, which the policy may have trained, zeros: with them the network is the warm start.
        """
        copies = {name: weight.detach().to(torch.float32, copy=True) for name, weight in self._tuned().items()}
        return {name: copy.zero_() if self.adapted and adapter.is_b(name) else copy for name, copy in copies.items()}

    def _tuned(self) -> dict[str, Tensor]:
        return adapter.weights(self._network) if self.adapted else dict(self._network.named_parameters())

    def place(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights on the network's device, by name; those that are there are not copied."""
        device = self.reference.policy.device
        return {name: weight.to(device) for name, weight in weights.items()}

    def encode(self, weights: Mapping[str, Tensor], trajectories: Sequence[Trajectory]) -> list[Tensor]:
        """Hidden states (T, D) at turn ends, on the CPU in fp32, with a gradient to the weights.

        ValueError where their names are not those of `weights()`: what is missing would be read from the warm start.
        """
        self._refuse_other_names(set(weights))
        placed = self.place(weights)
        turns = [t for t in trajectories if t.steps]
        episodes = [pack([step.tokens for step in t.steps]) for t in turns]
        self.tokens += sum(episode.size for episode in episodes)
        self._network.eval()  # as the reference reads: without dropout
        width = self.reference.policy.value.in_features
        found: dict[int, Tensor] = {}
        with Timed():  # what is read here is no time of the method that asks for it
            for indices in microbatches(episodes, self.reference.limit, packed=self.reference.policy.packed):
                ends = functional_call(self._network, placed, ([episodes[i] for i in indices],))
                found |= {id(turns[i]): h.float().cpu() for i, h in zip(indices, ends, strict=True)}
        return [found[id(t)] if t.steps else torch.zeros(0, width) for t in trajectories]

    def _refuse_other_names(self, given: set[str]) -> None:
        if given != self._names:
            lack, more = sorted(self._names - given), sorted(given - self._names)
            raise ValueError(
                f"backbone: these are the weights of another network: {len(lack)} of its weights are missing "
                f"({lack[0] if lack else 'none'}), {len(more)} are unknown ({more[0] if more else 'none'})"
            )
