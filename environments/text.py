"""What every world of text shares: a Gymnasium space of any text, and how options and tasks are asked for.

Gymnasium's own `Text` takes letters and digits only, so that `go to desk 1` would not be an action, and it looks at
every character of a text to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol, overload

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text
from gymnasium.vector.utils import read_from_shared_memory, write_to_shared_memory
from numpy.typing import NDArray

from spa_bench.core import Task, TextEnv, UserError


class AnyText(Text):
    """Every string of at most `max_length` characters. `sample` draws from `examples`."""

    def __init__(self, max_length: int, examples: Sequence[str], seed: int | np.random.Generator | None = None) -> None:
        printable = "".join(map(chr, range(32, 127))) + "\n"
        super().__init__(max_length, min_length=0, charset=printable, seed=seed)
        self.examples = tuple(examples)

    def sample(
        self,
        mask: tuple[int | None, NDArray[np.int8] | None] | None = None,
        probability: tuple[int | None, NDArray[np.float64] | None] | None = None,
    ) -> str:
        """One of the examples; masks are those of `Text` and draw characters."""
        if mask is not None or probability is not None:
            return super().sample(mask, probability)
        return self.examples[int(self.np_random.integers(len(self.examples)))]

    def contains(self, x: Any) -> bool:
        """Any string that is not too long, whatever its characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"AnyText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyText) and self.max_length == other.max_length

    __hash__ = None  # type: ignore[assignment]  # spaces carry a random state; `Text` is not hashable either


class SharedTexts(Sequence[str]):
    """Texts of several environments in memory that their processes write to; a deep copy is a tuple of what is there.

    `AsyncVectorEnv` reads its shared memory once, before anything is written, and copies what it read at every step.
    """

    def __init__(self, codes: NDArray[np.int32]) -> None:
        """`codes`: a row of code points for each environment, -1 behind the last one of a text that leaves room."""
        self._codes = codes

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        row = self._codes[index]
        ends = np.flatnonzero(row < 0)
        written: bytes = row[: ends[0] if len(ends) else None].tobytes()
        return written.decode("utf-32-le", "surrogatepass")

    def __len__(self) -> int:
        return len(self._codes)

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)


@read_from_shared_memory.register(AnyText)
def _read(space: AnyText, shared_memory: Any, n: int = 1) -> SharedTexts:
    return SharedTexts(_rows(space, shared_memory))


@write_to_shared_memory.register(AnyText)
def _write(space: AnyText, index: int, values: str, shared_memory: Any) -> None:
    codes = np.frombuffer(values.encode("utf-32-le", "surrogatepass"), np.int32)
    row = _rows(space, shared_memory)[index]
    if len(codes) > len(row):
        said = f"a text of {len(codes)} characters does not fit into a space of {len(row)}"
        raise UserError(f"{said}: make the space longer, or use vectorization_mode='sync'")
    row[: len(codes)] = codes
    row[len(codes) : len(codes) + 1] = -1


def _rows(space: AnyText, memory: Any) -> NDArray[np.int32]:
    return np.frombuffer(memory.get_obj(), np.int32).reshape(-1, space.max_length)


class Portable(TextEnv):
    """A world that can be pickled and copied: a copy opens the tasks again and goes on with the running episode."""

    reopened: ClassVar[tuple[str, ...]] = ()
    """Attributes that are left behind: what is opened when it is first asked for, and what `restore` makes."""

    def __getstate__(self) -> tuple[dict[str, Any], Any]:
        """Everything else, and the episode's snapshot, None where there is no episode yet."""
        try:
            episode = self.snapshot()
        except ResetNeeded:
            episode = None
        return {name: value for name, value in vars(self).items() if name not in self.reopened}, episode

    def __setstate__(self, state: tuple[dict[str, Any], Any]) -> None:
        kept, episode = state
        vars(self).update(kept)
        if episode is not None:
            self.restore(episode)


class Menu(Sequence[str]):
    """What could be done, worked out when somebody looks: most agents never do, and it can cost more than the step."""

    def __init__(self, make: Callable[[], tuple[str, ...]]) -> None:
        """`make` must give the same whenever it is called."""
        self._make = make

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return self._make()

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._texts == tuple(other)

    def __hash__(self) -> int:
        return hash(self._texts)

    def __repr__(self) -> str:
        return repr(self._texts)

    def __reduce__(self) -> tuple[type[tuple[str, ...]], tuple[tuple[str, ...]]]:
        """Pickled and copied as what it shows: what makes it is the whole episode."""
        return tuple, (self._texts,)


class TaskSet(Protocol):
    """The tasks of a world, by split and by key."""

    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split; UserError for an unknown one."""

    def find(self, key: str, split: str | None = None) -> Task:
        """The task of a key, in `split` or in whichever split has it; UserError where there is none."""


def choose(known: TaskSet, options: Mapping[str, Any] | None, rng: np.random.Generator) -> Task:
    """The task that `reset`'s options ask for: `task` (a key) of `split`; without a task, `rng` draws one.

    The split is `train` unless named, or the one that has the key. Raises UserError for any other option.
    """
    asked = dict(options or {})
    key, split = asked.pop("task", None), asked.pop("split", None)
    if asked:
        raise UserError(f"unknown reset option {min(asked)!r}: use task and split")
    if key is not None:
        return known.find(key, split)
    tasks = known.tasks(split or "train")
    return tasks[int(rng.integers(len(tasks)))]


def spoken(action: object) -> None:
    """TypeError where an action is no text."""
    if not isinstance(action, str):
        raise TypeError(f"an action is a text, such as 'look around', not {action!r} ({type(action).__name__})")
