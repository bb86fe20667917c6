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


class _Turns(nn.Module):
    """What the network says of each turn."""

    def __init__(self, policy: Policy, *, head: bool = False) -> None:
        super().__init__()
        self.body: nn.Module = policy.model.base_model
        if head:
            self.head: nn.Module = policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        # Bound methods: no parameter of the value head, or of the output layer without `head`, is one of this module's.
        self._hidden, self._replies = policy.hidden, policy.replies

    def forward(self, episodes: Sequence[Sequences], *, ends: bool) -> list[Tensor]:
        """The last hidden state at each turn's end (T, D), or the log-prob of each reply (T,)."""
        counts = [len(episode.where) for episode in episodes]
        parts = torch.split(self._hidden(episodes) if ends else self._replies(episodes), counts)
        if ends:
            return [h[torch.from_numpy(e.ends).to(h.device)] for h, e in zip(parts, episodes, strict=True)]
        return [
            torch.stack([turn.sum() for turn in torch.split(p, e.lengths.tolist())])
            for p, e in zip(parts, episodes, strict=True)
        ]


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
        read = Policy(policy.model, temperature=policy.temperature, **told) if self.adapted else policy
        self._network, self._whole = _Turns(read), _Turns(read, head=True)

    def weights(self, *, head: bool = False) -> dict[str, Tensor]:
        """A copy of the warm start's weights in fp32, by name: small steps would be lost on weights of bf16.

        Of an adapter's B, which the policy may have trained, zeros: with them the network is the warm start.
        """
        tuned = self._tuned(self._whole if head else self._network)
        copies = {name: weight.detach().to(torch.float32, copy=True) for name, weight in tuned.items()}
        return {name: copy.zero_() if self.adapted and adapter.is_b(name) else copy for name, copy in copies.items()}

    def _tuned(self, network: nn.Module) -> dict[str, Tensor]:
        return adapter.weights(network) if self.adapted else dict(network.named_parameters())

    def place(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights on the network's device, by name; those that are there are not copied."""
        device = self.reference.policy.device
        return {name: weight.to(device) for name, weight in weights.items()}

    def encode(self, weights: Mapping[str, Tensor], trajectories: Sequence[Trajectory]) -> list[Tensor]:
        """Hidden states (T, D) at turn ends, on the CPU in fp32, with a gradient to the weights.

        ValueError where their names are not those of `weights()`: what is missing would be read from the warm start.
        """
        width = self.reference.policy.value.in_features
        found = self._read(self._network, weights, trajectories, ends=True)
        return [torch.zeros(0, width) if h is None else h for h in found]

    def logprobs(self, weights: Mapping[str, Tensor], trajectories: Sequence[Trajectory]) -> list[Tensor]:
        """Log-probs of whole replies (T,), on the CPU in fp32, with a gradient to the weights.

        Their names are those of `weights()`, with or without `head`; ValueError where they are not.
        """
        found = self._read(self._whole, weights, trajectories, ends=False)
        return [torch.zeros(0) if p is None else p for p in found]

    def _read(
        self, network: nn.Module, weights: Mapping[str, Tensor], trajectories: Sequence[Trajectory], *, ends: bool
    ) -> list[Tensor | None]:
        """Of each; None of one without steps."""
        body, all_of_it = (set(self._tuned(each)) for each in (self._network, network))
        self._refuse_other_names(set(weights), body if len(weights) <= len(body) else all_of_it)
        placed = self.place(weights)
        turns = [t for t in trajectories if t.steps]
        episodes = [pack([step.tokens for step in t.steps]) for t in turns]
        self.tokens += sum(episode.size for episode in episodes)
        network.eval()  # as the reference reads: without dropout
        found: dict[int, Tensor] = {}
        with Timed():  # what is read here is no time of the method that asks for it
            for indices in microbatches(episodes, self.reference.limit, packed=self.reference.policy.packed):
                arguments = ([episodes[i] for i in indices],)
                read = functional_call(network, placed, arguments, {"ends": ends})
                found |= {id(turns[i]): each.float().cpu() for i, each in zip(indices, read, strict=True)}
        return [found.get(id(t)) for t in trajectories]

    def _refuse_other_names(self, given: set[str], own: set[str]) -> None:
        if given != own:
            lack, more = sorted(own - given), sorted(given - own)
            raise ValueError(
                f"backbone: these are the weights of another network: {len(lack)} of its weights are missing "
                f"({lack[0] if lack else 'none'}), {len(more)} are unknown ({more[0] if more else 'none'})"
            )
