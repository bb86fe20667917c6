"""The evaluation set, played once into a run folder: what `eval` does, every run at its end, and some between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from spa_bench.core import Agent, Trajectory
from spa_bench.rollout.game import Request, seated
from spa_bench.runs.episodes import BUDGET, from_row, to_row
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.progress import Progress, bursts
from spa_bench.training import metrics, start
from spa_bench.training.language_model import LanguageModel
from spa_bench.training.speed import Clock


@dataclass
class Evaluation:
    """Plays the evaluation set into a folder, resumable."""

    common: start.Start
    folder: RunFolder
    progress: Progress

    def play(self, agent: Any) -> None:
        """Each task of the evaluation set once. An episode is on record as soon as it has ended."""
        config, clock = self.common.config, Clock()
        agent.temperature = config.eval.temperature
        requests = self._requests()
        recorded = self.recorded("eval", 0)
        kept = [game for game in seated(requests) if agent.apart and all(one.index in recorded for one in game)]
        done = {one.index for game in kept for one in game}

        def ended(request: Request, trajectory: Trajectory) -> None:
            if request.index not in recorded:
                self.log(trajectory, "eval", 0, request.index)
            if spent := agent.spent():
                self.folder.metrics.append({"kind": "spent", "stage": "evaluate"} | spent)

        with self.progress.stage("evaluate", total=len(requests), unit="episodes") as stage:
            stage.given(len(done))
            wins = sum(recorded[index].success for index in done)
            left = [request for request in requests if request.index not in done]
            played = self.common.player.play(left, agent, recorded=recorded, ended=ended)
            for burst in bursts(played, self.common.chunk):
                wins += sum(trajectory.success for _, trajectory, _ in burst)
                stage.advance(len(burst), success=wins / (stage.done + len(burst)))
        self.stage("evaluate", clock)

    def look(self, agent: LanguageModel, iteration: int, record: bool = False) -> dict[str, Any]:
        """The evaluation set once between two iterations of training: the row of metrics.

        With `record` its episodes are recorded too, of an interrupted run those that are not there yet.
        Training goes on as if it had not been: no game shares its chance, and the agent keeps nothing of them.
        """
        clock, player, temperature = Clock(), self.common.player, agent.temperature
        before, episodes = player.executed, list[Trajectory]()
        agent.temperature = self.common.config.eval.temperature
        requests = self._requests()
        have = self.recorded(BUDGET, iteration) if record else {}
        with self.progress.stage(f"evaluate after iteration {iteration}", len(requests), "episodes") as stage:
            for burst in bursts(player.play(requests, cast(Agent, agent)), self.common.chunk):
                episodes += [trajectory for _, trajectory, _ in burst]
                for request, trajectory, _ in burst if record else ():
                    if request.index not in have:
                        self.log(trajectory, BUDGET, iteration, request.index)
                stage.advance(len(burst), success=sum(one.success for one in episodes) / len(episodes))
        agent.release()
        agent.temperature = temperature
        row: dict[str, Any] = {"kind": "evaluation", "iteration": iteration}
        row |= metrics.collected(episodes) | {"errors": sum(one.error is not None for one in episodes)}
        return row | {"env_steps_executed": player.executed - before, "seconds": clock.lap()}

    def _requests(self) -> list[Request]:
        return start.make_requests(self.common, "eval", 0, self.common.panel, 1)

    def stage(self, name: str, clock: Clock, **figures: Any) -> None:
        """Record a stage once: a resumed run passes through it again, but it cost nothing then."""
        rows, _ = self.folder.metrics.read()
        if not any(row.get("kind") == "stage" and row.get("stage") == name for row in rows):
            self.folder.metrics.append({"kind": "stage", "stage": name, "seconds": clock.lap()} | figures)

    def recorded(self, stage: str, iteration: int) -> dict[int, Trajectory]:
        """Episodes of an interrupted run, by index; of a double the first one counts."""
        return {row["index"]: from_row(row) for row in reversed(self._rows(stage, iteration))}

    def _rows(self, stage: str, iteration: int) -> list[dict[str, Any]]:
        rows = (row for row in self.folder.episodes.scan() if row is not None)
        return [row for row in rows if row.get("stage") == stage and row.get("iteration") == iteration]

    def logged(
        self, played: Iterable[tuple[Request, Trajectory, bool]], stage: str, iteration: int
    ) -> Iterator[tuple[int, Trajectory]]:
        """Index and episode of each, recorded as soon as it is there."""
        for request, trajectory, new in played:
            if new:
                self.log(trajectory, stage, iteration, request.index)
            yield request.index, trajectory

    def log(self, trajectory: Trajectory, stage: str, iteration: int, index: int, parent: int | None = None) -> None:
        """Record one episode; of a branch, `parent` is the index of the one that it left."""
        place = {"stage": stage, "iteration": iteration, "index": index} | (
            {} if parent is None else {"parent": parent}
        )
        self.folder.episodes.append(to_row(trajectory) | place)
