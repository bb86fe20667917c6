"""Inference engines behind one interface: sequences of token ids in, sampled ids and their log-probs out.

An agent (`causal_lm`) turns messages into ids and keeps them; an engine knows neither messages nor templates. What it
has read under a key it may keep for the next call: a later sequence of the same key goes on from the last one, its
reply included, unless it is `new`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Prompt:
    """One sequence that is to go on."""

    key: int
    """The conversation that it belongs to."""
    ids: Sequence[int]
    """The whole sequence. It is only read, and may be longer in the next call."""
    seed: int
    """All chance of this reply comes from it; 63 bits."""
    new: bool = False
    """It does not go on from the last sequence under this key."""


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn."""

    max_new_tokens: int
    temperature: float
    """Divides the logits; 0 is greedy, and log-probs are then those of temperature 1."""
    ends: frozenset[int]
    """A reply ends with any of these tokens, which is its last id."""


@dataclass(frozen=True)
class Sampled:
    """One reply."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural logarithms, under the distribution that was drawn from; as many as ids."""
    error: str | None = None
    """Why there is no reply."""


class Engine(ABC):
    """Samples token ids. Where it `copies` the weights it samples with those of the last `load`."""

    copies: ClassVar[bool] = True
    """It has weights of its own, which the trainer's must be loaded into whenever they change."""
    holds: object = None
    """The agent whose weights those are; None where they are older than its model's."""

    @abstractmethod
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sampled]:
        """One reply for each prompt, in order; each depends on its own ids and seed alone."""

    def generate_soon(
        self, prompts: deque[Prompt], sampling: Sampling
    ) -> Generator[tuple[Prompt, Sampled], None, None]:
        """Each prompt and its reply, as soon as it is there; more may be put into `prompts` meanwhile.

        Here all that are waiting are sampled at once. An engine that others serve need not wait for the last of them.
        """
        while prompts:
            taken = list(prompts)
            prompts.clear()
            yield from zip(taken, self.generate(taken, sampling), strict=True)

    def fork(self, families: Sequence[tuple[Prompt, Sequence[int]]]) -> None:  # noqa: B027 - with a prefix cache
        """Each prompt is about to go on under all of these keys: what they share may be read once."""

    def forget(self, keys: Sequence[int]) -> None:  # noqa: B027 - engines that keep nothing by key
        """These conversations are over."""

    @abstractmethod
    def load(self, model: PreTrainedModel) -> None:
        """Sample with this model's weights from now on."""

    def release(self) -> None:  # noqa: B027
        """Free the memory of the cache where no conversation is under way; the next call takes it again."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What decides the numbers beside the weights: name, version and settings, for the record of a run."""
