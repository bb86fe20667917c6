"""Runs and audits as pandas frames, for whoever goes on in Python: `from spa_bench import load_results`.

Every function takes a run folder, a folder of any depth above some, or several of either. A damaged folder is left out
with a warning that names it; UserError where no folder is found. Text is what a world or a model wrote, unchanged: it
may hold anything, lone surrogates too, which Arrow and files in UTF-8 refuse. Text columns have the dtype `object`.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa_bench.analysis import runs
from spa_bench.analysis.groups import EVAL, WARM_START, grouped, valid
from spa_bench.analysis.played import Played
from spa_bench.analysis.recordings import AUDIT, BROKEN, Recorded, Recording, find, named, read_audit, read_recording
from spa_bench.analysis.runs import COSTS, Run
from spa_bench.core import Trajectory, UserError
from spa_bench.runs.episodes import BUDGET
from spa_bench.runs.names import world_name
from spa_bench.terminal import printable_line

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped]

Folder = str | os.PathLike[str]

STAGES = (AUDIT, BUDGET, EVAL, "train", WARM_START)
"""What an episode can be played for."""

LONGEST_WARNING = 500
"""Characters of it."""

RESULTS = {
    **dict.fromkeys(("run", "env", "split", "tasks", "model", "agent", "reward", "reward_options", "label"), "object"),
    **{"seed": "int64", "stage": "object"},
    **dict.fromkeys(("success", "outcome", "grounded", "malformed", "turns"), "float64"),
    **dict.fromkeys(("episodes", "steps", "errors"), "int64"),
    **dict.fromkeys(("evaluation_set", "protocol"), "object"),
    **dict.fromkeys(COSTS, "float64"),
    **{"finished": "bool", "failure": "object", "left_out": "object", "unreadable": "int64", "repeated": "int64"},
}
EPISODES = {
    **{"run": "object", "stage": "object", "iteration": "int64", "index": "int64"},
    **dict.fromkeys(("env", "split", "task", "kind"), "object"),
    **{"expert_steps": "int64", "success": "bool", "outcome": "float64", "terminated": "bool", "truncated": "bool"},
    **dict.fromkeys(("turns", "grounded", "malformed"), "int64"),
    **{"error": "object", "character": "int64", "branch": "int64", "parent": "Int64"},
    **{"start_progress": "float64", "goal": "object", "final_observation": "object"},
}
STEPS = {
    **{"run": "object", "stage": "object", "iteration": "int64", "index": "int64", "turn": "int64"},
    **{"task": "object", "branch": "int64"},
    **dict.fromkeys(("observation", "reply", "action"), "object"),
    **{"grounded": "bool", "fault": "object", "env_reward": "float64"},
    **{"progress": "float64", "progress_change": "float64"},
    "expert_action": "object",
}
"""Column -> dtype, in the order of the frame."""


def load_results(folder: Folder | Iterable[Folder]) -> DataFrame:
    """One row for each run and stage of evaluation: `eval` of every run, `warm_start` where it was played.

    Means are those of the results table for this run: over episodes that no error outside the agent's control stopped,
    NaN where there are none. Sorted by `run` and `stage`.

    - `run`: end of the folder's path, `<env>/<reward>/<seed>-<hash>`; of copies the second ends in `~2`.
    - `env`, `split`, `tasks` (`builtin` or `official`), `model`; `agent`: who was only evaluated, None for a training.
    - `reward`: the method; `reward_options`: JSON; `label`: both, as the table's row is called; `seed`: int64.
    - `stage`: `warm_start` before training, `eval` after it (or of an agent).
    - `success`, `outcome`: float64, means over episodes, 0 to 1; `turns`: float64, steps per episode.
    - `grounded`, `malformed`: float64, share of all steps that were executed, and whose text was no command.
    - `episodes`, `steps`: int64, what the means are over; `errors`: int64, episodes that were left out of them.
    - `evaluation_set`: hash of the evaluation set; `protocol`: how the world was played. None where not on record.
    - `env_steps` (that were learned from), `env_steps_executed` (with those of episodes that were given up; NaN where
      not on record), `tokens_sampled`, `tokens_trained`, `extra_tokens`, `extra_env_steps` (these two are the overhead
      of tables), `seconds`: float64, what the training has cost; before it 0, but for the seconds of the warm start.
    - `finished`: bool; `failure`: why it failed, or None; `left_out`: why a table of the same runs does not average it,
      or None; `unreadable`, `repeated`: int64, lines and episodes that were not used.
    """
    loaded, rows = [], {}
    for name, path in named(runs.find(_paths(folder))):
        try:
            run = replace(runs.load(path), name=name)
            grouped([run])  # fails here, not below, where its configuration cannot be compared
            rows[name] = [_result(run, stage) for stage in (EVAL, WARM_START) if stage == EVAL or run.panels[stage]]
            loaded.append(run)
        except BROKEN as error:
            _warn(name, _reason(error, name, path), stacklevel=3)
    for run, reason in (judged for group in grouped(loaded) for judged in group.judged):
        rows[run.name] = [row | {"label": run.label, "left_out": reason} for row in rows[run.name]]
    ordered = [row for name in sorted(rows) for row in rows[name]]
    return _frame(RESULTS, {key: [row[key] for row in ordered] for key in RESULTS})


def load_episodes(folder: Folder | Iterable[Folder], stage: str | None = None) -> DataFrame:
    """One row for each episode of runs and audits, of one stage (`STAGES`) or of all.

    Sorted by `run`, `stage`, `iteration` and `index`, which together name an episode.

    - `run`: end of the folder's path; `stage`: `warm_start`, `train`, `budget`, `eval`, or `audit` in an audit folder.
    - `iteration`: int64, of training, else 0; `index`: int64, within it.
    - `env`, `split`, `task` (its key), `kind` (task type); `expert_steps`: int64, steps of the searching expert.
    - `success`, `terminated`, `truncated`: bool; `outcome`: float64, 0 to 1.
    - `turns`: int64, all steps; `grounded`, `malformed`: int64, those executed, and those whose text was no command.
    - `error`: what went wrong outside the agent's control, or None; such an episode is in no mean.
    - `character`: int64, whose side it is where several act at once.
    - `branch`: int64, so many first steps were played in the episode with the index `parent` (Int64, NA where none).
    - `start_progress`: float64, the oracle's potential before the first step.
    - `goal`, `final_observation`: text.
    """
    columns: dict[str, list[Any]] = {name: [] for name in EPISODES}
    for name, recording in _recordings(*_folders(folder, stage), stage):
        for one in recording.episodes:
            for key, value in _episode(name, one).items():
                columns[key].append(value)
    return _frame(EPISODES, columns)


def load_steps(folder: Folder | Iterable[Folder], stage: str | None = None, messages: bool = False) -> DataFrame:
    """One row for each step of the episodes of `load_episodes`, with the reward assigned to it.

    Sorted as they are, then by `turn`. Of a branch the first `branch` steps are those of its parent, repeated without a
    reward: rows with `turn >= branch` hold every step once.

    - `run`, `stage`, `iteration`, `index`: the episode; `turn`: int64, from 0; `task`, `branch`: as there.
    - `observation`, `reply`, `action`: what was seen, written, and sent to the world.
    - `grounded`: bool, executed; `fault`: `format`, `inadmissible` or None; `env_reward`: float64, the world's own.
    - `progress`: float64, the oracle's potential after the step; `progress_change`: what the step has added to it, with
      which an audit compares rewards; `expert_action`: the teacher's, or None.
    - `reward`: float64, assigned by the run's method; NaN where that is not on record (only training is). Missing where
      only audits were read.
    - `reward:<label>`: float64, one column for each method of an audit, NaN elsewhere. Characters of a label that a
      screen cannot show are escapes.
    - `messages`, if asked for: the chat that `reply` was the answer to, `[{"role": "user", "content": observation},
      {"role": "assistant", "content": reply}, ...]`, up to this step's observation. The world's instructions, and what
      a prompt puts around an observation, are not on record. Rows of one episode share their messages: copy before you
      write to them.
    """
    played, audits = _folders(folder, stage)
    chats = {"messages": "object"} if messages else {}
    columns: dict[str, list[Any]] = {name: [] for name in STEPS | chats}
    paid: dict[str | None, list[float]] = {None: []} if played else {}
    for name, recording in _recordings(played, audits, stage, prices=True):
        for one in recording.episodes:
            first = len(columns["run"]) + one.trajectory.branch
            for label, rewards in one.paid.items():
                _fill(paid.setdefault(label, []), first)
                paid[label] += rewards
            for key, values in _steps(name, one, messages).items():
                columns[key] += values
    titles = _titles(paid)
    for label, title in titles.items():
        _fill(paid[label], len(columns["run"]))
        columns[title] = paid[label]
    return _frame(STEPS | dict.fromkeys(titles.values(), "float64") | chats, columns)


def _fill(numbers: list[float], length: int) -> None:
    """Up to `length`, nothing is on record."""
    numbers += [math.nan] * (length - len(numbers))


def _paths(folder: Folder | Iterable[Folder]) -> list[Path]:
    paths = [Path(folder)] if isinstance(folder, str | os.PathLike) else [Path(one) for one in folder]
    if missing := [str(path) for path in paths if not path.exists()]:
        raise UserError(f"there is no folder {missing[0]}: give a folder of results, or one of its runs or audits")
    return paths


def _folders(folder: Folder | Iterable[Folder], stage: str | None) -> tuple[list[Path], list[Path]]:
    """The run folders and the audit folders that have episodes of this stage."""
    if stage is not None and stage not in STAGES:
        raise UserError(f"no stage {stage!r}: use {', '.join(STAGES)}")
    played, audits = find(_paths(folder))
    return ([] if stage == AUDIT else played), (audits if stage in (AUDIT, None) else [])


def _recordings(
    played: Sequence[Path], audits: Sequence[Path], stage: str | None, *, prices: bool = False
) -> Iterator[tuple[str, Recording]]:
    """Name and episodes of each folder that can be read, by name."""
    among = set(audits)
    for name, path in named([*played, *audits]):
        try:
            recording = read_audit(path, prices=prices) if path in among else read_recording(path, stage, prices=prices)
        except BROKEN as error:
            _warn(name, _reason(error, name, path), stacklevel=4)
            continue
        if recording.left_out:
            _warn(name, f"without {recording.left_out}", stacklevel=4)
        yield name, recording


def _warn(name: str, reason: str, stacklevel: int) -> None:
    warnings.warn(printable_line(f"{name}: {reason}", LONGEST_WARNING), stacklevel=stacklevel)


def _reason(error: BaseException, name: str, path: Path) -> str:
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return f"left out: {reason.replace(str(path), name)}"


def _frame(dtypes: Mapping[str, str], columns: Mapping[str, list[Any]]) -> DataFrame:
    import pandas as pd

    return pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in dtypes.items()})


def _titles(labels: Iterable[str | None]) -> dict[str | None, str]:
    """The columns of methods, each a text of its own that a screen can show; None is the method of a run."""
    found: dict[str | None, str] = {None: "reward"} if None in labels else {}
    for label in sorted(label for label in labels if label is not None):
        title = safe = f"reward:{printable_line(label)}"
        number = 1
        while title in found.values():
            number += 1
            title = f"{safe}~{number}"
        found[label] = title
    return found


def _result(run: Run, stage: str) -> dict[str, Any]:
    """A row but for what depends on the other runs. OverflowError for a number that a frame cannot hold."""
    episodes, before = valid(run, stage), stage == WARM_START
    steps = sum(episode.turns for episode in episodes)
    costs = {name: 0.0 if before else float(run.costs[name]) for name in COSTS}
    config, facts = run.config, run.facts
    return costs | ({"seconds": run.warm_start_seconds} if before else {}) | {
        "run": run.name,
        "env": world_name(str(_text(config["env"]))),
        "split": _text(config["eval"]["split"]),
        "tasks": _text(config["world"]["tasks"]),
        "model": _text(config["model"]["name"]),
        "agent": _text(facts.get("agent")),
        "reward": run.method,
        "reward_options": json.dumps(config["reward_options"], sort_keys=True),
        "seed": _seed(run.seed),
        "stage": stage,
        "success": _mean(episodes, lambda episode: episode.success),
        "outcome": _mean(episodes, lambda episode: episode.outcome),
        "grounded": sum(episode.grounded for episode in episodes) / max(1, steps) if episodes else math.nan,
        "malformed": sum(episode.malformed for episode in episodes) / max(1, steps) if episodes else math.nan,
        "turns": _mean(episodes, lambda episode: episode.turns),
        "episodes": len(episodes),
        "steps": steps,
        "errors": len(run.panels[stage]) - len(episodes),
        "evaluation_set": _text(facts.get("panel")),
        "protocol": _text(facts.get("protocol")),
        "finished": run.finished,
        "failure": run.failure,
        "unreadable": run.unreadable,
        "repeated": run.duplicates,
    }  # fmt: skip


def _mean(episodes: Sequence[Played], value: Callable[[Played], float]) -> float:
    return sum(value(episode) for episode in episodes) / len(episodes) if episodes else math.nan


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


def _seed(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise OverflowError("the seed is too large")
    return value


def _episode(name: str, recorded: Recorded) -> dict[str, Any]:
    one, (stage, iteration, index) = recorded.trajectory, recorded.place
    return {
        "run": name,
        "stage": stage,
        "iteration": iteration,
        "index": index,
        "env": one.task.env,
        "split": one.task.split,
        "task": one.task.key,
        "kind": one.task.kind,
        "expert_steps": one.task.expert_steps,
        "success": one.success,
        "outcome": one.outcome,
        "terminated": one.terminated,
        "truncated": one.truncated,
        "turns": len(one),
        "grounded": sum(step.grounded for step in one.steps),
        "malformed": sum(step.fault == "format" for step in one.steps),
        "error": one.error,
        "character": one.character,
        "branch": one.branch,
        "parent": recorded.parent,
        "start_progress": one.start_progress,
        "goal": one.goal,
        "final_observation": one.final_observation,
    }


def _steps(name: str, recorded: Recorded, messages: bool) -> dict[str, list[Any]]:
    """The columns of one episode."""
    one, (stage, iteration, index) = recorded.trajectory, recorded.place
    same = {"run": name, "stage": stage, "iteration": iteration, "index": index}
    same |= {"task": one.task.key, "branch": one.branch}
    own = ("observation", "reply", "action", "grounded", "fault", "env_reward", "progress", "expert_action")
    before = [one.start_progress, *(step.progress for step in one.steps)]
    columns = {key: [value] * len(one) for key, value in same.items()} | {"turn": list(range(len(one)))}
    columns |= {key: [getattr(step, key) for step in one.steps] for key in own}
    columns["progress_change"] = [step.progress - last for step, last in zip(one.steps, before, strict=False)]
    return columns | ({"messages": _chats(one)} if messages else {})


def _chats(one: Trajectory) -> list[list[dict[str, str]]]:
    """Before each reply, all that was seen and written."""
    chat = [
        {"role": role, "content": text}
        for step in one.steps
        for role, text in (("user", step.observation), ("assistant", step.reply))
    ]
    return [chat[: 2 * turn + 1] for turn in range(len(one))]
