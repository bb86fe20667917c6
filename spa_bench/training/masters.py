"""AdamW for weights of low precision: fp32 copies of them are what is stepped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class MasterAdamW(torch.optim.AdamW):
    """AdamW whose groups hold an fp32 copy, the master, of each weight below fp32 (Micikevicius et al. 2018, 3.1).

    A step of 1e-5 is lost on a bf16 weight of 0.01, whose neighbours are 6e-5 away; on the master it adds up. As soon
    as a weight has its gradient, that is added to the master's in fp32 and freed. A step uses the masters' gradients up
    and writes the masters, rounded, to the weights. Weights of fp32 are stepped themselves.
    """

    def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
        self.pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        """Each weight below fp32, and its master."""
        own = [group | {"params": [self._trained(weight) for weight in group["params"]]} for group in groups]
        if self.pairs:
            settings["fused"] = True  # the form for all weights at once would hold further copies of them
        super().__init__(own, **settings)
        self.register_step_post_hook(self._finish)

    def _trained(self, weight: nn.Parameter) -> nn.Parameter:
        if weight.dtype.itemsize >= torch.float32.itemsize:
            return weight
        master = nn.Parameter(weight.detach().float())
        self.pairs.append((weight, master))

        def take(weight: Tensor) -> None:
            assert weight.grad is not None
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad += weight.grad
            weight.grad = None

        weight.register_post_accumulate_grad_hook(take)  # type: ignore[no-untyped-call]
        return master

    def _finish(self, *hooked: Any) -> None:
        """After a step."""
        for _, master in self.pairs:
            master.grad = None
        self.write_back()

    @torch.no_grad()
    def write_back(self) -> None:
        """Give every weight its master's value, rounded to the nearest of its own precision."""
        for weight, master in self.pairs:
            weight.copy_(master)

    def masters(self) -> Iterator[tuple[str, Tensor]]:
        """The masters by number, for a checkpoint."""
        for number, (_, master) in enumerate(self.pairs):
            yield str(number), master.detach()
