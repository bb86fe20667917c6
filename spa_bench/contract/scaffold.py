"""`spa-bench new`: writes a small reward method that works, and its test, as a template.

What is written passes all contract tests, and its advantages differ from those of every other method.
"""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
import re
import sys
from pathlib import Path

from spa_bench import registry
from spa_bench.core import UserError
from spa_bench.files import write_whole
from spa_bench.terminal import argument

LONGEST = 32
"""Characters of a name, so that the lines of the files stay short."""

REWARD = '''"""The outcome, shared among the steps: executed steps get a larger share than refused ones.

Paper: none; an example to start from.
Equation: r_t = R * w_t / sum_k w_k, with w_t = 1 where step t was executed, else `refused`.
Defaults: refused 0.25 <- ours.
Deviations: none.
Conserves return: yes.
Needs: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from spa_bench import Floats, RewardMethod, Trajectory

Weight = Annotated[float, Field(gt=0, le=1, description="weight of a step that the environment did not execute; ours")]


class CLASS(RewardMethod):
    """Executed steps weigh 1, others `refused`."""

    conserves_return = True

    def __init__(self, *, refused: Weight = 0.25) -> None:
        self.refused = refused

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """One array (T,) per trajectory; an episode without steps has an empty one."""
        rewards = []
        for trajectory in group:
            weights = np.array([1.0 if step.grounded else self.refused for step in trajectory.steps])
            rewards.append(trajectory.outcome * weights / weights.sum())
        return rewards
'''

TEST = '''"""NAME: an example by hand, and the contract tests of every method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spa_bench import RewardMethod, Step, Task, Trajectory, UserError, check_reward, registry

METHOD = f"{Path(__file__).with_name('MODULE.py')}:CLASS"


def make(**options: object) -> RewardMethod:
    return registry.build("rewards", METHOD, **options)


def episode(outcome: float, *executed: bool) -> Trajectory:
    """One step for each flag, which says whether the environment executed it."""
    task = Task("alfworld", "put-mug/1", "train", "pick_and_place_simple", 4)
    steps = [
        Step(f"room {n}", f"Action: go {n}", f"go {n}", good, None if good else "inadmissible", 0.0, 0.5)
        for n, good in enumerate(executed)
    ]
    won = outcome == 1.0
    return Trajectory(task, tuple(steps), outcome, success=won, terminated=won, truncated=not won)


def test_by_hand() -> None:
    """Weights of 1, 1/2 and 1 share an outcome of 1; an outcome of 0 leaves nothing to share."""
    group = [episode(1.0, True, False, True), episode(0.0, True), episode(0.5, False, False), episode(1.0)]
    wanted = [[0.4, 0.2, 0.4], [0.0], [0.25, 0.25], []]
    for got, want in zip(make(refused=0.5).rewards(group), wanted, strict=True):
        np.testing.assert_allclose(got, want)


def test_contract() -> None:
    check_reward(make)


@pytest.mark.parametrize("refused", [0, -1, 2, "much"])
def test_a_weight_out_of_range_is_refused(refused: object) -> None:
    with pytest.raises(UserError, match="refused="):
        make(refused=refused)
'''


def reward(name: str, folder: Path) -> tuple[Path, Path, str]:
    """Write a method and its test into the folder; their paths, and the method as `--reward` takes it.

    UserError where the name cannot be a module's, belongs to another, or a file is there already.
    """
    module = name.replace("-", "_")
    title = "".join(part[:1].upper() + part[1:] for part in module.split("_"))
    _refuse_bad_name(name, module, title)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: make it, or choose another with --folder")
    files = folder / f"{module}.py", folder / f"test_{module}.py"
    for file in files:
        if os.path.lexists(file):
            raise UserError(f"{file} is there already: choose another name, or another --folder")
    texts = [text.replace("CLASS", title).replace("MODULE", module).replace("NAME", name) for text in (REWARD, TEST)]
    written: list[Path] = []
    try:
        for file, text in zip(files, texts, strict=True):
            write_whole(file, text)
            written.append(file)
    except OSError as error:
        for file in written:
            file.unlink(missing_ok=True)
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another --folder") from None
    return *files, f"{files[0]}:{title}"


def _refuse_bad_name(name: str, module: str, title: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", module) or keyword.iskeyword(module) or len(module) > LONGEST:
        raise UserError(
            f"{name!r} cannot name a method: use letters, digits and '-', beginning with a letter, "
            f"up to {LONGEST} characters, and no keyword of Python"
        )
    taken = {known.replace("-", "_").lower(): known for known in registry.names("rewards")}
    if module.lower() in taken:
        raise UserError(f"there is a reward {taken[module.lower()]} already: choose another name")
    if title in _imported() or module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise UserError(f"{name!r} would hide a module or class of that name: choose another name")


def _imported() -> set[str]:
    """Names that the two files import: a class of the same name would replace them."""
    nodes = [node for text in (REWARD, TEST) for node in ast.walk(ast.parse(text))]
    return {a.asname or a.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for a in node.names}


def next_commands(test: Path, address: str) -> list[str]:
    """The next commands: check it, run its test, train with it."""
    world = registry.names("environments")[0]
    quoted = argument(address)
    return [
        f"spa-bench check --reward {quoted}",
        f"python -m pytest {argument(test)}",
        f"spa-bench run --env {world} --reward {quoted}",
    ]
