"""One server for all ranks of a run: rank 0 gives it new weights, and every rank asks it for its games' replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spa_bench import registry
from spa_bench.core import Agent
from spa_bench.training import ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SharedEngine:
    """In place of the engine `server`. Each rank compares the first replies after new weights with its own model."""

    copies = True
    """As of any server: it has weights of its own."""
    holds: object = None
    """As of any engine: the agent whose weights those are."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._given: object = None
        """Whose weights rank 0 has handed over since the last `release`."""

    def give(self, agent: Any) -> None:
        """Hand over the weights of this agent where the server may have others; all ranks ask for it at once."""
        if self._given is agent:
            return

        def load() -> str:
            self.engine.load(agent.model)
            return str(self.engine.adapter)

        self.engine.adapter = ranks.on_first(load)
        self._given = agent

    def load(self, model: PreTrainedModel) -> None:
        """Nothing where all ranks play, as `give` has done it; rank 0 alone does it here."""
        if ranks.size() == 1:
            self.engine.load(model)

    def generate(self, prompts: Sequence[Any], sampling: Any) -> list[Any]:
        """As the server's."""
        return list(self.engine.generate(prompts, sampling))

    def generate_soon(self, prompts: deque[Any], sampling: Any) -> Generator[tuple[Any, Any], None, None]:
        """As the server's."""
        yield from self.engine.generate_soon(prompts, sampling)

    def fork(self, families: Sequence[Any]) -> None:
        """As the server's."""
        self.engine.fork(families)

    def forget(self, keys: Sequence[int]) -> None:
        """As the server's."""
        self.engine.forget(keys)

    def release(self) -> None:
        """The weights may change now."""
        self._given = None
        self.engine.release()

    def facts(self) -> dict[str, Any]:
        """Those of the server: how many ask it decides nothing."""
        return dict(self.engine.facts())


def shared(engine: Any) -> Any:
    """What samples the replies of this rank: the engine itself for a process alone."""
    return SharedEngine(engine) if ranks.launched() else engine


def made(name: str, options: Mapping[str, Any], **limits: Any) -> Any:
    """The engine of this rank, as `registry.engine` makes it."""
    return shared(registry.engine(name, options, **limits))


def give_weights(agent: Agent) -> None:
    """Where all ranks ask one server, let it have this agent's weights before they play."""
    engine = getattr(agent, "engine", None)
    if isinstance(engine, SharedEngine):
        engine.give(agent)
