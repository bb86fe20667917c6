"""Which GPU a run takes, and which of them each job of a comparison sees."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from spa_bench.config import VLLM, RunConfig
from spa_bench.core import UserError

VARIABLE = "CUDA_VISIBLE_DEVICES"


def choose_device(wanted: str) -> torch.device:
    """The device of `auto`, `cpu`, `cuda` or `cuda:1`; UserError where CUDA is asked for and absent."""
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"model.device={wanted}, but torch sees no CUDA device: install a CUDA build, or use device=cpu"
        )
    if number:
        return torch.device(kind, _there(wanted, int(number)))
    return torch.device("cuda" if kind != "cpu" and torch.cuda.is_available() else "cpu")


def take_device(config: RunConfig) -> torch.device:
    """The device of a run. One with a number is torch's current one from now on: kernels and trainers start there."""
    device = choose_device(config.model.device)
    if device.index is not None:
        if device.index and config.model.engine == VLLM:
            fix = f"set {VARIABLE}={device.index} and model.device=cuda"
            raise UserError(f"model.device={config.model.device}: vLLM takes the first GPU that it sees: {fix}")
        torch.cuda.set_device(device)
    return device


def _there(wanted: str, number: int) -> int:
    count = torch.cuda.device_count()
    if number >= count:
        most = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0"
        raise UserError(f"model.device={wanted}, but torch sees {most}: choose one of these, or set {VARIABLE}")
    return number


def visible() -> list[str]:
    """The GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them, by number or identifier."""
    count, said = torch.cuda.device_count(), os.environ.get(VARIABLE)
    return [str(number) for number in range(count)] if said is None else said.replace(" ", "").split(",")[:count]


def shared_out(wanted: Sequence[str], jobs: int, devices: Sequence[str]) -> list[dict[str, str]]:
    """What each of so many jobs has in its environment beside what this process has: one GPU each, in turn.

    Empty where nothing is to be shared out: without a second GPU, and where one of the `model.device` that are wanted
    is the CPU or one GPU by its number.
    """
    if len(devices) < 2 or not set(wanted) <= {"auto", "cuda"}:
        return []
    return [{VARIABLE: devices[job % len(devices)]} for job in range(jobs)]
