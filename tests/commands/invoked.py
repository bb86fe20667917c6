"""The command line as tests give it."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from spa_bench.commands.cli import app


def invoke(*words: str, **options: Any) -> Any:
    return CliRunner().invoke(app, list(words), **options)
