"""The processes of one run, one a device, as `accelerate launch` starts them. A process alone is rank 0 of 1.

All ranks go through the same stages. What they play, score and differentiate is dealt out among them and collected, so
that each knows the same afterwards; rank 0 alone writes, and asks the reward method (`on_first`). For a process alone
every function here does nothing, so that nothing else has to ask.

What ranks tell each other is JSON, and arrays are safetensors: nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import safetensors.numpy
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor

from spa_bench import machine
from spa_bench.core import UserError
from spa_bench.runs.journal import plain

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=30)
"""Of one rank for the others: a method's `fit` may take hours, in which rank 0 says nothing. A rank that is gone is
noticed at once, by its closed connection."""

SECONDS_TO_DIE = 5.0
"""Between the closed connection of a rank and the end of its process."""

LAUNCHED = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
    "ROLE_RANK",
    "ACCELERATE_USE_FSDP",
)


class RankDied(UserError):
    """Another rank has ended before the run did."""


class Left(SystemExit):
    """Rank 0 has ended the run, and says why."""


@dataclass
class _Ranks:
    """This process among the others."""

    rank: int = 0
    size: int = 1
    alone: bool = False
    """Rank 0 does something that the others wait for."""
    messages: Any = None
    """A process group on the CPU, whatever the device."""
    plugin: Any = None
    """accelerate's, where the run was launched with FSDP2."""
    places: list[Any] = field(default_factory=list)
    """Process id and host of each rank."""


_own = _Ranks()


def launched() -> bool:
    """This process was started as one of several."""
    return _own.size > 1 or machine.launched()


def begin(cpu: bool) -> None:
    """Join the other ranks, where this process was started as one of several. Sets the CUDA device of this rank."""
    if _own.size > 1:
        return
    if not launched():
        _hide_launch()
        return
    from accelerate import PartialState  # type: ignore[import-untyped]

    _own.plugin = _plugin()
    state = PartialState(cpu=cpu, timeout=LONGEST_WAIT)
    _own.rank, _own.size = state.process_index, state.num_processes
    _own.messages = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    _own.places = everyone([os.getpid(), socket.gethostname()])
    PartialState._reset_state()
    _hide_launch()


def _hide_launch() -> None:
    """A library that found the launcher's variables would share out its work once more, as the warm start's Trainer."""
    for name in LAUNCHED:
        os.environ.pop(name, None)


def _plugin() -> Any:
    from accelerate import FullyShardedDataParallelPlugin

    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise UserError("accelerate launch --use_fsdp: add --fsdp_version 2")
    return plugin


def fsdp_plugin() -> Any:
    """The settings of FSDP2 that the run was launched with; None without it."""
    return _own.plugin


def refuse(command: str) -> None:
    """UserError where several ranks were started for a command that is one process's."""
    if launched():
        raise UserError(f"accelerate launch is for `run`: start `{command}` without it")


def rank() -> int:
    """The number of this process, from 0."""
    return 0 if _own.alone else _own.rank


def size() -> int:
    """How many ranks there are; 1 for rank 0 while the others wait for it."""
    return 1 if _own.alone else _own.size


def first() -> bool:
    """This is the rank that keeps the record."""
    return _own.rank == 0


def on_first(call: Callable[[], T]) -> T:
    """What this call gives at rank 0, as JSON holds it; the others wait for it, and end where it raises an error."""
    if size() == 1:
        return call()
    if not first():
        return cast(T, _value(_from_first(None)))
    _own.alone = True
    try:
        found = call()
    except BaseException:
        with contextlib.suppress(RuntimeError):
            _from_first(b"")
        raise
    finally:
        _own.alone = False
    return cast(T, _value(_from_first(_text(found))))


