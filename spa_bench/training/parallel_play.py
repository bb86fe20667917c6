"""Games of one stage, dealt out to the ranks of a run: each plays its own, and knows those of all others afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from spa_bench.core import Agent, Trajectory
from spa_bench.rollout.game import Request, seated
from spa_bench.rollout.player import Ended, Player, fitting_lengths
from spa_bench.runs.episodes import from_row, to_row
from spa_bench.training import ranks
from spa_bench.training.shared_engine import give_weights


class ParallelPlayer(Player):
    """A player whose `batch` games are each rank's.

    An episode is that of one process, up to floating point: its seeds are its own. So is where a budget ends, which
    order decides. Games that are given up for a budget are more, as no rank knows how long those of others are.
    """

    def most_together(self) -> int:
        """Games that begin together."""
        return self.batch * ranks.size()

    def _chunk(
        self,
        chunk: list[Request],
        agent: Agent,
        recorded: Mapping[int, Trajectory],
        budget: int | None,
        ended: Ended | None,
    ) -> tuple[list[Trajectory], int]:
        if ranks.size() == 1 or all(request.index in recorded for request in chunk):
            return super()._chunk(chunk, agent, recorded, budget, ended)
        give_weights(agent)
        games = list(seated(chunk))
        own = [request for game in games[ranks.rank() :: ranks.size()] for request in game]
        played, executed = super()._chunk(own, agent, recorded, budget, None) if own else ([], 0)
        rows = {request.index: _row(trajectory) for request, trajectory in zip(own, played, strict=False)}
        told = ranks.everyone([executed, list(rows.items())])
        found = {index: _trajectory(row) for _, theirs in told for index, row in theirs}
        whole = [[found[r.index] for r in game] for game in itertools.takewhile(lambda g: g[0].index in found, games)]
        kept = whole if budget is None else whole[: fitting_lengths(whole, budget)]
        episodes = [trajectory for game in kept for trajectory in game]
        if ended is not None:
            for request, trajectory in zip(chunk, episodes, strict=False):
                ended(request, trajectory)
        return episodes, sum(spent for spent, _ in told)


def _row(trajectory: Trajectory) -> Mapping[str, Any]:
    """As on record, with what the world would have executed: a demonstration is tokenised with it."""
    return to_row(trajectory) | {"admissible": [list(step.admissible) for step in trajectory.steps]}


def _trajectory(row: Mapping[str, Any]) -> Trajectory:
    listed: Sequence[Sequence[str]] = row["admissible"]
    steps = [step | {"admissible": tuple(own)} for step, own in zip(row["steps"], listed, strict=True)]
    return from_row({**row, "steps": steps})
