"""Two people in one home as a PettingZoo environment: `Together(...)` is a `ParallelEnv` of text.

Separate from the Gymnasium environment because the interface is another one; all that happens is the same
(`env.VirtualHome` with two characters).
"""

from __future__ import annotations

from typing import Any, Literal

from gymnasium.spaces import Space
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from spa_bench.environments.text import AnyText
from spa_bench.environments.virtualhome import words
from spa_bench.environments.virtualhome.engine import World
from spa_bench.environments.virtualhome.env import MAX_ACTION, MAX_OBSERVATION, VirtualHome
from spa_bench.environments.virtualhome.graph import to_json


class Together(ParallelEnv[str, str, str]):  # type: ignore[misc]  # PettingZoo is not typed
    """`char0` and `char1`, by id, act at the same time, see only what is visible to them, and share reward and end.

    A command must be possible before the step. Where both want what only one can have, one of them is first by the
    option `order`; the other one is told `Nothing happens.` and its info has `conflict`. Options are those of
    `env.VirtualHome`. As its spaces hold text, samples of the action space are commands that rarely fit.
    """

    metadata: dict[str, Any] = {"name": "virtualhome_together_v0", "render_modes": ["ansi"], "is_parallelizable": True}  # noqa: RUF012

    def __init__(self, *, render_mode: Literal["ansi"] | None = None, **options: Any) -> None:
        self.home = VirtualHome(characters=2, render_mode=render_mode, **options)
        self.render_mode = render_mode
        self.possible_agents = [f"char{place}" for place in range(self.home.characters)]
        self.agents: list[str] = []
        self._spaces = {
            agent: (AnyText(MAX_OBSERVATION, [words.NOTHING]), AnyText(MAX_ACTION, words.EXAMPLES))
            for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> Space[str]:
        """Any text."""
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> Space[str]:
        """Any text; its samples are examples of commands. Each agent has one of its own, to be seeded apart."""
        return self._spaces[agent][1]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """Begin the task of `options["task"]` and `options["split"]`, or one that the seed chooses.

        Other options are ignored, as PettingZoo's own test asks.
        """
        known = {name: value for name, value in (options or {}).items() if name in ("task", "split")}
        self.agents = list(self.possible_agents)
        starts = dict(zip(self.agents, self.home.reset_all(seed=seed, options=known), strict=True))
        if all(info["success"] for _, info in starts.values()):
            self.agents = []
        return {a: told for a, (told, _) in starts.items()}, {a: info for a, (_, info) in starts.items()}

    def step(
        self, actions: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Everybody acts at once; who is not in `actions` does nothing that has the form of a command."""
        if not self.agents:
            return {}, {}, {}, {}, {}
        acting = self.agents
        results = dict(zip(acting, self.home.step_all([actions.get(agent, "") for agent in acting]), strict=True))
        told = {agent: result[0] for agent, result in results.items()}
        rewards = {agent: float(result[1]) for agent, result in results.items()}
        terminated = {agent: result[2] for agent, result in results.items()}
        truncated = {agent: result[3] for agent, result in results.items()}
        infos = {agent: result[4] for agent, result in results.items()}
        self.agents = [agent for agent in acting if not (terminated[agent] or truncated[agent])]
        return told, rewards, terminated, truncated, infos

    def state(self) -> dict[str, Any]:
        """The whole home, as upstream's JSON."""
        return to_json(self.world)

    @property
    def world(self) -> World:
        """What is true now; a copy, which may be stepped."""
        return self.home.snapshot().episode.world.copy()

    def render(self) -> str | None:
        """What both were told last, in render mode `ansi`."""
        return self.home.render()

    def close(self) -> None:
        """Nothing is held open."""
