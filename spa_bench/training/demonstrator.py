"""What the world's expert does in a task: `method.Demonstrator`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spa_bench import registry
from spa_bench.core import Task, Trajectory
from spa_bench.training.start import Start, make_requests, refuse_failed
from spa_bench.watch import Timed


class Demonstrator:
    """Plays tasks with the scripted expert, without slips; counts its steps."""

    def __init__(self, common: Start) -> None:
        self.common = common
        self.env_steps = 0
        """Played for the method: its overhead."""

    def __call__(self, tasks: Sequence[Task]) -> list[list[Trajectory]]:
        """See `method.Demonstrator`. UserError where an error outside the expert's control has stopped an episode."""
        with Timed():  # what is played here is no time of the method that asks for it
            played = self._played(tasks)
            return [[next(played) for _ in range(self.common.characters)] for _ in tasks]

    def _played(self, tasks: Sequence[Task]) -> Iterator[Trajectory]:
        agent = registry.build("agents", "expert", prompt=self.common.prompt, lists=self.common.prompt.lists)
        requests = make_requests(self.common, "demonstrator", 0, tasks, 1)
        for _, trajectory, _ in self.common.player.play(requests, agent):
            refuse_failed("demonstrate", trajectory)
            self.env_steps += len(trajectory) if not trajectory.character else 0  # all act in one step of the world
            yield trajectory
