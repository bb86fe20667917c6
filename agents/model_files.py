"""A model's files, which may be anyone's: no code of theirs runs, and absurd ones are one line before they are read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from spa_bench.core import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LARGEST = 256 << 20
"""Bytes of a file of settings, of a tokenizer or a template; the tokenizers of today have up to 40 MB."""

COUNTED = {re.compile(r"layers?$|depth$"): 1_000, re.compile(r"experts$"): 4_096}
"""Names in a configuration, and the most that one of them may say: so many modules are made one by one."""

ADVICE = "Give `embedded`, `smollm2`, a saved model's folder or a Hub id."

NO_MEMORY = ("allocate memory", "not enough memory")


class loading:
    """A context in which whatever libraries raise over a model's files is a UserError that names the model.

    They raise much: KeyError, RecursionError, what the parts in Rust have of their own, down to their panics.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ours = isinstance(error, UserError | KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError)
        if error is None or ours or any(text in str(error) for text in NO_MEMORY):
            return
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot load model {self.name!r}: {reason} {ADVICE}") from error


def read_config(name: str, revision: str | None = None) -> PretrainedConfig:
    """The configuration of a model in a folder or on the Hub, there of a commit. UserError where it is none."""
    from transformers import AutoConfig
    from transformers.utils.hub import cached_file

    with loading(name):
        if os.path.isdir(name):
            _refuse_large_files(Path(name))
        of = {} if revision is None else {"revision": revision}
        file = cached_file(name, "config.json", **of)
        assert file is not None  # an error, where there is none
        told = json.loads(Path(file).read_text(encoding="utf-8"))
        for key, value in _numbers(told):
            most = next((most for pattern, most in COUNTED.items() if pattern.search(key)), None)
            if most is not None and value > most:
                raise UserError(f"cannot load model {name!r}: its config.json has {key}={value}, more than {most}")
        found: PretrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False, **of)
        return found


def refuse_more_than_memory(name: str, config: PretrainedConfig, dtype: torch.dtype) -> None:
    """UserError where the weights that a configuration describes take more than twice the machine's memory.

    They are counted, not made.
    """
    from transformers import AutoModelForCausalLM

    if not hasattr(os, "sysconf"):
        return
    with loading(name), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    weights = sum(weight.numel() for weight in model.parameters())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if weights * dtype.itemsize > 2 * memory:
        raise UserError(
            f"cannot load model {name!r}: its config.json describes {weights:.3g} weights, "
            f"{weights * dtype.itemsize / 1e9:.3g} GB, and this machine has {memory / 1e9:.3g} GB of memory"
        )


def _refuse_large_files(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".txt", ".model") and not path.is_dir():
            if not path.is_file():
                raise UserError(f"cannot load model {str(folder)!r}: {path.name} is no file")
            if path.stat().st_size > LARGEST:
                raise UserError(f"cannot load model {str(folder)!r}: {path.name} has more than {LARGEST} bytes")


def _numbers(told: Any) -> Iterator[tuple[str, float]]:
    """Key and value of every number in settings, however deep."""
    left = [told]
    while left:
        one = left.pop()
        for key, value in one.items() if isinstance(one, dict) else ():
            if isinstance(value, int | float):
                yield key, value
        left += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
