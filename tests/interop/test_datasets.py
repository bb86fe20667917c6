"""Recorded episodes as chat messages, from folders that may be anyone's."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from spa_bench.analysis.load import load_episodes, load_steps
from spa_bench.core import UserError
from spa_bench.interop.datasets import TYPES, chat_dataset, chat_rows, write_jsonl

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "results"
AUDIT = RECORDED / "audits"


def test_a_row_is_an_episode_with_its_chat() -> None:
    folder = RECORDED / "runs" / "alfworld" / "spa"
    rows = list(chat_rows(folder, stage="eval"))
    episodes, steps = load_episodes(folder, stage="eval"), load_steps(folder, stage="eval")
    assert [(row["run"], row["index"], row["success"]) for row in rows] == [
        *episodes[["run", "index", "success"]].itertuples(index=False, name=None)
    ]
    assert {tuple(row) for row in rows} == {tuple(TYPES)}
    told = [message for row in rows for message in row["messages"]]
    assert [message["role"] for message in told] == ["user", "assistant"] * len(steps)
    assert [message["content"] for message in told[::2]] == list(steps["observation"])
    assert [message["content"] for message in told[1::2]] == list(steps["reply"])
    assert [mask for row in rows for mask in row["message_mask"]] == [0, 1] * len(steps)
    assert [reward for row in rows for reward in row["env_rewards"]] == list(steps["env_reward"])
    assert {row["world"] for row in rows} == {"alfworld"} and any(row["success"] for row in rows)
    assert {reward for row in rows for reward in row["step_rewards"]} == {None}  # only training is on record


def test_rewards_of_an_audit_are_those_of_one_method() -> None:
    rows = list(chat_rows(AUDIT, method="ppo"))
    assert all(not any(row["step_rewards"][:-1]) for row in rows)
    assert [row["step_rewards"][-1] for row in rows] == [row["outcome"] for row in rows]
    assert {0.0, 1.0} <= {row["outcome"] for row in rows}
    with pytest.raises(UserError, match=r"^audit .*: no method 'gone' \(there are: all-on-last, "):
        list(chat_rows(AUDIT, method="gone"))


def test_the_dataset_and_the_lines_hold_the_same(tmp_path: Path) -> None:
    made = chat_dataset(AUDIT, method="all-on-last")
    count = write_jsonl(AUDIT, tmp_path / "chats.jsonl", method="all-on-last")
    lines = [json.loads(line) for line in (tmp_path / "chats.jsonl").read_text(encoding="utf-8").splitlines()]
    assert count == len(lines) == len(made) > 1
    assert made.to_list() == lines == list(chat_rows(AUDIT, method="all-on-last"))


def test_a_folder_of_anyones(tmp_path: Path) -> None:
    """A pipe in place of a file, lines that are none, and text that is no Unicode: told, never waited for."""
    runs = tmp_path / "runs"
    for run in ("alfworld/spa/0-99641dbc", "alfworld/spa/1-99641dbc"):
        shutil.copytree(RECORDED / "runs" / run, runs / run)
    first, second = (runs / "alfworld" / "spa" / name / "episodes.jsonl" for name in ("0-99641dbc", "1-99641dbc"))
    second.unlink()
    os.mkfifo(second)
    whole = first.read_text(encoding="utf-8").splitlines()
    row = json.loads(whole[0])
    row["steps"][0]["reply"] = "half a pair \ud800 and a bell \x07"
    first.write_text("\n".join([json.dumps(row), "no json", *whole[1:]]) + "\n", encoding="utf-8")
    paid = {"stage": row["stage"], "iteration": row["iteration"], "index": row["index"]}
    numbers = [0.5 * turn for turn in range(len(row["steps"]))]
    (first.parent / "prices.jsonl").write_text(json.dumps(paid | {"rewards": numbers}) + "\n", encoding="utf-8")
    with pytest.warns(UserWarning) as told:
        made = chat_dataset(runs)
    assert len(made) == len(whole)
    assert numbers in list(made["step_rewards"])
    replies = [message["content"] for one in made["messages"] for message in one]
    assert "half a pair \ufffd and a bell \x07" in replies
    lines = sorted(str(one.message) for one in told)
    assert "left out" in lines[1] and "unreadable line(s)" in lines[0]


def test_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        chat_dataset(tmp_path / "gone")
    with pytest.raises(UserError, match="no run folder"):
        write_jsonl(tmp_path, tmp_path / "x.jsonl")
    assert list(tmp_path.iterdir()) == []
