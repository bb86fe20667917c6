"""Recorded episodes as chat messages: a Hugging Face dataset, or JSON lines.

Folders may be anyone's: they are read as reports read them (`analysis.recordings`), bounded, with what cannot be used
left out and told in a warning.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spa_bench.analysis.recordings import AUDIT, BROKEN, Recorded, Recording, find, named, read_audit, read_recording
from spa_bench.core import UserError
from spa_bench.files import replaced
from spa_bench.terminal import printable_line

LONGEST_WARNING = 300
"""Characters of a folder's own words."""

LISTS = {"messages": "messages", "step_rewards": "float64", "env_rewards": "float64", "message_mask": "int8"}
TYPES = {
    **{"world": "string", "split": "string", "task": "string", "kind": "string", "goal": "string"},
    **{"run": "string", "stage": "string", "iteration": "int64", "index": "int64"},
    **LISTS,
    **{"grounded": "bools", "success": "bool", "outcome": "float64", "final_observation": "string", "error": "string"},
}
"""Column -> type, in the order of a row."""


def chat_rows(
    folder: str | Path | Sequence[str | Path], *, stage: str | None = None, method: str | None = None
) -> Iterator[dict[str, Any]]:
    """A row for each episode of the run and audit folders at or below `folder`, by run, stage, iteration and index.

    - `world`, `split`, `task` (its key), `kind`, `goal`; `run`, `stage`, `iteration`, `index`: which episode it is.
    - `messages`: `[{"role": "user", "content": observation}, {"role": "assistant", "content": reply}, ...]`, one pair
      for each turn. The world's instructions, and what a prompt puts around an observation, are not on record.
    - `message_mask`: for each message 1 where it was played in this episode and is the assistant's, else 0: for
      observations, and for the first turns of a branch, which are another episode's.
    - `step_rewards`: for each turn the reward assigned by the run's method, or in an audit by `method`, the label of
      one; null where none is on record. `env_rewards`: the world's own; `grounded`: the world executed the action.
    - `success`, `outcome`, `final_observation`; `error`: what went wrong outside the agent's control, or null.

    Halves of surrogate pairs become U+FFFD. UserError where there is no folder, or no such method in an audit.
    """
    paths = [Path(folder)] if isinstance(folder, str | Path) else [Path(one) for one in folder]
    if missing := [path for path in paths if not path.exists()]:
        raise UserError(f"there is no folder {missing[0]}: give a folder of results, or one of its runs or audits")
    played, audits = find(paths)
    among = set(audits)
    for name, path in named([*(played if stage != AUDIT else ()), *(audits if stage in (AUDIT, None) else ())]):
        try:
            recording = read_audit(path, prices=True) if path in among else read_recording(path, stage, prices=True)
        except BROKEN as error:
            _warn(f"{name}: left out: {str(error).replace(str(path), name)}")
            continue
        if recording.left_out:
            _warn(f"{name}: without {recording.left_out}")
        label = _label(recording, method, name) if path in among else None
        for one in recording.episodes:
            yield _row(name, one, label)


def chat_dataset(
    folder: str | Path | Sequence[str | Path], *, stage: str | None = None, method: str | None = None
) -> Any:
    """The rows of `chat_rows` as a `datasets.Dataset`, in memory."""
    from datasets import Dataset, Features, List, Value  # type: ignore[import-untyped]

    made = {
        "messages": List({"role": Value("string"), "content": Value("string")}),
        "bools": List(Value("bool")),
    }
    features = {
        name: made.get(kind) or (List(Value(kind)) if name in LISTS else Value(kind)) for name, kind in TYPES.items()
    }
    rows = list(chat_rows(folder, stage=stage, method=method))
    return Dataset.from_dict({name: [row[name] for row in rows] for name in TYPES}, features=Features(features))


def write_jsonl(
    folder: str | Path | Sequence[str | Path], file: str | Path, *, stage: str | None = None, method: str | None = None
) -> int:
    """Write the rows of `chat_rows` to a file, one JSON object a line, whole or not at all; returns their number."""
    count = 0
    with replaced(Path(file)) as place, open(place, "w", encoding="utf-8") as lines:
        for row in chat_rows(folder, stage=stage, method=method):
            lines.write(json.dumps(row, allow_nan=False) + "\n")
            count += 1
    return count


def _label(recording: Recording, method: str | None, name: str) -> str | None:
    """The method whose rewards are wanted of an audit."""
    labels = sorted({label for one in recording.episodes for label in one.paid if label is not None})
    if method is not None and labels and method not in labels:
        raise UserError(f"audit {printable_line(name)}: no method {method!r} (there are: {', '.join(labels)})")
    return method


def _row(name: str, recorded: Recorded, label: str | None) -> dict[str, Any]:
    one, (stage, iteration, index) = recorded.trajectory, recorded.place
    paid = recorded.paid.get(label)
    texts = [(step.observation, step.reply) for step in one.steps]
    return {
        **{"world": _text(one.task.env), "split": _text(one.task.split), "task": _text(one.task.key)},
        **{"kind": _text(one.task.kind), "goal": _text(one.goal)},
        **{"run": _text(name), "stage": _text(stage), "iteration": iteration, "index": index},
        "messages": [
            {"role": role, "content": _text(text)}
            for turn in texts
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ],
        "step_rewards": [None] * one.branch + ([None] * one.played if paid is None else list(paid)),
        "env_rewards": [step.env_reward for step in one.steps],
        "message_mask": [0, 0] * one.branch + [0, 1] * one.played,
        "grounded": [step.grounded for step in one.steps],
        "success": one.success,
        "outcome": one.outcome,
        "final_observation": _text(one.final_observation),
        "error": None if one.error is None else _text(one.error),
    }


def _text(text: str) -> str:
    """Without halves of surrogate pairs, which neither Arrow nor most readers of JSON take."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _warn(line: str) -> None:
    warnings.warn(printable_line(line, LONGEST_WARNING), stacklevel=4)
