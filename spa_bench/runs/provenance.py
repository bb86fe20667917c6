"""What a run was made with: versions, commit and machine, without names of people, hosts or folders.

Versions come from the installed packages' metadata, so that asking imports nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from spa_bench.version import __version__

PACKAGES = ("torch", "transformers", "trl", "numpy", "gymnasium", "accelerate", "datasets", "tokenizers")


def facts() -> dict[str, Any]:
    """Facts for `run.json`; the same call on the same machine gives the same answer."""
    return {
        "spa_bench": __version__,
        "source": source(),
        **commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": usable_cpus(),
        "versions": {name: installed(name) for name in PACKAGES},
    }


@cache
def source() -> str:
    """Digest of the package's own code, so that no cache outlives an edit that its version number does not show."""
    root = Path(__file__).resolve().parent.parent
    parts = [root, *(path for path in root.iterdir() if path.is_symlink())]
    files = {path.resolve() for part in parts for path in part.rglob("*.py")}
    digest = hashlib.sha256()
    for content in sorted(path.read_bytes() for path in files):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


@cache
def installed(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def usable_cpus() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def commit() -> dict[str, Any]:
    """`commit` and `dirty` of the checkout that runs, as of the first call; both None for an installed package."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    head = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": head, "dirty": None if changed is None else bool(changed)}


def shareable(value: Any) -> Any:
    """A configuration without the folders of this machine: of an absolute path the last name stays."""
    if isinstance(value, Mapping):
        return {key: shareable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shareable(item) for item in value]
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() or value.startswith("~"):
                return kind(value).name
    return value


def _git(root: Path, *words: str) -> str | None:
    try:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
