"""FSDP2 (torch's `fully_shard`, with the settings of accelerate's plugin): the trained weights cut up over the ranks.

What is trained is then a copy of the policy, of which each rank holds a part: the weights in fp32, their gradients and
the optimiser's moments. A layer is whole at a rank only while it computes. Games and scoring, in which each rank goes
its own way, have the policy itself, whole at every rank in its own dtype, with the new weights after each update.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from spa_bench.training import ranks
from spa_bench.training.masters import MasterAdamW
from spa_bench.training.policy import Policy


def trained(policy: Policy) -> Policy:
    """What an update trains: the policy itself, or, where the run was launched with FSDP2, its copy in parts."""
    plugin = ranks.fsdp_plugin()
    if plugin is None or ranks.size() == 1:
        return policy
    from transformers.modeling_layers import GradientCheckpointingLayer

    parts = copy.deepcopy(policy).to("cpu")  # a layer at a time goes to the device, and there it is cut up
    for weight in parts.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    mesh = init_device_mesh(policy.device.type, (ranks.size(),))
    given = {"mesh": mesh, "offload_policy": plugin.cpu_offload}
    again = given | {"reshard_after_forward": plugin.reshard_after_forward}
    low = MixedPrecisionPolicy(param_dtype=policy.model.dtype, reduce_dtype=torch.float32)
    for module in [*parts.modules()]:
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, mp_policy=low, **again)
    fully_shard(parts.value, **given)  # the head computes in fp32
    fully_shard(parts, mp_policy=low, **given)
    for module in parts.modules():
        if isinstance(module, FSDPModule):  # the loss is divided by what all ranks have: gradients are summed
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return parts


def is_sharded(policy: nn.Module) -> bool:
    """Every rank takes part in each of its passes."""
    return isinstance(policy, FSDPModule)


@torch.no_grad()
def give_weights(parts: Policy, policy: Policy) -> None:
    """Give a policy the weights of what was trained in its place."""
    if parts is not policy:
        for part, weight in zip(parts.parameters(), policy.parameters(), strict=True):
            if weight.requires_grad or part.requires_grad:
                weight.copy_(whole(part))


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be in parts; every rank asks for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, own: Tensor) -> Tensor:
    """A whole tensor, on the device of `own`, and in parts where that is."""
    if not isinstance(own, DTensor) or own.shape != tensor.shape:
        return tensor
    return distribute_tensor(tensor.to(own.device), own.device_mesh, own.placements)


class ShardedAdamW(MasterAdamW):
    """AdamW on parts of fp32 weights: of those that the policy has below fp32, they are the masters."""

    below: Sequence[Tensor] = ()

    def masters(self) -> Iterator[tuple[str, Tensor]]:
        """As `MasterAdamW.masters`, in parts."""
        for number, part in enumerate(self.below):
            yield str(number), part.detach()


def below_fp32(policy: Policy, parts: Policy) -> list[Tensor]:
    """Of the trained weights, those that the policy itself has below fp32."""
    pairs = zip(policy.parameters(), parts.parameters(), strict=True)
    return [part for weight, part in pairs if part.requires_grad and weight.dtype.itemsize < part.dtype.itemsize]
