"""A world that fails as planned."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from failing import Failing

from spa_bench import registry


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plans a failure; the world is `failing` in the registry."""
    point = EntryPoint(name="failing", value="failing:Failing", group="spa_bench.environments")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])

    def plan(**settings: Any) -> type[Failing]:
        for name, value in ({"failed": 0} | settings).items():
            monkeypatch.setattr(Failing, name, value)
        return Failing

    return plan