def arrays_of_first(call: Callable[[], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """As `on_first`, of arrays by name."""
    if size() == 1:
        return dict(call())
    kept: dict[str, NDArray[Any]] = {}
    on_first(lambda: kept.update(call()))
    return safetensors.numpy.load(_from_first(safetensors.numpy.save(kept) if first() else None))


def everyone(value: Any) -> list[Any]:
    """What each rank has, by rank, as JSON holds it."""
    return [value] if size() == 1 else [json.loads(one) for one in _exchange(_text(value))]


def arrays_of_everyone(own: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of all ranks by name; no two have one of the same name."""
    if size() == 1:
        return dict(own)
    data = {name: np.ascontiguousarray(array) for name, array in own.items()}
    parts = [safetensors.numpy.load(one) for one in _exchange(safetensors.numpy.save(data))]
    return {name: array for part in parts for name, array in part.items()}


def summed(numbers: Sequence[float]) -> list[float]:
    """Each of these numbers, over all ranks."""
    return [sum(column) for column in zip(*everyone(list(numbers)), strict=True)]


def most(number: int) -> int:
    """The largest of all ranks' numbers."""
    return int(max(everyone(number)))


def dealt(sizes: Sequence[int]) -> list[int]:
    """Which of the items of these sizes are this rank's, in order: so that all ranks have about as much."""
    if size() == 1:
        return list(range(len(sizes)))
    loads, own = [0] * size(), []
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        least = loads.index(min(loads))
        loads[least] += sizes[index]
        own += [index] if least == rank() else []
    return sorted(own)


def sum_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Make of each rank's gradients their sum, of fp32 masters where there are any.

    DDP's wrapper does so within the last backward pass of each rank: it needs one at each, through every weight, and
    knows no masters. Here a rank may have more passes than another, or none.
    """
    if size() == 1:
        return
    works = []
    for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
        if isinstance(weight, DTensor):  # summed in the backward pass
            continue
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        works.append(dist.all_reduce(weight.grad, async_op=True))
    for work in works:
        work.wait()


@contextlib.contextmanager
def attended() -> Iterator[None]:
    """Rank 0 alone comes out of it: the others end here, and leave to it what there is to say."""
    try:
        yield
    except Left:
        raise SystemExit(0) from None
    except RankDied:
        raise
    except UserError as error:
        if first():
            raise
        _store().set(f"spa-bench/{_own.rank}", str(error))
        raise SystemExit(2) from None
    if not first():
        raise SystemExit(0)


@contextlib.contextmanager
def naming_the_dead() -> Iterator[None]:
    """Raises RankDied where an error comes of a rank that has ended; the lowest of those left is the one to say it."""
    try:
        yield
    except (RuntimeError, KeyboardInterrupt) as error:
        # The launcher ends the others with a signal, which may come first, or while this is said and recorded.
        if _own.size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with contextlib.suppress(RuntimeError):
                _store().set(_leaves(_own.rank), "")
        gone = _gone(0.0 if isinstance(error, KeyboardInterrupt) else SECONDS_TO_DIE)
        if not gone:
            raise
        if _own.rank > min(set(range(_own.size)) - set(gone)):
            raise Left(0) from None
        raise RankDied("; ".join(map(_obituary, gone))) from error


def _leaves(rank: int) -> str:
    """Under which name a rank that ends because of another one says so: it is none of the dead."""
    return f"spa-bench/leaves/{rank}"


def _obituary(rank: int) -> str:
    process, host = _own.places[rank]
    who = f"rank {rank} of {_own.size} (process {process} on {host})"
    if _is_said(key := f"spa-bench/{rank}"):
        return f"{who}: {_store().get(key).decode()}"
    return f"{who} was killed or crashed: the same command goes on from the last checkpoint, with any number of ranks"


def _gone(patience: float) -> list[int]:
    """Ranks of this machine whose process is over, and which have not left because of another one."""
    end = time.monotonic() + patience
    here = socket.gethostname()
    while _own.size > 1:
        over = [number for number, (process, host) in enumerate(_own.places) if host == here and _is_over(process)]
        gone = [number for number in over if not _is_said(_leaves(number))]
        if gone or time.monotonic() >= end:
            return gone
        time.sleep(0.05)
    return []


def _is_over(process: int) -> bool:
    import psutil  # type: ignore[import-untyped]

    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _store() -> Any:
    """Where the launcher keeps what ranks leave behind."""
    return dist.distributed_c10d._get_default_store()


def _is_said(name: str) -> bool:
    """A rank has left this there; nothing has where the launcher is gone, too."""
    with contextlib.suppress(RuntimeError):
        return bool(_store().check([name]))
    return False


def _text(value: Any) -> bytes:
    return json.dumps(value, default=plain).encode("ascii")


def _value(text: bytes) -> Any:
    if not text:
        raise Left(0)
    return json.loads(text)


def _from_first(message: bytes | None) -> bytes:
    length = torch.tensor([len(message or b"")])
    dist.broadcast(length, 0, group=_own.messages)
    data = _tensor(message) if message is not None else torch.empty(int(length), dtype=torch.uint8)
    if len(data):
        dist.broadcast(data, 0, group=_own.messages)
    return data.numpy().tobytes()


def _exchange(message: bytes) -> list[bytes]:
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(_own.size)]
    dist.all_gather(lengths, torch.tensor([len(message)]), group=_own.messages)
    longest = max(int(length) for length in lengths)
    parts = [torch.empty(longest, dtype=torch.uint8) for _ in lengths]
    dist.all_gather(parts, _tensor(message.ljust(longest, b" ")), group=_own.messages)
    return [part[: int(length)].numpy().tobytes() for part, length in zip(parts, lengths, strict=True)]


def _tensor(message: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(message, dtype=np.uint8).copy())
