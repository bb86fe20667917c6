"""The real ALFWorld text simulator, where the `reference` extra is installed, driven like our engine."""

from pathlib import Path
from typing import Any

import pytest


class Upstream:
    """One game in textworld, wrapped as alfworld wraps it."""

    def __init__(self, path: Path) -> None:
        textworld = pytest.importorskip("textworld", reason="needs the extra: pip install spa-bench[reference]")
        pytest.importorskip("alfworld", reason="needs the extra: pip install spa-bench[reference]")
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler

        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        self.env = textworld.start(str(path), infos, wrappers=[AlfredDemangler(shuffle=False)])
        self.state: Any = None

    def reset(self) -> str:
        self.state = self.env.reset()
        return str(self.state.feedback)

    def step(self, command: str) -> str:
        self.state, _, _ = self.env.step(command)
        return str(self.state.feedback)

    @property
    def admissible(self) -> tuple[str, ...]:
        return tuple(self.state.admissible_commands)

    @property
    def won(self) -> bool:
        return bool(self.state.won)
