"""A Gymnasium space of any text, for worlds whose actions are written by language models.

Gymnasium's own `Text` takes letters and digits only, so that `go to desk 1` would not be an action, and it looks at
every character of a text to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Text
from numpy.typing import NDArray


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
