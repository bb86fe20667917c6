"""Files of a run folder without their checks, as earlier versions wrote them: what stands there may be changed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def unchecked(file: Path) -> str:
    """The text of a file of JSON lines, or of `run.json`, without the checks of its lines or its own."""
    return re.sub(r',?\s*"(crc|sha256)":\s*"([0-9a-f]{8}|[0-9a-f]{64})"\s*(?=\}\s*$)', "", file.read_text(), flags=re.M)


def run_json(path: Path) -> dict[str, Any]:
    """The content of a folder's `run.json` without its check."""
    found: dict[str, Any] = json.loads(unchecked(path / "run.json"))
    return found
