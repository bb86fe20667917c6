"""Episodes as a page stores them: without tokens, every text once, and no more of them than a browser can open.

Separate from the page: here it is decided which episodes are kept, there what is shown of a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PANEL_RANKS = {"eval": 0, "audit": 0, "warm_start": 1}
"""What is kept longest. Of other stages the last iteration has rank 2, the one before it 3, and so on."""

LONGEST_TEXT = 20_000
"""Characters of one text; the rest is counted and left out."""

STEP_SIZE, EPISODE_SIZE, REWARD_SIZE = 22, 124, 14
"""Bytes in the page, at most: of a step, of an episode beside its steps, of a step's reward."""

FIELDS = (
    "index", "task", "success", "over", "outcome", "start", "goal", "final", "error", "character", "branch", "parent",
    "steps", "world", "rewards", "paid",
)  # fmt: skip
"""Places in an episode's list. `steps`: observation, move and progress of each step, one after another. `world`: turn
and reward of the steps that the world rewarded. `paid`: the step rewards of each method of an audit. A text is its
place among the page's texts."""

Place = tuple[str, int, int]
"""Stage, iteration and index: which episode of its run."""

Move = tuple[str, str, str, str]
"""Reply, action, fault, and the expert's action; empty where there is none."""


@dataclass(frozen=True)
class Episode:
    """One episode, or of a branch what it added to its parent."""

    place: Place
    task: tuple[str, str, str, str, int]
    success: bool
    over: bool
    outcome: float
    start: float
    goal: str
    final: str
    error: str
    character: int
    branch: int
    parent: int | None
    steps: tuple[tuple[str, Move, float], ...]
    """Observation, move, the oracle's progress after it."""
    world: tuple[float, ...]
    rewards: tuple[float, ...]
    """The method's reward for each own step; empty where that is not logged."""
    paid: tuple[tuple[float, ...], ...] = ()
    """Step rewards of each method of an audit, in the order of its methods; empty for the episode of a run."""

    def texts(self) -> Iterable[str]:
        """Every text of the episode, with repetitions."""
        yield from (self.goal, self.final, self.error)
        for seen, move, _ in self.steps:
            yield seen
            yield from move

    @property
    def size(self) -> int:
        """Bytes in the page, texts not counted."""
        numbers = len(self.rewards) + sum(len(own) + 1 for own in self.paid)
        return EPISODE_SIZE + STEP_SIZE * len(self.steps) + REWARD_SIZE * numbers


def shortened(rewards: Iterable[float]) -> tuple[float, ...]:
    """Rewards with five digits."""
    return tuple(float(f"{one:.5g}") for one in rewards)


def episode(row: Mapping[str, Any], rewards: Sequence[float] = (), paid: Iterable[Sequence[float]] = ()) -> Episode:
    """The episode of a row of `episodes.jsonl`. Raises KeyError, TypeError or ValueError for a row of another kind."""
    task, steps = row["task"], row["steps"]
    return Episode(
        place=(str(row["stage"]), int(row["iteration"]), int(row["index"])),
        task=(str(task["env"]), str(task["key"]), str(task["split"]), str(task["kind"]), int(task["expert_steps"])),
        success=bool(row["success"]),
        over=bool(row["terminated"] or row["truncated"]),
        outcome=_number(row["outcome"]),
        start=_number(row.get("start_progress", 0.0)),
        goal=_text(row.get("goal")),
        final=_text(row.get("final_observation")),
        error=_text(row.get("error")),
        character=int(row.get("character", 0)),
        branch=int(row.get("branch", 0)),
        parent=None if row.get("parent") is None else int(row["parent"]),
        steps=tuple((_text(step["observation"]), _move(step), _number(step["progress"])) for step in steps),
        world=tuple(_number(step["env_reward"]) for step in steps),
        rewards=tuple(rewards) if len(rewards) == len(steps) else (),
        paid=tuple(map(tuple, paid)),
    )


def _move(step: Mapping[str, Any]) -> Move:
    fault = "" if step["grounded"] else _text(step["fault"]) or "no reason given"
    return _text(step["reply"]), _text(step["action"]), fault, _text(step.get("expert_action"))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is no text")
    left = len(value) - LONGEST_TEXT
    return value if left <= 0 else f"{value[:LONGEST_TEXT]} [... {left} more characters]"


def _number(value: Any) -> float:
    number = round(float(value), 5)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return int(number) if number.is_integer() else number


