"""Methods whose process is killed while they assign rewards, as a file of one's own."""

from __future__ import annotations

CODE = """
import os
from pathlib import Path

from spa_bench.rewards.sparse import Sparse


class Struck(Sparse):
    def rewards(self, group):
        os.kill(os.getpid(), 9)


class Once(Sparse):
    def rewards(self, group):
        try:
            Path(__file__).with_name("struck").touch(exist_ok=False)
        except FileExistsError:
            return super().rewards(group)
        os.kill(os.getpid(), 9)
"""
