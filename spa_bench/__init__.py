"""spa-bench: a benchmark of step-level rewards for multi-turn language-model agents.

Importing the package registers the worlds with Gymnasium: `gymnasium.make("spa_bench:ALFWorld-v0")`. Everything else in
`__all__` is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING

from spa_bench import environments as environments
from spa_bench.version import __version__

if TYPE_CHECKING:
    from spa_bench.analysis.load import load_episodes, load_results, load_steps
    from spa_bench.contract import check_agent, check_reward, check_world
    from spa_bench.core import (
        Agent,
        Conversation,
        Floats,
        Message,
        Reply,
        ReplyFormat,
        Step,
        Task,
        TextEnv,
        Trajectory,
        UserError,
        derive_seed,
    )
    from spa_bench.environments.world import World
    from spa_bench.method import RewardMethod

__all__ = [
    "Agent",
    "Conversation",
    "Floats",
    "Message",
    "Reply",
    "ReplyFormat",
    "RewardMethod",
    "Step",
    "Task",
    "TextEnv",
    "Trajectory",
    "UserError",
    "World",
    "__version__",
    "check_agent",
    "check_reward",
    "check_world",
    "derive_seed",
    "load_episodes",
    "load_results",
    "load_steps",
]

_CORE = (
    *("Agent", "Conversation", "Floats", "Message", "Reply", "ReplyFormat"),
    *("Step", "Task", "TextEnv", "Trajectory", "UserError", "derive_seed"),
)
_HOMES = dict.fromkeys(_CORE, "spa_bench.core") | {
    "RewardMethod": "spa_bench.method",
    "World": "spa_bench.environments.world",
    "check_agent": "spa_bench.contract",
    "check_reward": "spa_bench.contract",
    "check_world": "spa_bench.contract",
    "load_episodes": "spa_bench.analysis.load",
    "load_results": "spa_bench.analysis.load",
    "load_steps": "spa_bench.analysis.load",
}
"""Name -> module that it is loaded from."""

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` believes every name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
