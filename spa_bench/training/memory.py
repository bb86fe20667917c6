"""Running out of memory ends in one line that names the setting to change."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import torch

from spa_bench import machine
from spa_bench.core import UserError


def free_memory() -> None:
    """Free what is out of use but refers to itself, as trainers do, and give a GPU's blocks back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class OutOfMemory(UserError):
    """The machine's memory, or the device's, was too small for the settings."""


@contextlib.contextmanager
def enough_memory(place: str, remedy: str) -> Iterator[None]:
    """Raises OutOfMemory with the remedy where what is done within runs out of memory at this place."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise OutOfMemory(
            f"out of memory {place}: {remedy}; what was saved stays, and `run --dry-run` estimates what is needed"
        ) from None


def ran_out(error: BaseException) -> bool:
    """It says that memory could not be had."""
    return isinstance(error, torch.OutOfMemoryError) or machine.ran_out(error)