@dataclass
class Shelf:
    """Episodes of all runs that fit under `limit` bytes.

    Where they are too many, the earliest iteration of training is dropped first, of every run; evaluation goes last.
    """

    limit: int
    most: int | None = None
    """Episodes of one run, at most."""
    deepest: float = math.inf
    """Ranks above this one were given up."""
    runs: list[dict[int, list[Episode]]] = field(default_factory=list)
    total: int = 0
    """All episodes that were ever added."""
    _texts: set[str] = field(default_factory=set)
    _size: int = 0

    def add(self, episodes: Sequence[Episode]) -> None:
        """Add the episodes of one run."""
        self.total += len(episodes)
        ranks: dict[int, list[Episode]] = {}
        last = _last_iterations(episodes)
        for one in episodes:
            ranks.setdefault(_rank(one, last), []).append(one)
        self.runs.append(_first(ranks, self.most, self.deepest))
        self._count(self.runs[-1])
        self._settle()

    def kept(self) -> list[list[Episode]]:
        """Of each run, in the order of adding: its episodes by stage, iteration and index."""
        return [sorted((one for rank in run.values() for one in rank), key=lambda one: one.place) for run in self.runs]

    def _settle(self) -> None:
        """Drop the highest rank until the rest fits."""
        while self._size > self.limit:
            worst = max((rank for run in self.runs for rank in run), default=0)
            if worst > 0:
                self.deepest = worst - 1
            else:
                longest = max(sum(map(len, run.values())) for run in self.runs)
                if longest <= 1:
                    return
                self.most = longest // 2
            self.runs = [_first(run, self.most, self.deepest) for run in self.runs]
            self._texts, self._size = set(), 0
            for run in self.runs:
                self._count(run)

    def _count(self, run: Mapping[int, Sequence[Episode]]) -> None:
        for one in (one for episodes in run.values() for one in episodes):
            self._size += one.size
            for text in one.texts():
                if text not in self._texts:
                    self._texts.add(text)
                    self._size += _weight(text)


def _last_iterations(episodes: Sequence[Episode]) -> dict[str, int]:
    last: dict[str, int] = {}
    for one in episodes:
        last[one.place[0]] = max(one.place[1], last.get(one.place[0], 0))
    return last


def _rank(one: Episode, last: Mapping[str, int]) -> int:
    stage, iteration, _ = one.place
    return PANEL_RANKS.get(stage, 2 + last[stage] - iteration)


def _first(ranks: Mapping[int, Sequence[Episode]], most: int | None, deepest: float) -> dict[int, list[Episode]]:
    """The best ranks, and of them the first `most` episodes; a parent has a lower index than its branches."""
    found: dict[int, list[Episode]] = {}
    left = math.inf if most is None else most
    for rank in sorted(ranks):
        if rank > deepest or left <= 0:
            break
        members = sorted(ranks[rank], key=lambda one: one.place)
        found[rank] = members if left >= len(members) else members[: int(left)]
        left -= len(found[rank])
    return found


def _weight(text: str) -> int:
    """Bytes of a text in the page; HTML's own characters are written as six."""
    return len(json.dumps(text)) + 1 + 5 * sum(text.count(char) for char in "<>&'")


class Book:
    """Texts, moves and tasks of a page, each once, numbered in the order of their first use."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {"": 0}
        self._moves: dict[tuple[int, ...], int] = {}
        self._tasks: dict[tuple[str, str, str, str, int], int] = {}

    def plain(self) -> dict[str, Any]:
        """The lists that numbers point into."""
        return {"texts": list(self._texts), "moves": list(self._moves), "tasks": list(self._tasks)}

    def groups(self, episodes: Sequence[Episode]) -> list[list[Any]]:
        """The episodes of one run as plain lists: stage, iteration, and the episodes of both."""
        found: dict[tuple[str, int], list[list[Any]]] = {}
        for one in episodes:
            found.setdefault(one.place[:2], []).append(self._entry(one))
        return [[stage, iteration, members] for (stage, iteration), members in found.items()]

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _move(self, move: Move) -> int:
        return self._moves.setdefault(tuple(map(self._text, move)), len(self._moves))

    def _entry(self, one: Episode) -> list[Any]:
        steps: list[float] = []
        for seen, move, progress in one.steps:
            steps += (self._text(seen), self._move(move), progress)
        world = [number for turn, reward in enumerate(one.world) if reward for number in (turn, reward)]
        return [
            one.place[2], self._tasks.setdefault(one.task, len(self._tasks)), int(one.success), int(one.over),
            one.outcome, one.start, self._text(one.goal), self._text(one.final), self._text(one.error), one.character,
            one.branch, -1 if one.parent is None else one.parent, steps, world, list(one.rewards),
            list(map(list, one.paid)),
        ]  # fmt: skip
