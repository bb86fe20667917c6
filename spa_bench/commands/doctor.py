"""`spa-bench doctor`: whether this machine can run the benchmark, and what to do where it cannot.

Each check is one function that returns one `Check`; nothing here changes anything but for creating the cache folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, TextIO

from packaging.requirements import Requirement

from spa_bench import registry
from spa_bench.commands import official
from spa_bench.config import EMBEDDED, SMOLLM2, RunConfig
from spa_bench.core import UserError
from spa_bench.files import cache_root, data_folder
from spa_bench.runs.provenance import installed, usable_cpus
from spa_bench.terminal import printable_line

GB = 10**9
MEMORY, DISK = 4 * GB, 2 * GB
"""Enough for the embedded model and its run folders."""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report."""

    name: str
    state: Literal["good", "note", "bad"]
    """`bad`: runs will fail; `note`: something optional is absent."""
    found: str
    fix: str = ""


def examine(results: Path) -> list[Check]:
    """All checks, in the order they are printed."""
    return [
        _python(),
        *_versions(),
        _torch(),
        *_devices(),
        _memory(),
        _folder("results", results.absolute()),
        _cache(),
        *_data(),
        *_model(),
        *_extras(),
    ]


def examine_model(config: RunConfig) -> list[Check]:
    """What training the configured model takes of this machine; UserError where its configuration cannot be loaded."""
    from spa_bench.training.estimate import estimate

    if config.model.name == EMBEDDED:
        return []
    found = estimate(config)
    memory, seconds = found.lines()
    fix = "" if found.fits else "lower ppo.microbatch or model.cache_bytes, or choose a smaller model"
    return [
        Check("memory of the model", "good" if found.fits else "bad", memory, fix),
        Check("time of training", "good", seconds),
    ]


def show(checks: Sequence[Check], stream: TextIO, as_json: bool) -> None:
    """Print the checks."""
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=1), file=stream)
        return
    for check in checks:
        line = f"{check.state:5}{check.name}: {check.found}" + (f" -> {check.fix}" if check.fix else "")
        print(printable_line(line), file=stream)


def _python() -> Check:
    good = sys.version_info >= (3, 11)
    return Check("python", "good" if good else "bad", platform.python_version(), "" if good else "use 3.11 or later")


def _versions() -> Iterator[Check]:
    try:
        lines = metadata.requires("spa-bench") or []
    except metadata.PackageNotFoundError:
        yield Check("spa-bench", "bad", "not installed", "pip install spa-bench, or pip install -e . in a checkout")
        return
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed(requirement.name)
        if version is None:
            yield Check(requirement.name, "bad", "not installed", f"pip install '{requirement}'")
        elif not requirement.specifier.contains(version, prereleases=True):
            yield Check(requirement.name, "bad", version, f"pip install '{requirement}'")
        else:
            yield Check(requirement.name, "good", version)


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch device", "bad", f"torch cannot be imported: {error}", "reinstall torch")
    from spa_bench.training.devices import choose_device
    from spa_bench.training.policy import WIDE, choose_dtype

    device = choose_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    dtype = choose_dtype("auto", device, WIDE, embedded=False)
    found = f"{device.type} ({name}), {dtype} for wide models, {usable_cpus()} processors"
    return Check("torch device", "good", found)


def _devices() -> Iterator[Check]:
    """Each GPU, under the name that `model.device` has for it."""
    with contextlib.suppress(ImportError, OSError):  # no torch: said by its own check
        import torch

        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            found = f"{torch.cuda.get_device_name(number)}, {total / GB:.0f} GB, {free / GB:.0f} GB free"
            yield Check(f"device cuda:{number}", "good", found)


def _memory() -> Check:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return Check("memory", "note", "unknown on this system")
    return Check("memory", "good" if total >= MEMORY else "note", f"{total / GB:.0f} GB")


def _folder(name: str, folder: Path) -> Check:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Check(name, "bad", f"{folder} is not writable", f"choose another folder for {name}")
    free = shutil.disk_usage(existing).free
    return Check(
        name,
        "good" if free >= DISK else "bad",
        f"{folder}, {free / GB:.0f} GB free",
        "" if free >= DISK else "free some space",
    )


def _cache() -> Check:
    try:
        return _folder("cache", cache_root())
    except UserError as error:
        return Check("cache", "bad", str(error))


def _data() -> Iterator[Check]:
    for env in registry.names("environments"):
        try:
            present = data_folder(env).is_dir()
        except UserError:
            return
        found = "present" if present else "absent; not needed for built-in tasks"
        yield Check(f"official data of {env}", "good" if present else "note", found, "" if present else _get(env))


def _model() -> Iterator[Check]:
    with contextlib.suppress(UserError):  # no cache: said by its own check
        present = data_folder(SMOLLM2).is_dir()
        found = "present" if present else "absent; not needed for other models"
        yield Check(f"model {SMOLLM2}", "good" if present else "note", found, "" if present else _get(SMOLLM2))


def _get(env: str) -> str:
    """The command that gets a world's data; none where it has no official ones, or cannot be imported here."""
    try:
        return official.command(env)
    except (UserError, ImportError):
        return ""


def _extras() -> Iterator[Check]:
    purposes = (
        ("lora", "peft", "model.adapter=lora"),
        ("ray", "ray", "compare --engine ray"),
        ("reference", "textworld", "development"),
        ("test", "pytest", "development"),
    )
    for extra, package, purpose in purposes:
        version = installed(package)
        fix = "" if version else f"only for {purpose}: pip install 'spa-bench[{extra}]'"
        yield Check(f"extra {extra}", "good" if version else "note", version or "not installed", fix)
