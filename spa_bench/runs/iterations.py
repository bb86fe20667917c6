"""Environment steps in the rows of `metrics.jsonl`, whichever version wrote them.

Earlier versions recorded what an iteration was given as `env_steps`, and what it learned from as `env_steps_learned`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def given(row: Mapping[str, Any]) -> Any:
    """What the iteration could collect, the end that held no whole episode included; None where not on record."""
    return row.get("env_steps_budget", row.get("env_steps"))


def learned(row: Mapping[str, Any]) -> Any:
    """What the iteration learned from; None where not on record."""
    return row.get("env_steps_learned") or row.get("env_steps")
