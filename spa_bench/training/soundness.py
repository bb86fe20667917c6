"""Whether a policy is one after an update: weights that are no numbers, or have exploded, say nothing of a method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

GROWTH = 10.0
"""How many times their size at the start the weights may have. AdamW moves each of them by about the rate in a step, so
that a rate at which anything is learned stays far below, and beyond it nothing of the start is left."""

MOST_BROKEN = 3
"""Iterations in a row without an update that holds, after which a run ends."""


@torch.no_grad()
def size(model: nn.Module) -> float:
    """Root mean square of the weights that are trained; infinite or NaN where they are, or their squares in fp32."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    norms = torch.stack([torch.linalg.vector_norm(weight, dtype=torch.float32) for weight in weights])
    squares: float = norms.double().square().sum().item()
    return math.sqrt(squares / sum(weight.numel() for weight in weights))


@torch.no_grad()
def fault(start: float, model: nn.Module, head: nn.Module | None = None) -> str | None:
    """What is wrong with the weights of a network, whose size was `start`, or of a value head; None for nothing."""
    sizes = [size(part) for part in (model, head) if part is not None]
    if sizes[0] <= GROWTH * start and all(map(math.isfinite, sizes)):
        return None
    weights = [weight for part in (model, head) if part is not None for weight in part.parameters()]
    if not all(bool(weight.isfinite().all()) for weight in weights):
        return "the update left weights that are no numbers"
    largest = max(weight.abs().max().item() for weight in weights)
    return f"the update left weights of up to {largest:.2g}, more than {GROWTH:g} times the size at the start"


def at_start(rows: Iterable[Mapping[str, Any]], model: nn.Module) -> float:
    """The size that these rows of metrics tell of the start, else that of this model."""
    return next((float(row["weights_start"]) for row in rows if row.get("weights_start")), size(model))


def in_a_row(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why the last iterations of these rows of metrics have no update that holds; empty where the last one has one."""
    reasons: list[str] = []
    for row in rows:
        if row.get("kind") == "iteration":
            reasons = [*reasons, str(row["broken"])] if row.get("broken") else []
    return reasons


def said(reasons: list[str], iteration: int, method: str) -> str:
    """One line on why a run ends, after these iterations in a row of which this is the last."""
    before = len(reasons) - 1
    again = f", as was the case in the {before} before" if before else ""
    return f"iteration {iteration}: {reasons[-1]}{again}: the rewards of {method} or ppo.learning_rate are too large"
