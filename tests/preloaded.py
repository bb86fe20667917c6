"""Processes of their own that begin with torch and its friends loaded: forks of a server that never did anything else.

Loading them takes a new interpreter several seconds, a tiny run less than one.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("datasets", "transformers.models.llama.modeling_llama", "trl.trainer.sft_trainer"),
        *("spa_bench.training.experiment", "spa_bench.commands.cli", "spa_bench.report.render"),
    ]
)


def start(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Call a function of a module in a process of its own, which has this one's environment."""
    process = CONTEXT.Process(target=_call, args=(dict(os.environ), function, arguments))
    process.start()
    return process


def _call(environment: dict[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    _adopt(environment)
    gc.freeze()  # a collector that looks at all that is loaded copies every page of it, a third of a tiny run
    function(*arguments)


def _adopt(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
