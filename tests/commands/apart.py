"""Commands in processes of their own, without powers: what a machine may do to them."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import preloaded
import pytest
import tiny

from spa_bench.commands.options import to_toml


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> None:
        """It ended with 2, and one line of an error that has these words."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert (self.code, len(lines)) == (2, 1), self.err
        assert "Traceback" not in self.out + self.err, self.err
        assert all(word in lines[0] for word in words), lines[0]

    def done(self) -> Ended:
        """It ended well."""
        assert self.code == 0, self.err
        return self


def command(
    *words: object,
    folder: Path,
    out: Path | None = None,
    err: Path | None = None,
    first: Callable[[], Any] | None = None,
    **environment: str,
) -> Ended:
    """Run one in a process that has torch loaded; `first` is called there before. Output is kept in `folder`."""
    files = out or folder / "stdout", err or folder / "stderr"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        process = preloaded.start(_run, [str(word) for word in words], *map(str, files), str(folder), first)
    process.join(300)
    assert process.exitcode is not None, f"{words} does not end"
    said = [file.read_text(encoding="utf-8") if file.is_file() else "" for file in files]
    return Ended(process.exitcode, said[0], said[1])


def _run(words: list[str], out: str, err: str, folder: str, first: Callable[[], Any] | None) -> None:
    for number, name in ((1, out), (2, err)):
        handle = os.open(name, os.O_WRONLY | (0 if name.startswith("/dev/") else os.O_CREAT | os.O_TRUNC), 0o666)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    os.chdir(folder)
    from spa_bench.commands.cli import main

    if first is not None:
        first()
    sys.argv = ["spa-bench", *words]
    main()


def settings(folder: Path) -> Path:
    """A file of the tiny settings."""
    file = folder / "tiny.toml"
    file.write_text(to_toml(tiny.config().model_dump(mode="json", exclude={"reward", "reward_options", "seed"})))
    return file


def without_powers() -> None:
    """Give up what root may more than others: from here on permissions count."""
    head, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(head, none) == 0


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
